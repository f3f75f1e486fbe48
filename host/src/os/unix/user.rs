//! Who this process is.

/// Whether it may do anything to any file.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
