//! Who dials the port of shared files: a stream opens with the token of a share, and serves that one.

use std::convert::Infallible;
use std::future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holm_api::files::{HANDS_OVER, READY, READY_FOR_DEVICE};
use holm_api::link::Token;
use holm_api::services::{ShareId, SharedKind};
use holm_files::{Access, Options, Owner, Ownership, Root, Server};
use holm_vmm::{Listener, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use super::news::{Others, Watcher};
use super::stream::Source;
use super::{Admitted, Shares, device, relay, stream};
use crate::os;

/// A stream that does not say what it is within this time is closed.
const DEADLINE: Duration = Duration::from_secs(10);
/// Streams that are open, or say what they are, at once. Whoever dials without a token holds a place for a moment.
const MOST_STREAMS: usize = 4096;

/// Serves the shares of one machine for its life, and ends them with it.
pub(in crate::daemon) async fn serve(mut listener: Box<dyn Listener>, shares: Arc<Shares>) -> Infallible {
    let _cleared = Cleared(shares.clone());
    let mut streams = JoinSet::new();
    loop {
        while streams.try_join_next().is_some() {}
        if streams.len() >= MOST_STREAMS {
            streams.join_next().await;
        }
        let Ok(stream) = listener.accept().await else { break };
        let shares = shares.clone();
        streams.spawn(async move {
            if let Err(error) = let_in(stream, &shares).await {
                warn!("a stream of shared files ended: {error}");
            }
        });
    }
    while streams.join_next().await.is_some() {}
    future::pending().await
}

/// However the serving ends.
struct Cleared(Arc<Shares>);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.clear();
    }
}

async fn let_in(mut stream: Stream, shares: &Arc<Shares>) -> io::Result<()> {
    let mut opening = [0; Token::LENGTH + 4];
    timeout(DEADLINE, stream.read_exact(&mut opening)).await??;
    let (token, purpose) = opening.split_at(Token::LENGTH);
    let purpose = purpose.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let admitted = token.first_chunk().and_then(|token| shares.admit(token));
    let Some(admitted) = admitted else {
        return Err(io::Error::other("it did not open with a token"));
    };
    match admitted.kind {
        SharedKind::Socket => relay::serve(stream, purpose, &admitted, shares).await,
        SharedKind::Folder | SharedKind::File => {
            let (id, path) = (admitted.id, admitted.path.clone());
            let ended = serve_files(stream, purpose, admitted, shares).await;
            shares.detach(id);
            info!(path = %path.display(), "a shared folder's stream ended");
            ended
        }
    }
}

async fn serve_files(
    mut stream: Stream,
    opening: u32,
    admitted: Admitted,
    shares: &Arc<Shares>,
) -> io::Result<()> {
    let Admitted { id, path, kind, read_only, ends } = admitted;
    // The stream of a machine with a kernel of its own may be a socket as well, by which no descriptor can come.
    let pump = if opening & HANDS_OVER != 0 { device::peer(&stream) } else { None };
    let replayer = opening & !HANDS_OVER;
    let opened = path.clone();
    // A slow disk must not hold up other streams.
    let opening = tokio::task::spawn_blocking(move || Root::open(&opened).map_err(io::Error::other));
    let root = opening.await.map_err(io::Error::other)??;
    let watcher = Arc::new(Watcher::new(&path, kind == SharedKind::Folder)?);
    let options = Options {
        access: if read_only { Access::ReadOnly } else { Access::ReadWrite },
        ownership: match os::is_root() {
            true => Ownership::Real,
            false => Ownership::Remembered { default: Owner { uid: 0, gid: 0 } },
        },
        ..Options::new()
    };
    let (server, outgoing) = Server::new(root, options, watcher.clone());
    shares.attach(id, Some(server.clone()), pump);
    if watcher.is_watching() {
        shares.watch(id);
    }
    let (ready, source) = match pump {
        Some(_) => (READY_FOR_DEVICE, Source::Device),
        None => (READY, Source::Copied),
    };
    timeout(DEADLINE, stream.write_all(&[ready])).await??;
    let others = OtherShares { shares: shares.clone(), id, path };
    stream::serve((stream, source), (server, outgoing), watcher, replayer, others, ends).await
}

/// Those beside one of the shares.
struct OtherShares {
    shares: Arc<Shares>,
    id: ShareId,
    path: PathBuf,
}

impl Others for OtherShares {
    fn overlap(&self) -> bool {
        self.shares.has_overlap(self.id, &self.path)
    }

    fn have_pump(&self, process: u32) -> bool {
        self.shares.has_pump(process)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use holm_api::ContainerId;
    use holm_api::services::{Share, User};

    use super::*;

    async fn knock(shares: &Arc<Shares>, token: &[u8; Token::LENGTH]) -> (io::Result<()>, Option<u8>) {
        let (mut guest, host) = tokio::io::duplex(4096);
        guest.write_all(&[&token[..], &[0; 4]].concat()).await.unwrap();
        let serving = let_in(Box::new(host), shares);
        let listening = async {
            let said = guest.read_u8().await.ok();
            drop(guest);
            said
        };
        tokio::join!(serving, listening)
    }

    #[tokio::test]
    async fn a_hostile_stream_without_a_token_or_with_a_used_one_gets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let shares = Arc::new(Shares::default());
        let (stranger, said) = knock(&shares, &[7; Token::LENGTH]).await;
        assert!(stranger.is_err() && said.is_none());
        let user = User { container: ContainerId::from_bytes([1; 32]), look: 0 };
        let path = folder.path().display().to_string();
        let shared = shares.share(Share { user, path, read_only: false, creates: false }).unwrap();
        let token = shared.token.unwrap();
        let (served, said) = knock(&shares, &token.0).await;
        assert!(served.is_ok() && said == Some(READY), "{served:?}");
        let (again, said) = knock(&shares, &token.0).await;
        assert!(again.is_err() && said.is_none());
    }
}
