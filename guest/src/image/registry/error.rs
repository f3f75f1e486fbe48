//! What goes wrong between us and a registry, in the words in which Docker tells it.

use std::time::Duration;

/// Why a request has no useful answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegistryError {
    /// No answer came at all.
    #[error("{method} \"{url}\": {fault}")]
    Transport {
        /// As Go writes it: `Get`, `Put`.
        method: &'static str,
        /// As the user knows it.
        url: String,
        /// What happened.
        fault: TransportFault,
    },
    /// The registry says no, in the words of the distribution specification.
    #[error("{}: {message}", code.to_ascii_lowercase().replace('_', " "))]
    Refused {
        /// `DENIED`, `UNAUTHORIZED`, `MANIFEST_UNKNOWN`, `TOOMANYREQUESTS`, ….
        code: String,
        /// The registry's words.
        message: String,
        /// Host and port.
        registry: String,
    },
    /// The registry wants a name and a password, and there are none.
    #[error("no basic auth credentials")]
    NoLogin {
        /// Host and port.
        registry: String,
    },
    /// The registry says no in other words.
    #[error("received unexpected HTTP status: {status}")]
    Status {
        /// Number and name: `503 Service Unavailable`.
        status: String,
        /// Host and port.
        registry: String,
    },
    /// The blob is not there although the manifest names it.
    #[error("unknown blob")]
    BlobUnknown,
    /// The registry fell silent in the middle of an answer.
    #[error("{registry} sent nothing for {} seconds in the middle of {what}", waited.as_secs())]
    Stalled {
        /// Host and port.
        registry: String,
        /// Which blob or manifest.
        what: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The registry closed the connection in the middle of an answer, again and again.
    #[error("{registry} closed the connection after {got} of {expected} bytes of {what}: unexpected EOF")]
    BrokeOff {
        /// Host and port.
        registry: String,
        /// Which blob or manifest.
        what: String,
        /// Bytes that came.
        got: u64,
        /// Bytes that were announced.
        expected: u64,
    },
    /// An answer that breaks the protocol.
    #[error("{registry} breaks the registry protocol: {what}")]
    Protocol {
        /// Host and port.
        registry: String,
        /// How.
        what: String,
    },
    /// A blob that is to be sent cannot be read.
    #[error("cannot read a blob of the image: {0}")]
    Unreadable(String),
    /// The settings cannot be used.
    #[error("{0}")]
    Settings(String),
}

/// Why a connection could not be used. The texts are those of Go's `net` and `tls`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TransportFault {
    /// The name means nothing.
    #[error("dial tcp: lookup {0}: no such host")]
    NoSuchHost(String),
    /// No name server answered.
    #[error("dial tcp: lookup {host}: {reason}")]
    Lookup {
        /// The name.
        host: String,
        /// What the resolver says.
        reason: String,
    },
    /// Nobody listens.
    #[error("dial tcp {0}: connect: connection refused")]
    ConnectionRefused(String),
    /// There is no way.
    #[error("dial tcp {address}: connect: {reason}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// No answer in time.
    #[error("dial tcp {0}: i/o timeout")]
    ConnectTimeout(String),
    /// The connection stands, but no answer comes.
    #[error("net/http: timeout awaiting response headers")]
    AnswerTimeout,
    /// A certificate that nobody we trust vouches for.
    #[error("tls: failed to verify certificate: x509: certificate signed by unknown authority")]
    UnknownAuthority,
    /// A certificate out of its time.
    #[error("tls: failed to verify certificate: x509: certificate has expired or is not yet valid")]
    CertificateExpired,
    /// A certificate for somebody else.
    #[error("tls: failed to verify certificate: x509: certificate is not valid for {0}")]
    CertificateName(String),
    /// Any other trouble with TLS.
    #[error("tls: {0}")]
    Tls(String),
    /// Plain HTTP where TLS was spoken.
    #[error("http: server gave HTTP response to HTTPS client")]
    PlainHttp(String),
    /// Closed before an answer.
    #[error("EOF")]
    Closed,
    /// The connection came to nothing before anything was asked.
    #[error("{0}")]
    Handshake(String),
    /// The proxy did not let us through.
    #[error("proxyconnect tcp: {0}")]
    Proxy(String),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

impl RegistryError {
    /// What the user can do about it, where we know.
    pub(crate) fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Transport { fault, .. } => return fault.hint(),
            Self::Refused { code, registry, .. } if code == "UNAUTHORIZED" => {
                format!("log in to {registry} first, or check the name and password you logged in with")
            }
            Self::NoLogin { registry } => format!("log in first: holm login {registry}"),
            Self::Refused { code, registry, .. } if code == "TOOMANYREQUESTS" => {
                format!("wait a while, log in to {registry} for a higher limit, or set registry-mirrors")
            }
            Self::Stalled { registry, .. } | Self::BrokeOff { registry, .. } => {
                format!("try again; if it stays so, look at {registry} or at the proxy before it")
            }
            Self::Status { registry, .. } => format!("try again later, or ask who runs {registry}"),
            _ => return None,
        };
        Some(text)
    }
}

impl TransportFault {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoSuchHost(host) => format!("check the spelling of {host}, and this computer's network"),
            Self::Lookup { .. } | Self::Unreachable { .. } | Self::ConnectTimeout(_) => {
                "check this computer's network, VPN and proxy".to_owned()
            }
            Self::ConnectionRefused(address) => format!("check that a registry listens at {address}"),
            Self::UnknownAuthority => "put the registry's certificate authority in the folder \
                                       certs.d/<registry> of Holm's home as ca.crt and restart the machine, or \
                                       list the registry under insecure-registries in the settings"
                .to_owned(),
            Self::CertificateExpired => {
                "check this computer's clock, and the registry's certificate".to_owned()
            }
            Self::PlainHttp(registry) => {
                format!("if {registry} is meant to be so, list it under insecure-registries in the settings")
            }
            _ => return None,
        };
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_search_for_is_told_in_the_words_they_know() {
        let refused = |code: &str| {
            RegistryError::Refused { code: code.into(), message: "why".into(), registry: "r".into() }
                .to_string()
        };
        assert_eq!(refused("TOOMANYREQUESTS"), "toomanyrequests: why");
        assert_eq!(refused("NAME_INVALID"), "name invalid: why");
        let url = "https://registry.invalid/v2/".to_owned();
        let fault = TransportFault::NoSuchHost("registry.invalid".into());
        assert_eq!(
            RegistryError::Transport { method: "Get", url, fault }.to_string(),
            "Get \"https://registry.invalid/v2/\": dial tcp: lookup registry.invalid: no such host"
        );
    }
}
