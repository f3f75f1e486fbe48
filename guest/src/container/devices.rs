//! Device nodes in a container's `/dev`, and the rules about all of them (moby, `daemon/pkg/oci/devices_linux.go`).

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use holm_api::models::HostConfig;
use nix::sys::stat::{major, minor};
use oci_spec::runtime::{
    LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType,
};

use super::SpecError;

/// What Docker and runc allow every container: null, zero, full, random, urandom, tty, console, the terminals of its
/// own /dev/pts, and to make a node of anything, which then cannot be opened.
const DEFAULT_RULES: [(LinuxDeviceType, Option<i64>, Option<i64>, &str); 11] = [
    (LinuxDeviceType::C, None, None, "m"),
    (LinuxDeviceType::B, None, None, "m"),
    (LinuxDeviceType::C, Some(1), Some(3), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(5), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(7), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(8), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(9), "rwm"),
    (LinuxDeviceType::C, Some(5), Some(0), "rwm"),
    (LinuxDeviceType::C, Some(5), Some(1), "rwm"),
    (LinuxDeviceType::C, Some(5), Some(2), "rwm"),
    (LinuxDeviceType::C, Some(136), None, "rwm"),
];

/// Folders of /dev that a privileged container has of its own, or that hold no devices.
const SKIPPED: [&str; 6] = ["pts", "shm", "fd", "mqueue", ".lxc", "console"];

/// The nodes to make beside the default ones, and the rules, of which the last that fits counts.
pub(super) fn devices(host: &HostConfig) -> Result<(Vec<LinuxDevice>, Vec<LinuxDeviceCgroup>), SpecError> {
    if host.privileged == Some(true) {
        let everything = rule(true, LinuxDeviceType::A, None, None, "rwm");
        return Ok((all_of(Path::new("/dev"), Path::new("/dev")), vec![everything]));
    }
    let mut rules = vec![rule(false, LinuxDeviceType::A, None, None, "rwm")];
    rules.extend(DEFAULT_RULES.map(|(typ, major, minor, access)| rule(true, typ, major, minor, access)));
    let mut nodes = Vec::new();
    for mapping in host.devices.iter().flatten() {
        let here = mapping.path_on_host.as_deref().unwrap_or_default();
        let there = mapping.path_in_container.as_deref().filter(|path| !path.is_empty()).unwrap_or(here);
        let access =
            mapping.cgroup_permissions.as_deref().filter(|access| !access.is_empty()).unwrap_or("rwm");
        for node in at(here, there)? {
            rules.push(rule(true, node.typ(), Some(node.major()), Some(node.minor()), access));
            nodes.push(node);
        }
    }
    for text in host.device_cgroup_rules.iter().flatten() {
        let parsed = parse_rule(text);
        rules.push(
            parsed
                .ok_or_else(|| SpecError::AtStart(format!("invalid device cgroup rule format: '{text}'")))?,
        );
    }
    Ok((nodes, rules))
}

/// One device, or all of a folder.
fn at(here: &str, there: &str) -> Result<Vec<LinuxDevice>, SpecError> {
    let failed = |why: String| {
        let what = "error gathering device information while adding custom device";
        SpecError::AtStart(format!("{what} {here:?}: {why}"))
    };
    let path = fs::canonicalize(here).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => failed("no such file or directory".to_owned()),
        _ => failed(error.to_string()),
    })?;
    let nodes = match node(&path, PathBuf::from(there)) {
        Some(node) => vec![node],
        None => all_of(&path, Path::new(there)),
    };
    if nodes.is_empty() { Err(failed("not a device node".to_owned())) } else { Ok(nodes) }
}

fn all_of(here: &Path, there: &Path) -> Vec<LinuxDevice> {
    let mut nodes = Vec::new();
    // What cannot be looked at, cannot be given; Docker passes it over as well.
    for entry in fs::read_dir(here).into_iter().flatten().flatten() {
        let (path, target) = (entry.path(), there.join(entry.file_name()));
        let is_folder = entry.file_type().is_ok_and(|typ| typ.is_dir());
        if here == Path::new("/dev") && SKIPPED.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if is_folder {
            nodes.extend(all_of(&path, &target));
        } else {
            nodes.extend(node(&path, target));
        }
    }
    nodes
}

fn node(path: &Path, target: PathBuf) -> Option<LinuxDevice> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let typ = match metadata.file_type() {
        typ if typ.is_char_device() => LinuxDeviceType::C,
        typ if typ.is_block_device() => LinuxDeviceType::B,
        _ => return None,
    };
    let built = LinuxDeviceBuilder::default()
        .path(target)
        .typ(typ)
        .major(i64::try_from(major(metadata.rdev())).ok()?)
        .minor(i64::try_from(minor(metadata.rdev())).ok()?)
        .file_mode(metadata.mode() & 0o7777)
        .uid(metadata.uid())
        .gid(metadata.gid())
        .build();
    Some(built.expect("all fields are set"))
}

fn rule(
    allow: bool,
    typ: LinuxDeviceType,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> LinuxDeviceCgroup {
    let built = LinuxDeviceCgroupBuilder::default().allow(allow).typ(typ).access(access).build();
    let mut rule = built.expect("nothing is missing that has to be there");
    rule.set_major(major).set_minor(minor);
    rule
}

/// `c 1:3 rwm`, `*` for any number; as strict about spaces as Docker.
fn parse_rule(text: &str) -> Option<LinuxDeviceCgroup> {
    let (typ, rest) = text.split_once(' ')?;
    let (numbers, access) = rest.split_once(' ')?;
    let (major, minor) = numbers.split_once(':')?;
    let typ = match typ {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => return None,
    };
    let number = |text: &str| match text {
        "*" => Some(None),
        _ if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok().map(Some),
        _ => None,
    };
    let fits = matches!(access.len(), 1..=3) && access.bytes().all(|b| matches!(b, b'r' | b'w' | b'm'));
    fits.then_some(())?;
    Some(rule(true, typ, number(major)?, number(minor)?, access))
}

#[cfg(test)]
mod tests {
    use holm_api::models::DeviceMapping;

    use super::*;

    fn mapping(here: &str, there: &str) -> HostConfig {
        let mapping = DeviceMapping {
            path_on_host: Some(here.into()),
            path_in_container: Some(there.into()),
            cgroup_permissions: Some("r".into()),
        };
        HostConfig { devices: Some(vec![mapping]), ..Default::default() }
    }

    #[test]
    fn everything_is_refused_first() {
        let (nodes, rules) = devices(&HostConfig::default()).unwrap();
        assert!(nodes.is_empty());
        assert_eq!((rules[0].allow(), rules[0].typ()), (false, Some(LinuxDeviceType::A)));
        assert!(rules[1..].iter().all(|rule| rule.allow()));
    }

    #[test]
    fn a_device_comes_with_its_rule() {
        let (nodes, rules) = devices(&mapping("/dev/null", "/dev/nothing")).unwrap();
        assert_eq!(
            (nodes[0].path().as_path(), nodes[0].major(), nodes[0].minor()),
            (Path::new("/dev/nothing"), 1, 3)
        );
        let last = rules.last().unwrap();
        assert_eq!((last.major(), last.minor(), last.access().as_deref()), (Some(1), Some(3), Some("r")));
    }

    #[test]
    fn what_is_no_device_is_refused_in_dockers_words() {
        assert_eq!(
            devices(&mapping("/dev/nope", "")).unwrap_err().to_string(),
            "error gathering device information while adding custom device \"/dev/nope\": no such file or directory"
        );
        assert!(devices(&mapping("/etc/passwd", "")).unwrap_err().to_string().ends_with("not a device node"));
    }

    #[test]
    fn a_rule_is_read_as_strictly_as_docker_reads_it() {
        let rule = parse_rule("c 10:* rw").unwrap();
        assert_eq!((rule.major(), rule.minor(), rule.access().as_deref()), (Some(10), None, Some("rw")));
        for wrong in
            ["", "c 1:1  rwm", "c  1:1 rwm", " c 1:1 rwm", "z 1:1 rwm", "c 1:1 x", "c 1 rwm", "c :1 r"]
        {
            assert!(parse_rule(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn a_privileged_container_has_the_machines_devices() {
        let host = HostConfig { privileged: Some(true), ..Default::default() };
        let (nodes, rules) = devices(&host).unwrap();
        assert!(nodes.iter().any(|node| node.path() == Path::new("/dev/null")));
        assert!(nodes.iter().all(|node| !node.path().starts_with("/dev/pts")));
        assert_eq!(rules.len(), 1);
    }
}
