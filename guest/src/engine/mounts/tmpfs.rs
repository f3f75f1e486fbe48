//! Options of a tmpfs in a container: Docker's defaults with the client's over them (moby, `sys/mount`
//! `MergeTmpfsOptions`).

use holm_api::models::MountTmpfsOptions;

/// What no client has to ask for.
const DEFAULTS: [&str; 3] = ["noexec", "nosuid", "nodev"];
/// Options with a value.
const VALUED: [&str; 7] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];
/// Flags: of two in one row, the later one counts.
const FLAGS: [&[&str]; 13] = [
    &["ro", "rw"],
    &["suid", "nosuid"],
    &["dev", "nodev"],
    &["exec", "noexec"],
    &["sync", "async"],
    &["dirsync"],
    &["remount"],
    &["mand", "nomand"],
    &["atime", "noatime"],
    &["diratime", "nodiratime"],
    &["relatime", "norelatime"],
    &["strictatime", "nostrictatime"],
    &[
        "bind",
        "rbind",
        "unbindable",
        "runbindable",
        "private",
        "rprivate",
        "shared",
        "rshared",
        "slave",
        "rslave",
    ],
];

/// `--tmpfs /run:size=64m,exec`: what is given to mount(2).
pub(super) fn merged(options: &str) -> Result<Vec<String>, String> {
    let given = options.split(',').filter(|_| !options.is_empty());
    let all: Vec<&str> = DEFAULTS.into_iter().chain(given).collect();
    let mut seen = Vec::new();
    let mut merged = Vec::new();
    // From the end, so that the first of a kind is the last one given.
    for option in all.into_iter().rev().filter(|option| *option != "defaults") {
        let kind = match FLAGS.iter().position(|row| row.contains(&option)) {
            Some(row) => row.to_string(),
            None => match option.split_once('=') {
                Some((key, _)) if VALUED.contains(&key) => key.to_owned(),
                _ => {
                    let key = option.split('=').next().unwrap_or_default();
                    return Err(format!("invalid tmpfs option {key:?}"));
                }
            },
        };
        if !seen.contains(&kind) {
            seen.push(kind);
            merged.push(option.to_owned());
        }
    }
    merged.reverse();
    Ok(merged)
}

/// The structured form, as `--tmpfs` would have it.
pub(super) fn structured(options: Option<&MountTmpfsOptions>, read_only: bool) -> Result<String, String> {
    let mut words = Vec::new();
    if read_only {
        words.push("ro".to_owned());
    }
    let Some(options) = options else { return Ok(words.join(",")) };
    if let Some(mode) = options.mode.filter(|mode| *mode != 0) {
        words.push(format!("mode={mode:o}"));
    }
    if let Some(size) = options.size_bytes.filter(|size| *size != 0) {
        let units = [("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10), ("", 1)];
        let (unit, divisor) = units.into_iter().find(|(_, unit)| size % unit == 0).unwrap_or(("", 1));
        words.push(format!("size={}{unit}", size / divisor));
    }
    for option in options.options.iter().flatten() {
        match option.as_slice() {
            [] | [_, _, _, ..] => return Err("invalid option array length".to_owned()),
            [name, ..] if !matches!(name.as_str(), "exec" | "noexec") => {
                return Err(format!("invalid option: {name}"));
            }
            [name] => words.push(name.clone()),
            [name, value] => words.push(format!("{name}={value}")),
        }
    }
    Ok(words.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_and_defaults_are_under_all() {
        let merge = |text: &str| merged(text).map(|words| words.join(","));
        assert_eq!(merge("").unwrap(), "noexec,nosuid,nodev");
        assert_eq!(merge("size=1k,exec,size=2k").unwrap(), "nosuid,nodev,exec,size=2k");
        assert_eq!(merge("rw,mode=755,ro,defaults").unwrap(), "noexec,nosuid,nodev,mode=755,ro");
        assert_eq!(merge("colour=red").unwrap_err(), "invalid tmpfs option \"colour\"");
        assert_eq!(merge("huge").unwrap_err(), "invalid tmpfs option \"huge\"");
    }

    #[test]
    fn a_structured_one_is_written_as_words() {
        let options = MountTmpfsOptions {
            size_bytes: Some(3 << 10),
            mode: Some(0o700),
            options: Some(vec![vec!["exec".to_owned()]]),
        };
        assert_eq!(structured(Some(&options), true).unwrap(), "ro,mode=700,size=3k,exec");
        let wrong = MountTmpfsOptions { options: Some(vec![vec!["suid".to_owned()]]), ..Default::default() };
        assert_eq!(structured(Some(&wrong), false).unwrap_err(), "invalid option: suid");
    }
}
