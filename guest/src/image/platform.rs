//! Which machine an image is for: `os/architecture/variant`, with the aliases that people use.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A platform by OCI's names (Go's `GOOS`, `GOARCH`, `GOARM`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Platform {
    /// `linux`.
    #[serde(default)]
    pub(crate) os: String,
    /// `amd64`, `arm64`, `arm`, `386`.
    #[serde(default)]
    pub(crate) architecture: String,
    /// `v7`, `v8`; `None` where the architecture says enough.
    #[serde(default)]
    pub(crate) variant: Option<String>,
}

/// A text that names no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParsePlatformError {
    /// Letters that no platform has.
    #[error(
        "{part:?} is an invalid component of {text:?}: platform specifier component must match \
         \"^[A-Za-z0-9_.-]+$\": invalid argument"
    )]
    Component {
        /// The wrong part.
        part: String,
        /// All of it.
        text: String,
    },
    /// One word that is neither a system nor an architecture, or too many words.
    #[error("{0:?}: unknown operating system or architecture: invalid argument")]
    Unknown(String),
}

impl Platform {
    /// What this machine runs.
    pub(crate) fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, None)
    }

    fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let architecture = architecture.to_ascii_lowercase();
        let variant = variant.filter(|text| !text.is_empty()).map(str::to_ascii_lowercase);
        let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant.filter(|v| *v != "v1")),
            ("i386" | "i686" | "386", _) => ("386", None),
            ("aarch64" | "arm64", variant) => ("arm64", variant.filter(|v| !matches!(*v, "8" | "v8"))),
            ("armhf", _) => ("arm", Some("v7")),
            ("armel", _) => ("arm", Some("v6")),
            ("arm", None | Some("" | "7")) => ("arm", Some("v7")),
            ("arm", Some("5")) => ("arm", Some("v5")),
            ("arm", Some("6")) => ("arm", Some("v6")),
            ("arm", Some("8")) => ("arm", Some("v8")),
            (other, variant) => (other, variant),
        };
        let os = os.to_ascii_lowercase();
        Self {
            os: if os == "macos" { "darwin".to_owned() } else { os },
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// With the aliases resolved.
    pub(crate) fn normal(&self) -> Self {
        Self::new(&self.os, &self.architecture, self.variant.as_deref())
    }

    /// How well an image for `offered` fits a machine that wants `self`: lower is better, `None` not at all.
    /// An older variant of the same architecture runs on a newer one, and 32-bit ARM on 64-bit ARM.
    pub(crate) fn fit(&self, offered: &Self) -> Option<u8> {
        let (wanted, offered) = (self.normal(), offered.normal());
        if wanted.os != offered.os {
            return None;
        }
        let level = |platform: &Self, default| match &platform.variant {
            None => Some(default),
            Some(text) => text.strip_prefix('v')?.parse::<u8>().ok(),
        };
        match (wanted.architecture.as_str(), offered.architecture.as_str()) {
            (same, other) if same == other => {
                let default = match same {
                    "amd64" => 1,
                    "arm64" => 8,
                    _ => 7,
                };
                level(&wanted, default)?.checked_sub(level(&offered, default)?)
            }
            ("arm64", "arm") => Some(8_u8.checked_sub(level(&offered, 7)?)?.saturating_add(100)),
            ("amd64", "386") => Some(200),
            _ => None,
        }
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, ParsePlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        for part in &parts {
            let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
            if part.is_empty() || !part.bytes().all(fits) {
                return Err(ParsePlatformError::Component {
                    part: (*part).to_owned(),
                    text: text.to_owned(),
                });
            }
        }
        match parts[..] {
            [os] if matches!(
                os.to_ascii_lowercase().as_str(),
                "linux" | "windows" | "darwin" | "freebsd"
            ) =>
            {
                Ok(Self::new(os, std::env::consts::ARCH, None))
            }
            [architecture] => {
                let platform = Self::new("linux", architecture, None);
                match platform.architecture.as_str() {
                    "amd64" | "386" | "arm64" | "arm" | "ppc64le" | "s390x" | "riscv64" | "loong64"
                    | "mips64le" => Ok(platform),
                    _ => Err(ParsePlatformError::Unknown(text.to_owned())),
                }
            }
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(ParsePlatformError::Unknown(text.to_owned())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn aliases_mean_what_they_mean_in_docker() {
        for (typed, meant) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("arm64", "linux/arm64"),
            ("Linux/armhf", "linux/arm/v7"),
        ] {
            assert_eq!(platform(typed).to_string(), meant);
        }
        assert!("a/b/c/d".parse::<Platform>().is_err() && "linux/".parse::<Platform>().is_err());
        assert!("plan10".parse::<Platform>().unwrap_err().to_string().contains("unknown operating system"));
    }

    #[test]
    fn the_nearest_older_variant_fits_best_and_a_newer_one_not_at_all() {
        let wanted = platform("linux/arm/v7");
        assert_eq!(wanted.fit(&platform("linux/arm/v7")), Some(0));
        assert_eq!(wanted.fit(&platform("linux/arm/v6")), Some(1));
        assert_eq!(wanted.fit(&platform("linux/arm/v8")), None);
        assert_eq!(platform("linux/amd64").fit(&platform("linux/amd64/v3")), None);
        assert!(
            platform("linux/arm64").fit(&platform("linux/arm64"))
                < platform("linux/arm64").fit(&platform("linux/arm/v7"))
        );
        assert_eq!(wanted.fit(&platform("windows/arm/v7")), None);
    }
}
