//! One share's stream: requests are taken off it and answered by a few threads, each of which writes its reply
//! itself; what the server says unasked has threads of its own. Where the pump hands `/dev/fuse` over, requests are
//! taken off that instead, and the stream carries announcements alone.
//!
//! One thread at a time waits for the next request. As soon as it has it, another one waits in its place, and where
//! none is free another one is made: a disk that hangs holds up what asks for it and nothing else.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use holm_api::files::{
    Announcement, BEGIN, Change, DONE, LONGEST_MESSAGE, MOST_ANNOUNCED, MOST_LISTED, REQUEST_HEADER,
    announce, length,
};
use holm_files::{Message, Outgoing, Server};
use holm_vmm::Stream;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::device::{Device, Turn};
use super::news::{self, Others, Watcher};
use super::replay::{Replay, Verdict, Window, folders, opcode_of, opened, tells_of_folders};
use super::wire::{End, Input, Output, Wire};

/// Requests that are done at once: more wait on the stream.
const MOST_THREADS: usize = 12;
/// Those that say what nobody asked, and the one that hears what the pump says beside its requests.
const OTHERS: usize = 3;
/// For one change to be done again. Whoever waits in the folder may hold it up.
const REPLAY_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes read off the stream at once; a larger message is read to where it belongs.
const BUFFER: usize = 128 << 10;
/// Notifications sent before the pump has to say that it has read them.
const UNREAD: u64 = MOST_ANNOUNCED as u64 / 4;

/// What the threads have in common.
pub(super) struct Pipe {
    server: Arc<Server>,
    watcher: Arc<Watcher>,
    replay: Replay,
    reader: Mutex<Reader>,
    writer: Mutex<Output>,
    end: End,
    /// Where requests come from, if not from the stream.
    device: Option<Device>,
    /// Threads that answer requests, and those of them that have none to answer.
    threads: AtomicUsize,
    free: AtomicUsize,
    handle: Handle,
    stop: watch::Sender<bool>,
    /// Notifications of the server's that were sent.
    notified: watch::Sender<u64>,
    unread: AtomicU64,
}

/// The stream's start that was read and not taken.
struct Reader {
    input: Input,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// Where requests come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The stream, onto which the pump copies them.
    Copied,
    /// The device, which the pump hands over.
    Device,
}

/// How a thread has ended.
type Tell = mpsc::Sender<io::Result<()>>;

/// Serves until either end is gone, or `ends` says so.
pub(super) async fn serve(
    (stream, source): (Stream, Source),
    (server, outgoing): (Arc<Server>, Outgoing),
    watcher: Arc<Watcher>,
    replayer: u32,
    others: impl Others + Send + 'static,
    mut ends: watch::Receiver<bool>,
) -> io::Result<()> {
    let wire = Wire::new(stream)?;
    let device = match (source, wire.socket()) {
        (Source::Device, Some(socket)) => {
            let socket = socket.try_clone()?;
            let received = tokio::task::spawn_blocking(move || Device::receive(&socket));
            Some(received.await.map_err(io::Error::other)??)
        }
        _ => None,
    };
    let Wire { input, output, end } = wire;
    let reader = Reader { input, buffer: vec![0; BUFFER], start: 0, end: 0 };
    server.set_replayer(Some(replayer));
    if let Some(device) = &device {
        server.set_backing(device.backing()?);
    }
    let pipe = Arc::new(Pipe {
        server,
        watcher,
        replay: Replay::new(replayer),
        reader: Mutex::new(reader),
        writer: Mutex::new(output),
        end,
        device,
        threads: AtomicUsize::new(0),
        free: AtomicUsize::new(0),
        handle: Handle::current(),
        stop: watch::Sender::new(false),
        notified: watch::Sender::new(0),
        unread: AtomicU64::new(0),
    });
    let closed = Closed(pipe.clone());
    let (tell, mut ended) = mpsc::channel(MOST_THREADS + OTHERS);
    let unasked = Arc::new(Unasked(pipe.clone()));
    let telling = unasked.clone();
    spawn("files said", &pipe, &tell, move |pipe, _| {
        let _unasked = unasked;
        pipe.say(&outgoing)
    })?;
    spawn("files news", &pipe, &tell, move |pipe, _| {
        let _unasked = telling;
        news::tell(pipe, &others)
    })?;
    if pipe.device.is_some() {
        spawn("files heard", &pipe, &tell, |pipe, _| pipe.hear())?;
    }
    hire(&pipe, &tell)?;
    drop(tell);

    let result = tokio::select! {
        first = ended.recv() => first.unwrap_or(Ok(())),
        // An error: the share is gone altogether.
        _ = ends.wait_for(|ends| *ends) => Ok(()),
    };
    // The pump ends when it reads the end; the threads when they notice.
    drop(closed);
    while ended.recv().await.is_some() {}
    result
}

/// Ends the threads, also where the serving is given up.
struct Closed(Arc<Pipe>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.stop.send_replace(true);
        self.0.server.close();
        self.0.end.end();
    }
}

/// Those that say what nobody asked. What they say may wait in the kernel for a reply, so who replies ends after them.
struct Unasked(Arc<Pipe>);

impl Drop for Unasked {
    fn drop(&mut self) {
        if let Some(device) = &self.0.device {
            device.end();
        }
    }
}

fn spawn(
    name: &str,
    pipe: &Arc<Pipe>,
    tell: &Tell,
    run: impl FnOnce(&Arc<Pipe>, &Tell) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let (pipe, tell) = (pipe.clone(), tell.clone());
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let result = run(&pipe, &tell);
        // Whoever hears of the last one finds nothing of the share held any more.
        drop(pipe);
        // There is a place for each thread's.
        let _ = tell.try_send(result);
    })?;
    Ok(())
}

/// One more thread that answers requests, unless there are enough.
fn hire(pipe: &Arc<Pipe>, tell: &Tell) -> io::Result<()> {
    let more = |threads| (threads < MOST_THREADS).then_some(threads + 1);
    if pipe.threads.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
        return Ok(());
    }
    pipe.free.fetch_add(1, Ordering::Relaxed);
    spawn("files", pipe, tell, work).inspect_err(|_| {
        pipe.free.fetch_sub(1, Ordering::Relaxed);
        pipe.threads.fetch_sub(1, Ordering::Relaxed);
    })
}

/// Answers requests until the stream's end.
fn work(pipe: &Arc<Pipe>, tell: &Tell) -> io::Result<()> {
    let (mut request, mut reply) = (Vec::new(), Vec::new());
    let turn = pipe.device.as_ref().map(Device::turn).transpose()?;
    while pipe.next(turn.as_ref(), &mut request)? {
        if pipe.free.fetch_sub(1, Ordering::Relaxed) == 1
            && let Err(error) = hire(pipe, tell)
        {
            // Those that are there go on.
            tracing::debug!("no more threads for a shared folder: {error}");
        }
        pipe.answer(&mut request, &mut reply)?;
        pipe.free.fetch_add(1, Ordering::Relaxed);
    }
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

    /// The runtime, for what has to be waited for in it.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Has a change done again in the guest, and returns when it was, or took too long.
    pub(super) fn replay(&self, announcement: &Announcement, window: Option<Window>) -> io::Result<()> {
        let number = self.replay.announce(window);
        let message = announce(number, announcement).map_err(io::Error::other)?;
        self.send(&message)?;
        if !self.wait_for(self.replay.until_done(number)) {
            self.replay.give_up(number);
            tracing::warn!("the machine takes long to be told of a change in a shared folder");
        }
        Ok(())
    }

    /// Returns when what the server has said so far has been sent.
    pub(super) fn until_said(&self) {
        let said = self.server.counts().invalidations;
        let mut notified = self.notified.subscribe();
        // Late is as good as never: the server holds nothing back for longer than two seconds.
        self.wait_for(async { drop(notified.wait_for(|sent| *sent >= said).await) });
    }

    /// Waits for the machine, but not for long. False where it took too long.
    fn wait_for(&self, done: impl Future<Output = ()>) -> bool {
        self.handle.block_on(async {
            tokio::select! {
                done = timeout(REPLAY_DEADLINE, done) => done.is_ok(),
                () = self.stopped() => true,
            }
        })
    }

    /// Returns when the stream is no more.
    pub(super) async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives as long as this.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// Has the kernel heed a notification.
    pub(super) fn notify(&self, message: &[u8]) -> io::Result<()> {
        match &self.device {
            Some(device) => device.notify(message),
            None => self.send(message),
        }
    }

    fn reply(&self, message: &[u8]) -> io::Result<()> {
        match &self.device {
            Some(device) => device.reply(message),
            None => self.send(message),
        }
    }

    /// Writes a message to the pump.
    fn send(&self, message: &[u8]) -> io::Result<()> {
        let mut writer = lock(&self.writer);
        writer.write_all(message)?;
        writer.flush()
    }

    fn answer(&self, request: &mut Vec<u8>, reply: &mut Vec<u8>) -> io::Result<()> {
        if self.device.is_some() && self.replay.is_of_replayer(request) {
            // It has said what it is about before it asked, but elsewhere.
            self.catch_up()?;
        }
        match self.replay.look(request) {
            Verdict::Nothing => Ok(()),
            Verdict::Answer(answer) => self.reply(&answer),
            Verdict::Former(node, otherwise) => {
                let known = self.server.find_former(request, node, reply);
                self.reply(if known { &*reply } else { &otherwise })
            }
            Verdict::Opened(node) => self.reply(&opened(request, self.server.join(node))),
            Verdict::Closed(node, answer) => {
                self.server.leave(node);
                self.reply(&answer)
            }
            Verdict::Server => {
                let code = opcode_of(request);
                let Some(answered) = self.server.handle(request, reply) else { return Ok(()) };
                if tells_of_folders(code) {
                    for node in folders(code, reply) {
                        // Before the guest can look into it.
                        self.watcher.know(&self.server, node);
                    }
                }
                self.reply(reply)?;
                drop(answered);
                Ok(())
            }
        }
    }

    /// The next request; `false` at the end. Acknowledgements are taken in their order.
    fn next(&self, turn: Option<&Turn>, request: &mut Vec<u8>) -> io::Result<bool> {
        if let (Some(device), Some(turn)) = (&self.device, turn) {
            return device.next(turn, request);
        }
        let mut reader = lock(&self.reader);
        while reader.take(request)? {
            if !self.acknowledged(request) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the replayer says of itself; `false` where it is something else.
    fn acknowledged(&self, message: &[u8]) -> bool {
        let number = message.get(8..).and_then(|bytes| bytes.first_chunk());
        let number = number.map_or(0, |bytes| u64::from_le_bytes(*bytes));
        match opcode_of(message) {
            BEGIN => self.replay.begin(number),
            DONE => self.replay.finish(number),
            _ => return false,
        }
        true
    }

    /// Hears what the pump says beside the device, until it ends.
    fn hear(&self) -> io::Result<()> {
        while let Some(device) = &self.device {
            device.pump_says(None)?;
            if !self.catch_up()? {
                break;
            }
        }
        Ok(())
    }

    /// Takes all that the pump has said so far; `false` at the stream's end.
    fn catch_up(&self) -> io::Result<bool> {
        let Some(device) = &self.device else { return Ok(false) };
        let mut reader = lock(&self.reader);
        let mut message = Vec::new();
        while reader.has_more() || device.pump_says(Some(Duration::ZERO))? {
            if !reader.take(&mut message)? {
                return Ok(false);
            }
            if !self.acknowledged(&message) {
                return Err(io::Error::other("a request came over the stream beside the device"));
            }
        }
        Ok(true)
    }

    /// Sends what the server says unasked.
    fn say(&self, outgoing: &Outgoing) -> io::Result<()> {
        while let Some(message) = outgoing.next() {
            match message {
                // A reply that had to wait.
                Message::ToKernel(message) if message.get(8..16) != Some(&[0; 8]) => self.reply(&message)?,
                Message::ToKernel(message) => {
                    self.notify(&message)?;
                    self.notified.send_modify(|sent| *sent += 1);
                    if self.device.is_none() {
                        self.heed_pump()?;
                    }
                }
                Message::ReadFolder(path) => {
                    if self.replay.waiting() < MOST_LISTED {
                        let announcement = Announcement { path: bytes(&path), change: Change::Listed };
                        let number = self.replay.announce(None);
                        let message = announce(number, &announcement).map_err(io::Error::other)?;
                        self.send(&message)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The pump keeps so many and no more.
    fn heed_pump(&self) -> io::Result<()> {
        if self.unread.fetch_add(1, Ordering::Relaxed) < UNREAD {
            return Ok(());
        }
        self.unread.store(0, Ordering::Relaxed);
        self.replay(&Announcement { path: Vec::new(), change: Change::Nothing }, None)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reader {
    /// Whether something was read and not taken.
    fn has_more(&self) -> bool {
        self.start < self.end
    }

    /// Takes one message; `false` at the stream's end.
    fn take(&mut self, message: &mut Vec<u8>) -> io::Result<bool> {
        message.clear();
        let length = loop {
            let length = length(&self.buffer[self.start..self.end], REQUEST_HEADER);
            if let Some(length) = length.map_err(io::Error::other)? {
                break length;
            }
            if !self.fill()? {
                return Ok(false);
            }
        };
        debug_assert!(length <= LONGEST_MESSAGE);
        let here = length.min(self.end - self.start);
        message.extend_from_slice(&self.buffer[self.start..self.start + here]);
        self.start += here;
        // The rest, where it is long, without a detour.
        message.resize(length, 0);
        self.input.read_exact(&mut message[here..])?;
        Ok(true)
    }

    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let count = loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                count => break count?,
            }
        };
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
