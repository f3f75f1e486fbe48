//! Content digests (OCI image-spec, "descriptor"): `sha256:` and 64 lowercase hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is wrong with a text that should have been a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDigestError {
    /// No `algorithm:hex`, or not the right number of digits.
    #[error("invalid checksum digest format")]
    Format,
    /// A registered algorithm that is not served here, or an unknown one.
    #[error("unsupported digest algorithm")]
    Algorithm,
}

/// The SHA-256 digest of some bytes. Its text form has no path separators, so it is safe as a file name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// From the 32 bytes that SHA-256 gives.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 64 digits without the algorithm's name.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The first twelve digits, as Docker's tables and progress lines show it.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let (algorithm, digits) = text.split_once(':').ok_or(ParseDigestError::Format)?;
        if algorithm != "sha256" {
            return Err(ParseDigestError::Algorithm);
        }
        if digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ParseDigestError::Format);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| ParseDigestError::Format)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = ParseDigestError;

    fn try_from(text: String) -> Result<Self, ParseDigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_as_it_was_written() {
        let text = format!("sha256:{}", "0f".repeat(32));
        assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
    }

    #[test]
    fn other_algorithms_lengths_and_cases_are_refused() {
        let digits = "0f".repeat(32);
        assert_eq!(format!("sha512:{digits}").parse::<Digest>(), Err(ParseDigestError::Algorithm));
        assert_eq!(
            format!("sha256:{}", digits.to_uppercase()).parse::<Digest>(),
            Err(ParseDigestError::Format)
        );
        assert_eq!("sha256:0f".parse::<Digest>(), Err(ParseDigestError::Format));
        assert_eq!(digits.parse::<Digest>(), Err(ParseDigestError::Format));
    }
}
