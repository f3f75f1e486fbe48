//! The engine pipe: a client's connection to `docker.sock`, or over TCP, becomes one stream to the guest's engine. It
//! copies bytes both ways, keeps half-close, and parses nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use holm_api::VsockPort;
use holm_vmm::Machine;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::supervisor::Supervisor;

/// Bytes a direction that a connection may have under way.
const BUFFER: usize = 64 << 10;
/// How long an engine may be away: init starts one that died again within a second, or more slowly each time.
const ENGINE_DEADLINE: Duration = Duration::from_secs(10);
/// Between two tries to reach it.
const RETRY: Duration = Duration::from_millis(20);
/// Clients at once; the ones beyond it wait in the socket's backlog.
const MOST_CLIENTS: usize = 4096;

/// Serves clients until there are no more of them. Each arrives as what remains to be done before it can be
/// served, so that a slow one keeps nobody waiting. Ends all connections when it is dropped.
pub(super) async fn serve<C, F>(
    arriving: impl Stream<Item = io::Result<F>>,
    port: VsockPort,
    supervisor: Supervisor,
) -> io::Result<()>
where
    F: Future<Output = io::Result<C>> + Send + 'static,
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::pin!(arriving);
    let places = Arc::new(Semaphore::new(MOST_CLIENTS));
    let mut clients = tokio::task::JoinSet::new();
    loop {
        let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let client = tokio::select! {
            arrived = arriving.next() => match arrived {
                Some(client) => client?,
                None => return Ok(()),
            },
            Some(_) = clients.join_next() => continue,
        };
        let supervisor = supervisor.clone();
        clients.spawn(async move {
            let carried = async { carry(client.await?, port, &supervisor).await };
            if let Err(e) = carried.await {
                debug!("a client's connection ended: {e}");
            }
            drop(place);
        });
    }
}

async fn carry<C: AsyncRead + AsyncWrite + Unpin>(
    mut client: C,
    port: VsockPort,
    supervisor: &Supervisor,
) -> io::Result<()> {
    let machine = match supervisor.running().await {
        Ok(machine) => machine,
        Err(failure) => return refuse(client, &failure.to_string()).await,
    };
    let engine = match engine_of(&*machine, port).await {
        Ok(engine) => engine,
        Err(e) => return refuse(client, &format!("the engine in the machine does not answer: {e}")).await,
    };
    copy_bidirectional_with_sizes(&mut client, &mut Listening(engine), BUFFER, BUFFER).await?;
    Ok(())
}

/// An engine that may have heard enough. It answers without reading a request to its end where it refuses it, and
/// its answer must reach the client all the same: what it no longer takes is dropped.
struct Listening<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for Listening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listening<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes).map(|written| Ok(written.unwrap_or(bytes.len())))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx).map(|_| Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx).map(|_| Ok(()))
    }
}

/// The engine listens before the machine is `Running`; only in the moment of its own restart it does not.
async fn engine_of(machine: &dyn Machine, port: VsockPort) -> io::Result<holm_vmm::Stream> {
    let deadline = Instant::now() + ENGINE_DEADLINE;
    loop {
        match machine.connect(port.0).await {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                if Instant::now() >= deadline {
                    return Err(e);
                }
                sleep(RETRY).await;
            }
            other => return other,
        }
    }
}

/// There is no engine to say it, and a client that reads HTTP shows a reply where a closed connection would only
/// be "EOF".
async fn refuse<C: AsyncRead + AsyncWrite + Unpin>(mut client: C, reason: &str) -> io::Result<()> {
    let body = serde_json::json!({ "message": reason }).to_string();
    let reply = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    client.write_all(reply.as_bytes()).await?;
    client.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn an_answer_arrives_although_the_request_is_not_read() {
        let (mut client, mut theirs) = tokio::io::duplex(64);
        let (engine, mut far) = tokio::net::UnixStream::pair().unwrap();
        far.write_all(b"refused").await.unwrap();
        drop(far);
        let asking = tokio::spawn(async move {
            theirs.write_all(&[0; 1 << 20]).await.unwrap();
            theirs.shutdown().await.unwrap();
            let mut answer = String::new();
            theirs.read_to_string(&mut answer).await.unwrap();
            answer
        });
        copy_bidirectional_with_sizes(&mut client, &mut Listening(engine), BUFFER, BUFFER).await.unwrap();
        drop(client);
        assert_eq!(asking.await.unwrap(), "refused");
    }

    #[tokio::test]
    async fn a_refusal_is_an_answer_that_http_clients_show() {
        let (client, mut reader) = tokio::io::duplex(1024);
        refuse(client, "the machine \"died\"").await.unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 "));
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert_eq!(body, r#"{"message":"the machine \"died\""}"#);
    }
}
