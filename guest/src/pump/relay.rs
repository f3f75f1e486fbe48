//! A socket of the computer's, as `ssh-agent` has one: whoever connects here gets a stream to it of their own.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use holm_api::files::{CONNECTED, READY, RELAY_CONNECTION, RELAY_CONTROL};
use holm_api::port;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Plan, say_mounted};
use crate::transport::{Stream, Transport};

/// Connections at once; more wait to be accepted.
const MOST_CONNECTIONS: usize = 128;
/// The host connects at once, or not at all.
const DIAL_DEADLINE: Duration = Duration::from_secs(10);

/// Listens until the host ends the share.
pub(super) fn serve(plan: &Plan) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut control = dial(plan, RELAY_CONTROL, READY).await?;
        let listener = UnixListener::bind(&plan.at)?;
        // Whoever has it in their container may use it: that is what it was given for.
        fs::set_permissions(&plan.at, Permissions::from_mode(0o666))?;
        say_mounted()?;
        tokio::select! {
            ended = control.read_u8() => match ended {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
                other => Err(other.err().unwrap_or_else(|| io::Error::other("the host spoke out of turn"))),
            },
            failed = accept(&listener, plan) => failed,
        }
    })
}

async fn accept(listener: &UnixListener, plan: &Plan) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (client, _) = listener.accept().await?;
        let plan = plan.clone();
        tokio::spawn(async move {
            if let Err(error) = relay(client, &plan).await {
                tracing::debug!("a relayed connection ended: {error}");
            }
            drop(place);
        });
    }
}

async fn relay(mut client: UnixStream, plan: &Plan) -> io::Result<()> {
    let mut host = dial(plan, RELAY_CONNECTION, CONNECTED).await?;
    copy_bidirectional(&mut client, &mut host).await.map(drop)
}

/// A stream on which the host has said that it is what was asked for.
async fn dial(plan: &Plan, purpose: u32, expected: u8) -> io::Result<Stream> {
    let dialled = async {
        let mut stream = Transport::new(plan.sockets.clone()).connect_host(port::FILES).await?;
        stream.write_all(&[&plan.token.0[..], &purpose.to_le_bytes()].concat()).await?;
        match stream.read_u8().await? {
            said if said == expected => Ok(stream),
            _ => Err(io::Error::other("the computer does not connect")),
        }
    };
    timeout(DIAL_DEADLINE, dialled).await?
}
