//! Whose a file is in the guest's eyes.
//!
//! A daemon that is root gives files away as it is told. An ordinary user cannot, so what `chown` and `chmod` asked
//! for is remembered on the file itself, as the attribute `user.holm.owner` (`uid:gid:mode`, mode in octal), which
//! moves with it and outlives us; the host's own mode keeps the owner's access and no set-id bits. What can carry no
//! attribute (links, pipes, sockets, other file systems) is remembered for as long as the share is served.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::fuse::abi::mode;
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::reader::Name;
use crate::os::{Key, Place, Stat};

/// The attribute that carries an owner.
const ATTRIBUTE: &[u8] = b"user.holm.owner";
/// What the guest neither sees nor sets.
const HIDDEN: &[u8] = b"user.holm.";
/// Owners of files without attributes that are remembered.
const MOST_REMEMBERED: usize = 1 << 16;

/// A user and a group of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Number of the user.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
}

/// How owners of the guest become owners of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// As they are: the daemon is root.
    Real,
    /// Remembered beside the file. What nothing is remembered of belongs to `default`, if it is the daemon's user's.
    Remembered {
        /// Usually the user that the container runs as.
        default: Owner,
    },
}

/// What is remembered of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    uid: u32,
    gid: u32,
    bits: u32,
}

impl Record {
    fn parse(text: &[u8]) -> Option<Record> {
        let mut parts = std::str::from_utf8(text).ok()?.split(':');
        let record = Record {
            uid: parts.next()?.parse().ok()?,
            gid: parts.next()?.parse().ok()?,
            bits: u32::from_str_radix(parts.next()?, 8).ok().filter(|bits| *bits <= 0o7777)?,
        };
        parts.next().is_none().then_some(record)
    }

    fn text(self) -> String {
        format!("{}:{}:{:o}", self.uid, self.gid, self.bits)
    }
}

/// The owners of one share.
pub(crate) struct Owners {
    ownership: Ownership,
    /// The user of this process, and its group.
    own: Owner,
    elsewhere: RwLock<HashMap<Key, Record>>,
}

impl Owners {
    pub(crate) fn new(ownership: Ownership, own: Owner) -> Owners {
        Owners { ownership, own, elsewhere: RwLock::default() }
    }

    pub(crate) fn real(&self) -> bool {
        self.ownership == Ownership::Real
    }

    /// Shows `stat`, of `name` in `folder`, as the guest is to see it.
    pub(crate) fn show_at(&self, folder: &Place, name: Name<'_>, stat: &mut Stat) {
        self.show_by(stat, |value| folder.get_xattr_at(name, ATTRIBUTE, value));
    }

    /// Shows `stat`, of `place`, as the guest is to see it.
    pub(crate) fn show(&self, place: &Place, stat: &mut Stat) {
        self.show_by(stat, |value| place.get_xattr(ATTRIBUTE, value));
    }

    /// Gives a file another owner or mode.
    pub(crate) fn change(
        &self,
        place: &Place,
        uid: Option<u32>,
        gid: Option<u32>,
        bits: Option<u32>,
    ) -> Outcome<()> {
        let Ownership::Remembered { .. } = self.ownership else {
            if uid.is_some() || gid.is_some() {
                place.chown(uid, gid)?;
            }
            // After the owner, who takes the set-id bits away.
            return bits.map_or(Ok(()), |bits| place.chmod(bits));
        };
        let mut stat = place.stat()?;
        let host = stat.attributes;
        self.show(place, &mut stat);
        let shown = stat.attributes;
        let mut record = Record {
            uid: uid.unwrap_or(shown.uid),
            gid: gid.unwrap_or(shown.gid),
            bits: bits.unwrap_or(shown.mode & 0o7777),
        };
        let given_away = uid.is_some() || gid.is_some();
        if given_away && bits.is_none() && host.mode & mode::KIND == mode::FILE {
            record.bits &= !mode::SETUID;
            if record.bits & mode::GROUP_EXECUTES != 0 {
                record.bits &= !mode::SETGID;
            }
        }
        let kind = host.mode & mode::KIND;
        let kept = host_bits(kind, record.bits);
        if kind != mode::LINK && host.mode & 0o7777 != kept {
            place.chmod(kept)?;
        }
        self.remember(place, &stat, kind, kept, record)
    }

    /// Notes who made what has just been made, and the mode that was asked for.
    pub(crate) fn made(&self, place: &Place, stat: &mut Stat, creator: Owner, bits: u32) -> Outcome<()> {
        if let Ownership::Remembered { .. } = self.ownership {
            let kind = stat.attributes.mode & mode::KIND;
            let record = Record { uid: creator.uid, gid: creator.gid, bits };
            let kept = stat.attributes.mode & 0o7777;
            self.remember(place, stat, kind, kept, record)?;
            *stat = place.stat()?;
            self.show(place, stat);
        }
        Ok(())
    }

    /// The mode that the host's file gets when the guest asks for `bits`.
    pub(crate) fn host_bits(&self, kind: u32, bits: u32) -> u32 {
        if self.real() { bits } else { host_bits(kind, bits) }
    }

    fn remember(&self, place: &Place, stat: &Stat, kind: u32, kept: u32, record: Record) -> Outcome<()> {
        let Ownership::Remembered { default } = self.ownership else { return Ok(()) };
        let plain = Record { uid: default.uid, gid: default.gid, bits: kept };
        let needless = record == plain && stat.attributes.uid == default.uid;
        let carries = matches!(kind, mode::FILE | mode::FOLDER);
        if carries {
            let done = if needless {
                match place.remove_xattr(ATTRIBUTE) {
                    Err(Errno::NODATA) => Ok(()),
                    other => other,
                }
            } else {
                place.set_xattr(ATTRIBUTE, record.text().as_bytes(), 0)
            };
            match done {
                Err(Errno::OPNOTSUPP) => {}
                other => return other,
            }
        }
        let mut elsewhere = self.elsewhere.write().unwrap_or_else(PoisonError::into_inner);
        if elsewhere.len() >= MOST_REMEMBERED && !elsewhere.contains_key(&stat.key) {
            return Err(Errno::PERM);
        }
        elsewhere.insert(stat.key, record);
        Ok(())
    }

    fn show_by(&self, stat: &mut Stat, read: impl FnOnce(&mut [u8]) -> Outcome<usize>) {
        let Ownership::Remembered { default } = self.ownership else { return };
        let attributes = &mut stat.attributes;
        // What is another user's on the host is shown as it is: nobody in the guest can change that.
        if attributes.uid == self.own.uid {
            attributes.uid = default.uid;
        }
        if attributes.gid == self.own.gid {
            attributes.gid = default.gid;
        }
        let kind = attributes.mode & mode::KIND;
        let mut value = [0_u8; 64];
        let record = match kind {
            mode::FILE | mode::FOLDER => match read(&mut value) {
                Ok(length) => value.get(..length).and_then(Record::parse),
                Err(Errno::OPNOTSUPP) => self.kept_elsewhere(stat.key),
                Err(_) => None,
            },
            _ => self.kept_elsewhere(stat.key),
        };
        if let Some(record) = record {
            let attributes = &mut stat.attributes;
            (attributes.uid, attributes.gid) = (record.uid, record.gid);
            // A mode that was changed on the host since is the truth again.
            if kind != mode::LINK && host_bits(kind, record.bits) == attributes.mode & 0o7777 {
                attributes.mode = kind | record.bits;
            }
        }
    }

    fn kept_elsewhere(&self, key: Key) -> Option<Record> {
        self.elsewhere.read().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }
}

/// Whether the guest may neither see nor set the attribute.
pub(crate) fn hidden(attribute: &[u8]) -> bool {
    attribute.starts_with(HIDDEN)
}

/// The daemon must still reach what a mode takes from its owner, since root of the guest does; and set-id bits would
/// make programs of a container the host user's.
fn host_bits(kind: u32, bits: u32) -> u32 {
    let kept = if kind == mode::FOLDER { 0o700 } else { 0o600 };
    bits & 0o1777 | kept
}
