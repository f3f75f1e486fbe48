//! From what happens on this computer to what the guest is told: its kernel forgets what changed, then the change
//! is done again there, for whoever watches files.
//!
//! What the share's own server did is no news, but to other shares of the same files.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use holm_api::files::{Announcement, Change, Kind};
use holm_files::{Author, Descriptor, NodeId, Server};

use super::replay::{Window, forget_name};
use super::stream::{Pipe, bytes};
use super::watch::{Event, FolderId, Look, Seen, Watch, What};

/// Folders of one share that are watched at most. Each is an inode that the kernel cannot forget.
const MOST_FOLDERS: usize = 65_536;
/// The share itself.
const ROOT: NodeId = NodeId(1);

/// What is watched of one share.
pub(super) struct Watcher {
    /// `None`: nothing can be, and the guest keeps nothing for long.
    watch: Option<Watch>,
    look: Look,
    is_folder: bool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    nodes: HashMap<FolderId, NodeId>,
    folders: HashMap<NodeId, FolderId>,
}

impl Watcher {
    /// Of the share of `path`. Needs a tokio runtime.
    pub(super) fn new(path: &Path, is_folder: bool) -> io::Result<Self> {
        let watch = Watch::new().inspect_err(|error| {
            tracing::warn!("changes in {} are noticed late: it cannot be watched: {error}", path.display());
        });
        Ok(Self { watch: watch.ok(), look: Look::at(path)?, is_folder, known: Mutex::default() })
    }

    /// Whether anything is told.
    pub(super) fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// Has a folder watched that the guest has heard of.
    pub(super) fn know(&self, server: &Server, node: u64) {
        let node = NodeId(node);
        if !self.is_folder || self.watch.is_none() || self.known().folders.contains_key(&node) {
            return;
        }
        // One that is gone by now is asked for again.
        let Some(path) = server.path_of(node) else { return };
        if let Ok(folder) = self.look.folder(&path) {
            holm_files::Watch::watch(self, node, Look::descriptor(&folder));
        }
    }

    fn node(&self, folder: &FolderId) -> Option<NodeId> {
        // The one file is all that is watched where it is one.
        if self.is_folder { self.known().nodes.get(folder).copied() } else { Some(ROOT) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl holm_files::Watch for Watcher {
    fn watch(&self, node: NodeId, folder: Descriptor<'_>) -> bool {
        let Some(watch) = &self.watch else { return false };
        {
            let known = self.known();
            if known.folders.contains_key(&node) {
                return true;
            }
            if known.folders.len() >= MOST_FOLDERS {
                return false;
            }
        }
        let watched = if self.is_folder { watch.watch(folder) } else { watch.watch_file(folder) };
        match watched {
            Ok(id) => {
                let mut known = self.known();
                known.nodes.insert(id.clone(), node);
                known.folders.insert(node, id);
                true
            }
            Err(error) => {
                tracing::debug!("a shared folder cannot be watched: {error}");
                false
            }
        }
    }

    /// The kernel goes on watching: it knows the folder, not us. What is told of it finds no node any more.
    fn unwatch(&self, node: NodeId) {
        let mut known = self.known();
        if let Some(id) = known.folders.remove(&node)
            && known.nodes.get(&id) == Some(&node)
        {
            known.nodes.remove(&id);
        }
    }
}

/// The other shares of the machine.
pub(super) trait Others {
    /// Whether one has some of the same files.
    fn overlap(&self) -> bool;

    /// Whether the process is the pump of one of them, or of this one.
    fn have_pump(&self, process: u32) -> bool;
}

/// Tells the guest until the stream's end.
pub(super) fn tell(pipe: &Pipe, others: &impl Others) -> io::Result<()> {
    let Some(watch) = &pipe.watcher().watch else {
        pipe.handle().block_on(pipe.stopped());
        return Ok(());
    };
    loop {
        let seen = pipe.handle().block_on(async {
            tokio::select! {
                seen = watch.read() => seen.map(Some),
                () = pipe.stopped() => Ok(None),
            }
        })?;
        let Some(seen) = seen else { return Ok(()) };
        for one in seen {
            match one {
                Seen::Overflow => pipe.server().everything_changed(),
                Seen::Event(event) if event.by_us && !others.overlap() => {}
                // What a pump has open beside us, its kernel closes in its name. It never changes anything.
                Seen::Event(event) if others.have_pump(event.process) => {}
                Seen::Event(event) => handle_event(pipe, &event)?,
            }
        }
    }
}

fn handle_event(pipe: &Pipe, event: &Event) -> io::Result<()> {
    let Some(node) = pipe.watcher().node(&event.folder) else { return Ok(()) };
    let name = if pipe.watcher().is_folder { event.name.as_os_str() } else { OsStr::new("") };
    let Some(folder) = pipe.server().path_of(node) else { return Ok(()) };
    let named = bytes(Path::new(name));
    if !event.by_us
        && event.what == [What::Written]
        && pipe.server().closed_by_guest(node, (!named.is_empty()).then_some(&named))
    {
        return Ok(());
    }
    let author = if event.by_us { Author::Ourselves } else { Author::Other };
    let subject = Subject { pipe, node, name, path: joined(&folder, name), is_folder: event.is_folder };
    if let [What::Renamed(target)] = event.what.as_slice() {
        return subject.renamed(target.as_ref(), author);
    }
    let news = subject.changed(author);
    if event.by_us && !news {
        return Ok(());
    }
    pipe.until_said();
    for change in subject.changes(&event.what) {
        subject.announce(change, None)?;
    }
    Ok(())
}

/// What an event is about.
struct Subject<'a> {
    pipe: &'a Pipe,
    node: NodeId,
    /// Empty: the folder, or the shared file, itself.
    name: &'a OsStr,
    /// From the share's root.
    path: PathBuf,
    is_folder: bool,
}

impl Subject<'_> {
    /// Has the kernel forget what it knows. Whether it could know otherwise.
    fn changed(&self, author: Author) -> bool {
        let name = bytes(Path::new(self.name));
        self.pipe.server().changed(self.node, (!name.is_empty()).then_some(&name), author)
    }

    /// What is to be done again, of what happened.
    fn changes(&self, what: &[What]) -> Vec<Change> {
        let found = self.pipe.watcher().look.at_path(&self.path).ok();
        let made_and_removed = what.contains(&What::Created) && what.contains(&What::Removed);
        let kind_gone = if self.is_folder { Kind::Folder } else { Kind::File };
        let mut changes = Vec::new();
        if made_and_removed {
            if found.is_none() {
                return changes;
            }
            // In an order that nobody tells; as it is there, it was made last.
            changes.push(Change::Removed(kind_gone));
        }
        for one in what {
            match (one, found) {
                (What::Created, Some((kind, _))) => changes.push(Change::Created(kind)),
                (What::Modified, Some((_, times))) => changes.push(Change::Modified(times)),
                (What::Written, Some((Kind::File, _))) => changes.push(Change::Written),
                (What::Attributes, Some((_, times))) => changes.push(Change::Attributes(times)),
                (What::Removed, _) if !made_and_removed => changes.push(Change::Removed(kind_gone)),
                // What is gone is told by the event of its end.
                _ => {}
            }
        }
        changes
    }

    fn announce(&self, change: Change, target: Option<(u64, Vec<u8>)>) -> io::Result<()> {
        let name = bytes(Path::new(self.name));
        if matches!(change, Change::Created(_)) {
            // Somebody in the guest may have looked meanwhile; then it could not be made again.
            self.pipe.notify(&forget_name(self.node.0, &name))?;
        }
        let former = match (&change, &target) {
            (Change::Removed(_), _) => self.pipe.server().former(self.node, &name),
            (Change::Renamed(_), Some((folder, name))) => self.pipe.server().former(NodeId(*folder), name),
            _ => None,
        };
        let window = Window { folder: self.node.0, name, change: change.clone(), target, former };
        let announcement = Announcement { path: bytes(&self.path), change };
        self.pipe.replay(&announcement, Some(window))
    }

    fn renamed(&self, target: Option<&(FolderId, OsString)>, author: Author) -> io::Result<()> {
        let found = target.and_then(|(folder, name)| {
            let node = self.pipe.watcher().node(folder)?;
            Some((node, joined(&self.pipe.server().path_of(node)?, name), name))
        });
        let Some((to, path, name)) = found else {
            // Out of what the guest has seen.
            let news = self.changed(author);
            if author == Author::Other || news {
                self.pipe.until_said();
                self.announce(self.removed(), None)?;
            }
            return Ok(());
        };
        let there = Subject { pipe: self.pipe, node: to, name, path, is_folder: self.is_folder };
        if author == Author::Ourselves {
            if self.changed(author) | there.changed(author) {
                self.pipe.until_said();
                self.announce(self.removed(), None)?;
                for change in there.changes(&[What::Created]) {
                    there.announce(change, None)?;
                }
            }
            return Ok(());
        }
        // First: after it the kernel would know the file by neither name.
        let target = (to.0, bytes(Path::new(name)));
        self.announce(Change::Renamed(bytes(&there.path)), Some(target))?;
        self.changed(author);
        there.changed(author);
        Ok(())
    }

    fn removed(&self) -> Change {
        Change::Removed(if self.is_folder { Kind::Folder } else { Kind::File })
    }
}

fn joined(folder: &Path, name: &OsStr) -> PathBuf {
    if name.is_empty() { folder.to_owned() } else { folder.join(name) }
}
