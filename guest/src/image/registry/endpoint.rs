//! Where the images of a registry are asked for: mirrors first, then the registry itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use holm_api::DEFAULT_REGISTRY;
use holm_api::link::Registries;
use reqwest::Url;

use super::RegistryError;

/// docker.io is a name; this is the machine.
const HUB: &str = "registry-1.docker.io";

/// One place to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// What stands before `/v2/`, without a slash at its end.
    pub(crate) base: Url,
    /// Whether any certificate will do.
    pub(crate) lenient: bool,
    /// A mirror never sees anybody's password.
    pub(crate) mirror: bool,
}

impl Endpoint {
    /// `host:port`, as a user knows it.
    pub(crate) fn name(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        match self.base.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// The URL of something below `/v2/`.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}/v2/{path}"));
        url
    }
}

/// Where to ask for images of `registry`, in order.
pub(crate) fn endpoints(registry: &str, settings: &Registries) -> Result<Vec<Endpoint>, RegistryError> {
    let parse = |text: &str| {
        let url = Url::parse(text).ok();
        url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| RegistryError::Settings(format!("{text:?} is no address of a registry")))
    };
    let mut endpoints = Vec::new();
    if registry == DEFAULT_REGISTRY {
        for mirror in &settings.mirrors {
            let base = parse(mirror)?;
            let mut endpoint = Endpoint { base, lenient: false, mirror: true };
            endpoint.lenient = is_insecure(&endpoint.name(), &settings.insecure);
            endpoints.push(endpoint);
        }
    }
    let host = if registry == DEFAULT_REGISTRY { HUB } else { registry };
    let lenient = is_insecure(host, &settings.insecure);
    endpoints.push(Endpoint { base: parse(&format!("https://{host}"))?, lenient, mirror: false });
    if lenient {
        endpoints.push(Endpoint { base: parse(&format!("http://{host}"))?, lenient, mirror: false });
    }
    Ok(endpoints)
}

/// Where images of `registry` are written to, and logins are tried, in order: never a mirror.
pub(crate) fn push_endpoints(registry: &str, settings: &Registries) -> Result<Vec<Endpoint>, RegistryError> {
    let all = endpoints(registry, settings)?;
    Ok(all.into_iter().filter(|endpoint| !endpoint.mirror).collect())
}

/// Whether `host[:port]` may be asked without TLS: loopback always, others where the settings list them, by name
/// or by network.
fn is_insecure(registry: &str, listed: &[String]) -> bool {
    let host = host_of(registry);
    let address = host.parse::<IpAddr>().ok();
    host == "localhost"
        || address.is_some_and(|address| address.is_loopback())
        || listed.iter().any(|entry| {
            entry.eq_ignore_ascii_case(registry)
                || address.is_some_and(|address| network_holds(entry, address).unwrap_or(false))
        })
}

/// Without port and brackets.
pub(super) fn host_of(registry: &str) -> &str {
    match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => registry.split(':').next().unwrap_or(registry),
    }
}

/// Whether the network `entry` (CIDR) holds `address`; `None` where it is no network.
fn network_holds(entry: &str, address: IpAddr) -> Option<bool> {
    let (network, length) = entry.split_once('/')?;
    let length: u32 = length.parse().ok()?;
    match (network.parse().ok()?, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = |ip: Ipv4Addr| ip.to_bits().checked_shr(32_u32.checked_sub(length)?).or(Some(0));
            Some(mask(network)? == mask(address)?)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = |ip: Ipv6Addr| ip.to_bits().checked_shr(128_u32.checked_sub(length)?).or(Some(0));
            Some(mask(network)? == mask(address)?)
        }
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(registry: &str, mirrors: &[&str], insecure: &[&str]) -> Vec<String> {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let settings =
            Registries { mirrors: list(mirrors), insecure: list(insecure), ..Registries::default() };
        endpoints(registry, &settings).unwrap().iter().map(|e| e.url("").to_string()).collect()
    }

    #[test]
    fn mirrors_are_for_docker_io_alone_and_come_first() {
        let mirrors = ["http://localhost:5000", "https://mirror.example/hub/"];
        assert_eq!(
            bases("docker.io", &mirrors, &[]),
            [
                "http://localhost:5000/v2/",
                "https://mirror.example/hub/v2/",
                "https://registry-1.docker.io/v2/"
            ]
        );
        assert_eq!(bases("ghcr.io", &mirrors, &[]), ["https://ghcr.io/v2/"]);
    }

    #[test]
    fn nothing_is_written_to_a_mirror() {
        let settings =
            Registries { mirrors: vec!["http://localhost:5000".to_owned()], ..Registries::default() };
        let bases = push_endpoints("docker.io", &settings).unwrap();
        let bases: Vec<_> = bases.iter().map(|endpoint| endpoint.base.as_str()).collect();
        assert_eq!(bases, ["https://registry-1.docker.io/"]);
    }

    #[test]
    fn plain_http_is_for_loopback_and_for_what_the_settings_list() {
        for registry in ["localhost:5000", "127.0.0.1", "127.9.9.9:80", "[::1]:5000"] {
            assert_eq!(bases(registry, &[], &[]).len(), 2, "{registry}");
        }
        assert_eq!(bases("registry.lan:5000", &[], &["registry.lan:5000"]).len(), 2);
        assert_eq!(bases("registry.lan:5001", &[], &["registry.lan:5000"]).len(), 1);
        assert_eq!(bases("10.1.2.3:5000", &[], &["10.0.0.0/8"]).len(), 2);
        assert_eq!(bases("11.1.2.3:5000", &[], &["10.0.0.0/8", "fc00::/7"]).len(), 1);
        assert_eq!(bases("[fd00::1]:5000", &[], &["fc00::/7"]).len(), 2);
        assert_eq!(bases("11.1.2.3", &[], &["0.0.0.0/0"]).len(), 2);
        assert_eq!(bases("localhost.example", &[], &[]).len(), 1);
    }

    #[test]
    fn a_mirror_that_is_no_address_is_told() {
        let settings = Registries { mirrors: vec!["mirror".to_owned()], ..Registries::default() };
        let told = endpoints("docker.io", &settings).unwrap_err().to_string();
        assert_eq!(told, "\"mirror\" is no address of a registry");
    }
}
