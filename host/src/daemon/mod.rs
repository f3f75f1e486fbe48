//! The host daemon: boots the machine, keeps it, and carries bytes between the two sides.

pub(crate) mod net;
