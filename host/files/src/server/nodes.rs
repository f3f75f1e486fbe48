//! What the guest's kernel knows by number: each file once, however many names it has, with where it was last seen.
//! A number is never given twice, so a stale one is recognized.

use std::collections::HashMap;
use std::sync::Arc;

use crate::fuse::abi;
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::reader::Name;
use crate::os::{File, Key, Place, Stat};
use crate::server::backed::Reading;

/// Nodes that a guest may make us remember.
const MOST_NODES: usize = 4 << 20;
/// Names of one file that are remembered.
const MOST_NAMES: usize = 8;

/// What tells one content and attributes of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: u64,
    modified: (i64, u32),
    pub(crate) changed: (i64, u32),
}

impl Stamp {
    pub(crate) fn of(stat: &Stat) -> Stamp {
        let attributes = &stat.attributes;
        Stamp { size: attributes.size, modified: attributes.mtime, changed: attributes.ctime }
    }
}

/// Whether changes in a folder are announced to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    Unasked,
    Yes,
    No,
}

/// One file or folder that the guest's kernel knows.
pub(crate) struct Node {
    pub(crate) key: Key,
    /// The kind bits of its mode.
    pub(crate) kind: u32,
    lookups: u64,
    /// Where it has been seen, latest last.
    pub(crate) names: Vec<(u64, Box<[u8]>)>,
    /// Of a folder: the names that the kernel may know.
    pub(crate) children: HashMap<Box<[u8]>, u64>,
    /// What the kernel was told last and may believe.
    pub(crate) told: Option<Stamp>,
    /// How the guest itself left it.
    pub(crate) ours: Option<Stamp>,
    /// Writes of the guest that are under way.
    pub(crate) writing: u32,
    /// When the host last changed it, in the server's count of changes.
    pub(crate) changed_at: u64,
    pub(crate) watched: Watched,
    /// Names looked up one by one since it was listed.
    pub(crate) lone_lookups: u32,
    /// Held for a node that no name leads to any more, and for the share itself.
    pub(crate) pinned: Option<Arc<Place>>,
    /// Files opened by the guest, by which a node is found when its names are gone.
    pub(crate) open: Vec<std::sync::Weak<File>>,
    /// How the guest's kernel reads it while it is open.
    pub(crate) reading: Reading,
    /// Closes by who may write that the host's system will take for another program's.
    pub(crate) closes: u32,
}

impl Node {
    pub(crate) fn new(stat: &Stat) -> Node {
        Node {
            key: stat.key,
            kind: stat.attributes.mode & abi::mode::KIND,
            lookups: 0,
            names: Vec::new(),
            children: HashMap::new(),
            told: None,
            ours: None,
            writing: 0,
            changed_at: 0,
            watched: Watched::Unasked,
            lone_lookups: 0,
            pinned: None,
            open: Vec::new(),
            reading: Reading::Free,
            closes: 0,
        }
    }

    pub(crate) fn is_folder(&self) -> bool {
        self.kind == abi::mode::FOLDER
    }
}

/// All nodes of a share.
pub(crate) struct Nodes {
    by_id: HashMap<u64, Node>,
    by_key: HashMap<Key, u64>,
    next: u64,
    /// Nodes without a name that are held.
    pins: usize,
}

impl Nodes {
    /// With the share itself.
    pub(crate) fn new(root: Arc<Place>, stat: &Stat) -> Nodes {
        let node = Node { pinned: Some(root), lookups: 1, ..Node::new(stat) };
        Nodes {
            by_key: HashMap::from([(node.key, abi::ROOT)]),
            by_id: HashMap::from([(abi::ROOT, node)]),
            next: abi::ROOT + 1,
            pins: 0,
        }
    }

    pub(crate) fn get(&self, id: u64) -> Outcome<&Node> {
        self.by_id.get(&id).ok_or(Errno::STALE)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Outcome<&mut Node> {
        self.by_id.get_mut(&id).ok_or(Errno::STALE)
    }

    pub(crate) fn find(&self, key: Key) -> Option<u64> {
        self.by_key.get(&key).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.by_id.keys().copied().collect()
    }

    /// The kernel is about to be told of this file, once more or for the first time.
    pub(crate) fn remember(&mut self, seen: Option<(u64, Name<'_>)>, stat: &Stat) -> Outcome<u64> {
        let kind = stat.attributes.mode & abi::mode::KIND;
        // A file system without times of birth may give the key of a file that is gone to one of another kind.
        let known = self.find(stat.key).filter(|id| self.by_id.get(id).is_some_and(|node| node.kind == kind));
        let id = match known {
            Some(id) => id,
            None if self.by_id.len() >= MOST_NODES => return Err(Errno::NFILE),
            None => {
                let id = self.next;
                self.next += 1;
                self.by_key.insert(stat.key, id);
                self.by_id.insert(id, Node::new(stat));
                id
            }
        };
        let node = self.get_mut(id)?;
        node.lookups = node.lookups.saturating_add(1);
        if let Some((folder, name)) = seen {
            self.name(folder, name.bytes(), id);
        }
        Ok(id)
    }

    /// The kernel is about to be told of the node once more; the kind bits of its mode.
    pub(crate) fn look_up_again(&mut self, id: u64) -> Outcome<u32> {
        let node = self.get_mut(id)?;
        node.lookups = node.lookups.saturating_add(1);
        Ok(node.kind)
    }

    /// The name leads to the node from now on.
    pub(crate) fn name(&mut self, folder: u64, name: &[u8], id: u64) {
        let Some(parent) = self.by_id.get_mut(&folder) else { return };
        let before = match parent.children.get_mut(name) {
            Some(child) => std::mem::replace(child, id),
            None => {
                parent.children.insert(name.into(), id);
                0
            }
        };
        if before != 0 && before != id {
            self.drop_name(before, folder, name);
        }
        if let Some(node) = self.by_id.get_mut(&id) {
            if node.names.last().is_some_and(|(parent, last)| *parent == folder && **last == *name) {
                return;
            }
            node.names.retain(|(parent, other)| *parent != folder || **other != *name);
            if node.names.len() >= MOST_NAMES || node.is_folder() {
                for (parent, name) in node.names.drain(..).collect::<Vec<_>>() {
                    self.drop_child(parent, &name, id);
                }
            }
        }
        if let Some(node) = self.by_id.get_mut(&id) {
            node.names.push((folder, name.into()));
        }
    }

    /// The name leads nowhere from now on; what it led to.
    pub(crate) fn unname(&mut self, folder: u64, name: &[u8]) -> Option<u64> {
        let id = self.by_id.get_mut(&folder)?.children.remove(name)?;
        self.drop_name(id, folder, name);
        Some(id)
    }

    /// What the kernel may believe that the name leads to.
    pub(crate) fn child(&self, folder: u64, name: &[u8]) -> Option<u64> {
        self.by_id.get(&folder)?.children.get(name).copied()
    }

    /// The kernel gives back `count` of what it was told; true if it no longer knows the node.
    pub(crate) fn forget(&mut self, id: u64, count: u64) -> Option<Node> {
        let node = self.by_id.get_mut(&id)?;
        node.lookups = node.lookups.saturating_sub(count);
        if node.lookups > 0 || id == abi::ROOT {
            return None;
        }
        self.unpin(id);
        let node = self.by_id.remove(&id)?;
        if self.by_key.get(&node.key) == Some(&id) {
            self.by_key.remove(&node.key);
        }
        for (folder, name) in &node.names {
            self.drop_child(*folder, name, id);
        }
        Some(node)
    }

    /// Holds a node that is about to lose its name, unless `most` are held: a guest that never forgets must not take
    /// all descriptors.
    pub(crate) fn pin(&mut self, id: u64, place: Arc<Place>, most: usize) {
        if self.pins < most
            && let Some(node) = self.by_id.get_mut(&id)
            && node.pinned.is_none()
        {
            node.pinned = Some(place);
            self.pins += 1;
        }
    }

    /// Holds it no longer; the share itself stays held.
    pub(crate) fn unpin(&mut self, id: u64) {
        if id != abi::ROOT
            && let Some(node) = self.by_id.get_mut(&id)
            && node.pinned.take().is_some()
        {
            self.pins -= 1;
        }
    }

    /// The way from the share down to the node, as it was last seen.
    pub(crate) fn way(&self, id: u64) -> Outcome<Vec<&[u8]>> {
        /// Deeper than any path that Linux resolves in one call.
        const DEEPEST: usize = 2048;
        let mut way = Vec::new();
        let mut at = id;
        while at != abi::ROOT {
            let (folder, name) = self.get(at)?.names.last().ok_or(Errno::STALE)?;
            if way.len() >= DEEPEST {
                return Err(Errno::LOOP);
            }
            way.push(&**name);
            at = *folder;
        }
        way.reverse();
        Ok(way)
    }

    fn drop_name(&mut self, id: u64, folder: u64, name: &[u8]) {
        if let Some(node) = self.by_id.get_mut(&id) {
            node.names.retain(|(parent, other)| *parent != folder || **other != *name);
        }
    }

    fn drop_child(&mut self, folder: u64, name: &[u8], id: u64) {
        if let Some(parent) = self.by_id.get_mut(&folder)
            && parent.children.get(name) == Some(&id)
        {
            parent.children.remove(name);
        }
    }
}
