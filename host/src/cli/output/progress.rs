//! A pull's progress: on a terminal a line for each layer that is redrawn, elsewhere a line for each step.

use std::collections::HashMap;
use std::fmt::Write;

use serde::Deserialize;

use super::units::precise_size;

/// Columns under which there is no room for a bar.
const BAR_NEEDS: u16 = 110;
/// Columns of a bar.
const BAR: usize = 50;
/// A daemon that names more layers than this is not believed: each costs memory.
const MOST_LINES: usize = 10_000;

/// One message of the stream that `POST /images/create` answers with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Message {
    id: String,
    status: String,
    stream: String,
    #[serde(rename = "progressDetail")]
    progress: Option<Detail>,
    #[serde(rename = "errorDetail")]
    error_detail: Option<ErrorDetail>,
    error: String,
    aux: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    current: i64,
    total: i64,
    hidecounts: bool,
    units: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorDetail {
    message: String,
}

impl Message {
    /// The pull's failure, where the message tells of one.
    pub(crate) fn failure(&self) -> Option<&str> {
        match &self.error_detail {
            Some(detail) if !detail.message.is_empty() => Some(&detail.message),
            _ => Some(self.error.as_str()).filter(|error| !error.is_empty()),
        }
    }
}

/// What is on the screen of it.
#[derive(Debug)]
pub(crate) struct Progress {
    terminal: bool,
    lines: HashMap<String, usize>,
}

impl Progress {
    /// Nothing is on the screen yet. On a terminal, lines are redrawn.
    pub(crate) fn new(terminal: bool) -> Self {
        Self { terminal, lines: HashMap::new() }
    }

    /// What to write for a message. `columns` is the terminal's width now.
    pub(crate) fn show(&mut self, message: &Message, columns: u16) -> String {
        let mut text = String::new();
        if message.aux.is_some() {
            return text;
        }
        let mut up = 0;
        if !message.id.is_empty() && message.progress.is_some() {
            let count = self.lines.len();
            let line = match self.lines.get(&message.id) {
                Some(line) => *line,
                None if count >= MOST_LINES => return text,
                None => {
                    self.lines.insert(message.id.clone(), count);
                    if self.terminal {
                        text.push('\n');
                    }
                    count
                }
            };
            up = self.lines.len() - line;
            if self.terminal {
                let _ = write!(text, "\x1b[{up}A");
            }
        } else {
            // A line of its own moves all others up: they are not redrawn any more.
            self.lines.clear();
        }
        text.push_str(&self.line(message, columns));
        if self.terminal && up > 0 {
            let _ = write!(text, "\x1b[{up}B");
        }
        text
    }

    fn line(&self, message: &Message, columns: u16) -> String {
        let bar = message.progress.as_ref().map(|detail| bar(detail, columns));
        let redrawn = self.terminal && message.stream.is_empty() && bar.is_some();
        if !redrawn && bar.as_ref().is_some_and(|bar| !bar.is_empty()) {
            // Elsewhere than on a terminal, only a step's start and end are told.
            return String::new();
        }
        let mut text = String::new();
        if redrawn {
            text.push_str("\x1b[2K\r");
        }
        if !message.id.is_empty() {
            let _ = write!(text, "{}: ", message.id);
        }
        match bar {
            Some(bar) if self.terminal => {
                let _ = write!(text, "{} {bar}{}", message.status, if redrawn { "\r" } else { "" });
            }
            _ if !message.stream.is_empty() => text.push_str(&message.stream),
            _ => {
                let _ = writeln!(text, "{}{}", message.status, if redrawn { "\r" } else { "" });
            }
        }
        text
    }
}

/// `[=====>     ]  1.2MB/3MB`, as much of it as there is room for.
fn bar(detail: &Detail, columns: u16) -> String {
    if detail.current <= 0 && detail.total <= 0 {
        return String::new();
    }
    if detail.total <= 0 {
        return match detail.units.as_str() {
            "" => format!("{:>8}", precise_size(detail.current)),
            units => format!("{} {units}", detail.current),
        };
    }
    let done = ((detail.current.max(0) as f64 / detail.total as f64 * 100.0) as usize / 2).min(BAR);
    let mut text = String::new();
    if columns > BAR_NEEDS {
        let _ = write!(text, "[{}>{}] ", "=".repeat(done), " ".repeat(BAR - done));
    }
    // More than all of it is no sensible share: then only what has come is told.
    let whole = detail.current <= detail.total;
    match detail.units.as_str() {
        _ if detail.hidecounts => {}
        "" if whole => {
            let _ = write!(text, "{:>8}/{}", precise_size(detail.current), precise_size(detail.total));
        }
        "" => {
            let _ = write!(text, "{:>8}", precise_size(detail.current));
        }
        units if whole => {
            let _ = write!(text, "{}/{} {units}", detail.current, detail.total);
        }
        units => {
            let _ = write!(text, "{} {units}", detail.current);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn show(progress: &mut Progress, message: serde_json::Value) -> String {
        progress.show(&serde_json::from_value(message).unwrap(), 200)
    }

    #[test]
    fn without_a_terminal_only_steps_are_told() {
        let mut progress = Progress::new(false);
        let mut text = String::new();
        for message in [
            json!({"status": "Pulling from library/hello-world", "id": "latest"}),
            json!({"status": "Pulling fs layer", "progressDetail": {}, "id": "2db29710123e"}),
            json!({"status": "Downloading", "progressDetail": {"current": 1, "total": 3}, "id": "2db29710123e"}),
            json!({"status": "Download complete", "progressDetail": {}, "id": "2db29710123e"}),
            json!({"status": "Pull complete", "progressDetail": {}, "id": "2db29710123e"}),
            json!({"status": "Digest: sha256:0f"}),
        ] {
            text.push_str(&show(&mut progress, message));
        }
        assert_eq!(
            text,
            "latest: Pulling from library/hello-world\n2db29710123e: Pulling fs layer\n\
             2db29710123e: Download complete\n2db29710123e: Pull complete\nDigest: sha256:0f\n"
        );
    }

    #[test]
    fn on_a_terminal_each_layer_keeps_its_line() {
        let mut progress = Progress::new(true);
        let layer = |id: &str, current: i64| json!({"status": "Downloading", "progressDetail": {"current": current, "total": 3_000_000}, "id": id});
        assert_eq!(
            show(&mut progress, json!({"status": "Pulling fs layer", "progressDetail": {}, "id": "a"})),
            "\n\x1b[1A\x1b[2K\ra: Pulling fs layer \r\x1b[1B"
        );
        let half = format!("[{}>{}]", "=".repeat(20), " ".repeat(30));
        assert_eq!(
            show(&mut progress, layer("b", 1_200_000)),
            format!("\n\x1b[1A\x1b[2K\rb: Downloading {half}    1.2MB/3MB\r\x1b[1B")
        );
        let full = format!("[{}>]", "=".repeat(50));
        assert_eq!(
            show(&mut progress, layer("a", 3_000_000)),
            format!("\x1b[2A\x1b[2K\ra: Downloading {full}      3MB/3MB\r\x1b[2B")
        );
        assert_eq!(show(&mut progress, json!({"status": "Digest: x"})), "Digest: x\n");
        // The lines before are history now.
        assert!(show(&mut progress, layer("a", 1)).starts_with("\n\x1b[1A"));
    }

    #[test]
    fn a_narrow_terminal_has_no_bar_and_wrong_numbers_no_share() {
        let detail = |current, total| Detail { current, total, ..Detail::default() };
        assert_eq!(bar(&detail(1_200_000, 3_000_000), 80), "   1.2MB/3MB");
        assert_eq!(bar(&detail(4_000_000, 3_000_000), 80), "     4MB");
        assert_eq!(bar(&detail(4_000, 0), 200), "     4kB");
        assert_eq!(bar(&detail(0, 0), 200), "");
        assert_eq!(bar(&detail(0, 3), 80), "      0B/3B");
        // What makes no sense is shown all the same.
        assert!(bar(&detail(i64::MIN, 1), 200).starts_with("[>"));
        assert!(bar(&detail(i64::MAX, 1), 200).starts_with("[====="));
    }

    #[test]
    fn a_failure_is_found_in_both_of_its_forms() {
        let failure = |value| serde_json::from_value::<Message>(value).unwrap().failure().map(str::to_owned);
        assert_eq!(failure(json!({"errorDetail": {"message": "a"}, "error": "b"})).as_deref(), Some("a"));
        assert_eq!(failure(json!({"error": "b"})).as_deref(), Some("b"));
        assert_eq!(failure(json!({"status": "x"})), None);
    }
}
