//! Health checks: one task for each container that has a check. It waits for the container to run, probes it as the
//! `rules` say, and shows the outcome to all who ask.

mod probe;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::records::Status;
use super::state::State;
use super::{Container, Engine};
use probe::Probe;

use rules::Check;
pub(super) use rules::validate;
pub(crate) use rules::{Health, HealthStatus};

/// Watches over a container for as long as the handle is held; `None` where there is nothing to check.
pub(super) fn watch_over(
    engine: Arc<Engine>,
    container: Container,
    health: watch::Sender<Option<Health>>,
) -> Option<AbortOnDropHandle<()>> {
    let check = Check::of(&container.definition().config)?;
    let monitor = Monitor { engine, status: container.watch(), container, check, health };
    Some(AbortOnDropHandle::new(tokio::spawn(monitor.run())))
}

struct Monitor {
    engine: Arc<Engine>,
    container: Container,
    status: watch::Receiver<Status>,
    check: Check,
    health: watch::Sender<Option<Health>>,
}

impl Monitor {
    async fn run(mut self) {
        let mut run = None;
        while let Some(started) = self.running().await {
            // A pause is no new start.
            if run != Some(started) {
                run = Some(started);
                self.health.send_modify(|health| *health = Some(Health::starting(health.take())));
            }
            let mut status = self.status.clone();
            tokio::select! {
                () = self.probe_on(started) => {}
                // The probe that is under way ends by being dropped.
                _ = status.wait_for(|status| running_since(status) != Some(started)) => {}
            }
        }
    }

    /// Waits until the container runs; since when. `None` when it is gone.
    async fn running(&mut self) -> Option<DateTime<Utc>> {
        let status = self
            .status
            .wait_for(|status| status.life.state == State::Removed || running_since(status).is_some());
        running_since(&*status.await.ok()?)
    }

    async fn probe_on(&self, started: DateTime<Utc>) {
        loop {
            let now = self.health.borrow().as_ref().map_or(HealthStatus::Starting, |health| health.status);
            // A clock that was set back makes this none.
            let running = (Utc::now() - started).to_std().unwrap_or(Duration::ZERO);
            sleep(self.check.pause(now, running)).await;
            let result = Probe::run(&self.engine, &self.container, &self.check).await;
            let mut changed = None;
            self.health.send_modify(|health| {
                let health = health.get_or_insert_with(|| Health::starting(None));
                changed = health.record(result, &self.check, started);
            });
            if let Some(status) = changed {
                let action = format!("health_status: {}", status.word());
                self.engine.tell_container(&self.container.definition(), &action, []);
            }
        }
    }
}

fn running_since(status: &Status) -> Option<DateTime<Utc>> {
    match status.life.state {
        State::Running { .. } => status.life.started_at,
        _ => None,
    }
}
