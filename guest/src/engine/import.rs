//! `docker import`: an image of a file system, with a configuration of instructions alone.

use std::sync::Arc;

use holm_api::models::ContainerConfig;
use holm_api::{Digest, Reference};

use super::commit::without_nulls;
use super::{Engine, EngineError, instructions};
use crate::image::{ImportWish, Pieces, Platform};

/// What a client wants.
#[derive(Clone, Debug)]
pub(crate) struct ImportRequest {
    /// The image's name; it may have none.
    pub(crate) reference: Option<Reference>,
    /// For which machine.
    pub(crate) platform: Platform,
    /// Free text.
    pub(crate) comment: String,
    /// Instructions of a Dockerfile.
    pub(crate) changes: Vec<String>,
}

impl Engine {
    /// Makes an image of the file system in `tar`.
    pub(crate) async fn import_image(
        self: &Arc<Self>,
        tar: Pieces,
        request: ImportRequest,
    ) -> Result<Digest, EngineError> {
        let platform = request.platform.normal();
        if platform.os != "linux" {
            return Err(EngineError::Invalid("operating system is not supported".to_owned()));
        }
        let mut config = ContainerConfig::default();
        instructions::apply(&request.changes, &mut config)?;
        let wish = ImportWish { config: without_nulls(&config)?, comment: request.comment, platform };
        let imported = self.images().import(tar, wish).await;
        if imported.is_err() {
            self.sweep_images().await;
        }
        let id = imported?;
        let shown = id.to_string();
        if let Some(reference) = request.reference {
            let name = reference.familiar();
            self.images().tag(id, reference).await?;
            self.tell_image("tag", &shown, &name);
        }
        self.tell_image("import", &shown, &shown);
        Ok(id)
    }
}
