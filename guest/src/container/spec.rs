//! The OCI runtime spec of a container, as Docker's daemon would write it (moby, `daemon/oci_linux.go`).

use std::path::Path;

use holm_api::ContainerId;
use holm_api::models::{ContainerConfig, HostConfig, HostConfigIsolationEnum};
use oci_spec::runtime::{Linux, Mount, Process, RootBuilder, Spec};

use super::abilities::HostAbilities;
use super::etc_files::EtcFiles;
use super::namespaces::{Namespaces, namespaces};
use super::resources::Subject;
use super::security::Security;
use super::{capabilities, cgroup, devices, mounts, process, resources, rlimits, seccomp, sysctls};

/// Bytes of the longest host name (`HOST_NAME_MAX`).
const LONGEST_HOSTNAME: usize = 64;

/// Hidden from containers that are not privileged.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// Not to be written by containers that are not privileged.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What a container is made of.
#[derive(Clone, Copy, Debug)]
pub struct SpecInput<'a> {
    /// The container.
    pub id: &'a ContainerId,
    /// What it runs, merged with its image's configuration ([`super::merge`]), its host name filled in.
    pub config: &'a ContainerConfig,
    /// How it runs. What concerns other parts is theirs to honour or refuse: binds, volumes, mounts, tmpfs, ports,
    /// links, DNS, logging, restart policy, removal.
    pub host: &'a HostConfig,
    /// Where the shim mounts its root: the bundle's `rootfs`, absolute.
    pub rootfs: &'a Path,
    /// The files mounted into its `/etc`.
    pub files: &'a EtcFiles,
    /// Binds, volumes and tmpfs beside the default mounts.
    pub mounts: &'a [Mount],
    /// Whose namespaces it shares (`container:<id>`), resolved by the engine.
    pub joined: Joined,
    /// `holmd` itself, which is also the small init of `--init`.
    pub program: &'a Path,
    /// What the host can do.
    pub abilities: &'a HostAbilities,
}

/// First processes of the containers whose namespaces are shared; `None` where none is, or none runs yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Joined {
    /// `NetworkMode`.
    pub network: Option<i32>,
    /// `PidMode`.
    pub pid: Option<i32>,
    /// `IpcMode`.
    pub ipc: Option<i32>,
}

/// What a client asked for and cannot have. HTTP 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Neither the client nor the image says what to run.
    #[error("no command specified")]
    NoCommand,
    /// A value that Docker refuses, in Docker's words.
    #[error("{0}")]
    Invalid(String),
    /// One that it refuses as if it were a fault of its own.
    #[error("{0}")]
    Unexpected(String),
    /// One that Docker's daemon finds out about when the container starts.
    #[error("{0}")]
    AtStart(String),
    /// Likewise the runtime that it calls.
    #[error("{0}")]
    InRuntime(String),
    /// What Docker can do and we cannot yet.
    #[error("{0} is not supported by holm yet")]
    Unsupported(&'static str),
}

/// What Docker refuses when a container is created, and its warnings about what is left out.
pub fn check(input: &SpecInput<'_>) -> Result<Vec<String>, SpecError> {
    let mut warnings = Vec::new();
    match make(input, &mut warnings) {
        Ok(_) | Err(SpecError::AtStart(_) | SpecError::InRuntime(_)) => Ok(warnings),
        Err(refused) => Err(refused),
    }
}

/// The spec. `process.user` is root in it: the shim resolves [`ContainerConfig::user`] in the mounted root.
pub fn spec(input: &SpecInput<'_>) -> Result<Spec, SpecError> {
    make(input, &mut Vec::new())
}

fn make(input: &SpecInput<'_>, warnings: &mut Vec<String>) -> Result<Spec, SpecError> {
    let SpecInput { config, host, abilities, .. } = *input;
    refuse_unsupported(host)?;
    let namespaces = namespaces(host, input.joined)?;
    let capabilities = capabilities::granted(host, abilities)?;
    // With other processes' ids there is an init already.
    let with_init = host.init == Some(true) && namespaces.own_pids;
    let mut process = first_process(input, &capabilities, with_init, warnings)?;
    let security = Security::parse(host.security_opt.as_deref().unwrap_or_default())?;
    let mounts = all_mounts(input, &namespaces, &security, with_init)?;
    // From here on Docker finds out when the container starts.
    let limits = rlimits::rlimits(host.ulimits.as_deref().unwrap_or_default(), abilities, warnings)?;
    refuse_requests(host)?;
    process
        .set_rlimits((!limits.is_empty()).then_some(limits))
        // Some(false) would make libcontainer load the filter when the right to do so is dropped already.
        .set_no_new_privileges(security.no_new_privileges.then_some(true));
    let mut spec = Spec::default();
    spec.set_version("1.2.0".to_owned())
        .set_root(Some(root(input)))
        .set_process(Some(process))
        .set_mounts(Some(mounts))
        .set_linux(Some(linux(input, &namespaces, &security, &capabilities)?))
        .set_annotations(host.annotations.clone())
        .set_hostname(None);
    set_names(&mut spec, config, &namespaces)?;
    Ok(spec)
}

fn root(input: &SpecInput<'_>) -> oci_spec::runtime::Root {
    let read_only = input.host.readonly_rootfs == Some(true);
    let built = RootBuilder::default().path(input.rootfs).readonly(read_only).build();
    built.expect("the path is set")
}

fn first_process(
    input: &SpecInput<'_>,
    capabilities: &[&str],
    with_init: bool,
    warnings: &mut Vec<String>,
) -> Result<Process, SpecError> {
    let SpecInput { config, host, abilities, .. } = *input;
    let mut process = Process::default();
    process
        .set_args(Some(process::arguments(config, with_init)?))
        .set_env(Some(process::environment(config)?))
        .set_cwd(process::folder(config)?)
        .set_terminal(Some(config.tty == Some(true)))
        .set_capabilities(Some(capabilities::sets(capabilities)))
        .set_oom_score_adj(Some(oom_score(host, abilities, warnings)?));
    Ok(process)
}

fn oom_score(
    host: &HostConfig,
    abilities: &HostAbilities,
    warnings: &mut Vec<String>,
) -> Result<i32, SpecError> {
    let asked = host.oom_score_adj.unwrap_or(0);
    if !(-1000..=1000).contains(&asked) {
        return Err(SpecError::Invalid(format!(
            "Invalid value {asked}, range for oom score adj is [-1000, 1000]"
        )));
    }
    let lowest = abilities.lowest_oom_score;
    let score = if asked < lowest && !abilities.may_raise_limits() {
        if asked != 0 {
            warnings
                .push(format!("This host does not let the OOM score be set below {lowest}. Set to that."));
        }
        lowest
    } else {
        asked
    };
    Ok(i32::try_from(score).expect("checked to be within a thousand"))
}

fn all_mounts(
    input: &SpecInput<'_>,
    namespaces: &Namespaces,
    security: &Security,
    with_init: bool,
) -> Result<Vec<Mount>, SpecError> {
    let privileged = input.host.privileged == Some(true);
    let writable_cgroups = security.writable_cgroups.unwrap_or(privileged);
    let mut all = mounts::defaults(input.host, namespaces, writable_cgroups)?;
    all.extend(mounts::etc(input.files, input.host));
    if with_init {
        all.push(mounts::init(input.program));
    }
    Ok(mounts::overlaid(all, input.mounts))
}

fn linux(
    input: &SpecInput<'_>,
    namespaces: &Namespaces,
    security: &Security,
    capabilities: &[&str],
) -> Result<Linux, SpecError> {
    let SpecInput { host, abilities, .. } = *input;
    let (nodes, rules) = devices::devices(host)?;
    let mut resources = resources::resources(host, Subject::Container, abilities)?;
    resources.set_devices(Some(rules));
    let privileged = host.privileged == Some(true);
    let paths = |asked: &Option<Vec<String>>, default: &[&str]| match asked {
        _ if privileged => Vec::new(),
        Some(asked) => asked.clone(),
        None => default.iter().map(ToString::to_string).collect(),
    };
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces.list.clone()))
        .set_cgroups_path(Some(cgroup::path(host, input.id)))
        .set_resources(Some(resources))
        .set_devices((!nodes.is_empty()).then_some(nodes))
        .set_seccomp(seccomp::filter(host, security, capabilities, abilities)?)
        .set_sysctl(Some(sysctls::sysctls(host, namespaces)?))
        .set_masked_paths(Some(paths(&host.masked_paths, &MASKED)))
        .set_readonly_paths(Some(paths(&host.readonly_paths, &READ_ONLY)));
    Ok(linux)
}

fn set_names(spec: &mut Spec, config: &ContainerConfig, namespaces: &Namespaces) -> Result<(), SpecError> {
    let name = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(hostname) = name(&config.hostname).filter(|hostname| hostname.len() > LONGEST_HOSTNAME) {
        return Err(SpecError::AtStart(format!(
            "hostname {hostname:?} is too long (maximum {LONGEST_HOSTNAME} bytes)"
        )));
    }
    if namespaces.own_name {
        spec.set_hostname(name(&config.hostname)).set_domainname(name(&config.domainname));
    }
    Ok(())
}

fn refuse_unsupported(host: &HostConfig) -> Result<(), SpecError> {
    match host.runtime.as_deref() {
        None | Some("" | "runc" | "io.containerd.runc.v2") => {}
        Some(other) => return Err(SpecError::Invalid(format!("unknown or invalid runtime name: {other}"))),
    }
    if let Some(isolation @ (HostConfigIsolationEnum::PROCESS | HostConfigIsolationEnum::HYPERV)) =
        host.isolation
    {
        return Err(SpecError::Invalid(format!(
            "invalid isolation ({isolation}): linux only supports 'default'"
        )));
    }
    if host.storage_opt.as_ref().is_some_and(|options| !options.is_empty()) {
        return Err(SpecError::Unsupported("--storage-opt"));
    }
    Ok(())
}

fn refuse_requests(host: &HostConfig) -> Result<(), SpecError> {
    if let Some(request) = host.device_requests.iter().flatten().next() {
        let driver = request.driver.as_deref().unwrap_or_default();
        let wanted = request.capabilities.iter().flatten().map(|all| format!("[{}]", all.join(" ")));
        let wanted = wanted.collect::<Vec<_>>().join(" ");
        return Err(SpecError::AtStart(format!(
            "could not select device driver {driver:?} with capabilities: [{wanted}]"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use holm_api::models::{DeviceMapping, DeviceRequest, ResourcesUlimits};

    use super::*;

    fn with<T>(
        config: &ContainerConfig,
        host: &HostConfig,
        make: impl FnOnce(&SpecInput<'_>) -> Result<T, SpecError>,
    ) -> Result<T, SpecError> {
        let id = "0123456789abcdef".repeat(4).parse().unwrap();
        make(&SpecInput {
            id: &id,
            config,
            host,
            rootfs: Path::new("/b/rootfs"),
            files: &EtcFiles::in_folder(Path::new("/b")),
            mounts: &[],
            joined: Joined::default(),
            program: Path::new("/init"),
            abilities: &HostAbilities::unlimited(),
        })
    }

    fn made(config: &ContainerConfig, host: &HostConfig) -> Result<Spec, SpecError> {
        with(config, host, spec)
    }

    fn config() -> ContainerConfig {
        ContainerConfig { cmd: Some(vec!["true".into()]), hostname: Some("box".into()), ..Default::default() }
    }

    fn made_of(host: HostConfig) -> Spec {
        made(&config(), &host).unwrap()
    }

    #[test]
    fn a_plain_container_is_as_docker_makes_it() {
        let spec = made(&config(), &HostConfig::default()).unwrap();
        assert_eq!(with(&config(), &HostConfig::default(), check), Ok(Vec::new()));
        assert_eq!(spec.hostname().as_deref(), Some("box"));
        let process = spec.process().as_ref().unwrap();
        assert_eq!(
            (process.no_new_privileges(), process.rlimits(), process.oom_score_adj()),
            (None, &None, Some(0))
        );
        let linux = spec.linux().as_ref().unwrap();
        assert!(linux.cgroups_path().as_ref().unwrap().starts_with("/docker"));
        assert_eq!(linux.masked_paths().as_ref().unwrap().len(), MASKED.len());
        assert_eq!(linux.sysctl().as_ref().unwrap()["net.ipv4.ip_unprivileged_port_start"], "0");
        assert!(linux.seccomp().is_some());
    }

    #[test]
    fn a_spec_reads_back_as_it_was_written() {
        let spec = made_of(HostConfig { privileged: Some(false), init: Some(true), ..Default::default() });
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec);
    }

    #[test]
    fn a_privileged_container_is_kept_from_nothing() {
        let spec = made_of(HostConfig { privileged: Some(true), ..Default::default() });
        let linux = spec.linux().as_ref().unwrap();
        assert!(linux.seccomp().is_none());
        assert_eq!(linux.masked_paths(), &Some(Vec::new()));
        assert_eq!(linux.readonly_paths(), &Some(Vec::new()));
    }

    #[test]
    fn an_init_comes_only_where_the_container_has_pids_of_its_own() {
        let first = |host| made_of(host).process().as_ref().unwrap().args().as_ref().unwrap()[0].clone();
        assert_eq!(first(HostConfig { init: Some(true), ..Default::default() }), "/sbin/docker-init");
        let shared = HostConfig { init: Some(true), pid_mode: Some("host".into()), ..Default::default() };
        assert_eq!(first(shared), "true");
    }

    #[test]
    fn a_shared_network_has_no_settings_of_its_own_and_a_shared_name_none_either() {
        let spec = made_of(HostConfig {
            network_mode: Some("host".into()),
            uts_mode: Some("host".into()),
            ..Default::default()
        });
        assert_eq!(spec.hostname(), &None);
        assert_eq!(spec.linux().as_ref().unwrap().sysctl(), &Some(Default::default()));
    }

    #[test]
    fn what_cannot_be_had_is_refused_in_dockers_words() {
        let refused = |host: HostConfig| made(&config(), &host).unwrap_err().to_string();
        assert_eq!(
            refused(HostConfig { runtime: Some("kata".into()), ..Default::default() }),
            "unknown or invalid runtime name: kata"
        );
        let gpu = DeviceRequest { capabilities: Some(vec![vec!["gpu".into()]]), ..Default::default() };
        assert_eq!(
            refused(HostConfig { device_requests: Some(vec![gpu]), ..Default::default() }),
            "could not select device driver \"\" with capabilities: [[gpu]]"
        );
        assert_eq!(
            refused(HostConfig { oom_score_adj: Some(2000), ..Default::default() }),
            "Invalid value 2000, range for oom score adj is [-1000, 1000]"
        );
        let long = ContainerConfig { hostname: Some("x".repeat(65)), ..config() };
        assert!(made(&long, &HostConfig::default()).unwrap_err().to_string().contains("is too long"));
    }

    #[test]
    fn what_docker_finds_out_at_the_start_keeps_no_container_from_being_made() {
        let device = |path: &str| DeviceMapping { path_on_host: Some(path.into()), ..Default::default() };
        for host in [
            HostConfig { devices: Some(vec![device("/dev/nope")]), ..Default::default() },
            HostConfig { device_cgroup_rules: Some(vec!["nonsense".into()]), ..Default::default() },
            HostConfig { security_opt: Some(vec!["seccomp={".into()]), ..Default::default() },
            HostConfig { sysctls: Some([("kernel.x".into(), "1".into())].into()), ..Default::default() },
            HostConfig { ulimits: Some(vec![ResourcesUlimits::default()]), ..Default::default() },
        ] {
            assert_eq!(with(&config(), &host, check), Ok(Vec::new()), "{host:?}");
            let refused = made(&config(), &host).unwrap_err();
            assert!(matches!(refused, SpecError::AtStart(_) | SpecError::InRuntime(_)), "{refused:?}");
        }
    }
}
