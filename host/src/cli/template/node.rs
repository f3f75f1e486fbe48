//! What a template is made of once it has been read.

use serde_json::Value;

/// Where something stands, for error messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Counted from 1.
    pub(super) line: usize,
    /// Bytes from the start of the line.
    pub(super) column: usize,
}

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Node {
    /// As it is.
    Text(String),
    /// `{{pipeline}}`
    Show(Pipeline),
    /// `{{if}}` and `{{with}}`: `with` makes the value the new dot.
    Branch { sets_dot: bool, condition: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    /// `{{range}}`
    Range { over: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    /// `{{template}}`: another template in this place, applied to the value or to nothing.
    Call { name: String, argument: Option<Pipeline>, place: Place },
    /// `{{break}}`
    Break,
    /// `{{continue}}`
    Continue,
}

/// Commands whose results feed the next, and the variables that get the last result.
#[derive(Debug)]
pub(super) struct Pipeline {
    /// With their dollar sign. Two only in `range`.
    pub(super) variables: Vec<String>,
    /// `:=` and not `=`.
    pub(super) declares: bool,
    /// At least one.
    pub(super) commands: Vec<Command>,
}

/// A function or a value, and its arguments.
#[derive(Debug)]
pub(super) struct Command {
    /// At least one.
    pub(super) operands: Vec<Operand>,
}

/// One word of a command.
#[derive(Debug)]
pub(super) struct Operand {
    pub(super) term: Term,
    /// Fields taken of the term: `.Config.Image`.
    pub(super) fields: Vec<String>,
    pub(super) place: Place,
}

/// What an operand starts with.
#[derive(Debug)]
pub(super) enum Term {
    /// `.`
    Dot,
    /// `$`, `$name`
    Variable(String),
    /// A literal; `nil` is null.
    Literal(Value),
    /// A function's name.
    Function(String),
    /// `( … )`
    Group(Pipeline),
}

impl Node {
    /// Whether a field of this name occurs in it.
    pub(super) fn mentions(&self, field: &str) -> bool {
        let any = |nodes: &[Node]| nodes.iter().any(|node| node.mentions(field));
        match self {
            Self::Text(_) | Self::Break | Self::Continue => false,
            Self::Show(pipeline) => pipeline.mentions(field),
            Self::Call { argument, .. } => argument.as_ref().is_some_and(|argument| argument.mentions(field)),
            Self::Branch { condition: head, then: body, otherwise, .. }
            | Self::Range { over: head, body, otherwise } => {
                head.mentions(field) || any(body) || any(otherwise)
            }
        }
    }
}

impl Pipeline {
    fn mentions(&self, field: &str) -> bool {
        self.commands.iter().flat_map(|command| &command.operands).any(|operand| {
            operand.fields.iter().any(|name| name == field)
                || matches!(&operand.term, Term::Group(inner) if inner.mentions(field))
        })
    }
}

impl Operand {
    /// Whether its fields are the value's own: `.Config.Image`.
    pub(super) fn term_is_dot(&self) -> bool {
        matches!(self.term, Term::Dot)
    }

    /// As it was written, for error messages.
    pub(super) fn text(&self) -> String {
        let mut text = match &self.term {
            Term::Dot if self.fields.is_empty() => ".".to_owned(),
            Term::Dot => String::new(),
            Term::Variable(name) | Term::Function(name) => name.clone(),
            Term::Literal(value) => value.to_string(),
            Term::Group(_) => "(…)".to_owned(),
        };
        for field in &self.fields {
            text.push('.');
            text.push_str(field);
        }
        text
    }
}
