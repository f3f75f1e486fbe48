//! `POST /images/create` without `fromImage`: an image of a file system, which the client sends or we fetch.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use reqwest::Url;
use serde_json::json;
use tokio::sync::mpsc;

use super::pull::bar;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::reply::{self, Gone};
use crate::api::{body, commit};
use crate::engine::{Engine, EngineError, ImportRequest};
use crate::image::{Pieces, Platform};

/// Pieces of a download that the disk may be behind.
const AHEAD: usize = 16;
/// Bytes between two lines of progress.
const STEP: u64 = 512 << 10;
/// Bytes of a refusal that are passed on.
const LONGEST_REFUSAL: usize = 4 << 10;

/// `POST /images/create?fromSrc=`
pub(super) async fn import(
    engine: Arc<Engine>,
    query: &Query,
    platform: Option<Platform>,
    request: Request,
) -> Result<Response, ApiError> {
    let source = query.text("fromSrc").unwrap_or_default().to_owned();
    let comment = query.text("message").map_or_else(|| format!("Imported from {source}"), str::to_owned);
    let wish = ImportRequest {
        reference: commit::reference(query.text("repo"), query.text("tag"))?,
        platform: platform.unwrap_or_else(Platform::host),
        comment,
        changes: query.all("changes").map(str::to_owned).collect(),
    };
    if source != "-" {
        return download(engine, wish, &source).await;
    }
    let (tar, feeding) = body::pieces(request);
    let imported = engine.import_image(tar, wish).await;
    // A client that still sends reads no answer yet. How the body ends does not matter any more.
    let _ = feeding.await;
    Ok(reply::json(StatusCode::OK, &json!({ "status": imported?.to_string() })))
}

async fn download(engine: Arc<Engine>, wish: ImportRequest, source: &str) -> Result<Response, ApiError> {
    let address = if source.contains("://") { source.to_owned() } else { format!("http://{source}") };
    let url = Url::parse(&address).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or_else(|| ApiError::invalid(format!("{address:?} is no address of a file")))?;
    let mut answer = engine.images().download(&url).await.map_err(EngineError::from)?;
    if answer.status().as_u16() >= 400 {
        let status = answer.status();
        let mut text = Vec::new();
        while let Ok(Some(piece)) = answer.chunk().await
            && text.len() < LONGEST_REFUSAL
        {
            text.extend_from_slice(&piece[..piece.len().min(LONGEST_REFUSAL)]);
        }
        let text = String::from_utf8_lossy(&text);
        let told = format!("failed to GET {url} with status {status}: {}", text.trim());
        let status = match status.as_u16() {
            known @ (400 | 401 | 403 | 404) => known,
            _ => 500,
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return Err(ApiError::new(status, told));
    }
    Ok(reply::streaming("application/json", async move |pieces| {
        pieces.send_json(&json!({ "status": format!("Downloading from {url}") })).await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let importing = engine.import_image(Pieces::new(receiver), wish);
        let total = answer.content_length().unwrap_or(0);
        let downloading = async {
            // Gone with the last piece, so that the import sees an end in any case.
            let sender = sender;
            let (mut current, mut told) = (0, 0);
            loop {
                let piece = match engine.images().piece_of(&mut answer).await {
                    Ok(piece) => piece.unwrap_or_default(),
                    Err(error) => {
                        // Taken or not, the import is over, and tells why.
                        let _ = sender.send(Err(error)).await;
                        return Ok::<_, Gone>(());
                    }
                };
                current += piece.len() as u64;
                let is_last = piece.is_empty();
                if sender.send(Ok(piece)).await.is_err() || is_last {
                    return Ok(());
                }
                if current - told >= STEP {
                    told = current;
                    pieces
                        .send_json(&json!({
                            "status": "Importing",
                            "progressDetail": { "current": current, "total": total },
                            "progress": bar(current, total),
                        }))
                        .await?;
                }
            }
        };
        let (imported, sent) = tokio::join!(importing, downloading);
        sent?;
        match imported {
            Ok(id) => pieces.send_json(&json!({ "status": id.to_string() })).await?,
            Err(error) => pieces.send_json(&ApiError::from(error).into_line()).await?,
        }
        Ok::<_, Gone>(())
    }))
}
