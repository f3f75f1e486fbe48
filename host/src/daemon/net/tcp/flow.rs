//! A TCP flow that is open: the connection to the guest on one side, a socket of the host on the other, and
//! the bytes, ends and resets carried between them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use smoltcp::wire::TcpRepr;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::connection::{Connection, Fate};
use super::seq::Seq;
use crate::daemon::net::budget::Budget;
use crate::daemon::net::downlink::Downlink;

/// Bytes of the host's that one flow moves before others have their turn.
const TURN: usize = 256 << 10;

/// The far end of a flow.
pub(super) enum Far {
    /// A connection of the host.
    Host(TcpStream),
    /// The gateway's own DNS server.
    Dns {
        /// The flow's end of it.
        stream: DuplexStream,
        /// Ends with the flow.
        _task: AbortOnDropHandle<()>,
    },
}

impl Far {
    fn poll_read(&mut self, context: &mut Context<'_>, target: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut target = ReadBuf::new(target);
        let result = match self {
            Self::Host(stream) => Pin::new(stream).poll_read(context, &mut target),
            Self::Dns { stream, .. } => Pin::new(stream).poll_read(context, &mut target),
        };
        result.map_ok(|()| target.filled().len())
    }

    /// Whether a read would find something. Where that is not known, it may.
    fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Host(stream) => stream.poll_read_ready(context).map(drop),
            Self::Dns { .. } => Poll::Ready(()),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Host(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Dns { stream, .. } => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Host(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Dns { stream, .. } => Pin::new(stream).poll_shutdown(context),
        }
    }

    /// Makes the close that follows a reset.
    fn abort(&self) {
        if let Self::Host(stream) = self {
            // Where this fails the far side sees an ordinary end: nothing better is left to do.
            let _ = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
        }
    }
}

/// What became of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It waits for the guest, the host or a timer.
    Waits,
    /// It has more to do than there was room or time for.
    HasMore,
    /// It is over, and both sides know.
    Over,
}

/// An open flow.
pub(super) struct Flow {
    connection: Connection,
    far: Far,
    /// The host has sent its last byte.
    host_ended: bool,
    /// The guest's last byte was handed to the host.
    guest_ended: bool,
    failed: bool,
}

impl Flow {
    pub(super) fn new(connection: Connection, far: Far) -> Self {
        Self { connection, far, host_ended: false, guest_ended: false, failed: false }
    }

    /// Whether the guest has not yet said anything.
    pub(super) fn is_unanswered(&self) -> bool {
        self.connection.is_unanswered()
    }

    /// Whether the guest's handshake is complete.
    pub(super) fn is_established(&self) -> bool {
        self.connection.is_established()
    }

    /// Takes a segment of the guest's. Answers are sent by the [`Self::pump`] that has to follow.
    pub(super) fn on_segment(
        &mut self,
        repr: &TcpRepr<'_>,
        now: Instant,
        budget: &mut Budget,
        context: &mut Context<'_>,
    ) -> Outcome {
        let Self { connection, far, failed, .. } = self;
        let fate = connection.on_segment(repr, now, budget, |bytes| match far.poll_write(context, bytes) {
            Poll::Ready(Ok(count)) => count,
            Poll::Ready(Err(_)) => {
                *failed = true;
                0
            }
            Poll::Pending => 0,
        });
        self.after(fate)
    }

    fn after(&mut self, fate: Fate) -> Outcome {
        match fate {
            Fate::Lives => Outcome::HasMore,
            Fate::Dead => {
                self.far.abort();
                Outcome::Over
            }
        }
    }

    /// Moves what can be moved, both ways.
    pub(super) fn pump(
        &mut self,
        now: Instant,
        downlink: &mut Downlink,
        budget: &mut Budget,
        context: &mut Context<'_>,
    ) -> Outcome {
        let moved = match self.connection.is_established() && !self.failed {
            true => {
                self.write_host(budget, context).and_then(|()| self.read_host(now, downlink, budget, context))
            }
            false => Ok(false),
        };
        let more = match moved {
            Ok(more) if !self.failed => more,
            // Whatever happened to the host's connection, to the guest it is a reset.
            _ => {
                self.connection.reset(downlink);
                self.far.abort();
                return Outcome::Over;
            }
        };
        if !self.connection.emit(downlink, now) || more {
            Outcome::HasMore
        } else if self.connection.is_finished() && self.guest_ended {
            Outcome::Over
        } else {
            Outcome::Waits
        }
    }

    fn write_host(&mut self, budget: &mut Budget, context: &mut Context<'_>) -> io::Result<()> {
        let receiver = self.connection.receiver();
        while !receiver.held().is_empty() {
            match self.far.poll_write(context, receiver.held()) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => receiver.consume(count?, budget),
                Poll::Pending => return Ok(()),
            }
        }
        if receiver.finished() && !self.guest_ended {
            match self.far.poll_shutdown(context) {
                // macOS and Windows say so of a peer that has already gone; the reads tell how.
                Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::NotConnected => return Err(error),
                Poll::Ready(_) => self.guest_ended = true,
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// `true`: there may be more to read.
    fn read_host(
        &mut self,
        now: Instant,
        downlink: &mut Downlink,
        budget: &mut Budget,
        context: &mut Context<'_>,
    ) -> io::Result<bool> {
        // A flow on which nothing comes needs no buffer.
        if !self.connection.sender().is_allocated() && self.far.poll_readable(context).is_pending() {
            return Ok(false);
        }
        let mut moved = 0;
        while !self.host_ended {
            let space = self.connection.sender().space();
            if space.is_empty() {
                return Ok(false);
            }
            if moved >= TURN {
                return Ok(true);
            }
            match self.far.poll_read(context, space) {
                Poll::Ready(Ok(0)) => {
                    self.host_ended = true;
                    self.connection.sender().finish();
                }
                Poll::Ready(Ok(count)) => {
                    moved += count;
                    self.connection.sender().commit(count, budget);
                    if !self.connection.emit(downlink, now) {
                        return Ok(true);
                    }
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(false),
            }
        }
        Ok(false)
    }

    /// The packet with this segment was longer than what passes.
    pub(super) fn on_too_long(&mut self, seq: Seq, passes: usize) {
        self.connection.on_too_long(seq, passes);
    }

    /// When [`Self::on_time`] is due.
    pub(super) fn deadline(&self) -> Instant {
        self.connection.deadline()
    }

    /// Handles the deadlines that have passed.
    pub(super) fn on_time(&mut self, now: Instant, budget: &mut Budget) -> Outcome {
        let fate = self.connection.on_time(now, budget);
        self.after(fate)
    }

    /// Ends the flow before its time, resetting both sides.
    pub(super) fn abort(&mut self, downlink: &mut Downlink) {
        self.connection.reset(downlink);
        self.far.abort();
    }

    /// Resets the host's side, unless the guest had already ended its own.
    pub(super) fn break_off(&self) {
        if !self.guest_ended {
            self.far.abort();
        }
    }

    /// Gives back what was reserved. At the flow's end.
    pub(super) fn release(&mut self, budget: &mut Budget) {
        self.connection.release(budget);
    }
}
