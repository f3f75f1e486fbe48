//! A volume's folder on the data disk.
//!
//! ```text
//!   <root>/<name>/volume.json   what it is: synced before a client learns of the volume, unlinked first when it
//!                               goes, so that a folder without it is a half-made or half-removed one
//!   <root>/<name>/_data         what containers see
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::name::VolumeName;

const FILE: &str = "volume.json";
const DATA: &str = "_data";

/// What a volume is. Nothing in it changes while it exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// Also that of its folder.
    pub(crate) name: VolumeName,
    /// When.
    pub(crate) created: DateTime<Utc>,
    /// `None` where the client gave none, which clients see.
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// Of the driver; likewise.
    pub(crate) options: Option<BTreeMap<String, String>>,
}

/// Where the data of the volume is.
pub(super) fn data(root: &Path, name: &VolumeName) -> PathBuf {
    root.join(name.as_str()).join(DATA)
}

/// Makes the folder. Where that fails, nothing is left of it.
pub(super) fn write(root: &Path, volume: &Volume) -> io::Result<()> {
    let folder = root.join(volume.name.as_str());
    let written = try_write(root, &folder, volume);
    if written.is_err() {
        // The first error counts; a leftover goes at the next start.
        let _ = fs::remove_dir_all(&folder);
    }
    written
}

fn try_write(root: &Path, folder: &Path, volume: &Volume) -> io::Result<()> {
    // Half removed, by an engine that could not finish it: nobody knows of it any more.
    remove_folder(folder)?;
    fs::create_dir(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o701))?;
    let data = folder.join(DATA);
    fs::create_dir(&data)?;
    fs::set_permissions(&data, Permissions::from_mode(0o755))?;
    let temporary = folder.join(format!("{FILE}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec_pretty(volume)?)?;
    file.sync_all()?;
    fs::rename(temporary, folder.join(FILE))?;
    File::open(folder)?.sync_all()?;
    File::open(root)?.sync_all()
}

/// Removes the folder, the record first.
pub(super) fn remove(root: &Path, name: &VolumeName) -> io::Result<()> {
    let folder = root.join(name.as_str());
    match fs::remove_file(folder.join(FILE)) {
        Ok(()) => File::open(&folder)?.sync_all()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    remove_folder(&folder)
}

/// All volumes on the disk; what is half made or half removed goes.
pub(super) fn read_all(root: &Path) -> io::Result<Vec<Volume>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root)? {
        let folder = entry?.path();
        match read(&folder) {
            Ok(Some(volume)) if folder.file_name().is_some_and(|name| name == volume.name.as_str()) => {
                all.push(volume);
            }
            Ok(Some(_)) => tracing::warn!("{} holds another volume's record", folder.display()),
            Ok(None) => {
                tracing::info!("clearing away {}", folder.display());
                if let Err(error) = remove_folder(&folder) {
                    tracing::warn!("{} stays: {error}", folder.display());
                }
            }
            // Not ours to throw away: somebody may want to look at it.
            Err(error) => tracing::warn!("{} cannot be read: {error}", folder.display()),
        }
    }
    Ok(all)
}

fn read(folder: &Path) -> io::Result<Option<Volume>> {
    match fs::read(folder.join(FILE)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
