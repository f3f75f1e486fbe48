//! What is mounted in every container, under what it asked for itself (moby, `daemon/pkg/oci/defaults.go`).

use std::path::Path;

use holm_api::models::HostConfig;
use oci_spec::runtime::{Mount, MountBuilder};

use super::SpecError;
use super::etc_files::EtcFiles;
use super::namespaces::Namespaces;

/// Where the small init of `--init` is.
pub(super) const INIT: &str = "/sbin/docker-init";
/// Bytes of `/dev/shm`, unless asked for otherwise.
const SHM_SIZE: i64 = 64 << 20;

/// The default mounts, in the order in which they are made.
pub(super) fn defaults(
    host: &HostConfig,
    namespaces: &Namespaces,
    writable_cgroups: bool,
) -> Result<Vec<Mount>, SpecError> {
    let shm_size = host.shm_size.filter(|size| *size != 0).unwrap_or(SHM_SIZE);
    if shm_size < 0 {
        return Err(SpecError::Invalid("SHM size can not be less than 0".to_owned()));
    }
    let guarded = ["nosuid", "noexec", "nodev"];
    let also = |more: &[&'static str]| [&guarded, more].concat();
    let writable_if = |writable: bool| if writable { also(&[]) } else { also(&["ro"]) };
    let terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];

    let mut mounts = vec![
        mount("/proc", "proc", "proc", &guarded),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &terminals),
        mount("/sys", "sysfs", "sysfs", &writable_if(host.privileged == Some(true))),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &writable_if(writable_cgroups)),
        mount("/dev/mqueue", "mqueue", "mqueue", &guarded),
    ];
    if namespaces.shared_memory {
        let mut shm = mount("/dev/shm", "tmpfs", "shm", &also(&["mode=1777"]));
        shm.options_mut().get_or_insert_default().push(format!("size={shm_size}"));
        mounts.push(shm);
    }
    Ok(mounts)
}

/// The container's own `/etc` files.
pub(super) fn etc(files: &EtcFiles, host: &HostConfig) -> Vec<Mount> {
    let mut options = vec!["rbind", "rprivate"];
    if host.readonly_rootfs == Some(true) {
        options.push("ro");
    }
    [
        ("/etc/resolv.conf", &files.resolv_conf),
        ("/etc/hostname", &files.hostname),
        ("/etc/hosts", &files.hosts),
    ]
    .map(|(target, source)| mount(target, "bind", source, &options))
    .into()
}

/// `holmd` as the container's init.
pub(super) fn init(program: &Path) -> Mount {
    mount(INIT, "bind", program, &["bind", "ro"])
}

/// Lays `asked` over `mounts`: one in the place of a default one replaces it, one of `/dev` all that would be below
/// it, and what lies deeper comes later.
pub(super) fn overlaid(mut mounts: Vec<Mount>, asked: &[Mount]) -> Vec<Mount> {
    let own_devices = asked.iter().any(|mount| mount.destination() == Path::new("/dev"));
    mounts.retain(|default| {
        let below_devices = default.destination().starts_with("/dev") && own_devices;
        !below_devices && !asked.iter().any(|other| other.destination() == default.destination())
    });
    let mut asked = asked.to_vec();
    asked.sort_by_key(|mount| mount.destination().components().count());
    mounts.extend(asked);
    mounts
}

fn mount(target: &str, typ: &str, source: impl AsRef<Path>, options: &[&str]) -> Mount {
    let options: Vec<_> = options.iter().map(ToString::to_string).collect();
    let built =
        MountBuilder::default().destination(target).typ(typ).source(source.as_ref()).options(options).build();
    built.expect("the destination is set")
}

#[cfg(test)]
mod tests {
    use super::super::namespaces::namespaces;
    use super::super::spec::Joined;
    use super::*;

    fn options(host: &HostConfig, target: &str) -> Option<Vec<String>> {
        let namespaces = namespaces(host, Joined::default()).unwrap();
        let mounts = defaults(host, &namespaces, host.privileged == Some(true)).unwrap();
        let found = mounts.into_iter().find(|mount| mount.destination() == Path::new(target))?;
        found.options().clone()
    }

    fn has(host: &HostConfig, target: &str, option: &str) -> bool {
        options(host, target).unwrap().iter().any(|other| other == option)
    }

    #[test]
    fn only_a_privileged_container_may_write_to_sys() {
        let privileged = HostConfig { privileged: Some(true), ..Default::default() };
        for target in ["/sys", "/sys/fs/cgroup"] {
            assert!(has(&HostConfig::default(), target, "ro"));
            assert!(!has(&privileged, target, "ro"));
        }
    }

    #[test]
    fn shared_memory_has_its_size_or_is_not_there() {
        assert!(has(&HostConfig::default(), "/dev/shm", "size=67108864"));
        assert!(has(&HostConfig { shm_size: Some(4096), ..Default::default() }, "/dev/shm", "size=4096"));
        let none = HostConfig { ipc_mode: Some("none".into()), ..Default::default() };
        assert_eq!(options(&none, "/dev/shm"), None);
    }

    #[test]
    fn a_clients_mount_takes_the_place_of_a_default_one_and_parents_come_first() {
        let default = vec![mount("/dev", "tmpfs", "tmpfs", &[]), mount("/dev/shm", "tmpfs", "shm", &[])];
        let asked = [
            mount("/a/b", "bind", "/x", &[]),
            mount("/a", "bind", "/y", &[]),
            mount("/dev/shm", "bind", "/z", &[]),
        ];
        let targets: Vec<_> =
            overlaid(default, &asked).iter().map(|mount| mount.destination().display().to_string()).collect();
        assert_eq!(targets, ["/dev", "/a", "/a/b", "/dev/shm"]);
    }
}
