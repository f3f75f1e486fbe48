//! Repeating the host's changes inside the guest, so that its watchers of files notice: an invalidation raises no
//! event there. One process of the guest does what the host did; it sees names as the guest believed them, and
//! nothing that it does reaches the host.

use std::sync::atomic::Ordering;

use super::Server;
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::reader::Name;
use crate::fuse::reply::Body;
use crate::fuse::request::{Header, Operation};

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
                let mut nodes = self.nodes();
                nodes.unname(*to, new_name.bytes());
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

    fn believed(&self, folder: u64, name: Name<'_>) -> Option<u64> {
        self.nodes().child(folder, name.bytes())
    }
}
