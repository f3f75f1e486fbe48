//! `logout`: forgets a login, under all names that it may have been kept.

use super::warn_of_variable;
use crate::cli::credentials::{HUB, host};
use crate::cli::error::CliError;
use crate::cli::session::{self, Session};

/// The long description.
pub(crate) const ABOUT: &str =
    "Log out from a registry.\nIf no server is specified, the default is defined by the daemon.";

/// `holm logout`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

/// Forgets it. Asks no daemon.
pub(crate) async fn run(args: &Args, session: &Session) -> Result<(), CliError> {
    warn_of_variable(session);
    let (shown, names) = names(args.server.as_deref().unwrap_or_default());
    session::print_line(&format!("Removing login credentials for {shown}"))?;
    let mut failed = Vec::new();
    for name in &names {
        if let Err(error) = session.credentials.erase(name).await {
            failed.push(format!("{name}: {error}"));
        }
    }
    // As in Docker: one that was forgotten is enough.
    if failed.len() == names.len() {
        session::warn("WARNING: could not erase credentials:");
        failed.iter().for_each(|line| session::warn(line));
    }
    Ok(())
}

/// The registry as it is shown, and the names that older Dockers kept it under.
fn names(server: &str) -> (String, Vec<String>) {
    if server.is_empty() {
        return (HUB.to_owned(), vec![HUB.to_owned()]);
    }
    let host = host(server);
    let names = [server.to_owned(), host.to_owned(), format!("http://{host}"), format!("https://{host}")];
    (host.to_owned(), names.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_forgotten_under_all_its_names() {
        assert_eq!(names("").1, [HUB]);
        let (shown, names) = names("https://r.lan:5000/v2/");
        assert_eq!(shown, "r.lan:5000");
        assert_eq!(
            names,
            ["https://r.lan:5000/v2/", "r.lan:5000", "http://r.lan:5000", "https://r.lan:5000"]
        );
    }
}
