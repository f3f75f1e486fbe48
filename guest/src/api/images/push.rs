//! `POST /images/{name}/push`: a push, told line by line. As in moby, what is wrong with the wish has a status of
//! its own; what goes wrong after the first line is a line itself.

use std::sync::Arc;

use axum::response::Response;
use holm_api::{ParseReferenceError, Reference};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::pull::bar;
use super::tagged;
use crate::api::auth;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::reply::{self, Gone};
use crate::api::version::ApiVersion;
use crate::engine::{Engine, EngineError};
use crate::image::{LayerPush, Platform, PushError, PushProgress, PushRequest};

/// Lines that the push may be ahead of its client.
const AHEAD: usize = 64;

/// `POST /images/{name}/push`
pub(super) async fn push(
    engine: &Arc<Engine>,
    name: &str,
    version: ApiVersion,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let reference = match query.text("tag") {
        Some(tag) => tagged(name, Some(tag))?,
        // All tags, unless the name has one.
        None => name
            .parse::<Reference>()
            .map_err(|error: ParseReferenceError| ApiError::invalid(error.to_string()))?,
    };
    let platform = query.text("platform").filter(|_| version >= ApiVersion::one(46));
    let platform = platform.map(platform_of).transpose()?;
    start(engine, PushRequest { reference, platform, auth: auth::sent_along(headers) }).await
}

/// A platform as JSON of OCI's kind, which is how this route takes it.
fn platform_of(text: &str) -> Result<Platform, ApiError> {
    let platform: Platform = serde_json::from_str(text)
        .map_err(|error| ApiError::invalid(format!("failed to parse platform: {error}")))?;
    if platform.os.is_empty() || platform.architecture.is_empty() {
        return Err(ApiError::invalid("both OS and Architecture must be provided"));
    }
    Ok(platform)
}

async fn start(engine: &Arc<Engine>, push: PushRequest) -> Result<Response, ApiError> {
    let (sender, mut lines) = mpsc::channel(AHEAD);
    let (reference, name) = (push.reference.familiar(), push.reference.familiar_name());
    let (engine, images) = (engine.clone(), engine.images().clone());
    // Ended with the response: who goes away does not want the image to be there any more.
    let mut pushing = AbortOnDropHandle::new(tokio::spawn(async move { images.push(push, sender).await }));
    let Some(first) = lines.recv().await else {
        finished(&mut pushing).await?;
        return Err(ApiError::from(EngineError::Internal("a push that tells nothing".to_owned())));
    };
    Ok(reply::streaming("application/json", async move |pieces| {
        let mut next = Some(first);
        while let Some(progress) = next {
            for line in told(&progress) {
                pieces.send_json(&line).await?;
            }
            next = lines.recv().await;
        }
        match finished(&mut pushing).await {
            Ok(()) => engine.tell_image("push", &reference, &name),
            Err(error) => pieces.send_json(&ApiError::from(error).into_line()).await?,
        }
        Ok::<_, Gone>(())
    }))
}

async fn finished(pushing: &mut AbortOnDropHandle<Result<(), PushError>>) -> Result<(), EngineError> {
    match pushing.await {
        Ok(pushed) => Ok(pushed?),
        Err(error) => Err(EngineError::Internal(error.to_string())),
    }
}

/// Lines of Docker's progress JSON.
fn told(progress: &PushProgress) -> Vec<Value> {
    match progress {
        PushProgress::RefersTo(name) => {
            vec![json!({ "status": format!("The push refers to repository [{name}]") })]
        }
        PushProgress::Layer { id, status } => vec![match status {
            LayerPush::Pushing { current, total } => json!({
                "status": status.text(),
                "progressDetail": { "current": current, "total": total },
                "progress": bar(*current, *total),
                "id": id,
            }),
            _ => json!({ "status": status.text(), "progressDetail": {}, "id": id }),
        }],
        PushProgress::Pushed { tag, digest, size } => vec![
            json!({ "status": format!("{tag}: digest: {digest} size: {size}") }),
            json!({
                "progressDetail": {},
                "aux": { "Tag": tag, "Digest": digest.to_string(), "Size": size },
            }),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holm_api::Digest;

    #[test]
    fn lines_are_dockers() {
        let lines = |progress| told(&progress).iter().map(Value::to_string).collect::<Vec<_>>();
        assert_eq!(
            lines(PushProgress::RefersTo("docker.io/library/a".to_owned())),
            [r#"{"status":"The push refers to repository [docker.io/library/a]"}"#]
        );
        let layer = |status| lines(PushProgress::Layer { id: "0f".to_owned(), status });
        assert_eq!(
            layer(LayerPush::MountedFrom("library/b".to_owned())),
            [r#"{"status":"Mounted from library/b","progressDetail":{},"id":"0f"}"#]
        );
        assert_eq!(
            layer(LayerPush::Pushing { current: 0, total: 2 }),
            [format!(
                r#"{{"status":"Pushing","progressDetail":{{"current":0,"total":2}},"progress":"[>{}]       0B/2B","id":"0f"}}"#,
                " ".repeat(50)
            )]
        );
        let digest = Digest::from_bytes([1; 32]);
        assert_eq!(
            lines(PushProgress::Pushed { tag: "1".to_owned(), digest, size: 7 }),
            [
                format!(r#"{{"status":"1: digest: {digest} size: 7"}}"#),
                format!(r#"{{"progressDetail":{{}},"aux":{{"Tag":"1","Digest":"{digest}","Size":7}}}}"#),
            ]
        );
    }

    #[test]
    fn a_platform_is_json_with_a_system_and_an_architecture() {
        assert_eq!(platform_of(r#"{"os":"linux","architecture":"arm64"}"#).unwrap().architecture, "arm64");
        assert!(platform_of(r#"{"os":"linux"}"#).is_err());
        assert!(platform_of("linux/arm64").is_err());
    }
}
