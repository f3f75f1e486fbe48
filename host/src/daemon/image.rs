//! The guest image: where it lies beside this program, and what it says of itself.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Where the parts are, from the folder of the program: as built, and as installed.
const PLACES: [&str; 3] = ["../vm-image", "../lib/holm", "../share/holm"];

/// What `manifest.json` says that people want to know.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Image {
    version: String,
    digest: String,
}

impl Image {
    /// `None` where there is no manifest that can be read; a boot then tells what is missing.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join("manifest.json")).ok()?).ok()
    }

    pub(super) fn digest(&self) -> &str {
        &self.digest
    }
}

/// Version and the start of the digest.
impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digest.trim_start_matches("sha256:");
        write!(f, "{} ({})", self.version, digits.get(..12).unwrap_or(digits))
    }
}

/// The folder of the guest image for a program in `programs`: the first place that has one, and the first place
/// of all where none has, so that the error names it.
pub(super) fn locate(programs: &Path) -> PathBuf {
    let mut places = PLACES.iter().map(|place| programs.join(place));
    let found = places.find(|place| place.join("manifest.json").is_file());
    found.unwrap_or_else(|| programs.join(PLACES[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_where_it_is_installed_and_tells_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let (programs, image) = (folder.path().join("bin"), folder.path().join("lib/holm"));
        fs::create_dir_all(&programs).unwrap();
        fs::create_dir_all(&image).unwrap();
        assert!(locate(&programs).ends_with("vm-image"), "nowhere yet");
        fs::write(image.join("manifest.json"), r#"{"version":"0.1.0","digest":"sha256:0123456789abcdef"}"#)
            .unwrap();
        let found = Image::read(&locate(&programs)).unwrap();
        assert_eq!(found.to_string(), "0.1.0 (0123456789ab)");
    }
}
