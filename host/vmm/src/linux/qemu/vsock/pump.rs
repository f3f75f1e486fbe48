//! Moves packets between the guest's queues and the device, and has their payload moved between guest memory and the
//! host's streams.
//!
//! Everything is done in batches, for what costs is waking the other side: a run empties the queue from the guest,
//! fills the queue to it, and then notifies once for each, if the guest wants to be notified (EVENT_IDX).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use vhost_user_backend::{VringMutex, VringState, VringT};
use virtio_queue::{DescriptorChain, QueueT};
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap, VolatileSlice};

use super::buffer::{Buffer, total, truncate};
use super::commands::Commands;
use super::host_end::MOST_SLICES;
use super::streams::Streams;
use crate::vsock::{HEADER_SIZE, Header, Id, Outgoing, Received};

type Guest = VringState<GuestMemoryAtomic<GuestMemoryMmap>>;

/// Packets moved in one run each way, so that no guest keeps the others' events waiting.
const LONGEST_RUN: usize = 512;
/// Between the queues and the streams.
pub(super) struct Pump {
    streams: Streams,
    commands: Arc<Commands>,
    /// Position in the used ring of the queue from the guest up to which it was last notified.
    told_of_returned: u16,
}

impl Pump {
    pub(super) fn new(commands: Arc<Commands>) -> io::Result<Self> {
        Ok(Self { streams: Streams::new(commands.as_fd())?, commands, told_of_returned: 0 })
    }

    /// Readable when `take_events` has something to take.
    pub(super) fn events(&self) -> Arc<OwnedFd> {
        self.streams.events()
    }

    /// Takes what has happened on the host's side.
    pub(super) fn take_events(&mut self) {
        self.streams.take_events();
    }

    /// The guest's driver stopped.
    pub(super) fn guest_is_gone(&mut self) {
        self.streams.guest_is_gone();
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
            self.streams.carry_out(command, guest_is_there);
        }
        if !guest_is_there {
            return;
        }
        let memory = memory.memory();
        let more_received = self.receive(&memory, &mut from_guest);
        let more_sent = self.send(&memory, &mut to_guest);
        self.notify(&mut from_guest, &mut to_guest);
        if more_received || more_sent {
            self.commands.ring();
        }
    }

    /// Tells the guest of the buffers it has back, if it wants to know.
    ///
    /// Of those it sent from it learns late: a quarter of the queue at a time, or when it is told of something else, for
    /// that interrupt has it look at both queues. It needs them for nothing but to send more, and each interrupt
    /// stops it in doing so: an interrupt a run made the round trip 1.2 times as long and the guest send 0.6 times as fast.
    fn notify(&mut self, from_guest: &mut Guest, to_guest: &mut Guest) {
        notify(to_guest);
        let queue = from_guest.get_queue();
        let returned = queue.next_used();
        if returned.wrapping_sub(self.told_of_returned) >= (queue.size() / 4).max(1) {
            self.told_of_returned = returned;
            notify(from_guest);
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
            self.streams.device.receive(&header)
        } else {
            self.streams.device.receive_malformed(&header)
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
        self.streams.received(received);
    }

    /// Hands a batch to its stream, and its buffers back to the guest.
    fn deliver(&mut self, queue: &mut Guest, batch: &mut Batch<'_>) {
        if let Some(id) = batch.id.take() {
            self.streams.write(id, &batch.slices);
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
        while self.streams.device.has_outgoing() {
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
            match self.streams.device.next() {
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
        let burst = self.streams.burst(id);
        let mut buffers = vec![(first, total(&room))];
        let mut places = room;
        let mut space = total(&places);
        while space < most && buffers.len() < burst && places.len() < MOST_SLICES {
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
            self.streams.device.readable(id);
            return buffers.len();
        }
        let wanted = most.min(space);
        truncate(&mut places, wanted);

        let read = self.streams.read(id, &places, wanted);

        let mut left = read.bytes;
        let mut filled = 0;
        for (buffer, length) in &buffers {
            let length = left.min(*length);
            if length == 0 {
                break;
            }
            if let Some(header) = self.streams.device.payload(id, length as u32) {
                buffer.write_header(&header.encode());
            }
            used(queue, buffer.head, HEADER_SIZE + length);
            left -= length;
            filled += 1;
        }
        give_back(queue, buffers.len() - filled);
        self.streams.after_read(id, &read);
        filled
    }
}

/// Payloads of packets one after the other for the same stream.
#[derive(Default)]
struct Batch<'m> {
    id: Option<Id>,
    slices: Vec<VolatileSlice<'m>>,
    heads: Vec<u16>,
}

fn notify(queue: &mut Guest) {
    // An error means that the rings are not in guest memory; such a guest hears nothing.
    if queue.needs_notification().unwrap_or(false)
        && let Err(error) = queue.signal_used_queue()
    {
        tracing::warn!(%error, "the guest cannot be notified");
    }
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
