//! Whether the image store is whole: `GET /holm/check`, beside the Engine API, for `holm system check`.

use serde::{Deserialize, Serialize};

/// The path of the request.
pub const PATH: &str = "/holm/check";

/// What was looked at, and what is wrong with it. Nothing is repaired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Images.
    pub images: u64,
    /// Names of images.
    pub names: u64,
    /// Manifests, configurations and layers as they came, each read to its end.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Unpacked layers.
    pub layers: u64,
    /// Containers that stand on them.
    pub containers: u64,
    /// A sentence each. There may be more than are listed.
    pub problems: Vec<String>,
}
