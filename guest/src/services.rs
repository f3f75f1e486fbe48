//! The engine's end of the services stream (`holm_api::services`): dials the host for the first request, and again
//! after the stream broke. What the host had opened before stays open; whoever asks says so once more.
//!
//! One task owns the stream. Requests reach it over a channel, replies go back by their number.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use holm_api::link::{LENGTH_PREFIX, LONGEST_MESSAGE, LinkError, Token, decode, encode};
use holm_api::port;
use holm_api::services::{Answer, Ask, MOST_WAITING, Reply, Request};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};
use tokio_util::task::AbortOnDropHandle;

use crate::transport::{Stream, Transport};

/// Longer than the host takes for anything; it answers that it was too slow before this.
const DEADLINE: Duration = Duration::from_secs(75);
/// The host is there for as long as the machine is.
const DIAL_DEADLINE: Duration = Duration::from_secs(10);
/// It reads as fast as it can.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The host says why, for whoever started the container.
    #[error("{0}")]
    Refused(String),
    /// Nothing is at the path; likewise.
    #[error("{0}")]
    Absent(String),
    /// The stream broke before the reply; whether it was done is not known.
    #[error("the host computer does not answer: {0}")]
    Lost(io::Error),
    /// The request is longer than a message may be.
    #[error(transparent)]
    Unsayable(#[from] LinkError),
    /// An answer to something else.
    #[error("the host computer gave an answer of another kind")]
    Misplaced,
}

/// A request, its message, and where its answer goes.
struct Order {
    id: u64,
    message: Vec<u8>,
    answer: oneshot::Sender<Answer>,
}

/// A handle to the task, which ends with it.
#[derive(Debug)]
pub struct Services {
    orders: mpsc::Sender<Order>,
    next: std::sync::atomic::AtomicU64,
    /// The host closes a stream on which more wait.
    waiting: Semaphore,
    _task: AbortOnDropHandle<()>,
}

impl Services {
    /// Dials nothing yet. Needs a tokio runtime.
    pub fn new(transport: Transport, token: Token) -> Self {
        let (orders, ordered) = mpsc::channel(1);
        let task = tokio::spawn(run(transport, token, ordered));
        Self {
            orders,
            next: std::sync::atomic::AtomicU64::new(1),
            waiting: Semaphore::new(MOST_WAITING),
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Has the host do something. A refusal is an error.
    pub async fn ask(&self, ask: Ask) -> Result<Answer, ServiceError> {
        let id = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let message = encode(&Request { id, ask })?;
        let lost = || ServiceError::Lost(io::ErrorKind::BrokenPipe.into());
        let asked = async {
            let _place = self.waiting.acquire().await.map_err(|_| lost())?;
            let (answer, answered) = oneshot::channel();
            self.orders.send(Order { id, message, answer }).await.map_err(|_| lost())?;
            answered.await.map_err(|_| lost())
        };
        let late = |_| ServiceError::Lost(io::ErrorKind::TimedOut.into());
        match timeout(DEADLINE, asked).await.map_err(late)?? {
            Answer::Refused { message } => Err(ServiceError::Refused(message)),
            Answer::Absent { message } => Err(ServiceError::Absent(message)),
            answer => Ok(answer),
        }
    }

    /// As [`Self::ask`], for what is answered with nothing but that it is done.
    pub async fn tell(&self, ask: Ask) -> Result<(), ServiceError> {
        match self.ask(ask).await? {
            Answer::Done => Ok(()),
            _ => Err(ServiceError::Misplaced),
        }
    }
}

async fn run(transport: Transport, token: Token, mut ordered: mpsc::Receiver<Order>) {
    while let Some(first) = ordered.recv().await {
        let dialled = timeout(DIAL_DEADLINE, dial(&transport, &token)).await;
        let ended = match dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => serve(stream, first, &mut ordered).await,
            Err(error) => Err(error),
        };
        match ended {
            // Everybody who waited has been let go by the drop of their senders.
            Err(error) => tracing::warn!("the stream for requests to the host ended: {error}"),
            Ok(()) => return,
        }
    }
}

async fn dial(transport: &Transport, token: &Token) -> io::Result<Stream> {
    let mut stream = transport.connect_host(port::SERVICES).await?;
    stream.write_all(&token.0).await?;
    Ok(stream)
}

/// Serves until the handle is gone; an error is the stream's.
async fn serve(stream: Stream, first: Order, ordered: &mut mpsc::Receiver<Order>) -> io::Result<()> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut replies = LengthDelimitedCodec::builder()
        .length_field_length(LENGTH_PREFIX)
        .max_frame_length(LONGEST_MESSAGE)
        .new_read(reader);
    let mut waiting = HashMap::new();
    send(&mut writer, first, &mut waiting).await?;
    loop {
        tokio::select! {
            order = ordered.recv() => match order {
                Some(order) => send(&mut writer, order, &mut waiting).await?,
                None => return Ok(()),
            },
            reply = receive(&mut replies) => {
                let reply = reply?;
                if let Some(answer) = waiting.remove(&reply.id) {
                    // Whoever asked may have given up.
                    let _ = oneshot::Sender::send(answer, reply.answer);
                }
            }
        }
    }
}

async fn send(
    writer: &mut WriteHalf<Stream>,
    order: Order,
    waiting: &mut HashMap<u64, oneshot::Sender<Answer>>,
) -> io::Result<()> {
    waiting.retain(|_, answer: &mut oneshot::Sender<Answer>| !answer.is_closed());
    waiting.insert(order.id, order.answer);
    timeout(WRITE_DEADLINE, writer.write_all(&order.message)).await?
}

/// May be dropped while it waits without losing a reply.
async fn receive(replies: &mut FramedRead<ReadHalf<Stream>, LengthDelimitedCodec>) -> io::Result<Reply> {
    let frame = replies.next().await.ok_or(io::ErrorKind::UnexpectedEof)??;
    decode(&frame).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    use holm_api::link::parse_length;
    use tokio::io::AsyncReadExt;
    use tokio::net::{UnixListener, UnixStream};

    /// The folder goes with it.
    struct Host(UnixListener, #[expect(dead_code, reason = "kept for its drop")] tempfile::TempDir);

    impl Host {
        fn new() -> (Self, Services) {
            let folder = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(folder.path().join("host-1029.sock")).unwrap();
            let services = Services::new(Transport::Unix(folder.path().into()), Token([5; 32]));
            (Self(listener, folder), services)
        }

        async fn meet(&self) -> UnixStream {
            let (mut stream, _) = self.0.accept().await.unwrap();
            let mut token = [0; 32];
            stream.read_exact(&mut token).await.unwrap();
            assert_eq!(token, [5; 32]);
            stream
        }
    }

    async fn hear(stream: &mut UnixStream) -> Request {
        let mut prefix = [0; LENGTH_PREFIX];
        stream.read_exact(&mut prefix).await.unwrap();
        let mut bytes = vec![0; parse_length(prefix).unwrap()];
        stream.read_exact(&mut bytes).await.unwrap();
        decode(&bytes).unwrap()
    }

    async fn say(stream: &mut UnixStream, id: u64, answer: Answer) {
        stream.write_all(&encode(&Reply { id, answer }).unwrap()).await.unwrap();
    }

    fn refused() -> Answer {
        Answer::Refused { message: "port is already allocated".to_owned() }
    }

    #[tokio::test]
    async fn answers_find_their_questions_whatever_their_order() {
        let (host, services) = Host::new();
        let serving = async {
            let mut stream = host.meet().await;
            let (one, two) = (hear(&mut stream).await, hear(&mut stream).await);
            for request in [two, one] {
                let answer = if request.ask == Ask::Keep(Vec::new()) { Answer::Done } else { refused() };
                say(&mut stream, request.id, answer).await;
            }
            stream
        };
        let close = Ask::ClosePorts(holm_api::ContainerId::from_bytes([1; 32]));
        let (_stream, kept, closed) =
            tokio::join!(serving, services.tell(Ask::Keep(Vec::new())), services.tell(close));
        kept.unwrap();
        assert_eq!(closed.unwrap_err().to_string(), "port is already allocated");
    }

    #[tokio::test]
    async fn a_broken_stream_lets_who_waits_go_and_is_dialled_again() {
        let (host, services) = Host::new();
        let breaking = async {
            let mut stream = host.meet().await;
            hear(&mut stream).await;
        };
        let (_, lost) = tokio::join!(breaking, services.tell(Ask::Keep(Vec::new())));
        assert!(matches!(lost, Err(ServiceError::Lost(_))));
        let serving = async {
            let mut stream = host.meet().await;
            let request = hear(&mut stream).await;
            say(&mut stream, request.id + 1000, refused()).await;
            say(&mut stream, request.id, Answer::Done).await;
            stream
        };
        let (_stream, kept) = tokio::join!(serving, services.tell(Ask::Keep(Vec::new())));
        kept.unwrap();
    }
}
