//! fuse(4), received over a Unix socket (`SCM_RIGHTS`).
//!
//! A notification waits in the kernel for who holds the file or folder, and that one may wait for a reply of ours. Not
//! even SIGKILL ends such a wait, so it is a thread's that has nothing open but the device: were this daemon killed in
//! it, everything else would be closed at once all the same.
#![expect(unsafe_code, reason = "a thread's own table of descriptors has no safe wrapper")]

use std::any::Any;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use holm_api::files::{DEVICE, LONGEST_MESSAGE};
use holm_files::{Backing, DeviceBacking};
use holm_vmm::Stream;
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::fs::{FileType, OFlags, fcntl_setfl, fstat};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use socket2::Socket;
use tokio::net::UnixStream;

/// The pump sends it as soon as it has mounted.
const DEADLINE: Duration = Duration::from_secs(10);
/// Numbers of `/dev/fuse` (Documentation/admin-guide/devices.txt).
const FUSE: (u32, u32) = (10, 229);
/// What woke a thread: a request, or the end.
const REQUEST: u64 = 0;
const END: u64 = 1;

/// The device of one share's mount.
pub(crate) struct Device {
    device: OwnedFd,
    /// Readable once it is over.
    over: OwnedFd,
    /// The stream, on which the pump says what its replayer does.
    stream: Socket,
    /// To the thread that may have to wait.
    notifications: SyncSender<Notification>,
}

/// A message, and who is told what became of it.
struct Notification {
    message: Vec<u8>,
    done: SyncSender<io::Result<()>>,
}

/// One thread's place among those that wait for requests.
pub(crate) struct Turn(OwnedFd);

/// The process that has dialled, where that is one of this computer's.
pub(crate) fn peer(stream: &Stream) -> Option<u32> {
    let stream = (&**stream as &dyn Any).downcast_ref::<UnixStream>()?;
    u32::try_from(stream.peer_cred().ok()?.pid()?).ok()
}

impl Device {
    /// Waits for the one that the pump sends.
    pub(crate) fn receive(socket: &Socket) -> io::Result<Self> {
        socket.set_read_timeout(Some(DEADLINE))?;
        let device = descriptor(socket)?;
        socket.set_read_timeout(None)?;
        let stat = fstat(&device)?;
        let numbers = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || numbers != FUSE {
            return Err(io::Error::other("what came in the place of /dev/fuse is something else"));
        }
        // Threads wait in epoll(7), which can be told of the end.
        fcntl_setfl(&device, OFlags::RDWR | OFlags::NONBLOCK)?;
        let notifications = start_notifying(device.as_raw_fd())?;
        let over = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self { device, over, stream: socket.try_clone()?, notifications })
    }

    /// By which the kernel is told what it may read by itself.
    pub(crate) fn backing(&self) -> io::Result<Box<dyn Backing>> {
        Ok(Box::new(DeviceBacking::new(self.device.as_fd())?))
    }

    /// A place for one more thread.
    pub(crate) fn turn(&self) -> io::Result<Turn> {
        let turn = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // A request wakes one of the threads, the end all of them.
        let request = epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE;
        epoll::add(&turn, &self.device, epoll::EventData::new_u64(REQUEST), request)?;
        epoll::add(&turn, &self.over, epoll::EventData::new_u64(END), epoll::EventFlags::IN)?;
        Ok(Turn(turn))
    }

    /// The next request; `false` where the mount is gone, or it is over.
    pub(crate) fn next(&self, turn: &Turn, request: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let mut woken = [MaybeUninit::uninit(); 2];
            let (woken, _) = match epoll::wait(&turn.0, &mut woken, None) {
                Err(Errno::INTR) => continue,
                woken => woken?,
            };
            if woken.iter().any(|event| event.data.u64() == END) {
                return Ok(false);
            }
            request.clear();
            request.reserve(LONGEST_MESSAGE);
            match rustix::io::read(&self.device, spare_capacity(request)) {
                Ok(0) | Err(Errno::NODEV) => return Ok(false),
                Ok(_) => return Ok(true),
                // Another thread has it, or whoever asked was interrupted.
                Err(Errno::AGAIN | Errno::INTR | Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the pump has said something that was not read, or has ended. `None` waits for it.
    pub(crate) fn pump_says(&self, patience: Option<Duration>) -> io::Result<bool> {
        let mut said = [PollFd::new(&self.stream, PollFlags::IN)];
        let patience = patience.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        loop {
            match poll(&mut said, patience.as_ref()) {
                Err(Errno::INTR) => {}
                count => return Ok(count? > 0),
            }
        }
    }

    /// Gives a reply. What the kernel does not take concerns one request.
    pub(crate) fn reply(&self, message: &[u8]) -> io::Result<()> {
        write(self.device.as_fd(), message)
    }

    /// Tells what nobody asked for; returns when the kernel has heeded it.
    pub(crate) fn notify(&self, message: &[u8]) -> io::Result<()> {
        let over = || io::Error::from(io::ErrorKind::BrokenPipe);
        let (done, told) = sync_channel(1);
        self.notifications.send(Notification { message: message.to_vec(), done }).map_err(|_| over())?;
        told.recv().map_err(|_| over())?
    }

    /// Ends all that wait for requests. Only then may notifications wait no more.
    pub(crate) fn end(&self) {
        // Full only if it has been told before.
        let _ = rustix::io::write(&self.over, &1_u64.to_ne_bytes());
    }
}

fn write(device: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    match rustix::io::write(device, message) {
        // Whoever asked was killed, the file is unknown to the kernel, or the mount is gone, which is told elsewhere.
        Ok(_) | Err(Errno::NOENT | Errno::INTR | Errno::NODEV) => Ok(()),
        Err(Errno::INVAL) => {
            tracing::warn!("the kernel refused a message to a shared folder's mount");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes the byte and the descriptor that comes with it.
fn descriptor(socket: &Socket) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let slices = &mut [IoSliceMut::new(&mut byte)];
    let received = recvmsg(socket, slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let mut device = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            device = descriptors.last();
        }
    }
    match device {
        Some(device) if received == 1 && byte == [DEVICE] => Ok(device),
        _ => Err(io::Error::other("the pump did not hand its device over")),
    }
}

/// Starts the thread that writes notifications to the device with this number.
fn start_notifying(device: RawFd) -> io::Result<SyncSender<Notification>> {
    let (notifications, taken) = sync_channel::<Notification>(1);
    let (tell_apart, apart) = sync_channel(1);
    thread::Builder::new().name("files told".to_owned()).spawn(move || {
        let alone = keep_only(device);
        let ready = alone.is_ok();
        // Waited for below.
        let _ = tell_apart.send(alone);
        if ready {
            // SAFETY: open in this thread's own table until the thread ends, whoever closes it elsewhere.
            notify(unsafe { BorrowedFd::borrow_raw(device) }, &taken);
        }
    })?;
    apart.recv().map_err(io::Error::other)??;
    Ok(notifications)
}

fn notify(device: BorrowedFd<'_>, notifications: &Receiver<Notification>) {
    while let Ok(Notification { message, done }) = notifications.recv() {
        // Nobody waits for it where the share ends.
        let _ = done.send(write(device, &message));
    }
}

/// Gives the calling thread a table of descriptors with this one alone, which nobody else sees.
fn keep_only(descriptor: RawFd) -> io::Result<()> {
    let number = descriptor.cast_unsigned();
    // SAFETY: the calling thread owns no descriptor but by what it was told, and other threads keep their table.
    let above = unsafe { libc::close_range(number + 1, u32::MAX, libc::CLOSE_RANGE_UNSHARE as i32) };
    if above != 0 {
        return Err(io::Error::last_os_error());
    }
    if let Some(last) = number.checked_sub(1) {
        // SAFETY: as above, in a table that is this thread's own by now.
        if unsafe { libc::close_range(0, last, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    fn sent(file: &File) -> io::Result<Device> {
        let (ours, theirs) = Socket::pair(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [file.as_fd()];
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        sendmsg(&theirs, &[io::IoSlice::new(&[DEVICE])], &mut ancillary, SendFlags::empty()).unwrap();
        Device::receive(&ours)
    }

    #[test]
    fn what_is_no_device_of_files_is_refused() {
        for other in ["/dev/null", "/proc/self/exe", "/"] {
            assert!(sent(&File::open(other).unwrap()).is_err(), "{other}");
        }
    }

    #[test]
    fn whoever_waits_for_a_request_is_told_of_the_end() {
        let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let device = sent(&device).unwrap();
        // Nothing is mounted by it, so that there is nothing to be told either.
        assert!(device.notify(&[0; 16]).is_err());
        thread::scope(|scope| {
            let waiting: Vec<_> =
                (0..3).map(|_| scope.spawn(|| device.next(&device.turn()?, &mut Vec::new()))).collect();
            device.end();
            for thread in waiting {
                // A device that belongs to no mount may say so first.
                assert!(!matches!(thread.join().unwrap(), Ok(true)));
            }
        });
    }
}
