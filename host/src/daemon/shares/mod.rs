//! Files of this computer that containers have mounted: what is shared with whom, and the streams that serve it.
//!
//! ```text
//!   engine ── Share, Unshare ──► Shares ── token ──► engine ──► pump
//!   pump ═════ host port 1028 ═════► stream ── requests ──► holm_files::Server
//!                                      ▲ ── notifications ◄────┤
//!                                      └─── announcements ◄─ news ◄─ watch (this computer's file system)
//! ```
//!
//! One share serves all containers that want a path in the same way. Nothing is shared that no container uses: the
//! last one's end closes the stream, and whoever still has it mounted gets an error. Who comes when a folder has been
//! removed and made again, or something was mounted over it, gets the new one, and the others keep what they have.

mod device;
mod news;
mod open;
mod path;
mod port;
mod relay;
mod replay;
mod stream;
mod watch;
mod wire;

pub(super) use open::Refused;
pub(super) use port::serve;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holm_api::ContainerId;
use holm_api::link::Token;
use holm_api::services::{self, ShareId, Shared, SharedKind, User};
use holm_files::{Counts, Server};
use serde::{Deserialize, Serialize};
use tokio::sync::watch as signal;
use tokio::time::timeout;

use super::token;
use open::Found;
use path::HostKind;

/// Shares at once; each is a few threads and a stream.
const MOST_SHARES: usize = 1024;
/// For a share's files to be closed. A disk that hangs must not keep a container from its end.
const LET_GO: Duration = Duration::from_secs(5);

/// What this computer shares with its machine.
#[derive(Default)]
pub(super) struct Shares {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// Of the last one that was given.
    last: u64,
    shares: BTreeMap<ShareId, Share>,
}

struct Share {
    path: PathBuf,
    kind: SharedKind,
    /// Held by the server, so that it is nobody else's as long as the share lives.
    identity: Option<(u64, u64)>,
    read_only: bool,
    users: BTreeSet<User>,
    /// Opens its stream, once; a socket's opens all of them.
    token: Option<Token>,
    /// Whether its stream is open: it is mounted, or listened for.
    attached: bool,
    /// While files are served.
    server: Option<Arc<Server>>,
    /// The process that has it mounted, where that is one of this computer's.
    pump: Option<u32>,
    /// Whether this computer tells of changes in it.
    watched: bool,
    /// Told when nobody uses it any more.
    ends: signal::Sender<bool>,
}

/// A share whose stream may be served.
struct Admitted {
    id: ShareId,
    path: PathBuf,
    kind: SharedKind,
    read_only: bool,
    ends: signal::Receiver<bool>,
}

/// One share, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// On this computer.
    pub(crate) path: String,
    /// `folder`, `file`, `socket`.
    pub(crate) kind: String,
    /// What tells it from what has its path by now; `None` where nothing does.
    pub(crate) identity: Option<(u64, u64)>,
    /// Whether its stream is open.
    pub(crate) served: bool,
    /// Whether this computer tells of changes in it; a socket has none.
    pub(crate) watched: bool,
    /// Whether nothing may be changed.
    pub(crate) read_only: bool,
    /// Ids of those that have it mounted.
    pub(crate) containers: Vec<String>,
    /// Requests of the machine's kernel.
    pub(crate) requests: u64,
    /// Questions about names and attributes, which its caches did not know.
    pub(crate) questions: u64,
    /// Answers to them that it may keep until something changes.
    pub(crate) kept: u64,
    /// Bytes read.
    pub(crate) read: u64,
    /// Bytes written.
    pub(crate) written: u64,
    /// Changes of this computer's that it was told.
    pub(crate) invalidations: u64,
    /// Files and folders that it knows.
    pub(crate) nodes: u64,
    /// Files that it has open.
    pub(crate) open: u64,
}

impl Shares {
    /// Whether something is there that a client wants to bind.
    pub(super) fn check(&self, path: &str) -> Result<(), Refused> {
        open::find(HostKind::here(), path, open::Missing::Refused).map(drop)
    }

    /// Shares a path with one more user. May block for as long as this computer's file system does.
    pub(super) fn share(&self, wish: services::Share) -> Result<Shared, Refused> {
        let missing = if wish.creates { open::Missing::Made } else { open::Missing::Refused };
        let Found { path, kind, identity } = open::find(HostKind::here(), &wish.path, missing)?;
        let mut table = self.table();
        let known = |share: &Share| {
            (&share.path, share.kind, share.identity) == (&path, kind, identity)
                && share.read_only == wish.read_only
        };
        let found = table.shares.iter().find(|(_, share)| known(share)).map(|(id, _)| *id);
        let id = match found {
            Some(id) => id,
            None if table.shares.len() >= MOST_SHARES => return Err(Refused::TooMany),
            None => table.add(Found { path, kind, identity }, wish.read_only),
        };
        let share = table.shares.get_mut(&id).ok_or(Refused::TooMany)?;
        let token = match share.attached {
            true => None,
            false => {
                let token = token::new().map_err(Refused::Token)?;
                share.token = Some(token.clone());
                Some(token)
            }
        };
        share.users.insert(wish.user);
        Ok(Shared { share: id, kind, token })
    }

    /// Takes back what was shared with a user; the shares that nobody uses any more. Nothing of them is open then, so
    /// that whoever learns of a container's end can unmount what it had.
    pub(super) async fn unshare(&self, user: &User) -> Vec<ShareId> {
        let ended = self.table().retain(|other| other != user);
        let let_go = async {
            for (_, ends) in &ended {
                // Its streams have a receiver each for as long as they hold anything.
                ends.closed().await;
            }
        };
        if timeout(LET_GO, let_go).await.is_err() {
            tracing::warn!("a shared folder that nobody uses any more is still being read or written");
        }
        ended.into_iter().map(|(id, _)| id).collect()
    }

    /// Takes back what was shared with other containers than these, and for looks.
    pub(super) fn keep(&self, containers: &[ContainerId]) {
        let keep: BTreeSet<_> = containers.iter().collect();
        self.table().retain(|user| user.look == 0 && keep.contains(&user.container));
    }

    /// The machine is gone, and all that it used.
    pub(super) fn clear(&self) {
        self.table().retain(|_| false);
    }

    /// Those of the shares that are no more.
    pub(super) fn ended(&self, asked: Vec<ShareId>) -> Vec<ShareId> {
        let table = self.table();
        asked.into_iter().filter(|id| !table.shares.contains_key(id)).collect()
    }

    /// All of them, for people.
    pub(super) fn list(&self) -> Vec<Listed> {
        self.table().shares.values().map(Share::listed).collect()
    }

    /// Whose token it is, which is used up by this, but for a socket's.
    fn admit(&self, offered: &[u8; Token::LENGTH]) -> Option<Admitted> {
        let mut table = self.table();
        let (id, share) = table
            .shares
            .iter_mut()
            .find(|(_, share)| share.token.as_ref().is_some_and(|token| token::same(token, offered)))?;
        if share.kind != SharedKind::Socket {
            share.token = None;
        }
        // One of a socket's streams says so itself.
        share.attached |= share.kind != SharedKind::Socket;
        Some(Admitted {
            id: *id,
            path: share.path.clone(),
            kind: share.kind,
            read_only: share.read_only,
            ends: share.ends.subscribe(),
        })
    }

    /// The share's stream is open from now on.
    fn attach(&self, id: ShareId, server: Option<Arc<Server>>, pump: Option<u32>) {
        if let Some(share) = self.table().shares.get_mut(&id) {
            (share.attached, share.server, share.pump) = (true, server, pump);
        }
    }

    /// This computer tells of changes in it.
    fn watch(&self, id: ShareId) {
        if let Some(share) = self.table().shares.get_mut(&id) {
            share.watched = true;
        }
    }

    /// It is no more: whoever wants the share next gets another.
    fn detach(&self, id: ShareId) {
        if let Some(share) = self.table().shares.get_mut(&id) {
            (share.attached, share.server, share.pump, share.watched) = (false, None, None, false);
        }
    }

    /// Whether another share has some of the same files: what one changes is news to the other.
    fn has_overlap(&self, id: ShareId, path: &Path) -> bool {
        let overlaps = |other: &Path| other.starts_with(path) || path.starts_with(other);
        self.table().shares.iter().any(|(other, share)| *other != id && overlaps(&share.path))
    }

    fn has_pump(&self, process: u32) -> bool {
        self.table().shares.values().any(|share| share.pump == Some(process))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn add(&mut self, found: Found, read_only: bool) -> ShareId {
        let Found { path, kind, identity } = found;
        self.last += 1;
        let id = ShareId(self.last);
        let (ends, _) = signal::channel(false);
        let users = BTreeSet::new();
        self.shares.insert(
            id,
            Share {
                path,
                kind,
                identity,
                read_only,
                users,
                token: None,
                attached: false,
                server: None,
                pump: None,
                watched: false,
                ends,
            },
        );
        id
    }

    /// Those that have no user any more, with what their streams listen to.
    fn retain(&mut self, keep: impl Fn(&User) -> bool) -> Vec<(ShareId, signal::Sender<bool>)> {
        let mut ended = Vec::new();
        self.shares.retain(|id, share| {
            share.users.retain(&keep);
            if share.users.is_empty() {
                share.ends.send_replace(true);
                ended.push((*id, share.ends.clone()));
            }
            !share.users.is_empty()
        });
        ended
    }
}

impl Share {
    fn listed(&self) -> Listed {
        let counts = self.server.as_ref().map(|server| server.counts()).unwrap_or_default();
        let Counts { requests, questions, kept, read, written, invalidations, nodes, open } = counts;
        let containers: BTreeSet<_> = self.users.iter().map(|user| user.container.to_string()).collect();
        Listed {
            path: self.path.display().to_string(),
            kind: match self.kind {
                SharedKind::Folder => "folder",
                SharedKind::File => "file",
                SharedKind::Socket => "socket",
            }
            .to_owned(),
            identity: self.identity,
            served: self.attached,
            watched: self.watched,
            read_only: self.read_only,
            containers: containers.into_iter().collect(),
            requests,
            questions,
            kept,
            read,
            written,
            invalidations,
            nodes,
            open,
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn user(number: u8, look: u64) -> User {
        User { container: ContainerId::from_bytes([number; 32]), look }
    }

    fn share(shares: &Shares, path: &Path, read_only: bool, user: User) -> Shared {
        let path = path.display().to_string();
        shares.share(services::Share { user, path, read_only, creates: false }).unwrap()
    }

    #[tokio::test]
    async fn a_path_is_one_share_for_all_who_want_it_in_the_same_way() {
        let folder = tempfile::tempdir().unwrap();
        let shares = Shares::default();
        let one = share(&shares, folder.path(), false, user(1, 0));
        let two = share(&shares, folder.path(), false, user(2, 0));
        let three = share(&shares, folder.path(), true, user(2, 0));
        assert_eq!(one.share, two.share);
        assert_ne!(one.share, three.share);
        assert!(shares.has_overlap(one.share, folder.path()));
        assert_eq!(shares.unshare(&user(1, 0)).await, []);
        assert_eq!(shares.unshare(&user(2, 0)).await, [one.share, three.share]);
        assert_eq!(shares.ended(vec![one.share]), [one.share]);
    }

    #[tokio::test]
    async fn a_share_is_over_when_its_stream_holds_nothing_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let shares = Shares::default();
        let token = share(&shares, folder.path(), false, user(1, 0)).token.unwrap();
        let mut serving = shares.admit(&token.0).unwrap();
        let order = Mutex::new(Vec::new());
        let unshare = async {
            shares.unshare(&user(1, 0)).await;
            order.lock().unwrap().push("told");
        };
        let serve = async {
            serving.ends.wait_for(|ends| *ends).await.unwrap();
            tokio::task::yield_now().await;
            order.lock().unwrap().push("closed");
            drop(serving);
        };
        tokio::join!(unshare, serve);
        assert_eq!(*order.lock().unwrap(), ["closed", "told"]);
    }

    #[test]
    fn a_folder_that_was_made_again_is_another_share() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dist");
        std::fs::create_dir(&path).unwrap();
        let shares = Shares::default();
        let old = share(&shares, &path, false, user(1, 0));
        // Not removed: its number could be the next one's.
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        std::fs::create_dir(&path).unwrap();
        let new = share(&shares, &path, false, user(2, 0));
        assert_ne!(old.share, new.share);
        assert_eq!(share(&shares, &path, false, user(3, 0)).share, new.share);
    }

    #[test]
    fn a_token_opens_one_stream_of_its_share() {
        let folder = tempfile::tempdir().unwrap();
        let shares = Shares::default();
        let first = share(&shares, folder.path(), false, user(1, 0));
        // Asked again before the first one was used: that one is good for nothing any more.
        let second = share(&shares, folder.path(), false, user(2, 0));
        assert!(shares.admit(&first.token.unwrap().0).is_none());
        let token = second.token.unwrap();
        let admitted = shares.admit(&token.0).unwrap();
        assert_eq!(admitted.id, second.share);
        assert!(shares.admit(&token.0).is_none());
        assert!(!*admitted.ends.borrow());
        shares.clear();
        assert!(*admitted.ends.borrow());
    }

    #[test]
    fn what_a_restarted_engine_does_not_name_ends() {
        let folder = tempfile::tempdir().unwrap();
        let shares = Shares::default();
        let kept = share(&shares, folder.path(), false, user(1, 0));
        let looked_at = share(&shares, folder.path(), true, user(1, 7));
        shares.keep(&[user(1, 0).container]);
        assert_eq!(shares.ended(vec![kept.share, looked_at.share]), [looked_at.share]);
    }
}
