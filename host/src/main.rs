//! `holm`: the command line and the host daemon, one program. They meet only over the daemon's sockets.

use std::process::ExitCode;

mod cli;
mod daemon;
mod home;
mod introduction;
mod os;
mod settings;

fn main() -> ExitCode {
    let Some(home) = home::Home::locate(std::env::var_os("HOLM_HOME"), std::env::home_dir()) else {
        eprintln!("there is no home folder to keep things in\nset HOLM_HOME to a folder of yours");
        return ExitCode::FAILURE;
    };
    let environment = cli::Environment {
        home: home.root().to_owned(),
        variables: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        daemon: introduction::daemon_of(&home),
    };
    cli::run(std::env::args_os(), environment)
}
