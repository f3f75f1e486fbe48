//! The data disk: a sparse file made once from the image's empty file system. It only ever grows here; the guest
//! grows the file system to it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use holm_vmm::Mebibytes;
use ruzstd::decoding::StreamingDecoder;

/// Makes the disk from `template` (zstd) where there is none, and lets the file be at least `size`.
///
/// A crash on the way leaves no disk or a whole one: it is made under another name, synced and renamed.
pub(super) fn prepare(disk: &Path, template: &Path, size: Mebibytes) -> io::Result<()> {
    if !disk.try_exists()? {
        let unfinished = disk.with_extension("img.new");
        let mut from =
            StreamingDecoder::new(io::BufReader::new(File::open(template)?)).map_err(io::Error::other)?;
        let mut to = crate::os::create_private_file(&unfinished)?;
        copy_sparse(&mut from, &mut to)?;
        to.sync_all()?;
        fs::rename(&unfinished, disk)?;
        crate::os::sync_folder(disk)?;
    }
    let file = File::options().write(true).open(disk)?;
    if file.metadata()?.len() < size.bytes() {
        file.set_len(size.bytes())?;
        file.sync_all()?;
    }
    Ok(())
}

/// Copies, and leaves out blocks of zeros: most of an empty file system.
fn copy_sparse(from: &mut impl io::Read, to: &mut File) -> io::Result<()> {
    use io::{Seek, SeekFrom, Write};
    let mut block = vec![0; 4096];
    let mut length = 0;
    loop {
        let mut filled = 0;
        while filled < block.len() {
            match from.read(&mut block[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        if filled == 0 {
            break;
        }
        length += filled as u64;
        if block[..filled].iter().all(|byte| *byte == 0) {
            to.seek(SeekFrom::Current(filled as i64))?;
        } else {
            to.write_all(&block[..filled])?;
        }
    }
    to.set_len(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// A zstd frame of one raw block (RFC 8878): "holm".
    const TEMPLATE: &[u8] = b"\x28\xb5\x2f\xfd\x20\x04\x21\x00\x00holm";

    #[test]
    fn a_new_disk_is_the_template_at_its_full_size() {
        let folder = tempfile::tempdir().unwrap();
        let (template, disk) = (folder.path().join("data.ext4.zst"), folder.path().join("data.img"));
        fs::write(&template, TEMPLATE).unwrap();
        prepare(&disk, &template, Mebibytes(1)).unwrap();
        let mut bytes = Vec::new();
        File::open(&disk).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(&bytes[..4], b"holm");
        assert_eq!(bytes.len(), 1 << 20);
    }

    #[test]
    fn a_disk_that_is_there_keeps_its_data_and_never_shrinks() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("data.img");
        fs::write(&disk, vec![7; 3 << 20]).unwrap();
        prepare(&disk, Path::new("/nonexistent"), Mebibytes(1)).unwrap();
        assert_eq!(fs::read(&disk).unwrap(), vec![7; 3 << 20]);
    }

    #[test]
    fn zeros_take_no_place() {
        use std::io::Seek;
        let mut file = tempfile::tempfile().unwrap();
        let bytes = [vec![1; 4096], vec![0; 1 << 20], vec![2; 100]].concat();
        copy_sparse(&mut bytes.as_slice(), &mut file).unwrap();
        file.rewind().unwrap();
        let mut copy = Vec::new();
        file.read_to_end(&mut copy).unwrap();
        assert!(copy == bytes);
    }
}
