//! Commands about networks, one a file.

pub(crate) mod ls;
pub(crate) mod prune;
pub(crate) mod rm;
