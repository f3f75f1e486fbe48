//! The shim's ends of a container's standard streams: three pipes, or one terminal.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use holm_api::stream::Channel;
use rustix::fs::{Uid, fchown};
use rustix::io::ioctl_fionbio;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::termios::{Winsize, tcsetwinsize};

use super::output::{ContainerOutput, Piece};
use super::protocol::{Stdin, WindowSize};

/// Ours. None of them blocks.
#[derive(Debug)]
pub(super) struct Streams {
    /// What the container writes.
    pub(super) outputs: Vec<ContainerOutput>,
    /// What it reads; `None` where that is `/dev/null`.
    pub(super) input: Option<OwnedFd>,
    /// Its terminal, if it has one.
    pub(super) terminal: Option<OwnedFd>,
}

/// The container's.
pub(super) struct Theirs {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

impl Streams {
    /// Pipes, which belong to `uid` on both sides: programs open `/dev/stdout` by its name.
    pub(super) fn pipes(stdin: Stdin, uid: u32) -> io::Result<(Self, Theirs)> {
        let (stdout, their_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, their_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        let (their_stdin, input) = match stdin {
            Stdin::Null => (File::open("/dev/null")?.into(), None),
            Stdin::Open | Stdin::Once => {
                let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
                fchown(&theirs, Some(Uid::from_raw(uid)), None)?;
                (theirs, Some(ours))
            }
        };
        for theirs in [&their_stdout, &their_stderr] {
            fchown(theirs, Some(Uid::from_raw(uid)), None)?;
        }
        for ours in [&stdout, &stderr].into_iter().chain(&input) {
            ioctl_fionbio(ours, true)?;
        }
        let outputs = vec![
            ContainerOutput::pipe(Channel::Stdout, stdout),
            ContainerOutput::pipe(Channel::Stderr, stderr),
        ];
        let theirs = Theirs { stdin: their_stdin, stdout: their_stdout, stderr: their_stderr };
        Ok((Self { outputs, input, terminal: None }, theirs))
    }

    /// The terminal whose controlling side is `master`, in the size that its program is to find, and owned by
    /// `uid`, which would otherwise not be let to open `/dev/tty` or `/dev/console`.
    pub(super) fn terminal(master: OwnedFd, size: WindowSize, stdin: Stdin, uid: u32) -> io::Result<Self> {
        resize(&master, size)?;
        let slave =
            ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        fchown(&slave, Some(Uid::from_raw(uid)), None)?;
        ioctl_fionbio(&master, true)?;
        let input = match stdin {
            Stdin::Null => None,
            Stdin::Open | Stdin::Once => Some(master.try_clone()?),
        };
        let outputs = vec![ContainerOutput::terminal(master.try_clone()?)];
        Ok(Self { outputs, input, terminal: Some(master) })
    }
}

/// Reads once from one of `outputs`, which is taken out where it has ended.
pub(super) fn read_output<'a>(
    outputs: &mut Vec<ContainerOutput>,
    channel: Channel,
    buffer: &'a mut [u8],
) -> Option<&'a [u8]> {
    let index = outputs.iter().position(|output| output.channel() == channel)?;
    match outputs[index].read(buffer) {
        Piece::Bytes(length) => Some(&buffer[..length]),
        Piece::Nothing => None,
        Piece::End => {
            drop(outputs.remove(index));
            None
        }
    }
}

/// Gives a terminal another size; its foreground processes get SIGWINCH.
pub(super) fn resize(terminal: impl AsFd, size: WindowSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(terminal, size)?)
}

/// Takes the terminal that libcontainer has sent to `listener` already.
pub(super) fn receive_terminal(listener: &UnixListener) -> io::Result<OwnedFd> {
    let (stream, _) = listener.accept()?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 64];
    recvmsg(&stream, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptors.next().ok_or_else(|| io::Error::other("libcontainer sent no terminal"))
}
