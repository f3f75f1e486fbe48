//! Commands about the daemon as a whole, one a file.

pub(crate) mod version;
