//! How far a further process is. Pure: the tasks that carry it out report what happened.
//!
//! ```text
//!   Created ── claim ──► Starting ── started ──► Running ── ended ──► Ended
//!                            └────── ended (it could not be started) ──┘
//! ```

use std::time::Instant;

/// A stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nobody has started it.
    #[default]
    Created,
    /// Somebody is about to. Clients are told that it runs.
    Starting,
    /// It runs.
    Running {
        /// In the machine's pid namespace.
        pid: i32,
    },
    /// It has ended, or could not be started.
    Ended {
        /// 0 to 255.
        code: i32,
        /// Where it ran.
        pid: Option<i32>,
        /// When.
        at: Instant,
    },
}

/// Why a process cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It runs, or is about to.
    AlreadyRunning,
    /// It has.
    AlreadyRan,
}

impl Stage {
    /// Whether clients are told that it runs.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self, Self::Starting | Self::Running { .. })
    }

    /// Its number, if it has or had one.
    pub(crate) fn pid(&self) -> Option<i32> {
        match self {
            Self::Created | Self::Starting => None,
            Self::Running { pid } => Some(*pid),
            Self::Ended { pid, .. } => *pid,
        }
    }

    /// Takes it for whoever starts it: there is one start.
    pub(super) fn claim(&mut self) -> Result<(), Refusal> {
        self.check()?;
        *self = Self::Starting;
        Ok(())
    }

    /// Whether it could be claimed.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Created => Ok(()),
            Self::Starting | Self::Running { .. } => Err(Refusal::AlreadyRunning),
            Self::Ended { .. } => Err(Refusal::AlreadyRan),
        }
    }

    /// It is its program.
    pub(super) fn started(&mut self, pid: i32) {
        if *self == Self::Starting {
            *self = Self::Running { pid };
        }
    }

    /// It has ended, or could not be started. The first word counts.
    pub(super) fn ended(&mut self, code: i32, at: Instant) {
        if !matches!(self, Self::Ended { .. }) {
            *self = Self::Ended { code, pid: self.pid(), at };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_started_once() {
        let mut stage = Stage::default();
        stage.claim().unwrap();
        assert!(stage.is_running());
        assert_eq!(stage.claim(), Err(Refusal::AlreadyRunning));
        stage.started(7);
        assert_eq!((stage.claim(), stage.pid()), (Err(Refusal::AlreadyRunning), Some(7)));
        stage.ended(3, Instant::now());
        assert_eq!((stage.claim(), stage.pid()), (Err(Refusal::AlreadyRan), Some(7)));
    }

    #[test]
    fn what_could_not_be_started_has_ended_and_stays_so() {
        let mut stage = Stage::default();
        stage.claim().unwrap();
        stage.ended(127, Instant::now());
        stage.started(7);
        stage.ended(0, Instant::now());
        assert!(matches!(stage, Stage::Ended { code: 127, pid: None, .. }));
    }
}
