//! Whom we trust: the roots that the host's system trusts, and nobody to check where the settings say so.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::RegistryError;

/// Checks certificates against `roots` (PEM, one after the other).
pub(super) fn verifying(roots: &str) -> Result<ClientConfig, RegistryError> {
    let mut store = RootCertStore::empty();
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(roots.as_bytes()).filter_map(Result::ok).collect();
    let (_, ignored) = store.add_parsable_certificates(certificates);
    if ignored > 0 {
        // Systems carry some that are broken; the others are no worse for it.
        tracing::debug!(ignored, "root certificates that cannot be read");
    }
    Ok(builder()?.with_root_certificates(store).with_no_client_auth())
}

/// Takes any certificate: for registries that the settings list as insecure.
pub(super) fn lenient() -> Result<ClientConfig, RegistryError> {
    let anyone = Anyone(Arc::new(ring::default_provider()));
    Ok(builder()?.dangerous().with_custom_certificate_verifier(Arc::new(anyone)).with_no_client_auth())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, RegistryError> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| RegistryError::Settings(error.to_string()))
}

/// Asks nobody who the other side is. That it holds the certificate's key is still checked.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
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
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
