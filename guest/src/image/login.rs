//! `docker login`: whether a registry takes a name and a password, before anybody keeps them.

use holm_api::DEFAULT_REGISTRY;
use reqwest::Url;

use super::Images;
use super::registry::{LoginError, RegistryError, check, host_and_port, push_endpoints};
use super::settings::RegistryAuth;

/// Where Docker's clients say that they log in to Docker Hub.
const INDEX: &str = "index.docker.io";

impl Images {
    /// Logs in at the registry that `server` (a host, or a URL whose host counts) names. Returns the identity
    /// token to keep in place of the password, where the registry gives one.
    pub(crate) async fn login(&self, server: &str, auth: RegistryAuth) -> Result<Option<String>, LoginError> {
        let connection = self.shared.connection()?;
        let mut last = None;
        for endpoint in push_endpoints(&registry(server)?, &self.shared.settings.registries)? {
            match check(&connection, &endpoint, auth.clone()).await {
                Ok(identity) => return Ok(identity),
                // Nobody spoke there: plain HTTP may be spoken, where it may be at all.
                Err(LoginError::Registry(error @ RegistryError::Transport { .. })) => {
                    tracing::info!(%error, endpoint = endpoint.name(), "logging in at the next endpoint");
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        let none = || RegistryError::Settings(format!("no endpoints found for {server}"));
        Err(last.unwrap_or_else(none).into())
    }
}

/// The registry that a client means: `https://index.docker.io/v1/` is Docker Hub.
fn registry(server: &str) -> Result<String, RegistryError> {
    let server = if server.is_empty() { INDEX } else { server };
    let text = if server.contains("://") { server.to_owned() } else { format!("https://{server}") };
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else {
        return Err(RegistryError::Settings(format!("unable to parse server address: {server:?}")));
    };
    Ok(match host_and_port(&url) {
        hub if hub == INDEX => DEFAULT_REGISTRY.to_owned(),
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_counts_and_docker_hub_has_several_names() {
        let of = |server| registry(server).unwrap();
        for hub in ["", "https://index.docker.io/v1/", "index.docker.io", "docker.io"] {
            assert_eq!(of(hub), "docker.io", "{hub}");
        }
        assert_eq!(of("registry.example:5000/v2/"), "registry.example:5000");
        assert_eq!(of("http://localhost:5000"), "localhost:5000");
        assert!(registry("ftp://x").is_err());
        assert!(registry("a b").is_err());
    }
}
