//! One share's stream: requests are taken off it and answered by a few threads, each of which writes its reply
//! itself; what the server says unasked has threads of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use holm_api::files::{
    Announcement, BEGIN, Change, DONE, LONGEST_MESSAGE, MOST_ANNOUNCED, REQUEST_HEADER, announce, length,
};
use holm_files::{Message, Outgoing, Server};
use holm_vmm::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::timeout;

use super::news::{self, Watcher};
use super::replay::{Replay, Verdict, Window, folders, opcode_of, tells_of_folders};

/// Requests that are done at once: more wait on the stream. The disk is kept busy by fewer.
const THREADS: usize = 4;
/// The pump reads as fast as it can.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);
/// For one change to be done again. Whoever waits in the folder may hold it up.
const REPLAY_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes read off the stream at once; a larger message is read to where it belongs.
const BUFFER: usize = 128 << 10;
/// Notifications sent before the pump has to say that it has read them.
const UNREAD: u64 = MOST_ANNOUNCED as u64 / 4;
/// Folders that the pump may be asked to list at once.
const MOST_LISTED: usize = 64;

/// What the threads have in common.
pub(super) struct Pipe {
    server: Arc<Server>,
    watcher: Arc<Watcher>,
    replay: Replay,
    reader: Mutex<Reader>,
    writer: Mutex<WriteHalf<Stream>>,
    stop: watch::Sender<bool>,
    /// Notifications of the server's that were sent.
    notified: watch::Sender<u64>,
    unread: AtomicU64,
}

/// The stream's start that was read and not taken.
struct Reader {
    stream: ReadHalf<Stream>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// Serves until either end is gone, or `ends` says so.
pub(super) async fn serve(
    stream: Stream,
    (server, outgoing): (Arc<Server>, Outgoing),
    watcher: Arc<Watcher>,
    replayer: u32,
    overlaps: impl Fn() -> bool + Send + 'static,
    mut ends: watch::Receiver<bool>,
) -> io::Result<()> {
    let (reader, writer) = tokio::io::split(stream);
    let reader = Reader { stream: reader, buffer: vec![0; BUFFER], start: 0, end: 0 };
    server.set_replayer(Some(replayer));
    let pipe = Arc::new(Pipe {
        server: server.clone(),
        watcher,
        replay: Replay::new(replayer),
        reader: Mutex::new(reader),
        writer: Mutex::new(writer),
        stop: watch::Sender::new(false),
        notified: watch::Sender::new(0),
        unread: AtomicU64::new(0),
    });
    let _closed = Closed(pipe.clone());
    let (tell, mut ended) = mpsc::channel(THREADS + 2);
    for _ in 0..THREADS {
        spawn("files", &pipe, &tell, Pipe::work)?;
    }
    spawn("files said", &pipe, &tell, move |pipe, handle| pipe.say(&outgoing, handle))?;
    spawn("files news", &pipe, &tell, move |pipe, handle| news::tell(pipe, &overlaps, handle))?;
    drop(tell);

    let result = tokio::select! {
        first = ended.recv() => first.unwrap_or(Ok(())),
        // An error: the share is gone altogether.
        _ = ends.wait_for(|ends| *ends) => Ok(()),
    };
    pipe.stop.send_replace(true);
    server.close();
    // The pump ends when it reads the end; the threads when they notice.
    let _ = timeout(WRITE_DEADLINE, async { pipe.writer.lock().await.shutdown().await }).await;
    while ended.recv().await.is_some() {}
    result
}

/// Ends the threads, also where the serving is given up.
struct Closed(Arc<Pipe>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.stop.send_replace(true);
        self.0.server.close();
    }
}

fn spawn(
    name: &str,
    pipe: &Arc<Pipe>,
    tell: &mpsc::Sender<io::Result<()>>,
    run: impl FnOnce(&Pipe, &Handle) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let (pipe, tell, handle) = (pipe.clone(), tell.clone(), Handle::current());
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let result = run(&pipe, &handle);
        // There is a place for each thread's.
        let _ = tell.try_send(result);
    })?;
    Ok(())
}

impl Pipe {
    /// The share's files.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// What is watched of them.
    pub(super) fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    /// Has a change done again in the guest, and returns when it was, or took too long.
    pub(super) async fn replay(&self, announcement: &Announcement, window: Option<Window>) -> io::Result<()> {
        let number = self.replay.announce(window);
        let message = announce(number, announcement).map_err(io::Error::other)?;
        self.send(&message).await?;
        if timeout(REPLAY_DEADLINE, self.replay.until_done(number)).await.is_err() {
            self.replay.give_up(number);
            tracing::warn!("the machine takes long to be told of a change in a shared folder");
        }
        Ok(())
    }

    /// Returns when what the server has said so far has been sent.
    pub(super) async fn until_said(&self) {
        let said = self.server.counts().invalidations;
        let mut notified = self.notified.subscribe();
        // Late is as good as never: the server holds nothing back for longer than two seconds.
        let _ = timeout(REPLAY_DEADLINE, notified.wait_for(|sent| *sent >= said)).await;
    }

    /// Returns when the stream is no more.
    pub(super) async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives as long as this.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// Writes a message.
    pub(super) async fn send(&self, message: &[u8]) -> io::Result<()> {
        let written = async {
            let mut writer = self.writer.lock().await;
            writer.write_all(message).await?;
            writer.flush().await
        };
        tokio::select! {
            biased;
            written = timeout(WRITE_DEADLINE, written) => written?,
            () = self.stopped() => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Answers requests until the stream's end.
    fn work(&self, handle: &Handle) -> io::Result<()> {
        let (mut request, mut reply) = (Vec::new(), Vec::new());
        while handle.block_on(self.next(&mut request))? {
            match self.replay.look(&mut request) {
                Verdict::Nothing => {}
                Verdict::Answer(answer) => handle.block_on(self.send(&answer))?,
                Verdict::Server => {
                    let code = opcode_of(&request);
                    let Some(answered) = self.server.handle(&request, &mut reply) else { continue };
                    if tells_of_folders(code) {
                        for node in folders(code, &reply) {
                            // Before the guest can look into it.
                            self.watcher.know(&self.server, node);
                        }
                    }
                    handle.block_on(self.send(&reply))?;
                    drop(answered);
                }
            }
        }
        Ok(())
    }

    /// The next request; `false` at the stream's end. Acknowledgements are taken in their order.
    async fn next(&self, request: &mut Vec<u8>) -> io::Result<bool> {
        let next = async {
            let mut reader = self.reader.lock().await;
            while reader.take(request).await? {
                let number = request.get(8..).and_then(|bytes| bytes.first_chunk());
                let number = number.map_or(0, |bytes| u64::from_le_bytes(*bytes));
                match opcode_of(request) {
                    BEGIN => self.replay.begin(number),
                    DONE => self.replay.finish(number),
                    _ => return Ok(true),
                }
            }
            Ok(false)
        };
        tokio::select! {
            biased;
            next = next => next,
            () = self.stopped() => Ok(false),
        }
    }

    /// Sends what the server says unasked.
    fn say(&self, outgoing: &Outgoing, handle: &Handle) -> io::Result<()> {
        while let Some(message) = outgoing.next() {
            match message {
                Message::ToKernel(message) => {
                    handle.block_on(self.send(&message))?;
                    // A reply that had to wait is none.
                    if message.get(8..16) == Some(&[0; 8]) {
                        self.notified.send_modify(|sent| *sent += 1);
                        handle.block_on(self.heed_pump())?;
                    }
                }
                Message::ReadFolder(path) => {
                    if self.replay.waiting() < MOST_LISTED {
                        let announcement = Announcement { path: bytes(&path), change: Change::Listed };
                        let number = self.replay.announce(None);
                        let message = announce(number, &announcement).map_err(io::Error::other)?;
                        handle.block_on(self.send(&message))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The pump keeps so many and no more.
    async fn heed_pump(&self) -> io::Result<()> {
        if self.unread.fetch_add(1, Ordering::Relaxed) < UNREAD {
            return Ok(());
        }
        self.unread.store(0, Ordering::Relaxed);
        self.replay(&Announcement { path: Vec::new(), change: Change::Nothing }, None).await
    }
}

impl Reader {
    /// Takes one message; `false` at the stream's end.
    async fn take(&mut self, message: &mut Vec<u8>) -> io::Result<bool> {
        message.clear();
        let length = loop {
            let length = length(&self.buffer[self.start..self.end], REQUEST_HEADER);
            if let Some(length) = length.map_err(io::Error::other)? {
                break length;
            }
            if !self.fill().await? {
                return Ok(false);
            }
        };
        debug_assert!(length <= LONGEST_MESSAGE);
        let here = length.min(self.end - self.start);
        message.extend_from_slice(&self.buffer[self.start..self.start + here]);
        self.start += here;
        // The rest, where it is long, without a detour.
        message.resize(length, 0);
        self.stream.read_exact(&mut message[here..]).await?;
        Ok(true)
    }

    async fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let count = self.stream.read(&mut self.buffer[self.end..]).await?;
        self.end += count;
        match count {
            0 if self.end > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count > 0),
        }
    }
}

/// A path as the guest writes it.
#[cfg(unix)]
pub(super) fn bytes(path: &std::path::Path) -> Vec<u8> {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec()
}

/// A path as the guest writes it.
#[cfg(not(unix))]
pub(super) fn bytes(path: &std::path::Path) -> Vec<u8> {
    path.to_string_lossy().replace('\\', "/").into_bytes()
}
