//! `--gpus`: what to ask of a driver of graphics processors. Whether there is one, the engine says.

use serde_json::{Map, Value, json};

use super::csv;

/// One request as the engine takes it.
pub(crate) fn gpu_request(text: &str) -> Result<Value, String> {
    let mut seen: Vec<String> = Vec::new();
    let (mut driver, mut devices, mut capabilities, mut options) = ("".to_owned(), None, None, Map::new());
    let mut number = None;
    for field in csv::fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, value),
            None => ("count", field.as_str()),
        };
        if seen.iter().any(|known| known == key) {
            return Err(format!("gpu request key '{key}' can be specified only once"));
        }
        seen.push(key.to_owned());
        let list = || value.split(',').map(str::to_owned).collect::<Vec<_>>();
        match key {
            "driver" => driver = value.to_owned(),
            "count" => number = Some(count(value)?),
            "device" => devices = Some(list()),
            "capabilities" => capabilities = Some([list(), vec!["gpu".to_owned()]].concat()),
            "options" => {
                let pairs =
                    csv::fields(value).map_err(|error| format!("failed to read gpu options: {error}"))?;
                for pair in pairs {
                    let (key, value) = pair.split_once('=').unwrap_or((&pair, ""));
                    options.insert(key.to_owned(), value.into());
                }
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    // Without a number and without names, one is meant.
    let count = number.unwrap_or(i64::from(devices.is_none()));
    Ok(json!({
        "Driver": driver,
        "Count": count,
        "DeviceIDs": devices,
        "Capabilities": [capabilities.unwrap_or_else(|| vec!["gpu".to_owned()])],
        "Options": options,
    }))
}

fn count(text: &str) -> Result<i64, String> {
    match text {
        "all" => Ok(-1),
        _ => text.parse().map_err(|_| {
            format!("invalid count ({text}): value must be either \"all\" or an integer: invalid syntax")
        }),
    }
}
