//! What a client may ask of a new container. Values that Docker refuses are refused in its words.

use holm_api::models::{ContainerConfig, HostConfig, RestartPolicyNameEnum};

use super::networks::NetworkMode;
use super::{EngineError, health, joined, launch, mounts, parse_signal, ports};

/// Names of the one runtime there is.
const RUNTIMES: [&str; 3] = ["", "runc", "io.containerd.runc.v2"];

/// Checks all that depends neither on the image nor on this machine. Returns moby's warnings.
pub(super) fn check(config: &ContainerConfig, host: &HostConfig) -> Result<Vec<String>, EngineError> {
    check_config(config)?;
    check_restarts(host)?;
    check_network(config, host)?;
    let warnings = mounts::check(config, host)?;
    ports::check(host)?;
    for extra in host.extra_hosts.iter().flatten() {
        launch::extra_host(extra)?;
    }
    if let Some(runtime) = host.runtime.as_deref().filter(|name| !RUNTIMES.contains(name)) {
        return Err(invalid(format!("unknown or invalid runtime name: {runtime}")));
    }
    if host.annotations.iter().flatten().any(|(key, _)| key.is_empty()) {
        return Err(invalid(
            "invalid Annotations: the empty string is not permitted as an annotation key".to_owned(),
        ));
    }
    if host.storage_opt.as_ref().is_some_and(|options| !options.is_empty()) {
        let words = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option";
        return Err(EngineError::Internal(words.to_owned()));
    }
    Ok(warnings)
}

fn check_config(config: &ContainerConfig) -> Result<(), EngineError> {
    if let Some(folder) = config.working_dir.as_deref().filter(|folder| !folder.is_empty())
        && !folder.starts_with('/')
    {
        return Err(invalid(format!(
            "the working directory '{folder}' is invalid, it needs to be an absolute path"
        )));
    }
    if let Some(signal) = config.stop_signal.as_deref().filter(|text| !text.is_empty()) {
        parse_signal(signal)?;
    }
    if let Some(check) = &config.healthcheck {
        health::validate(check).map_err(invalid)?;
    }
    for variable in config.env.iter().flatten() {
        if variable.is_empty() || variable.starts_with('=') {
            return Err(invalid(format!("invalid environment variable: {variable}")));
        }
    }
    Ok(())
}

/// Checks a restart policy.
pub(super) fn check_restarts(host: &HostConfig) -> Result<(), EngineError> {
    use RestartPolicyNameEnum::{ALWAYS, EMPTY, NO, ON_FAILURE, UNLESS_STOPPED};
    let Some(policy) = &host.restart_policy else { return Ok(()) };
    let tries = policy.maximum_retry_count.unwrap_or(0);
    let negative = if tries < 0 { " and cannot be negative" } else { "" };
    match policy.name.unwrap_or(EMPTY) {
        EMPTY if tries != 0 => {
            return Err(invalid(format!(
                "invalid restart policy: maximum retry count can only be used with 'on-failure'{negative}"
            )));
        }
        NO | ALWAYS | UNLESS_STOPPED if tries != 0 => {
            return Err(invalid(format!(
                "invalid restart policy: maximum retry count can only be used with 'on-failure'{negative}"
            )));
        }
        ON_FAILURE if tries < 0 => {
            return Err(invalid("invalid restart policy: maximum retry count cannot be negative".to_owned()));
        }
        NO | EMPTY => {}
        _ if host.auto_remove == Some(true) => {
            return Err(invalid("can't create 'AutoRemove' container with restart policy".to_owned()));
        }
        _ => {}
    }
    Ok(())
}

fn check_network(config: &ContainerConfig, host: &HostConfig) -> Result<(), EngineError> {
    // Whether there is a network of that name, Docker finds out when the container starts: it may be made in between.
    let network = NetworkMode::of(host)?;
    let host_names = host.uts_mode.as_deref() == Some("host");
    if host_names && config.hostname.as_deref().is_some_and(|name| !name.is_empty()) {
        return Err(invalid("conflicting options: hostname and the UTS mode".to_owned()));
    }
    if let Some(conflict) = joined_network_conflict(config, host) {
        return Err(invalid(format!("conflicting options: {conflict}")));
    }
    let links = host.links.iter().flatten().next().is_some();
    if network == Some(NetworkMode::Host) && links {
        return Err(invalid(
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior".to_owned(),
        ));
    }
    Ok(())
}

/// What cannot be one's own with another container's network.
fn joined_network_conflict(config: &ContainerConfig, host: &HostConfig) -> Option<&'static str> {
    fn some<T>(list: Option<&[T]>) -> bool {
        list.is_some_and(|list| !list.is_empty())
    }
    joined::named(host.network_mode.as_deref())?;
    let ports = host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty());
    [
        (config.hostname.as_deref().is_some_and(|name| !name.is_empty()), "hostname and the network mode"),
        (
            some(host.links.as_deref()),
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (some(host.dns.as_deref()), "dns and the network mode"),
        (some(host.extra_hosts.as_deref()), "custom host-to-IP mapping and the network mode"),
        (
            ports || host.publish_all_ports == Some(true),
            "port publishing and the container type network mode",
        ),
        (some(config.exposed_ports.as_deref()), "port exposing and the container type network mode"),
    ]
    .into_iter()
    .find_map(|(wanted, conflict)| wanted.then_some(conflict))
}

fn invalid(message: String) -> EngineError {
    EngineError::Invalid(message)
}

#[cfg(test)]
mod tests {
    use holm_api::models::RestartPolicy;

    use super::*;

    fn refused(change: impl FnOnce(&mut ContainerConfig, &mut HostConfig)) -> String {
        let (mut config, mut host) = (ContainerConfig::default(), HostConfig::default());
        change(&mut config, &mut host);
        check(&config, &host).unwrap_err().to_string()
    }

    #[test]
    fn a_plain_container_is_fine() {
        check(&ContainerConfig::default(), &HostConfig::default()).unwrap();
    }

    #[test]
    fn refusals_have_dockers_words() {
        assert_eq!(
            refused(|config, _| config.working_dir = Some("here".to_owned())),
            "the working directory 'here' is invalid, it needs to be an absolute path"
        );
        assert_eq!(
            refused(|_, host| {
                host.auto_remove = Some(true);
                host.restart_policy = Some(RestartPolicy {
                    name: Some(RestartPolicyNameEnum::ALWAYS),
                    maximum_retry_count: None,
                });
            }),
            "can't create 'AutoRemove' container with restart policy"
        );
        assert_eq!(
            refused(|_, host| {
                host.restart_policy = Some(RestartPolicy {
                    name: Some(RestartPolicyNameEnum::ALWAYS),
                    maximum_retry_count: Some(-1),
                });
            }),
            "invalid restart policy: maximum retry count can only be used with 'on-failure' and cannot be negative"
        );
        assert_eq!(
            refused(|_, host| host.runtime = Some("kata".to_owned())),
            "unknown or invalid runtime name: kata"
        );
        assert_eq!(
            refused(|config, _| config.env = Some(vec!["=x".to_owned()])),
            "invalid environment variable: =x"
        );
    }

    #[test]
    fn another_containers_network_comes_with_its_names_and_ports() {
        let joined = |change: fn(&mut ContainerConfig, &mut HostConfig)| {
            refused(|config, host| {
                host.network_mode = Some("container:db".to_owned());
                change(config, host);
            })
        };
        assert_eq!(
            joined(|config, _| config.hostname = Some("isle".to_owned())),
            "conflicting options: hostname and the network mode"
        );
        assert_eq!(
            joined(|config, _| config.exposed_ports = Some(vec!["80/tcp".to_owned()])),
            "conflicting options: port exposing and the container type network mode"
        );
        assert_eq!(
            refused(|_, host| host.network_mode = Some("container:".to_owned())),
            "invalid network mode: invalid container format container:<name|id>"
        );
    }

    #[test]
    fn an_unknown_network_is_found_out_at_the_start() {
        let host = HostConfig { network_mode: Some("mine".to_owned()), ..HostConfig::default() };
        check(&ContainerConfig::default(), &host).unwrap();
    }
}
