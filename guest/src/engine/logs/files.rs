//! The files of one log: the current one and those that were rotated away, `<path>.1` being the newest of them, which
//! may be compressed (`<path>.1.gz`). A compressed one is unpacked when its lines are wanted, into a file without name.

use std::collections::VecDeque;
use std::io::{self, Seek};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use memchr::memchr;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::tail;
use crate::shim::compress::{Source, compressed};
use crate::shim::protocol::LogEnd;

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
            let Some(rotated) = Lines::open_rotated(&numbered(&path, number)).await? else { break };
            if !is_among(&waiting, &rotated).await? {
                waiting.push_front(rotated);
            }
        }
        Ok(Self { path, waiting, current: None })
    }

    /// Passes over all but the last `lines` lines.
    pub(super) async fn skip_to_tail(&mut self, mut lines: u64) -> io::Result<()> {
        for index in (0..self.waiting.len()).rev() {
            if lines == 0 {
                // What is older than the last line wanted need not even be unpacked.
                self.waiting.drain(..=index);
                break;
            }
            let file = &mut self.waiting[index];
            file.unpack().await?;
            lines -= tail::seek(&mut file.file, lines).await?;
        }
        Ok(())
    }

    /// The next file to read from.
    pub(super) async fn next(&mut self) -> io::Result<Option<Lines>> {
        let Some(mut lines) = self.waiting.pop_front() else { return Ok(None) };
        lines.unpack().await?;
        Ok(Some(lines))
    }

    /// Takes back a file whose end was reached.
    pub(super) fn done_with(&mut self, lines: Lines) {
        self.current = Some(lines);
    }

    /// Where the newest of the files ends by now; `None` where there is none.
    pub(super) async fn end(&self) -> io::Result<Option<LogEnd>> {
        let Some(newest) = self.waiting.back() else { return Ok(None) };
        Ok(Some(LogEnd { inode: newest.origin, size: newest.file.metadata().await?.len() }))
    }

    /// Reads no further than to `end`. `false` leaves all as it is: its file is none of those that are open.
    pub(super) fn end_at(&mut self, end: LogEnd) -> bool {
        let Some(index) = self.waiting.iter().position(|file| file.origin == end.inode) else { return false };
        self.waiting.truncate(index + 1);
        for (number, file) in self.waiting.iter_mut().enumerate() {
            file.end = if number == index { end.size } else { u64::MAX };
        }
        true
    }

    /// How many files are open.
    pub(super) fn count(&self) -> usize {
        self.waiting.len() + usize::from(self.current.is_some())
    }

    /// Reads the oldest `count` of those that are waiting, to their ends.
    pub(super) fn keep_oldest(&mut self, count: usize) {
        self.waiting.truncate(count);
        self.waiting.iter_mut().for_each(|file| file.end = u64::MAX);
    }

    /// Looks for more to read: in the file that was current, and in the one that has taken its place.
    pub(super) async fn look_again(&mut self) -> io::Result<()> {
        let newest = Lines::open(&self.path).await?;
        // One of which nothing was read yet is the current one as well.
        let Some(current) = self.current.take().or_else(|| self.waiting.pop_back()) else {
            self.waiting.extend(newest);
            return Ok(());
        };
        let inode = current.inode;
        self.waiting.push_back(current);
        let Some(newest) = newest.filter(|newest| newest.inode != inode) else { return Ok(()) };
        self.waiting.push_back(newest);
        // More than one rotation since we last looked: those in between are numbered.
        let mut between = Vec::new();
        for number in 1.. {
            match Lines::open_rotated(&numbered(&self.path, number)).await? {
                Some(file) if !is_among(&self.waiting, &file).await? => between.push(file),
                _ => break,
            }
        }
        let newest = self.waiting.pop_back();
        self.waiting.extend(between.into_iter().rev().chain(newest));
        Ok(())
    }
}

/// Whether a file that was rotated away is one of those that are open already: by itself, or as what it was made of.
async fn is_among(open: &VecDeque<Lines>, rotated: &Lines) -> io::Result<bool> {
    for seen in open {
        let same = match &rotated.form {
            Form::Compressed { source: Some(source), .. } => {
                Source::of(&seen.file.metadata().await?) == *source
            }
            Form::Compressed { source: None, .. } | Form::Plain => false,
        };
        if same || seen.inode == rotated.inode {
            return Ok(true);
        }
    }
    Ok(false)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// A file, line by line. Its end may be the end of only what is written so far.
pub(super) struct Lines {
    file: File,
    form: Form,
    inode: u64,
    /// Inode of the file that the shim wrote.
    origin: u64,
    /// Bytes that were read.
    read: u64,
    /// Bytes after which nothing is read.
    end: u64,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were given out.
    used: usize,
    /// Bytes after `used` in which there is no newline.
    searched: usize,
}

/// How a file is.
enum Form {
    /// Lines.
    Plain,
    /// Compressed.
    Compressed {
        /// What it was made of, as far as that is known.
        source: Option<Source>,
        /// Where it can be unpacked.
        folder: PathBuf,
    },
}

impl Lines {
    async fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path).await {
            Ok(file) => {
                let inode = file.metadata().await?.ino();
                let (form, buffer) = (Form::Plain, Vec::new());
                let (origin, end) = (inode, u64::MAX);
                Ok(Some(Self { file, form, inode, origin, read: 0, end, buffer, used: 0, searched: 0 }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a file that was rotated away, in whichever form it is.
    async fn open_rotated(path: &Path) -> io::Result<Option<Self>> {
        if let Some(plain) = Self::open(path).await? {
            return Ok(Some(plain));
        }
        // The plain one goes when the compressed one is there.
        let Some(mut lines) = Self::open(&compressed(path)).await? else { return Ok(None) };
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let packed = lines.file.try_clone().await?.into_std().await;
        let source = blocking(move || {
            let source = Source::noted(&packed);
            // They share their place.
            (&packed).rewind()?;
            Ok(source)
        });
        let source = source.await?;
        lines.origin = source.map_or(lines.inode, |source| source.inode());
        lines.form = Form::Compressed { source, folder };
        Ok(Some(lines))
    }

    /// Makes its lines readable.
    async fn unpack(&mut self) -> io::Result<()> {
        let Form::Compressed { folder, .. } = &self.form else { return Ok(()) };
        let (folder, packed) = (folder.clone(), self.file.try_clone().await?.into_std().await);
        let unpacked = blocking(move || {
            let mut options = std::fs::File::options();
            let mut file = options.read(true).write(true).custom_flags(libc::O_TMPFILE).open(folder)?;
            io::copy(&mut MultiGzDecoder::new(packed), &mut file)?;
            file.rewind()?;
            Ok(file)
        });
        (self.file, self.form) = (File::from_std(unpacked.await?), Form::Plain);
        Ok(())
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
            let wanted = (self.end.saturating_sub(self.read)).min(BLOCK as u64);
            match (&mut self.file).take(wanted).read_buf(&mut self.buffer).await? {
                0 => return Ok(None),
                count => self.read += count as u64,
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shim::compress::compress;
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

    /// Reads a log to its end, rotates it twice, does this to what became of it, and reads on.
    async fn read_through_rotations(then: impl FnOnce(&Path)) {
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
        then(&path);
        files.look_again().await.unwrap();
        assert_eq!(all(&mut files).await, ["two", "three", "four"]);
        files.look_again().await.unwrap();
        assert!(all(&mut files).await.is_empty());
    }

    #[tokio::test]
    async fn what_is_written_later_is_found_through_rotations() {
        read_through_rotations(|_| ()).await;
    }

    #[tokio::test]
    async fn a_file_that_is_compressed_while_it_is_read_is_not_read_twice() {
        read_through_rotations(|path| {
            compress(&numbered(path, 2)).unwrap();
            compress(&numbered(path, 1)).unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn compressed_files_are_read_like_others_and_unpacked_only_where_they_are_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(compressed(&numbered(&path, 3)), "no gzip, and nobody notices").unwrap();
        for (number, text) in [(2, "one\ntwo\n"), (1, "three\n")] {
            fs::write(numbered(&path, number), text).unwrap();
            compress(&numbered(&path, number)).unwrap();
        }
        fs::write(&path, "four\n").unwrap();
        let mut files = Files::open(path.clone()).await.unwrap();
        files.skip_to_tail(3).await.unwrap();
        assert_eq!(all(&mut files).await, ["two", "three", "four"]);
        fs::remove_file(compressed(&numbered(&path, 3))).unwrap();
        assert_eq!(all(&mut Files::open(path).await.unwrap()).await, ["one", "two", "three", "four"]);
    }

    #[tokio::test]
    async fn nothing_is_read_after_the_end_that_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(numbered(&path, 1), "one\n").unwrap();
        fs::write(&path, "two\nthree\n").unwrap();
        let ends = [numbered(&path, 1), path.clone()].map(|path| fs::metadata(path).unwrap().ino());
        let mut files = Files::open(path.clone()).await.unwrap();
        assert_eq!(files.end().await.unwrap(), Some(LogEnd { inode: ends[1], size: 10 }));
        assert!(files.end_at(LogEnd { inode: ends[1], size: 4 }));
        assert_eq!(all(&mut files).await, ["one", "two"]);
        // And on, when it is told anew.
        files.look_again().await.unwrap();
        assert!(files.end_at(LogEnd { inode: ends[1], size: 10 }));
        assert_eq!(all(&mut files).await, ["three"]);
        let mut files = Files::open(path.clone()).await.unwrap();
        assert!(files.end_at(LogEnd { inode: ends[0], size: 4 }));
        assert_eq!(all(&mut files).await, ["one"]);
        let mut files = Files::open(path).await.unwrap();
        assert!(!files.end_at(LogEnd { inode: u64::MAX, size: 4 }));
        assert_eq!(all(&mut files).await, ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn the_end_of_a_file_is_found_when_it_was_compressed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(numbered(&path, 1), "one\ntwo\n").unwrap();
        fs::write(&path, "three\n").unwrap();
        let inode = fs::metadata(numbered(&path, 1)).unwrap().ino();
        compress(&numbered(&path, 1)).unwrap();
        let mut files = Files::open(path).await.unwrap();
        assert!(files.end_at(LogEnd { inode, size: 4 }));
        assert_eq!(all(&mut files).await, ["one"]);
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
