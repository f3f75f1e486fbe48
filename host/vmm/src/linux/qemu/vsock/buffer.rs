//! A packet's place in guest memory: the descriptors of one chain, checked to lie in memory that exists.

use virtio_queue::DescriptorChain;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, VolatileSlice};

use crate::vsock::HEADER_SIZE;

/// The readable or the writable part of a chain.
pub(super) struct Buffer<'m> {
    /// For the used ring.
    pub(super) head: u16,
    slices: Vec<VolatileSlice<'m>>,
}

impl<'m> Buffer<'m> {
    /// What the guest wrote.
    pub(super) fn readable(memory: &'m GuestMemoryMmap, chain: DescriptorChain<&GuestMemoryMmap>) -> Self {
        Self::new(memory, chain.head_index(), chain.readable().map(|part| (part.addr(), part.len())))
    }

    /// Where the guest wants to be written to.
    pub(super) fn writable(memory: &'m GuestMemoryMmap, chain: DescriptorChain<&GuestMemoryMmap>) -> Self {
        Self::new(memory, chain.head_index(), chain.writable().map(|part| (part.addr(), part.len())))
    }

    /// A descriptor that points outside of memory makes the buffer end before it.
    fn new(memory: &'m GuestMemoryMmap, head: u16, parts: impl Iterator<Item = (GuestAddress, u32)>) -> Self {
        let slices = parts.map_while(|(address, length)| memory.get_slice(address, length as usize).ok());
        Self { head, slices: slices.collect() }
    }

    /// The header at its front, `None` where it is shorter.
    pub(super) fn read_header(&self) -> Option<[u8; HEADER_SIZE]> {
        let mut bytes = [0; HEADER_SIZE];
        let mut done = 0;
        for slice in &self.slices {
            // Copies as much as fits on both sides.
            done += slice.copy_to(&mut bytes[done..]);
        }
        (done == HEADER_SIZE).then_some(bytes)
    }

    /// Writes the header at its front; it has room for one if `payload` was `Some`.
    pub(super) fn write_header(&self, bytes: &[u8; HEADER_SIZE]) {
        let mut rest = &bytes[..];
        for slice in &self.slices {
            let fits = rest.len().min(slice.len());
            slice.copy_from(&rest[..fits]);
            rest = &rest[fits..];
        }
    }

    /// The places behind the header. `None` where not even a header has room.
    pub(super) fn payload(&self) -> Option<Vec<VolatileSlice<'m>>> {
        let mut skip = HEADER_SIZE;
        let mut payload = Vec::with_capacity(self.slices.len());
        for slice in &self.slices {
            let skipped = skip.min(slice.len());
            skip -= skipped;
            if let Ok(rest) = slice.offset(skipped)
                && !rest.is_empty()
            {
                payload.push(rest);
            }
        }
        (skip == 0).then_some(payload)
    }
}

/// Cuts places in memory to `length` bytes in all; false where they are less.
pub(super) fn truncate(slices: &mut Vec<VolatileSlice<'_>>, length: usize) -> bool {
    let mut left = length;
    for (index, slice) in slices.iter_mut().enumerate() {
        if left <= slice.len() {
            match slice.subslice(0, left) {
                Ok(cut) => *slice = cut,
                Err(_) => return false,
            }
            slices.truncate(index + 1);
            return true;
        }
        left -= slice.len();
    }
    left == 0
}

/// Bytes of all places together.
pub(super) fn total(slices: &[VolatileSlice<'_>]) -> usize {
    slices.iter().map(VolatileSlice::len).sum()
}
