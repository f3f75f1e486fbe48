//! `version`: what the client, the engine and the machine are, each in a block of its own.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::cli::arguments::{Caller, OBJECT_FORMAT_HELP};
use crate::cli::client::Call;
use crate::cli::environment::{MachineOrder, MachineReport, MachineState, Program};
use crate::cli::error::CliError;
use crate::cli::output::{table, time};
use crate::cli::session::{self, Session};

/// `holm version`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(short, long, value_name = "string", default_value = "", help = OBJECT_FORMAT_HELP)]
    format: String,
}

/// Labels are at least this wide, values stand one column after them.
const LABEL_WIDTH: usize = 20;

/// Asks engine and machine and prints the blocks. What does not answer is left out and is the error.
pub(crate) fn run(args: &Args, caller: &Caller<'_>) -> Result<(), CliError> {
    let template = super::object_template(&args.format, "template parsing error")?;
    let started = caller.ensure_daemon();
    let (version, server) = match started {
        Ok(()) => caller.with_session(async |session| Ok(ask(session).await))?,
        Err(error) => (None, Err(error)),
    };
    let machine = machine(caller);
    let client = client(version.as_deref(), &caller.context());
    let (server, failure) = match server {
        Ok(server) => (server, None),
        Err(error) => (Value::Null, Some(error)),
    };
    let text = match template {
        Some(template) => {
            let mut all = json!({ "Client": client, "Server": server });
            if let Some(report) = &machine {
                all["Machine"] = machine_value(report);
            }
            format!("{}\n", template.render(&all).map_err(|error| CliError::said(error.to_string()))?)
        }
        None => render(&client, &server, machine.as_ref()),
    };
    session::print(&text)?;
    if let Some(warning) = mismatch(caller.program, &server) {
        session::warn(&warning);
    }
    failure.map_or(Ok(()), Err)
}

async fn ask(session: &Session) -> (Option<String>, Result<Value, CliError>) {
    let version = match session.client.version().await {
        Ok(version) => version.to_owned(),
        Err(error) => return (None, Err(error)),
    };
    let answer = async { session.client.send(Call::get("/version")).await?.json::<Value>().await }.await;
    (Some(version), answer)
}

/// The machine's block is ours alone: Docker has none, and an engine that the user named has another's.
fn machine(caller: &Caller<'_>) -> Option<MachineReport> {
    if caller.program == Program::Docker || caller.names_a_host() {
        return None;
    }
    (caller.environment.daemon.machine)(MachineOrder::Status).ok()
}

fn client(negotiated: Option<&str>, context: &str) -> Value {
    json!({
        "Version": holm_api::VERSION,
        "ApiVersion": negotiated.unwrap_or(holm_api::API_VERSION),
        "DefaultAPIVersion": holm_api::API_VERSION,
        "Os": go_os(),
        "Arch": go_architecture(),
        "Context": context,
    })
}

/// The system's name as Go programs give it.
fn go_os() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}

/// The processor's name as Go programs give it.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn machine_value(report: &MachineReport) -> Value {
    json!({
        "State": report.state.word(),
        "Hypervisor": report.hypervisor,
        "Kernel": report.kernel,
        "GuestImage": report.guest_image,
        "CPUs": report.cpus,
        "Memory": report.memory,
        "Uptime": report.uptime,
    })
}

fn render(client: &Value, server: &Value, machine: Option<&MachineReport>) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut api = text(&client["ApiVersion"]);
    if client["ApiVersion"] != client["DefaultAPIVersion"] {
        let _ = write!(api, " (downgraded from {})", text(&client["DefaultAPIVersion"]));
    }
    let mut blocks = String::from("Client:\n");
    let mut line = |indent: &str, label: &str, value: &str| {
        let _ = writeln!(blocks, "{indent}{label}:\t{value}");
    };
    line(" ", "Version", &text(&client["Version"]));
    line(" ", "API version", &api);
    line(" ", "OS/Arch", &format!("{}/{}", text(&client["Os"]), text(&client["Arch"])));
    line(" ", "Context", &text(&client["Context"]));
    if server.is_object() {
        blocks.push_str(&render_server(server));
    }
    if let Some(report) = machine {
        blocks.push_str(&render_machine(report));
    }
    table::align(&blocks, LABEL_WIDTH, 1)
}

fn render_server(server: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut block = String::from("\nServer:");
    let platform = text(&server["Platform"]["Name"]);
    if !platform.is_empty() {
        let _ = write!(block, " {platform}");
    }
    block.push('\n');
    // An engine from before components is its own only one.
    let own = [json!({ "Name": "Engine", "Version": server["Version"], "Details": server })];
    let components = match server["Components"].as_array() {
        Some(components) if components.iter().any(|component| component["Name"] == "Engine") => components,
        _ => &own[..],
    };
    for component in components {
        let name = text(&component["Name"]);
        let details = &component["Details"];
        let _ = writeln!(block, " {name}:\n  Version:\t{}", text(&component["Version"]));
        if name != "Engine" {
            for (key, value) in crate::cli::template::sorted(details) {
                let _ = writeln!(block, "  {key}:\t{}", text(value));
            }
            continue;
        }
        let api =
            format!("{} (minimum version {})", text(&details["ApiVersion"]), text(&details["MinAPIVersion"]));
        let experimental = match &details["Experimental"] {
            Value::Bool(experimental) => experimental.to_string(),
            other => text(other),
        };
        for (label, value) in [
            ("API version", api),
            ("Go version", text(&details["GoVersion"])),
            ("Git commit", text(&details["GitCommit"])),
            ("Built", time::build_time(&text(&details["BuildTime"]))),
            ("OS/Arch", format!("{}/{}", text(&details["Os"]), text(&details["Arch"]))),
            ("Experimental", experimental),
        ] {
            // Only Docker's own engine is made with Go; ours has nothing to say there.
            if !value.is_empty() {
                let _ = writeln!(block, "  {label}:\t{value}");
            }
        }
    }
    block
}

fn render_machine(report: &MachineReport) -> String {
    let mut block = String::from("\nMachine:\n");
    if report.state != MachineState::Running {
        let _ = writeln!(block, " State:\t{}", report.state.word());
    }
    for (label, value) in [
        ("Hypervisor", report.hypervisor.clone()),
        ("Kernel", report.kernel.clone()),
        ("Guest image", report.guest_image.clone()),
        ("Uptime", report.uptime.map(holm_api::human_duration).unwrap_or_default()),
    ] {
        if !value.is_empty() {
            let _ = writeln!(block, " {label}:\t{value}");
        }
    }
    block
}

/// A sentence where our own engine is of another version than this program: an update took one and not yet
/// the other.
fn mismatch(program: Program, server: &Value) -> Option<String> {
    let ours = server["Platform"]["Name"].as_str()?.starts_with("Holm");
    let version = server["Version"].as_str()?;
    (ours && version != holm_api::VERSION).then(|| {
        format!(
            "WARNING: this {} is version {}, the machine's engine is version {version}: run `holm machine restart`",
            program.command(),
            holm_api::VERSION
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Value {
        json!({
            "Version": "0.1.0", "ApiVersion": "1.41", "DefaultAPIVersion": "1.51", "Os": "darwin",
            "Arch": "arm64", "Context": "default",
        })
    }

    #[test]
    fn an_engine_of_dockers_looks_as_in_dockers_own_client() {
        let server = serde_json::from_str(include_str!("../golden/version-server.json")).unwrap();
        let text = render(&client(), &server, None);
        let recorded = include_str!("../golden/version.txt");
        let block = |text: &str| text[text.find("\nServer:").unwrap()..].to_owned();
        assert_eq!(block(&text), block(recorded));
        assert!(text.starts_with(
            "Client:\n Version:           0.1.0\n API version:       1.41 (downgraded from 1.51)\n \
             OS/Arch:           darwin/arm64\n Context:           default\n\nServer:\n"
        ));
    }

    #[test]
    fn the_machine_has_a_block_of_its_own() {
        let report = MachineReport {
            state: MachineState::Running,
            hypervisor: "qemu (TCG)".to_owned(),
            kernel: "6.1.0-holm".to_owned(),
            guest_image: "0.1.0".to_owned(),
            cpus: 2,
            memory: 1 << 30,
            uptime: Some(65),
            notes: Vec::new(),
        };
        let text = render(&client(), &Value::Null, Some(&report));
        assert!(
            text.ends_with(
                "\nMachine:\n Hypervisor:        qemu (TCG)\n Kernel:            6.1.0-holm\n \
                 Guest image:       0.1.0\n Uptime:            About a minute\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn an_engine_of_another_version_is_told() {
        let server = |name: &str, version: &str| json!({"Platform": {"Name": name}, "Version": version});
        assert!(mismatch(Program::Holm, &server("Holm", "0.0.1")).unwrap().contains("holm machine restart"));
        assert_eq!(mismatch(Program::Holm, &server("Holm", holm_api::VERSION)), None);
        assert_eq!(mismatch(Program::Holm, &server("Docker Engine - Community", "28.5.2")), None);
    }
}
