//! The files of one log: the current one and those that were rotated away, `<path>.1` being the newest of them.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use memchr::memchr;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::tail;

/// Bytes read at once.
const BLOCK: usize = 256 * 1024;
/// The shim writes lines of at most 16 KiB, which JSON can make six times as long. What is longer is no line.
const LONGEST_LINE: usize = 256 * 1024;

/// Files that are still to be read, the oldest first. They are open, so that a rotation takes none away.
pub(super) struct Files {
    path: PathBuf,
    waiting: VecDeque<Lines>,
    /// The file that was current when last looked, read to its end so far.
    current: Option<Lines>,
}

impl Files {
    /// Opens all there are; a container that never ran has none.
    pub(super) async fn open(path: PathBuf) -> io::Result<Self> {
        let mut waiting = VecDeque::new();
        // The current one first: a rotation in between makes us see it a second time, which is noticed, and
        // the other way round would lose it.
        if let Some(current) = Lines::open(&path).await? {
            waiting.push_front(current);
        }
        for number in 1.. {
            let Some(rotated) = Lines::open(&numbered(&path, number)).await? else { break };
            if waiting.iter().all(|seen| seen.inode != rotated.inode) {
                waiting.push_front(rotated);
            }
        }
        Ok(Self { path, waiting, current: None })
    }

    /// Passes over all but the last `lines` lines.
    pub(super) async fn skip_to_tail(&mut self, mut lines: u64) -> io::Result<()> {
        for file in self.waiting.iter_mut().rev() {
            lines -= tail::seek(&mut file.file, lines).await?;
        }
        Ok(())
    }

    /// The next file to read from.
    pub(super) async fn next(&mut self) -> io::Result<Option<Lines>> {
        Ok(self.waiting.pop_front())
    }

    /// Takes back a file whose end was reached.
    pub(super) fn done_with(&mut self, lines: Lines) {
        self.current = Some(lines);
    }

    /// Looks for more to read: in the file that was current, and in the one that has taken its place.
    pub(super) async fn look_again(&mut self) -> io::Result<()> {
        let newest = Lines::open(&self.path).await?;
        let Some(current) = self.current.take() else {
            self.waiting.extend(newest);
            return Ok(());
        };
        let inode = current.inode;
        self.waiting.push_back(current);
        let Some(newest) = newest.filter(|newest| newest.inode != inode) else { return Ok(()) };
        // More than one rotation since we last looked: those in between are numbered.
        let mut between = Vec::new();
        for number in 1.. {
            match Lines::open(&numbered(&self.path, number)).await? {
                Some(file) if file.inode != inode && file.inode != newest.inode => between.push(file),
                _ => break,
            }
        }
        self.waiting.extend(between.into_iter().rev());
        self.waiting.push_back(newest);
        Ok(())
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// A file, line by line. Its end may be the end of only what is written so far.
pub(super) struct Lines {
    file: File,
    inode: u64,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were given out.
    used: usize,
    /// Bytes after `used` in which there is no newline.
    searched: usize,
}

impl Lines {
    async fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path).await {
            Ok(file) => {
                let inode = file.metadata().await?.ino();
                Ok(Some(Self { file, inode, buffer: Vec::new(), used: 0, searched: 0 }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next whole line. What has no newline yet is kept for the next time.
    pub(super) async fn next(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let unseen = self.used + self.searched;
            if let Some(newline) = memchr(b'\n', &self.buffer[unseen..]) {
                let start = std::mem::replace(&mut self.used, unseen + newline + 1);
                self.searched = 0;
                return Ok(Some(&self.buffer[start..self.used - 1]));
            }
            self.buffer.drain(..self.used);
            self.used = 0;
            if self.buffer.len() > LONGEST_LINE {
                self.buffer.clear();
            }
            self.searched = self.buffer.len();
            self.buffer.reserve(BLOCK);
            let mut limited = (&mut self.file).take(BLOCK as u64);
            if limited.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    async fn all(files: &mut Files) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(mut lines) = files.next().await.unwrap() {
            while let Some(line) = lines.next().await.unwrap() {
                texts.push(String::from_utf8(line.to_vec()).unwrap());
            }
            files.done_with(lines);
        }
        texts
    }

    #[tokio::test]
    async fn rotated_files_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(numbered(&path, 2), "one\n").unwrap();
        fs::write(numbered(&path, 1), "two\nthree\n").unwrap();
        fs::write(&path, "four\nfi").unwrap();
        let mut files = Files::open(path.clone()).await.unwrap();
        assert_eq!(all(&mut files).await, ["one", "two", "three", "four"]);
        let mut files = Files::open(path).await.unwrap();
        files.skip_to_tail(2).await.unwrap();
        assert_eq!(all(&mut files).await, ["three", "four"]);
    }

    #[tokio::test]
    async fn what_is_written_later_is_found_through_rotations() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "one\ntw").unwrap();
        let mut files = Files::open(path.clone()).await.unwrap();
        assert_eq!(all(&mut files).await, ["one"]);
        let mut appended = fs::OpenOptions::new().append(true).open(&path).unwrap();
        io::Write::write_all(&mut appended, b"o\n").unwrap();
        fs::rename(&path, numbered(&path, 2)).unwrap();
        fs::write(numbered(&path, 1), "three\n").unwrap();
        fs::write(&path, "four\n").unwrap();
        files.look_again().await.unwrap();
        assert_eq!(all(&mut files).await, ["two", "three", "four"]);
        files.look_again().await.unwrap();
        assert!(all(&mut files).await.is_empty());
    }

    #[tokio::test]
    async fn a_container_that_never_ran_has_no_lines() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::open(folder.path().join("log")).await.unwrap();
        assert!(all(&mut files).await.is_empty());
    }

    #[tokio::test]
    async fn lines_longer_than_a_block_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let long = "x".repeat(BLOCK + 10);
        fs::write(&path, format!("{long}\nend\n")).unwrap();
        let mut lines = Lines::open(&path).await.unwrap().unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap().len(), long.len());
        assert_eq!(lines.next().await.unwrap().unwrap(), b"end");
        assert!(lines.next().await.unwrap().is_none());
    }
}
