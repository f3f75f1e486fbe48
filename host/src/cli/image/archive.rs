//! What `save`, `load` and `import` share: sending a file as it is read, and the platform that is meant.

use std::io::{self, Read};

use hyper::body::Bytes;
use serde_json::json;
use tokio::sync::mpsc;

use crate::cli::error::CliError;

/// Bytes sent at once.
const PART: usize = 256 << 10;
/// Parts that the file may be ahead of the engine.
const AHEAD: usize = 4;

/// The parts of a file or a pipe, read where that may block.
pub(super) fn parts(mut reader: impl Read + Send + 'static) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    // Ends with the file, or when nobody takes its parts any more.
    tokio::task::spawn_blocking(move || {
        loop {
            let mut buffer = vec![0; PART];
            let part = match reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => {
                    buffer.truncate(read);
                    Ok(Bytes::from(buffer))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = part.is_err();
            if sender.blocking_send(part).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// `os[/arch[/variant]]` as the API wants it, or nothing where nothing was typed.
pub(crate) fn platform(text: &str) -> Result<Option<String>, CliError> {
    if text.is_empty() {
        return Ok(None);
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let text = text.to_lowercase();
    let parts: Vec<&str> = text.split('/').collect();
    if let Some(part) = parts.iter().find(|part| part.is_empty() || !part.bytes().all(fits)) {
        return Err(CliError::said(format!(
            "invalid platform: {part:?} is an invalid component of {text:?}: platform specifier component must \
             match \"^[A-Za-z0-9_.-]+$\": invalid argument"
        )));
    }
    // The engine knows all aliases; only what one word means is to be told here.
    let host = std::env::consts::ARCH;
    let (os, architecture, variant) = match parts[..] {
        [os @ ("linux" | "windows" | "darwin" | "freebsd")] => (os, host, None),
        [architecture] => ("linux", architecture, None),
        [os, architecture] => (os, architecture, None),
        [os, architecture, variant] => (os, architecture, Some(variant)),
        _ => {
            return Err(CliError::said(format!(
                "invalid platform: {text:?}: unknown operating system or architecture: invalid argument"
            )));
        }
    };
    let mut platform = json!({ "architecture": architecture, "os": os });
    if let Some(variant) = variant {
        platform["variant"] = json!(variant);
    }
    Ok(Some(platform.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_sent_as_the_api_wants_it() {
        let sent = |text: &str| platform(text).unwrap().unwrap();
        assert_eq!(sent("linux/arm64/v8"), r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#);
        assert_eq!(sent("ARM64"), r#"{"architecture":"arm64","os":"linux"}"#);
        assert_eq!(platform("").unwrap(), None);
        assert!(platform("linux/").is_err() && platform("a/b/c/d").is_err());
    }

    #[test]
    fn a_file_is_sent_in_parts_and_an_error_is_its_last() {
        struct Failing(usize);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 > 2 { Err(io::Error::other("gone")) } else { Ok(buffer.len()) }
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut parts = parts(Failing(0));
            assert_eq!(parts.recv().await.unwrap().unwrap().len(), PART);
            assert_eq!(parts.recv().await.unwrap().unwrap().len(), PART);
            assert_eq!(parts.recv().await.unwrap().unwrap_err().to_string(), "gone");
            assert!(parts.recv().await.is_none());
        });
    }
}
