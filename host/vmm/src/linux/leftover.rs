//! The machine of a daemon that was killed: found again by a file in the machine's folder, and ended.
//!
//! A machine dies with its daemon, so mostly this waits for a process that is already dying. The file tells boot and
//! start time beside the process id, so a process that was given the same number since is never hit.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::BootError;

const FILE: &str = "machine.pid";
/// A killed QEMU gives back gigabytes of memory first, a process machine all its containers.
const LONGEST_END: Duration = Duration::from_secs(20);

/// What identifies one process on one computer for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pid: u32,
    start: u64,
    boot: String,
}

impl Identity {
    /// Of the process that has this number now.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let start = start_time(&stat).ok_or_else(|| io::Error::other("/proc has no start time"))?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Self { pid, start, boot })
    }

    /// Leaves word of it in the machine's folder.
    pub(crate) fn record(&self, run: &Path) -> io::Result<()> {
        fs::write(run.join(FILE), format!("{} {} {}\n", self.pid, self.start, self.boot))
    }
}

impl FromStr for Identity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split_whitespace();
        let mut next = || words.next().ok_or(());
        let pid = next()?.parse().map_err(drop)?;
        let start = next()?.parse().map_err(drop)?;
        Ok(Self { pid, start, boot: next()?.to_owned() })
    }
}

/// Takes the word back; its process has ended.
pub(crate) fn forget(run: &Path) {
    // Whoever finds it all the same sees from the start time that the process is gone.
    let _ = fs::remove_file(run.join(FILE));
}

/// Kills what is left of the machine in `run` and waits until it is gone.
pub(crate) fn end(run: &Path) -> Result<(), BootError> {
    let step =
        |cause: io::Error| BootError::Step { step: "end the machine of an earlier daemon".into(), cause };
    let recorded = match fs::read_to_string(run.join(FILE)) {
        Ok(text) => text.parse::<Identity>().ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(step(error)),
    };
    // A file that cannot be read was cut off while the daemon was killed; the parent-death signal and the lock
    // on the disk stand for that case.
    if let Some(recorded) = recorded {
        kill(&recorded).map_err(step)?;
    }
    forget(run);
    Ok(())
}

fn kill(recorded: &Identity) -> io::Result<()> {
    let Some(pid) = i32::try_from(recorded.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // Compared with the descriptor in hand: from here on it cannot become another process.
    match Identity::of(recorded.pid) {
        Ok(now) if now == *recorded => {}
        _ => return Ok(()),
    }
    tracing::warn!(pid = recorded.pid, "ending the machine of an earlier daemon");
    match pidfd_send_signal(&process, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => return Err(error.into()),
    }
    let mut wait = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
    let limit = Timespec { tv_sec: LONGEST_END.as_secs() as i64, tv_nsec: 0 };
    match poll(&mut wait, Some(&limit))? {
        0 => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("process {} does not end, though it was killed", recorded.pid),
        )),
        _ => Ok(()),
    }
}

/// Field 22 of proc_pid_stat(5). The second field is the program's name in parentheses and may hold anything, more
/// parentheses and spaces included, so count from the last one.
fn start_time(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn the_start_time_is_found_behind_any_program_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_time(&format!("7 (a) b) ( {rest}) {rest}")), Some(4711));
        assert_eq!(start_time("7 (short) S 1"), None);
        assert_eq!(start_time(""), None);
    }

    #[test]
    fn the_recorded_process_is_killed_and_its_record_removed() {
        let run = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        Identity::of(child.id()).unwrap().record(run.path()).unwrap();
        // Waited for by another thread, as the real parent of a leftover is init.
        let waiter = std::thread::spawn(move || child.wait().unwrap());
        end(run.path()).unwrap();
        assert_eq!(waiter.join().unwrap().signal(), Some(9));
        assert!(!run.path().join(FILE).exists());
        end(run.path()).unwrap();
    }

    #[test]
    fn a_process_that_only_has_the_same_number_is_left_alone() {
        let run = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let other = Identity { start: 1, ..Identity::of(child.id()).unwrap() };
        other.record(run.path()).unwrap();
        end(run.path()).unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_record_that_was_cut_off_ends_nothing_and_stops_nobody() {
        let run = tempfile::tempdir().unwrap();
        fs::write(run.path().join(FILE), "1 ").unwrap();
        end(run.path()).unwrap();
        assert!(!run.path().join(FILE).exists());
    }
}
