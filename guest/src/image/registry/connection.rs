//! Requests, and what becomes of them: dialling, redirects, deadlines, and errors in words.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use holm_api::link::{Proxy, RegistryCertificates};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, LOCATION};
use reqwest::{Client, Method, NoProxy, RequestBuilder, Response, StatusCode, Url};
use tokio::time::{Instant, interval, timeout};

use super::content::Content;
use super::dial::{LookupError, Resolver};
use super::{Endpoint, Patience, RegistryError, TransportFault, tls};
use crate::image::settings::RegistrySettings;

const MOST_REDIRECTS: usize = 10;
/// How often is looked whether an upload still moves.
const LOOK: Duration = Duration::from_millis(100);

/// Speaks HTTP to registries. Keeps connections for the next request.
pub(crate) struct Connection {
    usual: Clients,
    /// For registries with certificates of their own, by the names of their folders; an error is theirs alone.
    own: Vec<(String, Result<Clients, RegistryError>)>,
    resolver: Resolver,
    pub(super) patience: Patience,
}

/// Two ways to speak TLS.
struct Clients {
    verifying: Client,
    lenient: Client,
}

/// What to ask.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: &'a Url,
    pub(super) headers: HeaderMap,
    pub(super) content: Content,
    /// Whose certificates count, wherever it leads.
    pub(super) endpoint: &'a Endpoint,
}

impl<'a> Ask<'a> {
    /// A `GET`.
    pub(super) fn get(url: &'a Url, headers: HeaderMap, endpoint: &'a Endpoint) -> Self {
        Self { method: Method::GET, url, headers, content: Content::Nothing, endpoint }
    }
}

impl Connection {
    /// By these settings.
    pub(crate) fn new(settings: &RegistrySettings) -> Result<Self, RegistryError> {
        let resolver = Resolver::new(settings.loopback);
        let roots = tls::store(&settings.root_certificates);
        let clients = |own: Option<&RegistryCertificates>| {
            Ok(Clients {
                verifying: client(settings, &resolver, tls::verifying(&roots, own)?)?,
                lenient: client(settings, &resolver, tls::lenient(own)?)?,
            })
        };
        let own = &settings.registries.certificates;
        Ok(Self {
            usual: clients(None)?,
            own: own.iter().map(|own| (own.registry.clone(), clients(Some(own)))).collect(),
            resolver: resolver.clone(),
            patience: settings.patience,
        })
    }

    /// The one for this endpoint. Its certificates count wherever it sends us, as in Docker.
    fn client(&self, endpoint: &Endpoint) -> Result<&Client, RegistryError> {
        let name = endpoint.name();
        let colonless = name.replace(':', "");
        let own = self.own.iter().find(|(registry, _)| *registry == name || *registry == colonless);
        let clients = match own {
            Some((_, clients)) => clients.as_ref().map_err(Clone::clone)?,
            None => &self.usual,
        };
        Ok(if endpoint.lenient { &clients.lenient } else { &clients.verifying })
    }

    /// What the URL's host means in here.
    pub(crate) async fn addresses(&self, url: &Url) -> Result<Vec<IpAddr>, String> {
        match self.resolver.dialled(url).0.host() {
            Some(url::Host::Ipv4(address)) => Ok(vec![address.into()]),
            Some(url::Host::Ipv6(address)) => Ok(vec![address.into()]),
            Some(url::Host::Domain(name)) => {
                self.resolver.clone().lookup(name.to_owned()).await.map_err(|error| error.to_string())
            }
            None => Err(format!("{url} names no host")),
        }
    }

    /// Whether there is any answer at all; what it says does not matter.
    pub(crate) async fn ask(&self, endpoint: &Endpoint) -> Result<(), RegistryError> {
        self.send(Ask::get(&endpoint.url(""), HeaderMap::new(), endpoint)).await.map(drop)
    }

    /// The answer to a request for a file anywhere, after all redirects, whatever its status.
    pub(crate) async fn get(&self, url: &Url) -> Result<Response, RegistryError> {
        let endpoint = Endpoint { base: url.clone(), lenient: false, mirror: true };
        self.send(Ask::get(url, HeaderMap::new(), &endpoint)).await
    }

    /// The answer to one request, after all redirects, whatever its status.
    pub(super) async fn send(&self, ask: Ask<'_>) -> Result<Response, RegistryError> {
        let client = self.client(ask.endpoint)?;
        let mut url = ask.url.clone();
        let mut headers = ask.headers;
        for _ in 0..MOST_REDIRECTS {
            let (dialled, host) = self.resolver.dialled(&url);
            let mut request = client.request(ask.method.clone(), dialled).headers(headers.clone());
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            let request = with_content(request, &ask.content)
                .await
                .map_err(|error| RegistryError::Unreadable(lower(&error.to_string())))?;
            let transport = |fault| transport(&ask.method, &url, fault);
            let response = self
                .answer(request, &ask.method, &ask.content)
                .await
                .ok_or_else(|| transport(TransportFault::AnswerTimeout))?
                .map_err(|error| transport(fault(&error, &url)))?;
            if !is_followed(response.status(), &ask.method, &ask.content) {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok());
            let Some(next) = next.filter(|next| matches!(next.scheme(), "http" | "https")) else {
                return Err(protocol(&url, "a redirect that leads nowhere"));
            };
            if next.origin() != url.origin() {
                // Storage behind a registry has its own signature in the URL, and no business with our token.
                headers.remove(AUTHORIZATION);
            }
            url = next;
        }
        Err(protocol(&url, "redirects without end"))
    }

    /// Waits for the beginning of an answer; `None` where the other side has fallen silent.
    async fn answer(
        &self,
        request: RequestBuilder,
        method: &Method,
        content: &Content,
    ) -> Option<reqwest::Result<Response>> {
        let Content::File(part) = content else {
            let is_stored = *method == Method::PUT;
            let longest = if is_stored { self.patience.storing } else { self.patience.silence };
            return timeout(longest, request.send()).await.ok();
        };
        let mut sending = std::pin::pin!(request.send());
        let mut look = interval(LOOK);
        let (mut known, mut since) = (part.sent(), Instant::now());
        loop {
            tokio::select! {
                answer = &mut sending => return Some(answer),
                _ = look.tick() => {
                    let sent = part.sent();
                    if sent != known {
                        (known, since) = (sent, Instant::now());
                    }
                    // Once it has all of it, a registry may have much to put away.
                    let longest =
                        if sent < part.size { self.patience.silence } else { self.patience.storing };
                    if since.elapsed() > longest {
                        return None;
                    }
                }
            }
        }
    }
}

/// Whether a redirect is gone after. A form holds secrets, and what changes something is sent only to where the
/// answer says it is to be sent in the same way (RFC 9110 §15.4.8).
fn is_followed(status: StatusCode, method: &Method, content: &Content) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let same = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    status.is_redirection() && !matches!(content, Content::Form(_)) && (reads || same)
}

async fn with_content(request: RequestBuilder, content: &Content) -> io::Result<RequestBuilder> {
    Ok(match content {
        Content::Nothing => request,
        Content::Form(form) => {
            request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.clone())
        }
        Content::Bytes(bytes) => request.body(bytes.clone()),
        Content::File(part) => request.header(CONTENT_LENGTH, part.length()).body(part.open().await?),
    })
}

/// An upload's URL has a signature in its query, which is nobody's business.
fn transport(method: &Method, url: &Url, fault: TransportFault) -> RegistryError {
    let mut shown = url.clone();
    if !matches!(*method, Method::GET | Method::HEAD) {
        shown.set_query(None);
    }
    RegistryError::Transport { method: title(method), url: shown.to_string(), fault }
}

/// As Go's client begins its errors.
fn title(method: &Method) -> &'static str {
    match *method {
        Method::HEAD => "Head",
        Method::POST => "Post",
        Method::PUT => "Put",
        Method::PATCH => "Patch",
        _ => "Get",
    }
}

/// `host:port` of a URL, the port only where it is not the scheme's own.
pub(crate) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

pub(super) fn protocol(url: &Url, what: &str) -> RegistryError {
    RegistryError::Protocol { registry: host_and_port(url), what: what.to_owned() }
}

fn client(
    settings: &RegistrySettings,
    resolver: &Resolver,
    tls: rustls::ClientConfig,
) -> Result<Client, RegistryError> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(resolver.clone())
        .connect_timeout(settings.patience.connect)
        // Redirects may name loopback too, so each is followed by hand.
        .redirect(reqwest::redirect::Policy::none())
        // A second connection is cheaper than finding out that an idle one is dead.
        .pool_idle_timeout(Duration::from_secs(20))
        .user_agent(concat!("holm/", env!("CARGO_PKG_VERSION")))
        .no_proxy();
    if let Some(proxy) = &settings.proxy {
        builder = with_proxies(builder, proxy, resolver)?;
    }
    builder.build().map_err(|error| RegistryError::Settings(words(&error)))
}

fn with_proxies(
    mut builder: reqwest::ClientBuilder,
    proxy: &Proxy,
    resolver: &Resolver,
) -> Result<reqwest::ClientBuilder, RegistryError> {
    // Loopback is the computer itself, which no proxy of a network can reach.
    let around = format!(
        "localhost,127.0.0.0/8,::1,{},{}",
        resolver.loopback(),
        proxy.no_proxy.as_deref().unwrap_or_default()
    );
    let wrong = |text: &str| RegistryError::Settings(format!("{text:?} is no address of a proxy"));
    for (text, make) in [
        (&proxy.http, reqwest::Proxy::http::<Url> as fn(Url) -> reqwest::Result<reqwest::Proxy>),
        (&proxy.https, reqwest::Proxy::https::<Url>),
    ] {
        let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else { continue };
        // As people write it: with or without a scheme.
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let (dialled, _) = resolver.dialled(&Url::parse(&text).map_err(|_| wrong(&text))?);
        let proxy = make(dialled).map_err(|_| wrong(&text))?;
        builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(&around)));
    }
    Ok(builder)
}

/// What a failed request failed of, in words that people know.
fn fault(error: &reqwest::Error, url: &Url) -> TransportFault {
    let address =
        format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
    if error.is_timeout() && error.is_connect() {
        return TransportFault::ConnectTimeout(address);
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(lookup) = current.downcast_ref::<LookupError>() {
            let host = lookup.host.clone();
            return if lookup.no_such_host {
                TransportFault::NoSuchHost(host)
            } else {
                TransportFault::Lookup { host, reason: lookup.reason.clone() }
            };
        }
        if let Some(tls) = current.downcast_ref::<rustls::Error>() {
            return tls_fault(tls, url);
        }
        if current.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return TransportFault::Closed;
        }
        let system = current.downcast_ref::<io::Error>();
        // An `io::Error` that carries another error is not that error's parent but its disguise: its `source` is
        // already the carried error's own.
        if let Some(carried) = system.and_then(io::Error::get_ref) {
            cause = Some(carried);
            continue;
        }
        if let Some(system) = system {
            return system_fault(system, error.is_connect(), address);
        }
        cause = current.source();
    }
    let text = words(error);
    match error.is_connect() {
        true if text.contains("proxy") || text.contains("tunnel") => TransportFault::Proxy(text),
        true => TransportFault::Handshake(text),
        false => TransportFault::Other(text),
    }
}

fn system_fault(error: &io::Error, while_connecting: bool, address: String) -> TransportFault {
    let closed = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
    match error.kind() {
        _ if closed && while_connecting => TransportFault::Handshake("EOF".to_owned()),
        _ if closed => TransportFault::Closed,
        io::ErrorKind::ConnectionRefused => TransportFault::ConnectionRefused(address),
        io::ErrorKind::TimedOut => TransportFault::ConnectTimeout(address),
        _ if while_connecting => TransportFault::Unreachable { address, reason: lower(&error.to_string()) },
        _ => TransportFault::Other(lower(&error.to_string())),
    }
}

fn tls_fault(error: &rustls::Error, url: &Url) -> TransportFault {
    use rustls::CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(wrong) => match wrong {
            Certificate::UnknownIssuer => TransportFault::UnknownAuthority,
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. } => TransportFault::CertificateExpired,
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                TransportFault::CertificateName(url.host_str().unwrap_or_default().to_owned())
            }
            other => TransportFault::Tls(format!("failed to verify certificate: {other}")),
        },
        // `HTTP/1.1 400` where a TLS record should be.
        rustls::Error::InvalidMessage(_) => TransportFault::PlainHttp(host_and_port(url)),
        other => TransportFault::Tls(other.to_string()),
    }
}

/// The innermost error says most; the client's own layers only repeat that a request failed.
fn words(error: &dyn Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    lower(&innermost.to_string())
}

/// As Go writes the system's errors.
fn lower(text: &str) -> String {
    let text = text.split(" (os error").next().unwrap_or(text);
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests;
