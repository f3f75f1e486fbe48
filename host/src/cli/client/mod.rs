//! The Engine API's client: HTTP/1.1 over the daemon's socket, version negotiation, and errors in Docker's
//! words. It knows requests and replies; what they mean is the commands' business.

mod call;
mod reply;
mod ssh;

use std::collections::BTreeMap;
use std::time::Duration;

use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OnceCell};
use tokio_rustls::TlsConnector;

use super::endpoint::{Endpoint, Identity, Transport};
use super::environment::Program;
use super::error::CliError;
use super::session;

pub(crate) use call::{Call, escape};
pub(crate) use reply::{JsonLines, Reply};
use ssh::SshStream;

/// How long a daemon that accepted our connection may take for its first answer. A machine that is still
/// booting has been waited for before.
const FIRST_ANSWER: Duration = Duration::from_secs(60);
/// How long a daemon on another computer may take to accept us.
const CONNECTING: Duration = Duration::from_secs(30);
/// What a daemon speaks that does not say so: the last version before negotiation.
const BEFORE_NEGOTIATION: &str = "1.24";

/// What a request carries.
type Body = UnsyncBoxBody<Bytes, std::io::Error>;
/// What a connection runs over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}
type Sender = SendRequest<Body>;

/// Speaks to one daemon. One request at a time keeps its connection open for the next.
pub(crate) struct Client {
    endpoint: Endpoint,
    program: Program,
    version: OnceCell<String>,
    idle: Mutex<Option<Sender>>,
    /// Sent with every request.
    headers: BTreeMap<String, String>,
    /// Whether each request is told on standard error.
    debug: bool,
}

impl Client {
    /// Does not connect yet. `version` is what `DOCKER_API_VERSION` asks for; without it, the newest version
    /// that both sides know is used.
    pub(crate) fn new(endpoint: Endpoint, program: Program, version: Option<String>) -> Self {
        Self {
            endpoint,
            program,
            version: OnceCell::new_with(version),
            idle: Mutex::new(None),
            headers: BTreeMap::new(),
            debug: false,
        }
    }

    /// The same, with headers of the user's own in every request. `debug` tells each of them on standard error.
    pub(crate) fn with(self, headers: BTreeMap<String, String>, debug: bool) -> Self {
        Self { headers, debug, ..self }
    }

    /// The daemon's address, as it is shown.
    pub(crate) fn host(&self) -> &str {
        &self.endpoint.host
    }

    /// The version that is spoken, asked for once. Where the daemon cannot be reached, that is the error.
    pub(crate) async fn version(&self) -> Result<&str, CliError> {
        self.version.get_or_try_init(|| self.negotiate()).await.map(String::as_str)
    }

    async fn negotiate(&self) -> Result<String, CliError> {
        let ping = self.exchange(Call::head("/_ping"), None);
        let Ok(reply) = tokio::time::timeout(FIRST_ANSWER, ping).await else {
            return Err(CliError::Silent { host: self.endpoint.host.clone() });
        };
        let reply = reply?;
        let theirs = reply.header("api-version").unwrap_or(BEFORE_NEGOTIATION).to_owned();
        reply.bytes().await?;
        Ok(older(&theirs, holm_api::API_VERSION).to_owned())
    }

    /// Sends a request and returns its reply's head as soon as that is there. A status of 400 or more is an
    /// error in the daemon's words.
    pub(crate) async fn send(&self, call: Call) -> Result<Reply<'_>, CliError> {
        let version = self.version().await?;
        self.exchange(call, Some(version)).await?.or_refusal().await
    }

    async fn exchange(&self, call: Call, version: Option<&str>) -> Result<Reply<'_>, CliError> {
        let reusable = self.idle.lock().await.take().filter(|sender| !sender.is_closed());
        let mut sender = match reusable {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        sender.ready().await.map_err(broken)?;
        let mut request = call.into_request(version)?;
        self.add_headers(request.headers_mut())?;
        let what = self.debug.then(|| format!("{} {}", request.method(), request.uri()));
        let response = sender.send_request(request).await.map_err(broken)?;
        if let Some(what) = what {
            session::debug(&format!("{what}: {}", response.status()));
        }
        Ok(Reply { response, sender, client: self })
    }

    /// Who we are stays ours to say.
    fn add_headers(&self, headers: &mut http::HeaderMap) -> Result<(), CliError> {
        for (name, value) in &self.headers {
            let invalid = || CliError::said(format!("HttpHeaders: {name:?} cannot be sent as a header"));
            let name = http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
            let value = http::HeaderValue::from_str(value).map_err(|_| invalid())?;
            if name != http::header::USER_AGENT && name != http::header::HOST {
                headers.insert(name, value);
            }
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Sender, CliError> {
        let stream = self.open().await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends by itself when the sender and the reply's body are gone; what breaks it is seen by them.
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    /// A connection that nothing has been said on yet.
    pub(crate) async fn open(&self) -> Result<Box<dyn Stream>, CliError> {
        match &self.endpoint.transport {
            Transport::Socket(path) => {
                let stream = crate::os::connect(path).await.map_err(|error| self.unreachable(error))?;
                Ok(Box::new(stream))
            }
            Transport::Ssh(host) => {
                let stream = SshStream::open(&host.arguments(self.program))
                    .map_err(|cause| CliError::Local { what: "cannot run ssh".to_owned(), cause })?;
                Ok(Box::new(stream))
            }
            Transport::Tcp { host, port, tls } => {
                let connecting = TcpStream::connect((host.as_str(), *port));
                let stream = match tokio::time::timeout(CONNECTING, connecting).await {
                    Ok(connected) => connected.map_err(|error| self.unreachable(error))?,
                    Err(_) => return Err(CliError::Silent { host: self.endpoint.host.clone() }),
                };
                // Keys that are typed must not wait for more.
                stream.set_nodelay(true).map_err(|error| CliError::Transport(Box::new(error)))?;
                match tls {
                    Some(identity) => secured(stream, host, identity).await,
                    None => Ok(Box::new(stream)),
                }
            }
        }
    }

    fn unreachable(&self, cause: std::io::Error) -> CliError {
        let (program, host, explicit) = (self.program, self.endpoint.host.clone(), self.endpoint.explicit);
        match cause.kind() {
            std::io::ErrorKind::PermissionDenied => CliError::Denied { program, host, explicit, cause },
            _ => CliError::NoDaemon { program, host, explicit },
        }
    }

    async fn keep(&self, sender: Sender) {
        *self.idle.lock().await = Some(sender);
    }
}

async fn secured(stream: TcpStream, host: &str, identity: &Identity) -> Result<Box<dyn Stream>, CliError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| CliError::Transport(Box::new(error)))?;
    let handshake = TlsConnector::from(identity.0.clone()).connect(name, stream);
    match tokio::time::timeout(CONNECTING, handshake).await {
        Ok(secured) => Ok(Box::new(secured.map_err(|error| CliError::Transport(Box::new(error)))?)),
        Err(_) => Err(CliError::Transport("the TLS handshake takes too long".into())),
    }
}

fn broken(error: hyper::Error) -> CliError {
    CliError::Transport(Box::new(error))
}

/// Reads all of a body that the daemon is trusted to keep small: one object or one list.
async fn collect(body: Incoming) -> Result<Bytes, CliError> {
    Ok(body.collect().await.map_err(broken)?.to_bytes())
}

/// The older of two versions of the form `1.51`.
fn older<'a>(a: &'a str, b: &'a str) -> &'a str {
    let parts = |text: &str| -> Vec<u32> { text.split('.').map(|part| part.parse().unwrap_or(0)).collect() };
    if parts(a) < parts(b) { a } else { b }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
