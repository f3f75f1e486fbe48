//! Which reference means which image. One small file, rewritten as a whole with every change.

use std::collections::BTreeMap;

use holm_api::{Digest, Reference};
use serde::{Deserialize, Serialize};

/// References to image ids. A reference in here has a tag or a digest, never both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Names(BTreeMap<Reference, Digest>);

impl Names {
    /// The image that `reference` means. As in Docker, a digest beats a tag, and neither means `latest`.
    pub(super) fn get(&self, reference: &Reference) -> Option<Digest> {
        self.0.get(&key(reference)).copied()
    }

    /// Gives the image this name, and takes it from another that had it.
    pub(super) fn set(&mut self, reference: &Reference, id: Digest) {
        self.0.insert(key(reference), id);
    }

    /// Takes the name away.
    pub(super) fn remove(&mut self, reference: &Reference) {
        self.0.remove(&key(reference));
    }

    /// All names of an image, in the order of their text: tags before digests.
    pub(super) fn of(&self, id: &Digest) -> Vec<Reference> {
        let named = self.0.iter().filter(|(_, named)| *named == id);
        let mut names: Vec<Reference> = named.map(|(reference, _)| reference.clone()).collect();
        names.sort_by_cached_key(Reference::familiar);
        names
    }

    /// All of them.
    pub(super) fn all(&self) -> &BTreeMap<Reference, Digest> {
        &self.0
    }

    /// Drops names of images that are not there.
    pub(super) fn retain(&mut self, is_there: impl Fn(&Digest) -> bool) {
        self.0.retain(|_, id| is_there(id));
    }
}

fn key(reference: &Reference) -> Reference {
    match reference.digest() {
        Some(digest) => reference.with_digest(digest),
        None => reference.clone().or_latest(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_without_tag_means_latest_and_a_digest_beats_a_tag() {
        let [a, b] = [Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32])];
        let mut names = Names::default();
        names.set(&reference("app"), a);
        names.set(&reference(&format!("app:latest@{b}")), b);
        assert_eq!(names.get(&reference("app:latest")), Some(a));
        assert_eq!(names.get(&reference(&format!("app@{b}"))), Some(b));
        assert_eq!(names.get(&reference(&format!("app:other@{b}"))), Some(b));
    }

    #[test]
    fn the_table_reads_back_as_it_was_written() {
        let mut names = Names::default();
        names.set(&reference("localhost:5000/a:1"), Digest::from_bytes([1; 32]));
        let text = serde_json::to_vec(&names).unwrap();
        assert_eq!(serde_json::from_slice::<Names>(&text).unwrap(), names);
    }
}
