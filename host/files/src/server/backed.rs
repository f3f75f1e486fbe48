//! Long files that the guest's kernel reads by itself (`FUSE_PASSTHROUGH`, Linux 6.9), where it is this computer's own:
//! nothing is copied then, nothing is kept twice, and what it reads is never old.
//!
//! The kernel has a file open either so or through its cache, never both, whoever opens it. So the first to open a
//! file decides, and it is decided so for who only reads. Should somebody open it to write meanwhile, we are asked for
//! each of their reads and writes, so that what they change is known to be theirs; what they map is the file itself.

use std::sync::PoisonError;

use super::{NodeId, Server};
use crate::fuse::abi::fopen;
use crate::os::{Descriptor, File, OpenMode, Stat};

/// Bytes from which on it is worth it: less is read with one request.
const LONG: u64 = 256 << 10;

/// The kernel that reads by itself. Files that were opened and not closed are so when this is dropped.
pub trait Backing: Send + Sync {
    /// Lets it read (and write) the file by the number; an error where the file's system does not go with it.
    fn open(&self, file: Descriptor<'_>) -> std::io::Result<u32>;

    /// No mount's file has that number any more.
    fn close(&self, number: u32);
}

/// How the kernel reads what a node has open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing is open.
    #[default]
    Free,
    /// Through its cache, by so many.
    Cached(u32),
    /// By itself, by so many.
    Itself { number: u32, opens: u32 },
}

/// How it does by one open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Cached,
    /// By itself, by this number.
    Itself(u32),
    /// We are asked each time, whoever else has it open by this number.
    Asked(u32),
}

impl Way {
    /// Of the answer to an `OPEN`: flags that it needs, and those that do not go with it.
    pub(super) fn adjust(self, flags: u32) -> u32 {
        match self {
            Way::Cached => flags,
            Way::Itself(_) => flags & !fopen::KEEP_CACHE | fopen::PASSTHROUGH,
            Way::Asked(_) => flags & !fopen::KEEP_CACHE | fopen::PASSTHROUGH | fopen::DIRECT_IO,
        }
    }

    pub(super) fn number(self) -> u32 {
        match self {
            Way::Itself(number) | Way::Asked(number) => number,
            Way::Cached => 0,
        }
    }
}

impl Server {
    /// The guest's kernel is this computer's. To be said before it asks for anything.
    pub fn set_backing(&self, backing: Box<dyn Backing>) {
        // Said once for each mount, and a server has one.
        *self.backing.write().unwrap_or_else(PoisonError::into_inner) = Some(backing);
    }

    pub(super) fn is_backed(&self) -> bool {
        self.backing.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Decides how the kernel reads a file that is about to be opened once more.
    pub(super) fn choose_way(&self, id: u64, file: &File, wanted: OpenMode, stat: Option<&Stat>) -> Way {
        let backing = self.backing.read().unwrap_or_else(PoisonError::into_inner);
        let Some(backing) = &*backing else { return Way::Cached };
        let mut nodes = self.nodes();
        let Ok(node) = nodes.get_mut(id) else { return Way::Cached };
        let is_long = stat.is_some_and(|stat| stat.attributes.size >= LONG);
        match &mut node.reading {
            Reading::Itself { number, opens } => {
                *opens += 1;
                if !wanted.write {
                    return Way::Itself(*number);
                }
                node.closes = node.closes.saturating_add(1);
                Way::Asked(*number)
            }
            Reading::Free if wanted.read && !wanted.write && is_long => {
                match backing.open(file.descriptor()) {
                    Ok(number) => {
                        node.reading = Reading::Itself { number, opens: 1 };
                        Way::Itself(number)
                    }
                    Err(_) => {
                        node.reading = Reading::Cached(1);
                        Way::Cached
                    }
                }
            }
            Reading::Free => {
                node.reading = Reading::Cached(1);
                Way::Cached
            }
            Reading::Cached(opens) => {
                *opens += 1;
                Way::Cached
            }
        }
    }

    /// One of those that have it open has closed it.
    pub(super) fn leave_way(&self, id: u64, way: Way) {
        let backing = self.backing.read().unwrap_or_else(PoisonError::into_inner);
        let Some(backing) = &*backing else { return };
        let mut nodes = self.nodes();
        let Ok(node) = nodes.get_mut(id) else { return };
        match (&mut node.reading, way) {
            (Reading::Itself { number, opens: 1 }, Way::Itself(_) | Way::Asked(_)) => {
                backing.close(*number);
                node.reading = Reading::Free;
            }
            (Reading::Itself { opens, .. }, Way::Itself(_) | Way::Asked(_)) => *opens -= 1,
            (Reading::Cached(1), Way::Cached) => node.reading = Reading::Free,
            (Reading::Cached(opens), Way::Cached) => *opens -= 1,
            _ => {}
        }
    }

    /// Whoever opens a file and neither reads nor writes must not be in the way of others; the number by which these
    /// have it open, and then [`Server::leave`] is to follow.
    pub fn join(&self, node: NodeId) -> Option<u32> {
        match &mut self.nodes().get_mut(node.0).ok()?.reading {
            Reading::Itself { number, opens } => {
                *opens += 1;
                Some(*number)
            }
            Reading::Free | Reading::Cached(_) => None,
        }
    }

    /// It is closed.
    pub fn leave(&self, node: NodeId) {
        self.leave_way(node.0, Way::Asked(0));
    }

    /// Whether it was a process of the guest's, which its kernel has told of, that closed what it could write: of a
    /// file that the kernel has open beside us, the host's system announces that in the process's name. Once for each.
    pub fn closed_by_guest(&self, folder: NodeId, name: Option<&[u8]>) -> bool {
        let mut nodes = self.nodes();
        let id = name.map_or(Some(folder.0), |name| nodes.child(folder.0, name));
        let Some(Ok(node)) = id.map(|id| nodes.get_mut(id)) else { return false };
        let Some(left) = node.closes.checked_sub(1) else { return false };
        node.closes = left;
        true
    }

    /// The guest no longer knows the node, although it may never have closed it.
    pub(super) fn forget_way(&self, reading: Reading) {
        let backing = self.backing.read().unwrap_or_else(PoisonError::into_inner);
        if let (Some(backing), Reading::Itself { number, .. }) = (&*backing, reading) {
            backing.close(number);
        }
    }
}
