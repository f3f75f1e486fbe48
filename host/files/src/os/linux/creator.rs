//! Makes files in another user's name, so that they are that user's from their first instant.

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::fuse::errno::Outcome;
use crate::os::Creator;

/// Runs `make` with the file-system identity of `creator` on this thread alone. The kernel takes the capabilities
/// that override permissions away with it; they are taken back, as the guest's kernel has already decided.
pub(crate) fn as_creator<T>(creator: Creator, make: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    if (creator.uid, creator.gid) == (0, 0) {
        return make();
    }
    let before = capabilities(None)?;
    let _back = Back;
    setfsgid(Gid::from_raw(creator.gid));
    setfsuid(Uid::from_raw(creator.uid));
    let mut sets = before;
    // Without CAP_FSETID, so that the set-group-id rules are those of an ordinary user; root has been let through.
    sets.effective = before.effective.difference(CapabilitySet::FSETID);
    set_capabilities(None, sets)?;
    let made = make();
    set_capabilities(None, before)?;
    made
}

/// Gives the thread its own identity back, also when something failed in between.
struct Back;

impl Drop for Back {
    fn drop(&mut self) {
        // Going back to 0 also restores the capabilities that leaving it took.
        setfsuid(Uid::from_raw(0));
        setfsgid(Gid::from_raw(0));
    }
}
