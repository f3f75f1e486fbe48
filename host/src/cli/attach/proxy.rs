//! What happens to this program and is meant for the container: signals, and changes of the terminal's size.

use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use crate::cli::client::{Call, Client};
use crate::cli::error::CliError;
use crate::cli::session;
use crate::os::{signals, terminal};

/// How often the first size is sent again: the container's terminal may not be open yet.
const TRIES: u32 = 10;

/// Hands signals on to a container.
pub(crate) struct Proxy(Option<Receiver<String>>);

impl Proxy {
    /// Catches signals from now on, if `wanted`; otherwise they end this program as usual.
    pub(crate) fn start(wanted: bool) -> Result<Self, CliError> {
        let receiver = wanted
            .then(signals::forwarded)
            .transpose()
            .map_err(|cause| CliError::Local { what: "cannot catch signals".to_owned(), cause })?;
        Ok(Self(receiver))
    }

    /// Sends each signal to the container as it comes, for ever.
    pub(crate) async fn forward(mut self, client: &Client, container: &str) {
        if let Some(receiver) = &mut self.0 {
            while let Some(signal) = receiver.recv().await {
                let call = Call::post(format!("/containers/{container}/kill")).query("signal", signal);
                // The container may just have ended, and then its status says all there is to say.
                let _ = client.send(call).await;
            }
        }
        std::future::pending().await
    }
}

/// Gives a terminal in a container the size of ours, now and at each change, for ever. `path` is the
/// container's or the exec's in the API.
pub(crate) async fn follow_size(client: &Client, path: &str) {
    // Watched before the first size is told, so that no change falls between the two.
    let resizes = signals::Resizes::watch();
    let mut delay = Duration::ZERO;
    for _ in 0..=TRIES {
        tokio::time::sleep(delay).await;
        if resize(client, path, 0).await.is_ok() {
            break;
        }
        delay += Duration::from_millis(10);
    }
    match resizes {
        Ok(mut resizes) => loop {
            resizes.next().await;
            // The container may just have ended.
            let _ = resize(client, path, 0).await;
        },
        Err(error) => session::warn(&format!("Error monitoring TTY size: {error}")),
    }
    std::future::pending().await
}

/// Makes whoever draws on a container's terminal draw again: it is told of a size that is not ours, and
/// [`follow_size`] tells it the right one next.
pub(crate) async fn redraw(client: &Client, path: &str) {
    // The container may just have ended.
    let _ = resize(client, path, 1).await;
}

async fn resize(client: &Client, path: &str, larger: u16) -> Result<(), CliError> {
    let Some((rows, columns)) = terminal::size().filter(|size| *size != (0, 0)) else { return Ok(()) };
    let call = Call::post(format!("{path}/resize"))
        .query("h", rows.saturating_add(larger).to_string())
        .query("w", columns.saturating_add(larger).to_string());
    client.send(call).await.map(drop)
}
