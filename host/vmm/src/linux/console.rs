//! What a machine prints, kept in `console.log` of its folder: bounded, with the previous boot's beside it.
//!
//! The guest decides how much it prints, so a file that only grows would let it fill the host's disk. When the file
//! is full, its older half goes; what a machine says last is what explains its end.

use std::fs::{self, File};
use std::io::{self, PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

/// In the machine's folder.
pub(crate) const FILE: &str = "console.log";
const PREVIOUS: &str = "console.log.1";
/// Bytes of the file at most, and so of both at most twice that.
const LARGEST: usize = 1 << 20;
const DROPPED: &[u8] = b"[... older lines dropped ...]\n";

/// A console that is being read until all writers have closed it.
pub(crate) struct Console {
    path: PathBuf,
    reader: JoinHandle<()>,
}

impl Console {
    /// Starts a new `console.log` in `run` and copies into it what comes out of `output`.
    pub(crate) fn keep(run: &Path, output: PipeReader) -> io::Result<Self> {
        let path = run.join(FILE);
        match fs::rename(&path, run.join(PREVIOUS)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut log = BoundedLog::create(&path, LARGEST)?;
        let reader = thread::Builder::new().name("console".into()).spawn(move || copy(output, &mut log))?;
        Ok(Self { path, reader })
    }

    /// Waits for the end of the output, which comes when the last process that could write has ended, then gives the
    /// last `bytes` of it.
    pub(crate) fn finish(self, bytes: usize) -> String {
        // A panic in there is a bug that has been printed; there is nothing to add here.
        let _ = self.reader.join();
        let all = fs::read(&self.path).unwrap_or_default();
        String::from_utf8_lossy(&all[all.len().saturating_sub(bytes)..]).into_owned()
    }
}

fn copy(mut output: PipeReader, log: &mut BoundedLog) {
    let mut buffer = [0; 4096];
    let mut writable = true;
    loop {
        match output.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) if writable => {
                if let Err(error) = log.append(&buffer[..read]) {
                    tracing::warn!(%error, "the console log cannot be written; the machine runs on without");
                    writable = false;
                }
            }
            // Read on all the same: a full pipe would stop the machine.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

struct BoundedLog {
    path: PathBuf,
    file: File,
    length: usize,
    largest: usize,
}

impl BoundedLog {
    fn create(path: &Path, largest: usize) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: File::create(path)?, length: 0, largest })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.length + bytes.len() > self.largest {
            self.drop_older_half()?;
        }
        self.file.write_all(bytes)?;
        self.length += bytes.len();
        Ok(())
    }

    /// By a new file under the same name, so that somebody who reads the old one is not disturbed.
    fn drop_older_half(&mut self) -> io::Result<()> {
        let all = fs::read(&self.path)?;
        let half = &all[all.len() / 2..];
        // From the start of a line, where there are lines.
        let start = half.iter().position(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let kept = &half[start..];
        let new = self.path.with_extension("log.new");
        let mut file = File::create(&new)?;
        file.write_all(DROPPED)?;
        file.write_all(kept)?;
        fs::rename(&new, &self.path)?;
        self.file = file;
        self.length = DROPPED.len() + kept.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_the_file_stays_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = BoundedLog::create(&path, 1000).unwrap();
        for number in 0..500 {
            log.append(format!("line {number}\n").as_bytes()).unwrap();
            assert!(fs::metadata(&path).unwrap().len() <= 1000);
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("[... older lines dropped ...]\nline "));
        assert!(text.ends_with("line 498\nline 499\n"));
    }

    #[test]
    fn the_previous_boots_console_is_kept_beside_the_new_one() {
        let run = tempfile::tempdir().unwrap();
        for boot in ["first", "second", "third"] {
            let (reader, mut writer) = io::pipe().unwrap();
            let console = Console::keep(run.path(), reader).unwrap();
            writer.write_all(format!("{boot} boot\n").as_bytes()).unwrap();
            drop(writer);
            assert_eq!(console.finish(5), "boot\n");
        }
        assert_eq!(fs::read_to_string(run.path().join(FILE)).unwrap(), "third boot\n");
        assert_eq!(fs::read_to_string(run.path().join(PREVIOUS)).unwrap(), "second boot\n");
    }
}
