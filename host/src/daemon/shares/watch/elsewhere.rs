//! Systems whose watches are not written yet.

use std::io;

use super::Seen;

/// None: nothing is watched, and what is cached is not for long.
#[derive(Debug)]
pub(crate) struct Watch;

impl Watch {
    /// Says that there is none.
    pub(crate) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Nothing ever.
    pub(crate) async fn read(&self) -> io::Result<Vec<Seen>> {
        std::future::pending().await
    }
}
