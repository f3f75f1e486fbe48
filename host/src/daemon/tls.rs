//! Certificates of the Engine API over TCP, made by the daemon for itself and its user's clients, under the names
//! that Docker's clients look for in `DOCKER_CERT_PATH`:
//!
//! | file | what |
//! |---|---|
//! | `ca.pem` | who signed the others. Its key is forgotten at once: nobody can sign more |
//! | `cert.pem`, `key.pem` | a client's |
//! | `server-cert.pem`, `server-key.pem` | the daemon's, for `localhost` and the loopback's addresses |
//!
//! They are all made anew together when one is missing, broken, of another hand, or near its end.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::os;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// As long as the strictest clients accept (macOS: 825 days).
const VALID: Duration = DAY.saturating_mul(820);
/// A daemon may run for so long on certificates that were fine at its start.
const RENEWED_BEFORE: Duration = DAY.saturating_mul(60);
/// For clocks of clients that are behind.
const VALID_BEFORE: Duration = DAY;

const CA: &str = "ca.pem";
const CLIENT: (&str, &str) = ("cert.pem", "key.pem");
const SERVER: (&str, &str) = ("server-cert.pem", "server-key.pem");

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// Their folder.
    #[error("cannot write {0}")]
    Unwritable(String, #[source] io::Error),
    /// Made, and refused by their own library.
    #[error("the certificates are not usable: {0}")]
    Unusable(String),
}

fn unusable(error: impl std::fmt::Display) -> CertificateError {
    CertificateError::Unusable(error.to_string())
}

/// The daemon's end of TLS connections, with the certificates of `folder`, which are made where they are not
/// good for a while.
pub(super) fn server(folder: &Path) -> Result<TlsAcceptor, CertificateError> {
    if let Ok(server) = read(folder) {
        return Ok(server);
    }
    let made = make().map_err(unusable)?;
    write(folder, &made)
        .map_err(|cause| CertificateError::Unwritable(folder.display().to_string(), cause))?;
    read(folder)
}

fn read(folder: &Path) -> Result<TlsAcceptor, CertificateError> {
    let certificate = |name: &str| CertificateDer::from_pem_file(folder.join(name)).map_err(unusable);
    let key = |name: &str| PrivateKeyDer::from_pem_file(folder.join(name)).map_err(unusable);
    let (server, client) = (certificate(SERVER.0)?, certificate(CLIENT.0)?);
    // Only its presence counts: it is the clients'.
    key(CLIENT.1)?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate(CA)?).map_err(unusable)?;
    let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));

    let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
    let clients = clients.build().map_err(unusable)?;
    let ourselves = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
    let ourselves = ourselves.build().map_err(unusable)?;
    let then = SystemTime::now() + RENEWED_BEFORE;
    let then = UnixTime::since_unix_epoch(then.duration_since(SystemTime::UNIX_EPOCH).map_err(unusable)?);
    let localhost = ServerName::try_from("localhost").map_err(unusable)?;
    ourselves.verify_server_cert(&server, &[], &localhost, &[], then).map_err(unusable)?;
    clients.verify_client_cert(&client, &[], then).map_err(unusable)?;

    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![server], key(SERVER.1)?)
        .map_err(unusable)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Names of files and what is in them, in PEM.
type Made = [(&'static str, String); 5];

fn make() -> Result<Made, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut authority = valid("Holm", &[])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = authority.self_signed(&key)?;
    let issuer = Issuer::new(authority, key);

    let signed = |name, hosts: &[&str], purpose| {
        let key = KeyPair::generate()?;
        let mut parameters = valid(name, hosts)?;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![purpose];
        Ok::<_, rcgen::Error>((parameters.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
    };
    let server =
        signed("Holm daemon", &["localhost", "127.0.0.1", "::1"], ExtendedKeyUsagePurpose::ServerAuth)?;
    let client = signed("Holm client", &[], ExtendedKeyUsagePurpose::ClientAuth)?;
    Ok([
        (SERVER.1, server.1),
        (SERVER.0, server.0),
        (CLIENT.1, client.1),
        (CLIENT.0, client.0),
        (CA, certificate.pem()),
    ])
}

fn valid(name: &str, hosts: &[&str]) -> Result<CertificateParams, rcgen::Error> {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let mut parameters = CertificateParams::new(hosts)?;
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    parameters.not_before = (now - VALID_BEFORE).into();
    parameters.not_after = (now + VALID).into();
    Ok(parameters)
}

/// Each file is written whole or not at all; a mixture of old and new ones is found by [`read`].
fn write(folder: &Path, made: &Made) -> io::Result<()> {
    os::create_private_folder(folder)?;
    for (name, text) in made {
        let (path, temporary) = (folder.join(name), folder.join(format!("{name}.new")));
        let mut file = os::create_private_file(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(temporary, &path)?;
    }
    os::sync_folder(&folder.join(CA))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(folder: &Path) -> Vec<Vec<u8>> {
        [CA, CLIENT.0, CLIENT.1, SERVER.0, SERVER.1]
            .map(|name| std::fs::read(folder.join(name)).unwrap())
            .to_vec()
    }

    #[test]
    fn good_certificates_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        server(folder.path()).unwrap();
        let made = contents(folder.path());
        server(folder.path()).unwrap();
        assert_eq!(contents(folder.path()), made);
    }

    #[test]
    fn one_that_is_missing_or_of_another_hand_makes_all_anew() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        server(folder.path()).unwrap();
        server(other.path()).unwrap();
        for name in [CA, CLIENT.0, SERVER.0, SERVER.1] {
            let before = contents(folder.path());
            std::fs::copy(other.path().join(name), folder.path().join(name)).unwrap();
            server(folder.path()).unwrap();
            let after = contents(folder.path());
            assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{name}");
        }
        std::fs::remove_file(folder.path().join(CLIENT.1)).unwrap();
        server(folder.path()).unwrap();
        assert!(folder.path().join(CLIENT.1).exists());
    }

    #[cfg(unix)]
    #[test]
    fn keys_are_their_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        server(folder.path()).unwrap();
        for name in [CLIENT.1, SERVER.1] {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name}");
        }
    }
}
