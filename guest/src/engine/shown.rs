//! What containers with `--network host`, or in the network of such a one, listen on is shown on the computer's
//! loopback. The kernel tells nobody of a new listener, so its tables are read once a second, and only while such
//! a container runs.

use std::fs;
use std::time::Duration;

use holm_api::services::{Ask, ShownPort};
use tokio::time::sleep;

use super::networks::NetworkMode;
use super::records::Definition;
use super::{Container, Engine};
use crate::network::shown_ports;

const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Looks after which the host is told anew: what was taken on the computer may be free by then.
const TELL_AGAIN: u32 = 10;

impl Engine {
    /// A container has started.
    pub(super) fn look_for_listeners(&self, definition: &Definition) {
        if may_share(definition) {
            self.listening.notify_one();
        }
    }

    /// Never ends.
    pub(super) async fn show_listeners(&self) {
        // What the host shows; `None`: not known, as after an earlier engine's end.
        let mut shown: Option<Vec<ShownPort>> = None;
        let (mut looks, mut is_well) = (0, true);
        loop {
            let shares = self.containers().iter().any(shares_network);
            let ports = if shares { self.listeners().await } else { Vec::new() };
            looks = if shown.as_ref() == Some(&ports) { looks + 1 } else { TELL_AGAIN };
            if looks >= TELL_AGAIN {
                looks = 0;
                let told = self.services().tell(Ask::ShowPorts(ports.clone())).await;
                if let Err(error) = &told
                    && is_well
                {
                    tracing::warn!(
                        "the computer does not show what listens on the machine's network: {error}"
                    );
                }
                is_well = told.is_ok();
                shown = told.is_ok().then_some(ports);
            }
            if !shares && is_well {
                self.listening.notified().await;
            } else {
                sleep(LOOK_AGAIN).await;
            }
        }
    }

    async fn listeners(&self) -> Vec<ShownPort> {
        let read = tokio::task::spawn_blocking(shown_ports).await;
        let read = read.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked)));
        read.unwrap_or_else(|error| {
            tracing::warn!("cannot read what listens on the machine's network: {error}");
            Vec::new()
        })
    }
}

/// Whether its network can be the machine's: by its own wish, or another container's.
fn may_share(definition: &Definition) -> bool {
    NetworkMode::of(&definition.host).is_ok_and(|mode| mode.is_none_or(|mode| mode == NetworkMode::Host))
}

/// Whether it runs in the machine's network, as this process does.
fn shares_network(container: &Container) -> bool {
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let pid = container.status().life.pid().filter(|_| may_share(&container.definition()));
    pid.is_some_and(|pid| of(&pid.to_string()).is_some_and(|theirs| Some(theirs) == of("self")))
}
