//! Volumes, mounts and the root file system.

use serde_json::{Map, Value, json};

use super::{Part, extend, list};
use crate::cli::error::CliError;
use crate::cli::options::{VolumeSpec, mount};

#[derive(Debug, clap::Args)]
pub(super) struct StorageFlags {
    /// Attach a filesystem mount to the container
    #[arg(long, value_name = "mount", value_parser = mount)]
    mount: Vec<Value>,
    /// Mount the container's root filesystem as read only
    #[arg(long)]
    read_only: bool,
    /// Storage driver options for the container
    #[arg(long, value_name = "list")]
    storage_opt: Vec<String>,
    /// Mount a tmpfs directory
    #[arg(long, value_name = "list")]
    tmpfs: Vec<String>,
    /// Bind mount a volume
    #[arg(short, long, value_name = "list")]
    volume: Vec<String>,
    /// Optional volume driver for the container
    #[arg(long, value_name = "string", default_value = "")]
    volume_driver: String,
    /// Mount volumes from the specified container(s)
    #[arg(long, value_name = "list")]
    volumes_from: Vec<String>,
}

impl StorageFlags {
    pub(super) fn write(&self, config: &mut Part, host: &mut Part) -> Result<(), CliError> {
        let mut anonymous = Map::new();
        let mut binds: Vec<String> = Vec::new();
        for spec in &self.volume {
            match VolumeSpec::parse(spec).map_err(CliError::said)? {
                VolumeSpec::Anonymous(path) => {
                    anonymous.insert(path, json!({}));
                }
                VolumeSpec::Bind(bind) if !binds.contains(&bind) => binds.push(bind),
                VolumeSpec::Bind(_) => {}
            }
        }
        config.insert("Volumes".to_owned(), anonymous.into());
        extend(
            host,
            json!({
                "Binds": list(&binds),
                "ReadonlyRootfs": self.read_only,
                "VolumeDriver": self.volume_driver,
                "VolumesFrom": list(&self.volumes_from),
            }),
        );
        let tmpfs: Map<String, Value> = self
            .tmpfs
            .iter()
            .map(|text| text.split_once(':').unwrap_or((text, "")))
            .map(|(path, options)| (path.to_owned(), options.into()))
            .collect();
        if self.storage_opt.iter().any(|option| !option.contains('=')) {
            return Err(CliError::said("invalid storage option"));
        }
        for (name, part) in [("Tmpfs", tmpfs.into()), ("StorageOpt", super::pairs(&self.storage_opt))] {
            if part != json!({}) {
                host.insert(name.to_owned(), part);
            }
        }
        if !self.mount.is_empty() {
            host.insert("Mounts".to_owned(), self.mount.clone().into());
        }
        Ok(())
    }
}
