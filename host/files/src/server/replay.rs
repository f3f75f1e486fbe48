//! Repeating the host's changes inside the guest, so that its watchers of files notice: an invalidation raises no
//! event there. One process of the guest does what the host did; it sees names as the guest believed them, and
//! nothing that it does reaches the host.

use std::sync::atomic::Ordering;

use std::time::Duration;

use super::names::NOTHING;
use super::{NodeId, Server};
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::reader::Name;
use crate::fuse::reply::{self, Attributes, Body, Entry};
use crate::fuse::request::{self, Header, Operation};

impl Server {
    /// Requests of this process of the guest (as FUSE headers number it) repeat what the host did.
    pub fn set_replayer(&self, pid: Option<u32>) {
        self.replayer.store(pid.unwrap_or(0), Ordering::Release);
    }

    pub(super) fn is_replay(&self, header: &Header) -> bool {
        header.pid != 0 && header.pid == self.replayer.load(Ordering::Acquire)
    }

    /// Answers what would change something as if it had been done; false for requests that change nothing.
    pub(super) fn replay(
        &self,
        header: &Header,
        operation: &Operation<'_>,
        body: &mut Body<'_>,
    ) -> Outcome<bool> {
        let folder = header.node;
        match operation {
            // What the guest did not know is not there yet, so that it can be made.
            Operation::Lookup { name } if self.believed(folder, *name).is_none() => Err(Errno::NOENT),
            Operation::Lookup { name } => {
                // What it knew is still there, so that it can be removed, also if another has its name by now.
                let id = self.believed(folder, *name).ok_or(Errno::NOENT)?;
                match self.place(id).and_then(|place| self.shown(&place)) {
                    Ok(stat) => body.entry(&self.entry(folder, *name, &stat, self.epoch())?),
                    Err(_) => return Err(Errno::NOENT),
                }
                Ok(true)
            }
            Operation::Mknod { name, .. }
            | Operation::Mkdir { name, .. }
            | Operation::Symlink { name, .. }
            | Operation::Link { name, .. } => {
                let place = self.folder(folder)?.at(*name)?;
                let stat = self.shown(&place)?;
                body.entry(&self.entry(folder, *name, &stat, self.epoch())?);
                Ok(true)
            }
            Operation::Unlink { name } | Operation::Rmdir { name } => {
                self.nodes().unname(folder, name.bytes());
                Ok(true)
            }
            Operation::Rename { name, folder: to, new_name, .. } => {
                // Where the old name was never heard of, the new one has been looked up in its place.
                let mut nodes = self.nodes();
                if let Some(moved) = nodes.unname(folder, name.bytes()) {
                    nodes.name(*to, new_name.bytes(), moved);
                }
                Ok(true)
            }
            Operation::Setattr(_) => {
                let epoch = self.epoch();
                let stat = self.shown(&*self.place(folder)?)?;
                self.told(folder, &stat, epoch, body)?;
                Ok(true)
            }
            Operation::Write { data, .. } => {
                body.u32(data.len() as u32);
                body.u32(0);
                Ok(true)
            }
            Operation::Create { .. }
            | Operation::Tmpfile { .. }
            | Operation::Setxattr { .. }
            | Operation::Removexattr { .. }
            | Operation::Fallocate { .. }
            | Operation::CopyFileRange { .. }
            | Operation::Setlk { .. } => Err(Errno::PERM),
            _ => Ok(false),
        }
    }

    /// What the guest's kernel may believe that the name leads to, where something else or nothing has it by now.
    pub fn former(&self, folder: NodeId, name: &[u8]) -> Option<NodeId> {
        let (child, key) = {
            let nodes = self.nodes();
            let child = nodes.child(folder.0, name)?;
            (child, nodes.get(child).ok()?.key)
        };
        let now = self.folder(folder.0).and_then(|folder| folder.stat_at(Name::new(name)?));
        now.map_or(true, |now| now.key != key).then_some(NodeId(child))
    }

    /// Answers a lookup with a node that had the name before, so that the kernel takes the name away from that one,
    /// and whoever watches it is told. False where the node is forgotten by now.
    pub fn find_former(&self, request: &[u8], former: NodeId, reply: &mut Vec<u8>) -> bool {
        reply.clear();
        let Some((header, ..)) = request::header(request) else { return false };
        // It may be open, or have other names; its size must stay what it is then.
        let shown = self.place(former.0).and_then(|place| self.shown(&place));
        let mut attributes = shown.map_or(NOTHING, |shown| self.attributes(&shown));
        {
            let mut nodes = self.nodes();
            let Ok(kind) = nodes.look_up_again(former.0) else { return false };
            if attributes.mode == 0 {
                attributes = Attributes { mode: kind | 0o600, ..NOTHING };
            }
        }
        // With the name that it is about to lose.
        attributes.links = attributes.links.saturating_add(1);
        let (entry_valid, attributes_valid) = (Duration::ZERO, Duration::ZERO);
        Body::new(reply).entry(&Entry { node: former.0, entry_valid, attributes_valid, attributes });
        reply::finish(reply, header.unique);
        true
    }

    fn believed(&self, folder: u64, name: Name<'_>) -> Option<u64> {
        self.nodes().child(folder, name.bytes())
    }
}
