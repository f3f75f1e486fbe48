//! The engine's life, as init sees it. Pure: the supervisor starts, kills and tells, and reports what happened.
//!
//! ```text
//!              ready                   ended                  time
//!   Starting ─────────► Serving ───────────────► Resting ──────────► Starting …
//!      │ ended, or silent too long                  ▲
//!      ├── the first time: the boot has failed      │
//!      └────────────────────────────────────────────┘
//!   any ── stop ──► Stopping ── ended ──► Gone
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// From its start until it says that it serves. It reads every container's record in that time.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// From the first stop signal until it is killed. Containers get ten seconds of it for themselves.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// Before the first restart; doubled with every one that follows soon.
const SHORTEST_REST: Duration = Duration::from_millis(50);
/// Before any restart, so that an engine that always fails costs next to nothing.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// An engine that served this long had no part in the trouble before.
const SOUND_AFTER: Duration = Duration::from_secs(30);

/// Where the engine is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It runs and has not said that it serves.
    Starting {
        /// When it is killed for its silence.
        deadline: Instant,
        /// How often it ended soon after its start; `None` at boot, when nobody waits for it but the host.
        failures: Option<u32>,
    },
    /// It serves.
    Serving { since: Instant, failures: u32 },
    /// It ended and is started again.
    Resting { until: Instant, failures: u32 },
    /// It was told to end.
    Stopping { deadline: Instant },
    /// It ended for good.
    Gone,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It said that it serves.
    Ready,
    /// It ended, or could not be started.
    Ended,
    /// [`Life::wakes`] has come.
    Time,
    /// The machine is to end.
    Stop,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing.
    Wait,
    /// Tell the host that the machine is ready.
    TellReady,
    /// Tell the host that the boot failed, and end the machine.
    GiveUp,
    /// Tell the host that it ended.
    TellRestart,
    /// Start it.
    Start,
    /// SIGTERM.
    Terminate,
    /// SIGKILL; its end is reported as any other.
    Kill,
}

impl Life {
    /// Of an engine that is started now for the first time.
    pub(super) fn first(now: Instant) -> Self {
        Self::Starting { deadline: now + START_DEADLINE, failures: None }
    }

    /// When to report [`Event::Time`].
    pub(super) fn wakes(&self) -> Option<Instant> {
        match self {
            Self::Starting { deadline, .. } | Self::Stopping { deadline } => Some(*deadline),
            Self::Resting { until, .. } => Some(*until),
            Self::Serving { .. } | Self::Gone => None,
        }
    }

    /// Every rule about the engine's life.
    pub(super) fn next(self, event: Event, now: Instant) -> (Self, Action) {
        match (self, event) {
            (Self::Starting { failures, .. }, Event::Ready) => {
                let action = if failures.is_none() { Action::TellReady } else { Action::Wait };
                (Self::Serving { since: now, failures: failures.unwrap_or(0) }, action)
            }
            (Self::Starting { failures: None, .. }, Event::Ended) => (Self::Gone, Action::GiveUp),
            (Self::Starting { failures: Some(failures), .. }, Event::Ended) => Self::rest(failures, now),
            (Self::Serving { since, failures }, Event::Ended) => {
                Self::rest(if now - since >= SOUND_AFTER { 0 } else { failures }, now)
            }
            (Self::Starting { failures, .. }, Event::Time) => {
                // Again later, should it outlive even that.
                (Self::Starting { deadline: now + START_DEADLINE, failures }, Action::Kill)
            }
            (Self::Resting { failures, .. }, Event::Time) => {
                (Self::Starting { deadline: now + START_DEADLINE, failures: Some(failures) }, Action::Start)
            }
            (Self::Starting { .. } | Self::Serving { .. }, Event::Stop) => {
                (Self::Stopping { deadline: now + STOP_DEADLINE }, Action::Terminate)
            }
            (Self::Resting { .. }, Event::Stop) | (Self::Stopping { .. }, Event::Ended) => {
                (Self::Gone, Action::Wait)
            }
            (Self::Stopping { .. }, Event::Time) => {
                (Self::Stopping { deadline: now + STOP_DEADLINE }, Action::Kill)
            }
            (unchanged, _) => (unchanged, Action::Wait),
        }
    }

    fn rest(failures: u32, now: Instant) -> (Self, Action) {
        let rest = (SHORTEST_REST * 2u32.saturating_pow(failures.min(16))).min(LONGEST_REST);
        (Self::Resting { until: now + rest, failures: failures.saturating_add(1) }, Action::TellRestart)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(life: Life, events: &[(Event, Duration)], mut now: Instant) -> (Life, Action, Instant) {
        let mut result = (life, Action::Wait);
        for (event, later) in events {
            now += *later;
            result = result.0.next(*event, now);
        }
        (result.0, result.1, now)
    }

    const AT_ONCE: Duration = Duration::ZERO;

    #[test]
    fn ready_is_told_once_however_often_the_engine_starts() {
        let now = Instant::now();
        let (life, action, now) = after(Life::first(now), &[(Event::Ready, AT_ONCE)], now);
        assert_eq!(action, Action::TellReady);
        let (life, action, now) = after(life, &[(Event::Ended, AT_ONCE)], now);
        assert_eq!(action, Action::TellRestart);
        let (life, action, now) = after(life, &[(Event::Time, SHORTEST_REST)], now);
        assert_eq!(action, Action::Start);
        let (life, action, _) = after(life, &[(Event::Ready, AT_ONCE)], now);
        assert_eq!((life.wakes(), action), (None, Action::Wait));
    }

    #[test]
    fn an_engine_that_never_served_fails_the_boot() {
        let now = Instant::now();
        assert_eq!(Life::first(now).next(Event::Ended, now), (Life::Gone, Action::GiveUp));
    }

    #[test]
    fn an_engine_that_stays_silent_is_killed_at_its_deadline() {
        let now = Instant::now();
        let deadline = Life::first(now).wakes().unwrap();
        let (life, action) = Life::first(now).next(Event::Time, deadline);
        assert_eq!(action, Action::Kill);
        assert_eq!(life.next(Event::Ended, deadline), (Life::Gone, Action::GiveUp));
    }

    #[test]
    fn an_engine_that_fails_again_and_again_rests_longer_up_to_a_bound() {
        let mut now = Instant::now();
        let mut life = Life::Serving { since: now, failures: 0 };
        let mut rests = Vec::new();
        for _ in 0..20 {
            (life, _) = life.next(Event::Ended, now);
            let until = life.wakes().unwrap();
            rests.push(until - now);
            now = until;
            (life, _) = life.next(Event::Time, now);
        }
        assert_eq!(rests[..3], [SHORTEST_REST, SHORTEST_REST * 2, SHORTEST_REST * 4]);
        assert_eq!(rests[19], LONGEST_REST);
        // One that then serves for long has its first restart as soon as ever.
        (life, _) = life.next(Event::Ready, now);
        (life, _) = life.next(Event::Ended, now + SOUND_AFTER);
        assert_eq!(life.wakes(), Some(now + SOUND_AFTER + SHORTEST_REST));
    }

    #[test]
    fn a_machine_that_ends_starts_no_engine_again() {
        let now = Instant::now();
        let resting = Life::Resting { until: now, failures: 1 };
        assert_eq!(resting.next(Event::Stop, now), (Life::Gone, Action::Wait));
        let serving = Life::Serving { since: now, failures: 0 };
        let (stopping, action) = serving.next(Event::Stop, now);
        assert_eq!(action, Action::Terminate);
        assert_eq!(stopping.clone().next(Event::Time, now).1, Action::Kill);
        assert_eq!(stopping.next(Event::Ended, now), (Life::Gone, Action::Wait));
    }
}
