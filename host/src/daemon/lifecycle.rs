//! Every rule about the machine's life, as one pure function.
//!
//! ```text
//!              Start                 GuestReady               Stop, Restart
//!   Stopped ─────────► Starting ───────────────► Running ─────────────────► Stopping
//!      ▲                  │ deadline, GuestFailed,  │ MachineEnded             │ MachineEnded
//!      │                  │ BootFailed              ▼                          ▼
//!      │                  └──────────────────► Failed ◄── (Fail)  by `then`: Stopped, Failed, Starting
//!      └── Stop ───────────────────────────────────┘
//! ```
//!
//! It reads no clock and does no I/O: `supervisor` carries out the action and reports what happened as the next
//! event. From `Failed` the next command starts again: a machine that died once may live the second time.

use std::fmt;
use std::time::{Duration, Instant};

use holm_api::link::Ready;
use holm_vmm::Exit;

/// From the start of the machine to the guest's word that it is ready. A first boot under emulation on a busy
/// computer takes about ten seconds.
pub(super) const START_DEADLINE: Duration = Duration::from_secs(90);
/// From the wish to stop to the plug: containers have 10 s for their stop signal, the disk some for its sync.
pub(super) const STOP_DEADLINE: Duration = Duration::from_secs(40);

/// How the machine is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    Stopped,
    Starting {
        deadline: Instant,
    },
    Running {
        since: Instant,
        ready: Ready,
    },
    /// `deadline` is `None` once the plug is pulled: then only the end is waited for.
    Stopping {
        deadline: Option<Instant>,
        then: Then,
    },
    Failed(Failure),
}

/// What follows the end of a machine that is being stopped.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Then {
    Stay,
    Start,
    Fail(Failure),
}

/// Why there is no machine though one was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The backend could not start it: message and hint.
    Boot { message: String, hint: Option<String> },
    /// The guest's own word.
    Guest { step: String, reason: String },
    /// The guest said nothing until its deadline.
    Silent,
    /// It ended unasked.
    Died(Exit),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boot { message, .. } => write!(f, "the machine did not start: {message}"),
            Self::Guest { step, reason } => {
                write!(f, "the machine did not start: step \"{step}\" failed: {reason}")
            }
            Self::Silent => {
                write!(f, "the machine did not report ready within {} seconds", START_DEADLINE.as_secs())
            }
            Self::Died(exit) => write!(f, "the machine {exit}"),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    Start,
    Stop,
    Restart,
    GuestReady(Ready),
    GuestFailed {
        step: String,
        reason: String,
    },
    BootFailed {
        message: String,
        hint: Option<String>,
    },
    MachineEnded(Exit),
    /// Some deadline may have passed.
    Tick,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Boot,
    AskShutdown,
    Kill,
}

/// The state after `event`, and what to do. An event that means nothing in a state leaves it as it is.
pub(super) fn next(state: State, event: Event, now: Instant) -> (State, Option<Action>) {
    use Event as E;
    use State as S;
    let starting = || S::Starting { deadline: now + START_DEADLINE };
    let killing = |then| (S::Stopping { deadline: None, then }, Some(Action::Kill));
    let asking =
        |then| (S::Stopping { deadline: Some(now + STOP_DEADLINE), then }, Some(Action::AskShutdown));
    match (state, event) {
        (S::Stopped | S::Failed(_), E::Start | E::Restart) => (starting(), Some(Action::Boot)),
        (S::Failed(_), E::Stop) => (S::Stopped, None),

        (S::Starting { .. }, E::GuestReady(ready)) => (S::Running { since: now, ready }, None),
        (S::Starting { .. }, E::BootFailed { message, hint }) => {
            (S::Failed(Failure::Boot { message, hint }), None)
        }
        (S::Starting { .. }, E::GuestFailed { step, reason }) => {
            killing(Then::Fail(Failure::Guest { step, reason }))
        }
        (S::Starting { .. }, E::MachineEnded(exit)) => (S::Failed(Failure::Died(exit)), None),
        (S::Starting { deadline }, E::Tick) if now >= deadline => killing(Then::Fail(Failure::Silent)),
        (S::Starting { .. }, E::Stop) => killing(Then::Stay),
        (S::Starting { .. }, E::Restart) => killing(Then::Start),

        (S::Running { .. }, E::Stop) => asking(Then::Stay),
        (S::Running { .. }, E::Restart) => asking(Then::Start),
        // The link broke under a living machine: nobody is left to stop it in order.
        (S::Running { .. }, E::GuestFailed { reason, .. }) => {
            killing(Then::Fail(Failure::Died(Exit::Died(reason))))
        }
        (S::Running { .. }, E::MachineEnded(exit)) => (S::Failed(Failure::Died(exit)), None),

        (S::Stopping { then, .. }, E::MachineEnded(_) | E::BootFailed { .. }) => match then {
            Then::Stay => (S::Stopped, None),
            Then::Start => (starting(), Some(Action::Boot)),
            Then::Fail(failure) => (S::Failed(failure), None),
        },
        (S::Stopping { deadline: Some(deadline), then }, E::Tick) if now >= deadline => killing(then),
        // Who waits for a failed start is told of the failure first; the start after it is theirs to ask for.
        (S::Stopping { deadline, then: Then::Stay }, E::Start | E::Restart) => {
            (S::Stopping { deadline, then: Then::Start }, None)
        }
        (S::Stopping { deadline, then: Then::Start }, E::Stop) => {
            (S::Stopping { deadline, then: Then::Stay }, None)
        }

        (unchanged, _) => (unchanged, None),
    }
}

/// When `Tick` is due next.
pub(super) fn deadline(state: &State) -> Option<Instant> {
    match state {
        State::Starting { deadline } => Some(*deadline),
        State::Stopping { deadline, .. } => *deadline,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Event {
        Event::GuestReady(Ready { kernel: "6.1".into(), warnings: vec![] })
    }

    fn run(mut state: State, events: impl IntoIterator<Item = Event>, now: Instant) -> (State, Vec<Action>) {
        let mut actions = Vec::new();
        for event in events {
            let (after, action) = next(state, event, now);
            state = after;
            actions.extend(action);
        }
        (state, actions)
    }

    #[test]
    fn a_start_and_a_stop_go_round() {
        let events = [Event::Start, ready(), Event::Stop, Event::MachineEnded(Exit::PoweredOff)];
        let (state, actions) = run(State::Stopped, events, Instant::now());
        assert_eq!(state, State::Stopped);
        assert_eq!(actions, [Action::Boot, Action::AskShutdown]);
    }

    #[test]
    fn a_guest_that_stays_silent_is_killed_at_its_deadline() {
        let now = Instant::now();
        let (state, _) = next(State::Stopped, Event::Start, now);
        let (state, action) = next(state, Event::Tick, now + START_DEADLINE);
        assert_eq!(action, Some(Action::Kill));
        let (state, _) = next(state, Event::MachineEnded(Exit::Died("killed".into())), now);
        assert_eq!(state, State::Failed(Failure::Silent));
    }

    #[test]
    fn a_guest_that_ignores_the_shutdown_loses_its_plug() {
        let now = Instant::now();
        let (state, _) = run(State::Stopped, [Event::Start, ready(), Event::Stop], now);
        let (_, action) = next(state, Event::Tick, now + STOP_DEADLINE);
        assert_eq!(action, Some(Action::Kill));
    }

    #[test]
    fn a_restart_boots_once_the_old_machine_has_ended() {
        let events = [Event::Start, ready(), Event::Restart];
        let (state, actions) = run(State::Stopped, events, Instant::now());
        assert_eq!(actions, [Action::Boot, Action::AskShutdown]);
        let (state, action) = next(state, Event::MachineEnded(Exit::PoweredOff), Instant::now());
        assert_eq!(action, Some(Action::Boot));
        assert!(matches!(state, State::Starting { .. }));
    }

    #[test]
    fn a_start_during_a_stop_starts_again_afterwards() {
        let events =
            [Event::Start, ready(), Event::Stop, Event::Start, Event::MachineEnded(Exit::PoweredOff)];
        let (_, actions) = run(State::Stopped, events, Instant::now());
        assert_eq!(actions, [Action::Boot, Action::AskShutdown, Action::Boot]);
    }

    #[test]
    fn a_machine_that_died_can_be_started_again() {
        let died = Exit::Died("signal 9".into());
        let (state, _) =
            run(State::Stopped, [Event::Start, ready(), Event::MachineEnded(died.clone())], Instant::now());
        assert_eq!(state, State::Failed(Failure::Died(died)));
        let (_, action) = next(state, Event::Start, Instant::now());
        assert_eq!(action, Some(Action::Boot));
    }

    #[test]
    fn no_order_of_events_boots_a_machine_beside_a_living_one() {
        let now = Instant::now();
        bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
            let mut state = State::Stopped;
            let mut alive = false;
            for byte in bytes {
                let event = match byte % 8 {
                    0 => Event::Start,
                    1 => Event::Stop,
                    2 => Event::Restart,
                    3 => ready(),
                    4 => Event::GuestFailed { step: String::new(), reason: String::new() },
                    5 if alive => {
                        alive = false;
                        Event::BootFailed { message: String::new(), hint: None }
                    }
                    6 if alive => {
                        alive = false;
                        Event::MachineEnded(Exit::PoweredOff)
                    }
                    _ => Event::Tick,
                };
                let (after, action) = next(state, event, now + Duration::from_secs(u64::from(*byte)));
                state = after;
                if action == Some(Action::Boot) {
                    assert!(!alive, "booted twice");
                    alive = true;
                }
            }
        });
    }
}
