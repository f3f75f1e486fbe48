//! One services stream: reads requests, has them done side by side, writes their replies.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use holm_api::link::{self, LENGTH_PREFIX, LinkError};
use holm_api::services::{Answer, MOST_WAITING, Reply, Request};
use holm_vmm::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Serve;

/// Longer than any request may take, so that the engine is told in any case.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// The engine reads as fast as it can.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// Why a stream is of no more use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Message(#[from] LinkError),
    #[error("it broke: {0}")]
    Stream(io::Error),
    #[error("{MOST_WAITING} requests already wait for their replies")]
    TooMany,
}

/// Serves until the engine closes the stream or breaks its rules.
pub(super) async fn serve(stream: Stream, services: &Arc<impl Serve>) -> Result<(), Broken> {
    let (reader, mut writer) = tokio::io::split(stream);
    // The reader is a task of its own: a message half read must not be lost because a reply came first.
    let (hand_over, mut requests) = tokio::sync::mpsc::channel(1);
    let mut tasks = JoinSet::new();
    let reading = async move {
        let mut reader = reader;
        while let Some(request) = receive(&mut reader).await? {
            if hand_over.send(request).await.is_err() {
                break;
            }
        }
        Ok::<(), Broken>(())
    };
    tokio::pin!(reading);
    let mut ended = None;
    loop {
        tokio::select! {
            result = &mut reading, if ended.is_none() => ended = Some(result?),
            Some(request) = requests.recv() => {
                if tasks.len() >= MOST_WAITING {
                    return Err(Broken::TooMany);
                }
                tasks.spawn(answer(services.clone(), request));
            }
            Some(reply) = tasks.join_next(), if !tasks.is_empty() => {
                // A request that panicked is a defect; the engine's own deadline ends the wait for it.
                if let Ok(reply) = reply {
                    send(&mut writer, &reply).await?;
                }
            }
            else => return Ok(()),
        }
    }
}

async fn answer(services: Arc<impl Serve>, request: Request) -> Reply {
    let answered = timeout(ANSWER_DEADLINE, services.serve(request.ask)).await;
    let late = || Answer::Refused { message: "the computer did not do it in time".to_owned() };
    Reply { id: request.id, answer: answered.unwrap_or_else(|_| late()) }
}

/// The next request; `None` at the stream's end.
async fn receive(reader: &mut ReadHalf<Stream>) -> Result<Option<Request>, Broken> {
    let mut prefix = [0; LENGTH_PREFIX];
    match reader.read_exact(&mut prefix).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    };
    let length = link::parse_length(prefix)?;
    let mut bytes = Vec::new();
    // Grows with what comes, so that a length alone costs nothing.
    (&mut *reader).take(length as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Some(link::decode(&bytes)?))
}

async fn send(writer: &mut WriteHalf<Stream>, reply: &Reply) -> Result<(), Broken> {
    let bytes = link::encode(reply)?;
    let written = timeout(WRITE_DEADLINE, async {
        writer.write_all(&bytes).await?;
        writer.flush().await
    });
    Ok(written.await.map_err(io::Error::from)??)
}
