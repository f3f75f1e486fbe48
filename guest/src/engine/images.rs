//! Introduces images to layers and containers, and turns what goes wrong with images into the engine's words.

use std::io::{self, Read};

use holm_api::Digest;

use super::events::{Actor, Subject};
use super::{Engine, EngineError, ErrorKind};
use crate::image::{
    ContainerUse, FindError, LayerSink, PullError, PullErrorKind, RemoveError, Removed, TagError,
};
use crate::snapshot::Layers;

impl LayerSink for Layers {
    fn holds(&self, diff_id: &Digest) -> bool {
        Layers::holds(self, diff_id)
    }

    fn unpack(&self, diff_id: &Digest, tar: &mut dyn Read) -> io::Result<u64> {
        Layers::unpack(self, diff_id, tar).map_err(io::Error::from)
    }

    fn sync(&self) -> io::Result<()> {
        Layers::sync(self)
    }

    fn remove(&self, diff_id: &Digest) -> io::Result<()> {
        Layers::remove(self, diff_id)
    }

    fn list(&self) -> io::Result<Vec<Digest>> {
        Layers::list(self)
    }
}

impl Engine {
    /// Which images containers stand on.
    pub(crate) fn image_uses(&self) -> Vec<ContainerUse> {
        let uses = self.containers().into_iter().map(|container| {
            let definition = container.definition();
            let origin = &definition.image;
            ContainerUse {
                container: container.id().clone(),
                image: origin.id,
                layers: origin.diff_ids.clone(),
                running: container.status().life.is_running(),
            }
        });
        uses.collect()
    }

    /// `docker rmi`.
    pub(crate) async fn remove_image(&self, text: &str, force: bool) -> Result<Vec<Removed>, EngineError> {
        let removed = self.images().remove(text, force, self.image_uses()).await?;
        for one in &removed {
            match one {
                Removed::Untagged(reference) => {
                    self.tell_image("untag", &reference.familiar(), &reference.familiar());
                }
                Removed::Deleted(id) => self.tell_image("delete", &id.to_string(), &id.to_string()),
            }
        }
        Ok(removed)
    }

    /// Tells an event of the image `id`, by the name that the client used.
    pub(crate) fn tell_image(&self, action: &str, id: &str, name: &str) {
        let attributes = [("name".to_owned(), name.to_owned())].into();
        self.events().tell(Subject::Image, action, Actor { id: id.to_owned(), attributes });
    }
}

/// All causes in one line, as moby's wrapped errors read.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

impl From<FindError> for EngineError {
    fn from(error: FindError) -> Self {
        match error {
            FindError::NotFound(text) => Self::NoSuchImage(text),
            FindError::Reference(error) => Self::Invalid(error.to_string()),
        }
    }
}

impl From<RemoveError> for EngineError {
    fn from(error: RemoveError) -> Self {
        let hint = error.hint();
        match error {
            RemoveError::Find(error) => error.into(),
            RemoveError::Store(cause) => Self::System { doing: "cannot remove the image".to_owned(), cause },
            conflict => Self::Image { kind: ErrorKind::Conflict, message: conflict.to_string(), hint },
        }
    }
}

impl From<TagError> for EngineError {
    fn from(error: TagError) -> Self {
        match error {
            TagError::Find(error) => error.into(),
            TagError::Store(cause) => Self::System { doing: "cannot keep the name".to_owned(), cause },
        }
    }
}

impl From<PullError> for EngineError {
    fn from(error: PullError) -> Self {
        let kind = match error.kind() {
            PullErrorKind::NotFound => ErrorKind::NotFound,
            PullErrorKind::Unauthorized => ErrorKind::Unauthorized,
            PullErrorKind::Invalid => ErrorKind::Invalid,
            PullErrorKind::System => ErrorKind::Internal,
        };
        Self::Image { kind, message: chain(&error), hint: error.hint() }
    }
}
