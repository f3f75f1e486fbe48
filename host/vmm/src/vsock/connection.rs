//! One connection: who still sends, who still takes, and which packets are owed to the guest.
//!
//! ```text
//!   host dials:   Dialled ── RESPONSE ──► Open ──┐
//!   guest dials:  Offered ── accepted ──► Open ──┤ RST, both directions over, or a broken rule
//!                                                ▼
//!                                             Closed   until the host's stream has drained what came before
//! ```

use super::credit::{Inbound, Outbound};
use super::packet::{Header, Operation, Ports, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The host asked, the guest has not answered.
    Dialled,
    /// The guest asked, the host has not answered.
    Offered,
    /// Streams flow, in the directions still open.
    Open(Directions),
    /// The guest's end is gone, and a new connection may have its ports.
    Closed,
}

/// Who will still do what. All begin true and go false once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directions {
    pub(super) guest_sends: bool,
    pub(super) guest_takes: bool,
    pub(super) host_sends: bool,
    pub(super) host_takes: bool,
}

impl Directions {
    pub(super) const ALL: Self =
        Self { guest_sends: true, guest_takes: true, host_sends: true, host_takes: true };

    /// What SHUTDOWN says of the host's end.
    fn host_shutdown_flags(self) -> u32 {
        let receive = if self.host_takes { 0 } else { SHUTDOWN_RECEIVE };
        let send = if self.host_sends { 0 } else { SHUTDOWN_SEND };
        receive | send
    }
}

/// Packets without payload that are owed to the guest. Each is owed once however often it becomes due, so what a
/// connection can owe is bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) request: bool,
    pub(super) response: bool,
    pub(super) shutdown: bool,
    pub(super) credit: bool,
    pub(super) reset: bool,
}

/// A connection of either direction.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) ports: Ports,
    pub(super) state: State,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
    pub(super) owed: Owed,
    /// The host's stream may have bytes for the guest, or its end.
    pub(super) readable: bool,
    /// The host's stream is finished with and holds no bytes for it any more.
    pub(super) released: bool,
}

impl Connection {
    pub(super) fn new(ports: Ports, state: State, window: u32) -> Self {
        Self {
            ports,
            state,
            inbound: Inbound::new(window),
            outbound: Outbound::default(),
            owed: Owed { request: state == State::Dialled, ..Owed::default() },
            readable: false,
            released: false,
        }
    }

    /// Bytes that may go to the guest now, if the host's stream has any.
    pub(super) fn sendable(&self) -> u32 {
        match self.state {
            State::Open(Directions { host_sends: true, guest_takes: true, .. }) if self.readable => {
                self.outbound.available()
            }
            _ => 0,
        }
    }

    pub(super) fn has_something_for_the_guest(&self) -> bool {
        self.owed != Owed::default() || self.sendable() > 0
    }

    /// Takes the next owed packet: first what opens, last what closes.
    pub(super) fn take_owed(&mut self, guest_cid: u64) -> Option<Header> {
        let owed = &mut self.owed;
        let (operation, flags) = if std::mem::take(&mut owed.request) {
            (Operation::Request, 0)
        } else if std::mem::take(&mut owed.response) {
            (Operation::Response, 0)
        } else if std::mem::take(&mut owed.credit) {
            (Operation::CreditUpdate, 0)
        } else if std::mem::take(&mut owed.shutdown) {
            let State::Open(directions) = self.state else { return self.take_owed(guest_cid) };
            (Operation::Shutdown, directions.host_shutdown_flags())
        } else if std::mem::take(&mut owed.reset) {
            (Operation::Reset, 0)
        } else {
            return None;
        };
        Some(self.header(guest_cid, operation, flags))
    }

    /// The header for `length` bytes of payload, counted as sent.
    pub(super) fn payload(&mut self, guest_cid: u64, length: u32) -> Header {
        self.outbound.spend(length);
        Header { length, ..self.header(guest_cid, Operation::Payload, 0) }
    }

    /// Any packet tells the credit, so none is owed for that after it.
    fn header(&mut self, guest_cid: u64, operation: Operation, flags: u32) -> Header {
        self.owed.credit = false;
        let (window, forwarded) = self.inbound.announce();
        Header { flags, window, forwarded, ..Header::from_host(self.ports, guest_cid, operation) }
    }
}
