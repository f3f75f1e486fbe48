//! `--sysctl`: kernel parameters of the container's own namespaces. One that is the machine's would be changed for
//! everybody, so it is refused, in runc's words (runc, `libcontainer/configs/validate`).

use std::collections::HashMap;

use holm_api::models::HostConfig;

use super::SpecError;
use super::namespaces::Namespaces;

/// Those of System V's memory, messages and semaphores.
const OF_IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// What the client asked for, beside Docker's own: ping sockets and low ports need no capability in a network of one's
/// own.
pub(super) fn sysctls(
    host: &HostConfig,
    namespaces: &Namespaces,
) -> Result<HashMap<String, String>, SpecError> {
    let mut values = HashMap::new();
    if namespaces.own_network {
        values.insert("net.ipv4.ping_group_range".to_owned(), "0 2147483647".to_owned());
        values.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
    }
    for (name, value) in host.sysctls.iter().flatten() {
        let dotted = dotted(name);
        check(name, &dotted, namespaces)?;
        values.insert(dotted, value.clone());
    }
    Ok(values)
}

fn check(name: &str, dotted: &str, namespaces: &Namespaces) -> Result<(), SpecError> {
    let refused = |why: &str| Err(SpecError::InRuntime(format!("sysctl {name:?} {why}")));
    // No way to another file by a name with dots of its own.
    let mut parts = dotted.split(['.', '/']);
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-:".contains(&b))
    };
    if !parts.all(plain) {
        return refused("is not in a separate kernel namespace");
    }
    if OF_IPC.contains(&dotted) || dotted.starts_with("fs.mqueue.") {
        return if namespaces.machine_ipc {
            refused("is not allowed in the hosts ipc namespace")
        } else {
            Ok(())
        };
    }
    if dotted.starts_with("net.") {
        return if namespaces.machine_network {
            refused("not allowed in host network namespace")
        } else {
            Ok(())
        };
    }
    match dotted {
        "kernel.domainname" if namespaces.own_name => Ok(()),
        "kernel.domainname" => refused("requires a separate UTS namespace"),
        "kernel.hostname" => refused("conflicts with the OCI \"hostname\" field"),
        _ => refused("is not in a separate kernel namespace"),
    }
}

/// `net/ipv4/conf/eth0.5/x` is `net.ipv4.conf.eth0/5.x` with dots for slashes, as sysctl(8) has it.
fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(first) if name.as_bytes()[first] == b'/' => name
            .chars()
            .map(|c| {
                if c == '/' {
                    '.'
                } else if c == '.' {
                    '/'
                } else {
                    c
                }
            })
            .collect(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::namespaces::namespaces;
    use super::super::spec::Joined;
    use super::*;

    fn asked(name: &str, host: HostConfig) -> Result<HashMap<String, String>, String> {
        let sysctl = [(name.to_owned(), "1".to_owned())].into();
        let host = HostConfig { sysctls: Some(sysctl), ..host };
        let namespaces = namespaces(&host, Joined::default()).unwrap();
        sysctls(&host, &namespaces).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_the_containers_own_may_be_set() {
        for name in ["net.core.somaxconn", "kernel.shmmax", "fs.mqueue.msg_max", "net/ipv4/ip_forward"] {
            assert_eq!(asked(name, HostConfig::default()).unwrap().len(), 3, "{name}");
        }
        assert!(
            asked("net/ipv4/ip_forward", HostConfig::default()).unwrap().contains_key("net.ipv4.ip_forward")
        );
    }

    #[test]
    fn what_is_the_machines_is_refused_in_runcs_words() {
        let refused = |name, host| asked(name, host).unwrap_err();
        assert_eq!(
            refused("kernel.panic", HostConfig::default()),
            "sysctl \"kernel.panic\" is not in a separate kernel namespace"
        );
        let network = HostConfig { network_mode: Some("host".into()), ..Default::default() };
        assert_eq!(
            refused("net.core.somaxconn", network),
            "sysctl \"net.core.somaxconn\" not allowed in host network namespace"
        );
        let ipc = HostConfig { ipc_mode: Some("host".into()), ..Default::default() };
        assert_eq!(
            refused("kernel.shmmax", ipc),
            "sysctl \"kernel.shmmax\" is not allowed in the hosts ipc namespace"
        );
    }

    #[test]
    fn no_name_leads_out_of_its_folder() {
        for name in
            ["net.../../kernel.panic", "net./etc/passwd", "net.", "net..x", "net/../kernel/panic", "net.a//b"]
        {
            assert!(asked(name, HostConfig::default()).is_err(), "{name}");
        }
    }
}
