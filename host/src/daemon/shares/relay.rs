//! A socket of this computer's in the machine: a stream a connection.

use std::io;
use std::time::Duration;

use holm_api::files::{CONNECTED, READY, RELAY_CONNECTION, RELAY_CONTROL};
use holm_vmm::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::time::timeout;

use super::{Admitted, Shares};
use crate::os;

/// Whoever listens on this computer takes connections at once.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// One stream of a shared socket's.
pub(super) async fn serve(
    mut stream: Stream,
    purpose: u32,
    admitted: &Admitted,
    shares: &Shares,
) -> io::Result<()> {
    let mut ends = admitted.ends.clone();
    let relayed = async {
        match purpose {
            RELAY_CONTROL => {
                shares.attach(admitted.id, None, None);
                let _detached = Detached(shares, admitted);
                stream.write_all(&[READY]).await?;
                // It says nothing; its end is the end of the one who listens in the machine.
                stream.read_u8().await.map(drop).or(Ok(()))
            }
            RELAY_CONNECTION => {
                let mut socket = timeout(CONNECT_DEADLINE, os::connect(&admitted.path)).await??;
                stream.write_all(&[CONNECTED]).await?;
                copy_bidirectional(&mut stream, &mut socket).await.map(drop)
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    };
    tokio::select! {
        result = relayed => result,
        // An error: the share is gone altogether.
        _ = ends.wait_for(|ends| *ends) => Ok(()),
    }
}

/// However the stream ends.
struct Detached<'a>(&'a Shares, &'a Admitted);

impl Drop for Detached<'_> {
    fn drop(&mut self) {
        self.0.detach(self.1.id);
    }
}
