//! Systems that have no `/dev/fuse`: what is theirs comes over the stream.

use std::io;
use std::time::Duration;

use holm_files::Backing;
use holm_vmm::Stream;
use socket2::Socket;

/// None.
pub(crate) enum Device {}

/// None either.
pub(crate) enum Turn {}

/// None of this computer's.
pub(crate) fn peer(_: &Stream) -> Option<u32> {
    None
}

impl Device {
    /// Says that there is none.
    pub(crate) fn receive(_: &Socket) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// No kernel's.
    pub(crate) fn backing(&self) -> io::Result<Box<dyn Backing>> {
        match *self {}
    }

    /// Nobody's.
    pub(crate) fn turn(&self) -> io::Result<Turn> {
        match *self {}
    }

    /// Nothing ever.
    pub(crate) fn next(&self, _: &Turn, _: &mut Vec<u8>) -> io::Result<bool> {
        match *self {}
    }

    /// Nobody's.
    pub(crate) fn pump_says(&self, _: Option<Duration>) -> io::Result<bool> {
        match *self {}
    }

    /// Nobody takes it.
    pub(crate) fn reply(&self, _: &[u8]) -> io::Result<()> {
        match *self {}
    }

    /// Nobody takes it.
    pub(crate) fn notify(&self, _: &[u8]) -> io::Result<()> {
        match *self {}
    }

    /// Nothing waits.
    pub(crate) fn end(&self) {
        match *self {}
    }
}
