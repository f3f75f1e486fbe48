//! The data disk: found, mounted, and grown to the size that the host has given it.
//!
//! It is never checked at boot: ext4 replays its journal when it is mounted, and that is all a lost power leaves.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount as mount_device};

use super::boot::{BootError, failed};
use super::resize::resize;

/// How the host labels the disk. A machine may see its disks in any order.
pub(super) const SERIAL: &str = "holm-data";
/// Where an ext4 file system describes itself, and how many bytes it takes.
const SUPERBLOCK_AT: u64 = 1024;
const SUPERBLOCK_SIZE: usize = 1024;
/// `/sys/block/*/size` counts in these.
const SECTOR: u64 = 512;

/// Finds the disk by its serial number, mounts it at `at` and grows it where it has become larger.
pub(super) fn mount(at: &Path) -> Result<(), BootError> {
    let disk =
        find(Path::new("/sys/block")).map_err(failed("list the disks"))?.ok_or(BootError::NoDataDisk)?;
    let device = Path::new("/dev").join(&disk.name);
    let superblock = read_superblock(&device)
        .map_err(failed(format!("read {}", device.display())))?
        .ok_or_else(|| BootError::NotFormatted(device.clone()))?;

    fs::create_dir_all(at).map_err(failed(format!("make {}", at.display())))?;
    // Without access times: reading a file from a layer would write to the disk. With discard: what is deleted here
    // becomes a hole in the host's file at the next commit of the journal.
    mount_device(&device, at, "ext4", MountFlags::NOATIME, c"discard").map_err(failed(format!(
        "mount {} on {}",
        device.display(),
        at.display()
    )))?;
    if let Some(blocks) = superblock.growth(disk.bytes) {
        let grown = File::open(at).and_then(|root| resize(root.as_fd(), blocks));
        grown.map_err(failed(format!("grow the file system on {}", device.display())))?;
        tracing::info!("the data disk has grown to {} MiB", disk.bytes >> 20);
    }
    Ok(())
}

/// A disk as the kernel lists it.
#[derive(Debug, PartialEq, Eq)]
struct Disk {
    name: PathBuf,
    bytes: u64,
}

/// The disk of ours among those in `/sys/block`.
fn find(blocks: &Path) -> io::Result<Option<Disk>> {
    for entry in fs::read_dir(blocks)? {
        let entry = entry?;
        // Only virtio disks have this file.
        let Ok(serial) = fs::read_to_string(entry.path().join("serial")) else { continue };
        if serial.trim_end() == SERIAL {
            let size = fs::read_to_string(entry.path().join("size"))?;
            let sectors: u64 = size.trim_end().parse().map_err(io::Error::other)?;
            return Ok(Some(Disk { name: entry.file_name().into(), bytes: sectors * SECTOR }));
        }
    }
    Ok(None)
}

/// What ext4's superblock tells (Documentation/filesystems/ext4/super.rst).
#[derive(Debug, PartialEq, Eq)]
struct Superblock {
    blocks: u64,
    block_size: u64,
}

fn read_superblock(device: &Path) -> io::Result<Option<Superblock>> {
    let mut bytes = [0; SUPERBLOCK_SIZE];
    File::open(device)?.read_exact_at(&mut bytes, SUPERBLOCK_AT)?;
    Ok(Superblock::parse(&bytes))
}

impl Superblock {
    /// `None` where it is not that of an ext4.
    fn parse(bytes: &[u8; SUPERBLOCK_SIZE]) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let magic = u16::from_le_bytes([bytes[56], bytes[57]]);
        let shift = word(24);
        // Blocks of 64 KiB are the largest there are.
        if magic != 0xEF53 || shift > 6 {
            return None;
        }
        let blocks = u64::from(word(4)) | (u64::from(word(0x150)) << 32);
        Some(Self { blocks, block_size: 1024 << shift })
    }

    /// How many blocks it can have on a disk of this size; `None` where it has them already.
    fn growth(&self, disk: u64) -> Option<u64> {
        let possible = disk / self.block_size;
        (possible > self.blocks).then_some(possible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock(blocks: u64) -> [u8; SUPERBLOCK_SIZE] {
        let mut bytes = [0; SUPERBLOCK_SIZE];
        bytes[4..8].copy_from_slice(&(blocks as u32).to_le_bytes());
        bytes[0x150..0x154].copy_from_slice(&((blocks >> 32) as u32).to_le_bytes());
        bytes[24..28].copy_from_slice(&2u32.to_le_bytes());
        bytes[56..58].copy_from_slice(&0xEF53u16.to_le_bytes());
        bytes
    }

    #[test]
    fn a_disk_that_became_larger_is_grown_to_its_last_whole_block() {
        let found = Superblock::parse(&superblock(16_384)).unwrap();
        assert_eq!(found, Superblock { blocks: 16_384, block_size: 4096 });
        assert_eq!(found.growth(64 << 20), None);
        assert_eq!(found.growth((64 << 20) - 4096), None);
        assert_eq!(found.growth((1 << 30) + 5), Some(262_144));
    }

    #[test]
    fn a_file_system_over_sixteen_tebibytes_is_read_right() {
        assert_eq!(Superblock::parse(&superblock(5 << 32)).unwrap().blocks, 5 << 32);
    }

    #[test]
    fn an_empty_disk_is_no_file_system() {
        assert_eq!(Superblock::parse(&[0; SUPERBLOCK_SIZE]), None);
    }

    #[test]
    fn our_disk_is_found_whatever_its_letter() {
        let blocks = tempfile::tempdir().unwrap();
        for (name, serial) in [("vda", Some("holm-other")), ("vdb", Some("holm-data\n")), ("loop0", None)] {
            let folder = blocks.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("size"), "131072\n").unwrap();
            if let Some(serial) = serial {
                fs::write(folder.join("serial"), serial).unwrap();
            }
        }
        assert_eq!(find(blocks.path()).unwrap(), Some(Disk { name: "vdb".into(), bytes: 64 << 20 }));
        fs::remove_dir_all(blocks.path().join("vdb")).unwrap();
        assert_eq!(find(blocks.path()).unwrap(), None);
    }
}
