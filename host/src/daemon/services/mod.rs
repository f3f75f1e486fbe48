//! What the engine asks of the host (`holm_api::services`): one stream at a time, each request answered as soon
//! as it is done. A newer stream takes the place of the older one, for the engine may have been started again.

mod connection;

use std::convert::Infallible;
use std::future::{self, Future};
use std::io;
use std::sync::Arc;

use holm_api::link::Token;
use holm_api::services::{Answer, Ask};
use holm_vmm::{Listener, Stream};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::token;

/// Streams whose token is being read.
const MOST_KNOCKING: usize = 8;

/// Does what is asked. May be dropped at any of its awaits when its stream is replaced.
pub(super) trait Serve: Send + Sync + 'static {
    /// One request's answer.
    fn serve(&self, ask: Ask) -> impl Future<Output = Answer> + Send;
}

/// Lets whoever opens with the token ask, for the machine's life: a guest whose services are gone is still one
/// that can be told to shut down.
pub(super) async fn run(
    mut listener: Box<dyn Listener>,
    token: Token,
    services: Arc<impl Serve>,
) -> Infallible {
    let (let_in, mut entered) = mpsc::channel(1);
    let door = async {
        // Each reads its token by itself: one that says nothing must not keep the next one waiting.
        let mut knocking = tokio::task::JoinSet::new();
        loop {
            while knocking.try_join_next().is_some() {}
            if knocking.len() >= MOST_KNOCKING {
                knocking.join_next().await;
            }
            let Ok(mut stream) = listener.accept().await else { return };
            let (token, let_in) = (token.clone(), let_in.clone());
            knocking.spawn(async move {
                if token::opens(&mut stream, &token).await {
                    // The other end lives as long as this task.
                    let _ = let_in.send(stream).await;
                } else {
                    warn!("a stream to the services port did not open with its token; it was closed");
                }
            });
        }
    };
    let room = async {
        let mut next: Option<Stream> = None;
        loop {
            let stream = match next.take() {
                Some(stream) => stream,
                None => match entered.recv().await {
                    Some(stream) => stream,
                    None => return,
                },
            };
            tokio::select! {
                ended = connection::serve(stream, &services) => log_end(ended),
                newer = entered.recv() => next = newer,
            }
        }
    };
    tokio::join!(door, room);
    future::pending().await
}

fn log_end(ended: Result<(), connection::Broken>) {
    match ended {
        Ok(()) => info!("the engine closed its services stream"),
        Err(error) => warn!("the engine's services stream was closed: {error}"),
    }
}

/// For `map_err`.
impl From<io::Error> for connection::Broken {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

#[cfg(test)]
mod tests;
