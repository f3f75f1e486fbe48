//! Addresses in the settings that only programs of this computer reach.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// `127.0.0.1:2376`, `[::1]:2376` or `localhost:2376`. The error is a sentence.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let bad =
        || format!("{text:?} is no address and port of this computer's loopback, such as \"127.0.0.1:2376\"");
    let address = match text.strip_prefix("localhost:") {
        Some(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().map_err(|_| bad())?),
        None => text.parse().map_err(|_| bad())?,
    };
    if address.ip().is_loopback() && address.port() != 0 { Ok(address) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopback_is_listened_on() {
        for (text, address_there) in
            [("127.0.0.1:2376", "127.0.0.1:2376"), ("[::1]:1", "[::1]:1"), ("localhost:80", "127.0.0.1:80")]
        {
            assert_eq!(address(text), Ok(address_there.parse().unwrap()), "{text}");
        }
        for text in
            ["", "2376", "0.0.0.0:2376", "[::]:2376", "10.0.0.1:2376", "127.0.0.1", "127.0.0.1:0", "box:1"]
        {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
