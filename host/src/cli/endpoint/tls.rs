//! Who we are to a daemon behind TLS, and whom we believe to be one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::cli::error::system_words;

/// Files that TLS material is read from.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Who signs daemons that are believed.
    pub(crate) ca: PathBuf,
    /// Our certificate and its key; `None` where we have none.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// Whether a daemon has to prove who it is.
    pub(crate) verify: bool,
}

impl Files {
    pub(super) fn read(&self) -> Result<Identity, String> {
        let read = |path: &Path| {
            fs::read(path).map_err(|error| format!("open {}: {}", path.display(), system_words(&error)))
        };
        let mut material = vec![("ca.pem", read(&self.ca)?)];
        for (name, path) in [("cert.pem", &self.certificate), ("key.pem", &self.key)] {
            if let Some(path) = path {
                material.push((name, read(path)?));
            }
        }
        Identity::new(&material, self.verify)
    }
}

/// What a TLS connection needs.
#[derive(Clone, Debug)]
pub(crate) struct Identity(pub(crate) Arc<ClientConfig>);

impl Identity {
    /// Made of `ca.pem`, `cert.pem` and `key.pem`. Without the first, this computer's own trust counts.
    pub(super) fn new(material: &[(&'static str, Vec<u8>)], verify: bool) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if verify {
            builder.with_root_certificates(roots(material)?)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        };
        let config = match (part(material, "cert.pem"), part(material, "key.pem")) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate, "cert.pem")?;
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| seems_invalid("key.pem"))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("failed to retrieve context tls info: {error}"))?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Self(Arc::new(config)))
    }
}

/// Complains of TLS material that could never be used.
pub(crate) fn check_material(material: &[(&'static str, Vec<u8>)]) -> Result<(), String> {
    if let Some(ca) = part(material, "ca.pem") {
        certificates(ca, "ca.pem")?;
    }
    Identity::new(material, false).map(drop)
}

fn part<'a>(material: &'a [(&'static str, Vec<u8>)], name: &str) -> Option<&'a [u8]> {
    material.iter().find(|(file, _)| *file == name).map(|(_, bytes)| bytes.as_slice())
}

fn seems_invalid(file: &str) -> String {
    format!("{file} seems invalid")
}

fn certificates(pem: &[u8], file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    read.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| seems_invalid(file))
}

fn roots(material: &[(&'static str, Vec<u8>)]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match part(material, "ca.pem") {
        Some(ca) => {
            for certificate in certificates(ca, "ca.pem")? {
                roots.add(certificate).map_err(|_| seems_invalid("ca.pem"))?;
            }
        }
        None => {
            // Certificates of this computer that the library cannot read are not trusted, and that is all.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

/// Believes every daemon, as `--tls` without `--tlsverify` asks for. The connection is still one with whoever
/// answered: signatures are checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn material_that_is_none_is_told_by_its_file() {
        let error = check_material(&[("ca.pem", b"ca".to_vec())]).unwrap_err();
        assert_eq!(error, "ca.pem seems invalid");
        assert_eq!(check_material(&[]), Ok(()));
    }

    #[test]
    fn files_that_are_not_there_are_named() {
        let files = Files { ca: "/nonexistent/ca.pem".into(), certificate: None, key: None, verify: true };
        assert_eq!(files.read().unwrap_err(), "open /nonexistent/ca.pem: no such file or directory");
    }
}
