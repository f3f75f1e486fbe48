//! Commands about the daemon as a whole, one a file.

pub(crate) mod events;
pub(crate) mod info;
pub(crate) mod version;
