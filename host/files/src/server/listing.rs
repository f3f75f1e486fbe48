//! Listing folders. With attributes where the kernel asks for them, which spares it a question for each name; on file
//! systems that number their entries for good, without being opened.

use super::Server;
use super::backed::Way;
use super::handles::Handle;
use crate::fuse::abi::fopen;
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::reader::Name;
use crate::fuse::reply::{self, Body, Dirent};
use crate::os::{File, Listed};

/// Bytes of the largest listing.
const LARGEST_LISTING: u32 = 1 << 20;

impl Server {
    pub(super) fn opendir(&self, id: u64, body: &mut Body<'_>) -> Outcome<()> {
        if self.stateless_listing {
            // The kernel opens folders without us from now on, and keeps what they held until it is told.
            return Err(Errno::NOSYS);
        }
        let file = self.folder(id)?.reopen_folder()?.into();
        let number =
            self.handles.add(Handle { node: id, file, write: false, quiet_close: true, way: Way::Cached })?;
        body.opened(number, fopen::KEEP_CACHE | fopen::CACHE_DIR, 0);
        Ok(())
    }

    pub(super) fn readdir(
        &self,
        id: u64,
        fh: u64,
        offset: u64,
        size: u32,
        plus: bool,
        body: &mut Body<'_>,
    ) -> Outcome<()> {
        let limit = size.min(LARGEST_LISTING) as usize;
        let epoch = self.epoch();
        let folder = self.folder(id)?;
        self.announced(id, &folder);
        if let Ok(node) = self.nodes().get_mut(id) {
            node.lone_lookups = u32::MAX;
        }
        if offset == 0 {
            self.ahead.begun(id);
        }
        let opened;
        let handle;
        let file: &File = if self.stateless_listing {
            opened = folder.reopen_folder()?;
            &opened
        } else {
            handle = self.handles.get(fh, id)?;
            &handle.file
        };
        file.list(offset, |listed: Listed<'_>| {
            if body.len() + reply::dirent_size(listed.name, plus) > limit {
                return false;
            }
            let mut entry = None;
            if plus && let Ok(name) = Name::new(listed.name) {
                // One that went away meanwhile is listed by name, and the kernel finds out by itself.
                entry = folder.stat_at(name).ok().and_then(|mut stat| {
                    self.owners.show_at(&folder, name, &mut stat);
                    self.entry(id, name, &stat, epoch).ok()
                });
            }
            let ino = entry.as_ref().map_or(listed.ino, |entry| entry.attributes.ino);
            body.dirent(
                limit,
                &Dirent {
                    name: listed.name,
                    ino,
                    next: listed.next,
                    kind: listed.kind,
                    entry: plus.then_some(entry.as_ref()),
                },
            )
        })?;
        if body.len() == 0 {
            let names = self.nodes().get(id).map_or(0, |node| node.children.len());
            if let Some(next) = self.ahead.listed(id, u32::try_from(names).unwrap_or(u32::MAX)) {
                self.have_listed(next);
            }
        }
        Ok(())
    }
}
