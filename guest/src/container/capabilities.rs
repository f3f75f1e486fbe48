//! Which capabilities a container's first process has (moby, `daemon/pkg/oci/caps`).

use holm_api::models::HostConfig;
use oci_spec::runtime::{Capabilities, LinuxCapabilities};

use super::SpecError;
use super::abilities::HostAbilities;

/// Every capability, each at the place of its bit (capability.h).
pub(super) const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What every container has that asked for nothing else.
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// The names of the capabilities that a container gets.
pub(super) fn granted(host: &HostConfig, abilities: &HostAbilities) -> Result<Vec<&'static str>, SpecError> {
    let possible = || NAMES.into_iter().filter(|name| abilities.capabilities.contains(name));
    if host.privileged == Some(true) {
        return Ok(possible().collect());
    }
    let add = asked("CapAdd", host.cap_add.as_deref(), abilities)?;
    let drop = asked("CapDrop", host.cap_drop.as_deref(), abilities)?;
    let keep = |name: &&'static str| !drop.names.contains(name);
    let mut names: Vec<_> = match (add.all, drop.all) {
        (true, _) => possible().filter(keep).collect(),
        (false, true) => Vec::new(),
        (false, false) => {
            DEFAULT.into_iter().filter(|name| abilities.capabilities.contains(name)).filter(keep).collect()
        }
    };
    // With all of them added, one that is named as well is there already, or was dropped by name.
    for name in add.names.into_iter().filter(|_| !add.all) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// As OCI has it. Nothing is inheritable or ambient: with Docker, another user than root has none.
pub(super) fn sets(names: &[&str]) -> LinuxCapabilities {
    let named = |name: &&str| serde_json::from_value(serde_json::Value::from(*name));
    let set: Capabilities =
        names.iter().map(|name| named(name).expect("OCI knows every name of ours")).collect();
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(set.clone()))
        .set_effective(Some(set.clone()))
        .set_permitted(Some(set))
        .set_inheritable(None)
        .set_ambient(None);
    sets
}

#[derive(Default)]
struct Asked {
    all: bool,
    names: Vec<&'static str>,
}

fn asked(field: &str, words: Option<&[String]>, abilities: &HostAbilities) -> Result<Asked, SpecError> {
    let mut asked = Asked::default();
    for word in words.unwrap_or_default() {
        let upper = word.to_uppercase();
        if upper == "ALL" {
            asked.all = true;
            continue;
        }
        let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        let Some(name) = NAMES.into_iter().find(|name| *name == full) else {
            return Err(SpecError::Invalid(format!("invalid {field}: unknown capability: {full:?}")));
        };
        if !abilities.capabilities.contains(name) {
            return Err(SpecError::Invalid(format!(
                "invalid {field}: capability not supported by your kernel or not available in the current environment: {name:?}"
            )));
        }
        asked.names.push(name);
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(add: &[&str], drop: &[&str]) -> Result<Vec<&'static str>, SpecError> {
        let words = |words: &[&str]| Some(words.iter().map(ToString::to_string).collect());
        let host = HostConfig { cap_add: words(add), cap_drop: words(drop), ..Default::default() };
        granted(&host, &HostAbilities::unlimited())
    }

    #[test]
    fn oci_knows_every_capability() {
        assert_eq!(sets(&NAMES).bounding().as_ref().unwrap().len(), NAMES.len());
    }

    #[test]
    fn the_default_is_dockers_fourteen() {
        assert_eq!(names(&[], &[]).unwrap(), DEFAULT);
    }

    #[test]
    fn adding_and_dropping_follow_dockers_rules() {
        assert_eq!(names(&["net_admin"], &["ALL"]).unwrap(), ["CAP_NET_ADMIN"]);
        assert_eq!(names(&["ALL"], &["CAP_SYS_ADMIN"]).unwrap().len(), NAMES.len() - 1);
        let tweaked = names(&["SYS_PTRACE", "CHOWN"], &["cap_kill"]).unwrap();
        assert!(tweaked.contains(&"CAP_SYS_PTRACE") && !tweaked.contains(&"CAP_KILL"));
        assert_eq!(tweaked.len(), DEFAULT.len());
    }

    #[test]
    fn what_does_not_exist_or_cannot_be_given_is_refused() {
        let message = names(&["flying"], &[]).unwrap_err().to_string();
        assert_eq!(message, "invalid CapAdd: unknown capability: \"CAP_FLYING\"");
        let mut abilities = HostAbilities::unlimited();
        abilities.capabilities.remove("CAP_SYS_RESOURCE");
        let host = HostConfig { cap_add: Some(vec!["SYS_RESOURCE".into()]), ..Default::default() };
        assert_eq!(
            granted(&host, &abilities).unwrap_err().to_string(),
            "invalid CapAdd: capability not supported by your kernel or not available in the current environment: \
             \"CAP_SYS_RESOURCE\""
        );
        let host = HostConfig { privileged: Some(true), ..Default::default() };
        assert_eq!(granted(&host, &abilities).unwrap().len(), NAMES.len() - 1);
    }
}
