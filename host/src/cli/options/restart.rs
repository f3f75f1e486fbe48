//! `--restart`: a policy's name and, after a colon, how often at most. Which names there are, the engine says.

use serde_json::{Value, json};

/// The policy as the engine takes it.
pub(crate) fn restart_policy(text: &str) -> Result<Value, String> {
    let (name, count) = match text.split_once(':') {
        Some(("", _)) => {
            return Err("invalid restart policy format: no policy provided before colon".to_owned());
        }
        Some((name, count)) => (name, count),
        None => (text, ""),
    };
    let count: i64 = match count {
        "" => 0,
        count => count.parse().map_err(|_| {
            "invalid restart policy format: maximum retry count must be an integer".to_owned()
        })?,
    };
    Ok(json!({"Name": name, "MaximumRetryCount": count}))
}
