//! `context create` and `context update`: where a named daemon listens, and whom to trust there.

use serde_json::{Value, json};

use super::store::{Context, DEFAULT, Store, TLS_FILES};
use crate::cli::arguments::Caller;
use crate::cli::endpoint::check_material;
use crate::cli::error::{CliError, system_words};
use crate::cli::options::csv_pairs;
use crate::cli::session;

/// What the help of `create` says.
pub(super) const ABOUT: &str = concat!(
    "Create a context\n\n",
    "Docker endpoint config:\n\n",
    "NAME                DESCRIPTION\n",
    "from                Copy named context's Docker endpoint configuration\n",
    "host                Docker endpoint on which to connect\n",
    "ca                  Trust certs signed only by this CA\n",
    "cert                Path to TLS certificate file\n",
    "key                 Path to TLS key file\n",
    "skip-tls-verify     Skip TLS certificate validation\n\n",
    "Example:\n\n",
    "$ docker context create my-context --description \"some description\" --docker \"host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file\"",
);

/// What the help of `update` says.
pub(super) const UPDATE_ABOUT: &str = concat!(
    "Update a context\n\n",
    "Docker endpoint config:\n\n",
    "NAME                DESCRIPTION\n",
    "from                Copy named context's Docker endpoint configuration\n",
    "host                Docker endpoint on which to connect\n",
    "ca                  Trust certs signed only by this CA\n",
    "cert                Path to TLS certificate file\n",
    "key                 Path to TLS key file\n",
    "skip-tls-verify     Skip TLS certificate validation\n\n",
    "Example:\n\n",
    "$ docker context update my-context --description \"some description\" --docker \"host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file\"",
);

/// `holm context create`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Description of the context
    #[arg(long, value_name = "string", default_value = "")]
    description: String,
    /// set the docker endpoint (default [])
    #[arg(long, value_name = "stringToString", value_parser = csv_pairs)]
    docker: Vec<Vec<(String, String)>>,
    /// create context from a named context
    #[arg(long, value_name = "string", default_value = "")]
    from: String,
    #[arg(required = true, value_name = "CONTEXT")]
    context: String,
}

/// `holm context update`
#[derive(Debug, clap::Args)]
pub(crate) struct UpdateArgs {
    /// Description of the context
    #[arg(long, value_name = "string")]
    description: Option<String>,
    /// set the docker endpoint (default [])
    #[arg(long, value_name = "stringToString", value_parser = csv_pairs)]
    docker: Vec<Vec<(String, String)>>,
    #[arg(required = true, value_name = "CONTEXT")]
    context: String,
}

/// TLS material by the names of its files.
type Material = Vec<(&'static str, Vec<u8>)>;

/// Makes a context: of a daemon's address, of another context, or of where we would go now.
pub(super) fn run(args: &Args, caller: &Caller<'_>) -> Result<(), CliError> {
    let store = Store::of(&caller.config);
    check_name(&args.context)?;
    if store.has(&args.context) {
        return Err(CliError::said(format!("context {:?} already exists", args.context)));
    }
    if !args.from.is_empty() && !args.docker.is_empty() {
        return Err(CliError::said("cannot use --docker flag when --from is set"));
    }
    let (context, material) = if args.docker.is_empty() {
        let (source, material) = match args.from.as_str() {
            "" => named(&caller.context(), &store, caller)?,
            from => named(from, &store, caller)?,
        };
        let source = source.renamed(&args.context);
        (if args.description.is_empty() { source } else { source.described(&args.description) }, material)
    } else {
        let (endpoint, material) = endpoint(&args.docker, &store, caller)?;
        (Context::new(&args.context, &args.description, endpoint), material)
    };
    store.write(&context)?;
    store.write_tls(&args.context, &material)?;
    session::print_line(&args.context)?;
    session::warn(&format!("Successfully created context {:?}", args.context));
    Ok(())
}

/// Changes a context's description, its daemon, or both.
pub(super) fn update(args: &UpdateArgs, caller: &Caller<'_>) -> Result<(), CliError> {
    let store = Store::of(&caller.config);
    check_name(&args.context)?;
    let mut context = store.read(&args.context)?;
    if let Some(description) = &args.description {
        context = context.described(description);
    }
    let mut material = None;
    if !args.docker.is_empty() {
        let (endpoint, tls) = endpoint(&args.docker, &store, caller)?;
        context = context.leading_to(endpoint);
        material = Some(tls);
    }
    store.write(&context)?;
    if let Some(material) = material {
        store.write_tls(&args.context, &material)?;
    }
    session::print_line(&args.context)?;
    session::warn(&format!("Successfully updated context {:?}", args.context));
    Ok(())
}

pub(super) fn check_name(name: &str) -> Result<(), CliError> {
    let letter = |next: char| next.is_ascii_alphanumeric() || "_.+-".contains(next);
    if name.is_empty() {
        return Err(CliError::said("context name cannot be empty"));
    }
    if name == DEFAULT {
        return Err(CliError::said(format!("{DEFAULT:?} is a reserved context name")));
    }
    let valid = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.len() > 1
        && name.chars().all(letter);
    if valid {
        return Ok(());
    }
    Err(CliError::said(format!(
        "context name {name:?} is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
    )))
}

/// A context and its TLS material; the default one is made of the surroundings.
fn named(name: &str, store: &Store, caller: &Caller<'_>) -> Result<(Context, Material), CliError> {
    if name == DEFAULT {
        return Ok((caller.default_context()?, Vec::new()));
    }
    Ok((store.read(name)?, store.read_tls(name)))
}

fn endpoint(
    flags: &[Vec<(String, String)>],
    store: &Store,
    caller: &Caller<'_>,
) -> Result<(Value, Material), CliError> {
    let failed = |why: String| CliError::said(format!("unable to create docker endpoint config: {why}"));
    let mut endpoint = json!({"Host": "", "SkipTLSVerify": false});
    let mut material: Material = Vec::new();
    for (key, value) in flags.iter().flatten() {
        match key.as_str() {
            "from" => {
                let (source, tls) = named(value, store, caller)?;
                (endpoint, material) = (source.endpoint().clone(), tls);
            }
            "host" => endpoint["Host"] = value.as_str().into(),
            "skip-tls-verify" => {
                endpoint["SkipTLSVerify"] = value
                    .parse::<bool>()
                    .map_err(|_| failed(format!("strconv.ParseBool: parsing {value:?}: invalid syntax")))?
                    .into();
            }
            "ca" | "cert" | "key" => {
                let bytes = std::fs::read(value)
                    .map_err(|error| failed(format!("open {value}: {}", system_words(&error))))?;
                let file = TLS_FILES.into_iter().find(|file| file.starts_with(key.as_str()));
                material.extend(file.map(|file| (file, bytes)));
            }
            other => return Err(failed(format!("unrecognized config key: {other}"))),
        }
    }
    check_material(&material).map_err(|why| {
        failed(format!("invalid docker endpoint options: failed to retrieve context tls info: {why}"))
    })?;
    Ok((endpoint, material))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dockers_rule() {
        assert!(check_name("my-context_1.2+3").is_ok());
        for wrong in ["", "a", "default", "bad name", "-a", "a/b"] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
