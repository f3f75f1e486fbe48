//! Every rule about a container's life. It reads no clock and does no I/O: the container's task (`keeper`)
//! carries out the action and reports what happened as the next event.
//!
//! ```text
//!              Start                Started                 Exited
//!   Created ─────────► Starting ─────────────► Running ───────────────► Exited ──► Removing ─► Removed
//!      ▲                │    ▲                    ▲ │ (policy: again)     │ ▲          │
//!      └─ StartFailed ──┘    │ BackOffOver        │ ▼                Start│ │          └─► Dead
//!                            └─────────────── Restarting ────────────────┘ │ Stop
//!                                                └─────────────────────────┘
//! ```
//!
//! `Pause` and `Unpause` lead from `Running` to `Paused` and back; a paused container can do nothing but end.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The first pause before a restart; each further one is twice as long.
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);
/// A container that ran this long is no longer counted as failing at once.
const LONG_ENOUGH: chrono::TimeDelta = chrono::TimeDelta::seconds(10);

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// Never ran.
    #[default]
    Created,
    /// Its shim is being started. Clients are shown the state before.
    Starting,
    /// Its first process lives.
    Running {
        /// In the machine's pid namespace.
        pid: i32,
    },
    /// Likewise, and all of its processes stand still.
    Paused {
        /// As above.
        pid: i32,
    },
    /// It ended, and its policy starts it again after a pause.
    Restarting,
    /// It ended, or a later start of it failed.
    Exited,
    /// Its files are being removed.
    Removing,
    /// They could not all be removed.
    Dead,
    /// Nothing is left of it.
    Removed,
}

/// What is known of a container's life. Kept in `state.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    /// Where it is now.
    pub(crate) state: State,
    /// Of its last end or failed start.
    pub(crate) exit_code: i32,
    /// The kernel ended one of its processes for want of memory.
    pub(crate) oom_killed: bool,
    /// Why its last start failed; empty where it did not.
    pub(crate) error: String,
    /// Of its last run.
    pub(crate) started_at: Option<DateTime<Utc>>,
    /// End of its last run.
    pub(crate) finished_at: Option<DateTime<Utc>>,
    /// Restarts by policy since a client started it.
    pub(crate) restart_count: u32,
    /// A client stopped it, so that `unless-stopped` lets it rest.
    pub(crate) stopped_by_client: bool,
    /// How often it has ended: a waiter for the next exit compares.
    pub(crate) exits: u64,
    /// The last pause.
    back_off: Duration,
}

/// When it is started again without a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// After a failure; so many times, or always.
    OnFailure(Option<u32>),
    /// Whenever it ends.
    Always,
    /// Whenever it ends, unless a client stopped it.
    UnlessStopped,
}

/// What happened, or what a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A client starts it.
    Start,
    /// The engine starts it at its own start, as its policy asks.
    StartAgain,
    /// It runs.
    Started {
        /// Its first process.
        pid: i32,
        /// Since when.
        at: DateTime<Utc>,
    },
    /// It could not be started; all steps are undone.
    StartFailed {
        /// For the record.
        code: i32,
        /// In the runtime's words.
        message: String,
    },
    /// All of its processes stand still.
    Paused,
    /// They go on.
    Unpaused,
    /// Its first process ended.
    Exited {
        /// 0 to 255.
        code: i32,
        /// For want of memory.
        oom_killed: bool,
        /// When.
        at: DateTime<Utc>,
    },
    /// The pause before a restart is over.
    BackOffOver,
    /// A client wants it to end; the signal itself is sent elsewhere.
    Stop,
    /// The machine stops: it is to end, and to be as before when the machine is back.
    ShutDown,
    /// A client, or its `--rm`, wants it gone.
    Remove,
    /// Its files are gone.
    Removed,
    /// Not all of them are.
    RemoveFailed,
}

/// What has to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing.
    Rest,
    /// Start the shim, then report `Started` or `StartFailed`.
    Launch,
    /// Report `BackOffOver` after this pause.
    Pause(Duration),
    /// It will not run again by itself: what is to be removed after its end may be.
    Settled,
    /// Remove its files, then report `Removed` or `RemoveFailed`.
    Delete,
}

/// Why an event is not allowed in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Start of what runs: nothing to do.
    AlreadyRunning,
    /// Start of what stands still.
    Paused,
    /// It is about to go.
    MarkedForRemoval,
    /// Another client removes it just now.
    RemovalInProgress,
    /// It has to end first.
    StillRunning,
}

impl Life {
    /// What clients call the state.
    pub(crate) fn word(&self) -> &'static str {
        match self.state {
            State::Starting if self.started_at.is_some() => "exited",
            State::Created | State::Starting => "created",
            State::Running { .. } => "running",
            State::Paused { .. } => "paused",
            State::Restarting => "restarting",
            State::Exited => "exited",
            State::Removing => "removing",
            State::Dead | State::Removed => "dead",
        }
    }

    /// Docker's `Running`, which a paused and a restarting container have too.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. } | State::Paused { .. } | State::Restarting)
    }

    /// Whether it stands still.
    pub(crate) fn is_paused(&self) -> bool {
        matches!(self.state, State::Paused { .. })
    }

    /// Its first process.
    pub(crate) fn pid(&self) -> Option<i32> {
        match self.state {
            State::Running { pid } | State::Paused { pid } => Some(pid),
            _ => None,
        }
    }

    /// What follows from `event`. A refused event changes nothing.
    pub(crate) fn apply(&mut self, event: Event, policy: RestartPolicy) -> Result<Action, Refusal> {
        use State::{Created, Dead, Exited, Paused, Removed, Removing, Restarting, Running, Starting};
        match (self.state, event) {
            (Created | Exited, Event::Start) => {
                self.stopped_by_client = false;
                self.restart_count = 0;
                self.back_off = Duration::ZERO;
                self.state = Starting;
                Ok(Action::Launch)
            }
            (Created | Exited, Event::StartAgain) | (Restarting, Event::BackOffOver) => {
                self.state = Starting;
                Ok(Action::Launch)
            }
            (Starting | Running { .. } | Restarting, Event::Start) => Err(Refusal::AlreadyRunning),
            (Paused { .. }, Event::Start) => Err(Refusal::Paused),
            (Removing | Dead | Removed, Event::Start) => Err(Refusal::MarkedForRemoval),

            (Starting, Event::Started { pid, at }) => {
                self.state = Running { pid };
                self.started_at = Some(at);
                self.exit_code = 0;
                self.oom_killed = false;
                self.error.clear();
                Ok(Action::Rest)
            }
            (Starting, Event::StartFailed { code, message }) => {
                self.state = if self.started_at.is_some() { Exited } else { Created };
                self.exit_code = code;
                self.error = message;
                Ok(Action::Settled)
            }
            (Running { pid }, Event::Paused) => {
                self.state = Paused { pid };
                Ok(Action::Rest)
            }
            (Paused { pid }, Event::Unpaused) => {
                self.state = Running { pid };
                Ok(Action::Rest)
            }
            (Running { .. } | Paused { .. }, Event::Exited { code, oom_killed, at }) => {
                Ok(self.ended(code, oom_killed, at, policy))
            }
            (Running { .. } | Paused { .. }, Event::Stop) => {
                self.stopped_by_client = true;
                Ok(Action::Rest)
            }
            (Restarting, Event::Stop) => {
                self.stopped_by_client = true;
                self.state = Exited;
                Ok(Action::Settled)
            }
            (Restarting, Event::ShutDown) => {
                self.state = Exited;
                Ok(Action::Rest)
            }

            (Created | Exited | Dead, Event::Remove) => {
                self.state = Removing;
                Ok(Action::Delete)
            }
            (Removing | Removed, Event::Remove) => Err(Refusal::RemovalInProgress),
            (Starting | Running { .. } | Paused { .. } | Restarting, Event::Remove) => {
                Err(Refusal::StillRunning)
            }
            (Removing, Event::Removed) => {
                self.state = Removed;
                Ok(Action::Rest)
            }
            (Removing, Event::RemoveFailed) => {
                self.state = Dead;
                Ok(Action::Rest)
            }
            // What comes late, or twice, changes nothing.
            _ => Ok(Action::Rest),
        }
    }

    fn ended(&mut self, code: i32, oom_killed: bool, at: DateTime<Utc>, policy: RestartPolicy) -> Action {
        self.exit_code = code;
        self.oom_killed = oom_killed;
        self.finished_at = Some(at);
        self.exits += 1;
        let again = !self.stopped_by_client && self.wants_to_run(policy);
        if !again {
            self.state = State::Exited;
            return Action::Settled;
        }
        let ran_long = self.started_at.is_some_and(|started| at - started >= LONG_ENOUGH);
        self.back_off = if ran_long || self.back_off.is_zero() {
            FIRST_BACK_OFF
        } else {
            (self.back_off * 2).min(LONGEST_BACK_OFF)
        };
        self.restart_count += 1;
        self.state = State::Restarting;
        Action::Pause(self.back_off)
    }

    /// Whether `policy` starts it again, by how it ended.
    fn wants_to_run(&self, policy: RestartPolicy) -> bool {
        match policy {
            RestartPolicy::No => false,
            RestartPolicy::Always => true,
            RestartPolicy::UnlessStopped => !self.stopped_by_client,
            RestartPolicy::OnFailure(most) => {
                self.exit_code != 0 && most.is_none_or(|most| self.restart_count < most)
            }
        }
    }

    /// Whether it is started when the engine starts: it ran once, and its policy asks for it. `always` means
    /// that even after a client's stop, as Docker documents it.
    pub(crate) fn starts_with_engine(&self, policy: RestartPolicy) -> bool {
        self.state == State::Exited && self.started_at.is_some() && self.wants_to_run(policy)
    }
}

#[cfg(test)]
mod tests;
