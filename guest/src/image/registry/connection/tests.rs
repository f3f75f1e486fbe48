use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::image::fake::FakeRegistry;
use holm_api::link::{ClientCertificate, Registries};

/// A certificate for `localhost` that vouches for itself until 2126, and its key.
const LOCALHOST: &str = include_str!("localhost.pem");

fn connection(roots: &str) -> Connection {
    Connection::new(&RegistrySettings {
        root_certificates: roots.to_owned(),
        registries: Registries::default(),
        proxy: None,
        loopback: "127.0.0.1".parse().unwrap(),
        patience: Patience { connect: Duration::from_secs(5), ..Patience::default() },
    })
    .unwrap()
}

async fn ask(connection: &Connection, url: &str, lenient: bool) -> Result<u16, TransportFault> {
    let url: Url = url.parse().unwrap();
    let endpoint = Endpoint { base: url.clone(), lenient, mirror: false };
    match connection.send(Ask::get(&url, HeaderMap::new(), &endpoint)).await {
        Ok(response) => Ok(response.status().as_u16()),
        Err(RegistryError::Transport { fault, .. }) => Err(fault),
        Err(error) => panic!("{error}"),
    }
}

/// Answers every connection over TLS with 204; ends with the process.
fn serve_tls() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let certificate = CertificateDer::from_pem_slice(LOCALHOST.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(LOCALHOST.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let mut request = [0; 4096];
            // A client that does not trust us hangs up instead.
            if stream.read(&mut request).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
            }
        }
    });
    port
}

#[tokio::test]
async fn a_certificate_is_believed_where_its_root_is_and_where_any_will_do() {
    let port = serve_tls();
    let (trusting, strange) = (connection(LOCALHOST), connection(""));
    let name = format!("https://localhost:{port}/v2/");
    let address = format!("https://127.0.0.1:{port}/v2/");
    assert_eq!(ask(&trusting, &name, false).await, Ok(204));
    assert_eq!(ask(&strange, &name, true).await, Ok(204));
    assert_eq!(ask(&strange, &name, false).await, Err(TransportFault::UnknownAuthority));
    let other = ask(&trusting, &address, false).await;
    assert_eq!(other, Err(TransportFault::CertificateName("127.0.0.1".to_owned())));
}

#[tokio::test]
async fn a_root_of_one_registry_counts_there_alone_and_a_broken_key_stops_no_other() {
    let (port, other) = (serve_tls(), serve_tls());
    let own =
        |registry: String, client| RegistryCertificates { registry, roots: LOCALHOST.to_owned(), client };
    let broken = ClientCertificate { chain: LOCALHOST.to_owned(), key: "secret nonsense".to_owned() };
    let certificates = vec![
        own(format!("localhost:{port}"), None),
        // As Windows names the folder.
        own("localhost9".to_owned(), Some(broken)),
    ];
    let connection = Connection::new(&RegistrySettings {
        root_certificates: String::new(),
        registries: Registries { certificates, ..Registries::default() },
        proxy: None,
        loopback: "127.0.0.1".parse().unwrap(),
        patience: Patience { connect: Duration::from_secs(5), ..Patience::default() },
    })
    .unwrap();
    assert_eq!(ask(&connection, &format!("https://localhost:{port}/v2/"), false).await, Ok(204));
    let told = ask(&connection, &format!("https://localhost:{other}/v2/"), false).await;
    assert_eq!(told, Err(TransportFault::UnknownAuthority));
    let url: Url = "https://localhost:9/v2/".parse().unwrap();
    let endpoint = Endpoint { base: url.clone(), lenient: false, mirror: false };
    let error = connection.send(Ask::get(&url, HeaderMap::new(), &endpoint)).await.unwrap_err().to_string();
    assert_eq!(error, "the client certificate for localhost9 cannot be used: no private key");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_told() {
    let registry = FakeRegistry::start().await;
    let told = ask(&connection(""), &format!("https://{}/v2/", registry.address), true).await.unwrap_err();
    assert_eq!(told, TransportFault::PlainHttp(registry.address.to_string()));
    assert_eq!(told.to_string(), "http: server gave HTTP response to HTTPS client");
}

#[tokio::test]
async fn a_proxy_is_used_but_for_loopback() {
    let (registry, proxy) = (FakeRegistry::start().await, FakeRegistry::start().await);
    proxy.serve("http://registry.example/v2/", "text/plain", "through the proxy");
    registry.serve("/v2/", "text/plain", "");
    let settings = RegistrySettings {
        root_certificates: String::new(),
        registries: Registries::default(),
        proxy: Some(Proxy { http: Some(proxy.address.to_string()), https: None, no_proxy: None }),
        loopback: "127.0.0.1".parse().unwrap(),
        patience: Patience::default(),
    };
    let connection = Connection::new(&settings).unwrap();
    assert_eq!(ask(&connection, "http://registry.example/v2/", false).await, Ok(200));
    assert_eq!(ask(&connection, &format!("http://{}/v2/", registry.address), false).await, Ok(200));
    assert_eq!((proxy.asked("").len(), registry.asked("").len()), (1, 1));
}
