//! Go templates as `--format` has them: text/template's language with Docker's functions, over JSON values.
//!
//! ```text
//!   text ─► tokens ─► parse ─► nodes ─► evaluate ─► text
//!                                          ├─ functions, printf
//!                                          └─ value (truth, order and looks of a value)
//! ```
//!
//! Differences from Go come from its types: a field is found by its JSON key or by its Go name, and a structure
//! prints as a map.

mod evaluate;
mod functions;
mod node;
mod parse;
mod printf;
mod tokens;
mod value;

use serde_json::Value;

use node::Node;
use parse::Named;

/// What is wrong with a template, in the words of Go's library.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {message}")]
pub(crate) struct TemplateError {
    message: String,
}

impl TemplateError {
    fn parsing(line: usize, what: impl std::fmt::Display) -> Self {
        Self { message: format!(":{line}: {what}") }
    }
}

/// A method of the value that a template is applied to: `{{.Label "name"}}`. `None` where there is none of
/// this name.
pub(crate) type Method<'a> = dyn Fn(&str, &[Value]) -> Option<Value> + 'a;

/// How functions behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As they are named.
    Data,
    /// The same, for a row of a table: as one JSON object it has `<`, `>` and `&` escaped, which Docker does
    /// there and nowhere else.
    Row,
    /// What the daemon sent, taken as maps of anything: Docker's second try with a template that its structures
    /// did not fit. Only keys as they came are found then.
    Raw,
    /// A table's header is made by the same template as its rows: functions that would change a column's name
    /// return it as it is.
    Header,
}

/// Entries of an object in the order in which Go visits a map; none of anything else.
pub(crate) fn sorted(value: &Value) -> Vec<(&String, &Value)> {
    value.as_object().map(value::sorted).unwrap_or_default()
}

/// A template that has been read.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<Node>,
    named: Named,
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let (nodes, named) = parse::parse(text)?;
        Ok(Self { nodes, named })
    }

    /// Applies it to a value.
    pub(crate) fn render(&self, data: &Value) -> Result<String, TemplateError> {
        self.render_with(data, &|_, _| None, Mode::Data)
    }

    /// Applies it to a value with methods.
    pub(crate) fn render_with(
        &self,
        data: &Value,
        method: &Method<'_>,
        mode: Mode,
    ) -> Result<String, TemplateError> {
        evaluate::evaluate(&self.nodes, &self.named, data, method, mode)
    }

    /// Whether a field of this name occurs anywhere.
    pub(crate) fn mentions(&self, field: &str) -> bool {
        let mut all = self.nodes.iter().chain(self.named.values().flatten());
        all.any(|node| node.mentions(field))
    }
}

#[cfg(test)]
mod tests;
