//! The device's end of a host stream: a socket that never blocks, read and written straight from guest memory, and a
//! backlog for what its reader has not taken yet. Credit bounds the backlog.
#![expect(unsafe_code, reason = "the kernel reads and writes guest memory, which has no Rust references")]

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use vm_memory::VolatileSlice;

/// One more than this many places in memory would fail; Linux has 1024.
pub(super) const MOST_SLICES: usize = 512;

/// The device's end.
pub(super) struct HostEnd {
    socket: UnixStream,
    backlog: Vec<u8>,
    /// Bytes at the front of the backlog that are gone already.
    written: usize,
}

impl HostEnd {
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, backlog: Vec::new(), written: 0 })
    }

    /// Reads into guest memory. 0: the writer has ended.
    pub(super) fn read(&self, places: &[VolatileSlice<'_>]) -> io::Result<usize> {
        let mut vectors: Vec<libc::iovec> = places.iter().take(MOST_SLICES).map(vector).collect();
        let mut message = message(&mut vectors);
        // SAFETY: the vectors point into mapped guest memory, which `places` keeps mapped, and have its bounds. The
        // guest may write there at the same time, which is why no Rust reference to it exists.
        let read = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    }

    /// Whether the other end may have written something that has not been read. In doubt it has: then it is read,
    /// and what is wrong with the socket shows there.
    pub(super) fn has_unread(&self) -> bool {
        rustix::io::ioctl_fionread(&self.socket).map_or(true, |bytes| bytes > 0)
    }

    /// Writes from guest memory; what the socket does not take goes to the backlog. Gives the bytes that the socket
    /// took.
    pub(super) fn write(&mut self, places: &[VolatileSlice<'_>]) -> io::Result<usize> {
        let mut taken = 0;
        if self.is_drained() {
            match self.send(places.iter().map(vector)) {
                Ok(sent) => taken = sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        let mut skip = taken;
        for place in places {
            let skipped = skip.min(place.len());
            skip -= skipped;
            if let Ok(rest) = place.offset(skipped) {
                let start = self.backlog.len();
                self.backlog.resize(start + rest.len(), 0);
                rest.copy_to(&mut self.backlog[start..]);
            }
        }
        Ok(taken)
    }

    /// Writes what it can of the backlog and gives its length.
    pub(super) fn flush(&mut self) -> io::Result<usize> {
        let before = self.written;
        while !self.is_drained() {
            let rest = &self.backlog[self.written..];
            let whole = libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() };
            match self.send([whole].into_iter()) {
                Ok(sent) => self.written += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let flushed = self.written - before;
        if self.written * 2 >= self.backlog.len() {
            self.backlog.drain(..self.written);
            self.written = 0;
            if self.backlog.is_empty() {
                // Most streams never need one again.
                self.backlog = Vec::new();
            }
        }
        Ok(flushed)
    }

    /// Nobody will read it.
    pub(super) fn drop_backlog(&mut self) {
        self.backlog = Vec::new();
        self.written = 0;
    }

    pub(super) fn is_drained(&self) -> bool {
        self.written == self.backlog.len()
    }

    /// The other end's reader finds the end of the stream.
    pub(super) fn end_writing(&self) {
        // Fails only where the other end is gone, which its event tells.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// The other end's writer fails.
    pub(super) fn end_reading(&self) {
        let _ = self.socket.shutdown(Shutdown::Read);
    }

    /// Throws away what the other end wrote and nobody will read: closed with it, the other end's reader would get an
    /// error in the place of the last bytes it was sent.
    pub(super) fn discard_unread(&self) {
        self.end_reading();
        let mut buffer = [0; 4096];
        while let Ok(1..) = rustix::io::read(&self.socket, &mut buffer) {}
    }

    fn send(&self, vectors: impl Iterator<Item = libc::iovec>) -> io::Result<usize> {
        let mut vectors: Vec<libc::iovec> = vectors.take(MOST_SLICES).collect();
        let message = message(&mut vectors);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the vectors are of guest memory that the caller keeps mapped, or of the backlog; both outlive the
        // call. The guest may write there meanwhile, and then sends what it wrote.
        let sent = unsafe { libc::sendmsg(self.socket.as_raw_fd(), &raw const message, flags) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

impl AsFd for HostEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn vector(place: &VolatileSlice<'_>) -> libc::iovec {
    libc::iovec { iov_base: place.ptr_guard_mut().as_ptr().cast(), iov_len: place.len() }
}

fn message(vectors: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: integers and pointers, for which zero means "none".
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = vectors.len() as _;
    message
}
