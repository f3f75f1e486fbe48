//! `context export` and `context import`: a context as a tar, which `docker` writes and reads too.
//!
//! ```text
//!   meta.json          as it is kept
//!   tls/docker/ca.pem  its TLS material
//! ```

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};

use serde_json::Value;

use super::create::check_name;
use super::store::{Context, DEFAULT, Store, TLS_FILES};
use crate::cli::arguments::Caller;
use crate::cli::error::{CliError, system_words};
use crate::cli::session;

/// Bytes of the longest archive that is read, as with Docker.
const LONGEST: u64 = 10 << 20;
/// Docker's words, of which a doc comment would lose the full stop.
pub(super) const EXPORT_ABOUT: &str = "Export a context to a tar archive FILE or a tar stream on STDOUT.";
/// What a zip begins with.
const ZIP: &[u8] = b"PK\x03\x04";

/// `holm context export`
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[arg(required = true, value_name = "CONTEXT")]
    context: String,
    #[arg(value_name = "FILE|-")]
    file: Option<String>,
}

/// `holm context import`
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    #[arg(required = true, value_name = "CONTEXT")]
    context: String,
    #[arg(required = true, value_name = "FILE|-")]
    file: String,
}

/// Writes a context to a file that is not there yet, or to standard output.
pub(super) fn export(args: &ExportArgs, caller: &Caller<'_>) -> Result<(), CliError> {
    let store = Store::of(&caller.config);
    let name = &args.context;
    let (context, material) = match name.as_str() {
        DEFAULT => (caller.default_context()?, Vec::new()),
        name => {
            check_name(name)?;
            (store.read(name)?, store.read_tls(name))
        }
    };
    let archive = pack(&context, &material).map_err(CliError::output)?;
    let usual = format!("{name}.dockercontext");
    let path = args.file.as_deref().unwrap_or(&usual);
    if path == "-" {
        if io::stdout().is_terminal() {
            return Err(CliError::said("cowardly refusing to export to a terminal, specify a file path"));
        }
        return io::stdout().lock().write_all(&archive).map_err(CliError::output);
    }
    let opened = File::options().write(true).create_new(true).open(path);
    let written = opened.and_then(|mut file| file.write_all(&archive));
    written.map_err(|error| CliError::said(format!("open {path}: {}", system_words(&error))))?;
    session::warn(&format!("Written file {path:?}"));
    Ok(())
}

/// Makes a context of what `export` wrote.
pub(super) fn import(args: &ImportArgs, caller: &Caller<'_>) -> Result<(), CliError> {
    let store = Store::of(&caller.config);
    check_name(&args.context)?;
    if store.has(&args.context) {
        return Err(CliError::said(format!("context {:?} already exists", args.context)));
    }
    let mut archive = Vec::new();
    let read = match args.file.as_str() {
        "-" => io::stdin().lock().take(LONGEST + 1).read_to_end(&mut archive),
        path => File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut archive)),
    };
    read.map_err(|error| CliError::said(format!("open {}: {}", args.file, system_words(&error))))?;
    let (context, material) = unpack(&archive).map_err(CliError::said)?;
    store.write(&context.renamed(&args.context))?;
    store.write_tls(&args.context, &material)?;
    session::print_line(&args.context)?;
    session::warn(&format!("Successfully imported context {:?}", args.context));
    Ok(())
}

fn pack(context: &Context, material: &[(&'static str, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind: tar::EntryType, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes)
    };
    add("meta.json", tar::EntryType::Regular, 0o644, context.meta().to_string().as_bytes())?;
    add("tls", tar::EntryType::Directory, 0o700, &[])?;
    if !material.is_empty() {
        add("tls/docker", tar::EntryType::Directory, 0o700, &[])?;
    }
    for (name, bytes) in material {
        add(&format!("tls/docker/{name}"), tar::EntryType::Regular, 0o600, bytes)?;
    }
    archive.into_inner()
}

type Unpacked = (Context, Vec<(&'static str, Vec<u8>)>);

/// What an archive from anywhere holds. Only files of known names are taken.
fn unpack(bytes: &[u8]) -> Result<Unpacked, String> {
    if bytes.len() as u64 > LONGEST {
        return Err("read exceeds the defined limit".to_owned());
    }
    if bytes.starts_with(ZIP) {
        return Err(
            "this is a zip file, which cannot be read here: unpack it, and pack it again as a tar".to_owned()
        );
    }
    let mut archive = tar::Archive::new(bytes);
    let mut context = None;
    let mut material = Vec::new();
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(|error| error.to_string())?;
        let parts: Vec<&str> = path.split('/').collect();
        match parts.as_slice() {
            ["meta.json"] => {
                let meta: Value = serde_json::from_slice(&content).map_err(|error| error.to_string())?;
                context = Some(Context::of_meta(meta).ok_or("invalid context: no metadata found")?);
            }
            ["tls", "docker", name] => match TLS_FILES.into_iter().find(|known| known == name) {
                Some(known) => material.push((known, content)),
                None => return Err(format!("{path}: unexpected context file")),
            },
            // Material of other endpoints is of no use to anybody here.
            ["tls", endpoint, name] if !matches!(*endpoint, "" | "." | "..") && !name.is_empty() => {}
            ["tls", ..] => return Err("archive format is invalid".to_owned()),
            _ => return Err(format!("{path}: unexpected context file")),
        }
    }
    let context = context.ok_or("invalid context: no metadata found")?;
    Ok((context, material))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_packed_comes_out_again() {
        let context = Context::new("c1", "d", json!({"Host": "tcp://h:1", "SkipTLSVerify": false}));
        let material = vec![("ca.pem", b"ca".to_vec())];
        let packed = pack(&context, &material).unwrap();
        assert_eq!(unpack(&packed).unwrap(), (context, material));
    }

    #[test]
    fn nothing_that_is_no_context_is_taken_for_one() {
        let named = |name: &str| {
            let mut archive = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(2);
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            archive.append(&header, &b"[]"[..]).unwrap();
            unpack(&archive.into_inner().unwrap()).unwrap_err()
        };
        assert_eq!(unpack(&[]).unwrap_err(), "invalid context: no metadata found");
        assert_eq!(named("meta.json"), "invalid context: no metadata found");
        assert_eq!(named("../meta.json"), "../meta.json: unexpected context file");
        assert_eq!(named("tls/docker/../x"), "archive format is invalid");
        assert_eq!(named("tls/docker/other"), "tls/docker/other: unexpected context file");
        assert!(unpack(b"PK\x03\x04").unwrap_err().contains("zip"));
    }

    mod fuzz {
        use super::*;

        #[test]
        fn no_archive_crashes_us() {
            bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
                let _ = unpack(bytes);
            });
        }
    }
}
