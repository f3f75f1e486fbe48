//! Moves packets between the guest's queues and the device, and bytes between guest memory and the host's streams.
//!
//! Everything is done in batches, for what costs is waking the other side: a run empties the queue from the guest,
//! fills the queue to it, and then notifies once for each, if the guest wants to be notified (EVENT_IDX).

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use tokio::sync::oneshot;
use vhost_user_backend::{VringMutex, VringState, VringT};
use virtio_queue::{DescriptorChain, QueueT};
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap, VolatileSlice};

use super::backend::GUEST_CID;
use super::buffer::{Buffer, total, truncate};
use super::commands::{Command, Commands};
use super::host_end::{HostEnd, MOST_SLICES};
use crate::Port;
use crate::vsock::{Device, HEADER_SIZE, Header, Id, Limits, Outgoing, Received};

type Guest = VringState<GuestMemoryAtomic<GuestMemoryMmap>>;

/// Packets moved in one run each way, so that no guest keeps the others' events waiting.
const LONGEST_RUN: usize = 512;
/// Packets filled by one read of a stream.
const LONGEST_BURST: usize = 64;
/// The bell's key; streams have their slot.
const BELL: u64 = u64::MAX;
/// Events of a stream.
const READING: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);

/// The device with the host's streams.
pub(super) struct Pump {
    device: Device,
    /// By the connection's slot.
    streams: Vec<Option<HostStream>>,
    listeners: HashMap<Port, tokio::sync::mpsc::Sender<UnixStream>>,
    commands: Arc<Commands>,
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

impl Pump {
    pub(super) fn new(commands: Arc<Commands>) -> io::Result<Self> {
        let events = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&events, commands.as_fd(), EventData::new_u64(BELL), EventFlags::IN | EventFlags::ET)?;
        Ok(Self {
            device: Device::new(GUEST_CID, Limits::default()),
            streams: Vec::new(),
            listeners: HashMap::new(),
            commands,
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
                self.stream_event(key as usize, flags);
            }
        }
    }

    fn stream_event(&mut self, slot: usize, flags: EventFlags) {
        // None: an event of this same take has closed it. Its slot is given to another only after the take.
        let Some(Some(stream)) = self.streams.get_mut(slot) else { return };
        let id = stream.id;
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            if stream.dialler.is_some() {
                return self.abort(id);
            }
            if stream.other_end == OtherEnd::Ended {
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

    /// Moves what can be moved.
    pub(super) fn run(
        &mut self,
        memory: &GuestMemoryAtomic<GuestMemoryMmap>,
        to_guest: &VringMutex,
        from_guest: &VringMutex,
    ) {
        let mut to_guest = to_guest.get_mut();
        let mut from_guest = from_guest.get_mut();
        let guest_is_there = [&*to_guest, &*from_guest]
            .into_iter()
            .all(|queue| queue.is_enabled() && queue.get_queue().ready());
        while let Some(command) = self.commands.take() {
            self.carry_out(command, guest_is_there);
        }
        if !guest_is_there {
            return;
        }
        let memory = memory.memory();
        let more_received = self.receive(&memory, &mut from_guest);
        let more_sent = self.send(&memory, &mut to_guest);
        for queue in [&mut *from_guest, &mut *to_guest] {
            // An error means that the rings are not in guest memory; such a guest hears nothing.
            if queue.needs_notification().unwrap_or(false)
                && let Err(error) = queue.signal_used_queue()
            {
                tracing::warn!(%error, "the guest cannot be notified");
            }
        }
        if more_received || more_sent {
            self.commands.ring();
        }
    }

    fn carry_out(&mut self, command: Command, guest_is_there: bool) {
        match command {
            Command::Dial { port, stream, answer } => {
                let id = if guest_is_there { self.device.dial(port) } else { None };
                let Some(id) = id else {
                    // Whoever has stopped waiting needs no answer.
                    let _ = answer.send(false);
                    return;
                };
                if self.add(id, stream, Some(answer)).is_err() {
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

    /// Takes the guest's packets. True where more are left for the next run.
    fn receive(&mut self, memory: &GuestMemoryMmap, queue: &mut Guest) -> bool {
        let mut batch = Batch::default();
        let mut count = 0;
        let mut looked_again_at = None;
        loop {
            while let Some(chain) = queue.get_queue_mut().pop_descriptor_chain(memory) {
                self.receive_packet(memory, queue, &mut batch, chain);
                count += 1;
                if count >= LONGEST_RUN {
                    self.deliver(queue, &mut batch);
                    return true;
                }
            }
            self.deliver(queue, &mut batch);
            // True where one has come since the last look. A guest that has broken its queue has one for ever, and none
            // to take.
            if !queue.enable_notification().unwrap_or(false) || looked_again_at == Some(count) {
                return false;
            }
            looked_again_at = Some(count);
        }
    }

    fn receive_packet<'m>(
        &mut self,
        memory: &'m GuestMemoryMmap,
        queue: &mut Guest,
        batch: &mut Batch<'m>,
        chain: DescriptorChain<&GuestMemoryMmap>,
    ) {
        let buffer = Buffer::readable(memory, chain);
        let Some(header) = buffer.read_header().map(|bytes| Header::parse(&bytes)) else {
            return used(queue, buffer.head, 0);
        };
        let mut payload = buffer.payload().unwrap_or_default();
        let received = if truncate(&mut payload, header.length as usize) {
            self.device.receive(&header)
        } else {
            self.device.receive_malformed(&header)
        };
        if let Received::Payload(id) = received {
            if batch.id != Some(id) || batch.slices.len() + payload.len() > MOST_SLICES {
                self.deliver(queue, batch);
            }
            batch.id = Some(id);
            batch.slices.append(&mut payload);
            batch.heads.push(buffer.head);
            return;
        }
        // What came before it goes first.
        self.deliver(queue, batch);
        used(queue, buffer.head, 0);
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

    /// Hands a batch to its stream, and its buffers back to the guest.
    fn deliver(&mut self, queue: &mut Guest, batch: &mut Batch<'_>) {
        if let Some(id) = batch.id.take()
            && let Some(stream) = self.stream(id)
        {
            match stream.end.write(&batch.slices) {
                Ok(taken) => self.device.consumed(id, taken as u32),
                Err(_) => self.takes_no_more(id),
            }
            self.watch_for_room(id);
        }
        batch.slices.clear();
        for head in batch.heads.drain(..) {
            used(queue, head, 0);
        }
    }

    /// Gives the guest what there is for it, as far as it has buffers. True where more is left for the next run.
    fn send(&mut self, memory: &GuestMemoryMmap, queue: &mut Guest) -> bool {
        let mut count = 0;
        let mut looked_again_at = None;
        while self.device.has_outgoing() {
            if count >= LONGEST_RUN {
                return true;
            }
            let Some(chain) = queue.get_queue_mut().pop_descriptor_chain(memory) else {
                // Only now it matters to hear of new ones. True where one has come since the last look.
                if queue.enable_notification().unwrap_or(false) && looked_again_at != Some(count) {
                    looked_again_at = Some(count);
                    continue;
                }
                return false;
            };
            count += 1;
            let buffer = Buffer::writable(memory, chain);
            let Some(room) = buffer.payload() else {
                used(queue, buffer.head, 0);
                continue;
            };
            match self.device.next() {
                Some(Outgoing::Control(header)) => {
                    buffer.write_header(&header.encode());
                    used(queue, buffer.head, HEADER_SIZE);
                }
                Some(Outgoing::Payload(id, most)) => {
                    count += self.send_payload(memory, queue, id, most as usize, buffer, room);
                }
                None => give_back(queue, 1),
            }
        }
        false
    }

    /// One read of the stream into as many of the guest's buffers as it may fill. Gives their number.
    fn send_payload<'m>(
        &mut self,
        memory: &'m GuestMemoryMmap,
        queue: &mut Guest,
        id: Id,
        most: usize,
        first: Buffer<'m>,
        room: Vec<VolatileSlice<'m>>,
    ) -> usize {
        let Some(Some(stream)) = self.streams.get_mut(id.slot()) else {
            self.device.drained(id);
            give_back(queue, 1);
            return 0;
        };
        let mut buffers = vec![(first, total(&room))];
        let mut places = room;
        let mut space = total(&places);
        while space < most && buffers.len() < stream.burst && places.len() < MOST_SLICES {
            let Some(chain) = queue.get_queue_mut().pop_descriptor_chain(memory) else { break };
            let buffer = Buffer::writable(memory, chain);
            // An unusable one is left for the caller's next look.
            let Some(mut room) = buffer.payload() else {
                give_back(queue, 1);
                break;
            };
            let length = total(&room);
            space += length;
            places.append(&mut room);
            buffers.push((buffer, length));
        }
        if space == 0 {
            // Room for a header and nothing else.
            buffers.iter().for_each(|(buffer, _)| used(queue, buffer.head, 0));
            self.device.readable(id);
            return buffers.len();
        }
        let wanted = most.min(space);
        truncate(&mut places, wanted);

        let (read, ended) = match stream.end.read(&places) {
            Ok(read) => (read, read == 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (0, false),
            // The other end was closed before it had read everything; there is nothing to read from it any more.
            Err(_) => (0, true),
        };
        let full = read == wanted;
        stream.burst = if full { (stream.burst * 2).min(LONGEST_BURST) } else { 1 };
        // A short read means that there is no more now, and an event will tell when there is, but not twice of the end.
        let again = full || (read > 0 && stream.other_end != OtherEnd::Writes);

        let mut left = read;
        let mut filled = 0;
        for (buffer, length) in &buffers {
            let length = left.min(*length);
            if length == 0 {
                break;
            }
            if let Some(header) = self.device.payload(id, length as u32) {
                buffer.write_header(&header.encode());
            }
            used(queue, buffer.head, HEADER_SIZE + length);
            left -= length;
            filled += 1;
        }
        give_back(queue, buffers.len() - filled);
        if again {
            self.device.readable(id);
        } else {
            self.device.drained(id);
        }
        if ended {
            self.ended(id);
        }
        filled
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

    fn add(&mut self, id: Id, socket: UnixStream, dialler: Option<oneshot::Sender<bool>>) -> io::Result<()> {
        Self::watch(&self.events, &mut self.streams, id, socket, dialler)
    }

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

impl Drop for Pump {
    fn drop(&mut self) {
        for stream in self.streams.iter().flatten() {
            stream.end.discard_unread();
        }
    }
}

/// Payloads of packets one after the other for the same stream.
#[derive(Default)]
struct Batch<'m> {
    id: Option<Id>,
    slices: Vec<VolatileSlice<'m>>,
    heads: Vec<u16>,
}

/// Gives a buffer back to the guest with so many bytes written.
fn used(queue: &mut Guest, head: u16, length: usize) {
    if let Err(error) = queue.add_used(head, length as u32) {
        // The ring is not in guest memory: the guest has broken its own queue.
        tracing::debug!(%error, "a used buffer cannot be given back to the guest");
    }
}

/// Puts the last `count` buffers taken back to be taken again.
fn give_back(queue: &mut Guest, count: usize) {
    let queue = queue.get_queue_mut();
    queue.set_next_avail(queue.next_avail().wrapping_sub(count as u16));
}
