//! Timing two things in turn, so that what else the computer does falls on both, and comparing their medians.

use std::cmp::Ordering;
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
    /// Which ratios are good; `None` where the figure is only told.
    pub(crate) limit: Option<Limit>,
}

/// Where good ratios end.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    /// Times and sizes.
    AtMost(f64),
    /// Speeds.
    AtLeast(f64),
}

impl Finding {
    /// Medians of times.
    pub(crate) fn of_times(what: &str, ours: &[Duration], other: &[Duration], limit: Option<f64>) -> Finding {
        let (ours, other) = (median(ours), median(other));
        Finding {
            what: what.to_owned(),
            values: format!("{ours:.1?} / {other:.1?}"),
            ratio: ours.as_secs_f64() / other.as_secs_f64(),
            limit: limit.map(Limit::AtMost),
        }
    }

    /// Bits a second.
    pub(crate) fn of_speeds(what: &str, ours: f64, other: f64, least: Option<f64>) -> Finding {
        Finding {
            what: what.to_owned(),
            values: format!("{:.2} / {:.2} Gbit/s", ours / 1e9, other / 1e9),
            ratio: ours / other,
            limit: least.map(Limit::AtLeast),
        }
    }

    /// Whether it is worse than it may be.
    pub(crate) fn is_over(&self) -> bool {
        // Not the contrary of the comparison, so that a ratio of nothing to nothing is over either.
        !match self.limit {
            None => true,
            Some(Limit::AtMost(most)) => self.ratio <= most,
            Some(Limit::AtLeast(least)) => self.ratio >= least,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<60} {:>24} = {:>6.2} x", self.what, self.values, self.ratio)?;
        match self.limit {
            None => Ok(()),
            Some(Limit::AtMost(most)) => {
                write!(f, "   {} {most:.2} x", if self.is_over() { "OVER" } else { "within" })
            }
            Some(Limit::AtLeast(least)) => {
                write!(f, "   {} {least:.2} x", if self.is_over() { "UNDER" } else { "at least" })
            }
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

/// The middle one.
pub(crate) fn median<T: Copy + PartialOrd>(values: &[T]) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    sorted[sorted.len() / 2]
}
