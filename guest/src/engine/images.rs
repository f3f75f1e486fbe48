//! Introduces images to layers and containers, and turns what goes wrong with images into the engine's words.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};

use bytes::Bytes;
use holm_api::{Digest, Reference};
use tokio::sync::mpsc;

use super::events::{Actor, Subject};
use super::{Engine, EngineError, ErrorKind};
use crate::image::{
    ContainerUse, FindError, Image, LayerSink, LoadError, LoadProgress, Loaded, LoginError, Pieces, Platform,
    PullError, PullErrorKind, PullProgress, PullRequest, PushError, RegistryError, RemoveError, Removed,
    SaveError, SearchError, TagError, chain_ids,
};
use crate::snapshot::Layers;

impl LayerSink for Layers {
    fn holds(&self, diff_id: &Digest) -> bool {
        Layers::holds(self, diff_id)
    }

    fn unpack_as(&self, tar: &mut dyn Read, found: &dyn Fn() -> io::Result<Digest>) -> io::Result<u64> {
        Ok(Layers::unpack(self, tar, found)?)
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
    /// Which images containers stand on, or have mounted.
    pub(crate) fn image_uses(&self) -> Vec<ContainerUse> {
        let uses = self.containers().into_iter().flat_map(|container| {
            let definition = container.definition();
            let running = container.status().life.is_running();
            let images: Vec<_> = definition.images().collect();
            images.into_iter().map(move |(image, layers)| ContainerUse {
                container: container.id().clone(),
                image,
                layers,
                running,
            })
        });
        uses.collect()
    }

    /// The image that a client means, if it is for the platform that it wants.
    pub(crate) fn image(&self, text: &str, platform: Option<&Platform>) -> Result<Image, EngineError> {
        let image = self.images().find(text)?;
        let offered = image.config().platform();
        match platform {
            Some(wanted) if wanted.fit(&offered).is_none() => Err(EngineError::Image {
                // The client pulls the right one when it hears this.
                kind: ErrorKind::NotFound,
                message: format!(
                    "image with reference {text} was found but its platform ({offered}) does not match the specified platform ({wanted})"
                ),
                hint: None,
            }),
            _ => Ok(image),
        }
    }

    /// `docker rmi`.
    pub(crate) async fn remove_image(&self, text: &str, force: bool) -> Result<Vec<Removed>, EngineError> {
        // Known by its labels as long as it is there.
        let image = self.images().find(text).ok().map(|image| (image.id(), labels(&image)));
        let removed = self.images().remove(text, force, self.image_uses()).await?;
        let Some((image, labels)) = image else { return Ok(removed) };
        for one in &removed {
            let name = image.to_string();
            match one {
                Removed::Untagged(_) => self.tell_image_with("untag", name.clone(), &name, labels.clone()),
                Removed::Deleted(id) if *id == image => {
                    self.tell_image_with("delete", name.clone(), &name, BTreeMap::new());
                }
                // Its layers, which are no images.
                Removed::Deleted(_) => {}
            }
        }
        Ok(removed)
    }

    /// Removes all images that no container stands on and that are `wanted`: those without a name by tag, or, with
    /// `named`, all of them. What is removed is in the order in which it went.
    pub(crate) async fn prune_images(
        &self,
        named: bool,
        wanted: impl Fn(&Image) -> bool,
    ) -> Result<(Vec<Removed>, u64), EngineError> {
        let Ok(_alone) = self.pruning_images.try_lock() else {
            return Err(EngineError::Conflict("a prune operation is already running".to_owned()));
        };
        let all = self.images().list();
        let sizes: HashMap<Digest, u64> = all
            .iter()
            .flat_map(|image| {
                let sizes = image.layers().iter().map(|layer| layer.size);
                chain_ids(&image.diff_ids()).into_iter().zip(sizes).collect::<Vec<_>>()
            })
            .collect();
        let mut removed = Vec::new();
        for image in all.iter().filter(|image| wanted(image)) {
            if !named && !image.repo_tags().is_empty() {
                continue;
            }
            // By each of its names, or by its id where it has none; one that is in use stays, and that is fine.
            let names = image.references().iter().map(Reference::familiar);
            let by_id = image.references().is_empty().then(|| image.id().to_string());
            for text in names.chain(by_id) {
                match self.remove_image(&text, false).await {
                    Ok(more) => removed.extend(more),
                    Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {}
                    Err(error) => tracing::warn!("failed to prune image {text}: {error}"),
                }
            }
        }
        let freed = |one: &Removed| match one {
            Removed::Deleted(id) => sizes.get(id).copied().unwrap_or(0),
            Removed::Untagged(_) => 0,
        };
        let reclaimed = removed.iter().map(freed).sum();
        self.tell_prune(Subject::Image, reclaimed);
        Ok((removed, reclaimed))
    }

    /// `docker pull`: of a name without tag and digest, all tags. It is called off when nobody takes its progress any more.
    pub(crate) async fn pull_image(
        &self,
        request: PullRequest,
        progress: mpsc::Sender<PullProgress>,
    ) -> Result<(), EngineError> {
        let listener = progress.clone();
        let pull = async {
            match request.reference.tag().is_none() && request.reference.digest().is_none() {
                true => self.images().pull_all(request, progress).await,
                false => self.images().pull(request, progress).await.map(drop),
            }
        };
        let pulled = tokio::select! {
            pulled = pull => pulled,
            () = listener.closed() => Err(PullError::Cancelled),
        };
        drop(listener);
        if pulled.is_err() {
            // Layers that came before it failed are whole, and nobody's.
            self.sweep_images().await;
        }
        Ok(pulled?)
    }

    /// `docker load`.
    pub(crate) async fn load_images(
        &self,
        archive: Pieces,
        platform: Option<Platform>,
        progress: mpsc::Sender<LoadProgress>,
    ) -> Result<Vec<Loaded>, EngineError> {
        let loaded = self.images().load(archive, platform, progress).await;
        // What no image wants stays otherwise: of an archive that was refused, and of one that held more.
        self.sweep_images().await;
        let loaded = loaded?;
        for image in &loaded {
            let id = image.id.to_string();
            self.tell_image("load", &id, &id);
        }
        Ok(loaded)
    }

    /// `docker save`. The archive's images are there until its last byte is taken.
    pub(crate) async fn save_images(
        &self,
        names: Vec<String>,
        platform: Option<Platform>,
    ) -> Result<mpsc::Receiver<io::Result<Bytes>>, EngineError> {
        let archive = self.images().archive(names, platform).await?;
        for id in archive.ids() {
            self.tell_image("save", &id.to_string(), &id.to_string());
        }
        Ok(archive.send())
    }

    /// Removes what a pull or load has left that came to no image.
    pub(crate) async fn sweep_images(&self) {
        if let Err(error) = self.images().sweep(self.image_uses()).await {
            tracing::warn!("what belongs to no image stays until the next start: {error}");
        }
    }

    /// Tells an event of the image that `id` means, by the name that moby gives it there.
    pub(crate) fn tell_image(&self, action: &str, id: &str, name: &str) {
        let labels = self.images().find(id).map(|image| labels(&image)).unwrap_or_default();
        self.tell_image_with(action, id.to_owned(), name, labels);
    }

    fn tell_image_with(&self, action: &str, id: String, name: &str, labels: BTreeMap<String, String>) {
        let mut attributes = labels;
        attributes.insert("name".to_owned(), name.to_owned());
        self.events().tell(Subject::Image, action, Actor { id, attributes });
    }
}

fn labels(image: &Image) -> BTreeMap<String, String> {
    let labels = image.config().config.labels.iter().flatten();
    labels.map(|(key, value)| (key.clone(), value.clone())).collect()
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

impl From<SaveError> for EngineError {
    fn from(error: SaveError) -> Self {
        match error {
            SaveError::Find(error) => error.into(),
            SaveError::Reference(error) => Self::Invalid(error.to_string()),
            SaveError::NoSuchName => Self::NotFound(error.to_string()),
            SaveError::Platform(_) => Self::Internal(error.to_string()),
            SaveError::Store(cause) => Self::System { doing: "cannot read the image".to_owned(), cause },
        }
    }
}

impl From<LoadError> for EngineError {
    fn from(error: LoadError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self::Image { kind: ErrorKind::Internal, message: chain(&error), hint }
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

impl From<PushError> for EngineError {
    fn from(error: PushError) -> Self {
        let kind = match &error {
            PushError::Platform { .. } => ErrorKind::NotFound,
            PushError::Find(_) | PushError::Registry(_) | PushError::Store(_) => ErrorKind::Internal,
            _ => ErrorKind::Invalid,
        };
        let hint = error.hint();
        match error {
            PushError::Find(error) => error.into(),
            other => Self::Image { kind, message: chain(&other), hint },
        }
    }
}

impl From<LoginError> for EngineError {
    fn from(error: LoginError) -> Self {
        let (kind, hint) = match &error {
            LoginError::Unauthorized { .. } => (ErrorKind::Unauthorized, None),
            LoginError::Registry(error @ RegistryError::Settings(_)) => (ErrorKind::Invalid, error.hint()),
            LoginError::Registry(error) => (ErrorKind::Internal, error.hint()),
            LoginError::Missing { .. } | LoginError::Refused { .. } => (ErrorKind::Internal, None),
        };
        // Its cause is part of its words.
        Self::Image { kind, message: error.to_string(), hint }
    }
}

impl From<RegistryError> for EngineError {
    fn from(error: RegistryError) -> Self {
        // As the distribution specification has them.
        let kind = match &error {
            RegistryError::Refused { code, .. } => match code.as_str() {
                "UNAUTHORIZED" => ErrorKind::Unauthorized,
                "DENIED" => ErrorKind::Forbidden,
                "MANIFEST_UNKNOWN" | "NAME_UNKNOWN" => ErrorKind::NotFound,
                "NAME_INVALID" | "TAG_INVALID" => ErrorKind::Invalid,
                _ => ErrorKind::Internal,
            },
            _ => ErrorKind::Internal,
        };
        Self::Image { kind, message: error.to_string(), hint: error.hint() }
    }
}

impl From<SearchError> for EngineError {
    fn from(error: SearchError) -> Self {
        let (kind, hint) = match &error {
            SearchError::Invalid(_) => (ErrorKind::Invalid, None),
            SearchError::Endpoint { cause, .. } => (ErrorKind::Invalid, cause.hint()),
            SearchError::Status(_) => (ErrorKind::Internal, None),
            SearchError::Registry(error) => (ErrorKind::Internal, error.hint()),
        };
        Self::Image { kind, message: error.to_string(), hint }
    }
}
