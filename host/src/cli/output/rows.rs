//! Lists of things, in all the forms that `--format` can give them: a table, a table of other columns, JSON,
//! or any text for each.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::table;
use crate::cli::error::CliError;
use crate::cli::template::{Mode, Template, TemplateError};

/// Docker's tables: columns at least this wide, with so much room between them.
const NARROWEST: usize = 10;
const PADDING: usize = 3;

/// A column's name in templates, and its header.
pub(crate) type Column = (&'static str, &'static str);

/// One thing of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    /// By the columns' names.
    values: BTreeMap<&'static str, Value>,
    /// What `{{.Label "name"}}` finds.
    labels: BTreeMap<String, String>,
}

impl Row {
    /// Sets a column.
    pub(crate) fn with(mut self, column: &'static str, value: impl Into<Value>) -> Self {
        self.values.insert(column, value.into());
        self
    }

    /// As templates see it: in the order of the columns' names, as Go writes a map.
    pub(crate) fn to_value(&self) -> Value {
        let values = self.values.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Value::Object(values.collect())
    }

    /// Sets the labels.
    pub(crate) fn labelled(mut self, labels: BTreeMap<String, String>) -> Self {
        self.labels = labels;
        self
    }
}

/// How a list is wanted, read from `--format`.
#[derive(Debug)]
pub(crate) struct Format {
    table: bool,
    template: Template,
}

impl Format {
    /// Reads a format. Without one, or with the word `table` alone, it is `default`. `\t` and `\n` may be
    /// spelled out, because shells make it hard to type them.
    pub(crate) fn parse(format: &str, default: &str) -> Result<Self, TemplateError> {
        let format = match format {
            "" | "table" => default,
            "json" => "{{json .}}",
            other => other,
        };
        let (table, text) = match format.strip_prefix("table") {
            Some(text) => (true, text),
            None => (false, format),
        };
        let text = text.trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n");
        Ok(Self { table, template: Template::parse(&text)? })
    }

    /// Whether it shows this column.
    pub(crate) fn mentions(&self, column: &str) -> bool {
        self.template.mentions(column)
    }

    /// The whole list.
    pub(crate) fn render(&self, columns: &[Column], rows: &[Row]) -> Result<String, TemplateError> {
        let mut text = String::new();
        if self.table {
            text.push_str(&self.header(columns)?);
            text.push('\n');
        }
        for row in rows {
            let label = |name: &str, arguments: &[Value]| match (name, arguments) {
                ("Label", [Value::String(label)]) => {
                    Some(row.labels.get(label).map_or("", String::as_str).into())
                }
                _ => None,
            };
            text.push_str(&self.template.render_with(&row.to_value(), &label, Mode::Row)?);
            text.push('\n');
        }
        Ok(if self.table { table::align(&text, NARROWEST, PADDING) } else { text })
    }

    fn header(&self, columns: &[Column]) -> Result<String, TemplateError> {
        let names: Map<String, Value> =
            columns.iter().map(|(name, header)| ((*name).to_owned(), Value::from(*header))).collect();
        // `{{.Label "com.example.some-thing"}}` stands under SOME THING in small letters.
        let label = |name: &str, arguments: &[Value]| match (name, arguments) {
            ("Label", [Value::String(label)]) => {
                let last = label.rsplit('.').next().unwrap_or_default();
                Some(last.replace(['-', '_'], " ").into())
            }
            _ => None,
        };
        self.template.render_with(&names.into(), &label, Mode::Header)
    }
}

/// A template's mistake as an error of the command.
pub(crate) fn template_error(error: TemplateError) -> CliError {
    CliError::said(format!("template parsing error: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 2] = [("ID", "CONTAINER ID"), ("Names", "NAMES")];

    fn rows() -> Vec<Row> {
        let row = |id: &str, name: &str| Row::default().with("ID", id).with("Names", name);
        vec![row("1", "a"), row("2", "b<c").labelled(BTreeMap::from([("k".to_owned(), "v".to_owned())]))]
    }

    fn render(format: &str) -> String {
        Format::parse(format, "table {{.ID}}\t{{.Names}}").unwrap().render(&COLUMNS, &rows()).unwrap()
    }

    #[test]
    fn a_table_has_its_columns_headers_and_room() {
        let expected = "CONTAINER ID   NAMES\n1              a\n2              b<c\n";
        assert_eq!(render(""), expected);
        assert_eq!(render("table"), expected);
        assert_eq!(render(r"table {{.Names}}\t{{.Label `k`}}"), "NAMES     k\na         \nb<c       v\n");
        assert_eq!(render("table {{lower .ID}}"), "CONTAINER ID\n1\n2\n");
    }

    #[test]
    fn json_is_one_object_a_line_with_its_keys_in_order() {
        assert_eq!(
            render("json"),
            "{\"ID\":\"1\",\"Names\":\"a\"}\n{\"ID\":\"2\",\"Names\":\"b\\u003cc\"}\n"
        );
        assert_eq!(render("{{json .Names}}"), "\"a\"\n\"b<c\"\n");
    }

    #[test]
    fn other_texts_are_repeated_for_each() {
        assert_eq!(render(r"{{.ID}}:\t{{upper .Names}}"), "1:\tA\n2:\tB<C\n");
    }
}
