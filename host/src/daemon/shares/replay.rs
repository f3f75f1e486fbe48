//! Between the pump's replayer and the server: while the replayer does again what happened on this computer, each
//! of its requests is answered so that the kernel goes through with it, and none changes anything here.
//!
//! ```text
//!   announced ── BEGIN ──► current: lookups are answered as of before the change, the change itself as done
//!             ── DONE ───► over
//! ```
//!
//! The kernel may have forgotten a name that is to be removed, or know one that is to be made; it must find the
//! first and not the second, or nobody who watches is told.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use holm_api::files::{Change, Kind, REPLY_HEADER, REQUEST_HEADER};
use holm_files::NodeId;
use tokio::sync::watch;

/// Requests of FUSE (include/uapi/linux/fuse.h), as far as they matter here.
mod opcode {
    pub(super) const LOOKUP: u32 = 1;
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const OPEN: u32 = 14;
    pub(super) const STATFS: u32 = 17;
    pub(super) const RELEASE: u32 = 18;
    pub(super) const FLUSH: u32 = 25;
    pub(super) const OPENDIR: u32 = 27;
    pub(super) const READDIR: u32 = 28;
    pub(super) const RELEASEDIR: u32 = 29;
    pub(super) const ACCESS: u32 = 34;
    pub(super) const READDIRPLUS: u32 = 44;
}

/// What the replayer has open is nothing; the server gives no such numbers. The second one of a file that others have
/// open so that the kernel reads it by itself.
const NO_FILE: u64 = u64::MAX;
const NO_FILE_AMONG_OTHERS: u64 = u64::MAX - 1;
/// Nodes from here on are of names that are gone; the server never gets so far.
const GONE: u64 = 1 << 63;
/// `FOPEN_DIRECT_IO`, which is in nobody's way, and `FOPEN_NOFLUSH`.
const OPENED: u32 = 1 | 1 << 5;
/// `FOPEN_PASSTHROUGH`.
const PASSTHROUGH: u32 = 1 << 7;
/// Bytes of `struct fuse_entry_out`, and where in it the mode is.
const ENTRY: usize = 128;
const ENTRY_MODE: usize = 100;
/// Where in it the number of links is.
const ENTRY_LINKS: usize = 104;

/// As the guest numbers it.
const ENOENT: i32 = 2;

/// What a replay is about, as the kernel will name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// The node of the folder.
    pub(super) folder: u64,
    /// The name in it.
    pub(super) name: Vec<u8>,
    /// What is done again.
    pub(super) change: Change,
    /// Where a renamed one is now.
    pub(super) target: Option<(u64, Vec<u8>)>,
    /// The node that lost its name by it: what was removed, or was in the place of a renamed one.
    pub(super) former: Option<NodeId>,
}

/// One share's replays.
#[derive(Debug)]
pub(super) struct Replay {
    /// The replayer, as requests name it.
    thread: u32,
    state: Mutex<State>,
    done: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// Announced and not done. Those without a window do nothing.
    announced: BTreeMap<u64, Option<Window>>,
    current: Option<Window>,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The server answers it, as it is by now.
    Server,
    /// This is the answer.
    Answer(Vec<u8>),
    /// The server answers with this node, and where it does not know it any more, this is the answer.
    Former(NodeId, Vec<u8>),
    /// Opened, as others have this node open.
    Opened(NodeId),
    /// One that was opened so is closed, and this is the answer.
    Closed(NodeId, Vec<u8>),
    /// It wants none.
    Nothing,
}

impl Replay {
    /// `thread`: the replayer's.
    pub(super) fn new(thread: u32) -> Self {
        Self { thread, state: Mutex::default(), done: watch::Sender::new(0) }
    }

    /// The number of the next announcement.
    pub(super) fn announce(&self, window: Option<Window>) -> u64 {
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        state.announced.insert(number, window);
        number
    }

    /// Announcements that are not done.
    pub(super) fn waiting(&self) -> usize {
        self.state().announced.len()
    }

    /// The replayer begins. A number that was not announced, or that nobody waits for any more, begins nothing.
    pub(super) fn begin(&self, number: u64) {
        let mut state = self.state();
        state.current = state.announced.get(&number).cloned().flatten();
    }

    /// The replayer is done.
    pub(super) fn finish(&self, number: u64) {
        let mut state = self.state();
        state.current = None;
        state.announced.remove(&number);
        drop(state);
        self.done.send_modify(|count| *count += 1);
    }

    /// Nobody waits for it any more.
    pub(super) fn give_up(&self, number: u64) {
        self.state().announced.remove(&number);
    }

    /// Returns when the replayer is done with it.
    pub(super) async fn until_done(&self, number: u64) {
        let mut done = self.done.subscribe();
        // The sender lives as long as this.
        let _ = done.wait_for(|_| !self.state().announced.contains_key(&number)).await;
    }

    /// Whether the replayer asks.
    pub(super) fn is_of_replayer(&self, request: &[u8]) -> bool {
        self.thread != 0 && number(request, 32) == Some(self.thread)
    }

    /// Looks at every request before the server does, and may change it.
    pub(super) fn look(&self, request: &mut Vec<u8>) -> Verdict {
        let (Some(code), Some(node)) = (number(request, 4), long(request, 16)) else {
            return Verdict::Server;
        };
        match code {
            opcode::RELEASE | opcode::FLUSH if long(request, REQUEST_HEADER) == Some(NO_FILE) => {
                return answer(request, 0, &[]);
            }
            opcode::RELEASE if long(request, REQUEST_HEADER) == Some(NO_FILE_AMONG_OTHERS) => {
                return Verdict::Closed(NodeId(node), answered(request, 0, &[]));
            }
            opcode::FORGET if node >= GONE => return Verdict::Nothing,
            _ => {}
        }
        if !self.is_of_replayer(request) {
            return Verdict::Server;
        }
        let window = self.state().current.clone();
        match code {
            opcode::OPEN => Verdict::Opened(NodeId(node)),
            opcode::LOOKUP => match window {
                Some(window) => lookup(request, node, &window),
                None => by_nobody(request),
            },
            opcode::GETATTR
            | opcode::STATFS
            | opcode::OPENDIR
            | opcode::READDIR
            | opcode::READDIRPLUS
            | opcode::RELEASEDIR
            | opcode::ACCESS => by_nobody(request),
            // By its thread the server knows that it is not to be done, whenever it comes.
            _ => Verdict::Server,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As the change needs it.
fn lookup(request: &mut Vec<u8>, folder: u64, window: &Window) -> Verdict {
    let name = request.get(REQUEST_HEADER..).unwrap_or_default();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let is = |other: u64, called: &[u8]| folder == other && name == called;
    let is_subject = is(window.folder, &window.name);
    match (&window.change, &window.target) {
        (Change::Created(_), _) if is_subject => answer(request, ENOENT, &[]),
        (Change::Removed(kind), _) if is_subject => {
            or_former(window, answer(request, 0, &gone(request, *kind)))
        }
        (Change::Renamed(_), Some((to, new_name))) if is_subject => {
            // It is found by the name that it has by now.
            request.truncate(REQUEST_HEADER);
            request.extend_from_slice(new_name);
            request.push(0);
            let length = request.len() as u32;
            put(request, 0, &length.to_le_bytes());
            put(request, 16, &to.to_le_bytes());
            by_nobody(request)
        }
        (Change::Renamed(_), Some((to, new_name))) if is(*to, new_name) => {
            or_former(window, answer(request, ENOENT, &[]))
        }
        _ => by_nobody(request),
    }
}

/// Who watches the one that lost the name is told only if the kernel takes it from that one.
fn or_former(window: &Window, otherwise: Verdict) -> Verdict {
    match (window.former, otherwise) {
        (Some(former), Verdict::Answer(answer)) => Verdict::Former(former, answer),
        (_, otherwise) => otherwise,
    }
}

/// The server takes it for anybody's.
fn by_nobody(request: &mut [u8]) -> Verdict {
    put(request, 32, &[0; 4]);
    Verdict::Server
}

/// A name that is gone, for the kernel to remove once more: not to be remembered, with one link.
fn gone(request: &[u8], kind: Kind) -> [u8; ENTRY] {
    let mode: u32 = match kind {
        Kind::Folder => 0o040_700,
        Kind::File => 0o100_600,
        Kind::Link => 0o120_777,
        Kind::Pipe => 0o010_600,
        Kind::Socket => 0o140_600,
    };
    let mut entry = [0; ENTRY];
    // No two at once have one number.
    put(&mut entry, 0, &(GONE | long(request, 8).unwrap_or_default()).to_le_bytes());
    put(&mut entry, ENTRY_MODE, &mode.to_le_bytes());
    put(&mut entry, ENTRY_LINKS, &1_u32.to_le_bytes());
    entry
}

fn answer(request: &[u8], error: i32, body: &[u8]) -> Verdict {
    Verdict::Answer(answered(request, error, body))
}

fn answered(request: &[u8], error: i32, body: &[u8]) -> Vec<u8> {
    let length = (REPLY_HEADER + body.len()) as u32;
    let unique = long(request, 8).unwrap_or_default();
    [&length.to_le_bytes()[..], &(-error).to_le_bytes(), &unique.to_le_bytes(), body].concat()
}

/// A file that the replayer opens: nothing. `among` is the number by which others have it open.
pub(super) fn opened(request: &[u8], among: Option<u32>) -> Vec<u8> {
    let (file, flags) = match among {
        Some(_) => (NO_FILE_AMONG_OTHERS, OPENED | PASSTHROUGH),
        None => (NO_FILE, OPENED),
    };
    let among = among.unwrap_or_default();
    let body = [&file.to_le_bytes()[..], &flags.to_le_bytes(), &among.to_le_bytes()].concat();
    answered(request, 0, &body)
}

/// Forgets what the kernel knows of a name (`FUSE_NOTIFY_INVAL_ENTRY`).
pub(super) fn forget_name(folder: u64, name: &[u8]) -> Vec<u8> {
    let length = (REPLY_HEADER + 16 + name.len() + 1) as u32;
    let mut message = Vec::with_capacity(length as usize);
    for part in [length, 3, 0, 0] {
        message.extend_from_slice(&part.to_le_bytes());
    }
    message.extend_from_slice(&folder.to_le_bytes());
    message.extend_from_slice(&(name.len() as u32).to_le_bytes());
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(name);
    message.push(0);
    message
}

/// The nodes of folders that a reply tells the kernel of.
pub(super) fn folders(code: u32, reply: &[u8]) -> Vec<u64> {
    let body = reply.get(REPLY_HEADER..).unwrap_or_default();
    let of_entry = |entry: &[u8]| {
        let is_folder = number(entry, ENTRY_MODE).is_some_and(|mode| mode & 0o170_000 == 0o040_000);
        long(entry, 0).filter(|node| is_folder && *node != 0)
    };
    if code == opcode::LOOKUP || code == MKDIR {
        return of_entry(body).into_iter().collect();
    }
    let mut found = Vec::new();
    let mut rest = body;
    while code == opcode::READDIRPLUS && rest.len() > ENTRY + DIRENT {
        found.extend(of_entry(rest));
        let name = number(rest, ENTRY + 16).unwrap_or_default() as usize;
        let length = ENTRY + (DIRENT + name).next_multiple_of(8);
        rest = rest.get(length..).unwrap_or_default();
    }
    found
}

const MKDIR: u32 = 9;
/// Bytes of `struct fuse_dirent` before its name.
const DIRENT: usize = 24;

/// Whether replies to it are worth a look by [`folders`].
pub(super) fn tells_of_folders(code: u32) -> bool {
    matches!(code, opcode::LOOKUP | MKDIR | opcode::READDIRPLUS)
}

/// The request's opcode.
pub(super) fn opcode_of(request: &[u8]) -> u32 {
    number(request, 4).unwrap_or_default()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREAD: u32 = 77;

    fn request(code: u32, node: u64, thread: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; REQUEST_HEADER];
        put(&mut bytes, 4, &code.to_le_bytes());
        put(&mut bytes, 8, &9_u64.to_le_bytes());
        put(&mut bytes, 16, &node.to_le_bytes());
        put(&mut bytes, 32, &thread.to_le_bytes());
        bytes.extend_from_slice(body);
        let length = bytes.len() as u32;
        put(&mut bytes, 0, &length.to_le_bytes());
        bytes
    }

    fn begun(change: Change, target: Option<(u64, Vec<u8>)>) -> Replay {
        let replay = Replay::new(THREAD);
        let number =
            replay.announce(Some(Window { folder: 5, name: b"a".to_vec(), change, target, former: None }));
        replay.begin(number);
        replay
    }

    fn error(verdict: &Verdict) -> i32 {
        match verdict {
            Verdict::Answer(bytes) => number(bytes, 4).unwrap().cast_signed(),
            other => panic!("no answer: {other:?}"),
        }
    }

    #[test]
    fn what_is_made_again_is_not_found_before() {
        let replay = begun(Change::Created(Kind::File), None);
        assert_eq!(error(&replay.look(&mut request(1, 5, THREAD, b"a\0"))), -2);
        // The same name elsewhere, and anybody else's question, are asked of the server.
        let mut elsewhere = request(1, 6, THREAD, b"a\0");
        assert_eq!(replay.look(&mut elsewhere), Verdict::Server);
        assert_eq!(number(&elsewhere, 32), Some(0));
        assert_eq!(replay.look(&mut request(1, 5, 3, b"a\0")), Verdict::Server);
    }

    #[test]
    fn what_is_removed_again_is_found_before_and_forgotten_after() {
        let replay = begun(Change::Removed(Kind::Folder), None);
        let Verdict::Answer(found) = replay.look(&mut request(1, 5, THREAD, b"a\0")) else { panic!("none") };
        let entry = &found[REPLY_HEADER..];
        assert_eq!((entry.len(), number(entry, ENTRY_MODE)), (ENTRY, Some(0o040_700)));
        let node = long(entry, 0).unwrap();
        assert_eq!(replay.look(&mut request(2, node, 0, &[0; 8])), Verdict::Nothing);
        assert_eq!(folders(1, &found), [node]);
    }

    #[test]
    fn what_is_renamed_again_is_found_by_its_new_name() {
        let replay = begun(Change::Renamed(b"x/bc".to_vec()), Some((8, b"bc".to_vec())));
        let mut old = request(1, 5, THREAD, b"a\0");
        assert_eq!(replay.look(&mut old), Verdict::Server);
        assert_eq!(old, request(1, 8, 0, b"bc\0"));
        assert_eq!(error(&replay.look(&mut request(1, 8, THREAD, b"bc\0"))), -2);
    }

    #[test]
    fn who_loses_a_name_is_found_by_it_once_more() {
        let replay = Replay::new(THREAD);
        let (change, target) = (Change::Renamed(b"b".to_vec()), Some((5, b"b".to_vec())));
        let former = Some(NodeId(3));
        let window = Window { folder: 5, name: b"a".to_vec(), change, target, former };
        replay.begin(replay.announce(Some(window)));
        let Verdict::Former(node, otherwise) = replay.look(&mut request(1, 5, THREAD, b"b\0")) else {
            panic!("not the former")
        };
        assert_eq!((node, error(&Verdict::Answer(otherwise))), (NodeId(3), -2));
        assert_eq!(replay.look(&mut request(1, 5, THREAD, b"a\0")), Verdict::Server);
    }

    #[test]
    fn a_file_that_the_replayer_opens_is_none() {
        let replay = begun(Change::Written, None);
        let mut open = request(14, 5, THREAD, &[0; 8]);
        assert_eq!(replay.look(&mut open), Verdict::Opened(NodeId(5)));
        let release = |opened: &[u8]| {
            let file = &opened[REPLY_HEADER..REPLY_HEADER + 8];
            replay.look(&mut request(18, 5, 0, &[file, &[0; 16]].concat()))
        };
        assert_eq!(error(&release(&opened(&open, None))), 0);
        assert!(matches!(release(&opened(&open, Some(9))), Verdict::Closed(NodeId(5), _)));
        assert_eq!(replay.look(&mut request(18, 5, 0, &[0; 24])), Verdict::Server);
    }

    #[test]
    fn what_changes_something_is_the_replayers_at_any_time() {
        let replay = begun(Change::Removed(Kind::File), None);
        replay.finish(1);
        let mut late = request(10, 5, THREAD, b"a\0");
        assert_eq!(replay.look(&mut late), Verdict::Server);
        assert_eq!(number(&late, 32), Some(THREAD));
    }

    #[tokio::test]
    async fn who_waits_for_a_replay_is_told_when_it_is_done() {
        let replay = begun(Change::Written, None);
        assert_eq!(replay.waiting(), 1);
        let (_, ()) = tokio::join!(replay.until_done(1), async { replay.finish(1) });
        assert_eq!(replay.waiting(), 0);
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn no_request_or_reply_breaks_it() {
        bolero::check!().with_type::<(u32, Vec<u8>, Vec<u8>)>().for_each(|(code, request, reply)| {
            let replay = Replay::new(7);
            let change = Change::Renamed(Vec::new());
            let target = Some((1, b"b".to_vec()));
            let window = Window { folder: 1, name: Vec::new(), change, target, former: Some(NodeId(3)) };
            replay.begin(replay.announce(Some(window)));
            let mut request = request.clone();
            put(&mut request, 32, &7_u32.to_le_bytes());
            replay.look(&mut request);
            folders(*code, reply);
            folders(opcode::READDIRPLUS, reply);
        });
    }
}
