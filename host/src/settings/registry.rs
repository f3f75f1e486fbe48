//! Registries in the settings: a mirror is a base URL, an insecure registry a host or a network.

/// A mirror's base URL without its last slash. The error is a sentence.
pub(super) fn mirror(text: &str) -> Result<String, String> {
    let bad = || format!("{text:?} is no base URL; write it like \"https://mirror.example.com\"");
    let uri: http::Uri = text.parse().map_err(|_| bad())?;
    let served = matches!(uri.scheme_str(), Some("http" | "https"));
    let credentials = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if !served || uri.host().is_none_or(str::is_empty) || credentials || uri.query().is_some() {
        return Err(bad());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// `host`, `host:port` or a network in CIDR form. The error is a sentence.
pub(super) fn insecure(text: &str) -> Result<String, String> {
    let bad = || format!("{text:?} is neither a host, host:port nor a network like 10.0.0.0/8");
    if let Some((address, bits)) = text.split_once('/') {
        let address: std::net::IpAddr = address.parse().map_err(|_| bad())?;
        let bits: u8 = bits.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        return if bits <= most { Ok(text.to_owned()) } else { Err(bad()) };
    }
    let authority: http::uri::Authority = text.parse().map_err(|_| bad())?;
    if authority.host().is_empty() || text.contains('@') { Err(bad()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_an_http_url_without_credentials() {
        assert_eq!(mirror("http://localhost:5000/"), Ok("http://localhost:5000".into()));
        for text in ["localhost:5000", "ftp://x", "https://", "https://me:pw@x", "https://x?y"] {
            assert!(mirror(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_insecure_registry_is_a_host_or_a_network() {
        for text in ["r.lan", "r.lan:5000", "10.0.0.0/8", "fd00::/8"] {
            assert!(insecure(text).is_ok(), "{text}");
        }
        for text in ["", "a b", "10.0.0.0/33", "http://r.lan", "me@r.lan"] {
            assert!(insecure(text).is_err(), "{text}");
        }
    }
}
