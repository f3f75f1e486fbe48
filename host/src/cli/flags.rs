//! Makes clap read flags as Docker's library does, so that scripts keep working:
//!
//! - `--flag=false` turns a boolean flag off, `-it` still means two of them;
//! - the last of a repeated flag wins;
//! - a flag that wants a value takes the next argument, even if that starts with a hyphen;
//! - help is `--help` alone (`-h` belongs to `run --hostname`).

use clap::{Arg, ArgAction, Command};

/// Applies these rules to a command and to all below it.
pub(crate) fn as_docker_reads_them(command: Command) -> Command {
    command
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .mut_args(adapt)
        .arg(Arg::new("help").long("help").action(ArgAction::Help).hide(true).help("Print usage"))
        .mut_subcommands(as_docker_reads_them)
}

fn adapt(arg: Arg) -> Arg {
    if arg.is_positional() {
        return arg;
    }
    match arg.get_action() {
        ArgAction::SetTrue => as_boolean(arg),
        ArgAction::Set | ArgAction::Append => arg.allow_hyphen_values(true),
        _ => arg,
    }
}

fn as_boolean(arg: Arg) -> Arg {
    let default = match arg.get_default_values().first() {
        Some(value) => value.clone(),
        None => "false".into(),
    };
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value(default)
        .value_parser(boolean)
        .hide_possible_values(true)
}

/// A boolean value as Go reads it.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

/// Whether `as_docker_reads_them` made this flag from a boolean one.
pub(crate) fn is_boolean(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|range| range.min_values() == 0) && arg.is_require_equals_set()
}
