//! Finds the kernel's source: the archive that Debian's package `linux-source-6.1` installs, security updates
//! included.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::command::{command, output};

const PACKAGE: &str = "linux-source-6.1";

/// An installed source package.
pub(crate) struct Source {
    /// Its name.
    pub(crate) package: String,
    /// Its version, as `6.1.176-1`.
    pub(crate) version: String,
    /// The archive it brought.
    pub(crate) archive: PathBuf,
}

impl Source {
    /// Asks dpkg.
    pub(crate) fn installed() -> Result<Source> {
        let version = output(command("dpkg-query").args(["--show", "--showformat=${Version}", PACKAGE]))
            .with_context(|| format!("the package {PACKAGE} is not installed: type `make deps`"))?;
        let files = output(command("dpkg-query").args(["--listfiles", PACKAGE]))?;
        let archive = archive_among(&files).with_context(|| format!("{PACKAGE} has no source archive"))?;
        Ok(Source { package: PACKAGE.to_owned(), version: version.trim().to_owned(), archive })
    }
}

fn archive_among(files: &str) -> Option<PathBuf> {
    files.lines().find(|file| file.ends_with(".tar.xz")).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_told_from_the_other_files() {
        let files =
            "/.\n/usr/share/doc/linux-source-6.1/changelog.Debian.gz\n/usr/src/linux-source-6.1.tar.xz\n";
        assert_eq!(archive_among(files).unwrap().to_str(), Some("/usr/src/linux-source-6.1.tar.xz"));
        assert_eq!(archive_among("/.\n/usr\n"), None);
    }
}
