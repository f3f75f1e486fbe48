//! `holm machine …`: looking after the machine by hand, which nobody has to.

use std::fmt::Write;
use std::io::{BufRead, IsTerminal};

use super::environment::{Daemon, MachineOrder, MachineReport};
use super::error::CliError;
use super::output::units;
use super::session;

/// The group's commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Start the machine
    Start,
    /// Stop all containers and power the machine off
    Stop,
    /// Stop the machine and start it again
    Restart,
    /// Show how the machine is
    Status,
    /// Delete the machine's disk with all images, containers and volumes
    Reset(ResetArgs),
}

/// `holm machine reset`
#[derive(Debug, clap::Args)]
pub(crate) struct ResetArgs {
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

/// Gives the order and tells how the machine is then.
pub(crate) fn run(command: Command, daemon: &Daemon) -> Result<(), CliError> {
    let order = match command {
        Command::Start => MachineOrder::Start,
        Command::Stop => MachineOrder::Stop,
        Command::Restart => MachineOrder::Restart,
        Command::Status => MachineOrder::Status,
        Command::Reset(args) => {
            if !args.force {
                confirm_reset()?;
            }
            MachineOrder::Reset
        }
    };
    let report = (daemon.machine)(order).map_err(CliError::Daemon)?;
    session::print(&render(&report))
}

fn confirm_reset() -> Result<(), CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::said(
            "this deletes all images, containers and volumes: nobody can be asked here, so say --force",
        ));
    }
    session::print(
        "WARNING! This will delete all images, containers, networks and volumes.\n\
         Are you sure you want to continue? [y/N] ",
    )?;
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|cause| CliError::Local { what: "cannot read the answer".to_owned(), cause })?;
    if answer.trim().eq_ignore_ascii_case("y") { Ok(()) } else { Err(CliError::said("nothing was deleted")) }
}

fn render(report: &MachineReport) -> String {
    let mut text = format!("State:        {}\n", report.state.word());
    for (label, value) in [
        ("Hypervisor:   ", report.hypervisor.clone()),
        ("Kernel:       ", report.kernel.clone()),
        ("Guest image:  ", report.guest_image.clone()),
        ("CPUs:         ", if report.cpus == 0 { String::new() } else { report.cpus.to_string() }),
        (
            "Memory:       ",
            if report.memory == 0 { String::new() } else { units::binary_size(report.memory) },
        ),
        ("Uptime:       ", report.uptime.map(holm_api::human_duration).unwrap_or_default()),
    ] {
        if !value.is_empty() {
            let _ = writeln!(text, "{label}{value}");
        }
    }
    for note in &report.notes {
        let _ = writeln!(text, "{note}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::environment::MachineState;

    #[test]
    fn the_report_leaves_out_what_is_not_known() {
        let mut report = MachineReport {
            state: MachineState::Running,
            hypervisor: "qemu (TCG)".to_owned(),
            kernel: "6.1.0-holm".to_owned(),
            guest_image: "0.1.0 (0123456789ab)".to_owned(),
            cpus: 2,
            memory: 2 << 30,
            uptime: Some(200),
            notes: vec!["WARNING: No swap limit support".to_owned()],
        };
        assert_eq!(
            render(&report),
            "State:        running\nHypervisor:   qemu (TCG)\nKernel:       6.1.0-holm\n\
             Guest image:  0.1.0 (0123456789ab)\nCPUs:         2\nMemory:       2GiB\n\
             Uptime:       3 minutes\nWARNING: No swap limit support\n"
        );
        report.state = MachineState::Stopped;
        for text in [&mut report.hypervisor, &mut report.kernel, &mut report.guest_image] {
            text.clear();
        }
        (report.cpus, report.memory, report.uptime, report.notes) = (0, 0, None, Vec::new());
        assert_eq!(render(&report), "State:        stopped\n");
    }
}
