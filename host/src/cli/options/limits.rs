//! Limits of processes and of block devices.

use serde_json::{Value, json};

use super::bytes;

/// `--ulimit nofile=1024:2048`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ulimit {
    /// Without `RLIMIT_`, in small letters.
    pub(crate) name: String,
    soft: i64,
    hard: i64,
}

const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

impl std::str::FromStr for Ulimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, limits) =
            text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
        if !ULIMITS.contains(&name) {
            return Err(format!("invalid ulimit type: {name}"));
        }
        let number = |text: &str| {
            text.parse::<i64>().map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
        };
        let (soft, hard) = match limits.split(':').collect::<Vec<_>>().as_slice() {
            [both] => (number(both)?, number(both)?),
            [soft, hard] => {
                let hard = number(hard)?;
                (number(soft)?, hard)
            }
            _ => {
                return Err(format!(
                    "too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
                ));
            }
        };
        let rule = "ulimit soft limit must be less than or equal to hard limit:";
        match (soft, hard) {
            (_, -1) => {}
            (-1, _) => return Err(format!("{rule} soft: -1 (unlimited), hard: {hard}")),
            _ if soft > hard => return Err(format!("{rule} {soft} > {hard}")),
            _ => {}
        }
        Ok(Self { name: name.to_owned(), soft, hard })
    }
}

impl From<&Ulimit> for Value {
    fn from(limit: &Ulimit) -> Value {
        json!({"Name": limit.name, "Hard": limit.hard, "Soft": limit.soft})
    }
}

/// A device and its rate: bytes or operations a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Throttle {
    path: String,
    rate: u64,
}

impl From<&Throttle> for Value {
    fn from(throttle: &Throttle) -> Value {
        json!({"Path": throttle.path, "Rate": throttle.rate})
    }
}

/// `/dev/sda:1mb`
pub(crate) fn throttle_bytes(text: &str) -> Result<Throttle, String> {
    let (path, rate) = device(text)?;
    let rate = bytes(rate).ok().and_then(|rate| u64::try_from(rate).ok()).ok_or_else(|| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. \
             Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        )
    })?;
    Ok(Throttle { path: path.to_owned(), rate })
}

/// `/dev/sda:100`
pub(crate) fn throttle_operations(text: &str) -> Result<Throttle, String> {
    let (path, rate) = device(text)?;
    let rate = rate.parse().map_err(|_| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>. \
             Number must be a positive integer"
        )
    })?;
    Ok(Throttle { path: path.to_owned(), rate })
}

/// A device and its weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WeightDevice {
    path: String,
    weight: u16,
}

impl From<&WeightDevice> for Value {
    fn from(device: &WeightDevice) -> Value {
        json!({"Path": device.path, "Weight": device.weight})
    }
}

/// `/dev/sda:200`
pub(crate) fn weight_device(text: &str) -> Result<WeightDevice, String> {
    let (path, weight) = device(text)?;
    let weight = weight.parse().ok().filter(|weight| *weight == 0 || (10..=1000).contains(weight));
    let weight = weight.ok_or_else(|| format!("invalid weight for device: {text}"))?;
    Ok(WeightDevice { path: path.to_owned(), weight })
}

fn device(text: &str) -> Result<(&str, &str), String> {
    let (path, value) = text
        .split_once(':')
        .filter(|(path, _)| !path.is_empty())
        .ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path, value))
}
