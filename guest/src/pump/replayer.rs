//! The thread that replays, from its start to where it may begin: the host has to know its number before there is a
//! mount, and its table of descriptors is split off before there is a device in it.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use holm_api::files::Announcement;
use nix::sched::{CloneFlags, unshare};

use super::copy::{self, Stream};
use super::mount;

/// Started; knows nothing yet.
pub(super) struct Replayer {
    /// Its number, as FUSE requests carry it (gettid(2)).
    pub(super) thread: i32,
    streams: SyncSender<Stream>,
    apart: Receiver<io::Result<()>>,
    mounted: Mounted,
}

/// Has descriptors of its own, and waits for the mount.
pub(super) struct Mounted {
    enter: SyncSender<()>,
    entered: Receiver<io::Result<()>>,
    work: Work,
}

/// What it does, one after the other.
pub(super) struct Work {
    /// What is to be replayed, and under which number.
    pub(super) replays: SyncSender<(u64, Announcement)>,
    /// Tells of each that it was.
    pub(super) replayed: Receiver<()>,
}

impl Replayer {
    /// Of the share that will be mounted there.
    pub(super) fn start(at: PathBuf) -> io::Result<Self> {
        let (tell_thread, thread) = sync_channel(1);
        let (streams, stream) = sync_channel::<Stream>(1);
        let (tell_apart, apart) = sync_channel(1);
        let (enter, may_enter) = sync_channel(1);
        let (tell_entered, entered) = sync_channel(1);
        let (replays, to_replay) = sync_channel(1);
        let (tell_replayed, replayed) = sync_channel(1);
        // Whoever hands over or waits is gone where starting has failed, and then this thread ends as well.
        let run = move || {
            let _ = tell_thread.send(rustix::thread::gettid().as_raw_nonzero().get());
            let Ok(stream) = stream.recv() else { return };
            let _ = tell_apart.send(split_off());
            let Ok(()) = may_enter.recv() else { return };
            match mount::open_root(&at) {
                Err(error) => drop(tell_entered.send(Err(error))),
                Ok(root) => {
                    let _ = tell_entered.send(Ok(()));
                    // How it ended is told where it ended.
                    let _ = copy::replays(&stream, &root, &to_replay, &tell_replayed);
                }
            }
        };
        thread::Builder::new().name("replays".into()).spawn(run)?;
        let thread = thread.recv().map_err(io::Error::other)?;
        Ok(Self {
            thread,
            streams,
            apart,
            mounted: Mounted { enter, entered, work: Work { replays, replayed } },
        })
    }

    /// Gives it a descriptor of the stream and splits its table off. That of everybody else keeps the number too,
    /// for as long as the process lives.
    pub(super) fn with(self, stream: Stream) -> io::Result<Mounted> {
        self.streams.send(stream).map_err(io::Error::other)?;
        self.apart.recv().map_err(io::Error::other)??;
        Ok(self.mounted)
    }
}

impl Mounted {
    /// Opens the mount's root for itself, which asks the host for nothing, and begins.
    pub(super) fn enter(self) -> io::Result<Work> {
        self.enter.send(()).map_err(io::Error::other)?;
        self.entered.recv().map_err(io::Error::other)??;
        Ok(self.work)
    }
}

/// From here on this thread opens and closes for itself alone. What the engine reads to its end is not held open here.
fn split_off() -> io::Result<()> {
    unshare(CloneFlags::CLONE_FILES)?;
    super::silence()
}
