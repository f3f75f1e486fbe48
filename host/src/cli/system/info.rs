//! `info`: the client, and the engine with what it runs on.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::cli::arguments::{Caller, OBJECT_FORMAT_HELP};
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::output::units;
use crate::cli::session::{self, Session};

/// `holm info`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(short, long, value_name = "string", default_value = "", help = OBJECT_FORMAT_HELP)]
    format: String,
}

/// Asks the engine and prints what it says. Where it does not answer, the client's part is printed all the
/// same.
pub(crate) fn run(args: &Args, caller: &Caller<'_>) -> Result<(), CliError> {
    let template = super::object_template(&args.format, "template parsing error")?;
    let answer = match caller.ensure_daemon() {
        Ok(()) => caller.with_session(ask),
        Err(error) => Err(error),
    };
    let client = json!({ "Debug": caller.flags.debugs(), "Version": holm_api::VERSION, "Context": caller.context(), "Plugins": [], "Warnings": null });
    match (template, answer) {
        (Some(template), Ok(mut info)) => {
            info["ClientInfo"] = client;
            let text = template.render(&info).map_err(|error| CliError::said(error.to_string()))?;
            session::print_line(&text)
        }
        (Some(_), Err(error)) => Err(error),
        (None, answer) => {
            session::print(&format!(
                "Client:\n Version:    {}\n Context:    {}\n Debug Mode: {}\n\nServer:\n",
                holm_api::VERSION,
                caller.context(),
                caller.flags.debugs()
            ))?;
            let info = answer?;
            session::print(&render(&info))?;
            for warning in strings(&info["Warnings"]) {
                session::warn(warning);
            }
            Ok(())
        }
    }
}

async fn ask(session: &Session) -> Result<Value, CliError> {
    session.client.send(Call::get("/info")).await?.json().await
}

/// The texts in a list; nothing of what is no text or no list.
fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn joined(value: &Value) -> String {
    strings(value).collect::<Vec<_>>().join(" ")
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The server's part, line by line as Docker has it.
fn render(info: &Value) -> String {
    let mut page = Page(String::new());
    page.line(" Containers", &show(&info["Containers"]));
    page.line("  Running", &show(&info["ContainersRunning"]));
    page.line("  Paused", &show(&info["ContainersPaused"]));
    page.line("  Stopped", &show(&info["ContainersStopped"]));
    page.line(" Images", &show(&info["Images"]));
    page.known(" Server Version", &info["ServerVersion"]);
    page.known(" Storage Driver", &info["Driver"]);
    for pair in info["DriverStatus"].as_array().into_iter().flatten() {
        page.line(&format!("  {}", show(&pair[0])), &show(&pair[1]));
    }
    page.known(" Logging Driver", &info["LoggingDriver"]);
    page.known(" Cgroup Driver", &info["CgroupDriver"]);
    page.known(" Cgroup Version", &info["CgroupVersion"]);
    page.title(" Plugins");
    page.line("  Volume", &joined(&info["Plugins"]["Volume"]));
    page.line("  Network", &joined(&info["Plugins"]["Network"]));
    if strings(&info["Plugins"]["Authorization"]).next().is_some() {
        page.line("  Authorization", &joined(&info["Plugins"]["Authorization"]));
    }
    page.line("  Log", &joined(&info["Plugins"]["Log"]));
    page.list(" CDI spec directories", strings(&info["CDISpecDirs"]).map(str::to_owned));
    page.line(" Swarm", &show(&info["Swarm"]["LocalNodeState"]));
    if let Some(runtimes) = info["Runtimes"].as_object().filter(|runtimes| !runtimes.is_empty()) {
        page.line(" Runtimes", &runtimes.keys().map(String::as_str).collect::<Vec<_>>().join(" "));
        page.line(" Default Runtime", &show(&info["DefaultRuntime"]));
    }
    if info["OSType"] == "linux" {
        page.line(" Init Binary", &show(&info["InitBinary"]));
        page.line(" containerd version", &show(&info["ContainerdCommit"]["ID"]));
        page.line(" runc version", &show(&info["RuncCommit"]["ID"]));
        page.line(" init version", &show(&info["InitCommit"]["ID"]));
        page.security_options(&info["SecurityOptions"]);
    }
    page.known(" Kernel Version", &info["KernelVersion"]);
    page.known(" Operating System", &info["OperatingSystem"]);
    page.known(" OSType", &info["OSType"]);
    page.known(" Architecture", &info["Architecture"]);
    page.line(" CPUs", &show(&info["NCPU"]));
    page.line(" Total Memory", &units::binary_size(info["MemTotal"].as_u64().unwrap_or(0)));
    page.known(" Name", &info["Name"]);
    page.known(" ID", &info["ID"]);
    page.line(" Docker Root Dir", &show(&info["DockerRootDir"]));
    page.line(" Debug Mode", &show(&info["Debug"]));
    page.known(" HTTP Proxy", &info["HttpProxy"]);
    page.known(" HTTPS Proxy", &info["HttpsProxy"]);
    page.known(" No Proxy", &info["NoProxy"]);
    page.list(" Labels", strings(&info["Labels"]).map(str::to_owned));
    page.line(" Experimental", &show(&info["ExperimentalBuild"]));
    page.registries(&info["RegistryConfig"]);
    page.line(" Live Restore Enabled", &show(&info["LiveRestoreEnabled"]));
    page.known(" Product License", &info["ProductLicense"]);
    let pools = info["DefaultAddressPools"].as_array().into_iter().flatten();
    page.list(
        " Default Address Pools",
        pools.map(|pool| format!(" Base: {}, Size: {}", show(&pool["Base"]), show(&pool["Size"]))),
    );
    page.0.push('\n');
    page.0
}

/// The text as far as it is written.
struct Page(String);

impl Page {
    fn title(&mut self, label: &str) {
        let _ = writeln!(self.0, "{label}:");
    }

    fn line(&mut self, label: &str, value: &str) {
        let _ = writeln!(self.0, "{label}: {value}");
    }

    /// A line that is left out where there is nothing to say.
    fn known(&mut self, label: &str, value: &Value) {
        let value = show(value);
        if !value.is_empty() {
            self.line(label, &value);
        }
    }

    /// A title and a line for each, where there are any.
    fn list(&mut self, label: &str, items: impl Iterator<Item = String>) {
        let mut items = items.peekable();
        if items.peek().is_some() {
            self.title(label);
        }
        for item in items {
            let _ = writeln!(self.0, "  {item}");
        }
    }

    /// `name=seccomp,profile=builtin`
    fn security_options(&mut self, options: &Value) {
        let mut options = strings(options).peekable();
        if options.peek().is_some() {
            self.title(" Security Options");
        }
        for option in options {
            let pairs = || option.split(',').filter_map(|pair| pair.split_once('='));
            // The oldest engines give a name alone.
            let name = pairs().find(|(key, _)| *key == "name").map_or(option, |(_, name)| name);
            let _ = writeln!(self.0, "  {name}");
            for (_, profile) in pairs().filter(|(key, _)| *key == "profile") {
                let _ = writeln!(self.0, "   Profile: {profile}");
            }
        }
    }

    fn registries(&mut self, config: &Value) {
        let indexes = config["IndexConfigs"].as_object();
        let names = indexes.into_iter().flatten().filter(|(_, index)| index["Secure"] == false);
        let insecure = names.map(|(name, _)| name.clone());
        let networks = strings(&config["InsecureRegistryCIDRs"]).map(str::to_owned);
        let any = indexes.is_some_and(|indexes| !indexes.is_empty())
            || strings(&config["InsecureRegistryCIDRs"]).next().is_some();
        if any {
            self.title(" Insecure Registries");
        }
        for registry in insecure.chain(networks) {
            let _ = writeln!(self.0, "  {registry}");
        }
        self.list(" Registry Mirrors", strings(&config["Mirrors"]).map(str::to_owned));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from Docker's command line, version 28.2, and an engine 20.10.
    #[test]
    fn the_servers_part_is_dockers_to_the_letter() {
        let info = serde_json::from_str(include_str!("../golden/info-server.json")).unwrap();
        let recorded = include_str!("../golden/info.txt");
        let (_, server) = recorded.split_once("\nServer:\n").unwrap();
        assert_eq!(render(&info), server);
    }
}
