//! Commands about containers, one a file.

mod api_socket;
mod flags;
pub(super) mod key_value;
mod ports;

pub(crate) mod attach;
pub(crate) mod commit;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod diff;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod logs;
pub(crate) mod pause;
pub(crate) mod port;
pub(crate) mod prune;
pub(crate) mod ps;
pub(crate) mod rename;
pub(crate) mod rm;
pub(crate) mod run;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod top;
pub(crate) mod update;
pub(crate) mod wait;

use futures_util::StreamExt;

use super::client::escape;
use super::error::CliError;
use super::session;

/// How many containers are worked on at once.
const AT_ONCE: usize = 50;

/// Where the API has a container that a user named. Slashes are taken for part of the name.
pub(crate) fn container_path(name: &str, action: &str) -> Result<String, CliError> {
    if name.trim().is_empty() {
        return Err(CliError::said("invalid container name or ID: value is empty"));
    }
    Ok(format!("/containers/{}{action}", escape(name).replace('/', "%2F")))
}

/// What `work` gives for each, in their order, many at once.
async fn each(
    containers: &[String],
    work: impl AsyncFn(&str) -> Result<(), CliError>,
) -> Vec<Result<(), CliError>> {
    futures_util::stream::iter(containers).map(|container| work(container)).buffered(AT_ONCE).collect().await
}

/// Does `work` for each, many at once, and prints the names of those that it succeeded for.
async fn on_each(
    containers: &[String],
    work: impl AsyncFn(&str) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut errors = Vec::new();
    for (container, result) in containers.iter().zip(each(containers, work).await) {
        match result {
            Ok(()) => session::print_line(container)?,
            Err(error) => errors.push(error),
        }
    }
    CliError::all(errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_elsewhere() {
        assert_eq!(container_path("a/../b", "/json").unwrap(), "/containers/a%2F..%2Fb/json");
        assert!(container_path(" ", "").is_err());
    }
}
