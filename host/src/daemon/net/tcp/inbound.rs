//! Connections to containers: a client of a published port is a flow that the gateway opens. The client waits in
//! its accepted connection until the container has answered; refused or silent, it is reset.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::connection::Connection;
use super::flow::{Far, Flow};
use super::{Entry, FlowKey, State, Tcp, initial};
use crate::daemon::net::core::Core;
use crate::daemon::net::inlet::{self, Arrival, Owner};
use crate::daemon::net::ready::Id;
use crate::daemon::net::stats::count;

/// How long flows of a container that has ended may take to end. What it said last is still under way then.
const LAST_WORDS: Duration = Duration::from_secs(3);

impl Tcp {
    /// Takes a client of a published port.
    pub(in crate::daemon::net) fn accept(&mut self, arrival: Arrival, core: &mut Core) {
        let Arrival { stream, source, target, owner, place } = arrival;
        let key_of = |far: SocketAddr| FlowKey { guest: target, far };
        let far = match self.inbound < self.most_inbound {
            true => inlet::free(&self.flows, source, &mut self.next_far, key_of),
            false => None,
        };
        let Some(far) = far else {
            count(&core.counters.over_limit);
            return reset(&stream);
        };
        let (key, now) = (key_of(far), Instant::now());
        let connection = Connection::open(key, initial(&self.secret, key, self.epoch, now), now);
        let flow_waker = core.ready.waker(Id::Tcp(key));
        let state = State::Open(Box::new(Flow::new(connection, Far::Host(stream))));
        let entry = Entry { inbound: Some(owner), place: Some(place), ..Entry::new(state, flow_waker) };
        self.flows.insert(key, entry);
        self.inbound += 1;
        self.measure(core);
    }

    /// Lets the owner's flows end soon: its container has.
    pub(in crate::daemon::net) fn close(&mut self, owner: Owner, core: &mut Core) {
        let ends = Instant::now() + LAST_WORDS;
        for (key, entry) in self.flows.iter_mut().filter(|(_, entry)| entry.inbound == Some(owner)) {
            entry.ends = Some(ends);
            core.timers.arm(&mut entry.timer, Id::Tcp(*key), ends);
        }
    }

    /// Resets both sides of a flow and forgets it.
    pub(super) fn end(&mut self, key: &FlowKey, core: &mut Core) {
        if let Some(Entry { state: State::Open(flow), .. }) = self.flows.get_mut(key) {
            flow.abort(&mut core.downlink);
        }
        self.remove(key, core);
    }
}

/// Makes the close that follows a reset.
pub(crate) fn reset(stream: &TcpStream) {
    // Where this fails the client sees an ordinary end: nothing better is left to do.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
