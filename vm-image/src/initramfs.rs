//! The initramfs: `holmd` as `/init`, the folders it mounts on, and a console to complain to before `/dev` is
//! there. A newc archive (Documentation/driver-api/early-userspace/buffer-format.rst) written by ourselves, as
//! the usual program puts inode numbers and times into it. Not compressed: unpacking would be the longest step
//! of a boot without hardware virtualization, and installers compress it anyway.

/// Where `init` mounts, in the order of the archive.
const FOLDERS: [&str; 6] = ["dev", "proc", "run", "sys", "tmp", "var"];
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;
/// `/dev/console` of Documentation/admin-guide/devices.txt.
const CONSOLE: (u32, u32) = (5, 1);
/// Names and contents start at multiples of this.
const ALIGNMENT: usize = 4;

/// The archive's bytes.
pub(crate) fn archive(holmd: &[u8]) -> Vec<u8> {
    let mut archive = Archive { bytes: Vec::with_capacity(holmd.len() + 4096), entries: 0 };
    for folder in FOLDERS {
        archive.add(folder, FOLDER, (0, 0), &[]);
    }
    archive.add("dev/console", CHARACTER_DEVICE, CONSOLE, &[]);
    archive.add("init", PROGRAM, (0, 0), holmd);
    archive.finish()
}

struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        self.entry(self.entries, name, mode, device, content);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry(0, "TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, inode: u32, name: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        let size = u32::try_from(content.len()).expect("the format ends at 4 GiB, programs long before");
        let name_size = u32::try_from(name.len() + 1).expect("the names above are short");
        // inode, mode, owner, group, links, time, size, device of the file system (2), device (2), name, checksum
        let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        let length = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// What another reader of the format makes of it: mode, owner, size or device, name.
    fn listed(archive: &[u8]) -> String {
        let mut cpio = Command::new("cpio")
            .args(["--list", "--verbose", "--numeric-uid-gid", "--quiet"])
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the package cpio is installed");
        cpio.stdin.take().unwrap().write_all(archive).unwrap();
        String::from_utf8(cpio.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn an_ordinary_reader_finds_the_program_the_folders_and_the_console() {
        let listing = listed(&archive(b"\x7fELF of odd length"));
        let lines: Vec<Vec<&str>> = listing.lines().map(|line| line.split_whitespace().collect()).collect();
        let named = |name| lines.iter().find(|line| line.last() == Some(&name)).unwrap();
        assert_eq!(named("proc")[0], "drwxr-xr-x");
        assert_eq!(named("dev/console")[..6], ["crw-------", "1", "0", "0", "5,", "1"]);
        assert_eq!(named("init")[..5], ["-rwxr-xr-x", "1", "0", "0", "18"]);
        assert_eq!(lines.len(), FOLDERS.len() + 2);
    }

    #[test]
    fn the_same_program_gives_the_same_bytes() {
        assert_eq!(archive(b"holmd"), archive(b"holmd"));
        assert_ne!(archive(b"holmd"), archive(b"other"));
    }

    #[test]
    fn everything_starts_where_the_kernel_looks_for_it() {
        for length in 0..8 {
            let bytes = archive(&vec![b'x'; length]);
            assert_eq!(bytes.len() % ALIGNMENT, 0);
            assert!(
                bytes.windows(6).step_by(ALIGNMENT).filter(|at| at == b"070701").count() == FOLDERS.len() + 3
            );
        }
    }
}
