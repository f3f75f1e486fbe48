//! Addresses and names of hosts.

use std::net::IpAddr;

/// An address in its usual form.
pub(crate) fn ip_address(text: &str) -> Result<String, String> {
    text.trim()
        .parse::<IpAddr>()
        .map(|address| address.to_string())
        .map_err(|_| format!("IP address is not correctly formatted: {text}"))
}

/// `--add-host name:address` or `name=address`, in the engine's form: with a colon and without brackets.
pub(crate) fn extra_host(text: &str) -> Result<String, String> {
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .filter(|(name, _)| !name.is_empty() && !name.contains(':'))
        .ok_or_else(|| format!("bad format for add-host: {text:?}"))?;
    if address == "host-gateway" {
        return Ok(format!("{name}:{address}"));
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .filter(|inner| !inner.is_empty())
        .unwrap_or(address);
    ip_address(bare).map_err(|_| format!("invalid IP address in add-host: {bare:?}"))?;
    Ok(format!("{name}:{bare}"))
}

/// A domain to search in; a dot stands for none.
pub(crate) fn domain(text: &str) -> Result<String, String> {
    let domain = text.trim_matches(' ');
    if domain == "." {
        return Ok(domain.to_owned());
    }
    let bare = domain.strip_suffix('.').unwrap_or(domain);
    let label = |label: &str| {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let bytes = label.as_bytes();
        matches!(bytes, [first, .., last] | [first @ last] if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
            && bytes.iter().all(|byte| inside(*byte))
            && bytes.len() <= 63
    };
    if bare.len() < 255 && bare.bytes().any(|byte| byte.is_ascii_alphabetic()) && bare.split('.').all(label) {
        Ok(bare.to_owned())
    } else {
        Err(format!("{domain} is not a valid domain"))
    }
}

/// `--link container:alias`
pub(crate) fn link(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("empty string specified for links".to_owned());
    }
    if text.matches(':').count() > 1 {
        return Err(format!("bad format for links: {text}"));
    }
    Ok(text.to_owned())
}

/// Whether the text is six, eight or twenty bytes in hexadecimal, in one of the forms that Go reads.
pub(crate) fn is_mac_address(text: &str) -> bool {
    let text = text.trim();
    let bytes = |mark: char, digits: usize| {
        let parts: Vec<&str> = text.split(mark).collect();
        let hexadecimal = |part: &&str| part.len() == digits && part.bytes().all(|b| b.is_ascii_hexdigit());
        parts.iter().all(hexadecimal).then_some(parts.len() * digits / 2)
    };
    [bytes(':', 2), bytes('-', 2), bytes('.', 4)].into_iter().flatten().any(|n| matches!(n, 6 | 8 | 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_may_have_addresses_in_several_forms() {
        assert_eq!(extra_host("a=[::1]").unwrap(), "a:::1");
        assert_eq!(extra_host("a::1:1").unwrap_err(), "invalid IP address in add-host: \":1:1\"");
        assert_eq!(extra_host(":1.2.3.4").unwrap_err(), "bad format for add-host: \":1.2.3.4\"");
    }

    #[test]
    fn domains_have_letters_and_no_spaces() {
        assert_eq!(domain(" example.com. ").unwrap(), "example.com");
        assert_eq!(domain(".").unwrap(), ".");
        for wrong in ["a b", "1.2", "-a", "a..b", ""] {
            assert!(domain(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hardware_addresses_have_gos_forms() {
        assert!(is_mac_address("92:d0:c6:0a:29:33"));
        assert!(is_mac_address("92-d0-c6-0a-29-33"));
        assert!(is_mac_address("92d0.c60a.2933"));
        assert!(!is_mac_address("zz"));
        assert!(!is_mac_address("92:d0"));
    }
}
