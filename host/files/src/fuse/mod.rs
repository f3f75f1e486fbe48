//! The Linux FUSE ABI: a codec without system calls, so that every host speaks it. Numbers are little-endian, as on
//! all machines that we boot.

pub(crate) mod abi;
pub(crate) mod errno;
pub(crate) mod reader;
pub(crate) mod reply;
pub(crate) mod request;
