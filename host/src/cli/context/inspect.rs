//! `context inspect`: all that is kept of contexts.

use serde_json::{Map, Value, json};

use super::store::{DEFAULT, Store};
use crate::cli::arguments::{Caller, OBJECT_FORMAT_HELP};
use crate::cli::error::CliError;
use crate::cli::inspect::show_all;

/// `holm context inspect`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(short, long, value_name = "string", default_value = "", help = OBJECT_FORMAT_HELP)]
    format: String,
    #[arg(value_name = "CONTEXT")]
    contexts: Vec<String>,
}

/// Prints the contexts that are named, or the current one.
pub(super) fn run(args: &Args, caller: &Caller<'_>) -> Result<(), CliError> {
    let current = [caller.context()];
    let names = if args.contexts.is_empty() { &current[..] } else { &args.contexts };
    let found = names.iter().map(|name| describe(name, caller).map(|value| value.to_string())).collect();
    show_all(&args.format, found)
}

fn describe(name: &str, caller: &Caller<'_>) -> Result<Value, CliError> {
    let store = Store::of(&caller.config);
    let (context, material, folders) = if name == DEFAULT {
        let nowhere = "<IN MEMORY>".to_owned();
        (caller.default_context()?, Vec::new(), [nowhere.clone(), nowhere])
    } else {
        let folders = [store.meta_folder(name), store.tls_folder(name)];
        (store.read(name)?, store.read_tls(name), folders.map(|folder| folder.display().to_string()))
    };
    let mut meta = context.meta().clone();
    if name == DEFAULT {
        meta["Metadata"] = json!({});
    }
    let mut tls = Map::new();
    if !material.is_empty() {
        let files: Vec<&str> = material.iter().map(|(file, _)| *file).collect();
        tls.insert("docker".to_owned(), json!(files));
    }
    meta["TLSMaterial"] = tls.into();
    let [meta_path, tls_path] = folders;
    meta["Storage"] = json!({"MetadataPath": meta_path, "TLSPath": tls_path});
    Ok(meta)
}
