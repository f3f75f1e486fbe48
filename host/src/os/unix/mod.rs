//! Linux and macOS.

mod connect;
pub(crate) mod signals;
pub(crate) mod terminal;

pub(crate) use connect::connect;
