//! What the guest inherits from this computer: its root certificates, its routes and its proxies.

use holm_api::link::Proxy;
use holm_api::network::HOST_NAMES;
use ipnet::{IpNet, Ipv4Net};
use tracing::warn;

use crate::os;

/// The certificates this computer trusts, PEM, one after the other. Companies add their own, and then registries
/// behind their proxies work in the guest as well.
pub(super) fn root_certificates() -> String {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        warn!("some of this computer's root certificates could not be read: {error}");
    }
    let pem = |certificate: &[u8]| pem::encode(&pem::Pem::new("CERTIFICATE", certificate));
    found.certs.iter().map(|certificate| pem(certificate)).collect()
}

/// More are passed over: a router's whole table is nothing that a network has to keep clear of.
const MOST_ROUTES: usize = 1_024;

/// Networks that this computer has routes to, a VPN's for one.
pub(super) fn routes() -> Vec<IpNet> {
    let Some(v4) = os::routes() else {
        warn!("this system does not tell its routes, so networks of containers may clash with them");
        return Vec::new();
    };
    // In a loop: of `filter_map` with `u8::try_from(…).ok()?`, rustc 1.95 makes `0.0.0.0/0` for every route once it
    // optimizes.
    let mut nets = Vec::new();
    for (address, bits, _) in &v4 {
        if let Ok(net) = Ipv4Net::new(*address, *bits as u8) {
            nets.push(IpNet::V4(net));
        }
    }
    let v6 = os::routes_v6().into_iter().flatten().map(IpNet::V6);
    nets.extend(v6);
    nets.truncate(MOST_ROUTES);
    nets
}

/// The proxies in the usual variables, as the guest can use them. `variable` reads the environment.
pub(super) fn proxy(variable: impl Fn(&str) -> Option<String>) -> Option<Proxy> {
    // Lower case first: curl reads only that for `http_proxy`, and it is what people set last.
    let either = |name: &str| {
        variable(&name.to_lowercase()).or_else(|| variable(name)).filter(|value| !value.is_empty())
    };
    let proxy = Proxy {
        http: either("HTTP_PROXY").map(seen_from_guest),
        https: either("HTTPS_PROXY").map(seen_from_guest),
        no_proxy: either("NO_PROXY"),
    };
    (proxy.http.is_some() || proxy.https.is_some()).then_some(proxy)
}

/// A proxy on this computer's loopback has another name in the guest.
fn seen_from_guest(url: String) -> String {
    let (scheme, rest) =
        url.split_once("://").map_or(("http", url.as_str()), |(scheme, rest)| (scheme, rest));
    let (login, address) = rest.rsplit_once('@').map_or(("", rest), |(login, address)| (login, address));
    let at = if login.is_empty() { "" } else { "@" };
    for loopback in ["localhost", "127.0.0.1", "[::1]"] {
        if let Some(after) = address.strip_prefix(loopback)
            && (after.is_empty() || after.starts_with([':', '/']))
        {
            return format!("{scheme}://{login}{at}{}{after}", HOST_NAMES[0]);
        }
    }
    format!("{scheme}://{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Option<Proxy> {
        proxy(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn no_variable_means_no_proxy() {
        assert_eq!(of(&[("NO_PROXY", "localhost"), ("HTTP_PROXY", "")]), None);
    }

    #[test]
    fn a_proxy_on_this_computer_is_named_as_the_guest_sees_it() {
        let seen = |url: &str| of(&[("https_proxy", url)]).unwrap().https.unwrap();
        assert_eq!(seen("http://localhost:3128"), "http://host.docker.internal:3128");
        assert_eq!(seen("http://me:pw@127.0.0.1:3128/"), "http://me:pw@host.docker.internal:3128/");
        assert_eq!(seen("proxy.lan:3128"), "http://proxy.lan:3128");
        assert_eq!(seen("http://localhost.lan"), "http://localhost.lan");
    }
}
