//! One message of the protocol on the wire: a big-endian `u32` length, then JSON. Both sides read through
//! [`take`], which trusts no length that the other side tells.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::protocol::LONGEST_MESSAGE;

/// Bytes of the length.
const HEADER: usize = 4;

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum BadMessage {
    /// Longer than [`LONGEST_MESSAGE`].
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
    /// Not the JSON that was expected.
    #[error("a message cannot be read")]
    Unreadable(#[source] serde_json::Error),
}

/// `message` as it is sent.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    serde_json::to_writer(&mut bytes, message)
        .expect("the protocol's types have string keys and no failing impl");
    let length = u32::try_from(bytes.len() - HEADER).expect("no message of ours comes near 4 GiB");
    bytes[..HEADER].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// Takes the first message off `buffer`, or leaves it as it is when the message is not all there yet.
pub fn take<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> Result<Option<T>, BadMessage> {
    let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    let length = u32::from_be_bytes(*header) as usize;
    if length > LONGEST_MESSAGE {
        return Err(BadMessage::TooLong(length));
    }
    let Some(body) = buffer.get(HEADER..HEADER + length) else { return Ok(None) };
    let message = serde_json::from_slice(body).map_err(BadMessage::Unreadable)?;
    buffer.drain(..HEADER + length);
    Ok(Some(message))
}

/// How many bytes `buffer`, which holds less than a message, lacks at least: never more than the message has.
pub fn wanting(buffer: &[u8]) -> Result<usize, BadMessage> {
    let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(HEADER - buffer.len()) };
    let length = u32::from_be_bytes(*header) as usize;
    if length > LONGEST_MESSAGE {
        return Err(BadMessage::TooLong(length));
    }
    Ok((HEADER + length).saturating_sub(buffer.len()))
}

#[cfg(test)]
mod tests {
    use super::super::protocol::Request;
    use super::*;

    #[test]
    fn messages_come_out_one_by_one_and_what_follows_stays() {
        let mut bytes = encode(&Request::Wait);
        bytes.extend(encode(&Request::Forget));
        bytes.extend(b"std");
        assert!(matches!(take(&mut bytes), Ok(Some(Request::Wait))));
        assert!(matches!(take(&mut bytes), Ok(Some(Request::Forget))));
        assert!(matches!(take::<Request>(&mut bytes), Ok(None)));
        assert_eq!(bytes, b"std");
    }

    #[test]
    fn half_a_message_waits_for_the_rest() {
        let whole = encode(&Request::Signal { signal: 15, all: false });
        for cut in 0..whole.len() {
            let mut part = whole[..cut].to_vec();
            assert!(matches!(take::<Request>(&mut part), Ok(None)), "{cut}");
            assert_eq!(part.len(), cut);
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_bytes_come() {
        let mut bytes = u32::MAX.to_be_bytes().to_vec();
        assert!(matches!(take::<Request>(&mut bytes), Err(BadMessage::TooLong(_))));
    }

    mod fuzz {
        use super::*;

        #[test]
        fn no_bytes_panic_or_grow() {
            bolero::check!().for_each(|bytes: &[u8]| {
                let mut buffer = bytes.to_vec();
                while let Ok(Some(_)) = take::<Request>(&mut buffer) {}
                assert!(buffer.len() <= bytes.len());
            });
        }
    }
}
