//! Commands about networks, one a file.

pub(crate) mod connect;
pub(crate) mod create;
pub(crate) mod disconnect;
pub(crate) mod ls;
pub(crate) mod prune;
pub(crate) mod rm;

use super::client::escape;

/// A network in the API. Its name is one segment of the path, whatever is in it.
fn network_path(name: &str, rest: &str) -> String {
    format!("/networks/{}{rest}", escape(name).replace('/', "%2F"))
}
