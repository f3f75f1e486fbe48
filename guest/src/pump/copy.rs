//! The pump's four threads: requests one way, replies the other, and two for what the kernel may make wait.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use holm_api::files::{
    Announcement, BEGIN, DONE, FromHost, LONGEST_MESSAGE, REPLY_HEADER, acknowledge, from_host, length,
};
use rustix::io::Errno;
use socket2::Socket;

use super::replay::replay;
use super::replayer::Work;

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
    device: File,
    stream: Stream,
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

    fn send(&self, message: &[u8]) -> io::Result<()> {
        let _turn = lock(&self.together.writing);
        (&self.socket).write_all(message)
    }

    /// The thread's last act.
    fn end(&self, who: &str, result: &io::Result<()>) {
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
    pub(super) fn new(device: File, stream: Stream) -> Self {
        Self { device, stream }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From the kernel to the host, until the mount is gone.
pub(super) fn requests(shared: &Shared) -> io::Result<()> {
    let mut buffer = vec![0; LONGEST_MESSAGE];
    let result = loop {
        match (&shared.device).read(&mut buffer) {
            Ok(count) => {
                if let Err(error) = shared.stream.send(&buffer[..count]) {
                    break Err(error);
                }
            }
            Err(error) => match Errno::from_io_error(&error) {
                // A request was given up while it was read.
                Some(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
                // Unmounted everywhere.
                Some(Errno::NODEV) => break Ok(()),
                _ => break Err(error),
            },
        }
    };
    shared.stream.end("requests", &result);
    result
}

/// From the host to the kernel, until the stream ends.
pub(super) fn replies(shared: &Shared, notices: &SyncSender<Notice>) -> io::Result<()> {
    let result = copy_replies(shared, notices);
    shared.stream.end("replies", &result);
    result
}

fn copy_replies(shared: &Shared, notices: &SyncSender<Notice>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let (mut start, mut end) = (0, 0);
    loop {
        while let Some(length) = length(&buffer[start..end], REPLY_HEADER).map_err(io::Error::other)?
            && start + length <= end
        {
            pass_on(shared, notices, &buffer[start..start + length])?;
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

fn pass_on(shared: &Shared, notices: &SyncSender<Notice>, message: &[u8]) -> io::Result<()> {
    let notice = match from_host(message).map_err(io::Error::other)? {
        FromHost::Reply(reply) => return to_kernel(shared, reply),
        FromHost::Notification(notification) => Notice::Notification(notification.to_vec()),
        FromHost::Announcement(number, announcement) => Notice::Announcement(number, announcement),
    };
    match notices.try_send(notice) {
        Ok(()) => Ok(()),
        // Waiting here could be for ever: the other thread may wait for a reply.
        Err(TrySendError::Full(_)) => Err(io::Error::other("the host announces more than it may")),
        Err(TrySendError::Disconnected(_)) => Err(io::Error::other("nobody takes announcements")),
    }
}

/// What the kernel does not take concerns one request.
fn to_kernel(shared: &Shared, message: &[u8]) -> io::Result<()> {
    // It takes a message as a whole or not at all.
    match rustix::io::write(&shared.device, message) {
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
pub(super) fn notices(shared: &Shared, notices: &Receiver<Notice>, replayer: &Work) -> io::Result<()> {
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
