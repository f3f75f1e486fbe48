//! What is done by name: looking up, making, removing, renaming, linking.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::nodes::{Stamp, Watched};
use super::owners::Owner;
use super::{ANNOUNCED, Message, NodeId, Server, UNANNOUNCED};
use crate::fuse::abi;
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::reader::Name;
use crate::fuse::reply::{Attributes, Body, Entry};
use crate::fuse::request::Header;
use crate::os::{self, Creator, Place, RenameFlags, Stat};

/// So many names asked for one by one, and the folder is worth listing.
const LONE_LOOKUPS: u32 = 4;

impl Server {
    pub(super) fn lookup(&self, folder_id: u64, name: Name<'_>, body: &mut Body<'_>) -> Outcome<()> {
        self.counters.questions.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let epoch = self.epoch();
        let folder = self.folder(folder_id)?;
        let announced = self.announced(folder_id, &folder);
        match folder.stat_at(name) {
            Ok(mut stat) => {
                self.owners.show_at(&folder, name, &mut stat);
                let entry = self.entry(folder_id, name, &stat, epoch)?;
                body.entry(&entry);
            }
            Err(Errno::NOENT) => {
                let mut nodes = self.nodes();
                nodes.unname(folder_id, name.bytes());
                let unchanged = nodes.get(folder_id)?.changed_at <= epoch;
                drop(nodes);
                // Node 0: the kernel remembers for so long that there is no such name.
                let entry_valid = match announced {
                    _ if !unchanged => Duration::ZERO,
                    true => ANNOUNCED,
                    false => UNANNOUNCED,
                };
                let attributes = NOTHING;
                body.entry(&Entry { node: 0, entry_valid, attributes_valid: Duration::ZERO, attributes });
            }
            Err(errno) => return Err(errno),
        }
        self.hint(folder_id);
        Ok(())
    }

    /// Notes that the kernel is told of the name, and for how long it may believe it.
    pub(super) fn entry(&self, folder: u64, name: Name<'_>, shown: &Stat, epoch: u64) -> Outcome<Entry> {
        let mut nodes = self.nodes();
        let node = nodes.remember(Some((folder, name)), shown)?;
        let parent = nodes.get(folder)?;
        let (announced, parent_changed) = (parent.watched == Watched::Yes, parent.changed_at);
        let known = nodes.get_mut(node)?;
        known.told = Some(Stamp::of(shown));
        let unlisted = known.is_folder() && known.lone_lookups == 0;
        let fresh = known.changed_at.max(parent_changed) <= epoch;
        let attributes_valid = validity(known.watched, announced, shown, fresh);
        if unlisted && let Ok(way) = nodes.way(node) {
            self.ahead.found(node, &way);
        }
        drop(nodes);
        let entry_valid = match announced {
            _ if !fresh => Duration::ZERO,
            true => ANNOUNCED,
            false => UNANNOUNCED,
        };
        if attributes_valid == ANNOUNCED {
            self.counters.kept.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        Ok(Entry { node, entry_valid, attributes_valid, attributes: self.attributes(shown) })
    }

    /// As the guest sees them: inode numbers of file systems mounted below are kept apart from the share's own.
    pub(super) fn attributes(&self, shown: &Stat) -> Attributes {
        let mut attributes = shown.attributes;
        if shown.key.device != self.device {
            attributes.ino ^= shown.key.device.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        attributes
    }

    /// Whoever asks for one name after the other of a folder will ask for the others too, and perhaps go on.
    fn hint(&self, folder: u64) {
        let mut nodes = self.nodes();
        let Ok(node) = nodes.get_mut(folder) else { return };
        node.lone_lookups = node.lone_lookups.saturating_add(1);
        if node.lone_lookups == LONE_LOOKUPS {
            let parent = node.names.last().map(|(parent, _)| *parent);
            drop(nodes);
            for folder in self.ahead.missed(folder, parent, Instant::now()) {
                self.have_listed(folder);
            }
        }
    }

    /// Asks the transport that somebody list the folder.
    pub(super) fn have_listed(&self, folder: u64) {
        let path = self.nodes().way(folder).map(|way| os::path(&way));
        if let Ok(path) = path {
            self.queue.push(Message::ReadFolder(path));
        }
    }

    pub(super) fn symlink(
        &self,
        header: &Header,
        name: Name<'_>,
        target: &[u8],
        body: &mut Body<'_>,
    ) -> Outcome<()> {
        self.make(header, name, 0o777, body, |folder, _| folder.symlink_at(name, target))
    }

    pub(super) fn mkdir(
        &self,
        header: &Header,
        name: Name<'_>,
        mode: u32,
        body: &mut Body<'_>,
    ) -> Outcome<()> {
        self.make(header, name, mode, body, |folder, bits| folder.mkdir_at(name, bits(abi::mode::FOLDER)))
    }

    pub(super) fn mknod(
        &self,
        header: &Header,
        name: Name<'_>,
        mode: u32,
        rdev: u32,
        body: &mut Body<'_>,
    ) -> Outcome<()> {
        let kind = mode & abi::mode::KIND;
        if matches!(kind, abi::mode::FOLDER | abi::mode::LINK) {
            return Err(Errno::INVAL);
        }
        self.make(header, name, mode, body, |folder, bits| folder.mknod_at(name, kind | bits(kind), rdev))
    }

    /// Makes something in a folder and answers with its entry.
    fn make(
        &self,
        header: &Header,
        name: Name<'_>,
        mode: u32,
        body: &mut Body<'_>,
        make: impl FnOnce(&Place, &dyn Fn(u32) -> u32) -> Outcome<()>,
    ) -> Outcome<()> {
        self.writable()?;
        let epoch = self.epoch();
        let folder = self.folder(header.node)?;
        self.announced(header.node, &folder);
        let _changing = self.changing.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = mode & 0o7777;
        self.in_name_of(header, || make(&folder, &|kind| self.owners.host_bits(kind, wanted)))?;
        let place = folder.at(name)?;
        let mut stat = place.stat()?;
        self.settle(header, &folder, &place, &mut stat, wanted)?;
        let entry = self.entry(header.node, name, &stat, epoch)?;
        self.left_by_guest(entry.node, &stat);
        self.folder_changed_by_guest(header.node);
        body.entry(&entry);
        Ok(())
    }

    pub(super) fn in_name_of<T>(&self, header: &Header, make: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        if self.owners.real() && os::own().uid == 0 {
            os::as_creator(Creator { uid: header.uid, gid: header.gid }, make)
        } else {
            make()
        }
    }

    /// Gives what was just made the mode that was asked for, which our own umask may have lessened, and its owner.
    pub(super) fn settle(
        &self,
        header: &Header,
        folder: &Place,
        place: &Place,
        stat: &mut Stat,
        wanted: u32,
    ) -> Outcome<()> {
        let kind = stat.attributes.mode & abi::mode::KIND;
        let has = stat.attributes.mode & 0o7777;
        let inherited = if kind == abi::mode::FOLDER { has & abi::mode::SETGID } else { 0 };
        let host = self.owners.host_bits(kind, wanted) | inherited;
        if kind != abi::mode::LINK && has != host {
            place.chmod(host)?;
            *stat = place.stat()?;
        }
        if !self.owners.real() {
            let mut parent = folder.stat()?;
            self.owners.show(folder, &mut parent);
            let owner = self.creator(header, &parent);
            let inherited =
                if kind == abi::mode::FOLDER { parent.attributes.mode & abi::mode::SETGID } else { 0 };
            let bits = if kind == abi::mode::LINK { 0o777 } else { wanted | inherited };
            self.owners.made(place, stat, Owner { uid: owner.uid, gid: owner.gid }, bits)?;
        }
        Ok(())
    }

    pub(super) fn remove(
        &self,
        folder_id: u64,
        name: Name<'_>,
        remove: impl FnOnce(&Place, Name<'_>) -> Outcome<()>,
    ) -> Outcome<()> {
        self.writable()?;
        let folder = self.folder(folder_id)?;
        let _changing = self.changing.read().unwrap_or_else(PoisonError::into_inner);
        self.keep_hold(folder_id, &folder, name);
        remove(&folder, name)?;
        let gone = self.nodes().unname(folder_id, name.bytes());
        if let Some(node) = gone {
            self.lost_a_name(node);
        }
        self.folder_changed_by_guest(folder_id);
        Ok(())
    }

    pub(super) fn rename(
        &self,
        from_id: u64,
        name: Name<'_>,
        to_id: u64,
        new: Name<'_>,
        flags: u32,
    ) -> Outcome<()> {
        self.writable()?;
        if flags & !RenameFlags::KNOWN != 0 {
            return Err(Errno::INVAL);
        }
        let (from, to) = (self.folder(from_id)?, self.folder(to_id)?);
        let _changing = self.changing.read().unwrap_or_else(PoisonError::into_inner);
        let exchange = flags & RenameFlags::EXCHANGE != 0;
        if !exchange {
            self.keep_hold(to_id, &to, new);
        }
        from.rename_at(name, &to, new, RenameFlags(flags))?;
        let (moved, replaced) = {
            let mut nodes = self.nodes();
            let replaced = nodes.unname(to_id, new.bytes());
            let moved = nodes.unname(from_id, name.bytes());
            if let Some(moved) = moved {
                nodes.name(to_id, new.bytes(), moved);
            }
            if let (true, Some(other)) = (exchange, replaced) {
                nodes.name(from_id, name.bytes(), other);
            }
            (moved, replaced)
        };
        for node in moved.into_iter().chain(replaced) {
            self.lost_a_name(node);
        }
        self.folder_changed_by_guest(from_id);
        if from_id != to_id {
            self.folder_changed_by_guest(to_id);
        }
        Ok(())
    }

    pub(super) fn link(
        &self,
        linked: u64,
        folder_id: u64,
        name: Name<'_>,
        body: &mut Body<'_>,
    ) -> Outcome<()> {
        self.writable()?;
        let epoch = self.epoch();
        let (place, folder) = (self.place(linked)?, self.folder(folder_id)?);
        let _changing = self.changing.read().unwrap_or_else(PoisonError::into_inner);
        place.link_to(&folder, name)?;
        let mut stat = place.stat()?;
        self.owners.show(&place, &mut stat);
        let entry = self.entry(folder_id, name, &stat, epoch)?;
        self.left_by_guest(entry.node, &stat);
        self.folder_changed_by_guest(folder_id);
        body.entry(&entry);
        Ok(())
    }

    pub(super) fn forget(&self, forgets: &[(u64, u64)]) {
        for (id, count) in forgets {
            let gone = self.nodes().forget(*id, *count);
            if let Some(node) = gone {
                self.places.remove(*id);
                self.locks.forget(*id);
                self.forget_way(node.reading);
                if node.is_folder() {
                    self.ahead.forget(*id);
                }
                if node.watched == Watched::Yes {
                    self.watch.unwatch(NodeId(*id));
                }
            }
        }
    }

    /// A node that is about to lose its only name is held, as the guest may still have it open, or stand in it.
    fn keep_hold(&self, folder_id: u64, folder: &Place, name: Name<'_>) {
        let Some(id) = self.nodes().child(folder_id, name.bytes()) else { return };
        let Ok(place) = folder.at(name) else { return };
        let Ok(stat) = place.stat() else { return };
        let mut nodes = self.nodes();
        let last_name = nodes.get(id).is_ok_and(|node| {
            node.key == stat.key
                && node.names.len() == 1
                && (node.is_folder() || node.open.iter().all(|file| file.strong_count() == 0))
        });
        if last_name {
            nodes.pin(id, Arc::new(place), (self.options.open_files / 4).max(1));
        }
    }

    fn lost_a_name(&self, id: u64) {
        {
            let mut nodes = self.nodes();
            if nodes.get(id).is_ok_and(|node| !node.names.is_empty()) {
                nodes.unpin(id);
            }
            if let Ok(node) = nodes.get_mut(id) {
                node.told = None;
            }
        }
        // Its time of change and number of links are the guest's doing.
        if let Ok(stat) = self.place(id).and_then(|place| place.stat()) {
            self.left_by_guest(id, &stat);
        }
    }

    /// The guest itself has left the node like this.
    pub(super) fn left_by_guest(&self, id: u64, stat: &Stat) {
        if let Ok(node) = self.nodes().get_mut(id) {
            node.ours = Some(Stamp::of(stat));
        }
    }

    /// The guest's kernel knows that the folder has changed and will ask.
    pub(super) fn folder_changed_by_guest(&self, id: u64) {
        let stamp = self.place(id).and_then(|folder| folder.stat()).map(|stat| Stamp::of(&stat)).ok();
        if let Ok(node) = self.nodes().get_mut(id) {
            node.told = None;
            node.ours = stamp;
        }
    }
}

/// For how long attributes may be believed.
pub(super) fn validity(own: Watched, parent_announced: bool, stat: &Stat, fresh: bool) -> Duration {
    let announced = match stat.attributes.mode & abi::mode::KIND {
        // What happens in a folder is announced by its own watch alone.
        abi::mode::FOLDER => own == Watched::Yes,
        // A file with several names may be changed by one in a folder that nobody watches.
        _ => own == Watched::Yes || parent_announced && stat.attributes.links <= 1,
    };
    match announced {
        _ if !fresh => Duration::ZERO,
        true => ANNOUNCED,
        false => UNANNOUNCED,
    }
}

/// The attributes of a name that leads nowhere.
pub(super) const NOTHING: Attributes = Attributes {
    ino: 0,
    size: 0,
    blocks: 0,
    atime: (0, 0),
    mtime: (0, 0),
    ctime: (0, 0),
    mode: 0,
    links: 0,
    uid: 0,
    gid: 0,
    rdev: 0,
    block_size: 0,
};
