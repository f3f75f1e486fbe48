//! From tokens to nodes. The grammar, and the order in which mistakes are found, are those of Go's
//! text/template.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::vec::IntoIter;

use serde_json::{Number, Value};

use super::TemplateError;
use super::functions;
use super::node::{Command, Node, Operand, Pipeline, Place, Term};
use super::tokens::{Kind, Token, tokens, unquote};

/// How deeply `if`, `range` and parentheses may stand in each other. Each level is one of ours, too.
const DEEPEST: usize = 100;

/// Templates by their names, as `define` and `block` make them.
pub(super) type Named = BTreeMap<String, Vec<Node>>;

/// Reads a whole template: what it is made of, and the templates that it defines.
pub(super) fn parse(text: &str) -> Result<(Vec<Node>, Named), TemplateError> {
    let mut parser = Parser {
        tokens: tokens(text).into_iter().peekable(),
        line: 1,
        action_line: None,
        depth: 0,
        loops: 0,
        variables: vec!["$".to_owned()],
        named: Named::new(),
    };
    let nodes = parser.whole()?;
    Ok((nodes, parser.named))
}

/// What ends a list of nodes.
#[derive(Clone, Copy, PartialEq)]
enum End {
    End,
    Else,
}

impl End {
    fn shown(self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else => "{{else}}",
        }
    }
}

/// A node, or the end of the list that it would stand in.
enum Item {
    Node(Node),
    End(End),
}

type Parsed<T> = Result<T, TemplateError>;

struct Parser {
    tokens: Peekable<IntoIter<Token>>,
    /// Of the token that was looked at last.
    line: usize,
    /// Where the action began that is being read.
    action_line: Option<usize>,
    depth: usize,
    loops: usize,
    /// Those that are known here, `$` first.
    variables: Vec<String>,
    named: Named,
}

impl Parser {
    fn peek(&mut self) -> &Token {
        const NOTHING: &Token =
            &Token { kind: Kind::End, place: Place { line: 1, column: 0 }, spaced: false };
        let token = self.tokens.peek().unwrap_or(NOTHING);
        self.line = token.place.line;
        token
    }

    /// The last token stays, however often it is taken.
    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        if !matches!(token.kind, Kind::End | Kind::Wrong(_)) {
            self.tokens.next();
        }
        token
    }

    fn wrong<T>(&self, what: impl std::fmt::Display) -> Parsed<T> {
        Err(TemplateError::parsing(self.line, what))
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Parsed<T> {
        let Kind::Wrong(what) = &token.kind else {
            return self.wrong(format!("unexpected {} in {context}", token.kind.shown()));
        };
        match self.action_line {
            Some(line) if line != token.place.line => {
                let what = what.strip_suffix(" action").map_or(what.clone() + " in", str::to_owned);
                self.wrong(format!("{what} action started at :{line}"))
            }
            _ => self.wrong(what),
        }
    }

    fn closes(&mut self, context: &str) -> Parsed<()> {
        let token = self.next();
        if token.kind == Kind::Close { Ok(()) } else { self.unexpected(&token, context) }
    }

    fn deeper<T>(&mut self, inside: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.wrong("exceeded max depth");
        }
        let result = inside(self);
        self.depth -= 1;
        result
    }

    fn whole(&mut self) -> Parsed<Vec<Node>> {
        let mut nodes = Vec::new();
        while self.peek().kind != Kind::End {
            match self.item(true)? {
                Some(Item::Node(node)) => nodes.push(node),
                Some(Item::End(end)) => return self.wrong(format!("unexpected {}", end.shown())),
                None => {}
            }
        }
        Ok(nodes)
    }

    fn list(&mut self) -> Parsed<(Vec<Node>, End)> {
        let mut nodes = Vec::new();
        while self.peek().kind != Kind::End {
            match self.item(false)? {
                Some(Item::Node(node)) => nodes.push(node),
                Some(Item::End(end)) => return Ok((nodes, end)),
                None => {}
            }
        }
        self.wrong("unexpected EOF")
    }

    /// `None` where a template was defined, which only an outermost one does.
    fn item(&mut self, outermost: bool) -> Parsed<Option<Item>> {
        let token = self.next();
        match token.kind {
            Kind::Text(text) => Ok(Some(Item::Node(Node::Text(text)))),
            Kind::Open => {
                if outermost && self.peek().kind == Kind::Keyword("define") {
                    self.next();
                    self.define()?;
                    return Ok(None);
                }
                self.action_line = Some(token.place.line);
                let item = self.action();
                self.action_line = None;
                item.map(Some)
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Item> {
        let Kind::Keyword(keyword) = self.peek().kind else {
            return Ok(Item::Node(Node::Show(self.pipeline("command", &Kind::Close)?)));
        };
        if matches!(keyword, "nil" | "define") {
            return Ok(Item::Node(Node::Show(self.pipeline("command", &Kind::Close)?)));
        }
        self.next();
        Ok(match keyword {
            "end" => {
                self.closes("end")?;
                Item::End(End::End)
            }
            "else" => {
                // `{{else if …}}` is `{{else}}{{if …}}` that share their end.
                if !matches!(self.peek().kind, Kind::Keyword("if" | "with")) {
                    self.closes("else")?;
                }
                Item::End(End::Else)
            }
            "break" | "continue" => {
                self.closes(&format!("{{{{{keyword}}}}}"))?;
                if self.loops == 0 {
                    return self.wrong(format!("{{{{{keyword}}}}} outside {{{{range}}}}"));
                }
                Item::Node(if keyword == "break" { Node::Break } else { Node::Continue })
            }
            "template" => {
                let (name, place) = self.name("template clause")?;
                let argument = match self.peek().kind {
                    Kind::Close => self.closes("template clause").map(|()| None)?,
                    _ => Some(self.pipeline("template clause", &Kind::Close)?),
                };
                Item::Node(Node::Call { name, argument, place })
            }
            "block" => {
                let (name, place) = self.name("block clause")?;
                let argument = Some(self.pipeline("block clause", &Kind::Close)?);
                self.body_of(name.clone(), "block clause")?;
                Item::Node(Node::Call { name, argument, place })
            }
            control => Item::Node(self.deeper(|parser| parser.control(control))?),
        })
    }

    /// `{{define "name"}} … {{end}}`, which leaves nothing where it stands.
    fn define(&mut self) -> Parsed<()> {
        let (name, _) = self.name("define clause")?;
        self.closes("define clause")?;
        self.body_of(name, "define clause")
    }

    fn name(&mut self, context: &str) -> Parsed<(String, Place)> {
        let token = self.next();
        match &token.kind {
            Kind::Quoted(text) => match unquote(text) {
                Some(name) => Ok((name, token.place)),
                None => self.wrong("invalid syntax"),
            },
            _ => self.unexpected(&token, context),
        }
    }

    /// A template's body up to its `{{end}}`, kept under its name.
    fn body_of(&mut self, name: String, context: &str) -> Parsed<()> {
        // Loops and variables around a block are none of the block's own.
        let loops = std::mem::take(&mut self.loops);
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let (nodes, end) = self.deeper(Self::list)?;
        self.loops = loops;
        self.variables = variables;
        if end == End::Else {
            return self.wrong(format!("unexpected {} in {context}", end.shown()));
        }
        // One that is empty is no definition beside one that is not.
        let known = self.named.get(&name).is_some_and(|known| !is_empty(known));
        if known && is_empty(&nodes) {
            return Ok(());
        }
        if known {
            return self.wrong(format!("template: multiple definition of template {name:?}"));
        }
        self.named.insert(name, nodes);
        Ok(())
    }

    fn control(&mut self, keyword: &'static str) -> Parsed<Node> {
        let scope = self.variables.len();
        let range = keyword == "range";
        let condition = self.pipeline(keyword, &Kind::Close)?;
        self.loops += usize::from(range);
        let (body, end) = self.list()?;
        self.loops -= usize::from(range);
        let otherwise = match end {
            End::End => Vec::new(),
            End::Else if !range && self.peek().kind == Kind::Keyword(keyword) => {
                self.next();
                vec![self.deeper(|parser| parser.control(keyword))?]
            }
            End::Else => match self.list()? {
                (nodes, End::End) => nodes,
                (_, end) => return self.wrong(format!("expected end; found {}", end.shown())),
            },
        };
        self.variables.truncate(scope);
        Ok(if range {
            Node::Range { over: condition, body, otherwise }
        } else {
            Node::Branch { sets_dot: keyword == "with", condition, then: body, otherwise }
        })
    }

    fn pipeline(&mut self, context: &str, end: &Kind) -> Parsed<Pipeline> {
        let place = self.peek().place;
        let (variables, declares) = self.declarations(context)?;
        let mut commands: Vec<Command> = Vec::new();
        loop {
            let token = self.peek().clone();
            match token.kind {
                kind if kind == *end => {
                    self.next();
                    break;
                }
                kind if kind.starts_operand() => commands.push(self.command()?),
                _ => return self.unexpected(&token, context),
            }
        }
        if commands.is_empty() {
            return self.wrong(format!("missing value for {context}"));
        }
        for (at, command) in commands.iter().enumerate().skip(1) {
            if matches!(command.operands[0].term, Term::Literal(..) | Term::Dot | Term::Nil) {
                return self.wrong(format!("non executable command in pipeline stage {}", at + 1));
            }
        }
        Ok(Pipeline { variables, declares, commands, place })
    }

    /// `$x :=`, `$i, $x :=`, `$x =`: only known as such at its end.
    fn declarations(&mut self, context: &str) -> Parsed<(Vec<String>, bool)> {
        let mut names = Vec::new();
        while let Kind::Variable(name) = self.peek().kind.clone() {
            let mut ahead = self.tokens.clone();
            ahead.next();
            match ahead.next().map(|token| token.kind) {
                Some(sign @ (Kind::Declare | Kind::Mark('='))) => {
                    self.next();
                    self.next();
                    self.variables.push(name.clone());
                    names.push(name);
                    return Ok((names, sign == Kind::Declare));
                }
                Some(Kind::Mark(',')) => {
                    self.next();
                    self.next();
                    self.variables.push(name.clone());
                    names.push(name);
                    if context != "range" || names.len() > 1 {
                        return self.wrong(format!("too many declarations in {context}"));
                    }
                    if !matches!(self.peek().kind, Kind::Variable(_) | Kind::Close | Kind::Mark(')')) {
                        return self.wrong("range can only initialize variables");
                    }
                }
                _ => break,
            }
        }
        Ok((names, true))
    }

    fn command(&mut self) -> Parsed<Command> {
        let place = self.peek().place;
        let mut operands = Vec::new();
        loop {
            if let Some(operand) = self.operand()? {
                operands.push(operand);
            }
            let token = self.peek().clone();
            match token.kind {
                Kind::Close | Kind::Mark(')') => break,
                Kind::Mark('|') => {
                    self.next();
                    break;
                }
                _ if token.spaced && self.peek().kind.starts_operand() => {}
                _ => return self.unexpected(&token, "operand"),
            }
        }
        if operands.is_empty() {
            return self.wrong("empty command");
        }
        Ok(Command { operands, place })
    }

    fn operand(&mut self) -> Parsed<Option<Operand>> {
        if !self.peek().kind.starts_operand() {
            return Ok(None);
        }
        let mut operand = self.term()?;
        let place = self.peek().place;
        let mut fields = Vec::new();
        while let Token { kind: Kind::Field(name), spaced: false, .. } = self.peek() {
            fields.push(name.clone());
            self.next();
        }
        if fields.is_empty() {
            return Ok(Some(operand));
        }
        let term = match operand.term {
            Term::Field(mut all) => {
                all.append(&mut fields);
                Term::Field(all)
            }
            Term::Variable(name, _) => Term::Variable(name, fields),
            Term::Literal(..) | Term::Nil | Term::Dot => {
                return self.wrong(format!("unexpected . after term {:?}", operand.text()));
            }
            term => {
                operand.term = term;
                Term::Chain(Box::new(operand), fields)
            }
        };
        Ok(Some(Operand { term, place }))
    }

    fn term(&mut self) -> Parsed<Operand> {
        let token = self.next();
        let term = match token.kind {
            Kind::Dot => Term::Dot,
            Kind::Keyword(_) => Term::Nil,
            Kind::Boolean(value) => Term::Literal(value.into(), value.to_string()),
            Kind::Field(name) => Term::Field(vec![name]),
            Kind::Variable(name) => {
                if !self.variables.contains(&name) {
                    return self.wrong(format!("undefined variable {name:?}"));
                }
                Term::Variable(name, Vec::new())
            }
            Kind::Quoted(text) => match unquote(&text) {
                Some(value) => Term::Literal(Value::String(value), text),
                None => return self.wrong("invalid syntax"),
            },
            Kind::Character(text) => Term::Literal(self.character(&text)?, text),
            Kind::Number(text) => match number(&text) {
                Some(value) => Term::Literal(Value::Number(value), text),
                None => return self.wrong(format!("illegal number syntax: {text:?}")),
            },
            Kind::Mark('(') => {
                let close = Kind::Mark(')');
                let inner = self.deeper(|parser| parser.pipeline("parenthesized pipeline", &close))?;
                return Ok(Operand { place: inner.place, term: Term::Group(inner) });
            }
            Kind::Name(name) if functions::exists(&name) => Term::Function(name),
            Kind::Name(name) => return self.wrong(format!("function {name:?} not defined")),
            _ => return self.unexpected(&token, "operand"),
        };
        Ok(Operand { term, place: token.place })
    }

    /// A character stands for its number.
    fn character(&self, text: &str) -> Parsed<Value> {
        let inner = unquote(text);
        let mut characters = inner.as_deref().unwrap_or_default().chars();
        match (inner.is_some(), characters.next(), characters.next()) {
            (true, Some(one), None) => Ok(u32::from(one).into()),
            (true, _, _) => self.wrong(format!("malformed character constant: {text}")),
            (false, _, _) => self.wrong("invalid syntax"),
        }
    }
}

/// Whether it is nothing but white space.
fn is_empty(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}

fn number(text: &str) -> Option<Number> {
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
    let (integer, radix) = radix.or_else(octal).unwrap_or((digits, 10));
    if !integer.starts_with(['+', '-'])
        && let Ok(value) = i64::from_str_radix(integer, radix)
    {
        return Some((sign * value).into());
    }
    let float = plain.parse::<f64>().ok()?;
    // Go takes a float that is whole for an integer, too, where one is wanted; it prints as a float.
    Number::from_f64(float)
}
