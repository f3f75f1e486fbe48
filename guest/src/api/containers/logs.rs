//! `GET /containers/{name}/logs`

use std::sync::Arc;

use axum::extract::{Extension, Path, State};
use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use axum::response::Response;
use bytes::Bytes;

use super::find;
use crate::api::error::ApiError;
use crate::api::hijack::{MULTIPLEXED, RAW};
use crate::api::query::Query;
use crate::api::reply::{self, Gone, Pieces};
use crate::api::version::ApiVersion;
use crate::engine::{
    Engine, Form, LogFrames, LogSink, LogWish, State as Life, Timestamp, log_details, log_driver,
    log_is_kept, log_path, read_log,
};

/// `GET /containers/{name}/logs`
pub(super) async fn logs(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
    if !stdout && !stderr {
        return Err(ApiError::invalid("Bad parameters: you must choose at least one stream"));
    }
    let container = find(&engine, &name)?;
    let definition = &*container.definition();
    if matches!(container.status().life.state, Life::Removing | Life::Dead | Life::Removed) {
        return Err(ApiError::new(
            http::StatusCode::CONFLICT,
            "can not get logs from container which is dead or marked for removal",
        ));
    }
    if !log_is_kept(definition) {
        return Err(ApiError::new(
            http::StatusCode::NOT_IMPLEMENTED,
            format!("configured logging driver does not support reading: {}", log_driver(definition)),
        ));
    }
    let form = if definition.has_terminal() { Form::Raw } else { Form::Multiplexed };
    let follow = query.flag("follow");
    let wish = LogWish {
        stdout,
        stderr,
        since: time(&query, "since")?,
        until: time(&query, "until")?.filter(|until| until.time().timestamp() != 0),
        // `all`, and whatever else is no number, is all of it.
        tail: query.text("tail").and_then(|text| text.parse().ok()),
        follow,
        timestamps: query.flag("timestamps"),
        details: query.flag("details").then(|| log_details(definition)).transpose()?,
        form,
        frames: if follow { LogFrames::Lines } else { frames(&headers) },
    };
    let path = log_path(definition, &engine.layout().container(container.id()));
    let content_type = match form {
        Form::Multiplexed if version >= ApiVersion::one(42) => MULTIPLEXED,
        _ => RAW,
    };
    Ok(reply::streaming(content_type, async move |mut pieces| {
        read_log(container, path, wish, &mut pieces).await
    }))
}

/// Programs that copy a log to their own output: in them a frame a line costs a write a line, five times as much as
/// all else that `logs` does, and nobody sees the difference. Everybody else gets frames as moby sends them.
const COPIERS: [&str; 2] = ["Docker-Client/", "holm/"];

fn frames(headers: &HeaderMap) -> LogFrames {
    let name = headers.get(USER_AGENT).and_then(|name| name.to_str().ok()).unwrap_or_default();
    match COPIERS.iter().any(|copier| name.starts_with(copier)) {
        true => LogFrames::Blocks,
        false => LogFrames::Lines,
    }
}

impl LogSink for Pieces {
    type Gone = Gone;

    async fn send(&mut self, piece: Bytes) -> Result<(), Gone> {
        Pieces::send(self, piece).await
    }
}

fn time(query: &Query, name: &str) -> Result<Option<Timestamp>, ApiError> {
    Ok(query.text(name).map(Timestamp::parse).transpose()?)
}
