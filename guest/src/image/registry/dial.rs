//! From a name to addresses, inside the machine: by its own resolver, since a static program has no other, and
//! with the computer in the place of loopback.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use holm_api::network::HOST_NAMES;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Resolves names for the HTTP client.
#[derive(Clone)]
pub(super) struct Resolver {
    loopback: IpAddr,
    /// Made with the first question: `/etc/resolv.conf` is written while the machine starts.
    resolver: Arc<OnceLock<TokioResolver>>,
}

/// Why a name has no address. Found again in the client's chain of errors.
#[derive(Debug, thiserror::Error)]
#[error("lookup {host}: {reason}")]
pub(super) struct LookupError {
    pub(super) host: String,
    pub(super) reason: String,
    /// The name means nothing, as opposed to nobody knowing what it means.
    pub(super) no_such_host: bool,
}

impl Resolver {
    pub(super) fn new(loopback: IpAddr) -> Self {
        Self { loopback, resolver: Arc::default() }
    }

    pub(super) fn loopback(&self) -> IpAddr {
        self.loopback
    }

    /// `url` as it is dialled, and, where that is another host, the one to tell in `Host`. A name keeps its place
    /// in the URL, since TLS checks it; a loopback address would never reach the resolver.
    pub(super) fn dialled(&self, url: &Url) -> (Url, Option<String>) {
        let address = match url.host() {
            Some(url::Host::Ipv4(address)) => IpAddr::V4(address),
            Some(url::Host::Ipv6(address)) => IpAddr::V6(address),
            _ => return (url.clone(), None),
        };
        let mut dialled = url.clone();
        if !address.is_loopback() || address == self.loopback || dialled.set_ip_host(self.loopback).is_err() {
            return (url.clone(), None);
        }
        let host = url.host_str().unwrap_or_default();
        let told = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        (dialled, Some(told))
    }

    pub(super) async fn lookup(self, host: String) -> Result<Vec<IpAddr>, LookupError> {
        if host == "localhost" || HOST_NAMES.contains(&host.as_str()) {
            return Ok(vec![self.loopback]);
        }
        let failed = |error: NetError| LookupError {
            no_such_host: error.is_nx_domain() || error.is_no_records_found(),
            reason: error.to_string(),
            host: host.clone(),
        };
        let resolver = match self.resolver.get() {
            Some(resolver) => resolver,
            None => {
                let made =
                    TokioResolver::builder_tokio().and_then(|builder| builder.build()).map_err(failed)?;
                self.resolver.get_or_init(|| made)
            }
        };
        // Without the dot, the search domains of the computer's network would be tried first.
        let name = if host.ends_with('.') || !host.contains('.') { host.clone() } else { format!("{host}.") };
        Ok(resolver.lookup_ip(name).await.map_err(failed)?.iter().collect())
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = self.clone().lookup(name.as_str().to_owned());
        Box::pin(async move {
            // Port 0: the client puts in the URL's.
            let addresses = lookup.await?.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_means_the_computer_and_the_host_header_stays() {
        let resolver = Resolver::new("192.168.65.254".parse().unwrap());
        let dialled = |text: &str| {
            let (url, host) = resolver.dialled(&Url::parse(text).unwrap());
            (url.to_string(), host)
        };
        assert_eq!(
            dialled("http://127.0.0.1:5000/v2/"),
            ("http://192.168.65.254:5000/v2/".to_owned(), Some("127.0.0.1:5000".to_owned()))
        );
        assert_eq!(
            dialled("https://[::1]/v2/"),
            ("https://192.168.65.254/v2/".to_owned(), Some("[::1]".to_owned()))
        );
        for same in ["http://localhost:5000/v2/", "http://10.0.0.1/v2/", "https://registry.example/v2/"] {
            assert_eq!(dialled(same), (same.to_owned(), None));
        }
    }

    #[tokio::test]
    async fn names_of_the_computer_are_known_without_asking() {
        let resolver = Resolver::new("192.168.65.254".parse().unwrap());
        for name in ["localhost", "host.docker.internal"] {
            let found = resolver.clone().lookup(name.to_owned()).await.unwrap();
            assert_eq!(found, [IpAddr::from([192, 168, 65, 254])]);
        }
    }
}
