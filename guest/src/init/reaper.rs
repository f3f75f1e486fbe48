//! Every process that loses its parent becomes PID 1's child, and stays a zombie until PID 1 has waited for it.

use std::fmt;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Exited(i32),
    Killed(i32),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Killed(signal) => write!(f, "signal {signal}"),
        }
    }
}

impl From<WaitStatus> for Ending {
    fn from(status: WaitStatus) -> Self {
        // Stops and continuations are not asked for, so it is one or the other.
        status
            .exit_status()
            .map_or_else(|| Self::Killed(status.terminating_signal().unwrap_or_default()), Self::Exited)
    }
}

/// What waiting for children brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reaped {
    /// How the engine ended, if it did.
    pub(super) engine: Option<Ending>,
    /// Nobody is left to wait for.
    pub(super) childless: bool,
}

/// Waits for every child that has ended, and for no other. SIGCHLD may stand for any number of them.
pub(super) fn reap(engine: Option<Pid>) -> Reaped {
    sort(engine, || Ok(wait(WaitOptions::NOHANG)?.map(|(pid, status)| (pid, status.into()))))
}

/// Asks `next` for children that have ended until it knows no more.
fn sort(engine: Option<Pid>, mut next: impl FnMut() -> Result<Option<(Pid, Ending)>, Errno>) -> Reaped {
    let mut reaped = Reaped::default();
    loop {
        match next() {
            Ok(Some((pid, ending))) => {
                if Some(pid) == engine {
                    reaped.engine = Some(ending);
                }
            }
            Ok(None) => return reaped,
            Err(Errno::INTR) => {}
            // ECHILD is all that remains.
            Err(_) => return Reaped { childless: true, ..reaped },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: Pid = Pid::from_raw(2).expect("not zero");
    const ORPHAN: Pid = Pid::from_raw(77).expect("not zero");

    fn sorted(engine: Option<Pid>, answers: &[Result<Option<(Pid, Ending)>, Errno>]) -> Reaped {
        let mut answers = answers.iter();
        let reaped = sort(engine, || *answers.next().expect("it asked on after the last child"));
        assert_eq!(answers.next(), None, "it stopped before the last child");
        reaped
    }

    #[test]
    fn the_engines_end_is_told_among_those_of_orphans() {
        let orphan = Ok(Some((ORPHAN, Ending::Exited(0))));
        let engine = Ok(Some((ENGINE, Ending::Killed(9))));
        assert_eq!(
            sorted(Some(ENGINE), &[orphan, Err(Errno::INTR), engine, orphan, Ok(None)]),
            Reaped { engine: Some(Ending::Killed(9)), childless: false }
        );
        assert_eq!(sorted(Some(ENGINE), &[orphan, Ok(None)]), Reaped::default());
    }

    #[test]
    fn a_number_that_an_earlier_engine_had_is_an_orphans() {
        assert_eq!(sorted(None, &[Ok(Some((ENGINE, Ending::Exited(1)))), Ok(None)]), Reaped::default());
    }

    #[test]
    fn the_last_child_gone_is_noticed() {
        let orphan = Ok(Some((ORPHAN, Ending::Exited(0))));
        assert_eq!(sorted(None, &[orphan, Err(Errno::CHILD)]), Reaped { engine: None, childless: true });
    }

    #[test]
    fn endings_are_told_in_the_links_words() {
        assert_eq!(Ending::Exited(1).to_string(), "exit status 1");
        assert_eq!(Ending::Killed(9).to_string(), "signal 9");
    }
}
