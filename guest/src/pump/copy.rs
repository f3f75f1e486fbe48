//! The pump's threads: requests one way, replies the other, and one for what the kernel may make wait. Where the host
//! has the device itself, there are neither requests nor replies here.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use holm_api::files::{
    Announcement, BEGIN, Change, DONE, FromHost, LONGEST_MESSAGE, REPLY_HEADER, acknowledge, from_host,
    length,
};
use rustix::io::Errno;
use socket2::Socket;

use super::replay::replay;

/// Bytes that are read from the stream at once: a whole message and the start of others.
const BUFFER: usize = LONGEST_MESSAGE + (256 << 10);

/// What all threads have in common, whichever descriptors they know.
#[derive(Debug, Default)]
pub(super) struct Together {
    /// Whoever writes a message: two threads do.
    writing: Mutex<()>,
    ended: Mutex<bool>,
    end: Condvar,
}

/// What the threads have in common that read and write the device.
#[derive(Debug)]
pub(super) struct Shared {
    /// `None`: the host has it.
    device: Option<File>,
    stream: Stream,
}

/// To whom what the host says is handed.
pub(super) struct Takers {
    /// What may wait in the kernel, or changes something there.
    pub(super) notices: SyncSender<Notice>,
    /// Folders to be listed, and under which number.
    pub(super) lists: SyncSender<(u64, Vec<u8>)>,
}

/// What the replayer does, one after the other.
pub(super) struct Replays {
    /// What is to be replayed, and under which number.
    pub(super) replays: SyncSender<(u64, Announcement)>,
    /// Tells of each that it was.
    pub(super) replayed: Receiver<()>,
}

/// A thread's own descriptor of the stream to the host.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Socket,
    together: Arc<Together>,
}

/// Something for the thread that may wait.
#[derive(Debug)]
pub(super) enum Notice {
    /// For the kernel.
    Notification(Vec<u8>),
    /// For the replayer.
    Announcement(u64, Announcement),
}

impl Together {
    /// Waits until one of the threads has ended.
    pub(super) fn until_ended(&self) {
        let ended = lock(&self.ended);
        drop(self.end.wait_while(ended, |ended| !*ended).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Stream {
    pub(super) fn new(socket: Socket, together: Arc<Together>) -> Self {
        Self { socket, together }
    }

    /// Writes a message.
    pub(super) fn send(&self, message: &[u8]) -> io::Result<()> {
        let _turn = lock(&self.together.writing);
        (&self.socket).write_all(message)
    }

    /// The thread's last act.
    pub(super) fn end(&self, who: &str, result: &io::Result<()>) {
        if let Err(error) = result {
            tracing::warn!("a share ends: {who}: {error}");
        }
        // Wakes whoever reads from it.
        let _ = self.socket.shutdown(Shutdown::Both);
        *lock(&self.together.ended) = true;
        self.together.end.notify_all();
    }
}

impl Shared {
    pub(super) fn new(device: Option<File>, stream: Stream) -> Self {
        Self { device, stream }
    }

    /// The device, if it is here.
    fn device(&self) -> io::Result<&File> {
        self.device.as_ref().ok_or_else(|| io::Error::other("the device is the host's"))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From the kernel to the host, until the mount is gone.
pub(super) fn requests(shared: &Shared) -> io::Result<()> {
    let result = copy_requests(shared);
    shared.stream.end("requests", &result);
    result
}

fn copy_requests(shared: &Shared) -> io::Result<()> {
    let mut device = shared.device()?;
    let mut buffer = vec![0; LONGEST_MESSAGE];
    loop {
        match device.read(&mut buffer) {
            Ok(count) => shared.stream.send(&buffer[..count])?,
            Err(error) => match Errno::from_io_error(&error) {
                // A request was given up while it was read.
                Some(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
                // Unmounted everywhere.
                Some(Errno::NODEV) => return Ok(()),
                _ => return Err(error),
            },
        }
    }
}

/// From the host to the kernel, until the stream ends.
pub(super) fn replies(shared: &Shared, takers: &Takers) -> io::Result<()> {
    let result = copy_replies(shared, takers);
    shared.stream.end("replies", &result);
    result
}

fn copy_replies(shared: &Shared, takers: &Takers) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let (mut start, mut end) = (0, 0);
    loop {
        while let Some(length) = length(&buffer[start..end], REPLY_HEADER).map_err(io::Error::other)?
            && start + length <= end
        {
            pass_on(shared, takers, &buffer[start..start + length])?;
            start += length;
        }
        buffer.copy_within(start..end, 0);
        end -= start;
        start = 0;
        match (&shared.stream.socket).read(&mut buffer[end..]) {
            Ok(0) => return Ok(()),
            Ok(count) => end += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn pass_on(shared: &Shared, takers: &Takers, message: &[u8]) -> io::Result<()> {
    let notice = match from_host(message).map_err(io::Error::other)? {
        FromHost::Reply(reply) => return to_kernel(shared, reply),
        FromHost::Announcement(number, Announcement { path, change: Change::Listed }) => {
            return hand_over(&takers.lists, (number, path));
        }
        FromHost::Notification(notification) => Notice::Notification(notification.to_vec()),
        FromHost::Announcement(number, announcement) => Notice::Announcement(number, announcement),
    };
    hand_over(&takers.notices, notice)
}

fn hand_over<T>(to: &SyncSender<T>, what: T) -> io::Result<()> {
    match to.try_send(what) {
        Ok(()) => Ok(()),
        // Waiting here could be for ever: the other thread may wait for a reply.
        Err(TrySendError::Full(_)) => Err(io::Error::other("the host announces more than it may")),
        Err(TrySendError::Disconnected(_)) => Err(io::Error::other("nobody takes announcements")),
    }
}

/// What the kernel does not take concerns one request.
fn to_kernel(shared: &Shared, message: &[u8]) -> io::Result<()> {
    // It takes a message as a whole or not at all.
    match rustix::io::write(shared.device()?, message) {
        // Whoever asked was killed; or the file is unknown to the kernel.
        Ok(_) | Err(Errno::NOENT | Errno::INTR) => Ok(()),
        Err(Errno::INVAL) => {
            tracing::warn!("the kernel refused a message of the host's");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Notifications and announcements in their order, those by this thread, these by the replayer.
pub(super) fn notices(shared: &Shared, notices: &Receiver<Notice>, replayer: &Replays) -> io::Result<()> {
    let gone = || io::Error::other("the replayer is gone");
    let result = (|| {
        while let Ok(notice) = notices.recv() {
            match notice {
                Notice::Notification(message) => to_kernel(shared, &message)?,
                Notice::Announcement(number, announcement) => {
                    replayer.replays.send((number, announcement)).map_err(|_| gone())?;
                    replayer.replayed.recv().map_err(|_| gone())?;
                }
            }
        }
        Ok(())
    })();
    shared.stream.end("notices", &result);
    result
}

/// Replays announcements on the mount, whose `root` this is, and tells of each that it is done.
pub(super) fn replays(
    stream: &Stream,
    root: &File,
    replays: &Receiver<(u64, Announcement)>,
    replayed: &SyncSender<()>,
) -> io::Result<()> {
    let result = (|| {
        while let Ok((number, announcement)) = replays.recv() {
            let begin = || stream.send(&acknowledge(BEGIN, number));
            // What cannot be replayed was changed again meanwhile, and is announced once more.
            if let Err(error) = replay(root, &announcement, begin) {
                tracing::debug!("not replayed: {error}");
            }
            stream.send(&acknowledge(DONE, number))?;
            // Nobody waits for it where the share ends.
            let _ = replayed.send(());
        }
        Ok(())
    })();
    stream.end("replays", &result);
    result
}
