//! What the system allows one process.

/// Sockets are handles here, and only memory limits those.
pub(crate) fn raise_open_files() {}
