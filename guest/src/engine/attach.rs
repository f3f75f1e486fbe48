//! Bytes between an attached client and its container: input one way, output the other, until the container
//! ends, the client goes, or types the keys that detach it.

use std::io;

use holm_api::stream::{Channel, HEADER, header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::EngineError;
use super::container::Attached;
use crate::shim::client::Output;

/// Bytes of input read at once.
const INPUT: usize = 16 * 1024;

/// How output is written to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is: a terminal's.
    Raw,
    /// In frames that tell standard output from standard error.
    Multiplexed,
}

impl Form {
    /// What stands in front of a piece of output, if anything.
    pub(super) fn header(self, channel: Channel, length: usize) -> Option<[u8; HEADER]> {
        match self {
            Self::Raw => None,
            // No piece is longer than a buffer of ours.
            Self::Multiplexed => Some(header(channel, u32::try_from(length).unwrap_or(u32::MAX))),
        }
    }

    /// Adds a piece of output in this form.
    fn encode(self, channel: Channel, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend(self.header(channel, bytes.len()).into_iter().flatten());
        out.extend_from_slice(bytes);
    }
}

/// Why an attached client is no longer attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The container's output ended.
    Output,
    /// The client typed the keys for it.
    Detached,
    /// The client is gone.
    Gone,
}

/// The keys that detach a client from a terminal, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    /// How many of them were typed.
    typed: usize,
}

impl Default for DetachKeys {
    /// ctrl-p, ctrl-q
    fn default() -> Self {
        Self { keys: vec![0x10, 0x11], typed: 0 }
    }
}

impl DetachKeys {
    /// `ctrl-p,ctrl-q`, `a`, `ctrl-@`: characters, or a control key each.
    pub(crate) fn parse(text: &str) -> Result<Self, EngineError> {
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        match keys {
            Some(keys) => Ok(Self { keys, typed: 0 }),
            None => Err(EngineError::Invalid(format!("Invalid detach keys ({text}) provided"))),
        }
    }

    /// The bytes that they are.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.keys
    }

    /// What of `input` is the container's, and whether the client detaches after it. Keys held back because
    /// they might be the beginning of the sequence come out when they are not.
    fn filter(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        for byte in input {
            if *byte == self.keys[self.typed] {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    self.typed = 0;
                    return true;
                }
                continue;
            }
            out.extend_from_slice(&self.keys[..self.typed]);
            self.typed = usize::from(*byte == self.keys[0] && self.keys.len() > 1);
            if self.typed == 0 {
                out.push(*byte);
            }
        }
        false
    }
}

fn key(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] => Some(*byte),
        _ => match text.strip_prefix("ctrl-")?.as_bytes() {
            [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
            [b'@'] => Some(0),
            [b'['] => Some(27),
            [b'\\'] => Some(28),
            [b']'] => Some(29),
            [b'^'] => Some(30),
            [b'_'] => Some(31),
            _ => None,
        },
    }
}

/// Carries bytes both ways. `keys` are looked for in the input; `None` looks for nothing. `known` resolves when
/// everybody may know how the process ended: a client that reads to the end of the connection asks that next.
pub(crate) async fn pump<C>(
    client: C,
    attached: Attached,
    form: Form,
    keys: Option<DetachKeys>,
    known: impl Future<Output = ()>,
) -> Ended
where
    C: AsyncRead + AsyncWrite,
{
    let Attached { mut output, input, .. } = attached;
    let (from_client, mut to_client) = tokio::io::split(client);
    let carry_input = carry_input(from_client, input, keys);
    let carry_output = async {
        loop {
            let batch = match next_batch(&mut output, form).await {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::warn!("an attached client loses its container: {error}");
                    return Ended::Output;
                }
            };
            if batch.is_empty() {
                return Ended::Output;
            }
            if to_client.write_all(&batch).await.is_err() {
                return Ended::Gone;
            }
        }
    };
    let ended = either(carry_input, carry_output).await;
    if ended == Ended::Output {
        known.await;
    }
    let _ = to_client.shutdown().await;
    ended
}

/// All output that is here, for one write: each wakes whoever reads. Nothing at its end.
async fn next_batch(output: &mut Output, form: Form) -> io::Result<Vec<u8>> {
    let mut batch = Vec::new();
    let mut next = output.next().await?;
    while let Some((channel, bytes)) = next {
        form.encode(channel, &bytes, &mut batch);
        drop(bytes);
        next = output.take()?;
    }
    Ok(batch)
}

/// The end of the output ends the attachment, that of the input does not.
async fn either(
    input: impl Future<Output = io::Result<After>>,
    output: impl Future<Output = Ended>,
) -> Ended {
    tokio::pin!(input, output);
    let mut input_open = true;
    loop {
        tokio::select! {
            ended = &mut output => return ended,
            ended = &mut input, if input_open => match ended {
                Ok(After::Detach) => return Ended::Detached,
                // The container takes no more, which says nothing about its output.
                Ok(After::End) | Err(_) => input_open = false,
            },
        }
    }
}

enum After {
    End,
    Detach,
}

async fn carry_input(
    mut client: impl AsyncRead + Unpin,
    mut container: impl AsyncWrite + Unpin,
    mut keys: Option<DetachKeys>,
) -> io::Result<After> {
    let mut buffer = vec![0; INPUT];
    let mut filtered = Vec::new();
    loop {
        let count = client.read(&mut buffer).await?;
        if count == 0 {
            // Half-close: the container reads to its end, and may go on writing.
            container.shutdown().await?;
            return Ok(After::End);
        }
        let Some(keys) = &mut keys else {
            container.write_all(&buffer[..count]).await?;
            continue;
        };
        filtered.clear();
        let detach = keys.filter(&buffer[..count], &mut filtered);
        container.write_all(&filtered).await?;
        if detach {
            return Ok(After::Detach);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(keys: &str, inputs: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut keys = DetachKeys::parse(keys).unwrap();
        let mut out = Vec::new();
        let detached = inputs.iter().any(|input| keys.filter(input, &mut out));
        (out, detached)
    }

    #[test]
    fn the_keys_detach_even_when_they_come_apart() {
        assert_eq!(filtered("ctrl-p,ctrl-q", &[b"ls\n\x10\x11rest"]), (b"ls\n".to_vec(), true));
        assert_eq!(filtered("ctrl-p,ctrl-q", &[b"a\x10", b"\x11"]), (b"a".to_vec(), true));
        assert_eq!(filtered("a,b,c", &[b"ab", b"c"]), (Vec::new(), true));
    }

    #[test]
    fn a_beginning_that_goes_on_otherwise_is_the_containers() {
        assert_eq!(filtered("ctrl-p,ctrl-q", &[b"\x10x"]), (b"\x10x".to_vec(), false));
        assert_eq!(filtered("ctrl-p,ctrl-q", &[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
    }

    #[test]
    fn keys_are_characters_or_control_keys() {
        assert_eq!(DetachKeys::parse("ctrl-p,ctrl-q").unwrap(), DetachKeys::default());
        assert_eq!(DetachKeys::parse("ctrl-@,x").unwrap().keys, [0, b'x']);
        for wrong in ["", "ctrl-", "ctrl-1", "abc", "a,,b"] {
            assert_eq!(
                DetachKeys::parse(wrong).unwrap_err().to_string(),
                format!("Invalid detach keys ({wrong}) provided")
            );
        }
    }

    #[test]
    fn frames_tell_where_output_was_written() {
        let encoded = |form: Form| {
            let mut out = Vec::new();
            form.encode(Channel::Stderr, b"hi", &mut out);
            out
        };
        assert_eq!(encoded(Form::Raw), b"hi");
        assert_eq!(encoded(Form::Multiplexed), b"\x02\0\0\0\0\0\0\x02hi");
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn without_the_sequence_nothing_is_lost_but_what_is_held_back() {
        bolero::check!().with_type::<Vec<u8>>().for_each(|input| {
            let mut keys = DetachKeys::default();
            let mut out = Vec::new();
            if !keys.filter(input, &mut out) {
                out.extend_from_slice(&keys.keys[..keys.typed]);
                assert_eq!(&out, input);
            }
        });
    }
}
