//! `inspect`, `container inspect`, `image inspect`: everything that the engine knows of a thing.

use serde_json::Value;

use super::arguments::OBJECT_FORMAT_HELP;
use super::client::{Call, escape};
use super::container::container_path;
use super::error::{BAD_TEMPLATE, CliError};
use super::image::{image_path, platform as image_platform};
use super::output::json;
use super::session::{self, Session};
use super::template::{Mode, Template};

/// `holm inspect`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(short, long, value_name = "string", default_value = "", help = OBJECT_FORMAT_HELP)]
    format: String,
    /// Display total file sizes if the type is container
    #[arg(short, long)]
    size: bool,
    /// Only inspect objects of the given type
    #[arg(long = "type", value_name = "string")]
    kind: Option<String>,
    #[arg(required = true, value_name = "NAME|ID")]
    names: Vec<String>,
}

/// `holm container inspect`
#[derive(Debug, clap::Args)]
pub(crate) struct ContainerArgs {
    #[arg(short, long, value_name = "string", default_value = "", help = OBJECT_FORMAT_HELP)]
    format: String,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

/// `holm image inspect`
#[derive(Debug, clap::Args)]
pub(crate) struct ImageArgs {
    #[arg(short, long, value_name = "string", default_value = "", help = OBJECT_FORMAT_HELP)]
    format: String,
    /// Inspect a specific platform of the multi-platform image.
    /// If the image or the server is not multi-platform capable, the command will error out if the platform does not match.
    /// 'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)
    #[arg(long, value_name = "string", default_value = "", verbatim_doc_comment)]
    platform: String,
    #[arg(required = true, value_name = "IMAGE")]
    names: Vec<String>,
}

/// `holm network inspect`
#[derive(Debug, clap::Args)]
pub(crate) struct NetworkArgs {
    #[arg(short, long, value_name = "string", default_value = "", help = OBJECT_FORMAT_HELP)]
    format: String,
    /// Verbose output for diagnostics
    #[arg(short, long)]
    verbose: bool,
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,
}

/// `holm volume inspect`
#[derive(Debug, clap::Args)]
pub(crate) struct VolumeArgs {
    #[arg(short, long, value_name = "string", default_value = "", help = OBJECT_FORMAT_HELP)]
    format: String,
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,
}

/// What can be inspected, in the order in which a bare name is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Container,
    Image,
    Network,
    Volume,
    Service,
    Task,
    Node,
    Secret,
    Config,
    Plugin,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Container,
        Self::Image,
        Self::Network,
        Self::Volume,
        Self::Service,
        Self::Task,
        Self::Node,
        Self::Secret,
        Self::Config,
        Self::Plugin,
    ];
    /// Those that a name without a type may mean. The others exist only in a swarm or have a command of
    /// their own.
    const GUESSED: [Self; 4] = [Self::Container, Self::Image, Self::Network, Self::Volume];

    fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Service => "service",
            Self::Task => "task",
            Self::Node => "node",
            Self::Secret => "secret",
            Self::Config => "config",
            Self::Plugin => "plugin",
        }
    }

    fn parse(text: &str) -> Result<Self, CliError> {
        let mut words: Vec<&str> = Self::ALL.iter().map(|kind| kind.word()).collect();
        words.sort_unstable();
        let list = words.join("\", \"");
        match Self::ALL.into_iter().find(|kind| kind.word() == text) {
            Some(kind) => Ok(kind),
            None if text.is_empty() => {
                Err(CliError::said(format!("type is empty: must be one of \"{list}\"")))
            }
            None => Err(CliError::said(format!("unknown type: {text:?}: must be one of \"{list}\""))),
        }
    }

    fn call(self, name: &str, size: bool) -> Result<Call, CliError> {
        let plural = |group: &str| Call::get(format!("/{group}/{}", escape(name).replace('/', "%2F")));
        Ok(match self {
            Self::Container => Call::get(container_path(name, "/json")?).flag("size", size),
            Self::Image => Call::get(image_path(name, "/json")),
            Self::Network => plural("networks"),
            Self::Volume => plural("volumes"),
            Self::Service => plural("services").query("insertDefaults", "true"),
            Self::Task => plural("tasks"),
            Self::Node => plural("nodes"),
            Self::Secret => plural("secrets"),
            Self::Config => plural("configs"),
            Self::Plugin => Call::get(format!("/plugins/{}/json", escape(name))),
        })
    }
}

/// Inspects things of a kind that is named or guessed.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let kind = args.kind.as_deref().map(Kind::parse).transpose()?;
    inspect(&args.format, &args.names, async |name| match kind {
        Some(kind) => found(session, kind, name, args.size).await,
        None => guess(session, name, args.size).await,
    })
    .await
}

/// Inspects containers.
pub(crate) async fn containers(args: ContainerArgs, session: &Session) -> Result<(), CliError> {
    inspect(&args.format, &args.names, async |name| found(session, Kind::Container, name, args.size).await)
        .await
}

/// Inspects images.
pub(crate) async fn images(args: ImageArgs, session: &Session) -> Result<(), CliError> {
    let platform = image_platform(&args.platform)?;
    inspect(&args.format, &args.names, async |name| {
        let call = Kind::Image.call(name, false)?.option("platform", platform.as_ref());
        text(session.client.send(call).await?.bytes().await?.to_vec())
    })
    .await
}

/// Inspects networks.
pub(crate) async fn networks(args: NetworkArgs, session: &Session) -> Result<(), CliError> {
    inspect(&args.format, &args.names, async |name| {
        let call = Kind::Network.call(name, false)?.option("verbose", args.verbose.then_some("true"));
        text(session.client.send(call).await?.bytes().await?.to_vec())
    })
    .await
}

/// Inspects volumes. Docker shows their fields in the order of their names.
pub(crate) async fn volumes(args: VolumeArgs, session: &Session) -> Result<(), CliError> {
    inspect(&args.format, &args.names, async |name| {
        let volume = found(session, Kind::Volume, name, false).await?;
        let volume: Value =
            serde_json::from_str(&volume).map_err(|error| CliError::Transport(Box::new(error)))?;
        Ok(in_order(volume).to_string())
    })
    .await
}

/// The same, with all fields in the order of their names.
fn in_order(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let fields: std::collections::BTreeMap<String, Value> = map.into_iter().collect();
            fields.into_iter().map(|(name, value)| (name, in_order(value))).collect()
        }
        Value::Array(list) => list.into_iter().map(in_order).collect(),
        other => other,
    }
}

fn text(bytes: Vec<u8>) -> Result<String, CliError> {
    String::from_utf8(bytes).map_err(|error| CliError::Transport(Box::new(error)))
}

/// A thing's JSON as the engine sent it.
async fn found(session: &Session, kind: Kind, name: &str, size: bool) -> Result<String, CliError> {
    let bytes = session.client.send(kind.call(name, size)?).await?.bytes().await?;
    if size && kind != Kind::Container {
        session::warn(&format!("WARNING: --size ignored for {}", kind.word()));
    }
    text(bytes.to_vec())
}

async fn guess(session: &Session, name: &str, size: bool) -> Result<String, CliError> {
    for kind in Kind::GUESSED {
        match found(session, kind, name, size).await {
            Err(error) if is_other_kind(&error) => {}
            answer => return answer,
        }
    }
    Err(CliError::said(format!("Error: No such object: {name}")))
}

/// Whether the error only says that the name means something else.
fn is_other_kind(error: &CliError) -> bool {
    let text = error.to_string();
    error.is_not_found() || text.contains("not supported") || text.contains("invalid reference format")
}

/// Looks for each, and shows what is found.
async fn inspect(
    format: &str,
    names: &[String],
    find: impl AsyncFn(&str) -> Result<String, CliError>,
) -> Result<(), CliError> {
    // A template that is wrong is told before anything is looked for.
    template(format)?;
    let mut found = Vec::new();
    for name in names {
        found.push(find(name).await);
    }
    show_all(format, found)
}

fn template(format: &str) -> Result<Option<Template>, CliError> {
    match format {
        "" | "json" => Ok(None),
        text => Template::parse(text).map(Some).map_err(|error| CliError::Said {
            text: format!("template parsing error: {error}"),
            code: BAD_TEMPLATE,
        }),
    }
}

/// Prints all that was found, in one list or each by the template, and then fails where some were not.
pub(crate) fn show_all(format: &str, found: Vec<Result<String, CliError>>) -> Result<(), CliError> {
    let template = template(format)?;
    let mut things = Vec::new();
    let mut errors = Vec::new();
    for found in found {
        let shown = match (found, &template) {
            (Ok(json), Some(template)) => apply(template, &json),
            (found, _) => found,
        };
        match shown {
            Ok(thing) => things.push(thing),
            Err(error) => errors.push(error),
        }
    }
    session::print(&match template {
        // Docker ends an empty output with a newline, too.
        Some(_) if things.is_empty() => "\n".to_owned(),
        Some(_) => things.concat(),
        None => list(&things, format == "json"),
    })?;
    CliError::all(errors)
}

fn apply(template: &Template, json: &str) -> Result<String, CliError> {
    let mut value: Value =
        serde_json::from_str(json).map_err(|error| CliError::Transport(Box::new(error)))?;
    fill_in(&mut value);
    order_maps(&mut value);
    let text = template.render(&value).or_else(|_| {
        // Docker's structures have fields that JSON leaves out. What does not fit them, it looks up as it came.
        let mut came: Value = serde_json::from_str(json).unwrap_or_default();
        order_maps(&mut came);
        template.render_with(&came, &|_, _| None, Mode::Raw)
    });
    Ok(text.map_err(|error| CliError::said(format!("template parsing error: {error}")))? + "\n")
}

/// Of what the engine sends, these are maps in Go, which are shown in the order of their keys; the others are
/// structures, which keep theirs.
fn order_maps(value: &mut Value) {
    const MAPS: [&str; 13] = [
        "Annotations",
        "Config",
        "DriverOpts",
        "ExposedPorts",
        "Labels",
        "Networks",
        "Options",
        "PortBindings",
        "Ports",
        "StorageOpt",
        "Sysctls",
        "Tmpfs",
        "Volumes",
    ];
    match value {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                // A log's `Config` is a map of texts, a container's is not.
                let texts = value.as_object().is_some_and(|map| map.values().all(Value::is_string));
                if let Value::Object(inner) = value
                    && MAPS.contains(&name.as_str())
                    && (name != "Config" || texts)
                {
                    inner.sort_keys();
                }
                order_maps(value);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(order_maps),
        _ => {}
    }
}

/// Go's structures have all their fields; in JSON, empty ones may be left out. Templates ask for these.
fn fill_in(value: &mut Value) {
    const ABSENT: [(&str, &[&str]); 3] = [
        ("State", &["Health"]),
        ("Config", &["Healthcheck", "StopTimeout", "StopSignal", "Shell"]),
        ("HostConfig", &["Init", "Mounts", "Tmpfs", "Sysctls", "StorageOpt", "Annotations"]),
    ];
    for (part, fields) in ABSENT {
        if let Some(part) = value.get_mut(part).and_then(Value::as_object_mut) {
            for field in fields {
                part.entry(*field).or_insert(if *field == "StopSignal" { "".into() } else { Value::Null });
            }
        }
    }
}

fn list(things: &[String], compact: bool) -> String {
    let all = format!("[{}]", things.join(","));
    let text = if compact { json::compact(&all) } else { json::indented(&all) };
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_indented_by_four_and_keeps_what_came() {
        let things = [r#"{"Id":"a","N":1.50}"#.to_owned()];
        assert_eq!(list(&things, false), "[\n    {\n        \"Id\": \"a\",\n        \"N\": 1.50\n    }\n]\n");
        assert_eq!(list(&things, true), "[{\"Id\":\"a\",\"N\":1.50}]\n");
        assert_eq!(list(&[], false), "[]\n");
    }

    #[test]
    fn templates_find_fields_that_json_leaves_out() {
        let shown = |text: &str, json: &str| apply(&Template::parse(text).unwrap(), json).unwrap();
        let json = r#"{"State":{"Status":"running"}}"#;
        assert_eq!(shown("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", json), "none\n");
        let json = r#"{"State":{"Health":{"Status":"healthy"}}}"#;
        assert_eq!(shown("{{.State.Health.Status}}", json), "healthy\n");
    }

    /// Recorded from Docker's command line, version 28.2: what `container inspect --format` makes of an object.
    #[test]
    fn templates_do_what_dockers_do() {
        let recorded: Value = serde_json::from_str(include_str!("golden/templates.json")).unwrap();
        let object = recorded["object"].to_string();
        let cases = recorded["cases"].as_array().unwrap();
        assert!(cases.len() > 70);
        for case in cases {
            let text = case["template"].as_str().unwrap();
            let (status, shown, said) = match template(text) {
                Err(error) => (u64::from(error.exit_code()), String::new(), error.to_string()),
                Ok(None) => panic!("{text} is no template"),
                Ok(Some(template)) => match apply(&template, &object) {
                    Ok(shown) => (0, shown, String::new()),
                    Err(error) => (1, "\n".to_owned(), error.to_string()),
                },
            };
            assert_eq!(status, case["status"].as_u64().unwrap(), "{text}: {said}");
            assert_eq!(
                (shown.as_str(), said.as_str()),
                (case["stdout"].as_str().unwrap(), case["stderr"].as_str().unwrap(),),
                "{text}"
            );
        }
    }

    #[test]
    fn an_unknown_type_is_told_with_those_there_are() {
        assert_eq!(
            Kind::parse("foo").unwrap_err().to_string(),
            "unknown type: \"foo\": must be one of \"config\", \"container\", \"image\", \"network\", \"node\", \
             \"plugin\", \"secret\", \"service\", \"task\", \"volume\""
        );
    }
}
