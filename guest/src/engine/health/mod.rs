//! Health checks: one task for each container that has a check. It waits for the container to run, probes it as the
//! `rules` say, and shows the outcome to all who ask. The outcome is kept beside the container's record: an engine that
//! is started again goes on where the last one ended.

mod probe;
mod rules;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::records::{self, CheckedRun, Status};
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
    // Once for each container, when it is made or the engine starts.
    let found = records::read_health(&engine.layout().container(container.id()));
    let run = found.as_ref().map(|found| found.started);
    health.send_replace(found.map(|found| found.health));
    let monitor = Monitor { engine, status: container.watch(), container, check, health, run };
    Some(AbortOnDropHandle::new(tokio::spawn(monitor.run())))
}

struct Monitor {
    engine: Arc<Engine>,
    container: Container,
    status: watch::Receiver<Status>,
    check: Check,
    health: watch::Sender<Option<Health>>,
    /// When the run began of which `health` tells.
    run: Option<DateTime<Utc>>,
}

impl Monitor {
    async fn run(mut self) {
        while let Some(started) = self.running().await {
            // A pause is no new start.
            if self.run != Some(started) {
                self.run = Some(started);
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
            self.keep(started).await;
            if let Some(status) = changed {
                let action = format!("health_status: {}", status.word());
                self.engine.tell_container(&self.container.definition(), &action, []);
            }
        }
    }
}

impl Monitor {
    /// A probe that is lost is no harm, so this does not end the monitor.
    async fn keep(&self, started: DateTime<Utc>) {
        let Some(health) = self.health.borrow().clone() else { return };
        let folder = self.engine.layout().container(self.container.id());
        // So that nobody removes the folder meanwhile, which has to be empty at its end.
        let here = self.container.hold_files().await;
        let written = tokio::task::spawn_blocking(move || {
            let _here = here;
            records::write_health(&folder, &CheckedRun { started, health })
        });
        let written = written.await.unwrap_or_else(|end| Err(io::Error::other(end)));
        // Without its folder it is gone.
        if let Err(error) = written
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(
                "{}: what its health check found is not kept: {error}",
                self.container.id().short()
            );
        }
    }
}

fn running_since(status: &Status) -> Option<DateTime<Utc>> {
    match status.life.state {
        State::Running { .. } => status.life.started_at,
        _ => None,
    }
}
