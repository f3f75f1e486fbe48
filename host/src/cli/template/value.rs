//! How a JSON value looks, counts as true, and compares, where Go would have a typed one.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::Mode;

/// Go's truth: anything but zero and emptiness.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(bool) => *bool,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// As `{{.}}` prints it.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => go_float(float),
            _ => number.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let pairs: Vec<String> =
                sorted(map).into_iter().map(|(key, value)| format!("{key}:{}", show(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

/// As Go's `%v` prints a float: as short as can be read back, with an exponent where it is very large or small.
pub(super) fn go_float(float: f64) -> String {
    let exponent = match float {
        0.0 => 0,
        _ => float.abs().log10().floor() as i32,
    };
    if (-4..6).contains(&exponent) {
        return float.to_string();
    }
    let text = format!("{float:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, size) = exponent.strip_prefix('-').map_or(("+", exponent), |size| ("-", size));
            format!("{digits}e{sign}{size:0>2}")
        }
        None => text,
    }
}

/// As `{{.Name}}` prints a field that is null in JSON: of the API's structures, Go knows which are lists and
/// which are maps.
pub(super) fn show_null(field: &str) -> &'static str {
    const LISTS: [&str; 18] = [
        "Args",
        "Binds",
        "CapAdd",
        "CapDrop",
        "Cmd",
        "Devices",
        "DeviceRequests",
        "Dns",
        "Entrypoint",
        "Env",
        "ExecIDs",
        "GroupAdd",
        "Links",
        "Mounts",
        "OnBuild",
        "RepoDigests",
        "RepoTags",
        "SecurityOpt",
    ];
    const MAPS: [&str; 8] =
        ["ExposedPorts", "Labels", "Networks", "PortBindings", "Ports", "Sysctls", "Tmpfs", "Volumes"];
    if LISTS.contains(&field) {
        "[]"
    } else if MAPS.contains(&field) {
        "map[]"
    } else {
        "<nil>"
    }
}

/// As Go's encoder writes it: keys of maps in order. What came from the daemon keeps its own order, because
/// there it was the order of a structure's fields.
pub(super) fn json(value: &Value) -> String {
    value.to_string()
}

/// Entries in the order in which Go visits them.
pub(super) fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

/// The entry of this key; failing that, of the key of the field that Go has under this name. Most differ from
/// their keys not at all, and these in case alone.
pub(super) fn field<'a>(map: &'a Map<String, Value>, name: &str, mode: Mode) -> Option<&'a Value> {
    const OTHERWISE_IN_JSON: [&str; 15] = [
        "CPUPeriod",
        "CPUQuota",
        "CPURealtimePeriod",
        "CPURealtimeRuntime",
        "CPUShares",
        "DNS",
        "DNSOptions",
        "DNSSearch",
        "HostIP",
        "ID",
        "NanoCPUs",
        "OSFeatures",
        "OSVersion",
        "PidsLimit",
        "UTSMode",
    ];
    let otherwise = || {
        let known = mode != Mode::Raw && OTHERWISE_IN_JSON.contains(&name);
        known.then(|| map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))).flatten()
    };
    map.get(name).or_else(|| otherwise().map(|(_, value)| value))
}

/// The name of a value's type, for error messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// `None` where Go says "incompatible types for comparison".
pub(super) fn equal(a: &Value, b: &Value) -> Option<bool> {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Some(a == b),
        (Value::Number(_), Value::Number(_)) => order(a, b).map(|order| order == Ordering::Equal),
        (Value::Bool(_), Value::Bool(_)) | (Value::String(_), Value::String(_)) => Some(a == b),
        _ => None,
    }
}

/// `None` where the two have no order.
pub(super) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}
