//! `/images`. Their names have slashes, so one route takes all that follows and the last part says what is
//! wanted: `GET /images/team/app:1/json`.

mod import;
mod inspect;
mod list;
mod load;
mod pattern;
mod platform;
mod prune;
mod pull;
mod push;
mod save;
mod search;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use holm_api::{Digest, Reference};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::reply;
use crate::api::version::ApiVersion;
use crate::engine::Engine;
use crate::image::{Platform, Removed};

pub(crate) use list::summaries;

type Shared = State<Arc<Engine>>;

/// All routes below `/images`.
pub(crate) fn router() -> Router<Arc<Engine>> {
    Router::new()
        .route("/images/json", get(list::list))
        .route("/images/create", post(pull::create))
        .route("/images/search", get(search::search))
        .route("/images/get", get(save::save))
        .route("/images/load", post(load::load))
        .route("/images/prune", post(prune::prune))
        .route("/images/{*rest}", get(get_image).post(post_image).delete(remove))
}

async fn get_image(
    State(engine): Shared,
    Extension(version): Extension<ApiVersion>,
    Path(rest): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    match rest.rsplit_once('/') {
        Some((name, "json")) => {
            let platform = platform::wanted(&query, version, 49)?;
            if platform.is_some() && query.flag("manifests") {
                return Err(ApiError::invalid(
                    "conflicting options: manifests and platform options cannot both be set",
                ));
            }
            let image = engine.image(name, platform.as_ref())?;
            Ok(reply::json(StatusCode::OK, &inspect::body(&image, version)))
        }
        Some((name, "history")) => {
            let image = engine.image(name, platform::wanted(&query, version, 48)?.as_ref())?;
            Ok(reply::json(StatusCode::OK, &inspect::history(&image)))
        }
        Some((name, "get")) => save::these(&engine, vec![name.to_owned()], version, &query).await,
        _ => Err(ApiError::page_not_found()),
    }
}

async fn post_image(
    State(engine): Shared,
    Extension(version): Extension<ApiVersion>,
    Path(rest): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    match rest.rsplit_once('/') {
        Some((name, "tag")) => tag(&engine, name, &query).await,
        Some((name, "push")) => push::push(&engine, name, version, &query, &headers).await,
        _ => Err(ApiError::page_not_found()),
    }
}

/// `POST /images/{name}/tag`
async fn tag(engine: &Engine, name: &str, query: &Query) -> Result<Response, ApiError> {
    let reference = tagged(query.text("repo").unwrap_or_default(), query.text("tag"))?;
    let image = engine.images().find(name).map_err(crate::engine::EngineError::from)?;
    let familiar = reference.familiar();
    engine.images().tag(image.id(), reference).await.map_err(crate::engine::EngineError::from)?;
    engine.tell_image("tag", &image.id().to_string(), &familiar);
    Ok(reply::empty(StatusCode::CREATED))
}

/// `DELETE /images/{name}`
async fn remove(
    State(engine): Shared,
    Extension(version): Extension<ApiVersion>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    if name.trim().is_empty() {
        return Err(ApiError::invalid("image name cannot be blank"));
    }
    if let Some(platform) = platform::only(&query, version, 50)? {
        engine.image(&name, Some(&platform))?;
    }
    let removed = engine.remove_image(&name, query.flag("force")).await?;
    Ok(reply::json(StatusCode::OK, &removed_body(removed)))
}

/// The `platform` of a load or a save: since 1.48, and JSON as OCI has it.
fn wanted_platform(query: &Query, version: ApiVersion) -> Result<Option<Platform>, ApiError> {
    if version < ApiVersion::one(48) {
        return Ok(None);
    }
    if query.all("platform").count() > 1 {
        return Err(ApiError::invalid("multiple platform parameters not supported"));
    }
    let Some(text) = query.text("platform") else { return Ok(None) };
    let platform: Platform = serde_json::from_str(text)
        .map_err(|error| ApiError::invalid(format!("failed to parse platform: {error}")))?;
    match (platform.os.is_empty(), platform.architecture.is_empty(), &platform.variant) {
        (false, false, _) => Ok(Some(platform)),
        (true, true, Some(_)) => {
            Err(ApiError::invalid("optional platform fields provided, but OS and Architecture are missing"))
        }
        _ => Err(ApiError::invalid("both OS and Architecture must be provided")),
    }
}

/// What went, in the order in which it did.
fn removed_body(removed: Vec<Removed>) -> Vec<Value> {
    let one = |one| match one {
        Removed::Untagged(reference) => json!({ "Untagged": Reference::familiar(&reference) }),
        Removed::Deleted(id) => json!({ "Deleted": Digest::to_string(&id) }),
    };
    removed.into_iter().map(one).collect()
}

/// A repository and a tag (or digest) that came apart. The tag that stands alone wins over one in the name.
pub(crate) fn tagged(name: &str, tag: Option<&str>) -> Result<Reference, ApiError> {
    let wrong = |error: holm_api::ParseReferenceError| ApiError::invalid(error.to_string());
    let reference: Reference = name.parse().map_err(wrong)?;
    match tag {
        None => Ok(reference.or_latest()),
        Some(text) => match text.parse::<Digest>() {
            Ok(digest) => Ok(reference.with_digest(digest)),
            Err(_) => reference.with_tag(text).map_err(|_| ApiError::invalid("invalid tag format")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_one_json_object_with_system_and_architecture() {
        let read = |text: &str| wanted_platform(&Query::parse(text), ApiVersion::one(48));
        let told = |text: &str| read(text).unwrap_err().into_parts().1;
        let arm = r#"platform={"os":"linux","architecture":"arm64"}"#;
        assert_eq!(read(arm).unwrap().unwrap().to_string(), "linux/arm64");
        assert_eq!(told(r#"platform={"os":"linux"}"#), "both OS and Architecture must be provided");
        assert_eq!(told(&format!("{arm}&{arm}")), "multiple platform parameters not supported");
        assert!(told("platform=linux/arm64").starts_with("failed to parse platform: "));
        assert!(read("").unwrap().is_none());
        assert!(wanted_platform(&Query::parse(arm), ApiVersion::one(47)).unwrap().is_none());
    }

    #[test]
    fn a_tag_that_stands_alone_wins() {
        assert_eq!(tagged("alpine:1", Some("2")).unwrap().familiar(), "alpine:2");
        assert_eq!(tagged("alpine", None).unwrap().familiar(), "alpine:latest");
        let digest = format!("sha256:{}", "ab".repeat(32));
        assert_eq!(tagged("alpine", Some(&digest)).unwrap().familiar(), format!("alpine@{digest}"));
        assert_eq!(tagged("alpine", Some("a b")).unwrap_err().into_parts().1, "invalid tag format");
        assert_eq!(tagged("", None).unwrap_err().into_parts().1, "invalid reference format");
    }
}
