//! What a running container uses at one moment, beside what the whole machine has used by then: clients make rates
//! of two such samples.

use chrono::{DateTime, Utc};

use super::container::Container;
use super::networks::NetworkMode;
use super::{Engine, EngineError};
use crate::container::cgroup;
use crate::container::usage::{self, Usage};
use crate::network::{Counters, counters};

/// A clock tick of /proc/stat, which is the same on all of Linux.
const TICK_NANOS: u64 = 10_000_000;

/// One reading.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// When.
    pub(crate) at: DateTime<Utc>,
    /// By the container.
    pub(crate) usage: Usage,
    /// Nanoseconds of all processors' time so far, idle or not.
    pub(crate) machine_nanos: u64,
    /// Processors.
    pub(crate) processors: u64,
    /// Its interfaces; none where it shares the machine's.
    pub(crate) interfaces: Vec<Counters>,
}

impl Engine {
    /// Measures it; `None` where it does not run.
    pub(crate) async fn measure(&self, container: &Container) -> Result<Option<Sample>, EngineError> {
        let Some(pid) = container.status().life.pid() else { return Ok(None) };
        let definition = container.definition();
        let folder = cgroup::folder(&definition.host, &definition.id);
        let shares_network =
            NetworkMode::of(&definition.host).is_ok_and(|mode| mode == Some(NetworkMode::Host));
        // The kernel adds up the counters of all processors when it is asked.
        let measured = tokio::task::spawn_blocking(move || {
            // It may end at any moment.
            let Ok(usage) = usage::read(&folder) else { return Ok(None) };
            let stat = std::fs::read_to_string("/proc/stat")?;
            let (machine_nanos, processors) = processor_time(&stat);
            let interfaces = if shares_network { Vec::new() } else { counters(pid).unwrap_or_default() };
            Ok(Some(Sample { at: Utc::now(), usage, machine_nanos, processors, interfaces }))
        });
        let measured = measured.await.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked)));
        measured.map_err(EngineError::system("read /proc/stat"))
    }
}

/// The sum of the first seven kinds of time, as moby takes it, and the number of processors (proc(5)).
fn processor_time(stat: &str) -> (u64, u64) {
    let lines = stat.lines().take_while(|line| line.starts_with("cpu"));
    let (mut ticks, mut processors) = (0_u64, 0);
    for line in lines {
        match line.strip_prefix("cpu ") {
            Some(times) => {
                let times = times.split_whitespace().take(7).filter_map(|time| time.parse::<u64>().ok());
                ticks = times.fold(0, u64::saturating_add);
            }
            None => processors += 1,
        }
    }
    (ticks.saturating_mul(TICK_NANOS), processors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_time_is_that_of_all_processors() {
        let stat = "cpu  1 2 3 4 5 6 7 800 9 10\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nintr 9\ncpux\n";
        assert_eq!(processor_time(stat), (280_000_000, 2));
        assert_eq!(processor_time(""), (0, 0));
    }
}
