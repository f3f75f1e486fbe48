//! What QEMU negotiates, and the events of the thread that moves bytes, as `vhost-user-backend` wants them.

use std::io;
use std::sync::mpsc;

use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackendMut, VringMutex};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};

use super::pump::Pump;

/// The guest's address. A guest of its own host, it may be any from 3 on.
pub(super) const GUEST_CID: u64 = 3;
/// Queues from and to the guest; a third, for events of migration, QEMU keeps to itself.
const QUEUES: usize = 2;
/// QEMU's vhost-user-vsock has 128.
const LONGEST_QUEUE: usize = 1024;
/// Number of our own event source; those up to [`QUEUES`] are the library's.
pub(super) const OWN_EVENTS: u16 = QUEUES as u16 + 1;

/// The device as the library sees it.
pub(super) struct Backend {
    pump: Pump,
    memory: GuestMemoryAtomic<GuestMemoryMmap>,
    negotiated: Option<mpsc::Sender<()>>,
}

impl Backend {
    pub(super) fn new(
        pump: Pump,
        memory: GuestMemoryAtomic<GuestMemoryMmap>,
        negotiated: mpsc::Sender<()>,
    ) -> Self {
        Self { pump, memory, negotiated: Some(negotiated) }
    }
}

impl VhostUserBackendMut for Backend {
    type Bitmap = ();
    type Vring = VringMutex;

    fn num_queues(&self) -> usize {
        QUEUES
    }

    fn max_queue_size(&self) -> usize {
        LONGEST_QUEUE
    }

    fn features(&self) -> u64 {
        1 << VIRTIO_F_VERSION_1
            | 1 << VIRTIO_RING_F_EVENT_IDX
            | 1 << VIRTIO_RING_F_INDIRECT_DESC
            | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::CONFIG
    }

    fn set_event_idx(&mut self, _enabled: bool) {
        // The library tells the queues, which are all that needs to know.
    }

    /// `struct virtio_vsock_config`: the guest's address. The last thing QEMU asks before it starts the guest.
    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        if let Some(negotiated) = &self.negotiated {
            // Nobody waits for it any more: the machine has failed to start, or has long started.
            let _ = negotiated.send(());
        }
        let config = GUEST_CID.to_le_bytes();
        let start = config.len().min(offset as usize);
        let end = config.len().min(start.saturating_add(size as usize));
        config[start..end].to_vec()
    }

    fn update_memory(&mut self, memory: GuestMemoryAtomic<GuestMemoryMmap>) -> io::Result<()> {
        self.memory = memory;
        Ok(())
    }

    fn exit_event(&self, _thread_index: usize) -> Option<(EventConsumer, EventNotifier)> {
        // Without one the thread could not be ended; where there is none, it is because descriptors ran out, and
        // the library then fails at its next step, which needs one too.
        new_event_consumer_and_notifier(EventFlag::CLOEXEC | EventFlag::NONBLOCK).ok()
    }

    fn stop_vring(&mut self, _queue_index: u32) -> io::Result<()> {
        self.pump.guest_is_gone();
        Ok(())
    }

    fn reset_device(&mut self) {
        self.pump.guest_is_gone();
    }

    fn handle_event(
        &mut self,
        event: u16,
        _set: EventSet,
        queues: &[VringMutex],
        _thread: usize,
    ) -> io::Result<()> {
        if event == OWN_EVENTS {
            self.pump.take_events();
        }
        let [to_guest, from_guest] = queues else {
            return Err(io::Error::other("the library has other queues than were asked for"));
        };
        self.pump.run(&self.memory, to_guest, from_guest);
        Ok(())
    }
}
