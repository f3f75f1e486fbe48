//! The keys that end an attachment, Ctrl-P Ctrl-Q unless the user wants others.

use std::str::FromStr;

/// A sequence of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    bytes: Vec<u8>,
    /// As the user gave it, for the engine.
    text: Option<String>,
}

impl Default for DetachKeys {
    fn default() -> Self {
        Self { bytes: vec![0x10, 0x11], text: None }
    }
}

/// What is wrong with a text that should have been keys.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Unknown character: '{0}'")]
pub(crate) struct NotAKey(String);

impl DetachKeys {
    /// As the user gave them, `None` where they are the usual ones.
    pub(crate) fn custom(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Looks for the keys in what is typed.
    pub(super) fn filter(&self) -> Filter {
        Filter { keys: self.bytes.clone(), matched: 0 }
    }
}

impl FromStr for DetachKeys {
    type Err = NotAKey;

    /// `ctrl-p,ctrl-q`: keys apart by commas, each a letter or `ctrl-` with one of `a`-`z @ [ \ ] ^ _`.
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let bytes = text.split(',').map(key).collect::<Result<_, _>>()?;
        Ok(Self { bytes, text: Some(text.to_owned()) })
    }
}

fn key(text: &str) -> Result<u8, NotAKey> {
    match text.as_bytes() {
        [byte] => return Ok(*byte),
        [b'c', b't', b'r', b'l', b'-', byte] => match byte {
            b'@' => return Ok(0),
            b'a'..=b'z' => return Ok(byte - b'a' + 1),
            b'[' | b'\\' | b']' | b'^' | b'_' => return Ok(byte - b'@'),
            _ => {}
        },
        _ => {}
    }
    Err(NotAKey(text.to_owned()))
}

/// Holds back keys as long as they may be the start of the sequence.
#[derive(Debug)]
pub(super) struct Filter {
    keys: Vec<u8>,
    matched: usize,
}

impl Filter {
    /// What goes on to the container, and whether the sequence is complete. What follows it is dropped.
    pub(super) fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len());
        for &byte in typed {
            if byte != self.keys[self.matched] {
                passed.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if byte != self.keys[self.matched] {
                passed.push(byte);
                continue;
            }
            self.matched += 1;
            if self.matched == self.keys.len() {
                return (passed, true);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(parts: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut filter = DetachKeys::default().filter();
        let mut all = Vec::new();
        for part in parts {
            let (passed, done) = filter.pass(part);
            all.extend(passed);
            if done {
                return (all, true);
            }
        }
        (all, false)
    }

    #[test]
    fn the_sequence_is_found_also_when_it_comes_in_parts() {
        assert_eq!(pass(&[b"a\x10\x11b"]), (b"a".to_vec(), true));
        assert_eq!(pass(&[b"a\x10", b"\x11"]), (b"a".to_vec(), true));
        assert_eq!(pass(&[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
    }

    #[test]
    fn a_start_that_goes_on_differently_is_passed_on() {
        assert_eq!(pass(&[b"\x10", b"x\x11"]), (b"\x10x\x11".to_vec(), false));
    }

    #[test]
    fn keys_are_read_as_docker_reads_them() {
        assert_eq!("ctrl-a,d".parse::<DetachKeys>().unwrap().bytes, [1, b'd']);
        assert_eq!("ctrl-@,ctrl-[,ctrl-_".parse::<DetachKeys>().unwrap().bytes, [0, 27, 31]);
        assert_eq!("".parse::<DetachKeys>().unwrap(), DetachKeys::default());
        let error = "ctrl-p,super-q".parse::<DetachKeys>().unwrap_err();
        assert_eq!(error.to_string(), "Unknown character: 'super-q'");
    }
}
