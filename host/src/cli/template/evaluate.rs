//! Applies nodes to a value.

use serde_json::Value;

use super::functions;
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

struct State<'a> {
    method: &'a Method<'a>,
    named: &'a Named,
    depth: usize,
    root: &'a Value,
    mode: Mode,
    variables: Vec<(String, Value)>,
    text: String,
}

impl State<'_> {
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
        let failed = |what: String| TemplateError {
            message: format!(
                ":{}:{}: executing \"\" at <{{{{template {name:?}}}}}>: {what}",
                place.line,
                place.column + "template ".len(),
            ),
        };
        let Some(nodes) = self.named.get(name) else {
            return Err(failed(format!("template {name:?} not defined")));
        };
        let value = match argument {
            Some(argument) => self.pipeline(argument, dot)?,
            None => Value::Null,
        };
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(failed(format!("exceeded maximum template depth ({DEEPEST})")));
        }
        let outer = std::mem::replace(&mut self.variables, vec![("$".to_owned(), value.clone())]);
        let flow = self.list(nodes, &value);
        self.variables = outer;
        self.depth -= 1;
        // Whoever fails is named once, by the template that it stands in.
        flow.map(drop).map_err(|error| TemplateError {
            message: error.message.replacen("executing \"\"", &format!("executing {name:?}"), 1),
        })
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
            other => {
                let what = format!("range can't iterate over {}", show(other));
                return Err(failed(&over.commands[0].operands[0], what));
            }
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

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            self.assign(name, value.clone(), pipeline.declares);
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Value::Null))
    }

    fn command(
        &mut self,
        command: &Command,
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, TemplateError> {
        let [first, rest @ ..] = command.operands.as_slice() else { return Ok(Value::Null) };
        if let Term::Function(name) = &first.term {
            if let Some(value) = self.short_circuit(name, rest, dot, piped.as_ref())? {
                return self.fields(value, &first.fields, first);
            }
            let arguments = self.arguments(rest, dot, piped)?;
            let value =
                functions::call(name, &arguments, self.mode).map_err(|what| calling(command, name, &what))?;
            return self.fields(value, &first.fields, first);
        }
        if rest.is_empty() && piped.is_none() {
            return self.operand(first, dot);
        }
        // Arguments are for a method: only the root has any.
        let arguments = self.arguments(rest, dot, piped)?;
        if let (Term::Dot, [name]) = (&first.term, first.fields.as_slice())
            && std::ptr::eq(dot, self.root)
            && let Some(value) = (self.method)(name, &arguments)
        {
            return Ok(value);
        }
        let name = first.fields.last().cloned().unwrap_or_else(|| first.text());
        Err(failed(first, format!("{name} has arguments but cannot be invoked as function")))
    }

    /// `and` and `or` look at no more arguments than they need.
    fn short_circuit(
        &mut self,
        name: &str,
        rest: &[Operand],
        dot: &Value,
        piped: Option<&Value>,
    ) -> Result<Option<Value>, TemplateError> {
        let stops_at = match name {
            "and" => false,
            "or" => true,
            _ => return Ok(None),
        };
        let mut last = None;
        for operand in rest {
            let value = self.operand(operand, dot)?;
            if truth(&value) == stops_at {
                return Ok(Some(value));
            }
            last = Some(value);
        }
        Ok(piped.cloned().or(last))
    }

    fn arguments(
        &mut self,
        operands: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Vec<Value>, TemplateError> {
        let mut arguments = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        Ok(arguments)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        let value = match &operand.term {
            Term::Dot => return self.fields_of(dot, &operand.fields, operand),
            Term::Literal(value) => value.clone(),
            Term::Group(pipeline) => self.pipeline(pipeline, dot)?,
            Term::Function(name) => functions::call(name, &[], self.mode)
                .map_err(|what| complaint(operand, operand.place.column, &operand.text(), name, &what))?,
            Term::Variable(name) => match self.variables.iter().rev().find(|(known, _)| known == name) {
                Some((_, value)) => value.clone(),
                None => return Err(failed(operand, format!("undefined variable {name:?}"))),
            },
        };
        self.fields(value, &operand.fields, operand)
    }

    fn fields(&self, value: Value, names: &[String], operand: &Operand) -> Result<Value, TemplateError> {
        if names.is_empty() { Ok(value) } else { self.fields_of(&value, names, operand) }
    }

    fn fields_of(&self, value: &Value, names: &[String], operand: &Operand) -> Result<Value, TemplateError> {
        let mut value = value;
        // The column of the field that is looked at, dots included.
        let mut walked = if operand.term_is_dot() { 0 } else { operand.text().len() - fields_length(names) };
        for name in names {
            let failed = |what: String| failed_at(operand, operand.place.column + walked, what);
            value = match value {
                Value::Object(map) => {
                    field(map, name).ok_or_else(|| failed(format!("map has no entry for key {name:?}")))?
                }
                Value::Null => {
                    return Err(failed(format!("nil pointer evaluating interface {{}}.{name}")));
                }
                other => {
                    return Err(failed(format!("can't evaluate field {name} in type {}", kind(other))));
                }
            };
            walked += name.len() + 1;
        }
        Ok(value.clone())
    }
}

/// The field's name where a pipeline is nothing but a field.
fn only_field(pipeline: &Pipeline) -> Option<&str> {
    match pipeline.commands.as_slice() {
        [command] if command.operands.len() == 1 => command.operands[0].fields.last().map(String::as_str),
        _ => None,
    }
}

/// A function's complaint about a whole command.
fn calling(command: &Command, name: &str, what: &str) -> TemplateError {
    let first = &command.operands[0];
    let words: Vec<String> = command.operands.iter().map(Operand::text).collect();
    complaint(first, first.place.column, &words.join(" "), name, what)
}

/// The same. Arguments are counted before the function is called.
fn complaint(first: &Operand, column: usize, text: &str, name: &str, what: &str) -> TemplateError {
    if what.starts_with("wrong number of args") {
        return failed(first, what.to_owned());
    }
    let line = first.place.line;
    TemplateError {
        message: format!(":{line}:{column}: executing \"\" at <{text}>: error calling {name}: {what}"),
    }
}

fn failed(operand: &Operand, what: String) -> TemplateError {
    failed_at(operand, operand.place.column, what)
}

fn failed_at(operand: &Operand, column: usize, what: String) -> TemplateError {
    let line = operand.place.line;
    TemplateError { message: format!(":{line}:{column}: executing \"\" at <{}>: {what}", operand.text()) }
}

/// Bytes of fields with their dots.
fn fields_length(names: &[String]) -> usize {
    names.iter().map(|name| name.len() + 1).sum()
}
