//! What a template is made of once it has been read, and how its parts are written in complaints.

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
    pub(super) place: Place,
}

/// A function or a value, and its arguments.
#[derive(Debug)]
pub(super) struct Command {
    /// At least one.
    pub(super) operands: Vec<Operand>,
    pub(super) place: Place,
}

/// One word of a command.
#[derive(Debug)]
pub(super) struct Operand {
    pub(super) term: Term,
    /// Where Go's library says that it stands: of `.A.B.C`, that is the second field.
    pub(super) place: Place,
}

/// What an operand is.
#[derive(Debug)]
pub(super) enum Term {
    /// `.`
    Dot,
    /// `nil`
    Nil,
    /// `true`, `3`, `"text"`, and how it was written.
    Literal(Value, String),
    /// `.Config.Image`
    Field(Vec<String>),
    /// `$name`, and fields of it.
    Variable(String, Vec<String>),
    /// A function's name.
    Function(String),
    /// `( … )`
    Group(Pipeline),
    /// `( … ).Config.Image`; at least one field.
    Chain(Box<Operand>, Vec<String>),
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
        self.commands.iter().flat_map(|command| &command.operands).any(|operand| operand.mentions(field))
    }

    /// As it was written, but for its spaces.
    pub(super) fn text(&self) -> String {
        let commands: Vec<String> = self.commands.iter().map(Command::text).collect();
        let commands = commands.join(" | ");
        if self.variables.is_empty() {
            return commands;
        }
        let sign = if self.declares { ":=" } else { "=" };
        format!("{} {sign} {commands}", self.variables.join(", "))
    }
}

impl Command {
    /// As it was written, but for its spaces.
    pub(super) fn text(&self) -> String {
        self.operands.iter().map(Operand::text).collect::<Vec<_>>().join(" ")
    }
}

impl Operand {
    fn mentions(&self, field: &str) -> bool {
        let among = |fields: &[String]| fields.iter().any(|name| name == field);
        match &self.term {
            Term::Dot | Term::Nil | Term::Literal(..) | Term::Function(_) => false,
            Term::Field(fields) | Term::Variable(_, fields) => among(fields),
            Term::Group(inner) => inner.mentions(field),
            Term::Chain(inner, fields) => among(fields) || inner.mentions(field),
        }
    }

    /// As it was written, for error messages.
    pub(super) fn text(&self) -> String {
        let with = |start: String, fields: &[String]| {
            fields.iter().fold(start, |text, field| format!("{text}.{field}"))
        };
        match &self.term {
            Term::Dot => ".".to_owned(),
            Term::Nil => "nil".to_owned(),
            Term::Literal(_, text) => text.clone(),
            Term::Field(fields) => with(String::new(), fields),
            Term::Variable(name, fields) => with(name.clone(), fields),
            Term::Function(name) => name.clone(),
            Term::Group(inner) => format!("({})", inner.text()),
            Term::Chain(inner, fields) => with(inner.text(), fields),
        }
    }
}
