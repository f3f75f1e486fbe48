//! Names of volumes. A volume's folder is called by its name, so what is no name is refused before anything is
//! made of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bytes of the longest name: one component of a path (`NAME_MAX`).
const LONGEST: usize = 255;

/// Two or more letters, digits, `_`, `.` and `-`, the first of them a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct VolumeName(String);

/// A text that names no volume, in Docker's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    /// One character.
    #[error("volume name is too short, names should be at least two alphanumeric characters")]
    TooShort,
    /// More than a file system takes.
    #[error("volume name is too long, names should be at most {LONGEST} characters")]
    TooLong,
    /// A slash, most likely.
    #[error(
        "{0:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    Characters(String),
}

impl VolumeName {
    /// The name as it is written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A name for a volume that nobody named.
    pub(crate) fn random(bytes: [u8; 32]) -> Self {
        Self(hex::encode(bytes))
    }
}

impl FromStr for VolumeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() == 1 {
            return Err(NameError::TooShort);
        }
        let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !first || !text.chars().all(rest) {
            return Err(NameError::Characters(text.to_owned()));
        }
        if text.len() > LONGEST {
            return Err(NameError::TooLong);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for VolumeName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<VolumeName> for String {
    fn from(name: VolumeName) -> Self {
        name.0
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_plain_component_of_a_path() {
        for name in ["db", "0_a.b-c", "A..", &"x".repeat(255)] {
            assert_eq!(name.parse::<VolumeName>().unwrap().as_str(), name);
        }
        assert_eq!("a".parse::<VolumeName>(), Err(NameError::TooShort));
        for name in ["", "..", ".hidden", "-x", "a/b", "a b", "ä1", "a\0", "a\n"] {
            assert_eq!(name.parse::<VolumeName>(), Err(NameError::Characters(name.to_owned())), "{name:?}");
        }
        assert_eq!("x".repeat(256).parse::<VolumeName>(), Err(NameError::TooLong));
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn no_name_leaves_its_folder() {
        bolero::check!().with_type::<String>().for_each(|text| {
            if let Ok(name) = text.parse::<VolumeName>() {
                let mut components = std::path::Path::new(name.as_str()).components();
                assert!(matches!(components.next(), Some(std::path::Component::Normal(_))));
                assert!(components.next().is_none());
            }
        });
    }
}
