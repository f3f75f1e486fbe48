//! Attributes of a node: asking for them, setting them, and the extended ones.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::names::validity;
use super::nodes::{Stamp, Watched};
use super::owners::hidden;
use super::{ANNOUNCED, Server};
use crate::fuse::abi::{mode, setattr};
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::reply::Body;
use crate::fuse::request::SetAttributes;
use crate::os::{OpenMode, Place, Stat, Time};

/// Bytes of the largest extended attribute, and of the list of their names.
const LARGEST_ATTRIBUTE: u32 = 64 << 10;
/// What the names of ACLs begin with.
const ACL: &[u8] = b"system.posix_acl_";

impl Server {
    pub(super) fn getattr(&self, node: u64, fh: Option<u64>, body: &mut Body<'_>) -> Outcome<()> {
        self.counters.questions.fetch_add(1, Ordering::Relaxed);
        let epoch = self.epoch();
        let stat = match self.place(node) {
            Ok(place) => self.shown(&place)?,
            // Its name is gone, but the guest has it open.
            Err(Errno::STALE) if fh.is_some() => {
                self.shown(&self.handles.get(fh.unwrap_or_default(), node)?.file.place()?)?
            }
            Err(errno) => return Err(errno),
        };
        self.told(node, &stat, epoch, body)
    }

    /// Answers with a node's attributes, and notes that the kernel has been told them.
    pub(super) fn told(&self, id: u64, shown: &Stat, epoch: u64, body: &mut Body<'_>) -> Outcome<()> {
        let valid = self.note_told(id, shown, epoch)?;
        body.attr(valid, &self.attributes(shown));
        Ok(())
    }

    fn note_told(&self, id: u64, shown: &Stat, epoch: u64) -> Outcome<Duration> {
        let mut nodes = self.nodes();
        let parent = nodes.get(id)?.names.last().and_then(|(folder, _)| nodes.get(*folder).ok());
        let announced = parent.is_some_and(|folder| folder.watched == Watched::Yes);
        let node = nodes.get_mut(id)?;
        node.told = Some(Stamp::of(shown));
        let valid = validity(node.watched, announced, shown, node.changed_at <= epoch);
        if valid == ANNOUNCED {
            self.counters.kept.fetch_add(1, Ordering::Relaxed);
        }
        Ok(valid)
    }

    pub(super) fn shown(&self, place: &Place) -> Outcome<Stat> {
        let mut stat = place.stat()?;
        self.owners.show(place, &mut stat);
        Ok(stat)
    }

    pub(super) fn setattr(&self, id: u64, set: &SetAttributes, body: &mut Body<'_>) -> Outcome<()> {
        self.writable()?;
        let epoch = self.epoch();
        let has = |flag| set.valid & flag != 0;
        let handle = if has(setattr::FH) { Some(self.handles.get(set.fh, id)?) } else { None };
        let place = match (self.place(id), &handle) {
            (Err(Errno::STALE), Some(handle)) => std::sync::Arc::new(handle.file.place()?),
            (place, _) => place?,
        };
        let _changing = self.changing.read().unwrap_or_else(PoisonError::into_inner);
        let kind = self.nodes().get(id)?.kind;
        if has(setattr::SIZE) {
            if kind != mode::FILE {
                return Err(if kind == mode::FOLDER { Errno::ISDIR } else { Errno::INVAL });
            }
            if has(setattr::KILL_SUIDGID) {
                self.end_set_id(&place)?;
            }
            match handle.filter(|handle| handle.write) {
                Some(handle) => handle.file.truncate(set.size)?,
                None => place
                    .reopen(OpenMode { read: false, write: true, truncate: false })
                    .and_then(|file| file.truncate(set.size))?,
            }
        }
        let uid = has(setattr::UID).then_some(set.uid);
        let gid = has(setattr::GID).then_some(set.gid);
        let bits = has(setattr::MODE).then_some(set.mode & 0o7777);
        if uid.is_some() || gid.is_some() || bits.is_some() {
            if bits.is_some() && kind == mode::LINK {
                return Err(Errno::OPNOTSUPP);
            }
            self.owners.change(&place, uid, gid, bits)?;
        }
        let time = |given, now, (seconds, nanos)| match (has(given), has(now)) {
            (_, true) => Time::Now,
            (true, false) => Time::At(seconds, nanos),
            (false, false) => Time::Keep,
        };
        let accessed = time(setattr::ATIME, setattr::ATIME_NOW, set.atime);
        let modified = time(setattr::MTIME, setattr::MTIME_NOW, set.mtime);
        if !matches!((accessed, modified), (Time::Keep, Time::Keep)) {
            place.set_times(accessed, modified)?;
        }
        let stat = self.shown(&place)?;
        self.left_by_guest(id, &stat);
        self.told(id, &stat, epoch, body)
    }

    /// Writing to a program by somebody who is not root ends its set-id bits.
    pub(super) fn end_set_id(&self, place: &Place) -> Outcome<()> {
        let bits = self.shown(place)?.attributes.mode & 0o7777;
        let mut kept = bits & !mode::SETUID;
        if bits & mode::GROUP_EXECUTES != 0 {
            kept &= !mode::SETGID;
        }
        if kept == bits { Ok(()) } else { self.owners.change(place, None, None, Some(kept)) }
    }

    pub(super) fn set_xattr(&self, id: u64, name: &[u8], value: &[u8], flags: u32) -> Outcome<()> {
        self.writable()?;
        supported(name)?;
        if hidden(name) {
            return Err(Errno::PERM);
        }
        self.with_xattrs(id, |place| place.set_xattr(name, value, flags))
    }

    pub(super) fn remove_xattr(&self, id: u64, name: &[u8]) -> Outcome<()> {
        self.writable()?;
        supported(name)?;
        if hidden(name) {
            return Err(Errno::NODATA);
        }
        self.with_xattrs(id, |place| place.remove_xattr(name))
    }

    fn with_xattrs(&self, id: u64, change: impl FnOnce(&Place) -> Outcome<()>) -> Outcome<()> {
        let place = self.place(id)?;
        let _changing = self.changing.read().unwrap_or_else(PoisonError::into_inner);
        change(&place)?;
        if let Ok(stat) = place.stat() {
            self.left_by_guest(id, &stat);
        }
        Ok(())
    }

    pub(super) fn get_xattr(&self, id: u64, name: &[u8], size: u32, body: &mut Body<'_>) -> Outcome<()> {
        supported(name)?;
        if hidden(name) {
            return Err(Errno::NODATA);
        }
        let mut value = vec![0; size.min(LARGEST_ATTRIBUTE) as usize];
        let length = self.place(id)?.get_xattr(name, &mut value)?;
        match size {
            0 => size_of(length, body),
            _ => body.bytes(value.get(..length).ok_or(Errno::RANGE)?),
        }
        Ok(())
    }

    pub(super) fn list_xattrs(&self, id: u64, size: u32, body: &mut Body<'_>) -> Outcome<()> {
        let all = self.place(id)?.list_xattrs()?;
        let mut names = Vec::with_capacity(all.len());
        for name in all.split_inclusive(|byte| *byte == 0) {
            if !hidden(name) && !name.starts_with(ACL) {
                names.extend_from_slice(name);
            }
        }
        match size {
            0 => size_of(names.len(), body),
            _ if names.len() > size as usize => return Err(Errno::RANGE),
            _ => body.bytes(&names),
        }
        Ok(())
    }
}

/// ACLs name users of the host, which the guest does not have.
fn supported(name: &[u8]) -> Outcome<()> {
    if name.starts_with(ACL) { Err(Errno::OPNOTSUPP) } else { Ok(()) }
}

fn size_of(length: usize, body: &mut Body<'_>) {
    body.u32(length as u32);
    body.u32(0);
}
