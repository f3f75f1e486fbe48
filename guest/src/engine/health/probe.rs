//! One probe: a further process of the container, its output cut off, its time limited.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::time::timeout;

use super::rules::{Check, ProbeResult};
use crate::engine::exec::{Exec, ExecWish, Stage};
use crate::engine::{Container, Engine, EngineError};
use crate::shim::client::{Output, Streams};

/// Bytes of output that are kept.
const LONGEST_OUTPUT: usize = 4096;
/// How long a killed probe may take to end.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// A probe that is under way. Dropped, it ends by force.
pub(super) struct Probe {
    engine: Arc<Engine>,
    exec: Arc<Exec>,
}

impl Probe {
    /// Runs the check once.
    pub(super) async fn run(engine: &Arc<Engine>, container: &Container, check: &Check) -> ProbeResult {
        let start = Utc::now();
        let (exit_code, output) =
            Self::outcome(engine, container, check).await.unwrap_or_else(|error| (-1, error.to_string()));
        ProbeResult { start, end: Utc::now(), exit_code, output }
    }

    async fn outcome(
        engine: &Arc<Engine>,
        container: &Container,
        check: &Check,
    ) -> Result<(i32, String), EngineError> {
        if check.command.is_empty() {
            let id = container.id();
            return Err(EngineError::Invalid(format!("healthcheck for container {id} has no command")));
        }
        let streams = Streams { stdin: false, stdout: true, stderr: true };
        let wish = ExecWish { command: check.command.clone(), streams, ..ExecWish::default() };
        let exec = engine.create_exec(container, wish).await?;
        let probe = Self { engine: engine.clone(), exec: exec.clone() };
        // Its start has a deadline of its own, which is not the program's.
        let attached = engine.start_exec(&exec, streams, None).await?;
        let mut said = Said::default();
        let in_time = timeout(check.timeout, async {
            if let Some(attached) = attached {
                said.take_all(attached.output).await;
            }
            exec.ended().await;
        });
        if in_time.await.is_err() {
            probe.kill().await;
            let mut message = format!("Health check exceeded timeout ({})", go_duration(check.timeout));
            let output = said.text();
            if !output.is_empty() {
                let _ = write!(message, ": {output}");
            }
            return Ok((-1, message));
        }
        match exec.stage() {
            Stage::Ended { code, .. } => Ok((code, said.text())),
            _ => Err(EngineError::Internal("the probe has no exit code".to_owned())),
        }
    }

    async fn kill(&self) {
        if let Err(error) = self.engine.kill_exec(&self.exec).await {
            tracing::debug!("a probe that took too long is not killed: {error}");
        }
        if timeout(KILL_DEADLINE, self.exec.ended()).await.is_err() {
            tracing::warn!("a probe of {} does not end", self.exec.container.id().short());
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // No client knows its id, and a container has one every few seconds.
        self.engine.forget_exec(&self.exec);
        if !matches!(self.exec.stage(), Stage::Ended { .. }) {
            let (engine, exec) = (self.engine.clone(), self.exec.clone());
            // The container was paused or is ending: with its end this one's comes anyway.
            tokio::spawn(async move { drop(engine.kill_exec(&exec).await) });
        }
    }
}

/// What a probe has written, as far as it is kept.
#[derive(Default)]
struct Said {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Said {
    async fn take_all(&mut self, mut output: Output) {
        while let Ok(Some((_, bytes))) = output.next().await {
            self.take(&bytes);
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(LONGEST_OUTPUT - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..kept]);
        self.truncated |= kept < bytes.len();
    }

    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.truncated {
            text.push_str("...");
        }
        text
    }
}

/// As Go prints a duration: `1m30s`, `1.5s`, `20ms`.
fn go_duration(duration: Duration) -> String {
    let decimal = |value: f64| format!("{value}");
    if duration < Duration::from_secs(1) {
        return decimal(duration.as_secs_f64() * 1000.0) + "ms";
    }
    let minutes = duration.as_secs() / 60;
    let seconds = duration.as_secs() % 60;
    let fraction = format!("{:09}", duration.subsec_nanos());
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let mut text = format!("{seconds}{point}{fraction}s");
    if minutes > 0 {
        text = format!("{}m{text}", minutes % 60);
    }
    if minutes >= 60 {
        text = format!("{}h{text}", minutes / 60);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_off_and_says_so() {
        let mut said = Said::default();
        said.take(&[b'x'; 4000]);
        said.take(&[b'y'; 96]);
        assert_eq!(said.text().len(), 4096);
        said.take(b"z");
        assert!(said.text().ends_with("yyy..."));
        assert_eq!(said.text().len(), 4099);
    }

    #[test]
    fn a_duration_reads_as_in_go() {
        for (milliseconds, text) in
            [(20, "20ms"), (1500, "1.5s"), (30_000, "30s"), (90_000, "1m30s"), (3_600_000, "1h0m0s")]
        {
            assert_eq!(go_duration(Duration::from_millis(milliseconds)), text);
        }
    }
}
