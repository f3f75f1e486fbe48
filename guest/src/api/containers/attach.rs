//! `POST /containers/{name}/attach` and its WebSocket: a client's terminal or pipes, joined to a container's.

use std::future::ready;
use std::sync::Arc;

use axum::body::HttpBody as _;
use axum::extract::{Extension, Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio_util::io::StreamReader;

use super::find;
use crate::api::error::ApiError;
use crate::api::hijack::{self, Connection, MULTIPLEXED, RAW, Takeover, Way};
use crate::api::query::Query;
use crate::api::reply;
use crate::api::version::ApiVersion;
use crate::api::websocket::{self, Frames, Handshake};
use crate::engine::{
    Attached, Begin, Container, DetachKeys, Ended, Engine, EngineError, Form, LogFrames, LogSink, LogWish,
    Replay, State as Life, log_is_kept, log_path, pump,
};
use crate::shim::client::Streams;

/// A client that is to be attached.
struct Wish {
    engine: Arc<Engine>,
    container: Container,
    /// What was written so far comes first.
    log: Option<Replay>,
    form: Form,
    keys: Option<DetachKeys>,
    /// `None`: the client wants the logs and nothing that follows.
    attached: Option<oneshot::Receiver<Result<Attached, EngineError>>>,
}

/// `POST /containers/{name}/attach`
pub(super) async fn attach(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    Extension(takeover): Extension<Takeover>,
    Path(name): Path<String>,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    let streams = wanted(&query);
    let wish = Wish::of(engine, &name, &query, streams, Form::Multiplexed).await?;
    let content_type = match wish.form {
        Form::Multiplexed if version >= ApiVersion::one(42) => MULTIPLEXED,
        _ => RAW,
    };
    let way = Way::of(&request);
    if way == Way::Plain && !request.body().is_end_stream() {
        return Ok(with_body(request, wish));
    }
    hijack::switch(&takeover, way, content_type, |connection: Connection| wish.serve(connection)).await
}

/// `GET /containers/{name}/attach/ws`
pub(super) async fn attach_websocket(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    Extension(takeover): Extension<Takeover>,
    Path(name): Path<String>,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    let handshake = Handshake::of(&request)?;
    // Older clients could not choose.
    let all = Streams { stdin: true, stdout: true, stderr: true };
    let streams = if version >= ApiVersion::one(42) { wanted(&query) } else { all };
    let frames = if version >= ApiVersion::one(28) { Frames::Binary } else { Frames::Text };
    // Messages have no room for another kind of frames in them.
    let wish = Wish::of(engine, &name, &query, streams, Form::Raw).await?;
    websocket::accept(&takeover, &handshake, frames, |connection| wish.serve(connection)).await
}

fn wanted(query: &Query) -> Streams {
    Streams { stdin: query.flag("stdin"), stdout: query.flag("stdout"), stderr: query.flag("stderr") }
}

/// A client that stays with HTTP sends its input as the request's body and reads the response's.
fn with_body(request: Request, wish: Wish) -> Response {
    let body = request.into_body().into_data_stream().map_err(std::io::Error::other);
    let input = StreamReader::new(Box::pin(body));
    reply::streaming(RAW, async move |pieces| {
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        let forward = async {
            let mut output = tokio_util::io::ReaderStream::new(ours);
            while let Some(Ok(piece)) = futures_util::StreamExt::next(&mut output).await {
                if pieces.send(piece).await.is_err() {
                    return;
                }
            }
        };
        // Whichever ends first: a client that is gone lets its container be.
        tokio::join!(wish.serve(tokio::io::join(input, theirs)), forward);
        Ok(())
    })
}

impl Wish {
    /// `form` is how a container without terminal is read.
    async fn of(
        engine: Arc<Engine>,
        name: &str,
        query: &Query,
        wanted: Streams,
        form: Form,
    ) -> Result<Self, ApiError> {
        let keys = query.text("detachKeys").map(DetachKeys::parse).transpose()?;
        let container = find(&engine, name)?;
        if container.status().life.state == Life::Restarting {
            return Err(ApiError::new(
                http::StatusCode::CONFLICT,
                format!("container {name} is restarting, wait until the container is running"),
            ));
        }
        if container.status().life.is_paused() {
            return Err(ApiError::new(
                http::StatusCode::CONFLICT,
                format!("container {name} is paused, unpause the container before attach"),
            ));
        }
        let definition = &*container.definition();
        let terminal = definition.has_terminal();
        let streams = Streams { stdin: wanted.stdin && definition.config.open_stdin == Some(true), ..wanted };
        let form = if terminal { Form::Raw } else { form };
        let (log, begin) = match query.flag("logs") && log_is_kept(definition) {
            true => (Some(replay(&engine, &container, streams, form).await?), Begin::AfterLog),
            false => (None, Begin::Now),
        };
        // Joined before the answer, so that a start that the client sends after it finds us waiting.
        let attached = match query.flag("stream") {
            true => Some(container.attach(streams, begin).await?),
            false => None,
        };
        Ok(Self { engine, log, form, keys: terminal.then(|| keys.unwrap_or_default()), attached, container })
    }

    async fn serve<C>(mut self, mut client: C)
    where
        C: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let Some(mut attached) = self.attached else {
            if let Some(log) = &mut self.log {
                // A client that is gone needs no end.
                let _ = log.read_here(&mut Sink(&mut client)).await;
            }
            let _ = client.shutdown().await;
            return;
        };
        let joined = match joined(&mut attached, self.log.as_mut(), &mut client).await {
            Ok(joined) => joined,
            // The client is gone.
            Err(_) => return,
        };
        match joined {
            Some(attached) => {
                if pump(client, attached, self.form, self.keys, ready(())).await == Ended::Detached {
                    self.engine.tell_container(&self.container.definition(), "detach", []);
                }
            }
            // Its start failed, or it is gone: whoever started it is told why.
            None => {
                let _ = client.shutdown().await;
            }
        }
    }
}

/// The streams, when they are there and the client has read what was written before.
async fn joined(
    attached: &mut oneshot::Receiver<Result<Attached, EngineError>>,
    log: Option<&mut Replay>,
    client: &mut (impl AsyncWrite + Unpin + Send),
) -> std::io::Result<Option<Attached>> {
    let Some(log) = log else { return Ok(attached.await.ok().and_then(Result::ok)) };
    let outcome = match attached.try_recv() {
        // It does not run yet, so all that is in its log now comes before what it is going to write.
        Err(oneshot::error::TryRecvError::Empty) => {
            log.read_here(&mut Sink(client)).await?;
            attached.await.ok()
        }
        outcome => outcome.ok(),
    };
    let Some(attached) = outcome.and_then(Result::ok) else { return Ok(None) };
    if let Some(end) = attached.log_end {
        log.read_to(end, &mut Sink(client)).await?;
    }
    Ok(Some(attached))
}

async fn replay(
    engine: &Engine,
    container: &Container,
    streams: Streams,
    form: Form,
) -> Result<Replay, ApiError> {
    let wish = LogWish {
        stdout: streams.stdout,
        stderr: streams.stderr,
        since: None,
        until: None,
        tail: None,
        follow: false,
        timestamps: false,
        details: None,
        form,
        frames: LogFrames::Lines,
    };
    let path = log_path(&container.definition(), &engine.layout().container(container.id()));
    let opened = Replay::open(path, wish).await;
    opened.map_err(|error| EngineError::system("open the container's log")(error).into())
}

struct Sink<'a, C>(&'a mut C);

impl<C: AsyncWrite + Unpin + Send> LogSink for Sink<'_, C> {
    type Gone = std::io::Error;

    async fn send(&mut self, piece: Bytes) -> std::io::Result<()> {
        self.0.write_all(&piece).await
    }
}
