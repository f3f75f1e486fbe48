//! Commands about images, one a file.

mod archive;
pub(crate) mod history;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod load;
pub(crate) mod prune;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod rmi;
pub(crate) mod save;
pub(crate) mod tag;
mod tree;

use super::client::escape;

pub(crate) use archive::platform;

/// Where the API has an image that a user named. Its slashes stay: the engine expects them.
pub(crate) fn image_path(name: &str, action: &str) -> String {
    format!("/images/{}{action}", escape(name))
}
