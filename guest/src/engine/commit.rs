//! `docker commit`: a container's changes as an image's new layer, and its configuration as the image's.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use holm_api::models::{ContainerConfig, ImageConfig};
use holm_api::{Digest, Reference};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::files::FilesError;
use super::volumes::blocking;
use super::{Container, Engine, EngineError, State, instructions};
use crate::container::merge::merge;
use crate::files::protocol::Job;
use crate::image::{CommitWish, NewLayer};

/// Pieces that the disk may be behind.
const AHEAD: usize = 8;

/// What a client wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommitRequest {
    /// The image's name; it may have none.
    pub(crate) reference: Option<Reference>,
    /// Who made it.
    pub(crate) author: String,
    /// Free text.
    pub(crate) comment: String,
    /// In place of the container's own.
    pub(crate) config: Option<ContainerConfig>,
    /// Instructions over that.
    pub(crate) changes: Vec<String>,
    /// Whether its processes stand still meanwhile.
    pub(crate) pauses: bool,
}

impl Engine {
    /// Makes an image of a container.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        container: &Container,
        request: CommitRequest,
    ) -> Result<Digest, EngineError> {
        let id = container.id();
        match container.status().life.state {
            State::Dead => return Err(refused(&format!("{id} which is Dead"))),
            State::Removing | State::Removed => return Err(refused(&format!("{id} which is being removed"))),
            _ => {}
        }
        // Carried on to its end: a container must not stay paused because its client went away.
        let (engine, container) = (self.clone(), container.clone());
        let work = async move {
            // One that does not run cannot be paused, and one that is paused stays so.
            let paused = request.pauses && container.pause().await.is_ok();
            let made = engine.commit_now(&container, request).await;
            if paused && let Err(error) = container.unpause().await {
                tracing::warn!("{} stays paused: {error}", container.id().short());
            }
            made
        };
        tokio::spawn(work).await.unwrap_or_else(|error| Err(EngineError::Internal(error.to_string())))
    }

    async fn commit_now(
        self: &Arc<Self>,
        container: &Container,
        request: CommitRequest,
    ) -> Result<Digest, EngineError> {
        let definition = container.definition();
        let CommitRequest { reference, author, comment, config, changes, .. } = request;
        let mut config = config.unwrap_or_else(|| definition.config.clone());
        instructions::apply(&changes, &mut config)?;
        let own: ImageConfig = converted(&definition.config)?;
        merge(&mut config, &own);

        let parent = self.images().get(&definition.image.id);
        let parent = parent.ok_or_else(|| EngineError::NoSuchImage(definition.image.id.to_string()))?;
        let layer = self.layer_of(container).await?;
        let wish = CommitWish {
            author,
            comment: comment.clone(),
            config: without_nulls(&config)?,
            container_config: without_nulls(&definition.config)?,
            container: definition.id.to_string(),
            created_by: definition.config.cmd.clone().unwrap_or_default().join(" "),
        };
        let committed = self.images().commit(parent, layer, wish).await;
        let id = committed.map_err(EngineError::system("keep the image"))?;
        self.tell_image("create", &id.to_string(), &id.to_string());
        let shown = reference.as_ref().map(Reference::familiar).unwrap_or_default();
        if let Some(reference) = reference {
            self.images().tag(id, reference).await?;
            self.tell_image("tag", &id.to_string(), &shown);
        }
        let more = [("comment", comment), ("imageID", id.to_string()), ("imageRef", shown)];
        self.tell_container(&definition, "commit", more);
        Ok(id)
    }

    /// The container's changes, compressed on the way from its upper folder to the store.
    async fn layer_of(self: &Arc<Self>, container: &Container) -> Result<NewLayer, EngineError> {
        let mut files = self.files(container, Job::Layer).await?;
        files.begun().await?;
        let (sender, mut pieces) = mpsc::channel::<Bytes>(AHEAD);
        let images = self.images().clone();
        let writing = tokio::spawn(blocking(move || {
            let mut write = || -> io::Result<NewLayer> {
                let mut layer = images.write_layer()?;
                while let Some(piece) = pieces.blocking_recv() {
                    if piece.is_empty() {
                        return layer.finish();
                    }
                    layer.write(&piece)?;
                }
                Err(io::Error::other("the container's changes broke off"))
            };
            write().map_err(EngineError::system("write the layer"))
        }));
        let failed = |cause| FilesError::Engine(EngineError::system("read the container's changes")(cause));
        loop {
            let piece = files.piece().await.map_err(failed)?;
            let end = piece.is_empty();
            // The writer says itself why it takes no more.
            if sender.send(piece).await.is_err() || end {
                break;
            }
        }
        drop(sender);
        writing.await.unwrap_or_else(|error| Err(EngineError::Internal(error.to_string())))
    }
}

fn refused(what: &str) -> EngineError {
    EngineError::Conflict(format!("You cannot commit container {what}"))
}

fn converted(config: &ContainerConfig) -> Result<ImageConfig, EngineError> {
    let value = without_nulls(config)?;
    serde_json::from_value(value).map_err(|error| EngineError::Internal(error.to_string()))
}

/// As Go would write what is set.
pub(super) fn without_nulls(config: &ContainerConfig) -> Result<Value, EngineError> {
    match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => {
            let set: Map<_, _> = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
            Ok(Value::Object(set))
        }
        Ok(_) => Ok(Value::Object(Map::new())),
        Err(error) => Err(EngineError::Internal(error.to_string())),
    }
}
