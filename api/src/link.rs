//! The private link on vsock port 1024: how the host configures, times and ends its guest.
//!
//! ```text
//!   host                                   guest (PID 1)
//!    │ ── Hello{version} ──────────────────► │
//!    │ ◄───────────────────── Hello{version} │
//!    │ ── Configure{time, tokens, …} ──────► │   mounts, network, engine
//!    │ ◄──────── Ready{…} or Failed{step, …} │
//!    │ ── SetClock, Shutdown ──────────────► │
//! ```
//!
//! A message is a big-endian `u32` length and that many bytes of JSON, at most [`LONGEST_MESSAGE`]. Either
//! side is free to close; the guest powers off when its host is gone for good, and the host ends a guest
//! that breaks these rules.

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Raised by every change that an older peer would misread.
pub const LINK_VERSION: u32 = 3;
/// Bytes of the largest message: a computer's root certificates are about 250 KiB.
pub const LONGEST_MESSAGE: usize = 4 << 20;
/// Bytes before a message that tell its length.
pub const LENGTH_PREFIX: usize = 4;

/// What the host says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HostMessage {
    /// First. A guest that speaks another version answers with its own and closes.
    Hello {
        /// [`LINK_VERSION`] of the host.
        version: u32,
    },
    /// Second, once.
    Configure(Box<Configure>),
    /// At wake-up and every minute.
    SetClock {
        /// Nanoseconds since the Unix epoch.
        unix_nanos: u64,
    },
    /// Stop containers, sync, power off. The guest closes the link as its last act.
    Shutdown,
}

/// What the guest says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum GuestMessage {
    /// The answer to [`HostMessage::Hello`].
    Hello {
        /// [`LINK_VERSION`] of the guest.
        version: u32,
        /// Version of `holmd`.
        holmd: String,
    },
    /// The Engine API answers from now on.
    Ready(Ready),
    /// A boot step failed; nothing will answer.
    Failed {
        /// Name of the step, as the boot's code calls it.
        step: String,
        /// What happened, in a sentence.
        reason: String,
    },
    /// The engine ended and init starts it again. For the log; clients reconnect by themselves.
    EngineRestarted {
        /// How it ended, as `exit status 1` or `signal 9`.
        how: String,
    },
}

/// What the guest has to know before it can be ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Configure {
    /// Nanoseconds since the Unix epoch: stepped before `Ready`, so that certificates are valid.
    pub unix_nanos: u64,
    /// The machine's name, shown by `docker info`.
    pub hostname: String,
    /// Opens the guest's stream to [`crate::port::NETWORK`].
    pub network_token: Token,
    /// Opens the engine's streams to [`crate::port::SERVICES`], for as long as the machine lives.
    pub services_token: Token,
    /// The host's root certificates, PEM, one after the other.
    pub root_certificates: String,
    /// Registries' settings.
    pub registries: Registries,
    /// Networks that the host has routes to: no network in the guest is to be in their way.
    #[serde(default)]
    pub routes: Vec<IpNet>,
    /// Proxies of the host, `None` where it uses none.
    pub proxy: Option<Proxy>,
    /// What the host calls the machine's kind: `qemu`, `process`. For `docker info`.
    pub hypervisor: String,
    /// Digest of the guest image the machine was booted from; `None` on `process`.
    pub image_digest: Option<String>,
    /// How containers get at folders of the computer.
    pub binds: Binds,
}

/// How containers get at folders of the computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Binds {
    /// The host serves them, and decides what may be reached.
    Served,
    /// As they are, where the machine sees them.
    Plain,
}

/// How the engine reaches registries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registries {
    /// Base URLs asked before docker.io, in order.
    pub mirrors: Vec<String>,
    /// `host[:port]` or CIDR that may be asked over plain HTTP or with a certificate nobody vouches for.
    pub insecure: Vec<String>,
    /// Certificates for single registries.
    #[serde(default)]
    pub certificates: Vec<RegistryCertificates>,
}

/// What is believed of one registry beside [`Configure::root_certificates`], and what is shown to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryCertificates {
    /// `host[:port]`, or without the colon where the host's file names cannot have one.
    pub registry: String,
    /// Further root certificates, PEM, one after the other.
    pub roots: String,
    /// Who we are.
    pub client: Option<ClientCertificate>,
}

/// A certificate to show, with its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// PEM, our own certificate first.
    pub chain: String,
    /// PEM.
    pub key: String,
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientCertificate(…)")
    }
}

/// Proxy settings, as `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` hold them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// For `http:` URLs.
    pub http: Option<String>,
    /// For `https:` URLs.
    pub https: Option<String>,
    /// Names and networks reached directly, comma separated.
    pub no_proxy: Option<String>,
}

/// What a guest tells of itself when it is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// `uname -r`.
    pub kernel: String,
    /// Things that do not work here and why, a sentence each: a missing cgroup controller, a capability.
    pub warnings: Vec<String>,
}

/// Proves to the host that a stream comes from the guest's own daemon and serves one purpose. Sent as its 32
/// raw bytes before anything else on the stream; good for one stream, unless its purpose says more.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(pub [u8; Token::LENGTH]);

impl Token {
    /// Bytes of a token.
    pub const LENGTH: usize = 32;
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl TryFrom<String> for Token {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, hex::FromHexError> {
        let mut bytes = [0; Token::LENGTH];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl From<Token> for String {
    fn from(token: Token) -> String {
        hex::encode(token.0)
    }
}

/// Why bytes from the other side are no message.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A length over [`LONGEST_MESSAGE`].
    #[error("a link message of {0} bytes; at most {LONGEST_MESSAGE} are taken")]
    TooLong(usize),
    /// No JSON, or none of our messages.
    #[error("a link message that cannot be read")]
    Malformed(#[source] serde_json::Error),
}

/// The message with its length in front.
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, LinkError> {
    let mut bytes = vec![0; LENGTH_PREFIX];
    serde_json::to_writer(&mut bytes, message).map_err(LinkError::Malformed)?;
    let length = bytes.len() - LENGTH_PREFIX;
    if length > LONGEST_MESSAGE {
        return Err(LinkError::TooLong(length));
    }
    bytes[..LENGTH_PREFIX].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(bytes)
}

/// How many bytes of message follow this prefix.
pub fn parse_length(prefix: [u8; LENGTH_PREFIX]) -> Result<usize, LinkError> {
    let length = u32::from_be_bytes(prefix) as usize;
    if length > LONGEST_MESSAGE { Err(LinkError::TooLong(length)) } else { Ok(length) }
}

/// The message in these bytes, its length already taken off.
pub fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, LinkError> {
    serde_json::from_slice(bytes).map_err(LinkError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back_as_it_was_written() {
        let message = GuestMessage::Failed { step: "data disk".into(), reason: "no such device".into() };
        let bytes = encode(&message).unwrap();
        let length = parse_length(bytes[..4].try_into().unwrap()).unwrap();
        assert_eq!(length, bytes.len() - 4);
        assert_eq!(decode::<GuestMessage>(&bytes[4..]).unwrap(), message);
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_anything_is_read() {
        assert!(matches!(parse_length([0xff; 4]), Err(LinkError::TooLong(_))));
    }

    #[test]
    fn a_token_and_a_key_do_not_show_in_logs() {
        assert_eq!(format!("{:?}", Token([7; 32])), "Token(…)");
        let client = ClientCertificate { chain: String::new(), key: "secret".into() };
        assert!(!format!("{client:?}").contains("secret"));
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn no_bytes_break_the_decoder() {
        bolero::check!().for_each(|bytes: &[u8]| {
            if let Some((prefix, rest)) = bytes.split_first_chunk()
                && let Ok(length) = parse_length(*prefix)
                && let Some(body) = rest.get(..length)
            {
                let _ = decode::<GuestMessage>(body);
                let _ = decode::<HostMessage>(body);
            }
        });
    }
}
