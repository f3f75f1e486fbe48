//! `POST /images/load`: images from an archive. The answer is 200 from its beginning, as in moby; what goes wrong is
//! its last line.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use holm_api::Reference;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::pull::bar;
use super::wanted_platform;
use crate::api::body;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::reply::{self, Gone};
use crate::api::version::ApiVersion;
use crate::engine::Engine;
use crate::image::{LoadProgress, Loaded};

/// Lines that the load may be ahead of its client.
const AHEAD: usize = 64;

/// `POST /images/load`
pub(super) async fn load(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    let platform = wanted_platform(&query, version)?;
    let quiet = query.flag_or("quiet", true);
    let (archive, feeding) = body::pieces(request);
    Ok(reply::streaming("application/json", async move |pieces| {
        // Ended with the response: a client that goes away wants no images any more.
        let _feeding = feeding;
        let (sender, mut lines) = mpsc::channel(AHEAD);
        // Not aborted: it ends by itself when nobody listens, and cleans up behind itself.
        let loading = tokio::spawn(async move { engine.load_images(archive, platform, sender).await });
        while let Some(progress) = lines.recv().await {
            if !quiet {
                pieces.send_json(&line(&progress)).await?;
            }
        }
        match loading.await {
            Ok(Ok(loaded)) => {
                for text in loaded.iter().flat_map(told) {
                    pieces.send_json(&json!({ "stream": text })).await?;
                }
            }
            Ok(Err(error)) => pieces.send_json(&ApiError::from(error).into_line()).await?,
            Err(error) => {
                let message = error.to_string();
                pieces.send_json(&json!({ "errorDetail": { "message": message }, "error": message })).await?;
            }
        }
        Ok::<_, Gone>(())
    }))
}

fn line(progress: &LoadProgress) -> Value {
    let LoadProgress { id, current, total } = progress;
    json!({
        "status": "Loading layer",
        "progressDetail": { "current": current, "total": total },
        "progress": bar(*current, *total),
        "id": id,
    })
}

/// What a terminal shows of one image.
fn told(image: &Loaded) -> Vec<String> {
    if image.names.is_empty() {
        return vec![format!("Loaded image ID: {}\n", image.id)];
    }
    let mut lines = Vec::new();
    for (name, before) in &image.names {
        let name = Reference::familiar(name);
        if let Some(id) = before {
            lines.push(format!(
                "The image {name} already exists, renaming the old one with ID {id} to empty string\n"
            ));
        }
        lines.push(format!("Loaded image: {name}\n"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use holm_api::Digest;

    #[test]
    fn images_are_told_by_their_names_or_else_by_their_ids() {
        let [old, id] = [Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32])];
        let image = |names| Loaded { id, names };
        assert_eq!(told(&image(vec![])), [format!("Loaded image ID: {id}\n")]);
        let names = vec![("a:1".parse().unwrap(), None), ("b:2".parse().unwrap(), Some(old))];
        assert_eq!(
            told(&image(names)),
            [
                "Loaded image: a:1\n".to_owned(),
                format!("The image b:2 already exists, renaming the old one with ID {old} to empty string\n"),
                "Loaded image: b:2\n".to_owned(),
            ]
        );
    }

    #[test]
    fn a_layer_is_told_as_moby_does() {
        let progress = LoadProgress { id: "0123456789ab".to_owned(), current: 5, total: 10 };
        assert_eq!(
            line(&progress).to_string(),
            format!(
                r#"{{"status":"Loading layer","progressDetail":{{"current":5,"total":10}},"progress":"[{}>{}]       5B/10B","id":"0123456789ab"}}"#,
                "=".repeat(25),
                " ".repeat(25)
            )
        );
    }
}
