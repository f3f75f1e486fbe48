//! The host's streams as the device's thread sees them: opened, watched for events, read, written and ended, in step with
//! the connections of the device.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use tokio::sync::oneshot;
use vm_memory::VolatileSlice;

use super::backend::GUEST_CID;
use super::commands::Command;
use super::host_end::HostEnd;
use crate::Port;
use crate::vsock::{Device, Id, Limits, Received};

/// Packets filled by one read of a stream.
const LONGEST_BURST: usize = 64;
/// The bell's key; streams have their slot.
const BELL: u64 = u64::MAX;
/// Events of a stream.
const READING: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);

/// The device with the host's streams.
pub(super) struct Streams {
    pub(super) device: Device,
    /// By the connection's slot.
    streams: Vec<Option<HostStream>>,
    listeners: HashMap<Port, tokio::sync::mpsc::Sender<UnixStream>>,
    events: Arc<OwnedFd>,
}

struct HostStream {
    id: Id,
    end: HostEnd,
    /// Somebody waits to hear whether the guest takes it.
    dialler: Option<oneshot::Sender<bool>>,
    /// Packets that the next read is to fill: more for streams that filled what they got.
    burst: usize,
    /// How much of the other end is gone, as far as it is known.
    other_end: OtherEnd,
    /// An event is wanted when the socket takes more.
    waits_for_room: bool,
    /// What comes after the backlog.
    after_backlog: After,
}

/// The state of the stream that was given out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OtherEnd {
    /// Writes, or may.
    Writes,
    /// Has ended its direction; what it wrote before may be unread.
    Ending,
    /// Closed; what it wrote before may be unread.
    Closed,
    /// All that it wrote has been read, and there will be no more.
    Ended,
}

/// What happens to a stream when it has no backlog.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum After {
    Nothing,
    EndWriting,
    Release,
}

/// What a read has brought.
pub(super) struct Read {
    /// So many bytes.
    pub(super) bytes: usize,
    then: Then,
}

/// What is known of the next read.
enum Then {
    /// It may bring more.
    More,
    /// It would bring nothing before the next event.
    Nothing,
    /// The stream has ended.
    End,
}

impl Streams {
    /// Rings of the bell are events too, with nothing to do but to look at what was asked.
    pub(super) fn new(bell: BorrowedFd<'_>) -> io::Result<Self> {
        let events = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&events, bell, EventData::new_u64(BELL), EventFlags::IN | EventFlags::ET)?;
        Ok(Self {
            device: Device::new(GUEST_CID, Limits::default()),
            streams: Vec::new(),
            listeners: HashMap::new(),
            events: Arc::new(events),
        })
    }

    /// Readable when `take_events` has something to take.
    pub(super) fn events(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.events)
    }

    /// Takes what has happened on the host's side. More than fit in one take stay readable.
    pub(super) fn take_events(&mut self) {
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 64];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let Ok(count) = epoll::wait(&*self.events, &mut events[..], Some(&now)) else { return };
        for event in &events[..count] {
            let (key, flags) = (event.data.u64(), event.flags);
            if key != BELL {
                self.event(key as usize, flags);
            }
        }
    }

    fn event(&mut self, slot: usize, flags: EventFlags) {
        // None: an event of this same take has closed it. Its slot is given to another only after the take.
        let Some(Some(stream)) = self.streams.get_mut(slot) else { return };
        let id = stream.id;
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            if stream.dialler.is_some() {
                return self.abort(id);
            }
            // The plain case, in one packet to the guest.
            if stream.other_end == OtherEnd::Ended || !stream.end.has_unread() {
                return self.gone(id);
            }
            stream.other_end = OtherEnd::Closed;
            // Told at once: the guest might else wait for room to write before it reads what is there for it.
            self.takes_no_more(id);
        } else if flags.contains(EventFlags::RDHUP) && stream.other_end == OtherEnd::Writes {
            stream.other_end = OtherEnd::Ending;
        }
        if flags.contains(EventFlags::OUT) {
            self.flush(id);
        }
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            self.device.readable(id);
        }
    }

    /// Does what another thread asks for.
    pub(super) fn carry_out(&mut self, command: Command, guest_is_there: bool) {
        match command {
            Command::Dial { port, stream, answer } => {
                let id = if guest_is_there { self.device.dial(port) } else { None };
                let Some(id) = id else {
                    // Whoever has stopped waiting needs no answer.
                    let _ = answer.send(false);
                    return;
                };
                if Self::watch(&self.events, &mut self.streams, id, stream, Some(answer)).is_err() {
                    self.device.abort(id);
                    self.device.release(id);
                }
            }
            Command::Listen { port, offer, answer } => {
                let free = self.listeners.get(&port).is_none_or(tokio::sync::mpsc::Sender::is_closed);
                if free {
                    self.listeners.insert(port, offer);
                }
                let _ = answer.send(free);
            }
            Command::Forget { port } => {
                if self.listeners.get(&port).is_some_and(tokio::sync::mpsc::Sender::is_closed) {
                    self.listeners.remove(&port);
                }
            }
        }
    }

    /// Does what a packet without payload means for the streams.
    pub(super) fn received(&mut self, received: Received) {
        match received {
            Received::Nothing | Received::Payload(_) => {}
            Received::Offered(id, port) => self.offered(id, port),
            Received::Answered(id) => self.answered(id),
            Received::GuestSendsNoMore(id) => self.after_backlog(id, After::EndWriting),
            Received::GuestTakesNoMore(id) => {
                if let Some(stream) = self.stream(id) {
                    stream.end.end_reading();
                }
            }
            Received::Closed(id) => self.after_backlog(id, After::Release),
        }
    }

    /// Writes payload that came for a stream.
    pub(super) fn write(&mut self, id: Id, payload: &[VolatileSlice<'_>]) {
        let Some(stream) = self.stream(id) else { return };
        match stream.end.write(payload) {
            Ok(taken) => self.device.consumed(id, taken as u32),
            Err(_) => self.takes_no_more(id),
        }
        self.watch_for_room(id);
    }

    /// Packets that the next read of a stream should be given room for.
    pub(super) fn burst(&mut self, id: Id) -> usize {
        self.stream(id).map_or(1, |stream| stream.burst)
    }

    /// Reads a stream. `wanted` is the room in all places.
    pub(super) fn read(&mut self, id: Id, places: &[VolatileSlice<'_>], wanted: usize) -> Read {
        let Some(stream) = self.stream(id) else { return Read { bytes: 0, then: Then::Nothing } };
        let (bytes, ended) = match stream.end.read(places) {
            Ok(bytes) => (bytes, bytes == 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (0, false),
            // The other end was closed before it had read everything; there is nothing to read from it any more.
            Err(_) => (0, true),
        };
        let full = bytes == wanted;
        stream.burst = if full { (stream.burst * 2).min(LONGEST_BURST) } else { 1 };
        let then = if ended {
            Then::End
        } else if full || (bytes > 0 && stream.other_end != OtherEnd::Writes) {
            // A short read means that there is no more now, and an event will tell when there is, but not twice of the
            // end.
            Then::More
        } else {
            Then::Nothing
        };
        Read { bytes, then }
    }

    /// Tells the device how a stream stands after a read whose bytes are sent.
    pub(super) fn after_read(&mut self, id: Id, read: &Read) {
        match read.then {
            Then::More => self.device.readable(id),
            Then::Nothing => self.device.drained(id),
            Then::End => {
                self.device.drained(id);
                self.ended(id);
            }
        }
    }

    /// The stream's other end will write no more, and all it wrote is sent.
    fn ended(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else { return };
        if stream.other_end == OtherEnd::Closed {
            self.gone(id);
        } else {
            stream.other_end = OtherEnd::Ended;
            self.device.host_sends_no_more(id);
        }
    }

    /// Nobody reads the stream's other end any more.
    fn takes_no_more(&mut self, id: Id) {
        self.device.host_takes_no_more(id);
        if let Some(stream) = self.stream(id) {
            stream.end.drop_backlog();
        }
        self.after_backlog(id, After::Nothing);
    }

    /// The stream's other end neither writes nor reads any more.
    fn gone(&mut self, id: Id) {
        self.device.host_is_gone(id);
        self.release(id);
    }

    fn offered(&mut self, id: Id, port: Port) {
        let taken = self.listeners.get(&port).is_some_and(|listener| {
            let Ok(room) = listener.clone().try_reserve_owned() else { return false };
            let Ok((theirs, ours)) = UnixStream::pair() else { return false };
            let added = Self::watch(&self.events, &mut self.streams, id, ours, None).is_ok();
            if added {
                room.send(theirs);
            }
            added
        });
        if taken {
            self.device.accept(id);
        } else {
            self.abort(id);
        }
    }

    fn answered(&mut self, id: Id) {
        if let Some(dialler) = self.stream(id).and_then(|stream| stream.dialler.take())
            && dialler.send(true).is_err()
        {
            self.abort(id);
        }
    }

    /// Takes a stream in. Of parts of this value, since it is called with another part in use.
    fn watch(
        events: &OwnedFd,
        streams: &mut Vec<Option<HostStream>>,
        id: Id,
        socket: UnixStream,
        dialler: Option<oneshot::Sender<bool>>,
    ) -> io::Result<()> {
        let end = HostEnd::new(socket)?;
        epoll::add(events, end.as_fd(), EventData::new_u64(id.slot() as u64), READING)?;
        if streams.len() <= id.slot() {
            streams.resize_with(id.slot() + 1, || None);
        }
        let stream = HostStream {
            id,
            end,
            dialler,
            burst: 1,
            other_end: OtherEnd::Writes,
            waits_for_room: false,
            after_backlog: After::Nothing,
        };
        streams[id.slot()] = Some(stream);
        Ok(())
    }

    fn stream(&mut self, id: Id) -> Option<&mut HostStream> {
        self.streams.get_mut(id.slot())?.as_mut().filter(|stream| stream.id == id)
    }

    fn flush(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else { return };
        match stream.end.flush() {
            Ok(flushed) => {
                let after = stream.after_backlog;
                self.device.consumed(id, flushed as u32);
                self.after_backlog(id, after);
            }
            Err(_) => self.takes_no_more(id),
        }
        self.watch_for_room(id);
    }

    /// Asks for an event when the socket has room again, or no longer: without need, each read of the other end would
    /// wake this thread.
    fn watch_for_room(&mut self, id: Id) {
        let Some(Some(stream)) = self.streams.get_mut(id.slot()) else { return };
        let waits = !stream.end.is_drained();
        if stream.id == id && stream.waits_for_room != waits {
            let flags = if waits { READING | EventFlags::OUT } else { READING };
            let data = EventData::new_u64(id.slot() as u64);
            // Fails only for a descriptor that is not watched, and this one is.
            if epoll::modify(&*self.events, stream.end.as_fd(), data, flags).is_ok() {
                stream.waits_for_room = waits;
            }
        }
    }

    /// Does `after` now, or when the backlog has drained.
    fn after_backlog(&mut self, id: Id, after: After) {
        let Some(stream) = self.stream(id) else { return };
        stream.after_backlog = stream.after_backlog.max(after);
        if stream.end.is_drained() {
            match stream.after_backlog {
                After::Nothing => {}
                After::EndWriting => stream.end.end_writing(),
                After::Release => self.release(id),
            }
        }
    }

    fn abort(&mut self, id: Id) {
        self.device.abort(id);
        self.release(id);
    }

    /// Closes the stream.
    fn release(&mut self, id: Id) {
        if let Some(stream) =
            self.streams.get_mut(id.slot()).and_then(|stream| stream.take_if(|s| s.id == id))
        {
            stream.end.discard_unread();
            if let Some(dialler) = stream.dialler {
                let _ = dialler.send(false);
            }
        }
        self.device.release(id);
    }

    /// The guest's driver stopped: streams end after what came for them.
    pub(super) fn guest_is_gone(&mut self) {
        for id in self.device.guest_is_gone() {
            self.after_backlog(id, After::Release);
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        for stream in self.streams.iter().flatten() {
            stream.end.discard_unread();
        }
    }
}
