//! Finds where the last lines of a file begin, from its end, without reading what comes before.

use std::io::{self, SeekFrom};

use memchr::memrchr_iter;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Bytes looked at in one step backwards.
const STEP: u64 = 32 * 1024;

/// Sets the file to where its last `wanted` whole lines begin, and returns how many it has of them. A last line
/// without newline is not written to its end yet and does not count.
pub(super) async fn seek(file: &mut File, wanted: u64) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0)).await?;
    let mut newlines = 0;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(start)).await?;
        block.clear();
        (&mut *file).take(end - start).read_to_end(&mut block).await?;
        for offset in memrchr_iter(b'\n', &block) {
            // The newline before the first wanted line is one more than there are lines.
            if newlines == wanted {
                file.seek(SeekFrom::Start(start + offset as u64 + 1)).await?;
                return Ok(wanted);
            }
            newlines += 1;
        }
        end = start;
    }
    file.seek(SeekFrom::Start(0)).await?;
    Ok(newlines)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn last(text: &str, wanted: u64) -> (u64, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, text).unwrap();
        let mut file = File::open(path).await.unwrap();
        let found = seek(&mut file, wanted).await.unwrap();
        let mut rest = String::new();
        file.read_to_string(&mut rest).await.unwrap();
        (found, rest)
    }

    #[tokio::test]
    async fn the_last_lines_are_found() {
        assert_eq!(last("a\nb\nc\n", 2).await, (2, "b\nc\n".to_owned()));
        assert_eq!(last("a\nb\nc\n", 3).await, (3, "a\nb\nc\n".to_owned()));
        assert_eq!(last("a\nb\nc\n", 9).await, (3, "a\nb\nc\n".to_owned()));
        assert_eq!(last("a\nb\nc\n", 0).await, (0, String::new()));
        assert_eq!(last("", 5).await, (0, String::new()));
    }

    #[tokio::test]
    async fn an_unfinished_line_does_not_count() {
        assert_eq!(last("a\nb\nhalf", 1).await, (1, "b\nhalf".to_owned()));
    }

    #[tokio::test]
    async fn lines_across_steps_are_found() {
        let line = format!("{}\n", "x".repeat(1000));
        let (found, rest) = last(&line.repeat(200), 100).await;
        assert_eq!((found, rest.len()), (100, 100 * line.len()));
    }
}
