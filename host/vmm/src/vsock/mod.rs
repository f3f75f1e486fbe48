//! The virtio socket device (virtio 1.2, section 5.10), apart from how its packets and its bytes travel.
//!
//! [`Device`] is the whole protocol as one value: it is told of packets from the guest and of what happens on the
//! host's side, and says what packet to send next. It moves no payload and does no I/O, so it serves a vhost-user
//! socket and an MMIO device alike, and every rule can be tested without a guest.
//!
//! ```text
//!   guest's packets ── receive ──► ┌────────┐ ── Received ──► payload to host streams
//!                                  │ Device │
//!   host streams ── readable, ───► └────────┘ ── next ──────► packets to the guest
//!                   consumed, …
//! ```
//!
//! The guest is not trusted: a packet that breaks the rules costs it the connection, and what it can make the host
//! keep is bounded by [`Limits`].

mod connection;
mod credit;
mod device;
mod packet;

pub(crate) use device::{Device, Id, Limits, Outgoing, Received};
pub(crate) use packet::{HEADER_SIZE, Header};
#[cfg(test)]
pub(crate) use packet::{HOST_CID, Operation};
