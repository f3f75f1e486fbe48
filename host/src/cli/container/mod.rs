//! Commands about containers, one a file.

pub(crate) mod ports;
pub(crate) mod ps;
