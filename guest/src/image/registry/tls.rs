//! Whom we trust, and who we are: the roots that the host's system trusts, those of a registry's own folder with the
//! certificate to show there, and nobody to check where the settings say so.

use std::sync::Arc;

use holm_api::link::RegistryCertificates;
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::RegistryError;

/// Certificates of `roots` (PEM, one after the other).
pub(super) fn store(roots: &str) -> RootCertStore {
    let mut store = RootCertStore::empty();
    add(&mut store, roots);
    store
}

fn add(store: &mut RootCertStore, roots: &str) {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(roots.as_bytes()).filter_map(Result::ok).collect();
    let (_, ignored) = store.add_parsable_certificates(certificates);
    if ignored > 0 {
        // Systems carry some that are broken; the others are no worse for it.
        tracing::debug!(ignored, "root certificates that cannot be read");
    }
}

/// Checks certificates against `roots`, and those of the registry's own.
pub(super) fn verifying(
    roots: &RootCertStore,
    own: Option<&RegistryCertificates>,
) -> Result<ClientConfig, RegistryError> {
    let mut roots = roots.clone();
    if let Some(own) = own {
        add(&mut roots, &own.roots);
    }
    introduced(builder()?.with_root_certificates(roots), own)
}

/// Takes any certificate: for registries that the settings list as insecure.
pub(super) fn lenient(own: Option<&RegistryCertificates>) -> Result<ClientConfig, RegistryError> {
    let anyone = Anyone(Arc::new(ring::default_provider()));
    introduced(builder()?.dangerous().with_custom_certificate_verifier(Arc::new(anyone)), own)
}

/// Shows our certificate where there is one.
fn introduced(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    own: Option<&RegistryCertificates>,
) -> Result<ClientConfig, RegistryError> {
    let Some((own, client)) = own.and_then(|own| Some((own, own.client.as_ref()?))) else {
        return Ok(builder.with_no_client_auth());
    };
    let unusable = |error: &dyn std::fmt::Display| {
        RegistryError::Settings(format!(
            "the client certificate for {} cannot be used: {error}",
            own.registry
        ))
    };
    let chain = CertificateDer::pem_slice_iter(client.chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| unusable(&error))?;
    // What is wrong with a key would quote it.
    let key =
        PrivateKeyDer::from_pem_slice(client.key.as_bytes()).map_err(|_| unusable(&"no private key"))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| unusable(&error))
}

fn builder() -> Result<ConfigBuilder<ClientConfig, rustls::WantsVerifier>, RegistryError> {
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
