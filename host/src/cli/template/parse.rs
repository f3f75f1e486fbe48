//! From words to nodes. The grammar is that of Go's text/template.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::vec::IntoIter;

use serde_json::{Number, Value};

use super::TemplateError;
use super::functions;
use super::node::{Command, Node, Operand, Pipeline, Place, Term};
use super::tokens::{Kind, Piece, Token, pieces};

/// How deeply `if`, `range` and parentheses may stand in each other. Each level is one of ours, too.
const DEEPEST: usize = 100;

/// Templates by their names, as `define` and `block` make them.
pub(super) type Named = BTreeMap<String, Vec<Node>>;

/// Reads a whole template: what it is made of, and the templates that it defines.
pub(super) fn parse(text: &str) -> Result<(Vec<Node>, Named), TemplateError> {
    let mut parser = Parser { pieces: pieces(text)?.into_iter(), depth: 0, loops: 0, named: Named::new() };
    match parser.list()? {
        (nodes, None) => Ok((nodes, parser.named)),
        (_, Some((end, place))) => {
            Err(TemplateError::parsing(place.line, format!("unexpected {{{{{}}}}}", end.word())))
        }
    }
}

/// What ends a list of nodes.
enum End {
    End,
    /// `{{else}}`, with what follows it: `{{else if …}}`.
    Else(Vec<Token>),
}

impl End {
    fn word(&self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Else(_) => "else",
        }
    }
}

/// Nodes, and what ended them where it was not the template's end.
type List = (Vec<Node>, Option<(End, Place)>);

struct Parser {
    pieces: IntoIter<Piece>,
    depth: usize,
    loops: usize,
    named: Named,
}

impl Parser {
    fn list(&mut self) -> Result<List, TemplateError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            match piece {
                Piece::Text(text) => nodes.push(Node::Text(text)),
                Piece::Action(tokens, place) => {
                    let keyword = match tokens.first().map(|token| &token.kind) {
                        Some(Kind::Word(word)) => word.as_str(),
                        _ => "",
                    };
                    match keyword {
                        "end" => return Ok((nodes, Some((End::End, place)))),
                        "else" => return Ok((nodes, Some((End::Else(tokens[1..].to_vec()), place)))),
                        "define" => self.define(&tokens[1..], place)?,
                        _ => nodes.push(self.action(tokens, place)?),
                    }
                }
            }
        }
        Ok((nodes, None))
    }

    fn action(&mut self, tokens: Vec<Token>, place: Place) -> Result<Node, TemplateError> {
        let keyword = match tokens.first().map(|token| &token.kind) {
            Some(Kind::Word(word)) => word.clone(),
            _ => String::new(),
        };
        match keyword.as_str() {
            "if" | "with" | "range" => self.block(&keyword, tokens[1..].to_vec(), place),
            "break" | "continue" if self.loops == 0 => {
                Err(TemplateError::parsing(place.line, format!("{{{{{keyword}}}}} outside {{{{range}}}}")))
            }
            "break" => Ok(Node::Break),
            "continue" => Ok(Node::Continue),
            "template" => {
                let (name, argument) = self.named(&tokens[1..], place, "template clause")?;
                Ok(Node::Call { name, argument, place })
            }
            "block" => {
                let (name, argument) = self.named(&tokens[1..], place, "block clause")?;
                if argument.is_none() {
                    return Err(TemplateError::parsing(place.line, "missing value for block clause"));
                }
                self.body_of(name.clone(), place)?;
                Ok(Node::Call { name, argument, place })
            }
            _ => {
                let pipeline = self.pipeline_of(tokens, place, "command")?;
                if pipeline.variables.len() > 1 {
                    return Err(TemplateError::parsing(place.line, "too many declarations in command"));
                }
                Ok(Node::Show(pipeline))
            }
        }
    }

    /// `{{define "name"}} … {{end}}`, which leaves nothing where it stands. Not inside anything else.
    fn define(&mut self, tokens: &[Token], place: Place) -> Result<(), TemplateError> {
        if self.depth > 0 {
            return Err(TemplateError::parsing(place.line, "unexpected {{define}}"));
        }
        match self.named(tokens, place, "define clause")? {
            (name, None) => self.body_of(name, place),
            _ => Err(TemplateError::parsing(place.line, "unexpected operand in define clause")),
        }
    }

    /// A template's body up to its `{{end}}`, kept under its name.
    fn body_of(&mut self, name: String, place: Place) -> Result<(), TemplateError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(TemplateError::parsing(place.line, "exceeded max depth"));
        }
        // A loop around a block is none of the block's own.
        let loops = std::mem::take(&mut self.loops);
        let (nodes, end) = self.list()?;
        self.loops = loops;
        self.depth -= 1;
        match end {
            Some((End::End, _)) => {}
            Some((End::Else(_), place)) => {
                return Err(TemplateError::parsing(place.line, "unexpected {{else}} in define clause"));
            }
            None => return Err(TemplateError::parsing(place.line, "unexpected EOF")),
        }
        if self.named.contains_key(&name) {
            let what = format!("template: multiple definition of template {name:?}");
            return Err(TemplateError::parsing(place.line, what));
        }
        self.named.insert(name, nodes);
        Ok(())
    }

    /// A name in quotes and the value after it, if there is one.
    fn named(
        &self,
        tokens: &[Token],
        place: Place,
        context: &str,
    ) -> Result<(String, Option<Pipeline>), TemplateError> {
        match tokens {
            [] => Err(TemplateError::parsing(place.line, format!("unexpected \"}}}}\" in {context}"))),
            [Token { kind: Kind::Text(name), .. }] => Ok((name.clone(), None)),
            [Token { kind: Kind::Text(name), .. }, rest @ ..] => {
                Ok((name.clone(), Some(self.pipeline_of(rest.to_vec(), place, context)?)))
            }
            [first, ..] => {
                let words = Words { tokens: Vec::new().into_iter().peekable(), place, depth: 0 };
                Err(words.unexpected(first, context))
            }
        }
    }

    fn block(&mut self, keyword: &str, head: Vec<Token>, place: Place) -> Result<Node, TemplateError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(TemplateError::parsing(place.line, "exceeded max depth"));
        }
        let condition = self.pipeline_of(head, place, keyword)?;
        let range = keyword == "range";
        if condition.variables.len() > 1 + usize::from(range) {
            return Err(TemplateError::parsing(place.line, format!("too many declarations in {keyword}")));
        }
        self.loops += usize::from(range);
        let (body, end) = self.list()?;
        self.loops -= usize::from(range);
        let otherwise = match end {
            None => return Err(TemplateError::parsing(place.line, "unexpected EOF")),
            Some((End::End, _)) => Vec::new(),
            Some((End::Else(tail), place)) => self.otherwise(keyword, tail, place)?,
        };
        self.depth -= 1;
        Ok(if range {
            Node::Range { over: condition, body, otherwise }
        } else {
            Node::Branch { sets_dot: keyword == "with", condition, then: body, otherwise }
        })
    }

    /// What follows `{{else}}`. `{{else if}}` is an `if` of its own that shares the outer one's end.
    fn otherwise(
        &mut self,
        keyword: &str,
        tail: Vec<Token>,
        place: Place,
    ) -> Result<Vec<Node>, TemplateError> {
        if let Some(first) = tail.first() {
            if keyword != "range" && first.kind == Kind::Word(keyword.to_owned()) {
                return Ok(vec![self.block(keyword, tail[1..].to_vec(), place)?]);
            }
            return Err(TemplateError::parsing(place.line, "unexpected word in {{else}}"));
        }
        match self.list()? {
            (nodes, Some((End::End, _))) => Ok(nodes),
            (_, Some((End::Else(_), place))) => {
                Err(TemplateError::parsing(place.line, "unexpected {{else}}"))
            }
            (_, None) => Err(TemplateError::parsing(place.line, "unexpected EOF")),
        }
    }

    fn pipeline_of(
        &self,
        tokens: Vec<Token>,
        place: Place,
        context: &str,
    ) -> Result<Pipeline, TemplateError> {
        let mut words = Words { tokens: tokens.into_iter().peekable(), place, depth: 0 };
        let pipeline = words.pipeline(context)?;
        match words.tokens.next() {
            None => Ok(pipeline),
            Some(token) => Err(words.unexpected(&token, context)),
        }
    }
}

struct Words {
    tokens: Peekable<IntoIter<Token>>,
    place: Place,
    depth: usize,
}

impl Words {
    fn pipeline(&mut self, context: &str) -> Result<Pipeline, TemplateError> {
        let (variables, declares) = self.variables();
        let mut commands = vec![self.command(context)?];
        while self.tokens.next_if(|token| token.kind == Kind::Mark('|')).is_some() {
            let command = self.command(context)?;
            if matches!(command.operands[0].term, Term::Literal(_) | Term::Dot)
                && command.operands[0].fields.is_empty()
            {
                let what = format!("non executable command in pipeline stage {}", commands.len() + 1);
                return Err(TemplateError::parsing(self.place.line, what));
            }
            commands.push(command);
        }
        Ok(Pipeline { variables, declares, commands })
    }

    /// `$x :=`, `$i, $x :=`, `$x =`: only known as such at its end, so it is looked for first.
    fn variables(&mut self) -> (Vec<String>, bool) {
        let mut ahead = self.tokens.clone();
        let mut names = Vec::new();
        while let Some(Token { kind: Kind::Variable(name), .. }) = ahead.next() {
            names.push(name);
            match ahead.next().map(|token| token.kind) {
                Some(Kind::Mark(',')) => {}
                Some(kind @ (Kind::Declare | Kind::Mark('='))) => {
                    self.tokens = ahead;
                    return (names, kind == Kind::Declare);
                }
                _ => break,
            }
        }
        (Vec::new(), false)
    }

    fn command(&mut self, context: &str) -> Result<Command, TemplateError> {
        let mut operands = Vec::new();
        while let Some(token) = self.tokens.next_if(|token| !matches!(token.kind, Kind::Mark('|' | ')'))) {
            operands.push(self.operand(token, context)?);
        }
        if operands.is_empty() {
            return Err(TemplateError::parsing(self.place.line, format!("missing value for {context}")));
        }
        Ok(Command { operands })
    }

    fn operand(&mut self, token: Token, context: &str) -> Result<Operand, TemplateError> {
        let place = token.place;
        let mut fields = Vec::new();
        let term = match token.kind {
            Kind::Dot => Term::Dot,
            Kind::Field(name) => {
                fields.push(name);
                Term::Dot
            }
            Kind::Variable(name) => Term::Variable(name),
            Kind::Text(text) => Term::Literal(Value::String(text)),
            Kind::Number(text) => Term::Literal(Value::Number(number(&text, place)?)),
            Kind::Word(word) => self.word(word, place)?,
            Kind::Mark('(') => self.group(context)?,
            kind @ (Kind::Mark(_) | Kind::Declare) => {
                return Err(self.unexpected(&Token { kind, ..token }, context));
            }
        };
        while let Some(Token { kind: Kind::Field(name), .. }) =
            self.tokens.next_if(|next| matches!(next.kind, Kind::Field(_)) && !next.spaced)
        {
            fields.push(name);
        }
        Ok(Operand { term, fields, place })
    }

    fn word(&self, word: String, place: Place) -> Result<Term, TemplateError> {
        Ok(match word.as_str() {
            "true" => Term::Literal(Value::Bool(true)),
            "false" => Term::Literal(Value::Bool(false)),
            "nil" => Term::Literal(Value::Null),
            name if functions::exists(name) => Term::Function(word),
            name => {
                return Err(TemplateError::parsing(place.line, format!("function {name:?} not defined")));
            }
        })
    }

    fn group(&mut self, context: &str) -> Result<Term, TemplateError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(TemplateError::parsing(self.place.line, "exceeded max depth"));
        }
        let inner = self.pipeline(context)?;
        self.depth -= 1;
        match self.tokens.next() {
            Some(Token { kind: Kind::Mark(')'), .. }) => Ok(Term::Group(inner)),
            _ => Err(TemplateError::parsing(self.place.line, "unclosed left paren")),
        }
    }

    fn unexpected(&self, token: &Token, context: &str) -> TemplateError {
        let shown = match &token.kind {
            Kind::Mark(')') => "right paren".to_owned(),
            Kind::Mark(mark) => format!("{:?}", mark.to_string()),
            Kind::Declare => "\":=\"".to_owned(),
            Kind::Word(text) | Kind::Number(text) | Kind::Variable(text) => format!("<{text}>"),
            Kind::Field(name) => format!("<.{name}>"),
            Kind::Text(text) => format!("{text:?}"),
            Kind::Dot => "<.>".to_owned(),
        };
        TemplateError::parsing(token.place.line, format!("unexpected {shown} in {context}"))
    }
}

fn number(text: &str, place: Place) -> Result<Number, TemplateError> {
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let radix = [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)]
        .into_iter()
        .find_map(|(prefix, radix)| Some((digits.strip_prefix(prefix)?, radix)));
    // A leading zero is octal, as everywhere in Go.
    let octal = || digits.strip_prefix('0').filter(|rest| !rest.is_empty()).map(|rest| (rest, 8));
    let (digits, radix) = radix.or_else(octal).unwrap_or((digits, 10));
    if let Ok(value) = i64::from_str_radix(digits, radix) {
        return Ok((sign * value).into());
    }
    plain
        .parse::<f64>()
        .ok()
        .and_then(Number::from_f64)
        .ok_or_else(|| TemplateError::parsing(place.line, format!("bad number syntax: {text:?}")))
}
