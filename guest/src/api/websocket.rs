//! WebSockets (RFC 6455) for clients in browsers: the handshake, and a byte stream in messages. Pings, closes and
//! masks are the library's business.

use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, HeaderMap, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::api::error::ApiError;
use crate::api::hijack::{self, Connection, Takeover};

/// What every server appends to a client's key.
const SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of the longest message that a client may send.
const LONGEST_MESSAGE: usize = 1 << 20;
/// Bytes of output in a message at most, and of those that wait in between.
const PIECE: usize = 16 * 1024;

/// How bytes are put into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frames {
    /// As they are.
    Binary,
    /// As text, which clients from before 1.28 want; what is none becomes so.
    Text,
}

/// What a client says in its handshake.
#[derive(Debug)]
pub(crate) struct Handshake {
    key: String,
    protocol: Option<String>,
}

impl Handshake {
    /// Reads the headers; a client that does not speak the protocol is told so.
    pub(crate) fn of(request: &Request) -> Result<Self, ApiError> {
        let headers = request.headers();
        if !names(headers, &UPGRADE, "websocket") || !names(headers, &CONNECTION, "upgrade") {
            return Err(ApiError::invalid("not websocket protocol"));
        }
        if text(headers, &SEC_WEBSOCKET_VERSION) != Some("13") {
            return Err(ApiError::invalid("missing or bad Sec-WebSocket-Version"));
        }
        let key = text(headers, &SEC_WEBSOCKET_KEY).filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| ApiError::invalid("missing or bad Sec-WebSocket-Key"))?;
        // One that was asked for alone is agreed to, as by moby.
        let protocol = text(headers, &SEC_WEBSOCKET_PROTOCOL).filter(|word| !word.contains(','));
        Ok(Self { key: key.to_owned(), protocol: protocol.map(str::to_owned) })
    }

    fn head(&self) -> String {
        let digest = Sha1::new().chain_update(self.key.as_bytes()).chain_update(SUFFIX).finalize();
        let protocol = self.protocol.as_ref();
        let protocol = protocol.map(|word| format!("Sec-WebSocket-Protocol: {word}\r\n")).unwrap_or_default();
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n{protocol}\r\n",
            STANDARD.encode(digest)
        )
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Whether one of the words of a header is this one.
fn names(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let words = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    words.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(wanted))
}

/// Agrees to a client's handshake and runs `then` with its bytes.
pub(crate) async fn accept<F, T>(
    takeover: &Takeover,
    handshake: &Handshake,
    frames: Frames,
    then: F,
) -> Result<Response, ApiError>
where
    F: FnOnce(DuplexStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    hijack::take_over(takeover, handshake.head(), move |connection| bridge(connection, frames, then)).await
}

async fn bridge<F, T>(connection: Connection, frames: Frames, then: F)
where
    F: FnOnce(DuplexStream) -> T,
    T: Future<Output = ()>,
{
    let config = WebSocketConfig::default()
        .max_message_size(Some(LONGEST_MESSAGE))
        .max_frame_size(Some(LONGEST_MESSAGE));
    let socket = WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await;
    let (mut to_client, mut from_client) = socket.split();
    let (ours, theirs) = tokio::io::duplex(PIECE);
    let (mut output, mut input) = tokio::io::split(ours);
    let carry_input = async {
        while let Some(Ok(message)) = from_client.next().await {
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Text(text) => text.into(),
                Message::Close(_) => return,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            };
            if input.write_all(&bytes).await.is_err() {
                // The other side takes no more, and may go on writing.
                break;
            }
        }
        // Until the client closes: what it writes is nobody's, and its pings want an answer.
        while let Some(Ok(_)) = from_client.next().await {}
    };
    let carry_output = async {
        let mut piece = vec![0; PIECE];
        while let Ok(length @ 1..) = output.read(&mut piece).await {
            let bytes = &piece[..length];
            let message = match frames {
                Frames::Binary => Message::Binary(Bytes::copy_from_slice(bytes)),
                Frames::Text => Message::text(String::from_utf8_lossy(bytes).into_owned()),
            };
            if to_client.send(message).await.is_err() {
                return;
            }
        }
        // The client may be gone; otherwise it is told that this was all.
        let _ = to_client.close().await;
    };
    let both = async { tokio::join!(then(theirs), carry_output) };
    // There is no half of a WebSocket to close: a client that ends it is gone.
    tokio::select! {
        _ = both => {}
        () = carry_input => {}
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn handshake(headers: &[(&str, &str)]) -> Result<Handshake, String> {
        let mut request = Request::new(Body::empty());
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        Handshake::of(&request).map_err(|error| error.into_parts().1)
    }

    const GOOD: [(&str, &str); 5] = [
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "tty"),
    ];

    #[test]
    fn a_key_is_answered_as_the_rfc_says() {
        let head = handshake(&GOOD).unwrap().head();
        assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
        assert!(head.contains("Sec-WebSocket-Protocol: tty\r\n"), "{head}");
    }

    #[test]
    fn another_protocol_is_refused() {
        for (missing, words) in [
            (0, "not websocket protocol"),
            (1, "not websocket protocol"),
            (2, "missing or bad Sec-WebSocket-Version"),
            (3, "missing or bad Sec-WebSocket-Key"),
        ] {
            let mut headers = GOOD.to_vec();
            headers.remove(missing);
            assert_eq!(handshake(&headers).unwrap_err(), words);
        }
    }
}
