//! What a registry has under a name, without pulling it: `GET /distribution/{name}/json`.

use holm_api::{Digest, Reference};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::config::LONGEST_CONFIG;
use super::registry::{Access, Document, RegistryError, Session, TransportFault, endpoints};
use super::settings::RegistryAuth;
use super::{Images, blocking};

/// Bytes of the largest manifest that is read.
const LONGEST_MANIFEST: usize = 4 << 20;
/// A list with more entries is not believed.
const MOST_PLATFORMS: usize = 1_000;
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A manifest or index at a registry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// What it is.
    pub(crate) media_type: String,
    /// Of its bytes.
    pub(crate) digest: Digest,
    /// Its bytes.
    pub(crate) size: usize,
    /// What the images in it are for.
    pub(crate) platforms: Vec<RemotePlatform>,
}

/// OCI image-spec, "platform".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RemotePlatform {
    architecture: String,
    os: String,
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    features: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    variant: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<Vec<Entry>>,
    config: Option<Config>,
}

#[derive(Deserialize)]
struct Entry {
    platform: Option<RemotePlatform>,
}

#[derive(Deserialize)]
struct Config {
    digest: Digest,
}

impl Images {
    /// Asks the registry, its mirrors first.
    pub(crate) async fn remote(
        &self,
        reference: &Reference,
        auth: &RegistryAuth,
    ) -> Result<Remote, RegistryError> {
        let connection = self.shared.connection()?;
        let registry = reference.registry();
        let mut last = None;
        for endpoint in endpoints(registry, &self.shared.settings.registries)? {
            let (mirror, repository) = (endpoint.mirror, reference.repository());
            let session = Session::new(connection.clone(), endpoint, repository, Access::Pull, auth.clone());
            match self.describe(&session, reference).await {
                Ok(remote) => return Ok(remote),
                Err(error @ RegistryError::Transport { .. }) => {
                    // Of TLS and plain HTTP to one place where nobody listens, one is enough.
                    let refused = matches!(
                        &error,
                        RegistryError::Transport { fault: TransportFault::ConnectionRefused(_), .. }
                    );
                    last = Some(last.filter(|_| refused).unwrap_or(error));
                }
                Err(error) if mirror => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        let none = || RegistryError::Settings(format!("no endpoints found for {}", reference.familiar()));
        Err(last.unwrap_or_else(none))
    }

    async fn describe(&self, session: &Session, reference: &Reference) -> Result<Remote, RegistryError> {
        let asked = match reference.digest() {
            Some(digest) => digest.to_string(),
            None => reference.tag().unwrap_or("latest").to_owned(),
        };
        let document = session.manifest(&asked, LONGEST_MANIFEST).await?;
        let broken = |what: &str| RegistryError::Protocol { registry: session.name(), what: what.to_owned() };
        let digest = Digest::from_bytes(Sha256::digest(&document.bytes).into());
        if reference.digest().is_some_and(|asked| asked != digest) {
            return Err(broken("its manifest has another digest than was asked for"));
        }
        let (mut remote, config) =
            read(digest, &document).ok_or_else(|| broken("it sends something that is no manifest"))?;
        if let Some(config) = config {
            let bytes = self.config(session, config).await;
            remote.platforms.extend(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()));
        }
        remote.platforms.retain(|platform| !platform.os.is_empty() || !platform.architecture.is_empty());
        Ok(remote)
    }

    /// An image's configuration, which says what it is for; one that does not come leaves that open, as in moby.
    async fn config(&self, session: &Session, digest: Digest) -> Option<Vec<u8>> {
        let shared = self.shared.clone();
        let held = blocking(move || shared.blobs.read(&digest, LONGEST_CONFIG).ok()).await;
        match held {
            Some(bytes) => Some(bytes),
            None => {
                let bytes = session.small_blob(&digest, LONGEST_CONFIG).await.ok()?;
                (Digest::from_bytes(Sha256::digest(&bytes).into()) == digest).then_some(bytes)
            }
        }
    }
}

/// What a manifest tells, and the configuration that tells the rest.
fn read(digest: Digest, document: &Document) -> Option<(Remote, Option<Digest>)> {
    let manifest: Manifest = serde_json::from_slice(&document.bytes).ok()?;
    if manifest.schema_version != 2 {
        return None;
    }
    let media_type = manifest.media_type.or_else(|| document.media_type.clone());
    let platforms = manifest.manifests.into_iter().flatten().take(MOST_PLATFORMS);
    let remote = Remote {
        media_type: media_type.unwrap_or_else(|| OCI_MANIFEST.to_owned()),
        digest,
        size: document.bytes.len(),
        platforms: platforms.filter_map(|entry| entry.platform).collect(),
    };
    Some((remote, manifest.config.map(|config| config.digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Option<(Remote, Option<Digest>)> {
        let document = Document { media_type: Some("told".to_owned()), bytes: text.as_bytes().to_vec() };
        read(Digest::from_bytes([1; 32]), &document)
    }

    #[test]
    fn a_list_tells_its_platforms_and_an_image_where_to_look() {
        let (list, config) = read_text(
            r#"{"schemaVersion":2,"mediaType":"list","manifests":[{"platform":{"os":"linux",
               "architecture":"arm","variant":"v7"}},{"digest":"x"}]}"#,
        )
        .unwrap();
        assert_eq!((list.media_type.as_str(), config), ("list", None));
        assert_eq!(
            serde_json::to_string(&list.platforms).unwrap(),
            r#"[{"architecture":"arm","os":"linux","variant":"v7"}]"#
        );
        let config = Digest::from_bytes([2; 32]);
        let text = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{config}"}}}}"#);
        let (image, found) = read_text(&text).unwrap();
        assert_eq!((image.media_type.as_str(), found), ("told", Some(config)));
    }

    #[test]
    fn what_is_no_manifest_is_none() {
        for text in ["", "[]", "<html>", r#"{"schemaVersion":1}"#] {
            assert!(read_text(text).is_none(), "{text}");
        }
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn no_bytes_break_the_reader() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let document = Document { media_type: None, bytes: bytes.to_vec() };
            let _ = read(Digest::from_bytes([0; 32]), &document);
        });
    }
}
