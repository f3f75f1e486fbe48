//! The empty data disk: a small ext4 file system that is copied once a machine and grown on line to the size the
//! user wants, which takes a fraction of a second where making a large one would take many. It is the same for
//! every build: identity, hash seed and times are fixed.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::command::{command, run};

/// Large enough for a journal of 8 MiB, small enough to be kilobytes when compressed.
const SIZE: u64 = 64 << 20;
/// Written out, since the defaults come from the builder's `/etc/mke2fs.conf`. `resize_inode` and the 64-bit
/// descriptors are what growing on line needs; `metadata_csum` finds what a failing disk breaks.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,\
                        sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";
/// Names the template; no two of a machine's file systems are ever told apart by it.
const IDENTITY: &str = "6f1b5c7e-5d0a-4d36-9a3e-486f6c6d0001";
/// Keys the hashes of directory entries.
const HASH_SEED: &str = "6f1b5c7e-5d0a-4d36-9a3e-486f6c6d0002";
/// 2026-01-01T00:00:00Z, for all that mkfs dates.
const MADE_AT: &str = "1767225600";
const COMPRESSION: i32 = 19;

/// The disk's bytes, compressed by zstd.
pub(crate) fn template() -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let disk = folder.path().join("data.ext4");
    File::create(&disk)?.set_len(SIZE)?;
    make_file_system(&disk)?;
    Ok(zstd::encode_all(fs::read(&disk)?.as_slice(), COMPRESSION)?)
}

fn make_file_system(disk: &Path) -> Result<()> {
    // Blocks of 4 KiB, never smaller: with 1 KiB ones a disk cannot grow past 16 TB nor be quick.
    let extended = format!("lazy_itable_init=1,nodiscard,root_owner=0:0,hash_seed={HASH_SEED}");
    run(command("mkfs.ext4")
        .args(["-q", "-F", "-b", "4096", "-i", "16384", "-I", "256", "-m", "0", "-J", "size=8"])
        .args(["-L", "holm-data", "-U", IDENTITY, "-O", FEATURES, "-E", &extended])
        .arg(disk)
        .env("E2FSPROGS_FAKE_TIME", MADE_AT)
        .env("SOURCE_DATE_EPOCH", MADE_AT)
        .stdout(Stdio::null()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_templates_are_the_same_bytes() {
        assert_eq!(template().unwrap(), template().unwrap());
    }

    #[test]
    fn a_template_is_small_and_passes_the_check() {
        let compressed = template().unwrap();
        assert!(compressed.len() < 16 << 10, "{} bytes", compressed.len());
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("data.ext4");
        fs::write(&disk, zstd::decode_all(compressed.as_slice()).unwrap()).unwrap();
        assert_eq!(fs::metadata(&disk).unwrap().len(), SIZE);
        run(command("e2fsck").args(["-f", "-n"]).arg(&disk).stdout(Stdio::null()).stderr(Stdio::null()))
            .unwrap();
    }
}
