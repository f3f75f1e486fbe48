//! Applies nodes to a value. The order of evaluation, and the place that a complaint names, are those of Go's
//! text/template.

use serde_json::Value;

use super::functions::{self, Accepts};
use super::node::{Command, Node, Operand, Pipeline, Place, Term};
use super::parse::Named;
use super::value::{field, kind, show, show_null, sorted, truth};
use super::{Method, Mode, TemplateError};

/// How deeply templates may call each other, and themselves.
const DEEPEST: usize = 100;
/// Bytes of a result. A template is the user's own, so this only catches a slip.
const LONGEST_RESULT: usize = 64 << 20;

/// The text that the nodes make of `data`.
pub(super) fn evaluate(
    nodes: &[Node],
    named: &Named,
    data: &Value,
    method: &Method<'_>,
    mode: Mode,
) -> Result<String, TemplateError> {
    let mut state = State {
        method,
        named,
        depth: 0,
        root: data,
        mode,
        variables: vec![("$".to_owned(), data.clone())],
        text: String::new(),
        template: String::new(),
        at: (Place { line: 1, column: 0 }, String::new()),
    };
    state.list(nodes, data)?;
    Ok(state.text)
}

/// Whether a list ran to its end.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

type Evaluated = Result<Value, TemplateError>;

struct State<'a> {
    method: &'a Method<'a>,
    named: &'a Named,
    depth: usize,
    root: &'a Value,
    mode: Mode,
    variables: Vec<(String, Value)>,
    text: String,
    /// The name of the template that is being applied.
    template: String,
    /// What is being evaluated, for complaints.
    at: (Place, String),
}

impl State<'_> {
    fn fail<T>(&self, what: impl std::fmt::Display) -> Result<T, TemplateError> {
        let (Place { line, column }, text) = &self.at;
        let template = &self.template;
        Err(TemplateError {
            message: format!(":{line}:{column}: executing {template:?} at <{text}>: {what}"),
        })
    }

    fn at(&mut self, operand: &Operand) {
        self.at = (operand.place, operand.text());
    }

    fn list(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, TemplateError> {
        for node in nodes {
            match self.node(node, dot)? {
                Flow::On => {}
                other => return Ok(other),
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, TemplateError> {
        match node {
            Node::Text(text) => self.text.push_str(text),
            Node::Show(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                match (&value, only_field(pipeline)) {
                    _ if !pipeline.variables.is_empty() => {}
                    (Value::Null, Some(field)) => self.text.push_str(show_null(field)),
                    _ => self.text.push_str(&show(&value)),
                }
            }
            Node::Branch { sets_dot, condition, then, otherwise } => {
                let scope = self.variables.len();
                let value = self.pipeline(condition, dot)?;
                let flow = match (truth(&value), sets_dot) {
                    (true, true) => self.list(then, &value),
                    (true, false) => self.list(then, dot),
                    (false, _) => self.list(otherwise, dot),
                };
                self.variables.truncate(scope);
                return flow;
            }
            Node::Range { over, body, otherwise } => return self.range(over, body, otherwise, dot),
            Node::Call { name, argument, place } => self.template(name, argument.as_ref(), *place, dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        if self.text.len() > LONGEST_RESULT {
            return Err(TemplateError { message: "the result is too long".to_owned() });
        }
        Ok(Flow::On)
    }

    /// Another template, which sees nothing but the value that it is applied to.
    fn template(
        &mut self,
        name: &str,
        argument: Option<&Pipeline>,
        place: Place,
        dot: &Value,
    ) -> Result<(), TemplateError> {
        let shown = argument.map(|argument| format!(" {}", argument.text())).unwrap_or_default();
        let here = (place, format!("{{{{template {name:?}{shown}}}}}"));
        self.at = here.clone();
        let Some(nodes) = self.named.get(name) else {
            return self.fail(format!("template {name:?} not defined"));
        };
        if self.depth == DEEPEST {
            return self.fail(format!("exceeded maximum template depth ({DEEPEST})"));
        }
        let value = match argument {
            Some(argument) => self.pipeline(argument, dot)?,
            None => Value::Null,
        };
        self.at = here;
        self.depth += 1;
        let outer = std::mem::replace(&mut self.variables, vec![("$".to_owned(), value.clone())]);
        let caller = std::mem::replace(&mut self.template, name.to_owned());
        self.list(nodes, &value)?;
        self.template = caller;
        self.variables = outer;
        self.depth -= 1;
        Ok(())
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        let value = self.commands(over, dot)?;
        let mut items: Box<dyn Iterator<Item = (Value, Value)>> = match &value {
            // A structure that is not there is nothing that could have elements.
            Value::Null if only_field(over).is_some_and(|field| show_null(field) == "<nil>") => {
                return self.fail("range can't iterate over <nil>");
            }
            Value::Null => Box::new(std::iter::empty()),
            Value::Array(list) => {
                Box::new(list.iter().enumerate().map(|(index, item)| (index.into(), item.clone())))
            }
            Value::Object(map) => {
                Box::new(sorted(map).into_iter().map(|(key, item)| (key.as_str().into(), item.clone())))
            }
            Value::Number(count) if count.is_i64() => {
                Box::new((0..count.as_i64().unwrap_or(0)).map(|index| (index.into(), index.into())))
            }
            other => return self.fail(format!("range can't iterate over {}", show(other))),
        };
        let Some(first) = items.next() else { return self.list(otherwise, dot) };
        for (key, item) in std::iter::once(first).chain(items) {
            match over.variables.as_slice() {
                [] => {}
                [one] => self.assign(one, item.clone(), over.declares),
                [index, one, ..] => {
                    self.assign(index, key, over.declares);
                    self.assign(one, item.clone(), over.declares);
                }
            }
            let flow = self.list(body, &item)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn assign(&mut self, name: &str, value: Value, declares: bool) {
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, known)) if !declares => *known = value,
            _ => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Evaluated {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            self.assign(name, value.clone(), pipeline.declares);
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Evaluated {
        self.at = (pipeline.place, pipeline.text());
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Value::Null))
    }

    fn command(&mut self, command: &Command, dot: &Value, piped: Option<Value>) -> Evaluated {
        let [first, rest @ ..] = command.operands.as_slice() else { return Ok(Value::Null) };
        let alone = rest.is_empty() && piped.is_none();
        match &first.term {
            Term::Function(name) => {
                self.at(first);
                self.call(name, rest, dot, piped, (command.place, &command.text()))
            }
            // Arguments are for a method, and only the root has any.
            Term::Field(names) if !alone || std::ptr::eq(dot, self.root) => {
                self.at(first);
                if let [name] = names.as_slice()
                    && std::ptr::eq(dot, self.root)
                {
                    let mut arguments = Vec::with_capacity(rest.len() + 1);
                    for operand in rest {
                        arguments.push(self.operand(operand, dot)?);
                    }
                    arguments.extend(piped.clone());
                    if let Some(value) = (self.method)(name, &arguments) {
                        return Ok(value);
                    }
                    self.at(first);
                }
                if alone { self.fields(dot, names) } else { self.no_method(dot, names) }
            }
            Term::Variable(_, names) | Term::Chain(_, names) if !alone && !names.is_empty() => {
                let value = self.start(first, dot)?;
                self.no_method(&value, names)
            }
            Term::Nil => {
                self.at(first);
                self.not_a_function(first, alone)?;
                self.fail("nil is not a command")
            }
            Term::Group(_) => {
                self.not_a_function(first, alone)?;
                self.operand(first, dot)
            }
            _ => {
                self.at(first);
                self.not_a_function(first, alone)?;
                self.operand(first, dot)
            }
        }
    }

    fn not_a_function(&self, first: &Operand, alone: bool) -> Result<(), TemplateError> {
        if alone {
            Ok(())
        } else {
            self.fail(format!("can't give argument to non-function {}", first.text()))
        }
    }

    /// The last field got arguments, which it cannot take.
    fn no_method(&self, value: &Value, names: &[String]) -> Evaluated {
        let [walked @ .., last] = names else { return Ok(value.clone()) };
        let holder = self.fields(value, walked)?;
        match holder {
            Value::Object(_) => self.fail(format!("{last} is not a method but has arguments")),
            other => self.fields(&other, std::slice::from_ref(last)),
        }
    }

    /// Calls a function. `whole` is what a complaint of the function itself names.
    fn call(
        &mut self,
        name: &str,
        operands: &[Operand],
        dot: &Value,
        piped: Option<Value>,
        whole: (Place, &str),
    ) -> Evaluated {
        let signature = functions::signature(name, self.mode);
        let given = operands.len() + usize::from(piped.is_some());
        let want = signature.fixed.len();
        if signature.more.is_some() && given < want {
            return self.fail(format!(
                "wrong number of args for {name}: want at least {want} got {}",
                operands.len()
            ));
        }
        if signature.more.is_none() && given != want {
            return self.fail(format!("wrong number of args for {name}: want {want} got {given}"));
        }
        if let "and" | "or" = name {
            return self.short_circuit(name == "or", operands, dot, piped);
        }
        let mut arguments = Vec::with_capacity(given);
        for (at, operand) in operands.iter().enumerate() {
            arguments.push(self.argument(operand, signature.accepts(at), dot)?);
        }
        if let Some(value) = piped {
            self.check(&value, signature.accepts(operands.len()))?;
            arguments.push(value);
        }
        let written = operands.first().map(Operand::text).unwrap_or_default();
        functions::call(name, &arguments, self.mode, &written).or_else(|what| {
            self.at = (whole.0, whole.1.to_owned());
            self.fail(format!("error calling {name}: {what}"))
        })
    }

    /// `and` and `or` look at no more arguments than they need.
    fn short_circuit(
        &mut self,
        stops_at: bool,
        operands: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Evaluated {
        let mut last = Value::Null;
        for operand in operands {
            last = self.operand(operand, dot)?;
            if truth(&last) == stops_at {
                return Ok(last);
            }
        }
        Ok(piped.unwrap_or(last))
    }

    fn argument(&mut self, operand: &Operand, accepts: Accepts, dot: &Value) -> Evaluated {
        self.at(operand);
        match (&operand.term, accepts) {
            (Term::Literal(value, _), _) if !accepts.takes(value) => {
                self.fail(format!("expected {}; found {}", accepts.noun(), operand.text()))
            }
            (Term::Nil, Accepts::Text | Accepts::Integer) => {
                self.fail(format!("cannot assign nil to {}", accepts.go_type()))
            }
            _ => {
                let value = self.operand(operand, dot)?;
                self.check(&value, accepts)?;
                Ok(value)
            }
        }
    }

    fn check(&self, value: &Value, accepts: Accepts) -> Result<(), TemplateError> {
        if accepts.takes(value) {
            return Ok(());
        }
        let wanted = accepts.go_type();
        match value {
            Value::Null => self.fail(format!("invalid value; expected {wanted}")),
            other => {
                self.fail(format!("wrong type for value; expected {wanted}; got {}", self.type_of(other)))
            }
        }
    }

    /// The type's name. Numbers of what the daemon sent have one of their own.
    fn type_of(&self, value: &Value) -> &'static str {
        match value {
            Value::Number(_) if self.mode == Mode::Raw => "json.Number",
            other => kind(other),
        }
    }

    /// What an operand's fields are taken of.
    fn start(&mut self, operand: &Operand, dot: &Value) -> Evaluated {
        self.at(operand);
        match &operand.term {
            Term::Variable(name, _) => match self.variables.iter().rev().find(|(known, _)| known == name) {
                Some((_, value)) => Ok(value.clone()),
                None => self.fail(format!("undefined variable: {name}")),
            },
            Term::Chain(inner, _) if matches!(inner.term, Term::Nil) => {
                self.fail(format!("indirection through explicit nil in {}", operand.text()))
            }
            Term::Chain(inner, _) => self.operand(inner, dot),
            _ => Ok(dot.clone()),
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Evaluated {
        match &operand.term {
            Term::Dot => Ok(dot.clone()),
            Term::Nil => Ok(Value::Null),
            Term::Literal(value, _) => Ok(value.clone()),
            Term::Field(names) => {
                self.at(operand);
                self.fields(dot, names)
            }
            Term::Variable(_, names) | Term::Chain(_, names) => {
                let value = self.start(operand, dot)?;
                self.fields(&value, names)
            }
            Term::Function(name) => {
                self.at(operand);
                self.call(name, &[], dot, None, (operand.place, name))
            }
            Term::Group(pipeline) => {
                self.at(operand);
                self.pipeline(pipeline, dot)
            }
        }
    }

    fn fields(&self, value: &Value, names: &[String]) -> Evaluated {
        let mut value = value;
        for (at, name) in names.iter().enumerate() {
            value = match value {
                Value::Object(map) => match field(map, name, self.mode) {
                    Some(value) => value,
                    None => return self.fail(format!("map has no entry for key {name:?}")),
                },
                Value::Null if at == 0 => return self.fail(format!("nil data; no entry for key {name:?}")),
                Value::Null => return self.fail(format!("nil pointer evaluating interface {{}}.{name}")),
                other => {
                    // What a map holds has no type of its own.
                    let known =
                        if at > 0 && self.mode == Mode::Raw { "interface {}" } else { self.type_of(other) };
                    return self.fail(format!("can't evaluate field {name} in type {known}"));
                }
            };
        }
        Ok(value.clone())
    }
}

/// The field's name where a pipeline is nothing but a field.
fn only_field(pipeline: &Pipeline) -> Option<&str> {
    let [Command { operands, .. }] = pipeline.commands.as_slice() else { return None };
    let [Operand { term, .. }] = operands.as_slice() else { return None };
    match term {
        Term::Field(names) | Term::Variable(_, names) | Term::Chain(_, names) => {
            names.last().map(String::as_str)
        }
        _ => None,
    }
}
