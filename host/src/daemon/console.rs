//! The last lines of a log that somebody else writes: the machine's console, the daemon's own log.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes that are looked at, at the most: the guest writes what it likes.
const LOOK_BACK: u64 = 16 << 10;

/// The last lines of the file, at most `count`, without what would move a terminal's cursor. Empty where it cannot
/// be read: whoever asks has an error to tell already.
pub(super) fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let Ok(text) = tail(path) else { return Vec::new() };
    let lines: Vec<_> = text.lines().map(printable).filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOOK_BACK)))?;
    let mut bytes = Vec::new();
    file.take(LOOK_BACK).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn printable(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_come_without_control_characters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console.log");
        std::fs::write(&path, "one\r\n\r\ntwo\x1b[2J\nthree\n").unwrap();
        assert_eq!(last_lines(&path, 2), ["two[2J", "three"]);
        assert_eq!(last_lines(&path, 9).len(), 3);
    }

    #[test]
    fn a_log_that_is_not_there_has_no_lines() {
        assert!(last_lines(Path::new("/nonexistent/console.log"), 5).is_empty());
    }
}
