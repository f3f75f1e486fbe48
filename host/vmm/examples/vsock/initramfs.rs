//! An initramfs with one program, /init, and the console it prints to.

use std::io;
use std::path::Path;
use std::process::Command;

/// Compiles the program and packs it as `initramfs` in `folder`.
pub(crate) fn build(source: &Path, folder: &Path) -> io::Result<()> {
    let program = folder.join("guest");
    let status = Command::new("cc").args(["-O2", "-static", "-o"]).arg(&program).arg(source).status()?;
    if !status.success() {
        return Err(io::Error::other("the guest's program does not compile: is libc6-dev installed?"));
    }
    let mut archive = Archive(Vec::new());
    archive.entry("dev", 0o040_755, (0, 0), &[]);
    archive.entry("dev/console", 0o020_600, (5, 1), &[]);
    archive.entry("init", 0o100_755, (0, 0), &std::fs::read(&program)?);
    archive.entry("TRAILER!!!", 0, (0, 0), &[]);
    std::fs::write(folder.join("initramfs"), archive.0)
}

/// The format `newc` of cpio(5).
struct Archive(Vec<u8>);

impl Archive {
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let fields =
            [0, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, device.0, device.1, name.len() as u32 + 1, 0];
        self.0.extend(b"070701");
        for field in fields {
            self.0.extend(format!("{field:08x}").bytes());
        }
        self.0.extend(name.bytes());
        self.0.push(0);
        self.pad();
        self.0.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}
