//! `holm`: the command line and the host daemon, one program. They meet only over the daemon's sockets.

mod cli;
mod daemon;
mod os;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let environment = cli::Environment {
        home: home(),
        variables: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        daemon: cli::Daemon {
            ensure_running: Box::new(|| Ok(())),
            serve: Box::new(|| ExitCode::FAILURE),
            machine: Box::new(|_| {
                Err(cli::Failure { error: "this build has no machine yet".into(), hint: None })
            }),
        },
    };
    cli::run(std::env::args_os(), environment)
}

/// `$HOLM_HOME`, else `~/.holm`.
fn home() -> PathBuf {
    match std::env::var_os("HOLM_HOME") {
        Some(home) if !home.is_empty() => std::path::absolute(&home).unwrap_or_else(|_| home.into()),
        _ => std::env::home_dir().unwrap_or_default().join(".holm"),
    }
}
