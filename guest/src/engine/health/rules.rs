//! Every rule about a container's health: what its check is, what a result makes of its status, and when the next
//! probe is due. Pure: the monitor runs the probes and reads the clocks. Words and numbers are moby's.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use holm_api::models::{ContainerConfig, HealthConfig};
use serde::{Deserialize, Serialize};

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u64 = 3;
/// Results that are kept.
const KEPT: usize = 5;
/// Nanoseconds below which a duration makes no sense.
const SHORTEST: i64 = 1_000_000;

/// How a container is to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// Program and arguments.
    pub(super) command: Vec<String>,
    /// How long a probe may take.
    pub(super) timeout: Duration,
    interval: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u64,
}

impl Check {
    /// The one that the configuration asks for; `None` where there is none.
    pub(crate) fn of(config: &ContainerConfig) -> Option<Self> {
        let health = config.healthcheck.as_ref()?;
        let (kind, words) = health.test.as_deref()?.split_first()?;
        let command = match kind.as_str() {
            "CMD" => words.to_vec(),
            "CMD-SHELL" => {
                let own = config.shell.clone().filter(|shell| !shell.is_empty());
                let mut command = own.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
                command.extend_from_slice(words);
                command
            }
            _ => return None,
        };
        Some(Self {
            command,
            timeout: or(health.timeout, TIMEOUT),
            interval: or(health.interval, INTERVAL),
            start_period: or(health.start_period, Duration::ZERO),
            start_interval: or(health.start_interval, START_INTERVAL),
            retries: health.retries.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(RETRIES),
        })
    }

    /// How long to wait for the next probe, `running` after the container's start.
    pub(super) fn pause(&self, status: HealthStatus, running: Duration) -> Duration {
        if running < self.start_period && status == HealthStatus::Starting {
            self.start_interval
        } else {
            self.interval
        }
    }
}

fn or(nanoseconds: Option<i64>, default: Duration) -> Duration {
    match nanoseconds.and_then(|n| u64::try_from(n).ok()) {
        None | Some(0) => default,
        Some(nanoseconds) => Duration::from_nanos(nanoseconds),
    }
}

/// What is wrong with a client's wish, in Docker's words.
pub(crate) fn validate(health: &HealthConfig) -> Result<(), String> {
    let durations = [
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    ];
    for (name, value) in durations {
        if value.is_some_and(|value| value != 0 && value < SHORTEST) {
            return Err(format!("{name} in Healthcheck cannot be less than 1ms"));
        }
    }
    match health.retries {
        Some(..0) => Err("Retries in Healthcheck cannot be negative".to_owned()),
        _ => Ok(()),
    }
}

/// How a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum HealthStatus {
    /// No probe has told yet.
    Starting,
    /// The last probe said so.
    Healthy,
    /// So many probes in a row failed.
    Unhealthy,
}

impl HealthStatus {
    /// As clients read it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What a probe came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProbeResult {
    /// When it began.
    pub(crate) start: DateTime<Utc>,
    /// When its end was known.
    pub(crate) end: DateTime<Utc>,
    /// The program's, or -1 where it did not come to one.
    pub(crate) exit_code: i32,
    /// What it wrote, cut off.
    pub(crate) output: String,
}

/// All that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// At this moment.
    pub(crate) status: HealthStatus,
    /// Probes that failed, one after the other.
    pub(crate) failing_streak: u64,
    /// The last results, the oldest first.
    pub(crate) log: VecDeque<ProbeResult>,
}

impl Health {
    /// Of a container that starts: earlier results stay to be seen.
    pub(super) fn starting(before: Option<Self>) -> Self {
        let log = before.map(|health| health.log).unwrap_or_default();
        Self { status: HealthStatus::Starting, failing_streak: 0, log }
    }

    /// Takes a result in. Returns the status where it has changed.
    pub(super) fn record(
        &mut self,
        result: ProbeResult,
        check: &Check,
        started: DateTime<Utc>,
    ) -> Option<HealthStatus> {
        let before = self.status;
        // Nobody expects success before the start period is over, and no failure counts.
        let running = (result.start - started).to_std().unwrap_or_default();
        let excused = self.status == HealthStatus::Starting && running < check.start_period;
        if result.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if !excused {
            self.failing_streak += 1;
            if self.failing_streak >= check.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        if self.log.len() == KEPT {
            self.log.pop_front();
        }
        self.log.push_back(result);
        (self.status != before).then_some(self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(test: &[&str]) -> Option<Check> {
        Check::of(&ContainerConfig {
            healthcheck: Some(HealthConfig {
                test: Some(test.iter().map(ToString::to_string).collect()),
                retries: Some(2),
                interval: Some(60_000_000_000),
                start_period: Some(10_000_000_000),
                start_interval: Some(1_000_000_000),
                ..Default::default()
            }),
            ..Default::default()
        })
    }

    fn result(exit_code: i32, at: i64) -> ProbeResult {
        let at = DateTime::from_timestamp(at, 0).unwrap();
        ProbeResult { start: at, end: at, exit_code, output: String::new() }
    }

    const STARTED: DateTime<Utc> = DateTime::UNIX_EPOCH;

    #[test]
    fn a_test_is_a_program_a_shell_line_or_none() {
        assert_eq!(check(&["CMD", "a", "b"]).unwrap().command, ["a", "b"]);
        assert_eq!(check(&["CMD-SHELL", "a | b"]).unwrap().command, ["/bin/sh", "-c", "a | b"]);
        for none in [["NONE"].as_slice(), &[], &["ODD", "x"]] {
            assert_eq!(check(none), None);
        }
        let defaults = Check::of(&ContainerConfig {
            healthcheck: Some(HealthConfig {
                test: Some(vec!["CMD".into(), "x".into()]),
                ..Default::default()
            }),
            shell: Some(vec!["/bin/bash".into()]),
            ..Default::default()
        });
        let defaults = defaults.unwrap();
        assert_eq!((defaults.interval, defaults.timeout, defaults.retries), (INTERVAL, TIMEOUT, 3));
    }

    #[test]
    fn success_is_health_at_once_and_failures_have_to_come_in_a_row() {
        let check = check(&["CMD", "x"]).unwrap();
        let mut health = Health::starting(None);
        assert_eq!(health.record(result(0, 1), &check, STARTED), Some(HealthStatus::Healthy));
        assert_eq!(health.record(result(1, 20), &check, STARTED), None);
        assert_eq!(health.record(result(0, 21), &check, STARTED), None);
        assert_eq!(health.record(result(1, 22), &check, STARTED), None);
        assert_eq!(health.record(result(-1, 23), &check, STARTED), Some(HealthStatus::Unhealthy));
        assert_eq!(health.failing_streak, 2);
        assert_eq!(health.log.len(), 5);
        assert_eq!(health.record(result(0, 24), &check, STARTED), Some(HealthStatus::Healthy));
        assert_eq!((health.log.len(), health.log[0].exit_code, health.failing_streak), (5, 1, 0));
    }

    #[test]
    fn failures_of_the_start_period_do_not_count_until_it_was_healthy_once() {
        let check = check(&["CMD", "x"]).unwrap();
        let mut health = Health::starting(None);
        for at in 0..10 {
            assert_eq!(health.record(result(1, at), &check, STARTED), None);
        }
        assert_eq!((health.status, health.failing_streak), (HealthStatus::Starting, 0));
        health.record(result(0, 5), &check, STARTED);
        health.record(result(1, 6), &check, STARTED);
        assert_eq!(health.failing_streak, 1, "it was healthy already");
        let mut late = Health::starting(Some(health));
        assert_eq!(late.record(result(1, 10), &check, STARTED), None);
        assert_eq!(late.record(result(1, 11), &check, STARTED), Some(HealthStatus::Unhealthy));
    }

    #[test]
    fn probes_come_faster_while_it_starts() {
        let check = check(&["CMD", "x"]).unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(check.pause(HealthStatus::Starting, 9 * second), second);
        assert_eq!(check.pause(HealthStatus::Healthy, 9 * second), 60 * second);
        assert_eq!(check.pause(HealthStatus::Starting, 10 * second), 60 * second);
    }

    #[test]
    fn durations_that_make_no_sense_are_refused_in_mobys_words() {
        validate(&HealthConfig { interval: Some(0), timeout: Some(1_000_000), ..Default::default() })
            .unwrap();
        let refused = validate(&HealthConfig { start_interval: Some(999_999), ..Default::default() });
        assert_eq!(refused.unwrap_err(), "StartInterval in Healthcheck cannot be less than 1ms");
        let refused = validate(&HealthConfig { retries: Some(-1), ..Default::default() });
        assert_eq!(refused.unwrap_err(), "Retries in Healthcheck cannot be negative");
    }
}
