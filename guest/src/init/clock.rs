//! The machine's clock, which is the host's: told at boot, at wake-up and every minute.

use std::io;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

/// Smaller differences are left alone. The message itself takes a varying while to arrive, and programs that
/// measure by the wall clock suffer more from a clock that steps back every minute than from one this far off.
const TOLERATED: Duration = Duration::from_millis(100);

/// Steps the clock where it is off by more than is tolerated.
pub(super) fn set(unix_nanos: u64) -> io::Result<()> {
    let now = clock_gettime(ClockId::Realtime);
    let now =
        u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0);
    if needs_step(now, unix_nanos) {
        tracing::info!(
            "the clock was off by {} ms",
            i128::from(now) / 1_000_000 - i128::from(unix_nanos) / 1_000_000
        );
        clock_settime(ClockId::Realtime, timespec(unix_nanos))?;
    }
    Ok(())
}

fn needs_step(now: u64, told: u64) -> bool {
    u128::from(now.abs_diff(told)) > TOLERATED.as_nanos()
}

fn timespec(unix_nanos: u64) -> Timespec {
    // Both fit: a u64 of nanoseconds holds fewer seconds than an i64.
    Timespec { tv_sec: (unix_nanos / 1_000_000_000) as i64, tv_nsec: (unix_nanos % 1_000_000_000) as _ }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_slept_is_set_and_one_that_wavers_is_left_alone() {
        let now = 1_790_000_000_000_000_000;
        assert!(needs_step(now, now + 3_600_000_000_000));
        assert!(needs_step(now, now - 200_000_000));
        assert!(!needs_step(now, now + 50_000_000));
        assert!(!needs_step(now, now - 50_000_000));
    }

    #[test]
    fn nanoseconds_are_split_into_seconds_and_the_rest() {
        let split = timespec(1_790_000_000_000_000_123);
        assert_eq!((split.tv_sec, split.tv_nsec), (1_790_000_000, 123));
    }
}
