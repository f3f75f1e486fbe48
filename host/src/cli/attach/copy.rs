//! Copying streams through buffers of fixed size, whatever the other side says about lengths.

use holm_api::stream::{Channel, HEADER, parse_header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::End;
use super::escape::DetachKeys;
use crate::cli::error::CliError;

/// Bytes copied at once.
const BUFFER: usize = 32 << 10;
/// Bytes of a message from the engine that are shown.
const LONGEST_MESSAGE: u64 = 64 << 10;

/// Copies everything. Shown at once, because a prompt has no newline.
pub(crate) async fn plain(
    mut reader: impl AsyncRead + Unpin,
    out: &mut (impl AsyncWrite + Unpin),
) -> Result<(), CliError> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = read(&mut reader, &mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        write(out, &buffer[..length]).await?;
    }
}

/// Copies the frames of each stream to its own output (Engine API, "Stream format").
pub(crate) async fn demultiplex(
    reader: impl AsyncRead + Unpin,
    out: &mut (impl AsyncWrite + Unpin),
    err: &mut (impl AsyncWrite + Unpin),
) -> Result<(), CliError> {
    let mut reader = tokio::io::BufReader::with_capacity(BUFFER, reader);
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut header = [0; HEADER];
        if read(&mut reader, &mut header[..1]).await? == 0 {
            return Ok(());
        }
        // A container that is killed may end its stream inside a frame. What came is shown, as Docker does.
        if reader.read_exact(&mut header[1..]).await.is_err() {
            return Ok(());
        }
        let (channel, length) = parse_header(header).map_err(|error| CliError::Transport(Box::new(error)))?;
        if channel == Channel::SystemError {
            let mut message = String::new();
            let mut frame = (&mut reader).take(u64::from(length).min(LONGEST_MESSAGE));
            frame.read_to_string(&mut message).await.map_err(broken)?;
            return Err(CliError::said(format!("error from daemon in stream: {message}")));
        }
        let mut left = length as usize;
        while left > 0 {
            let part = left.min(BUFFER);
            let length = read(&mut reader, &mut buffer[..part]).await?;
            if length == 0 {
                return Ok(());
            }
            match channel {
                Channel::Stderr => write(err, &buffer[..length]).await?,
                _ => write(out, &buffer[..length]).await?,
            }
            left -= length;
        }
    }
}

/// Copies what is typed until it ends, or until the detach keys are in it.
pub(super) async fn typed(
    reader: &mut (impl AsyncRead + Unpin),
    out: &mut (impl AsyncWrite + Unpin),
    keys: Option<&DetachKeys>,
) -> Result<End, CliError> {
    let mut buffer = vec![0; BUFFER];
    let mut filter = keys.map(DetachKeys::filter);
    loop {
        let length = reader
            .read(&mut buffer)
            .await
            .map_err(|cause| CliError::Local { what: "cannot read the input".to_owned(), cause })?;
        if length == 0 {
            return Ok(End::Output);
        }
        let typed = &buffer[..length];
        let (passed, detached) = match &mut filter {
            Some(filter) => filter.pass(typed),
            None => (typed.to_vec(), false),
        };
        out.write_all(&passed).await.map_err(broken)?;
        out.flush().await.map_err(broken)?;
        if detached {
            return Ok(End::Detached);
        }
    }
}

async fn read(reader: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> Result<usize, CliError> {
    reader.read(buffer).await.map_err(broken)
}

async fn write(out: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), CliError> {
    out.write_all(bytes).await.map_err(CliError::output)?;
    out.flush().await.map_err(CliError::output)
}

fn broken(error: std::io::Error) -> CliError {
    CliError::Transport(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holm_api::stream::header;

    fn frame(channel: Channel, text: &str) -> Vec<u8> {
        [&header(channel, text.len() as u32)[..], text.as_bytes()].concat()
    }

    async fn split(bytes: &[u8]) -> (Result<(), CliError>, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let result = demultiplex(bytes, &mut out, &mut err).await;
        (result, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[tokio::test]
    async fn each_stream_goes_to_its_own_output() {
        let long = "x".repeat(3 * BUFFER + 7);
        let bytes = [
            frame(Channel::Stdout, "one"),
            frame(Channel::Stderr, "two"),
            frame(Channel::Stdout, ""),
            frame(Channel::Stdout, &long),
        ]
        .concat();
        let (result, out, err) = split(&bytes).await;
        result.unwrap();
        assert_eq!(out, format!("one{long}"));
        assert_eq!(err, "two");
    }

    #[tokio::test]
    async fn a_stream_that_ends_inside_a_frame_shows_what_came() {
        let mut bytes = frame(Channel::Stdout, "hello");
        bytes.truncate(bytes.len() - 2);
        let (result, out, _) = split(&bytes).await;
        result.unwrap();
        assert_eq!(out, "hel");
        let (result, out, _) = split(&bytes[..3]).await;
        result.unwrap();
        assert_eq!(out, "");
    }

    #[tokio::test]
    async fn a_length_that_lies_costs_no_memory_and_an_unknown_stream_is_an_error() {
        let (result, out, _) = split(&[&header(Channel::Stdout, u32::MAX)[..], b"x"].concat()).await;
        result.unwrap();
        assert_eq!(out, "x");
        let (result, ..) = split(&[9, 0, 0, 0, 0, 0, 0, 1, b'x']).await;
        assert!(matches!(result, Err(CliError::Transport(_))));
    }

    #[tokio::test]
    async fn an_error_of_the_engine_ends_the_stream_with_its_words() {
        let (result, ..) = split(&frame(Channel::SystemError, "out of luck")).await;
        assert_eq!(result.unwrap_err().to_string(), "error from daemon in stream: out of luck");
    }

    #[tokio::test]
    async fn typing_ends_with_the_input_or_with_the_detach_keys() {
        let keys = DetachKeys::default();
        let mut out = Vec::new();
        let end = typed(&mut &b"ls\n"[..], &mut out, Some(&keys)).await.unwrap();
        assert_eq!((end, &out[..]), (End::Output, &b"ls\n"[..]));
        out.clear();
        let end = typed(&mut &b"ls\x10\x11rest"[..], &mut out, Some(&keys)).await.unwrap();
        assert_eq!((end, &out[..]), (End::Detached, &b"ls"[..]));
        out.clear();
        let end = typed(&mut &b"\x10\x11"[..], &mut out, None).await.unwrap();
        assert_eq!((end, &out[..]), (End::Output, &b"\x10\x11"[..]));
    }
}
