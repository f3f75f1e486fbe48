//! `platform`: which of an image's variants a client means, as JSON. There is one of each image here, so the others
//! are not found.

use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::version::ApiVersion;
use crate::image::Platform;

/// What the parameter says, to clients of API 1.`since` and newer; others never meant it.
pub(super) fn wanted(query: &Query, version: ApiVersion, since: u32) -> Result<Option<Platform>, ApiError> {
    let text = query.text("platform").filter(|_| version >= ApiVersion::one(since));
    text.map(parse).transpose()
}

/// Likewise of the parameter that may come more than once, and may not mean more than one.
pub(super) fn only(query: &Query, version: ApiVersion, since: u32) -> Result<Option<Platform>, ApiError> {
    if version < ApiVersion::one(since) {
        return Ok(None);
    }
    let all = query.all("platforms").map(parse).collect::<Result<Vec<_>, _>>()?;
    match all.len() {
        0 | 1 => Ok(all.into_iter().next()),
        _ => Err(ApiError::invalid("multiple platforms are not supported")),
    }
}

fn parse(text: &str) -> Result<Platform, ApiError> {
    let platform: Platform = serde_json::from_str(text)
        .map_err(|error| ApiError::invalid(format!("failed to parse platform: {error}")))?;
    match (platform.os.as_str(), platform.architecture.as_str()) {
        ("", "") if platform.variant.as_deref().is_some_and(|variant| !variant.is_empty()) => {
            Err(ApiError::invalid("optional platform fields provided, but OS and Architecture are missing"))
        }
        ("", _) | (_, "") => Err(ApiError::invalid("both OS and Architecture must be provided")),
        _ => Ok(platform),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(parameter: &str, values: &[&str]) -> Query {
        let pairs = values.iter().map(|value| (parameter, *value));
        Query::parse(&form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
    }

    #[test]
    fn a_platform_is_json_with_a_system_and_an_architecture() {
        let read = |text: &str| wanted(&query("platform", &[text]), ApiVersion::newest(), 48);
        let arm = read(r#"{"os":"linux","architecture":"arm","variant":"v7"}"#).unwrap().unwrap();
        assert_eq!((arm.architecture.as_str(), arm.variant.as_deref()), ("arm", Some("v7")));
        for (text, words) in [
            ("linux/amd64", "failed to parse platform: "),
            (r#"{"os":"linux"}"#, "both OS and Architecture must be provided"),
            (r#"{"variant":"v7"}"#, "optional platform fields provided, but OS and Architecture are missing"),
        ] {
            let refused = read(text).unwrap_err().into_parts().1;
            assert!(refused.starts_with(words), "{refused}");
        }
    }

    #[test]
    fn older_clients_have_none_and_nobody_has_two() {
        let amd = r#"{"os":"linux","architecture":"amd64"}"#;
        assert_eq!(wanted(&query("platform", &["x"]), ApiVersion::one(47), 48).unwrap(), None);
        let one = only(&query("platforms", &[amd]), ApiVersion::newest(), 50);
        assert_eq!(one.unwrap().unwrap().architecture, "amd64");
        let two = only(&query("platforms", &[amd, amd]), ApiVersion::newest(), 50);
        assert_eq!(two.unwrap_err().into_parts().1, "multiple platforms are not supported");
    }
}
