//! Devices and the rules about them.

use serde_json::{Value, json};

/// `--device /dev/a:/dev/b:rwm` as the engine takes it.
pub(crate) fn mapping(text: &str) -> Result<Value, String> {
    let bad_format = || format!("bad format for path: {text}");
    let parts: Vec<&str> = text.split(':').collect();
    let (from, to, permissions) = match parts.as_slice() {
        [from] => (*from, *from, "rwm"),
        [from, mode] if is_mode(mode) => (*from, *from, *mode),
        [from, to] => (*from, *to, "rwm"),
        [from, to, mode] if is_mode(mode) => (*from, *to, *mode),
        [_, _, mode] => return Err(format!("bad mode specified: {mode}")),
        _ => return Err(bad_format()),
    };
    if from.is_empty() {
        return Err(bad_format());
    }
    if !to.starts_with('/') {
        return Err(format!("{to} is not an absolute path"));
    }
    Ok(json!({"PathOnHost": from, "PathInContainer": to, "CgroupPermissions": permissions}))
}

/// Letters of `rwm`, each once.
fn is_mode(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|letter| "rwm".contains(letter))
        && "rwm".chars().all(|letter| text.matches(letter).count() <= 1)
}

/// `--device-cgroup-rule "c 1:3 rwm"`
pub(crate) fn cgroup_rule(text: &str) -> Result<String, String> {
    let number = |text: &str| text == "*" || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let valid = match text.split(' ').collect::<Vec<_>>().as_slice() {
        ["a" | "c" | "b", numbers, mode] => {
            numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor))
                && (1..=3).contains(&mode.len())
                && mode.chars().all(|letter| "rwm".contains(letter))
        }
        _ => false,
    };
    if valid { Ok(text.to_owned()) } else { Err(format!("invalid device cgroup format '{text}'")) }
}

/// Whether a device is a name of the Container Device Interface, `vendor.com/class=device`.
pub(crate) fn is_cdi_name(text: &str) -> bool {
    let word = |text: &str, marks: &str| {
        let letters = text.chars().all(|next| next.is_ascii_alphanumeric() || marks.contains(next));
        letters && text.ends_with(|next: char| next.is_ascii_alphanumeric())
    };
    let Some((kind, name)) = text.split_once('=') else { return false };
    let Some((vendor, class)) = kind.split_once('/') else { return false };
    let starts = |text: &str| text.starts_with(|next: char| next.is_ascii_alphabetic());
    starts(vendor)
        && starts(class)
        && word(vendor, "_-.")
        && word(class, "_-.")
        && name.starts_with(|next: char| next.is_ascii_alphanumeric())
        && word(name, "_-.:")
}
