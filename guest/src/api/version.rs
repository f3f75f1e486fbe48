//! The `/v1.xx` in front of a path: which Engine API a client speaks, and whether it is spoken here.

use std::fmt;

use holm_api::{API_VERSION, MIN_API_VERSION};

use crate::api::error::ApiError;

/// A version that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion {
    major: u32,
    minor: u32,
}

impl ApiVersion {
    /// 1.x, for comparisons.
    pub(crate) const fn one(minor: u32) -> Self {
        Self { major: 1, minor }
    }

    /// The newest, which a path without version means.
    pub(crate) fn newest() -> Self {
        Self::parse(API_VERSION).expect("our own constant is a version")
    }

    fn oldest() -> Self {
        Self::parse(MIN_API_VERSION).expect("our own constant is a version")
    }

    /// Lenient where moby is: missing parts are zero, parts past the second do not matter.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| if part.is_empty() { Ok(0) } else { part.parse() });
        let major = parts.next()?.ok()?;
        let minor = parts.next().unwrap_or(Ok(0)).ok()?;
        Some(Self { major, minor })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Takes the version off a path. A path whose first part only looks a little like one is left alone: the
/// router answers it with 404.
pub(crate) fn split(path: &str) -> Result<(ApiVersion, &str), ApiError> {
    let Some((text, rest)) = prefix(path) else { return Ok((ApiVersion::newest(), path)) };
    let version = ApiVersion::parse(text).ok_or_else(ApiError::page_not_found)?;
    if version < ApiVersion::oldest() {
        return Err(ApiError::invalid(format!(
            "client version {text} is too old. Minimum supported API version is {MIN_API_VERSION}, please upgrade your client to a newer version"
        )));
    }
    if version > ApiVersion::newest() {
        return Err(ApiError::invalid(format!(
            "client version {text} is too new. Maximum supported API version is {API_VERSION}"
        )));
    }
    Ok((version, rest))
}

fn prefix(path: &str) -> Option<(&str, &str)> {
    let after = path.strip_prefix("/v")?;
    let end = after.find('/')?;
    let (text, rest) = after.split_at(end);
    let is_version = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    is_version.then_some((text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str) -> String {
        split(path).unwrap_err().into_parts().1
    }

    #[test]
    fn the_version_is_taken_off_and_the_rest_is_routed() {
        assert_eq!(split("/v1.24/info").unwrap(), (ApiVersion::one(24), "/info"));
        assert_eq!(split("/v1.51/containers/json").unwrap(), (ApiVersion::one(51), "/containers/json"));
        assert_eq!(split("/_ping").unwrap(), (ApiVersion::newest(), "/_ping"));
    }

    #[test]
    fn a_path_that_only_begins_with_v_has_no_version() {
        for path in ["/volumes", "/version", "/v/info", "/v1.51", "/v1x/info"] {
            assert_eq!(split(path).unwrap(), (ApiVersion::newest(), path));
        }
    }

    #[test]
    fn versions_out_of_range_are_refused_in_mobys_words() {
        assert_eq!(
            refused("/v1.23/info"),
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
        assert_eq!(
            refused("/v1.52/info"),
            "client version 1.52 is too new. Maximum supported API version is 1.51"
        );
        assert!(refused("/v1.99999999999/info").contains("page not found"));
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn what_is_left_of_a_path_is_its_end() {
        bolero::check!().with_type::<String>().for_each(|path| {
            if let Ok((version, rest)) = split(path) {
                assert!(path.ends_with(rest));
                assert!(version >= ApiVersion::one(24) && version <= ApiVersion::newest());
            }
        });
    }
}
