//! Which namespaces a container has of its own, and which it shares with the machine or another container.

use std::path::PathBuf;

use holm_api::models::{HostConfig, HostConfigCgroupnsModeEnum};
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType};

use super::{Joined, SpecError};

/// How a container's namespaces are.
#[derive(Debug)]
pub(super) struct Namespaces {
    /// As OCI has them; what is shared with the machine is not among them.
    pub(super) list: Vec<LinuxNamespace>,
    /// Its network is its own and new.
    pub(super) own_network: bool,
    /// Its network is the machine's.
    pub(super) machine_network: bool,
    /// Its shared memory, queues and semaphores are the machine's.
    pub(super) machine_ipc: bool,
    /// Its process ids are its own and new.
    pub(super) own_pids: bool,
    /// Its host name is its own.
    pub(super) own_name: bool,
    /// It has shared memory to be mounted (`IpcMode` is not `none`).
    pub(super) shared_memory: bool,
}

enum Mode {
    Own,
    Machine,
    Container,
}

/// Reads the modes. A container that is joined must be running; the engine knows its first process.
pub(super) fn namespaces(host: &HostConfig, joined: Joined) -> Result<Namespaces, SpecError> {
    let network = match text(&host.network_mode) {
        "host" => Mode::Machine,
        other if other.starts_with("container:") => Mode::Container,
        _ => Mode::Own,
    };
    let pid = mode(text(&host.pid_mode), &[""], "invalid PID mode")?;
    let ipc_mode = text(&host.ipc_mode);
    let ipc = mode(ipc_mode, &["", "private", "shareable", "none"], "invalid IPC mode")?;
    let uts = match text(&host.uts_mode) {
        "" => Mode::Own,
        "host" => Mode::Machine,
        other => return Err(SpecError::Invalid(format!("invalid UTS mode: {other}"))),
    };
    match text(&host.userns_mode) {
        // There is no remapping, so the machine's is the only one.
        "" | "host" => {}
        _ => return Err(SpecError::Invalid("invalid USER mode: ".to_owned() + text(&host.userns_mode))),
    }
    let cgroup = match host.cgroupns_mode {
        Some(HostConfigCgroupnsModeEnum::HOST) => Mode::Machine,
        _ => Mode::Own,
    };

    let mut list = vec![namespace(LinuxNamespaceType::Mount, None)];
    let all = [
        (LinuxNamespaceType::Network, &network, joined.network, "net"),
        (LinuxNamespaceType::Pid, &pid, joined.pid, "pid"),
        (LinuxNamespaceType::Ipc, &ipc, joined.ipc, "ipc"),
        (LinuxNamespaceType::Uts, &uts, None, "uts"),
        (LinuxNamespaceType::Cgroup, &cgroup, None, "cgroup"),
    ];
    for (typ, mode, of, name) in all {
        match (mode, of) {
            (Mode::Own, _) => list.push(namespace(typ, None)),
            (Mode::Container, Some(pid)) => {
                list.push(namespace(typ, Some(PathBuf::from(format!("/proc/{pid}/ns/{name}")))));
            }
            // Not created or started yet: the spec is only being checked.
            (Mode::Container, None) | (Mode::Machine, _) => {}
        }
    }
    Ok(Namespaces {
        list,
        own_network: matches!(network, Mode::Own),
        machine_network: matches!(network, Mode::Machine),
        machine_ipc: matches!(ipc, Mode::Machine),
        own_pids: matches!(pid, Mode::Own),
        own_name: matches!(uts, Mode::Own),
        shared_memory: ipc_mode != "none",
    })
}

fn mode(text: &str, own: &[&str], invalid: &str) -> Result<Mode, SpecError> {
    match text {
        text if own.contains(&text) => Ok(Mode::Own),
        "host" => Ok(Mode::Machine),
        other if other.strip_prefix("container:").is_some_and(|id| !id.is_empty()) => Ok(Mode::Container),
        other => Err(SpecError::Invalid(format!("{invalid}: {other}"))),
    }
}

fn namespace(typ: LinuxNamespaceType, path: Option<PathBuf>) -> LinuxNamespace {
    let mut built = LinuxNamespaceBuilder::default().typ(typ).build().expect("the type is set");
    built.set_path(path);
    built
}

fn text(mode: &Option<String>) -> &str {
    mode.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(host: &HostConfig, joined: Joined) -> Vec<(LinuxNamespaceType, Option<String>)> {
        let path = |ns: &LinuxNamespace| ns.path().as_ref().map(|path| path.display().to_string());
        namespaces(host, joined).unwrap().list.iter().map(|ns| (ns.typ(), path(ns))).collect()
    }

    #[test]
    fn a_container_has_six_of_its_own() {
        let list = types(&HostConfig::default(), Joined::default());
        assert_eq!(list.len(), 6);
        assert!(list.iter().all(|(_, path)| path.is_none()));
    }

    #[test]
    fn what_is_the_machines_is_left_out() {
        let host = HostConfig {
            network_mode: Some("host".into()),
            pid_mode: Some("host".into()),
            ipc_mode: Some("host".into()),
            uts_mode: Some("host".into()),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::HOST),
            ..Default::default()
        };
        assert_eq!(types(&host, Joined::default()), [(LinuxNamespaceType::Mount, None)]);
    }

    #[test]
    fn another_containers_is_found_by_its_first_process() {
        let host = HostConfig { network_mode: Some("container:db".into()), ..Default::default() };
        let list = types(&host, Joined { network: Some(42), ..Default::default() });
        assert!(list.contains(&(LinuxNamespaceType::Network, Some("/proc/42/ns/net".to_owned()))));
    }

    #[test]
    fn unknown_modes_are_refused_in_dockers_words() {
        let host = HostConfig { pid_mode: Some("mine".into()), ..Default::default() };
        let error = namespaces(&host, Joined::default()).unwrap_err();
        assert_eq!(error.to_string(), "invalid PID mode: mine");
        let host = HostConfig { ipc_mode: Some("container:".into()), ..Default::default() };
        assert_eq!(
            namespaces(&host, Joined::default()).unwrap_err().to_string(),
            "invalid IPC mode: container:"
        );
    }
}
