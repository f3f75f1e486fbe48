//! `/containers/{name}/exec` and `/exec`: further processes of running containers.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine as _;
use holm_api::stream::{Channel, header};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::api::body;
use crate::api::containers::{find, side};
use crate::api::error::ApiError;
use crate::api::hijack::{self, Connection, MULTIPLEXED, RAW, Takeover, Way};
use crate::api::query::Query;
use crate::api::reply;
use crate::api::version::ApiVersion;
use crate::engine::{DetachKeys, Ended, Engine, Exec, ExecStage, ExecWish, Form, pump};
use crate::shim::client::Streams;
use crate::shim::protocol::WindowSize;

/// All routes of further processes.
pub(super) fn router() -> Router<Arc<Engine>> {
    Router::new()
        .route("/containers/{name}/exec", post(create))
        .route("/exec/{id}/start", post(start))
        .route("/exec/{id}/resize", post(resize))
        .route("/exec/{id}/json", get(inspect))
}

/// The body of `create`, as moby takes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct CreateBody {
    user: Option<String>,
    privileged: Option<bool>,
    tty: Option<bool>,
    console_size: Option<[u64; 2]>,
    attach_stdin: Option<bool>,
    attach_stderr: Option<bool>,
    attach_stdout: Option<bool>,
    detach_keys: Option<String>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    cmd: Option<Vec<String>>,
}

/// `POST /containers/{name}/exec`
async fn create(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let body: CreateBody = typed(body::read_json(request).await?)?;
    let wish = wish(body, version)?;
    let exec = engine.create_exec(&find(&engine, &name)?, wish).await?;
    Ok(reply::json(StatusCode::CREATED, &json!({ "Id": exec.id.as_str() })))
}

fn wish(body: CreateBody, version: ApiVersion) -> Result<ExecWish, ApiError> {
    let command = body.cmd.unwrap_or_default();
    if command.is_empty() {
        return Err(ApiError::invalid("No exec command specified"));
    }
    let detach_keys = body.detach_keys.unwrap_or_default();
    if !detach_keys.is_empty() && DetachKeys::parse(&detach_keys).is_err() {
        return Err(ApiError::invalid(format!("Invalid escape keys ({detach_keys}) provided")));
    }
    Ok(ExecWish {
        command,
        env: body.env.unwrap_or_default(),
        user: body.user.unwrap_or_default(),
        folder: body.working_dir.unwrap_or_default(),
        privileged: body.privileged.unwrap_or_default(),
        tty: body.tty.unwrap_or_default(),
        size: body.console_size.filter(|_| version >= ApiVersion::one(42)).map(window),
        streams: Streams {
            stdin: body.attach_stdin.unwrap_or_default(),
            stdout: body.attach_stdout.unwrap_or_default(),
            stderr: body.attach_stderr.unwrap_or_default(),
        },
        detach_keys,
    })
}

/// Height and width; the kernel keeps 16 bits of each.
fn window([height, width]: [u64; 2]) -> WindowSize {
    let side = |size: u64| u16::try_from(size).unwrap_or(u16::MAX);
    WindowSize { rows: side(height), columns: side(width) }
}

/// The body of `start`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct StartBody {
    detach: Option<bool>,
    tty: Option<bool>,
    console_size: Option<[u64; 2]>,
}

/// `POST /exec/{id}/start`
async fn start(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    Extension(takeover): Extension<Takeover>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let way = Way::of(&request);
    let body: StartBody = typed(body::read_json(request).await?)?;
    let exec = engine.active_exec(&id)?;
    let tty = body.tty == Some(true);
    let size = body.console_size.filter(|_| tty && version >= ApiVersion::one(42)).map(window);
    if body.detach == Some(true) {
        engine.start_exec(&exec, Streams::default(), size).await?;
        return Ok(reply::empty(StatusCode::OK));
    }
    // moby finds this out when the connection is no longer HTTP's, and has no status left to say it with.
    engine.check_startable(&exec)?;
    let multiplexed = way == Way::Upgrade && !tty && version >= ApiVersion::one(42);
    let content_type = if multiplexed { MULTIPLEXED } else { RAW };
    // The client says how it reads, and not the process how it writes.
    let form = if tty { Form::Raw } else { Form::Multiplexed };
    hijack::switch(&takeover, way, content_type, move |connection: Connection| async move {
        serve(&engine, &exec, connection, form, size).await;
    })
    .await
}

/// An attached client, from the start on.
async fn serve(
    engine: &Arc<Engine>,
    exec: &Arc<Exec>,
    mut client: Connection,
    form: Form,
    size: Option<WindowSize>,
) {
    let attached = match engine.start_exec(exec, exec.wish.streams, size).await {
        Ok(Some(attached)) => attached,
        // It wants none of the streams, and nothing to wait for.
        Ok(None) => {
            exec.ended().await;
            return drop(client.shutdown().await);
        }
        Err(error) => {
            let text = format!("{error}\r\n");
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
            let header = header(Channel::Stdout, length);
            let framed = [if form == Form::Raw { &[] } else { header.as_slice() }, text.as_bytes()].concat();
            // A client that is gone needs no reason.
            let _ = client.write_all(&framed).await;
            return drop(client.shutdown().await);
        }
    };
    let keys = match exec.wish.detach_keys.as_str() {
        _ if !exec.wish.tty => None,
        "" => Some(DetachKeys::default()),
        // Parsed when it was created.
        keys => DetachKeys::parse(keys).ok(),
    };
    if pump(client, attached, form, keys, exec.ended()).await == Ended::Detached {
        engine.tell_exec_detach(exec);
    }
}

/// `POST /exec/{id}/resize`
async fn resize(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let rows = side(&query, "h", "height")?;
    let columns = side(&query, "w", "width")?;
    let exec = engine.active_exec(&id)?;
    engine.resize_exec(&exec, WindowSize { rows, columns }).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `GET /exec/{id}/json`
async fn inspect(State(engine): State<Arc<Engine>>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let exec = engine.find_exec(&id)?;
    Ok(reply::json(StatusCode::OK, &inspected(&exec)))
}

fn inspected(exec: &Exec) -> Value {
    let (wish, stage) = (&exec.wish, exec.stage());
    let code = match stage {
        ExecStage::Ended { code, .. } => Some(code),
        _ => None,
    };
    let keys =
        DetachKeys::parse(&wish.detach_keys).map(|keys| keys.as_bytes().to_owned()).unwrap_or_default();
    let mut process = json!({
        "tty": wish.tty,
        "entrypoint": wish.command.first(),
        "arguments": wish.command.get(1..).unwrap_or_default(),
        "privileged": wish.privileged,
    });
    let definition = exec.container.definition();
    let user = Some(&wish.user).filter(|user| !user.is_empty()).or(definition.config.user.as_ref());
    if let Some(user) = user.filter(|user| !user.is_empty()) {
        process["user"] = json!(user);
    }
    json!({
        "ID": exec.id.as_str(),
        "Running": stage.is_running(),
        "ExitCode": code,
        "ProcessConfig": process,
        "OpenStdin": wish.streams.stdin,
        "OpenStderr": wish.streams.stderr,
        "OpenStdout": wish.streams.stdout,
        "CanRemove": false,
        "ContainerID": exec.container.id().as_str(),
        "DetachKeys": base64::engine::general_purpose::STANDARD.encode(keys),
        "Pid": stage.pid().unwrap_or(0),
    })
}

fn typed<T: serde::de::DeserializeOwned>(body: Value) -> Result<T, ApiError> {
    serde_json::from_value(body).map_err(|error| ApiError::invalid(format!("invalid JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(body: Value) -> Result<ExecWish, String> {
        let body: CreateBody = typed(body).map_err(|error| error.into_parts().1)?;
        wish(body, ApiVersion::one(44)).map_err(|error| error.into_parts().1)
    }

    #[test]
    fn a_body_is_read_as_moby_reads_it() {
        let wish = made(json!({
            "Cmd": ["sh", "-c", "x"], "AttachStdout": true, "Tty": null, "ConsoleSize": [24, 80], "Unknown": 1,
        }))
        .unwrap();
        assert_eq!(wish.command, ["sh", "-c", "x"]);
        assert_eq!(wish.streams, Streams { stdin: false, stdout: true, stderr: false });
        assert_eq!(wish.size, Some(WindowSize { rows: 24, columns: 80 }));
    }

    #[test]
    fn what_cannot_be_run_is_refused_in_mobys_words() {
        for nothing in [json!({}), json!({ "Cmd": [] }), json!({ "Cmd": null })] {
            assert_eq!(made(nothing).unwrap_err(), "No exec command specified");
        }
        let keys = json!({ "Cmd": ["x"], "DetachKeys": "ctrl-1" });
        assert_eq!(made(keys).unwrap_err(), "Invalid escape keys (ctrl-1) provided");
        assert!(made(json!({ "Cmd": "x" })).unwrap_err().starts_with("invalid JSON: "));
    }

    #[test]
    fn an_old_client_has_no_window_size() {
        let body =
            CreateBody { cmd: Some(vec!["x".to_owned()]), console_size: Some([1, 1]), ..Default::default() };
        assert_eq!(wish(body, ApiVersion::one(41)).unwrap().size, None);
    }
}
