//! `holmd compress`: makes `<log>.1.gz` of `<log>.1`, in a process of its own, since the shim has one thread and a
//! container that writes. The whole file appears at once, and only then does the other one go: a reader always finds
//! one of them.
//!
//! ```text
//!   rotated ── Compressor::start ──► running ── the shim reaps it ──► idle
//! ```

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// Below what whoever waits for an answer has.
const NICENESS: i32 = 10;
/// Bytes copied at once.
const BLOCK: usize = 256 * 1024;

/// What a compressed log was made of: tells a reader that it has it open already. In the gzip header's extra field,
/// where moby keeps such things; an inode's number alone will be that of another file tomorrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    inode: u64,
    length: u64,
    /// Nanoseconds since the Unix epoch.
    written: i128,
}

impl Source {
    /// What a file is by now. One that was rotated away changes no more.
    pub(crate) fn of(file: &Metadata) -> Self {
        let written = i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec());
        Self { inode: file.ino(), length: file.len(), written }
    }

    /// The file's number while it was there.
    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }

    /// What `compressed` was made of; `None` where it does not say.
    pub(crate) fn noted(compressed: impl Read) -> Option<Self> {
        let decoder = GzDecoder::new(io::BufReader::new(compressed));
        serde_json::from_slice::<Extra>(decoder.header()?.extra()?).ok().map(|extra| extra.source)
    }
}

#[derive(Serialize, Deserialize)]
struct Extra {
    source: Source,
}

/// Where the compressed form of a log is.
pub(crate) fn compressed(path: &Path) -> PathBuf {
    with_end(path, ".gz")
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// `holmd compress <path>`
pub fn run(path: &Path) -> ExitCode {
    // It may well be refused; then it is only quicker than need be.
    let _ = rustix::process::nice(NICENESS);
    match compress(path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("cannot compress {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

/// Leaves one of the two files, whatever happens.
pub(crate) fn compress(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let extra = Extra { source: Source::of(&file.metadata()?) };
    let unfinished = with_end(path, ".gz.new");
    let made = File::options().create(true).write(true).truncate(true).mode(0o640).open(&unfinished)?;
    let result = (|| {
        let mut encoder =
            GzBuilder::new().extra(serde_json::to_vec(&extra)?).write(made, Compression::default());
        let mut block = vec![0; BLOCK];
        loop {
            match file.read(&mut block)? {
                0 => break encoder.finish()?.sync_data(),
                length => encoder.write_all(&block[..length])?,
            }
        }
    })();
    if let Err(error) = result {
        fs::remove_file(&unfinished)?;
        return Err(error);
    }
    fs::rename(&unfinished, compressed(path))?;
    fs::remove_file(path)
}

/// The one that runs for a log, if any.
#[derive(Debug, Default)]
pub(super) struct Compressor {
    running: Option<u32>,
}

impl Compressor {
    /// Whether the file that was rotated away last is being read.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts on `path`. One must not run already.
    pub(super) fn start(&mut self, path: &Path) -> io::Result<()> {
        let child = Command::new("/proc/self/exe")
            .arg("compress")
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        self.running = Some(child.id());
        Ok(())
    }

    /// Ends it, if it runs: nothing of a container's is touched when its end is told. The log stays as it is.
    pub(super) fn stop(&mut self) {
        let running = self.running.take().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        // It is not reaped, so its number is its own.
        if let Some(Err(error)) = running.map(|pid| kill_process(pid, Signal::KILL)) {
            tracing::warn!("cannot end the compression of a log: {error}");
        }
    }

    /// A child of the shim was reaped; it may be another.
    pub(super) fn ended(&mut self, pid: i32) {
        if self.running.is_some_and(|running| i32::try_from(running) == Ok(pid)) {
            self.running = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_in_one_form_or_the_other_and_says_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.1");
        let text = "a line\n".repeat(100_000);
        fs::write(&path, &text).unwrap();
        let source = Source::of(&fs::metadata(&path).unwrap());
        compress(&path).unwrap();
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["log.1.gz"]);
        let mut read = String::new();
        let open = || File::open(compressed(&path)).unwrap();
        GzDecoder::new(io::BufReader::new(open())).read_to_string(&mut read).unwrap();
        assert!(read == text && open().metadata().unwrap().len() < 10_000);
        assert_eq!(Source::noted(open()), Some(source));
    }

    #[test]
    fn what_others_compressed_says_nothing() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"x").unwrap();
        assert_eq!(Source::noted(encoder.finish().unwrap().as_slice()), None);
        assert_eq!(Source::noted(b"no gzip".as_slice()), None);
    }
}
