//! What `--log-opt labels=…, env=…, tag=…` make of a container's labels and variables, as `logs --details` shows them
//! (moby, `daemon/logger/loginfo.go`).

use std::collections::{BTreeMap, HashMap};

use regex_lite::Regex;

use super::{invalid, options};
use crate::engine::EngineError;
use crate::engine::records::Definition;

/// `a=b,c=d`, each part as in a query string, in the order of the names.
pub(crate) fn details(definition: &Definition) -> Result<String, EngineError> {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pairs = attributes(definition)?.into_iter();
    Ok(pairs
        .map(|(name, value)| format!("{}={}", encode(&name), encode(&value)))
        .collect::<Vec<_>>()
        .join(","))
}

fn attributes(definition: &Definition) -> Result<BTreeMap<String, String>, EngineError> {
    let none = HashMap::new();
    let labels = definition.config.labels.as_ref().unwrap_or(&none);
    let variables: HashMap<_, _> = definition
        .config
        .env
        .iter()
        .flatten()
        .filter_map(|variable| variable.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut chosen = BTreeMap::new();
    for (option, value) in options(definition).filter(|(_, value)| !value.is_empty()) {
        let (among, by_name) = match option {
            "labels" => (labels, true),
            "labels-regex" => (labels, false),
            "env" => (&variables, true),
            "env-regex" => (&variables, false),
            "tag" => {
                chosen.insert("tag".to_owned(), tag(definition, value)?);
                continue;
            }
            _ => continue,
        };
        if by_name {
            let named = value.split(',').filter_map(|name| among.get_key_value(name));
            chosen.extend(named.map(|(name, value)| (name.clone(), value.clone())));
        } else {
            let expression = Regex::new(value)
                .map_err(|error| invalid(format!("error parsing regexp: {error}: `{value}`")))?;
            let found = among.iter().filter(|(name, _)| expression.is_match(name));
            chosen.extend(found.map(|(name, value)| (name.clone(), value.clone())));
        }
    }
    Ok(chosen)
}

/// A tag with the fields that Docker documents put in.
fn tag(definition: &Definition, template: &str) -> Result<String, EngineError> {
    let id = definition.id.as_str();
    let image = definition.image.id.to_string();
    let fields = [
        ("{{.ID}}", definition.id.short()),
        ("{{.FullID}}", id),
        ("{{.Name}}", &definition.name),
        ("{{.ImageID}}", image.get(..12).unwrap_or(&image)),
        ("{{.ImageFullID}}", &image),
        ("{{.ImageName}}", &definition.image.reference),
        ("{{.DaemonName}}", "docker"),
    ];
    let filled = fields.iter().fold(template.to_owned(), |text, (field, value)| text.replace(field, value));
    if template.contains("{{")
        && fields.iter().fold(template.to_owned(), |t, (f, _)| t.replace(f, "")).contains("{{")
    {
        return Err(EngineError::NotImplemented(format!(
            "Holm {} knows only the plain fields of a log tag yet: {template}",
            holm_api::VERSION
        )));
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::super::tests::logged;
    use super::*;

    fn shown(options: &[(&str, &str)]) -> Result<String, String> {
        let mut definition = logged("json-file", options);
        let labels = [("team", "red & blue"), ("tier", "1"), ("other", "x")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        definition.config.labels = Some(labels.into());
        definition.config.env = Some(vec!["MODE=fast".to_owned(), "BARE".to_owned()]);
        details(&definition).map_err(|error| error.to_string())
    }

    #[test]
    fn labels_and_variables_are_chosen_by_name_and_by_expression() {
        assert_eq!(shown(&[]).unwrap(), "");
        assert_eq!(shown(&[("labels", "tier,team,none")]).unwrap(), "team=red+%26+blue,tier=1");
        assert_eq!(
            shown(&[("labels-regex", "^t"), ("env", "MODE,BARE")]).unwrap(),
            "MODE=fast,team=red+%26+blue,tier=1"
        );
        assert!(shown(&[("env-regex", "(")]).unwrap_err().starts_with("error parsing regexp: "));
    }

    #[test]
    fn a_tag_has_its_fields_filled_in() {
        assert_eq!(shown(&[("tag", "{{.Name}}/{{.ID}}")]).unwrap(), "tag=web%2F0123456789ab");
        assert!(shown(&[("tag", "{{upper .Name}}")]).unwrap_err().contains("plain fields"));
    }
}
