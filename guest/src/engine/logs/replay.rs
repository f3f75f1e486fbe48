//! The log that an attached client reads before it reads the container itself: up to the very place where its
//! streams begin, so that no line comes twice and none is lost, however busily the container writes meanwhile.
//!
//! ```text
//!   open ── attach ──► read to where the shim says that the streams begin
//!       └── it does not run: read what is here, attach when it does, read on to that place
//! ```

use std::io;
use std::path::PathBuf;

use super::files::Files;
use super::writer::Writer;
use super::{LogSink, LogWish, copy, finish};
use crate::shim::protocol::LogEnd;

/// A log, some of which a client has read.
pub(crate) struct Replay {
    files: Files,
    writer: Writer,
    /// Where it ended when it was opened.
    here: Option<LogEnd>,
}

impl Replay {
    /// Opens it. Before the client is attached: open files are found by their number, whatever becomes of them.
    pub(crate) async fn open(path: PathBuf, wish: LogWish) -> io::Result<Self> {
        let files = Files::open(path).await?;
        let here = files.end().await?;
        Ok(Self { files, writer: Writer::new(wish), here })
    }

    /// Gives what was there when it was opened.
    pub(crate) async fn read_here<S: LogSink>(&mut self, sink: &mut S) -> Result<(), S::Gone> {
        if let Some(here) = self.here {
            self.files.end_at(here);
        }
        let read = copy(&mut self.files, &mut self.writer, sink).await;
        finish(read, &mut self.writer, sink).await
    }

    /// Gives what is left of it up to `end`.
    pub(crate) async fn read_to<S: LogSink>(&mut self, end: LogEnd, sink: &mut S) -> Result<(), S::Gone> {
        let read = match self.end_at(end).await {
            Ok(()) => copy(&mut self.files, &mut self.writer, sink).await,
            Err(error) => Err(error.into()),
        };
        finish(read, &mut self.writer, sink).await
    }

    async fn end_at(&mut self, end: LogEnd) -> io::Result<()> {
        if self.files.end_at(end) {
            return Ok(());
        }
        let known = self.files.count();
        self.files.look_again().await?;
        if !self.files.end_at(end) {
            // It was rotated away and removed by now. What is newer than those that we hold comes after it.
            self.files.keep_oldest(known);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use bytes::Bytes;

    use super::*;
    use crate::engine::attach::Form;
    use crate::engine::logs::Frames;

    struct Said(String);

    impl LogSink for Said {
        type Gone = std::convert::Infallible;

        async fn send(&mut self, piece: Bytes) -> Result<(), Self::Gone> {
            self.0.push_str(std::str::from_utf8(&piece).unwrap());
            Ok(())
        }
    }

    fn line(text: &str) -> String {
        format!("{{\"log\":\"{text}\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:01Z\"}}\n")
    }

    fn lines(texts: &[&str]) -> String {
        texts.iter().map(|text| line(text)).collect()
    }

    async fn open(path: &Path) -> Replay {
        let wish = LogWish {
            stdout: true,
            stderr: true,
            since: None,
            until: None,
            tail: None,
            follow: false,
            timestamps: false,
            details: None,
            form: Form::Raw,
            frames: Frames::Lines,
        };
        Replay::open(path.to_owned(), wish).await.unwrap()
    }

    fn end(path: &Path, count: usize) -> LogEnd {
        LogEnd { inode: fs::metadata(path).unwrap().ino(), size: (count * line("1").len()) as u64 }
    }

    async fn rest(replay: &mut Replay, end: LogEnd) -> String {
        let mut said = Said(String::new());
        replay.read_to(end, &mut said).await.unwrap();
        said.0
    }

    #[tokio::test]
    async fn what_is_written_after_the_attachment_is_left_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, lines(&["1"])).unwrap();
        let mut replay = open(&path).await;
        fs::write(&path, lines(&["1", "2", "3"])).unwrap();
        assert_eq!(rest(&mut replay, end(&path, 2)).await, "1\n2\n");
    }

    #[tokio::test]
    async fn what_is_there_comes_before_a_start_and_what_is_added_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, lines(&["1"])).unwrap();
        let mut replay = open(&path).await;
        // Whoever reads slowly sees no more than there was.
        fs::write(&path, lines(&["1", "2", "3"])).unwrap();
        let mut said = Said(String::new());
        replay.read_here(&mut said).await.unwrap();
        assert_eq!(said.0, "1\n");
        assert_eq!(rest(&mut replay, end(&path, 2)).await, "2\n");
    }

    #[tokio::test]
    async fn rotations_on_either_side_of_the_attachment_change_nothing() {
        for begins_before_start in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let (path, older) = (folder.path().join("log"), folder.path().join("log.1"));
            fs::write(&path, lines(&["1"])).unwrap();
            let mut replay = open(&path).await;
            let mut said = Said(String::new());
            if begins_before_start {
                replay.read_here(&mut said).await.unwrap();
            }
            fs::rename(&path, &older).unwrap();
            fs::write(&path, lines(&["2", "3"])).unwrap();
            let attached = end(&path, 1);
            fs::rename(&older, folder.path().join("log.2")).unwrap();
            fs::rename(&path, &older).unwrap();
            fs::write(&path, lines(&["4"])).unwrap();
            assert_eq!(said.0 + &rest(&mut replay, attached).await, "1\n2\n");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_gone_already_brings_nothing_newer_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, lines(&["1"])).unwrap();
        let mut replay = open(&path).await;
        let attached = LogEnd { inode: u64::MAX, size: 1 };
        let kept = folder.path().join("kept");
        fs::rename(&path, kept).unwrap();
        fs::write(&path, lines(&["3"])).unwrap();
        assert_eq!(rest(&mut replay, attached).await, "1\n");
    }

    #[tokio::test]
    async fn a_container_that_never_ran_has_nothing_before_its_streams() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut replay = open(&path).await;
        let mut said = Said(String::new());
        replay.read_here(&mut said).await.unwrap();
        fs::write(&path, lines(&["1"])).unwrap();
        assert_eq!(said.0 + &rest(&mut replay, end(&path, 0)).await, "");
    }
}
