//! What the container may do and see of the machine: capabilities, devices, namespaces, kernel settings.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Part, extend, list};
use crate::cli::error::{CliError, system_words};
use crate::cli::options::{cgroup_rule, gpu_request, is_cdi_name, mapping, sysctl};
use crate::cli::output::json::compact;

#[derive(Debug, clap::Args)]
pub(super) struct SecurityFlags {
    /// Add Linux capabilities
    #[arg(long, value_name = "list")]
    cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "list")]
    cap_drop: Vec<String>,
    #[arg(long, value_name = "string", default_value = "", help = CGROUPNS_HELP)]
    cgroupns: String,
    /// Add a host device to the container
    #[arg(long, value_name = "list")]
    device: Vec<String>,
    /// Add a rule to the cgroup allowed devices list
    #[arg(long, value_name = "list", value_parser = cgroup_rule)]
    device_cgroup_rule: Vec<String>,
    /// GPU devices to add to the container ('all' to pass all GPUs)
    #[arg(long, value_name = "gpu-request", value_parser = gpu_request)]
    gpus: Vec<Value>,
    /// Add additional groups to join
    #[arg(long, value_name = "list")]
    group_add: Vec<String>,
    /// IPC mode to use
    #[arg(long, value_name = "string", default_value = "")]
    ipc: String,
    /// PID namespace to use
    #[arg(long, value_name = "string", default_value = "")]
    pid: String,
    /// Give extended privileges to this container
    #[arg(long)]
    privileged: bool,
    /// Security Options
    #[arg(long, value_name = "list")]
    security_opt: Vec<String>,
    /// Sysctl options (default map[])
    #[arg(long, value_name = "map", value_parser = sysctl)]
    sysctl: Vec<(String, String)>,
    /// User namespace to use
    #[arg(long, value_name = "string", default_value = "")]
    userns: String,
    /// UTS namespace to use
    #[arg(long, value_name = "string", default_value = "")]
    uts: String,
}

const CGROUPNS_HELP: &str = "Cgroup namespace to use (host|private)
'host':    Run the container in the Docker host's cgroup namespace
'private': Run the container in its own private cgroup namespace
'':        Use the cgroup namespace as configured by the
           default-cgroupns-mode option on the daemon (default)";

impl SecurityFlags {
    pub(super) fn write(&self, host: &mut Part) -> Result<(), CliError> {
        self.check_modes()?;
        let (add, drop) = capabilities(&self.cap_add, &self.cap_drop);
        let mut devices = Vec::new();
        let mut requests = self.gpus.clone();
        let named: Vec<&String> = self.device.iter().filter(|device| is_cdi_name(device)).collect();
        for device in self.device.iter().filter(|device| !is_cdi_name(device)) {
            devices.push(mapping(device).map_err(CliError::said)?);
        }
        if !named.is_empty() {
            requests.push(json!({
                "Driver": "cdi", "Count": 0, "DeviceIDs": named, "Capabilities": null, "Options": null,
            }));
        }
        let options = security_options(&self.security_opt)?;
        // Said to us, not to the engine: what is hidden from containers is a list that we send.
        let (open, sent): (Vec<_>, Vec<_>) =
            options.into_iter().partition(|option| option == "systempaths=unconfined");
        let hidden = if open.is_empty() { Value::Null } else { json!([]) };
        extend(
            host,
            json!({
                "CapAdd": list(&add),
                "CapDrop": list(&drop),
                "CgroupnsMode": self.cgroupns,
                "Devices": devices,
                "DeviceCgroupRules": list(&self.device_cgroup_rule),
                "DeviceRequests": list(&requests),
                "GroupAdd": list(&self.group_add),
                "IpcMode": self.ipc,
                "PidMode": self.pid,
                "Privileged": self.privileged,
                "SecurityOpt": list(&sent),
                "UsernsMode": self.userns,
                "UTSMode": self.uts,
                "MaskedPaths": hidden,
                "ReadonlyPaths": hidden,
            }),
        );
        if !self.sysctl.is_empty() {
            let settings = self.sysctl.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
            host.insert("Sysctls".to_owned(), Value::Object(settings.collect()));
        }
        Ok(())
    }

    fn check_modes(&self) -> Result<(), CliError> {
        let joined = self.pid.strip_prefix("container:").is_some_and(|name| !name.is_empty());
        for (valid, complaint) in [
            (joined || matches!(self.pid.as_str(), "" | "host"), "--pid: invalid PID mode"),
            (matches!(self.uts.as_str(), "" | "host"), "--uts: invalid UTS mode"),
            (matches!(self.userns.as_str(), "" | "host"), "--userns: invalid USER mode"),
            (matches!(self.cgroupns.as_str(), "" | "host" | "private"), "--cgroupns: invalid CGROUP mode"),
        ] {
            if !valid {
                return Err(CliError::said(complaint));
            }
        }
        Ok(())
    }
}

/// Both lists in order, with their full names. What is added is not dropped, and `ALL` is more than any other.
fn capabilities(add: &[String], drop: &[String]) -> (Vec<String>, Vec<String>) {
    let full = |names: &[String]| -> BTreeSet<String> {
        let names: BTreeSet<String> = names
            .iter()
            .map(|name| match name.trim().to_uppercase() {
                all if all == "ALL" || all.starts_with("CAP_") => all,
                short => format!("CAP_{short}"),
            })
            .collect();
        if names.contains("ALL") { BTreeSet::from(["ALL".to_owned()]) } else { names }
    };
    let (add, drop) = (full(add), full(drop));
    let drop = drop.difference(&add).cloned().collect();
    (add.into_iter().collect(), drop)
}

/// The options as the engine takes them: a seccomp profile is sent, not its file's name.
fn security_options(options: &[String]) -> Result<Vec<String>, CliError> {
    options.iter().map(|option| security_option(option)).collect()
}

fn security_option(option: &str) -> Result<String, CliError> {
    let (key, value) = option.split_once('=').unwrap_or((option, ""));
    if key == "no-new-privileges" {
        return Ok(option.to_owned());
    }
    let (key, value) = match value {
        "" => option.split_once(':').unwrap_or((key, "")),
        value => (key, value),
    };
    if value.is_empty() {
        return Err(CliError::said(format!("Invalid --security-opt: {option:?}")));
    }
    if key != "seccomp" || matches!(value, "builtin" | "unconfined") {
        return Ok(option.to_owned());
    }
    let profile = std::fs::read_to_string(value).map_err(|error| {
        let why = system_words(&error);
        CliError::said(format!("opening seccomp profile ({value}) failed: open {value}: {why}"))
    })?;
    match serde_json::from_str::<serde::de::IgnoredAny>(&profile) {
        Ok(_) => Ok(format!("seccomp={}", compact(&profile))),
        Err(error) => {
            Err(CliError::said(format!("compacting json for seccomp profile ({value}) failed: {error}")))
        }
    }
}
