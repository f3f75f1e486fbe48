//! One share: takes a request, does it on the host's file system, and says what the guest may keep of the answer.
//!
//! What the kernel caches is long where the host's changes are announced to us ([`Watch`]) and short elsewhere. There
//! is no write-back: with it the kernel trusts its own sizes and times, and would never see those of the host again.

mod ahead;
mod attributes;
pub(crate) mod backed;
pub(crate) mod changes;
mod data;
#[cfg(all(test, target_os = "linux"))]
mod fuzz;
mod handles;
mod listing;
mod locks;
mod names;
mod nodes;
pub(crate) mod outgoing;
pub(crate) mod owners;
mod places;
mod replay;
mod session;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::fuse::abi;
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::reader::Name;
use crate::fuse::reply::{self, Body};
use crate::fuse::request::{self, Header, Operation};
use crate::os::{self, Descriptor, Place, Stat};
use ahead::Ahead;
use backed::Backing;
use data::Written;
use handles::Handles;
use locks::Locks;
use nodes::{Nodes, Watched};
use outgoing::{Answered, Message, Outgoing, Queue};
use owners::{Owner, Owners, Ownership};
use places::Places;

/// How long the kernel keeps what would be announced if it changed.
const ANNOUNCED: Duration = Duration::from_secs(3600);
/// How long it keeps what may change unseen.
const UNANNOUNCED: Duration = Duration::from_secs(1);
/// Folders kept at hand.
const FOLDERS_AT_HAND: usize = 1024;

/// Names one file or folder of a share, to whoever watches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

/// Whether the guest may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// As far as the host's system lets us.
    ReadWrite,
    /// Whatever the guest says of its mount.
    ReadOnly,
}

/// How a share is served.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether it may be changed.
    pub access: Access,
    /// Whose the files are.
    pub ownership: Ownership,
    /// Files that the guest may have open; what is left of this process's descriptors is for everything else.
    pub open_files: usize,
}

impl Options {
    /// A share that may be written, real owners, and at most half of the descriptors that this process may have.
    pub fn new() -> Options {
        let half = usize::try_from(os::descriptors() / 2).unwrap_or(usize::MAX);
        Options { access: Access::ReadWrite, ownership: Ownership::Real, open_files: half.min(1 << 20) }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

/// What a share is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootKind {
    /// With everything below.
    Folder,
    /// One regular file: the mount's own root is that file.
    File,
}

/// Why something cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// It is not there, or not ours to see.
    #[error("cannot open {}", .0.display())]
    Unreachable(PathBuf, #[source] std::io::Error),
    /// A pipe, a device or a socket.
    #[error("{} is neither a folder nor a file", .0.display())]
    Kind(PathBuf),
    /// No file server for this system yet.
    #[error("folders of this system cannot be shared yet")]
    NotYet,
}

/// The folder or file that is shared.
#[derive(Debug)]
pub struct Root {
    place: Place,
    stat: Stat,
}

impl Root {
    /// Holds what the path leads to now; later it may be renamed.
    pub fn open(path: &Path) -> Result<Root, RootError> {
        let place = Place::open(path).map_err(|cause| match cause.kind() {
            std::io::ErrorKind::Unsupported => RootError::NotYet,
            _ => RootError::Unreachable(path.to_owned(), cause),
        })?;
        let stat = place.stat().map_err(|errno| {
            RootError::Unreachable(path.to_owned(), std::io::Error::from_raw_os_error(errno.0))
        })?;
        match stat.attributes.mode & abi::mode::KIND {
            abi::mode::FOLDER | abi::mode::FILE => Ok(Root { place, stat }),
            _ => Err(RootError::Kind(path.to_owned())),
        }
    }

    /// Which of the two it is; a mount needs it before it can ask.
    pub fn kind(&self) -> RootKind {
        match self.stat.attributes.mode & abi::mode::KIND {
            abi::mode::FOLDER => RootKind::Folder,
            _ => RootKind::File,
        }
    }
}

/// Announces changes of the host to [`Server::changed`].
pub trait Watch: Send + Sync {
    /// Begins to announce what changes directly in the folder (or of the file, if one file is shared), before it
    /// returns; false if it cannot, and then caches stay short there. Called once for each node, from any thread.
    fn watch(&self, node: NodeId, folder: Descriptor<'_>) -> bool;

    /// The guest no longer knows the node.
    fn unwatch(&self, node: NodeId);
}

/// Announces nothing.
#[derive(Debug)]
pub struct NoWatch;

impl Watch for NoWatch {
    fn watch(&self, _: NodeId, _: Descriptor<'_>) -> bool {
        false
    }

    fn unwatch(&self, _: NodeId) {}
}

/// What a share has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests of the guest.
    pub requests: u64,
    /// Those that asked for names or attributes: what the guest's caches did not know.
    pub questions: u64,
    /// Answers to them that the guest may keep until the host announces a change.
    pub kept: u64,
    /// Bytes that the guest read, and wrote.
    pub read: u64,
    /// Bytes that the guest wrote.
    pub written: u64,
    /// Times that the guest was told to forget something.
    pub invalidations: u64,
    /// Files and folders that the guest knows now.
    pub nodes: u64,
    /// Files that the guest has open now.
    pub open: u64,
}

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    questions: AtomicU64,
    kept: AtomicU64,
    read: AtomicU64,
    written: AtomicU64,
    invalidations: AtomicU64,
}

/// Serves one share.
pub struct Server {
    options: Options,
    nodes: Mutex<Nodes>,
    handles: Handles,
    places: Places,
    owners: Owners,
    locks: Locks,
    /// The file system of the share itself.
    device: u64,
    watch: Arc<dyn Watch>,
    /// The guest's kernel, where it can read files by itself.
    backing: RwLock<Option<Box<dyn Backing>>>,
    queue: Arc<Queue>,
    ahead: Ahead,
    counters: Counters,
    /// Changes of the host so far.
    epoch: AtomicU64,
    /// Held shared by what the guest changes, so that a change of its own is never taken for the host's.
    changing: RwLock<()>,
    /// Pid of the guest's process that repeats the host's changes; 0 if none.
    replayer: AtomicU32,
    /// Whether folders are listed without being opened.
    stateless_listing: bool,
    ready: AtomicBool,
}

/// What an operation did with its body.
enum Answer {
    Reply,
    None,
}

impl Server {
    /// A server and the messages that it will send unasked.
    pub fn new(root: Root, options: Options, watch: Arc<dyn Watch>) -> (Arc<Server>, Outgoing) {
        let queue = Arc::new(Queue::default());
        let stateless_listing = root.place.lists_by_cookies();
        let server = Arc::new(Server {
            options,
            owners: Owners::new(options.ownership, os::own()),
            device: root.stat.key.device,
            nodes: Mutex::new(Nodes::new(Arc::new(root.place), &root.stat)),
            handles: Handles::new(options.open_files),
            places: Places::new(FOLDERS_AT_HAND.min(options.open_files)),
            locks: Locks::new(Arc::clone(&queue)),
            watch,
            backing: RwLock::new(None),
            queue: Arc::clone(&queue),
            ahead: Ahead::default(),
            counters: Counters::default(),
            epoch: AtomicU64::new(1),
            changing: RwLock::new(()),
            replayer: AtomicU32::new(0),
            stateless_listing,
            ready: AtomicBool::new(false),
        });
        server.ahead.found(abi::ROOT, &[]);
        let outgoing = Outgoing { queue, server: Arc::downgrade(&server) };
        (server, outgoing)
    }

    /// Does one request and puts the answer to it in `reply`, whatever that held. Nothing if there is none, or none
    /// yet. Called from as many threads as there should be requests at once; the answer is kept until the reply has
    /// been sent.
    pub fn handle(&self, request: &[u8], reply: &mut Vec<u8>) -> Option<Answered> {
        reply.clear();
        let (header, opcode, body) = request::header(request)?;
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let (operation, answered) = match body.and_then(|body| request::operation(opcode, body)) {
            Ok(operation) => {
                let answered =
                    if tells_attributes(&operation) { self.queue.begin() } else { Answered::unordered() };
                (operation, answered)
            }
            Err(errno) => {
                reply::error(reply, header.unique, errno);
                return Some(Answered::unordered());
            }
        };
        let outcome = self.perform(&header, operation, &mut Body::new(reply));
        match outcome {
            Ok(Answer::Reply) => reply::finish(reply, header.unique),
            Ok(Answer::None) => {
                reply.clear();
                return None;
            }
            Err(errno) => reply::error(reply, header.unique, errno),
        }
        Some(answered)
    }

    /// Ends the taking of messages, and with it the locks that wait.
    pub fn close(&self) {
        self.locks.close();
        self.queue.close();
    }

    /// What has been done so far.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            requests: read(&self.counters.requests),
            questions: read(&self.counters.questions),
            kept: read(&self.counters.kept),
            read: read(&self.counters.read),
            written: read(&self.counters.written),
            invalidations: read(&self.counters.invalidations),
            nodes: self.nodes().len() as u64,
            open: self.handles.len() as u64,
        }
    }

    /// Where the node was last seen, from the share's root.
    pub fn path_of(&self, node: NodeId) -> Option<PathBuf> {
        let nodes = self.nodes();
        Some(os::path(&nodes.way(node.0).ok()?))
    }

    fn perform(&self, header: &Header, operation: Operation<'_>, body: &mut Body<'_>) -> Outcome<Answer> {
        // Before INIT nothing is agreed upon, after DESTROY nothing is left.
        if !self.ready.load(Ordering::Acquire) && !matches!(operation, Operation::Init { .. }) {
            return Err(Errno::IO);
        }
        if self.is_replay(header) && self.replay(header, &operation, body)? {
            return Ok(Answer::Reply);
        }
        let node = header.node;
        match operation {
            Operation::Init { major, minor, readahead, flags } => {
                self.init(major, minor, readahead, flags, body)?
            }
            Operation::Destroy => self.destroy(),
            Operation::Lookup { name } => self.lookup(node, name, body)?,
            Operation::Forget { lookups } => {
                self.forget(&[(node, lookups)]);
                return Ok(Answer::None);
            }
            Operation::BatchForget { forgets } => {
                self.forget(&forgets);
                return Ok(Answer::None);
            }
            Operation::Getattr { fh } => self.getattr(node, fh, body)?,
            Operation::Setattr(set) => self.setattr(node, &set, body)?,
            Operation::Readlink => body.bytes(&self.place(node)?.readlink()?),
            Operation::Symlink { name, target } => self.symlink(header, name, target, body)?,
            Operation::Mknod { name, mode, rdev } => self.mknod(header, name, mode, rdev, body)?,
            Operation::Mkdir { name, mode } => self.mkdir(header, name, mode, body)?,
            Operation::Unlink { name } => self.remove(node, name, Place::unlink_at)?,
            Operation::Rmdir { name } => self.remove(node, name, Place::rmdir_at)?,
            Operation::Rename { name, folder, new_name, flags } => {
                self.rename(node, name, folder, new_name, flags)?
            }
            Operation::Link { node: linked, name } => self.link(linked, node, name, body)?,
            Operation::Open { flags, open_flags } => self.open(node, flags, open_flags, body)?,
            Operation::Create { name, flags, mode, open_flags } => {
                self.create(header, name, flags, mode, open_flags, body)?;
            }
            Operation::Tmpfile { flags, mode } => self.tmpfile(header, flags, mode, body)?,
            Operation::Read { fh, offset, size } => self.read(node, fh, offset, size, body)?,
            Operation::Write { fh, offset, flags, open_flags, data } => {
                self.write(node, fh, offset, flags, Written { bytes: data, open_flags }, body)?;
            }
            Operation::Statfs => body.statfs(&self.place(node).or_else(|_| self.place(abi::ROOT))?.statfs()?),
            Operation::Release { fh, flags, owner } => self.release(node, fh, flags, owner)?,
            Operation::Fsync { fh, data_only } => self.handles.get(fh, node)?.file.sync(data_only)?,
            Operation::Setxattr { name, value, flags } => self.set_xattr(node, name, value, flags)?,
            Operation::Getxattr { name, size } => self.get_xattr(node, name, size, body)?,
            Operation::Listxattr { size } => self.list_xattrs(node, size, body)?,
            Operation::Removexattr { name } => self.remove_xattr(node, name)?,
            Operation::Flush { owner } => self.locks.release_owner(node, owner),
            Operation::Opendir => self.opendir(node, body)?,
            Operation::Readdir { fh, offset, size, plus } => {
                self.readdir(node, fh, offset, size, plus, body)?
            }
            Operation::Releasedir { fh } => drop(self.handles.remove(fh, node)?),
            Operation::Fsyncdir { data_only } => self.place(node)?.reopen_folder()?.sync(data_only)?,
            Operation::Getlk(request) => self.get_lock(node, &request, body)?,
            Operation::Setlk { request, wait } => return self.set_lock(header, &request, wait),
            Operation::Access { mask } => {
                // By the attributes the kernel decides itself (`default_permissions`).
                self.nodes().get(node)?;
                if mask & abi::ACCESS_WRITE != 0 {
                    self.writable()?;
                }
            }
            Operation::Interrupt { unique } => {
                self.locks.interrupt(unique);
                return Ok(Answer::None);
            }
            Operation::Ioctl => return Err(Errno::NOTTY),
            Operation::Fallocate { fh, offset, length, mode } => {
                self.allocate(node, fh, offset, length, mode)?
            }
            Operation::Lseek { fh, offset, whence } => {
                body.u64(self.handles.get(fh, node)?.file.seek(offset, whence)?);
            }
            Operation::CopyFileRange { fh_in, off_in, fh_out, off_out, length, node_out } => {
                self.copy((node, fh_in, off_in), (node_out, fh_out, off_out), length, body)?;
            }
            Operation::Syncfs => self.sync_all()?,
            Operation::Unknown => return Err(Errno::NOSYS),
        }
        Ok(Answer::Reply)
    }

    /// Refuses what a share that may only be read must not do.
    fn writable(&self) -> Outcome<()> {
        match self.options.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Errno::ROFS),
        }
    }

    /// Holds a node, found by where it was last seen; what is there must still be it.
    fn place(&self, id: u64) -> Outcome<Arc<Place>> {
        let (at_hand, mut way) = {
            let nodes = self.nodes();
            let mut way = Vec::new();
            let mut at = id;
            loop {
                let node = nodes.get(at)?;
                if let Some(place) =
                    node.pinned.clone().or_else(|| node.is_folder().then(|| self.places.get(at))?)
                {
                    break (place, way);
                }
                let Some((folder, name)) = node.names.last().cloned() else {
                    return self.place_by_handle(id, &nodes);
                };
                if way.len() >= 2048 {
                    return Err(Errno::LOOP);
                }
                way.push((at, node.key, name, node.is_folder()));
                at = folder;
            }
        };
        let mut place = at_hand;
        while let Some((at, key, name, folder)) = way.pop() {
            let found = place.at(Name::new(&name)?).and_then(|next| match next.stat()?.key == key {
                true => Ok(next),
                false => Err(Errno::STALE),
            });
            place = match found {
                Ok(found) => Arc::new(found),
                // It went elsewhere on the host; one of its other names, or an open file, may still lead to it.
                Err(Errno::NOENT | Errno::STALE | Errno::NOTDIR) => return self.place_otherwise(id, at, key),
                Err(errno) => return Err(errno),
            };
            if folder {
                self.places.put(at, Arc::clone(&place));
            }
        }
        Ok(place)
    }

    /// By the names that the node had before the latest, if it is itself what was not found.
    fn place_otherwise(&self, id: u64, missing: u64, key: os::Key) -> Outcome<Arc<Place>> {
        let names = if id == missing { self.nodes().get(id)?.names.clone() } else { Vec::new() };
        for (folder, name) in names.iter().rev().skip(1) {
            let Some(folder) = self.places.get(*folder) else { continue };
            let found = folder.at(Name::new(name)?);
            if let Ok(place) = found
                && place.stat().is_ok_and(|stat| stat.key == key)
            {
                return Ok(Arc::new(place));
            }
        }
        let nodes = self.nodes();
        self.place_by_handle(id, &nodes)
    }

    fn place_by_handle(&self, id: u64, nodes: &Nodes) -> Outcome<Arc<Place>> {
        let file = nodes.get(id)?.open.iter().find_map(std::sync::Weak::upgrade).ok_or(Errno::STALE)?;
        Ok(Arc::new(file.place()?))
    }

    /// Holds a folder.
    fn folder(&self, id: u64) -> Outcome<Arc<Place>> {
        let is_folder = self.nodes().get(id)?.is_folder();
        if is_folder { self.place(id) } else { Err(Errno::NOTDIR) }
    }

    /// Asks once for each folder (or shared file) that changes in it be announced; says whether they are.
    fn announced(&self, id: u64, place: &Place) -> bool {
        match self.nodes().get(id).map(|node| node.watched) {
            Ok(Watched::Unasked) => {}
            Ok(watched) => return watched == Watched::Yes,
            Err(_) => return false,
        }
        let yes = self.watch.watch(NodeId(id), place.descriptor());
        if let Ok(node) = self.nodes().get_mut(id) {
            node.watched = if yes { Watched::Yes } else { Watched::No };
        }
        yes
    }

    fn tell_kernel(&self, notification: Vec<u8>) {
        self.counters.invalidations.fetch_add(1, Ordering::Relaxed);
        self.queue.push(Message::ToKernel(notification));
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn creator(&self, header: &Header, folder: &Stat) -> Owner {
        // In a folder with set-group-id, what is made belongs to the folder's group.
        let gid =
            if folder.attributes.mode & abi::mode::SETGID != 0 { folder.attributes.gid } else { header.gid };
        Owner { uid: header.uid, gid }
    }
}

/// Whether an answer lets the kernel believe something for longer.
fn tells_attributes(operation: &Operation<'_>) -> bool {
    matches!(
        operation,
        Operation::Lookup { .. }
            | Operation::Getattr { .. }
            | Operation::Setattr(_)
            | Operation::Symlink { .. }
            | Operation::Mknod { .. }
            | Operation::Mkdir { .. }
            | Operation::Link { .. }
            | Operation::Create { .. }
            | Operation::Tmpfile { .. }
            | Operation::Readdir { .. }
            | Operation::Readlink
    )
}
