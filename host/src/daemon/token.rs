//! Tokens: how the host knows that a stream comes from the guest's own daemon. Anybody in the guest who has a
//! vsock can dial the host's ports.

use std::io;
use std::time::Duration;

use holm_api::link::Token;
use holm_vmm::Stream;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// A stream that does not open with its token within this time is closed.
const DEADLINE: Duration = Duration::from_secs(10);

/// A new one.
pub(super) fn new() -> io::Result<Token> {
    let mut bytes = [0; Token::LENGTH];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(Token(bytes))
}

/// Takes the token off the stream. `false`: it does not open with it.
pub(super) async fn opens(stream: &mut Stream, token: &Token) -> bool {
    let mut bytes = [0; Token::LENGTH];
    let read = timeout(DEADLINE, stream.read_exact(&mut bytes)).await;
    let same = same(token, &bytes);
    matches!(read, Ok(Ok(_))) && same
}

/// Whether the bytes are the token. All are compared whatever the first ones are, so that the time taken tells
/// nothing.
pub(super) fn same(token: &Token, bytes: &[u8; Token::LENGTH]) -> bool {
    bytes.iter().zip(&token.0).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    async fn sent(bytes: &[u8]) -> bool {
        let (mut guest, host) = tokio::io::duplex(64);
        guest.write_all(bytes).await.unwrap();
        drop(guest);
        let mut host: Stream = Box::new(host);
        opens(&mut host, &Token([7; Token::LENGTH])).await
    }

    #[tokio::test]
    async fn only_the_whole_token_opens_a_stream() {
        assert!(sent(&[7; 32]).await);
        assert!(!sent(&[7; 31]).await, "cut short");
        assert!(!sent(&[[7; 31].as_slice(), &[8]].concat()).await, "wrong in its last byte");
    }

    #[test]
    fn no_two_tokens_are_alike() {
        assert_ne!(new().unwrap(), new().unwrap());
    }
}
