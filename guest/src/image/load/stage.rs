//! Reads an archive, member by member, into files of the store; what looks like a layer is unpacked meanwhile.

use std::io::Read;
use std::sync::Arc;

use holm_api::Digest;

use super::LoadError;
use super::members::{Member, Members, Staged};
use super::unpackers::{Done, Ground, Queue, Unpacking};
use crate::archive::{Archive, Kind, begins_archive};
use crate::image::stream::{Gauge, Inflow, Packing};

/// Bytes that tell what a file is: one block of a tar.
const FIRST: usize = 512;

/// All members of the archive.
pub(super) fn read(ground: &Ground<'_>, queue: &Queue, input: impl Read) -> Result<Members, LoadError> {
    let mut archive = Archive::new(input);
    let mut members = Members::default();
    while let Some(entry) = archive.next()? {
        if ground.progress.is_closed() {
            return Err(LoadError::Cancelled);
        }
        let Some(path) = members.name(&entry.path)? else { continue };
        let text = |raw: Vec<u8>| String::from_utf8_lossy(&raw).into_owned();
        let member = match entry.kind {
            Kind::Directory => continue,
            Kind::File { size, segments: None } => {
                Member::File(file(ground, queue, &mut archive, &path, size)?)
            }
            Kind::File { .. } => Member::Other("a file with holes"),
            Kind::Symlink(target) => Member::Symlink(text(target)),
            Kind::HardLink(target) => Member::HardLink(text(target)),
            Kind::Character { .. } => Member::Other("a character device"),
            Kind::Block { .. } => Member::Other("a block device"),
            Kind::Fifo => Member::Other("a named pipe"),
        };
        members.add(path, member)?;
    }
    archive.finish()?;
    Ok(members)
}

fn file<R: Read>(
    ground: &Ground<'_>,
    queue: &Queue,
    archive: &mut Archive<R>,
    path: &str,
    size: u64,
) -> Result<Staged, LoadError> {
    let half = ground.shared.blobs.begin().map_err(LoadError::store)?;
    let gauge = Arc::<Gauge>::default();
    let mut inflow = Inflow::new(half.path(), gauge.clone()).map_err(LoadError::store)?;
    let mut first = Vec::new();
    let mut layer = None;
    loop {
        let chunk = archive.chunk(u64::MAX)?;
        let length = chunk.len();
        if length == 0 {
            break;
        }
        let was = first.len();
        first.extend_from_slice(&chunk[..length.min(FIRST - was)]);
        inflow.write(chunk).map_err(LoadError::store)?;
        archive.consume(length);
        if was < FIRST && first.len() == FIRST && is_layer(&first) {
            layer = Some(match known(ground, path) {
                Some(done) => Unpacking::Known(done),
                None => Unpacking::Ordered(queue.order(
                    half.path().to_owned(),
                    gauge.clone(),
                    label(path).to_owned(),
                    size,
                )),
            });
        }
    }
    let digest = inflow.finish_as_found();
    // What is known is known by the name of its file, which need not be true.
    if matches!(layer, Some(Unpacking::Known(_))) && claimed(path) != Some(digest) {
        layer = None;
    }
    Ok(Staged { half: Some(half), digest, size, packing: Packing::of(&first), layer })
}

fn is_layer(first: &[u8]) -> bool {
    Packing::of(first) != Packing::Plain || begins_archive(first)
}

/// The digest that a file in an OCI layout has by its name.
fn claimed(path: &str) -> Option<Digest> {
    format!("sha256:{}", path.strip_prefix("blobs/sha256/")?).parse().ok()
}

/// The layer that the store has of this file, held from now on.
fn known(ground: &Ground<'_>, path: &str) -> Option<Done> {
    let digest = claimed(path)?;
    // Under the lock, so that no removal takes away what is found to be there.
    let _changing = ground.shared.change();
    let diff_id = ground.shared.diff_id_of(&digest).unwrap_or(digest);
    let size = ground.shared.known_size(&diff_id)?;
    if !ground.shared.layers.holds(&diff_id) {
        return None;
    }
    ground.hold(vec![digest, diff_id]);
    Some(Done { diff_id, size })
}

/// What tells a layer from the others: the first part of its path that is a digest, or begins so.
pub(super) fn label(path: &str) -> &str {
    const SHORT: usize = 12;
    let digits = |part: &&str| {
        let start = part.as_bytes().get(..SHORT);
        start.is_some_and(|start| start.iter().all(u8::is_ascii_hexdigit))
    };
    path.split('/').find(digits).map_or(path, |part| &part[..SHORT])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_told_by_the_digits_in_its_path() {
        let hex = "0123456789abcdef".repeat(4);
        for path in [format!("blobs/sha256/{hex}"), format!("{hex}/layer.tar"), format!("{hex}.tar.gz")] {
            assert_eq!(label(&path), "0123456789ab", "{path}");
        }
        assert_eq!(label("layers/base.tar"), "layers/base.tar");
        assert_eq!(claimed(&format!("blobs/sha256/{hex}")).unwrap().hex(), hex);
        assert_eq!(claimed("blobs/sha256/x"), None);
    }

    #[test]
    fn layers_are_known_by_their_first_bytes() {
        assert!(
            is_layer(&crate::image::fake::gzip(b"tar")) && is_layer(&crate::image::fake::layer("a", b"1"))
        );
        assert!(!is_layer(br#"{"schemaVersion":2}"#) && !is_layer(&[0; FIRST]));
    }
}
