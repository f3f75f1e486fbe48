//! Requests that a web page made. A page may send what it likes to a TCP port of the user's own computer, and the
//! browser adds who asks: `Origin`, or by a name of the page's choosing that leads here (DNS rebinding), `Host`.
//! Programs that speak the Engine API send no `Origin`, and name the loopback.

use std::net::IpAddr;

use axum::body::Body;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Request, StatusCode};

use crate::api::error::ApiError;

/// Lets a request through that no web page can have sent.
pub(super) async fn refuse(request: Request<Body>, next: Next) -> Response {
    match check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(headers: &HeaderMap) -> Result<(), ApiError> {
    let forbidden = |message: &str| Err(ApiError::new(StatusCode::FORBIDDEN, message));
    if headers.contains_key(ORIGIN) {
        return forbidden(
            "requests of web pages (with the header Origin) are refused: use listen-tcp with TLS",
        );
    }
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next().map(|host| host.to_str()), hosts.next()) {
        (Some(Ok(host)), None) if is_here(host) => Ok(()),
        // Go's clients of a socket name no host at all.
        (None, None) => Ok(()),
        _ => forbidden(
            "the header Host names no address of this computer's loopback: use localhost or 127.0.0.1",
        ),
    }
}

/// Whether `host`, perhaps with a port, can only be the loopback.
fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopback_is_here() {
        for host in ["localhost", "LOCALHOST:2375", "127.0.0.1:2375", "127.9.9.9", "[::1]:2375", "[::1]"] {
            assert!(is_here(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example:2375", "10.0.0.1:2375", "127.0.0.1.evil.example"]
        {
            assert!(!is_here(host), "{host}");
        }
    }

    #[test]
    fn a_page_is_known_by_its_origin_and_by_its_host() {
        let verdict = |pairs: &[(&str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers
                    .append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
            }
            check(&headers).is_ok()
        };
        assert!(verdict(&[]));
        assert!(verdict(&[("host", "localhost:2375")]));
        assert!(!verdict(&[("host", "localhost:2375"), ("origin", "http://localhost:2375")]));
        assert!(!verdict(&[("origin", "null")]));
        assert!(!verdict(&[("host", "evil.example")]));
        assert!(!verdict(&[("host", "localhost"), ("host", "evil.example")]));
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn whatever_host_is_here_or_is_not() {
        bolero::check!().with_type::<String>().for_each(|host| {
            let _ = is_here(host);
        });
    }
}
