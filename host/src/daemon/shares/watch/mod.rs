//! Noticing what other programs of this computer do in a share's folders, so that the guest's caches can be long and
//! its watchers are told.
//!
//! A folder is watched before the guest may first look into it; one that it never looked into is not. Linux tells by
//! fanotify(7): unlike inotify(7) it says which events this process made itself, and those the guest knows already.
//! macOS (FSEvents, `kFSEventStreamCreateFlagMarkSelf`) and Windows (ReadDirectoryChangesW) have their place here.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod look;
#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::{Look, Watch};
#[cfg(target_os = "linux")]
pub(super) use linux::Watch;
#[cfg(target_os = "linux")]
pub(super) use look::Look;

use std::ffi::OsString;

/// Names one watched folder for as long as it is watched, whatever becomes of its path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FolderId(Vec<u8>);

/// Something that happened to a name in a watched folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Where.
    pub(super) folder: FolderId,
    /// To what; empty: to the folder itself.
    pub(super) name: OsString,
    /// What, in the order in which it usually happens: several of them may have become one.
    pub(super) what: Vec<What>,
    /// Whether the name is a folder's.
    pub(super) is_folder: bool,
    /// This process did it.
    pub(super) by_us: bool,
    /// Who did it.
    pub(super) process: u32,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "told where folders are watched"))]
pub(super) enum What {
    Created,
    Modified,
    /// Closed by somebody who could write.
    Written,
    Attributes,
    Removed,
    /// It has another name, perhaps in another folder; `None`: in one that is not watched.
    Renamed(Option<(FolderId, OsString)>),
}

/// What reading brought.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "told where folders are watched"))]
pub(super) enum Seen {
    Event(Event),
    /// More happened than could be told: anything may have.
    Overflow,
}
