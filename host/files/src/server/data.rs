//! What is in files: opening, reading, writing, and the calls that move much at once.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::Server;
use super::backed::Way;
use super::handles::Handle;
use super::nodes::Stamp;
use crate::fuse::abi::{self, fopen, mode, open};
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::reader::Name;
use crate::fuse::reply::{self, Body};
use crate::fuse::request::Header;
use crate::os::{File, OpenMode, Place, Stat};

/// Bytes of the largest read.
const LARGEST_READ: u32 = 1 << 20;
/// Bytes that one copy moves at most before it answers: the caller asks again for the rest, and may be interrupted.
const LARGEST_COPY: u64 = 64 << 20;
/// `FUSE_WRITE_CACHE`: pages of a mapping, whose place is known whatever the file was opened for.
const WRITE_CACHE: u32 = 1;

impl Server {
    pub(super) fn open(&self, id: u64, flags: u32, open_flags: u32, body: &mut Body<'_>) -> Outcome<()> {
        let wanted = self.open_mode(flags)?;
        let place = self.place(id)?;
        self.open_place(id, &place, wanted, flags, open_flags)?.tell(body);
        Ok(())
    }

    fn open_mode(&self, flags: u32) -> Outcome<OpenMode> {
        let access = flags & open::ACCESS;
        let write = matches!(access, open::WRITE | open::BOTH);
        let truncate = flags & open::TRUNCATE != 0;
        if write || truncate {
            self.writable()?;
        }
        // Mapped pages that are half written are read first, through whichever file can write.
        Ok(OpenMode { read: access != open::WRITE, write, truncate })
    }

    /// Opens a regular file that is held.
    fn open_place(
        &self,
        id: u64,
        place: &Place,
        wanted: OpenMode,
        flags: u32,
        open_flags: u32,
    ) -> Outcome<Opened> {
        let before = place.stat()?;
        match before.attributes.mode & mode::KIND {
            mode::FILE => {}
            mode::FOLDER => return Err(Errno::ISDIR),
            // Pipes, devices and sockets are the guest kernel's own; opening one here would act on the host.
            _ => return Err(Errno::PERM),
        }
        if wanted.truncate {
            let _changing = self.changing.read().unwrap_or_else(PoisonError::into_inner);
            if open_flags & abi::OPEN_KILL_SUIDGID != 0 {
                self.end_set_id(place)?;
            }
            let file = place.reopen(OpenMode { truncate: false, ..wanted })?;
            // By the open file: O_TRUNC leaves the times of an empty file alone on some systems.
            let file = if wanted.write { file } else { place.reopen(OpenMode { write: true, ..wanted })? };
            file.truncate(0)?;
            self.written(id, &file);
            return self.opened(id, file, wanted, flags, Known { stat: Some(&before), keep: true });
        }
        let file = place.reopen(wanted)?;
        let keep = self.same_as_told(id, &before);
        self.opened(id, file, wanted, flags, Known { stat: Some(&before), keep })
    }

    fn opened(&self, id: u64, file: File, wanted: OpenMode, flags: u32, known: Known<'_>) -> Outcome<Opened> {
        let file = Arc::new(file);
        if let Ok(node) = self.nodes().get_mut(id) {
            node.open.retain(|file| file.strong_count() > 0);
            node.open.push(Arc::downgrade(&file));
        }
        // Only who opens for both reading and writing is taken for one that locks ranges, and pays for a FLUSH at
        // each close; others' locks of ranges end with their last close.
        let quiet_close = flags & open::ACCESS != open::BOTH;
        let way = self.choose_way(id, &file, wanted, known.stat);
        let handle = Handle { node: id, file, write: wanted.write, quiet_close, way };
        let number = self.handles.add(handle).inspect_err(|_| self.leave_way(id, way))?;
        let keep = if known.keep { fopen::KEEP_CACHE } else { 0 };
        let quiet = if quiet_close { fopen::NOFLUSH } else { 0 };
        Ok(Opened { number, flags: way.adjust(keep | quiet | fopen::PARALLEL_DIRECT_WRITES), way })
    }

    /// Whether what the kernel has cached of a file is still right. If not, it is told so.
    fn same_as_told(&self, id: u64, now: &Stat) -> bool {
        let stamp = Some(Stamp::of(now));
        let same = match self.nodes().get(id) {
            Ok(node) => node.told == stamp || node.ours == stamp,
            Err(_) => false,
        };
        if !same {
            self.tell_kernel(reply::inval_inode(id, true));
        }
        same
    }

    pub(super) fn create(
        &self,
        header: &Header,
        name: Name<'_>,
        flags: u32,
        bits: u32,
        open_flags: u32,
        body: &mut Body<'_>,
    ) -> Outcome<()> {
        self.writable()?;
        let epoch = self.epoch();
        let wanted = self.open_mode(flags)?;
        let folder = self.folder(header.node)?;
        self.announced(header.node, &folder);
        let changing = self.changing.read().unwrap_or_else(PoisonError::into_inner);
        let host_bits = self.owners.host_bits(mode::FILE, bits & 0o7777);
        let fresh = OpenMode { truncate: false, ..wanted };
        match self.in_name_of(header, || folder.create_at(name, fresh, host_bits)) {
            Ok(file) => {
                let mut stat = file.stat()?;
                if !self.owners.real() || stat.attributes.mode & 0o7777 != host_bits {
                    self.settle(header, &folder, &file.place()?, &mut stat, bits & 0o7777)?;
                }
                let entry = self.entry(header.node, name, &stat, epoch)?;
                self.left_by_guest(entry.node, &stat);
                self.folder_changed_by_guest(header.node);
                drop(changing);
                let made = Known { stat: None, keep: true };
                let opened = self.opened(entry.node, file, wanted, flags, made)?;
                body.entry(&entry);
                opened.tell(body);
                Ok(())
            }
            Err(Errno::EXIST) if flags & open::EXCLUSIVE == 0 => {
                drop(changing);
                let place = folder.at(name)?;
                let mut stat = place.stat()?;
                if stat.attributes.mode & mode::KIND != mode::FILE {
                    // The kernel looks again, and finds that it is a link, a folder or a pipe.
                    return Err(Errno::STALE);
                }
                self.owners.show(&place, &mut stat);
                let entry = self.entry(header.node, name, &stat, epoch)?;
                let opened = self.open_place(entry.node, &place, wanted, flags, open_flags)?;
                body.entry(&entry);
                opened.tell(body);
                Ok(())
            }
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn tmpfile(&self, header: &Header, flags: u32, bits: u32, body: &mut Body<'_>) -> Outcome<()> {
        self.writable()?;
        let wanted = OpenMode { truncate: false, ..self.open_mode(flags)? };
        let folder = self.folder(header.node)?;
        let host_bits = self.owners.host_bits(mode::FILE, bits & 0o7777);
        let file = self.in_name_of(header, || folder.nameless(wanted, host_bits))?;
        let mut stat = file.stat()?;
        let place = file.place()?;
        self.settle(header, &folder, &place, &mut stat, bits & 0o7777)?;
        let node = {
            let mut nodes = self.nodes();
            let id = nodes.remember(None, &stat)?;
            let node = nodes.get_mut(id)?;
            node.told = Some(Stamp::of(&stat));
            node.ours = node.told;
            id
        };
        let opened = self.opened(node, file, wanted, flags, Known { stat: None, keep: true })?;
        body.entry(&reply::Entry {
            node,
            entry_valid: super::UNANNOUNCED,
            attributes_valid: super::UNANNOUNCED,
            attributes: self.attributes(&stat),
        });
        opened.tell(body);
        Ok(())
    }

    pub(super) fn read(&self, id: u64, fh: u64, offset: u64, size: u32, body: &mut Body<'_>) -> Outcome<()> {
        let handle = self.handles.get(fh, id)?;
        offset.checked_add(u64::from(size)).filter(|end| i64::try_from(*end).is_ok()).ok_or(Errno::INVAL)?;
        handle.file.read_at(body.0, offset, size.min(LARGEST_READ) as usize)?;
        self.counters.read.fetch_add(body.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn write(
        &self,
        id: u64,
        fh: u64,
        offset: u64,
        flags: u32,
        data: Written<'_>,
        body: &mut Body<'_>,
    ) -> Outcome<()> {
        let handle = self.handles.get(fh, id)?;
        if !handle.write {
            return Err(Errno::BADF);
        }
        if flags & abi::WRITE_KILL_SUIDGID != 0 {
            self.end_set_id(&handle.file.place()?)?;
        }
        let append = data.open_flags & open::APPEND != 0 && flags & WRITE_CACHE == 0;
        self.begin_write(id);
        let written = handle.file.write_at(data.bytes, offset, append);
        self.end_write(id, &handle.file);
        let written = written?;
        self.counters.written.fetch_add(written as u64, Ordering::Relaxed);
        body.u32(written as u32);
        body.u32(0);
        Ok(())
    }

    /// While a write is under way, a change of the file is taken for the guest's.
    fn begin_write(&self, id: u64) {
        if let Ok(node) = self.nodes().get_mut(id) {
            node.writing += 1;
        }
    }

    fn end_write(&self, id: u64, file: &File) {
        let stamp = file.stat().map(|stat| Stamp::of(&stat)).ok();
        if let Ok(node) = self.nodes().get_mut(id) {
            node.writing = node.writing.saturating_sub(1);
            node.ours = stamp;
            // The kernel asks again before it believes in a size or a time.
            node.told = None;
        }
    }

    fn written(&self, id: u64, file: &File) {
        self.begin_write(id);
        self.end_write(id, file);
    }

    pub(super) fn release(&self, id: u64, fh: u64, flags: u32, owner: u64) -> Outcome<()> {
        let handle = self.handles.remove(fh, id)?;
        self.leave_way(id, handle.way);
        if flags & abi::RELEASE_FLUSH != 0 {
            self.locks.release_owner(id, owner);
        }
        if handle.quiet_close {
            self.locks.release_handle(id, fh);
        }
        if flags & abi::RELEASE_FLOCK_UNLOCK != 0 {
            // Closing it gives the lock up, unless another of our threads still reads from it.
            let _ = handle.file.flock(abi::lock::NONE);
            self.locks.retry();
        }
        Ok(())
    }

    pub(super) fn allocate(&self, id: u64, fh: u64, offset: u64, length: u64, how: u32) -> Outcome<()> {
        let handle = self.handles.get(fh, id)?;
        if !handle.write {
            return Err(Errno::BADF);
        }
        self.begin_write(id);
        let done = handle.file.allocate(how, offset, length);
        self.end_write(id, &handle.file);
        done
    }

    /// Copies within the host, a bounded part of it.
    pub(super) fn copy(
        &self,
        (from_id, from_fh, from): (u64, u64, u64),
        (to_id, to_fh, to): (u64, u64, u64),
        length: u64,
        body: &mut Body<'_>,
    ) -> Outcome<()> {
        let (source, target) = (self.handles.get(from_fh, from_id)?, self.handles.get(to_fh, to_id)?);
        if !target.write {
            return Err(Errno::BADF);
        }
        self.begin_write(to_id);
        let copied = source.file.copy_to(from, &target.file, to, length.min(LARGEST_COPY) as usize);
        self.end_write(to_id, &target.file);
        let copied = copied?;
        body.u32(copied as u32);
        body.u32(0);
        Ok(())
    }

    pub(super) fn sync_all(&self) -> Outcome<()> {
        let root = self.place(abi::ROOT)?;
        match root.stat()?.attributes.mode & mode::KIND {
            mode::FOLDER => root.reopen_folder()?.sync_file_system(),
            _ => root.reopen(OpenMode { read: true, write: false, truncate: false })?.sync_file_system(),
        }
    }
}

/// What is known of a file when it is opened.
struct Known<'a> {
    /// How it was; `None` where it is new.
    stat: Option<&'a Stat>,
    /// Whether what the kernel has cached of it is right.
    keep: bool,
}

/// The answer to an `OPEN`.
struct Opened {
    number: u64,
    flags: u32,
    way: Way,
}

impl Opened {
    fn tell(&self, body: &mut Body<'_>) {
        body.opened(self.number, self.flags, self.way.number());
    }
}

/// What a `WRITE` brings.
pub(super) struct Written<'a> {
    pub(super) bytes: &'a [u8],
    /// Those of the open file; 0 for pages of a mapping.
    pub(super) open_flags: u32,
}
