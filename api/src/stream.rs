//! The frames of attached and logged output (Engine API, "Stream format"): one byte of stream number, three
//! of zero, four of big-endian length, then that many bytes.

/// Which stream a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Standard input; only ever written back by the engine.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// An error of the engine itself, as text.
    SystemError,
}

/// Bytes of a frame's header.
pub const HEADER: usize = 8;

/// A header that no frame has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unrecognized stream: {0}")]
pub struct UnknownChannel(pub u8);

/// The header of a frame with `length` bytes.
pub fn header(channel: Channel, length: u32) -> [u8; HEADER] {
    let [a, b, c, d] = length.to_be_bytes();
    [channel as u8, 0, 0, 0, a, b, c, d]
}

/// Channel and length that a header tells. A reader streams the bytes that follow: the length is the other
/// side's word, and may be anything.
pub fn parse_header(header: [u8; HEADER]) -> Result<(Channel, u32), UnknownChannel> {
    let [channel, _, _, _, a, b, c, d] = header;
    let channel = match channel {
        0 => Channel::Stdin,
        1 => Channel::Stdout,
        2 => Channel::Stderr,
        3 => Channel::SystemError,
        other => return Err(UnknownChannel(other)),
    };
    Ok((channel, u32::from_be_bytes([a, b, c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        for channel in [Channel::Stdin, Channel::Stdout, Channel::Stderr, Channel::SystemError] {
            assert_eq!(parse_header(header(channel, 0xfedc_ba98)), Ok((channel, 0xfedc_ba98)));
        }
        assert_eq!(header(Channel::Stderr, 258), [2, 0, 0, 0, 0, 0, 1, 2]);
    }

    #[test]
    fn an_unknown_channel_is_named() {
        assert_eq!(parse_header([9, 0, 0, 0, 0, 0, 0, 0]), Err(UnknownChannel(9)));
    }
}
