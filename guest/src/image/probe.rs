//! Tries registries, without wanting anything of them.

use std::time::Duration;

use holm_api::diagnosis::RegistryProbe;
use tokio::time::timeout;

use super::Images;
use super::registry::{Connection, Endpoint, RegistryError, endpoints};

/// How long one registry may take: somebody waits for the whole report.
const DEADLINE: Duration = Duration::from_secs(10);

impl Images {
    /// Asks each place where images of `registry` come from whether it is there.
    pub(crate) async fn probe(&self, registry: &str) -> Result<Vec<RegistryProbe>, RegistryError> {
        let connection = self.shared.connection()?;
        let mut probes = Vec::new();
        for endpoint in endpoints(registry, &self.shared.settings.registries)? {
            probes.push(probe(&connection, &endpoint).await);
        }
        Ok(probes)
    }
}

async fn probe(connection: &Connection, endpoint: &Endpoint) -> RegistryProbe {
    let host = endpoint.base.host_str().unwrap_or_default().to_owned();
    let addresses = timeout(DEADLINE, connection.addresses(&endpoint.base)).await;
    let asked = timeout(DEADLINE, connection.ask(endpoint)).await;
    let late = || format!("no answer within {} s", DEADLINE.as_secs());
    let (failure, hint) = match asked {
        Ok(Ok(())) => (None, None),
        Ok(Err(error)) => (Some(error.to_string()), error.hint()),
        Err(_) => (Some(late()), None),
    };
    RegistryProbe {
        url: endpoint.base.as_str().trim_end_matches('/').to_owned(),
        host,
        addresses: addresses.unwrap_or_else(|_| Err(late())),
        failure,
        hint,
    }
}
