//! The process that is a machine: started, watched and ended.
//!
//! A child with a parent-death signal dies with the *thread* that started it, not with the process. So each
//! machine has a thread that starts it, then does nothing but wait for its end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid};
use tokio::sync::watch;

use crate::{BootError, Exit};

/// A child just started, not waited for yet.
pub(crate) struct Started {
    /// Its process id.
    pub(crate) pid: u32,
    /// The same process, immune against reuse of the number.
    pub(crate) descriptor: OwnedFd,
}

/// How a child ended, as waitid(2) tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A running or ended child.
pub(crate) struct Child {
    pid: u32,
    descriptor: Arc<OwnedFd>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Child {
    /// Starts a child by `start` on a thread of its own. When it has ended, `finish` runs there, frees what the
    /// child used and says how it ended; only then `wait` returns.
    pub(crate) fn keep(
        name: &str,
        start: impl FnOnce() -> Result<Started, BootError> + Send + 'static,
        finish: impl FnOnce(Ending) -> Exit + Send + 'static,
    ) -> Result<Self, BootError> {
        let (tell_start, started) = mpsc::channel();
        let (tell_exit, exit) = watch::channel(None);
        thread::Builder::new()
            .name(format!("{name} keeper"))
            .spawn(move || match start() {
                Ok(Started { pid, descriptor }) => {
                    let descriptor = Arc::new(descriptor);
                    // The receiver waits for exactly this, so it is there.
                    let _ = tell_start.send(Ok((pid, Arc::clone(&descriptor))));
                    let exit = match wait_for_end(&descriptor) {
                        Ok(ending) => finish(ending),
                        Err(cause) => Exit::Died(format!("it cannot be waited for: {cause}")),
                    };
                    tell_exit.send_replace(Some(exit));
                }
                Err(error) => {
                    let _ = tell_start.send(Err(error));
                }
            })
            .map_err(|cause| BootError::Step { step: "start a thread".into(), cause })?;
        let (pid, descriptor) = started.recv().unwrap_or_else(|_| {
            Err(BootError::Step {
                step: format!("start the {name} machine"),
                cause: io::Error::other("its thread ended early"),
            })
        })?;
        Ok(Self { pid, descriptor, exit })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// SIGKILL. Does nothing to one that has ended.
    pub(crate) fn kill(&self) {
        kill(&self.descriptor);
    }

    /// Something that gives it `grace` to end by itself, then kills it, even after this value is gone.
    pub(crate) fn ender(&self, grace: Timespec) -> impl Fn() + Send + Sync + 'static {
        let descriptor = Arc::clone(&self.descriptor);
        move || {
            let mut ended = [PollFd::from_borrowed_fd(descriptor.as_fd(), PollFlags::IN)];
            // An error, of which none is known here, makes the grace shorter.
            let _ = poll(&mut ended, Some(&grace));
            kill(&descriptor);
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<Exit> {
        self.exit.borrow().clone()
    }

    /// A receiver of its end, for those who must wait apart from this value.
    pub(crate) fn exit(&self) -> watch::Receiver<Option<Exit>> {
        self.exit.clone()
    }

    pub(crate) async fn wait(&self) -> Exit {
        wait_for_exit(&mut self.exit()).await
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

fn kill(process: &OwnedFd) {
    // ESRCH: it has ended already, which is all that was wanted.
    let _ = pidfd_send_signal(process.as_fd(), Signal::KILL);
}

/// Waits until the machine behind `exit` has ended.
pub(crate) async fn wait_for_exit(exit: &mut watch::Receiver<Option<Exit>>) -> Exit {
    match exit.wait_for(Option::is_some).await {
        Ok(exit) => exit.clone(),
        Err(_) => None,
    }
    .unwrap_or_else(|| Exit::Died("the thread that watched it ended".into()))
}

fn wait_for_end(descriptor: &OwnedFd) -> rustix::io::Result<Ending> {
    loop {
        match waitid(WaitId::PidFd(descriptor.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => return Ok(ending(&status)),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

fn ending(status: &WaitIdStatus) -> Ending {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ending::Code(code),
        (None, signal) => Ending::Signal(signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::process::Command;

    #[expect(clippy::zombie_processes, reason = "the value under test waits")]
    fn keep(program: &'static str) -> Child {
        let start = move || {
            let child = Command::new("/bin/sh").arg("-c").arg(program).spawn().unwrap();
            let descriptor = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
            Ok(Started { pid: child.id(), descriptor })
        };
        Child::keep("test", start, |ending| Exit::Died(format!("{ending:?}"))).unwrap()
    }

    #[tokio::test]
    async fn the_end_of_a_child_is_told_with_its_code_as_often_as_asked() {
        let child = keep("exit 7");
        assert_eq!(child.wait().await, Exit::Died("Code(7)".into()));
        assert_eq!(child.wait().await, Exit::Died("Code(7)".into()));
        assert_eq!(child.ended(), Some(Exit::Died("Code(7)".into())));
        child.kill();
    }

    #[tokio::test]
    async fn a_child_that_is_let_go_is_killed() {
        let child = keep("exec sleep 1000");
        let mut exit = child.exit();
        assert_eq!(child.ended(), None);
        drop(child);
        assert_eq!(wait_for_exit(&mut exit).await, Exit::Died("Signal(9)".into()));
    }
}
