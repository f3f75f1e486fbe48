//! The folder that tells a shim what to run: `config.json` (the OCI runtime spec) and `shim.json`
//! ([`ShimConfig`]), written by the engine, and `shim.log`, what the shim had to complain about.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use super::protocol::ShimConfig;

/// Bytes of `shim.log` that are worth showing.
const LOG_TAIL: u64 = 4096;

/// Writes what the shim reads. Not synced: after a crash of the machine it is written again.
pub fn write(bundle: &Path, spec: &Spec, config: &ShimConfig) -> io::Result<()> {
    fs::create_dir_all(bundle)?;
    fs::write(bundle.join("config.json"), serde_json::to_vec(spec)?)?;
    fs::write(bundle.join("shim.json"), serde_json::to_vec(config)?)
}

/// What [`write`] wrote.
pub fn read(bundle: &Path) -> io::Result<(Spec, ShimConfig)> {
    let spec = serde_json::from_slice(&fs::read(bundle.join("config.json"))?)?;
    let config = serde_json::from_slice(&fs::read(bundle.join("shim.json"))?)?;
    Ok((spec, config))
}

/// Where a shim's complaints go.
pub fn log(bundle: &Path) -> PathBuf {
    bundle.join("shim.log")
}

/// The end of the shim's complaints, to explain a shim that ended without a word.
pub fn log_tail(bundle: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log(bundle))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
        let mut tail = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut tail)?;
        Ok(tail)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).trim().to_owned()
}
