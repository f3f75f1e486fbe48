//! Commands about volumes, one a file.

pub(crate) mod create;
pub(crate) mod ls;
pub(crate) mod prune;
pub(crate) mod rm;

use super::client::escape;

/// Where the API has a volume that a user named. Slashes are taken for part of the name.
fn volume_path(name: &str) -> String {
    format!("/volumes/{}", escape(name).replace('/', "%2F"))
}
