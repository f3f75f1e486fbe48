//! A thread that works on the mount itself, from its start to where it may begin: the host has to know the replayer's
//! number before there is a mount, and its table of descriptors is split off before there is a device in it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use nix::sched::{CloneFlags, unshare};

use super::copy::Stream;
use super::mount;

/// Started; knows nothing yet.
pub(super) struct Apart {
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
}

impl Apart {
    /// Of the share that will be mounted there. `work` is done on its root.
    pub(super) fn start(
        name: &str,
        at: PathBuf,
        work: impl FnOnce(&Stream, &File) + Send + 'static,
    ) -> io::Result<Self> {
        let (tell_thread, thread) = sync_channel(1);
        let (streams, stream) = sync_channel::<Stream>(1);
        let (tell_apart, apart) = sync_channel(1);
        let (enter, may_enter) = sync_channel(1);
        let (tell_entered, entered) = sync_channel(1);
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
                    work(&stream, &root);
                }
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(run)?;
        let thread = thread.recv().map_err(io::Error::other)?;
        Ok(Self { thread, streams, apart, mounted: Mounted { enter, entered } })
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
    pub(super) fn enter(self) -> io::Result<()> {
        self.enter.send(()).map_err(io::Error::other)?;
        self.entered.recv().map_err(io::Error::other)?
    }
}

/// From here on this thread opens and closes for itself alone. What the engine waits for the end of is not held here.
pub(super) fn split_off() -> io::Result<()> {
    unshare(CloneFlags::CLONE_FILES)?;
    super::silence()
}
