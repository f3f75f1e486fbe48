//! Names of engine objects: what the engine made, and what a client typed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is wrong with a text that should have been an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id is 64 lowercase hexadecimal digits, not {0:?}")]
pub struct ParseIdError(String);

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// From 32 random bytes.
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(hex::encode(bytes))
            }

            /// All 64 digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first twelve digits, as Docker's tables show it.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(ParseIdError(text.chars().take(80).collect()))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }
    };
}

hex_id! {
    /// Names one container for its whole life. Only the engine makes them.
    ContainerId
}
hex_id! {
    /// Names one network for its whole life. Only the engine makes them.
    NetworkId
}
hex_id! {
    /// Names one container's place on one network. Only the engine makes them.
    EndpointId
}
hex_id! {
    /// Names one process started in a running container. Only the engine makes them.
    ExecId
}

/// What a client typed to mean a container: a full id, the start of one, or a name. Only the engine can
/// resolve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRef(pub String);

impl fmt::Display for ContainerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_takes_64_lowercase_hex_digits_and_nothing_else() {
        let text = "0123456789abcdef".repeat(4);
        assert_eq!(text.parse::<ContainerId>().unwrap().short(), "0123456789ab");
        for wrong in ["", "0123", &text[1..], &text.to_uppercase(), &format!("{text}0")] {
            assert!(wrong.parse::<ContainerId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_stored_id_is_checked_when_it_is_read() {
        assert!(serde_json::from_str::<ContainerId>("\"../../etc\"").is_err());
    }
}
