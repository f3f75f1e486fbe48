//! Timing two things in turn, so that what else the computer does falls on both, and comparing their medians.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;

/// One line of the result.
pub(crate) struct Finding {
    /// What was measured and against what.
    pub(crate) what: String,
    /// Ours and the other's, in words.
    pub(crate) values: String,
    /// Ours in the other's.
    pub(crate) ratio: f64,
    /// The largest ratio that is good; `None` where the figure is only told.
    pub(crate) limit: Option<f64>,
}

impl Finding {
    /// Medians of times.
    pub(crate) fn of_times(what: &str, ours: &[Duration], other: &[Duration], limit: Option<f64>) -> Finding {
        let (ours, other) = (median(ours), median(other));
        Finding {
            what: what.to_owned(),
            values: format!("{ours:.1?} / {other:.1?}"),
            ratio: ours.as_secs_f64() / other.as_secs_f64(),
            limit,
        }
    }

    /// Whether it is worse than it may be.
    pub(crate) fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.ratio > limit)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<60} {:>24} = {:>6.2} x", self.what, self.values, self.ratio)?;
        match self.limit {
            None => Ok(()),
            Some(limit) => write!(f, "   {} {limit:.2} x", if self.is_over() { "OVER" } else { "within" }),
        }
    }
}

/// Runs both so many times, one after the other.
pub(crate) fn in_turn(
    times: usize,
    mut ours: impl FnMut() -> Result<Duration>,
    mut other: impl FnMut() -> Result<Duration>,
) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let mut measured = (Vec::new(), Vec::new());
    for _ in 0..times {
        measured.0.push(ours()?);
        measured.1.push(other()?);
    }
    Ok(measured)
}

/// How long `work` takes.
pub(crate) fn time(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}
