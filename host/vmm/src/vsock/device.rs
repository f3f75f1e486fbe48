//! All connections of one guest, and the rules by which packets and the host's streams change them.

use std::collections::{HashMap, VecDeque};

use super::connection::{Connection, Directions, State};
use super::packet::{HOST_CID, Header, LONGEST_PAYLOAD, Operation, Ports, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};

/// What a guest can make the host keep: at most `connections` of them, each holding at most its window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at once, those included that only drain on the host's side.
    pub(crate) connections: usize,
    /// Room for a connection made while there are less than a sixteenth of `connections`: throughput.
    pub(crate) wide_window: u32,
    /// Room for all others.
    pub(crate) narrow_window: u32,
    /// Refusals of packets without a connection that wait for the guest; more are not sent.
    pub(crate) refusals: usize,
}

impl Default for Limits {
    /// At most 124 MiB, held only by a guest that fills all of it while nobody on the host reads.
    fn default() -> Self {
        Self { connections: 4096, wide_window: 256 << 10, narrow_window: 16 << 10, refusals: 256 }
    }
}

impl Limits {
    fn window(&self, connections: usize) -> u32 {
        if connections < self.connections / 16 { self.wide_window } else { self.narrow_window }
    }
}

/// Names a connection for its whole life; never a later one in the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    slot: u32,
    generation: u32,
}

impl Id {
    /// Less than [`Limits::connections`], and of one connection at a time.
    pub(crate) fn slot(self) -> usize {
        self.slot as usize
    }
}

/// What a packet of the guest means for the host's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Nothing.
    Nothing,
    /// The guest wants a stream to this port of the host: `accept` or `close` it.
    Offered(Id, u32),
    /// The guest took the stream that the host dialled.
    Answered(Id),
    /// The packet's payload is for this stream. What the stream has taken of it goes to `consumed`, now or later.
    Payload(Id),
    /// The guest will send no more: the stream ends after what came before.
    GuestSendsNoMore(Id),
    /// The guest takes no more: the stream's writer should know.
    GuestTakesNoMore(Id),
    /// The connection is over: the stream ends after what came before, then `release` it. A stream that was only
    /// dialled has been refused.
    Closed(Id),
}

/// What goes to the guest next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// This packet, which has no payload.
    Control(Header),
    /// At most so many bytes of this stream: read them, ask `payload` for the header of each packet they fill, then
    /// say whether the stream is `readable` still, `drained` or has ended.
    Payload(Id, u32),
}

/// The device.
pub(crate) struct Device {
    guest_cid: u64,
    limits: Limits,
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_ports: HashMap<Ports, Id>,
    /// Slots whose connection may have something for the guest, each once. Slots, not connections: those may come
    /// and go while the guest takes no packets, and the line stays short.
    line: VecDeque<u32>,
    refusals: VecDeque<Header>,
    next_host_port: u32,
}

struct Slot {
    generation: u32,
    in_line: bool,
    connection: Option<Connection>,
}

/// Ports of the host's end where it dials; listeners are below.
const FIRST_DIALLING_PORT: u32 = 1 << 30;

impl Device {
    pub(crate) fn new(guest_cid: u64, limits: Limits) -> Self {
        Self {
            guest_cid,
            limits,
            slots: Vec::new(),
            free: Vec::new(),
            by_ports: HashMap::new(),
            line: VecDeque::new(),
            refusals: VecDeque::new(),
            next_host_port: FIRST_DIALLING_PORT,
        }
    }

    /// A packet of the guest. Its payload, if the header tells of one, must really be there.
    pub(crate) fn receive(&mut self, header: &Header) -> Received {
        if header.source_cid != self.guest_cid || header.destination_cid != HOST_CID {
            return Received::Nothing;
        }
        if !header.is_stream() {
            self.refuse(header);
            return Received::Nothing;
        }
        let Some(&id) = self.by_ports.get(&header.ports()) else { return self.receive_unknown(header) };
        let Some(connection) = self.connection(id) else { return Received::Nothing };
        connection.outbound.update(header.window, header.forwarded);
        let received = match connection.state {
            State::Dialled => match header.operation {
                Operation::Response if !connection.owed.request => {
                    connection.state = State::Open(Directions::ALL);
                    Received::Answered(id)
                }
                Operation::Reset => self.close(id),
                _ => self.break_off(id),
            },
            State::Open(directions) => self.receive_open(id, directions, header),
            State::Offered | State::Closed => self.break_off(id),
        };
        self.stand_in_line(id);
        self.free_if_done(id);
        received
    }

    fn receive_unknown(&mut self, header: &Header) -> Received {
        if header.operation == Operation::Request
            && let Some(id) = self.add(header.ports(), State::Offered)
        {
            if let Some(connection) = self.connection(id) {
                connection.outbound.update(header.window, header.forwarded);
            }
            return Received::Offered(id, header.destination_port);
        }
        self.refuse(header);
        Received::Nothing
    }

    fn receive_open(&mut self, id: Id, mut directions: Directions, header: &Header) -> Received {
        let Some(connection) = self.connection(id) else { return Received::Nothing };
        match header.operation {
            Operation::Payload => {
                let allowed = directions.guest_sends
                    && header.length <= LONGEST_PAYLOAD
                    && connection.inbound.take(header.length);
                if !allowed {
                    return self.break_off(id);
                }
                if header.length == 0 {
                    return Received::Nothing;
                }
                if !directions.host_takes {
                    // Nobody will read it; the guest learns so by the SHUTDOWN that is on its way.
                    connection.owed.credit |= connection.inbound.forward(header.length);
                    return Received::Nothing;
                }
                Received::Payload(id)
            }
            Operation::Shutdown => {
                let sends_no_more = directions.guest_sends && header.flags & SHUTDOWN_SEND != 0;
                let takes_no_more = directions.guest_takes && header.flags & SHUTDOWN_RECEIVE != 0;
                directions.guest_sends &= !sends_no_more;
                directions.guest_takes &= !takes_no_more;
                connection.state = State::Open(directions);
                if !directions.guest_sends && !directions.guest_takes {
                    // The guest waits for this answer before it gives its end free.
                    self.break_off(id)
                } else if sends_no_more {
                    Received::GuestSendsNoMore(id)
                } else if takes_no_more {
                    Received::GuestTakesNoMore(id)
                } else {
                    Received::Nothing
                }
            }
            Operation::CreditUpdate => Received::Nothing,
            Operation::CreditRequest => {
                connection.owed.credit = true;
                Received::Nothing
            }
            Operation::Reset => self.close(id),
            Operation::Request | Operation::Response | Operation::Unknown(_) => self.break_off(id),
        }
    }

    /// A packet that cannot be taken as its header says: shorter than it tells, for one.
    pub(crate) fn receive_malformed(&mut self, header: &Header) -> Received {
        match self.by_ports.get(&header.ports()) {
            Some(&id) if header.source_cid == self.guest_cid => {
                let received = self.break_off(id);
                self.stand_in_line(id);
                received
            }
            None if header.source_cid == self.guest_cid => {
                self.refuse(header);
                Received::Nothing
            }
            _ => Received::Nothing,
        }
    }

    /// The host opens a stream to a port of the guest. `None` where there are too many.
    pub(crate) fn dial(&mut self, port: u32) -> Option<Id> {
        let ports = loop {
            let ports = Ports { host: self.next_host_port, guest: port };
            self.next_host_port = self.next_host_port.checked_add(1).unwrap_or(FIRST_DIALLING_PORT);
            // Ends: there are more ports than connections.
            if !self.by_ports.contains_key(&ports) {
                break ports;
            }
        };
        let id = self.add(ports, State::Dialled)?;
        self.stand_in_line(id);
        Some(id)
    }

    /// The host takes a stream that was offered.
    pub(crate) fn accept(&mut self, id: Id) {
        if let Some(connection) = self.connection(id)
            && connection.state == State::Offered
        {
            connection.state = State::Open(Directions::ALL);
            connection.owed.response = true;
            self.stand_in_line(id);
        }
    }

    /// The host's stream may have bytes for the guest, or its end.
    pub(crate) fn readable(&mut self, id: Id) {
        if let Some(connection) = self.connection(id) {
            connection.readable = true;
            self.stand_in_line(id);
        }
    }

    /// The host's stream has no bytes left, until it is `readable` again.
    pub(crate) fn drained(&mut self, id: Id) {
        if let Some(connection) = self.connection(id) {
            connection.readable = false;
        }
    }

    /// The header of a packet with these many bytes of the stream, after [`Outgoing::Payload`].
    pub(crate) fn payload(&mut self, id: Id, length: u32) -> Option<Header> {
        let guest_cid = self.guest_cid;
        let connection = self.connection(id)?;
        debug_assert!(length <= connection.sendable());
        Some(connection.payload(guest_cid, length.min(connection.sendable())))
    }

    /// The host's stream has taken bytes that came for it.
    pub(crate) fn consumed(&mut self, id: Id, bytes: u32) {
        if let Some(connection) = self.connection(id) {
            let tell = connection.inbound.forward(bytes);
            if let State::Open(Directions { guest_sends: true, .. }) = connection.state {
                connection.owed.credit |= tell;
                self.stand_in_line(id);
            }
        }
    }

    /// The host's stream will have no more bytes; all it had are sent.
    pub(crate) fn host_sends_no_more(&mut self, id: Id) {
        self.change_host_directions(id, |directions| directions.host_sends = false);
    }

    /// The host's stream takes no more. What came and was not taken is lost, as it is when any stream is closed by
    /// its reader.
    pub(crate) fn host_takes_no_more(&mut self, id: Id) {
        self.change_host_directions(id, |directions| directions.host_takes = false);
    }

    /// The host's end is gone: it neither sends nor takes.
    pub(crate) fn host_is_gone(&mut self, id: Id) {
        self.change_host_directions(id, |directions| {
            directions.host_sends = false;
            directions.host_takes = false;
        });
    }

    fn change_host_directions(&mut self, id: Id, change: impl FnOnce(&mut Directions)) {
        if let Some(connection) = self.connection(id)
            && let State::Open(before) = connection.state
        {
            let mut directions = before;
            change(&mut directions);
            if directions != before {
                connection.state = State::Open(directions);
                connection.owed.shutdown = true;
                self.stand_in_line(id);
            }
        }
    }

    /// The host ends a connection at once, whatever its state: refuses what was offered, gives up what was dialled.
    /// `release` it still.
    pub(crate) fn abort(&mut self, id: Id) {
        let Some(connection) = self.connection(id) else { return };
        if connection.state == State::Closed {
            return;
        }
        let unknown_to_the_guest = connection.owed.request;
        if unknown_to_the_guest {
            self.close(id);
        } else {
            self.break_off(id);
        }
        self.stand_in_line(id);
    }

    /// The host keeps nothing for this connection any more. Its slot is free once the guest knows it is over.
    pub(crate) fn release(&mut self, id: Id) {
        if let Some(connection) = self.connection(id) {
            connection.released = true;
            self.free_if_done(id);
        }
    }

    /// Whether `next` has something. It may have nothing all the same.
    pub(crate) fn has_outgoing(&self) -> bool {
        !self.refusals.is_empty() || !self.line.is_empty()
    }

    /// What to send to the guest now. Connections take turns.
    pub(crate) fn next(&mut self) -> Option<Outgoing> {
        if let Some(header) = self.refusals.pop_front() {
            return Some(Outgoing::Control(header));
        }
        let guest_cid = self.guest_cid;
        while let Some(index) = self.line.pop_front() {
            let slot = &mut self.slots[index as usize];
            slot.in_line = false;
            let id = Id { slot: index, generation: slot.generation };
            let Some(connection) = &mut slot.connection else { continue };
            if let Some(header) = connection.take_owed(guest_cid) {
                self.stand_in_line(id);
                self.free_if_done(id);
                return Some(Outgoing::Control(header));
            }
            let sendable = connection.sendable();
            if sendable > 0 {
                return Some(Outgoing::Payload(id, sendable));
            }
        }
        None
    }

    /// The guest's driver stopped or began anew: all connections are over, and nobody is to be told. Gives those whose
    /// streams end now, as [`Received::Closed`] does.
    pub(crate) fn guest_is_gone(&mut self) -> Vec<Id> {
        self.refusals.clear();
        for index in self.line.drain(..) {
            self.slots[index as usize].in_line = false;
        }
        let ids: Vec<Id> = (0..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.connection.is_some())
            .map(|(index, slot)| Id { slot: index, generation: slot.generation })
            .collect();
        for &id in &ids {
            self.close(id);
            self.free_if_done(id);
        }
        ids
    }

    fn connection(&mut self, id: Id) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(id.slot())?;
        if slot.generation == id.generation { slot.connection.as_mut() } else { None }
    }

    fn add(&mut self, ports: Ports, state: State) -> Option<Id> {
        let count = self.slots.len() - self.free.len();
        if count >= self.limits.connections {
            return None;
        }
        let connection = Some(Connection::new(ports, state, self.limits.window(count)));
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize].connection = connection;
                slot
            }
            None => {
                self.slots.push(Slot { generation: 0, in_line: false, connection });
                self.slots.len() as u32 - 1
            }
        };
        let id = Id { slot, generation: self.slots[slot as usize].generation };
        self.by_ports.insert(ports, id);
        Some(id)
    }

    /// The connection is over, and the guest knows.
    fn close(&mut self, id: Id) -> Received {
        if let Some(connection) = self.connection(id) {
            connection.state = State::Closed;
            connection.owed = Default::default();
            let ports = connection.ports;
            self.by_ports.remove(&ports);
        }
        Received::Closed(id)
    }

    /// The connection is over, and the guest is told.
    fn break_off(&mut self, id: Id) -> Received {
        let received = self.close(id);
        if let Some(connection) = self.connection(id) {
            connection.owed.reset = true;
        }
        received
    }

    fn refuse(&mut self, header: &Header) {
        // A RST is never answered by one, or two devices would do so forever.
        if header.operation != Operation::Reset && self.refusals.len() < self.limits.refusals {
            self.refusals.push_back(header.refusal());
        }
    }

    fn stand_in_line(&mut self, id: Id) {
        let wanted = self.connection(id).is_some_and(|connection| connection.has_something_for_the_guest());
        let slot = self.slots.get_mut(id.slot()).filter(|slot| wanted && !slot.in_line);
        if let Some(slot) = slot {
            slot.in_line = true;
            self.line.push_back(id.slot);
        }
    }

    fn free_if_done(&mut self, id: Id) {
        let Some(slot) = self.slots.get_mut(id.slot()) else { return };
        let done = slot.connection.as_ref().is_some_and(|connection| {
            connection.state == State::Closed && connection.released && !connection.owed.reset
        });
        if done && slot.generation == id.generation {
            slot.connection = None;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(id.slot);
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
