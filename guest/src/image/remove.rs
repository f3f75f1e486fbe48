//! Takes names and images away, by the rules of `docker rmi`.

use std::io;

use holm_api::{ContainerId, Digest, Reference};

use super::find::{FindError, is_id_prefix};
use super::record::chain_ids;
use super::{Images, Shared};

/// A container, as far as it keeps an image from being removed. The engine lists them all.
#[derive(Clone, Debug)]
pub(crate) struct ContainerUse {
    /// Which container.
    pub(crate) container: ContainerId,
    /// Id of the image it was made of.
    pub(crate) image: Digest,
    /// Its layers, which stay for as long as it does.
    pub(crate) layers: Vec<Digest>,
    /// Whether it runs (or is paused).
    pub(crate) running: bool,
}

/// One thing that went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    /// A name.
    Untagged(Reference),
    /// An image, by its id, or a stack of layers, by its chain id.
    Deleted(Digest),
}

/// Why an image was not removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoveError {
    /// There is no such image.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Taking the last name would leave a container's image without any.
    #[error(
        "conflict: unable to remove repository reference {reference:?} (must force) - container {container} \
         is using its referenced image {image}"
    )]
    NameInUse {
        /// As typed.
        reference: String,
        /// Short id.
        container: String,
        /// Short id.
        image: String,
    },
    /// The image stays because of something.
    #[error("conflict: unable to delete {image} ({}) - {reason}", if *hard { "cannot be forced" } else { "must be forced" })]
    InUse {
        /// Short id.
        image: String,
        /// Whether force does not help either.
        hard: bool,
        /// What.
        reason: String,
    },
    /// The machine's disk does not do what it should.
    #[error("cannot remove the image")]
    Store(#[from] io::Error),
}

impl RemoveError {
    /// What the user can do about it, where we know.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NameInUse { container, .. } => {
                Some(format!("remove the container first: holm rm {container}"))
            }
            _ => None,
        }
    }
}

impl Images {
    /// Removes what `text` names: a name, or, by its id or as its last name went, the image. Blobs and layers
    /// that nothing needs any more go with it.
    pub(crate) async fn remove(
        &self,
        text: &str,
        force: bool,
        containers: Vec<ContainerUse>,
    ) -> Result<Vec<Removed>, RemoveError> {
        let (images, text) = (self.clone(), text.to_owned());
        super::blocking(move || images.remove_blocking(&text, force, &containers)).await
    }

    /// Removes blobs and layers that nothing needs: what a pull or load that failed, or was called off, has left.
    pub(crate) async fn sweep(&self, containers: Vec<ContainerUse>) -> io::Result<()> {
        let shared = self.shared.clone();
        super::blocking(move || {
            let kept: Vec<Digest> = containers.into_iter().flat_map(|container| container.layers).collect();
            shared.sweep(&shared.change(), &kept).map(drop)
        })
        .await
    }

    fn remove_blocking(
        &self,
        text: &str,
        force: bool,
        containers: &[ContainerUse],
    ) -> Result<Vec<Removed>, RemoveError> {
        let changing = self.shared.change();
        let image = self.find(text)?;
        let id = image.id();
        let user = containers.iter().find(|container| container.image == id);
        let mut removed = Vec::new();
        let mut untag = image.references().to_vec();
        let quiet = !is_id_prefix(&id, text);

        if quiet {
            if !force
                && is_single(image.references())
                && let Some(user) = user
            {
                return Err(RemoveError::NameInUse {
                    reference: text.to_owned(),
                    container: user.container.short().to_owned(),
                    image: id.short(),
                });
            }
            let reference: Reference = text.parse().map_err(FindError::from)?;
            untag = names_that_go(&reference, image.references());
            self.shared.untag(&changing, &untag)?;
            removed.extend(untag.iter().cloned().map(Removed::Untagged));
            if image.references().len() > untag.len() {
                return Ok(removed);
            }
            untag.clear();
        }

        let conflict = |hard, reason| RemoveError::InUse { image: id.short(), hard, reason };
        if let Some(user) = containers.iter().find(|container| container.image == id && container.running) {
            let reason = format!("image is being used by running container {}", user.container.short());
            // Its name went; that a container still stands on the image is no failure.
            return if quiet { Ok(removed) } else { Err(conflict(true, reason)) };
        }
        if !force {
            if !quiet && !is_single(image.references()) && !image.references().is_empty() {
                return Err(conflict(false, "image is referenced in multiple repositories".to_owned()));
            }
            if let Some(user) = user {
                let reason = format!("image is being used by stopped container {}", user.container.short());
                return if quiet { Ok(removed) } else { Err(conflict(false, reason)) };
            }
        }
        if !untag.is_empty() {
            self.shared.untag(&changing, &untag)?;
            removed.extend(untag.into_iter().map(Removed::Untagged));
        }
        self.shared.forget(&changing, &id)?;
        removed.push(Removed::Deleted(id));

        let kept: Vec<Digest> = containers.iter().flat_map(|container| container.layers.clone()).collect();
        let gone = self.shared.sweep(&changing, &kept)?;
        let diff_ids = image.diff_ids();
        let stacks = diff_ids.iter().zip(chain_ids(&diff_ids)).rev();
        removed.extend(
            stacks.filter(|(layer, _)| gone.contains(layer)).map(|(_, chain)| Removed::Deleted(chain)),
        );
        Ok(removed)
    }
}

/// The name itself, and with a repository's last tag the digests that came with it.
fn names_that_go(reference: &Reference, all: &[Reference]) -> Vec<Reference> {
    let reference = match reference.digest() {
        Some(digest) => reference.with_digest(digest),
        None => reference.clone().or_latest(),
    };
    let same_repository = |other: &&Reference| other.familiar_name() == reference.familiar_name();
    let other_tag = all.iter().filter(same_repository).any(|name| name.tag().is_some() && *name != reference);
    let digests = all.iter().filter(same_repository).filter(|name| name.digest().is_some());
    let with_digests = reference.tag().is_some() && !other_tag;
    let mut names = vec![reference.clone()];
    names.extend(digests.filter(|_| with_digests).cloned());
    names
}

/// Whether all names are of one repository, with at most one tag.
fn is_single(names: &[Reference]) -> bool {
    let Some(first) = names.first() else { return false };
    names.iter().all(|name| name.familiar_name() == first.familiar_name())
        && names.iter().filter(|name| name.tag().is_some()).count() <= 1
}

impl Shared {
    /// Removes blobs and layers that no record, no container (`kept`) and no pull in progress needs, and says
    /// which layers went.
    pub(super) fn sweep(&self, _: &super::Changing<'_>, kept: &[Digest]) -> io::Result<Vec<Digest>> {
        let needed = self.needed(kept);
        let mut gone = Vec::new();
        for layer in self.layers.list()? {
            if !needed.contains(&layer) {
                self.layers.remove(&layer)?;
                self.table().sizes.remove(&layer);
                gone.push(layer);
            }
        }
        for blob in self.blobs.list()? {
            if !needed.contains(&blob) {
                self.blobs.remove(&blob)?;
            }
        }
        Ok(gone)
    }
}
