//! `GET /holm/diagnosis`: how things are in here, for `holm doctor`.

use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use chrono::Utc;
use holm_api::DEFAULT_REGISTRY;
use holm_api::diagnosis::{Diagnosis, Link};
use http::StatusCode;

use crate::api::error::ApiError;
use crate::api::reply;
use crate::engine::Engine;

/// The kernel's list of network interfaces.
const LINKS: &str = "/sys/class/net";

/// Takes no parameters: nobody can make us ask anybody but the registries of the settings.
pub(super) async fn diagnosis(State(engine): State<Arc<Engine>>) -> Result<Response, ApiError> {
    let registries = engine.images().probe(DEFAULT_REGISTRY).await.map_err(|error| failed(&error))?;
    let disk = rustix::fs::statvfs(engine.layout().data()).map_err(|error| failed(&error))?;
    let diagnosis = Diagnosis {
        time: u64::try_from(Utc::now().timestamp_millis()).unwrap_or_default(),
        registries,
        links: links(Path::new(LINKS)),
        disk_free: disk.f_bavail.saturating_mul(disk.f_frsize),
        disk_size: disk.f_blocks.saturating_mul(disk.f_frsize),
    };
    Ok(reply::json(StatusCode::OK, &diagnosis))
}

fn failed(error: &dyn std::error::Error) -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// Interfaces in the order of their names. One that goes while we look is left out.
fn links(folder: &Path) -> Vec<Link> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut links: Vec<Link> = entries
        .filter_map(|entry| {
            let mtu = std::fs::read_to_string(entry.path().join("mtu")).ok()?;
            Some(Link { name: entry.file_name().into_string().ok()?, mtu: mtu.trim().parse().ok()? })
        })
        .collect();
    links.sort_by(|a, b| a.name.cmp(&b.name));
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_interface_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for (name, mtu) in [("tun0", "65000\n"), ("broken", "x")] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("mtu"), mtu).unwrap();
        }
        assert_eq!(links(folder.path()), [Link { name: "tun0".to_owned(), mtu: 65000 }]);
        assert_eq!(links(Path::new("/nonexistent")), []);
    }
}
