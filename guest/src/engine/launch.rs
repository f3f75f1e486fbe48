//! How a container is started, and how every step is undone where a later one fails.
//!
//! ```text
//!   address ─► published ports ─► bundle ─► shim creates the container ─► network ─► waiting clients attach ─► Start
//! ```
//!
//! Clients are attached before the program's first instruction, so that none of its output is lost to them.

use std::net::IpAddr;
use std::path::Path;

use holm_api::network::{GATEWAY_V4, HOST_V4};
use holm_api::services::BoundPort;

use super::container::{Attached, Begin, Joining};
use super::logging;
use super::mounts::Served;
use super::networks::uses_embedded_dns;
use super::records::Definition;
use super::{Engine, EngineError, shared_memory};
use crate::container::etc_files::{EtcContent, EtcFiles};
use crate::container::{SpecInput, spec};
use crate::network::Endpoint;
use crate::network::dns::SERVER;
use crate::shim::client::{self, ShimClient};
use crate::shim::protocol::{Failure, FailureKind, ShimConfig, Stdin, Vsock, WindowSize};

/// moby's words in front of what went wrong with a container's networks.
const SETTING_UP: &str = "failed to set up container networking";
/// Docker's exit code of a container that could not be started.
const EXIT_NOT_STARTED: i32 = 128;
const EXIT_NOT_EXECUTABLE: i32 = 126;
const EXIT_NOT_FOUND: i32 = 127;

/// A container that runs.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) shim: ShimClient,
    pub(super) pid: i32,
    /// Its places on networks.
    pub(super) endpoints: Vec<Endpoint>,
    /// What it has published.
    pub(super) ports: Vec<BoundPort>,
}

/// A container that does not, with nothing left of the attempt.
#[derive(Debug)]
pub(super) struct LaunchFailure {
    /// For its record.
    pub(super) code: i32,
    /// For the client.
    pub(super) error: EngineError,
}

impl From<EngineError> for LaunchFailure {
    fn from(error: EngineError) -> Self {
        let code = match &error {
            EngineError::Start(Failure { kind: FailureKind::NotFound, .. }) => EXIT_NOT_FOUND,
            EngineError::Start(Failure { kind: FailureKind::NotExecutable, .. }) => EXIT_NOT_EXECUTABLE,
            _ => EXIT_NOT_STARTED,
        };
        Self { code, error }
    }
}

/// Starts the container. `attaches` are connected first, or told that there is nothing to connect to.
pub(super) async fn launch(
    engine: &Engine,
    definition: &Definition,
    attaches: Vec<Joining>,
) -> Result<Launched, LaunchFailure> {
    let reserved = engine.networks().reserve_all(definition);
    let endpoints = reserved.map_err(|error| error.while_doing(SETTING_UP))?;
    let ports = match engine.open_ports(definition, &endpoints).await {
        Ok(ports) => ports,
        Err(error) => {
            engine.leave_networks(&endpoints).await;
            return Err(error.while_doing(SETTING_UP).into());
        }
    };
    match create_and_start(engine, definition, &endpoints, attaches).await {
        Ok((shim, pid)) => Ok(Launched { shim, pid, endpoints, ports }),
        Err(error) => {
            engine.unmount_volumes(definition).await;
            engine.take_shared_memory(definition);
            engine.forget_names(&definition.id);
            engine.close_ports(&definition.id, &ports).await;
            engine.leave_networks(&endpoints).await;
            Err(error.into())
        }
    }
}

/// Connects one client.
pub(super) async fn connect(shim: &ShimClient, client: Joining) {
    let Joining { streams, begin, answer } = client;
    if answer.is_closed() {
        return;
    }
    let attached = match begin {
        Begin::Now => {
            shim.attach(streams).await.map(|(output, input)| Attached { output, input, log_end: None })
        }
        Begin::AfterLog => shim.attach_after_log(streams).await.map(|(output, input, log_end)| Attached {
            output,
            input,
            log_end,
        }),
    };
    // A client that went away meanwhile is detached by the drop.
    drop(answer.send(attached.map_err(EngineError::from)));
}

async fn create_and_start(
    engine: &Engine,
    definition: &Definition,
    endpoints: &[Endpoint],
    attaches: Vec<Joining>,
) -> Result<(ShimClient, i32), EngineError> {
    let folder = engine.layout().container(&definition.id);
    let bundle = folder.join("bundle");
    let rootfs = bundle.join("rootfs");
    for needed in ["bundle/rootfs", "upper", "work"] {
        std::fs::create_dir_all(folder.join(needed)).map_err(EngineError::system("make a folder"))?;
    }
    if let Some(logs) = logging::path(definition, &folder).parent() {
        std::fs::create_dir_all(logs).map_err(EngineError::system("make a folder for logs"))?;
    }
    let sharing = engine.sharing(definition)?;
    let linked = engine.linked(definition)?;
    shared_memory::make(engine.layout(), definition).map_err(EngineError::system("make shared memory"))?;
    let mut config = definition.config.clone();
    config.env.get_or_insert_default().splice(0..0, linked.environment);
    let files = match &sharing.network {
        // One network, one name, and one set of files about both.
        Some(partner) => {
            let theirs = partner.definition();
            config.hostname.clone_from(&theirs.config.hostname);
            config.domainname.clone_from(&theirs.config.domainname);
            EtcFiles::in_folder(&engine.layout().container(partner.id()))
        }
        None => {
            let files = EtcFiles::in_folder(&folder);
            let mut content = etc_content(definition, endpoints)?;
            content.extra_hosts.extend(linked.hosts);
            files.write(&content).map_err(EngineError::system("write /etc/hosts"))?;
            files
        }
    };
    let mut served = engine.serve_mounts(definition, &bundle).await?;
    if let Some(shared) = sharing.shared_memory
        && !served.mounts.iter().any(|mount| mount.destination() == shared.destination())
    {
        served.mounts.push(shared);
    }
    let spec = spec(&SpecInput {
        id: &definition.id,
        config: &config,
        host: &definition.host,
        rootfs: &rootfs,
        files: &files,
        mounts: &served.mounts,
        joined: sharing.namespaces,
        program: engine.program(),
        abilities: engine.abilities(),
    })?;
    let config = shim_config(engine, definition, &folder, served)?;
    let (shim, pid) = client::launch(engine.program(), &bundle, &spec, &config).await?;
    match connect_and_start(engine, definition, &shim, pid, endpoints, attaches).await {
        Ok(()) => Ok((shim, pid)),
        Err(error) => {
            // A start that failed because the program is missing has ended the container's process already.
            if let Err(left) = shim.end().await {
                tracing::warn!("a container that did not start is not cleared away: {left}");
            }
            Err(error)
        }
    }
}

async fn connect_and_start(
    engine: &Engine,
    definition: &Definition,
    shim: &ShimClient,
    pid: i32,
    endpoints: &[Endpoint],
    attaches: Vec<Joining>,
) -> Result<(), EngineError> {
    let joined = engine.join_networks(definition, pid, endpoints).await;
    joined.map_err(|error| error.while_doing(SETTING_UP))?;
    engine.tell_linking(&definition.id, endpoints);
    for client in attaches {
        connect(shim, client).await;
    }
    Ok(shim.start().await?)
}

fn shim_config(
    engine: &Engine,
    definition: &Definition,
    folder: &Path,
    served: Served,
) -> Result<ShimConfig, EngineError> {
    let layout = engine.layout();
    let config = &definition.config;
    let stdin = match (config.open_stdin, config.stdin_once) {
        (Some(true), Some(true)) => Stdin::Once,
        (Some(true), _) => Stdin::Open,
        _ => Stdin::Null,
    };
    Ok(ShimConfig {
        id: definition.id.clone(),
        socket: layout.shim_socket(&definition.id),
        runtime: layout.runtime(),
        rootfs: engine.root_of(definition, folder),
        sources: served.sources,
        terminal: definition.has_terminal().then(|| window_size(definition)),
        stdin,
        user: config.user.clone().unwrap_or_default(),
        groups: definition.host.group_add.clone().unwrap_or_default(),
        log: logging::log_file(definition, folder)?,
        vsock: if definition.host.privileged == Some(true) { Vsock::Allowed } else { Vsock::Refused },
        exit_file: exit_file(folder),
    })
}

/// Where the shim writes how the container ended.
pub(super) fn exit_file(folder: &Path) -> std::path::PathBuf {
    folder.join("exit.json")
}

/// What the client's terminal had when it created the container; it tells of changes by `resize`.
fn window_size(definition: &Definition) -> WindowSize {
    let side = |index: usize| {
        let size = definition.host.console_size.as_ref().and_then(|size| size.get(index).copied());
        size.and_then(|size| u16::try_from(size).ok()).unwrap_or(0)
    };
    WindowSize { rows: side(0), columns: side(1) }
}

/// What the files of `/etc` say of a container with these places on networks.
pub(super) fn etc_content(
    definition: &Definition,
    endpoints: &[Endpoint],
) -> Result<EtcContent, EngineError> {
    let (config, host) = (&definition.config, &definition.host);
    let extra_hosts = host.extra_hosts.iter().flatten().map(|text| extra_host(text));
    let nameservers: Vec<IpAddr> = match host.dns.as_deref() {
        None | Some([]) => vec![GATEWAY_V4.into()],
        Some(servers) => servers
            .iter()
            .map(|text| {
                text.parse().map_err(|_| EngineError::Invalid(format!("{text} is not an ip address")))
            })
            .collect::<Result<_, _>>()?,
    };
    let mut options = host.dns_options.clone().unwrap_or_default();
    let nameservers = if uses_embedded_dns(endpoints) {
        if !options.iter().any(|option| option.starts_with("ndots")) {
            options.push("ndots:0".to_owned());
        }
        vec![SERVER.into()]
    } else {
        nameservers
    };
    Ok(EtcContent {
        hostname: config.hostname.clone().unwrap_or_default(),
        domainname: config.domainname.clone().filter(|name| !name.is_empty()),
        addresses: endpoints.iter().flat_map(Endpoint::places).map(|place| place.address.addr()).collect(),
        extra_hosts: extra_hosts.collect::<Result<_, _>>()?,
        nameservers,
        search: host.dns_search.clone().unwrap_or_default(),
        options,
    })
}

/// `name:address`, or `name:host-gateway` for the computer itself. Also used to check a client's wish.
pub(super) fn extra_host(text: &str) -> Result<(String, IpAddr), EngineError> {
    let wrong = || EngineError::Invalid(format!("bad format for add-host: {text:?}"));
    let (name, address) = text.split_once([':', '=']).ok_or_else(wrong)?;
    if name.is_empty() {
        return Err(wrong());
    }
    if address == "host-gateway" {
        return Ok((name.to_owned(), HOST_V4.into()));
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let address = bare
        .parse()
        .map_err(|_| EngineError::Invalid(format!("invalid IP address in add-host: {address:?}")))?;
    Ok((name.to_owned(), address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_host_has_a_name_and_an_address_or_means_the_computer() {
        assert_eq!(extra_host("db:10.0.0.1").unwrap(), ("db".to_owned(), "10.0.0.1".parse().unwrap()));
        assert_eq!(extra_host("db:fe80::1").unwrap().1, "fe80::1".parse::<IpAddr>().unwrap());
        assert_eq!(extra_host("db=[::1]").unwrap().1, "::1".parse::<IpAddr>().unwrap());
        assert_eq!(extra_host("me:host-gateway").unwrap().1, IpAddr::from(HOST_V4));
        assert_eq!(
            extra_host("db:nowhere").unwrap_err().to_string(),
            "invalid IP address in add-host: \"nowhere\""
        );
        assert_eq!(extra_host("db").unwrap_err().to_string(), "bad format for add-host: \"db\"");
    }

    #[test]
    fn what_went_wrong_decides_the_recorded_code() {
        let code =
            |kind| LaunchFailure::from(EngineError::Start(Failure { kind, message: String::new() })).code;
        assert_eq!(code(FailureKind::NotFound), 127);
        assert_eq!(code(FailureKind::NotExecutable), 126);
        assert_eq!(code(FailureKind::Other), 128);
    }
}
