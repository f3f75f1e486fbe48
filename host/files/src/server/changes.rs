//! What the host changed: compared with what the guest's kernel may believe, which is then told to forget it.
//!
//! The same announcements come for what the guest changed itself. Those are recognized by the state that the guest's
//! own operation left, so whoever watches files there is not disturbed by them. Two changes in one tick of the clock may
//! leave the same state, so whoever announces says what is known of the author.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::nodes::Stamp;
use super::{NodeId, Server};
use crate::fuse::abi;
use crate::fuse::reader::Name;
use crate::fuse::reply;
use crate::os::Stat;

/// Who made a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// Another program than this one: it is news, whatever it looks like.
    Other,
    /// This program: for this guest or for another share of the same files. It is news unless the state is as the
    /// guest left it; its kernel forgets in both cases.
    Ourselves,
}

impl Server {
    /// Something happened on the host directly in the folder to what has, had or gets the name, or to the folder (or
    /// the shared file) itself. Says whether it was news: false if the guest did it.
    pub fn changed(&self, folder: NodeId, name: Option<&[u8]>, author: Author) -> bool {
        // What the guest is doing right now is over before we look, so that we know what it did.
        drop(self.changing.write().unwrap_or_else(PoisonError::into_inner));
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        let id = folder.0;
        let Ok(place) = self.place(id) else {
            return self.vanished(id, epoch);
        };
        let Some(name) = name else {
            return place.stat().is_ok_and(|stat| self.compare(id, &stat, epoch, author));
        };
        let Ok(name) = Name::new(name) else { return false };
        let now = place.stat_at(name);
        let known = {
            let nodes = self.nodes();
            nodes.child(id, name.bytes()).and_then(|child| Some((child, nodes.get(child).ok()?.key)))
        };
        match (known, now) {
            (Some((child, key)), Ok(stat)) if stat.key == key => self.compare(child, &stat, epoch, author),
            // Made and gone again, or removed by the guest.
            (None, Err(_)) => false,
            (known, _) => {
                // A negative entry may be believed too.
                self.mark(id, epoch);
                if let Some((child, _)) = known {
                    self.mark(child, epoch);
                }
                // Not FUSE_NOTIFY_DELETE, although the name is gone: what was moved would be dead under its new name.
                self.tell_kernel(reply::inval_entry(id, name.bytes()));
                self.tell_kernel(reply::inval_inode(id, true));
                true
            }
        }
    }

    /// Announcements have been lost: the kernel is told to forget all that it may believe.
    pub fn everything_changed(&self) {
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        let entries: Vec<(u64, Vec<Box<[u8]>>)> = {
            let mut nodes = self.nodes();
            let ids = nodes.ids();
            ids.into_iter()
                .filter_map(|id| {
                    let node = nodes.get_mut(id).ok()?;
                    (node.told, node.ours, node.changed_at) = (None, None, epoch);
                    Some((id, node.children.keys().cloned().collect()))
                })
                .collect()
        };
        for (id, names) in entries {
            self.tell_kernel(reply::inval_inode(id, true));
            for name in names {
                self.tell_kernel(reply::inval_entry(id, &name));
            }
        }
    }

    /// Compares a node with how the guest left it.
    fn compare(&self, id: u64, now: &Stat, epoch: u64, author: Author) -> bool {
        let news = {
            let mut nodes = self.nodes();
            let Ok(node) = nodes.get_mut(id) else { return false };
            // Stamps count ticks (before Linux 6.13), so what looks as the guest left it, or as its kernel was told,
            // may have been changed once more in the same tick: the kernel forgets in any case.
            (node.told, node.changed_at) = (None, epoch);
            let as_left = node.writing > 0 || node.ours == Some(Stamp::of(now));
            author == Author::Other || !as_left
        };
        self.tell_kernel(reply::inval_inode(id, true));
        news
    }

    /// The folder is no longer where the guest saw it; whoever renamed it is announced in its parent.
    fn vanished(&self, id: u64, epoch: u64) -> bool {
        self.mark(id, epoch);
        if id != abi::ROOT {
            self.tell_kernel(reply::inval_inode(id, true));
        }
        true
    }

    fn mark(&self, id: u64, epoch: u64) {
        if let Ok(node) = self.nodes().get_mut(id) {
            (node.told, node.changed_at) = (None, epoch);
        }
    }
}
