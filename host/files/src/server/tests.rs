//! The server, asked byte by byte as a kernel (or somebody hostile in its place) would.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use super::*;

mod caches;
mod hostile;
mod locking;
mod posix;

/// Announces everything, as the tests do by hand.
struct Attentive;

impl Watch for Attentive {
    fn watch(&self, _: NodeId, _: os::Descriptor<'_>) -> bool {
        true
    }

    fn unwatch(&self, _: NodeId) {}
}

/// A kernel that speaks the ABI of the tests' own accord.
struct Guest {
    server: Arc<Server>,
    outgoing: Outgoing,
    folder: tempfile::TempDir,
    uid: u32,
    pid: u32,
}

const LOOKUP: u32 = 1;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const SYMLINK: u32 = 6;
const MKNOD: u32 = 8;
const MKDIR: u32 = 9;
const UNLINK: u32 = 10;
const RMDIR: u32 = 11;
const RENAME: u32 = 12;
const LINK: u32 = 13;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const RELEASE: u32 = 18;
const SETXATTR: u32 = 21;
const GETXATTR: u32 = 22;
const LISTXATTR: u32 = 23;
const INIT: u32 = 26;
const SETLK: u32 = 32;
const SETLKW: u32 = 33;
const CREATE: u32 = 35;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;
const FALLOCATE: u32 = 43;
const READDIRPLUS: u32 = 44;
const RENAME2: u32 = 45;
const READ_WRITE: u32 = open::BOTH;
use abi::open;

impl Guest {
    fn new() -> Guest {
        Guest::with(Options::new())
    }

    fn with(options: Options) -> Guest {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::open(folder.path()).expect("it can be shared");
        let (server, outgoing) = Server::new(root, options, Arc::new(Attentive));
        let guest = Guest { server, outgoing, folder, uid: 0, pid: 1 };
        let mut init = numbers(&[7, 38, 0]);
        init.extend((abi::init::INIT_EXT as u32 | u32::MAX).to_le_bytes());
        init.extend([0; 48]);
        guest.ask(INIT, 0, &init).expect("we agree");
        guest
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn request(&self, opcode: u32, unique: u64, node: u64, body: &[u8]) -> Vec<u8> {
        let mut request = numbers(&[40 + body.len() as u32, opcode]);
        request.extend(unique.to_le_bytes());
        request.extend(node.to_le_bytes());
        request.extend(numbers(&[self.uid, self.uid, self.pid, 0]));
        request.extend(body);
        request
    }

    /// The body of the reply, or its error.
    fn ask(&self, opcode: u32, node: u64, body: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut reply = Vec::new();
        let answered = self.server.handle(&self.request(opcode, 7, node, body), &mut reply);
        assert!(answered.is_some(), "opcode {opcode} has an answer");
        parse(&reply, 7)
    }

    fn lookup(&self, folder: u64, name: &str) -> Result<Found, Errno> {
        Ok(Found::parse(&self.ask(LOOKUP, folder, &text(name))?))
    }

    fn open(&self, node: u64, flags: u32) -> Result<u64, Errno> {
        Ok(u64_at(&self.ask(OPEN, node, &numbers(&[flags, 0]))?, 0))
    }

    fn create(&self, folder: u64, name: &str, mode: u32) -> Result<(Found, u64), Errno> {
        let body = [numbers(&[READ_WRITE, mode, 0, 0]), text(name)].concat();
        let reply = self.ask(CREATE, folder, &body)?;
        Ok((Found::parse(&reply), u64_at(&reply, 128)))
    }

    fn read(&self, node: u64, fh: u64) -> Result<Vec<u8>, Errno> {
        self.ask(READ, node, &[longs(&[fh, 0]), numbers(&[4096, 0]), longs(&[0, 0])].concat())
    }

    fn write(&self, node: u64, fh: u64, data: &[u8]) -> Result<Vec<u8>, Errno> {
        let head = [longs(&[fh, 0]), numbers(&[data.len() as u32, 0]), longs(&[0, 0])].concat();
        self.ask(WRITE, node, &[&head, data].concat())
    }

    /// The messages that are waiting to be sent.
    fn said(&self) -> Vec<Message> {
        // What marks the end of them.
        self.server.queue.push(Message::ReadFolder("the end".into()));
        std::iter::from_fn(|| self.outgoing.next())
            .take_while(|message| *message != Message::ReadFolder("the end".into()))
            .collect()
    }
}

/// A reply's body, if it is well-formed.
fn parse(reply: &[u8], unique: u64) -> Result<Vec<u8>, Errno> {
    assert_eq!(u32_at(reply, 0) as usize, reply.len(), "the length is right");
    assert_eq!(u64_at(reply, 8), unique, "it answers this request");
    match u32_at(reply, 4).cast_signed() {
        0 => Ok(reply[16..].to_vec()),
        error => Err(Errno(-error)),
    }
}

/// What a name leads to, as the kernel reads it.
#[derive(Debug)]
struct Found {
    node: u64,
    entry_valid: u64,
    attributes_valid: u64,
    size: u64,
    mode: u32,
    links: u32,
    uid: u32,
}

impl Found {
    fn parse(body: &[u8]) -> Found {
        Found {
            node: u64_at(body, 0),
            entry_valid: u64_at(body, 16),
            attributes_valid: u64_at(body, 24),
            size: u64_at(body, 48),
            mode: u32_at(body, 100),
            links: u32_at(body, 104),
            uid: u32_at(body, 108),
        }
    }
}

fn numbers(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn longs(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
