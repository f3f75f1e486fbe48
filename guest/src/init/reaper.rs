//! Every process that loses its parent becomes PID 1's child, and stays a zombie until PID 1 has waited for it.

use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

/// What waiting for children brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reaped {
    /// How the engine ended, if it did, as `exit status 1` or `signal 9`.
    pub(super) engine: Option<String>,
    /// Nobody is left to wait for.
    pub(super) childless: bool,
}

/// Waits for every child that has ended, and for no other. SIGCHLD may stand for any number of them.
pub(super) fn reap(engine: Option<Pid>) -> Reaped {
    let mut reaped = Reaped::default();
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                if Some(pid) == engine {
                    reaped.engine = Some(how(status));
                }
            }
            Ok(None) => return reaped,
            Err(rustix::io::Errno::INTR) => {}
            // ECHILD is all that remains.
            Err(_) => return Reaped { childless: true, ..reaped },
        }
    }
}

fn how(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => format!("wait status {}", status.as_raw()),
    }
}
