//! `POST /images/create`: a pull, told line by line, or an import. Until the first line is out, a failure has a status of its
//! own; after it, it is a line itself.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use holm_api::Reference;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{import, tagged};
use crate::api::auth;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::reply::{self, Gone};
use crate::api::version::ApiVersion;
use crate::engine::{Engine, EngineError};
use crate::image::{Platform, PullProgress, PullRequest};

/// Lines that the pull may be ahead of its client.
const AHEAD: usize = 64;

/// `POST /images/create`
pub(super) async fn create(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    let platform = query.text("platform").filter(|_| version >= ApiVersion::one(32));
    let platform = platform.map(str::parse::<Platform>).transpose();
    let platform = platform.map_err(|error| ApiError::invalid(error.to_string()))?;
    let Some(name) = query.text("fromImage") else {
        return import::import(engine, &query, platform, request).await;
    };
    let pull = PullRequest {
        reference: wanted(name, query.text("tag"))?,
        platform,
        auth: auth::sent_along(request.headers()),
    };
    start(engine, pull).await
}

/// Without a tag, all there are.
fn wanted(name: &str, tag: Option<&str>) -> Result<Reference, ApiError> {
    // `pull -a` sends the name with a colon at its end.
    let name = name.strip_suffix(':').unwrap_or(name);
    if tag.is_some() {
        return tagged(name, tag);
    }
    let reference: Reference =
        name.parse().map_err(|error: holm_api::ParseReferenceError| ApiError::invalid(error.to_string()))?;
    if reference.familiar_name() == "scratch" {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "'scratch' is a reserved name"));
    }
    Ok(reference)
}

async fn start(engine: Arc<Engine>, pull: PullRequest) -> Result<Response, ApiError> {
    let (sender, mut lines) = mpsc::channel(AHEAD);
    let (reference, name) = (pull.reference.familiar(), pull.reference.familiar_name());
    let puller = engine.clone();
    // Not aborted: who goes away listens no more, which calls the pull off, and it cleans up behind itself.
    let pulling = tokio::spawn(async move { puller.pull_image(pull, sender).await });
    let Some(first) = lines.recv().await else {
        finished(pulling).await?;
        return Ok(reply::empty(StatusCode::OK));
    };
    Ok(reply::streaming("application/json", async move |pieces| {
        pieces.send_json(&line(&first)).await?;
        while let Some(progress) = lines.recv().await {
            pieces.send_json(&line(&progress)).await?;
        }
        match finished(pulling).await {
            Ok(()) => engine.tell_image("pull", &reference, &name),
            Err(error) => pieces.send_json(&ApiError::from(error).into_line()).await?,
        }
        Ok::<_, Gone>(())
    }))
}

async fn finished(pulling: JoinHandle<Result<(), EngineError>>) -> Result<(), EngineError> {
    pulling.await.unwrap_or_else(|error| Err(EngineError::Internal(error.to_string())))
}

/// A line of Docker's progress JSON.
fn line(progress: &PullProgress) -> Value {
    match progress {
        PullProgress::PullingFrom { repository, tag_or_digest } => {
            json!({ "status": format!("Pulling from {repository}"), "id": tag_or_digest })
        }
        PullProgress::Layer { id, status } => match status.bytes() {
            Some((current, total)) => json!({
                "status": status.text(),
                "progressDetail": { "current": current, "total": total },
                "progress": bar(current, total),
                "id": id,
            }),
            None => json!({ "status": status.text(), "progressDetail": {}, "id": id }),
        },
        PullProgress::Digest(digest) => json!({ "status": format!("Digest: {digest}") }),
        PullProgress::Status(text) => json!({ "status": format!("Status: {text}") }),
    }
}

/// The bar that older clients print as it is (moby, `jsonmessage`).
pub(super) fn bar(current: u64, total: u64) -> String {
    const WIDTH: usize = 50;
    if total == 0 {
        return format!("{:>8}", size(current));
    }
    let percent = u128::from(current) * 100 / u128::from(total);
    let done = usize::try_from(percent / 2).unwrap_or(WIDTH).min(WIDTH);
    let numbers = match current > total {
        true => format!("{:>8}", size(current)),
        false => format!("{:>8}/{}", size(current), size(total)),
    };
    format!("[{}>{}] {numbers}", "=".repeat(done), " ".repeat(WIDTH - done))
}

/// Four digits and a decimal unit (docker/go-units, `HumanSize`).
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value >= 100.0 {
        1
    } else if value >= 10.0 {
        2
    } else {
        3
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::LayerStatus;

    #[test]
    fn lines_are_dockers() {
        let pulling = PullProgress::PullingFrom {
            repository: "library/alpine".to_owned(),
            tag_or_digest: "latest".to_owned(),
        };
        assert_eq!(line(&pulling).to_string(), r#"{"status":"Pulling from library/alpine","id":"latest"}"#);
        let layer = |status| line(&PullProgress::Layer { id: "2db29710123e".to_owned(), status }).to_string();
        assert_eq!(
            layer(LayerStatus::PullComplete),
            r#"{"status":"Pull complete","progressDetail":{},"id":"2db29710123e"}"#
        );
        assert_eq!(
            layer(LayerStatus::Downloading { current: 1_500_000, total: 3_000_000 }),
            r#"{"status":"Downloading","progressDetail":{"current":1500000,"total":3000000},"progress":"[=========================>                         ]    1.5MB/3MB","id":"2db29710123e"}"#
        );
    }

    #[test]
    fn a_full_bar_keeps_its_arrow_as_in_moby() {
        assert_eq!(bar(10, 10), format!("[{}>]      10B/10B", "=".repeat(50)));
        assert_eq!(bar(1_234_567, 0), " 1.235MB");
    }

    #[test]
    fn a_name_alone_means_all_tags() {
        for name in ["alpine", "alpine:"] {
            assert_eq!(wanted(name, None).unwrap().tag(), None);
        }
        assert_eq!(wanted("alpine:3", None).unwrap().familiar(), "alpine:3");
        assert_eq!(wanted("alpine", Some("3")).unwrap().familiar(), "alpine:3");
    }
}
