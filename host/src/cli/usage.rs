//! From arguments to a parsed command, or to help and complaints in the form that Docker's have.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use super::arguments::Arguments;
use super::environment::Program;
use super::error::{CliError, DAEMON_FAILED};
use super::flags;
use super::output::help;

/// Docker's commands that are still missing here: who types one has made no mistake.
const NOT_YET: [&str; 14] = [
    "build",
    "builder",
    "buildx",
    "checkpoint",
    "compose",
    "config",
    "manifest",
    "node",
    "plugin",
    "secret",
    "service",
    "stack",
    "swarm",
    "trust",
];

/// The commands as they are under this name: `docker` has no machine and no daemon of its own.
pub(crate) fn commands(program: Program) -> Command {
    let mut command = Arguments::command().name(program.command());
    if program == Program::Docker {
        command = command.about("A self-sufficient runtime for containers");
        for ours in ["machine", "daemon", "doctor", "completion"] {
            command = command.mut_subcommand(ours, |command| command.hide(true));
        }
        command = command
            .mut_subcommand("system", |group| group.mut_subcommand("check", |command| command.hide(true)));
    }
    flags::as_docker_reads_them(command)
}

/// What the arguments ask for. Help that was asked for is an `Exit(0)`, already printed.
pub(crate) fn parse(program: Program, arguments: &[OsString]) -> Result<Arguments, CliError> {
    let mut root = commands(program);
    let parsed = root
        .try_get_matches_from_mut(arguments)
        .and_then(|matches: ArgMatches| Arguments::from_arg_matches(&matches));
    parsed.map_err(|error| explain(&root, arguments, &error))
}

fn explain(root: &Command, arguments: &[OsString], error: &clap::Error) -> CliError {
    let (command, path) = addressed(root, arguments);
    let usage = help::usage(command, &path);
    let flag_error = |what: String| CliError::Said {
        text: format!("{what}\n\n{usage}\n\nRun '{path} --help' for more information"),
        code: DAEMON_FAILED,
    };
    let name = root.get_name();
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.first().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    let invalid = context(ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Asked nothing, Docker says what could be asked, and is content.
            super::session::warn(help::render(command, &path, help::columns()).trim_end());
            CliError::Exit(0)
        }
        ErrorKind::DisplayHelp => shown(help::render(command, &path, help::columns())),
        ErrorKind::InvalidSubcommand if path == name => {
            let given = context(ContextKind::InvalidSubcommand);
            let what = if NOT_YET.contains(&given.as_str()) {
                format!(
                    "{name}: '{given}' is not there yet: this version of Holm has only the commands that its help lists"
                )
            } else {
                format!("{name}: unknown command: {name} {given}")
            };
            CliError::said(format!("{what}\n\nRun '{name} --help' for more information"))
        }
        ErrorKind::UnknownArgument if command.has_subcommands() && !invalid.starts_with('-') => {
            CliError::said(unknown_command(name, &path, &invalid))
        }
        ErrorKind::InvalidSubcommand => {
            CliError::said(unknown_command(name, &path, &context(ContextKind::InvalidSubcommand)))
        }
        ErrorKind::UnknownArgument if invalid.starts_with("--") => {
            flag_error(format!("unknown flag: {}", invalid.split('=').next().unwrap_or_default()))
        }
        ErrorKind::UnknownArgument if invalid.starts_with('-') => {
            flag_error(unknown_short(&invalid, arguments))
        }
        ErrorKind::UnknownArgument
        | ErrorKind::MissingRequiredArgument
        | ErrorKind::TooFewValues
        | ErrorKind::TooManyValues
        | ErrorKind::WrongNumberOfValues => CliError::said(wrong_count(name, command, &path, &usage)),
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_empty() => {
            flag_error(format!("flag needs an argument: {}", flag_name(&invalid, arguments)))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = context(ContextKind::InvalidValue);
            let why = std::error::Error::source(error)
                .map_or_else(|| "not one of the values that it can have".to_owned(), ToString::to_string);
            let flag = spelled(command, &invalid);
            flag_error(format!("invalid argument {value:?} for {flag:?} flag: {why}"))
        }
        _ => flag_error(error.render().to_string().trim_end().trim_start_matches("error: ").to_owned()),
    }
}

/// The help of the program itself.
pub(crate) fn top_help(program: Program) -> String {
    help::render(&commands(program), program.command(), help::columns())
}

/// Prints help that was asked for.
fn shown(text: String) -> CliError {
    match super::session::print(&text) {
        Ok(()) => CliError::Exit(0),
        Err(error) => error,
    }
}

fn unknown_command(name: &str, path: &str, given: &str) -> String {
    format!(
        "{name}: unknown command: {path} {given}\n\nUsage:  {path}\n\nRun '{path} --help' for more information"
    )
}

/// `-x` in `-ix`: Docker shows the letter and where it stands.
fn unknown_short(invalid: &str, arguments: &[OsString]) -> String {
    let letter = invalid.chars().nth(1).unwrap_or('-');
    let group = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .find(|text| text.starts_with('-') && !text.starts_with("--") && text.contains(letter));
    // What stands before the letter in its group has been read; Docker shows what remains.
    let rest = group.and_then(|text| text.find(letter).map(|at| &text[at..])).unwrap_or(&invalid[1..]);
    format!("unknown shorthand flag: '{letter}' in -{rest}")
}

/// Clap names the flag as its help does, `--name <string>`; Docker by what was typed.
fn flag_name(invalid: &str, arguments: &[OsString]) -> String {
    let long = invalid.split([' ', '=', '[']).find(|word| word.starts_with("--"));
    let typed = arguments.last().and_then(|argument| argument.to_str()).unwrap_or_default();
    match long {
        Some(long) if typed != long && typed.starts_with('-') && !typed.starts_with("--") => {
            let letter = typed.chars().last().unwrap_or_default();
            format!("'{letter}' in -{letter}")
        }
        Some(long) => long.to_owned(),
        None => invalid.to_owned(),
    }
}

/// Clap names the flag as `--timeout <int>`; Docker as `-t, --timeout`.
fn spelled(command: &Command, invalid: &str) -> String {
    let flag = invalid.split([' ', '[', '=']).find_map(|word| word.strip_prefix("--")).unwrap_or(invalid);
    let arg = command.get_arguments().find(|arg| arg.get_long() == Some(flag));
    match arg.and_then(clap::Arg::get_short) {
        Some(short) => format!("-{short}, --{flag}"),
        None => format!("--{flag}"),
    }
}

fn wrong_count(name: &str, command: &Command, path: &str, usage: &str) -> String {
    let (least, most) = help::positional_count(command);
    let arguments = |count: usize| if count == 1 { "argument" } else { "arguments" };
    let (rule, see) = match (least, most) {
        (0, Some(0)) => ("accepts no arguments".to_owned(), "Run"),
        (least, None) => (format!("requires at least {least} {}", arguments(least)), "See"),
        (least, Some(most)) if least == most => (format!("requires {most} {}", arguments(most)), "Run"),
        (_, Some(most)) => (format!("requires at most {most} {}", arguments(most)), "Run"),
    };
    format!("{name}: '{path}' {rule}\n\n{usage}\n\n{see} '{path} --help' for more information")
}

/// The command that the arguments lead to, and how it is typed. A flag's value is never taken for a command.
fn addressed<'a>(root: &'a Command, arguments: &[OsString]) -> (&'a Command, String) {
    let mut command = root;
    let mut path = root.get_name().to_owned();
    let mut words = arguments.iter().skip(1).filter_map(|argument| argument.to_str());
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            if takes_next(command, word) {
                words.next();
            }
            continue;
        }
        let Some(next) = command.find_subcommand(word) else { break };
        command = next;
        path.push(' ');
        path.push_str(next.get_name());
    }
    (command, path)
}

/// Whether this flag's value is the next argument.
fn takes_next(command: &Command, word: &str) -> bool {
    let found = match word.strip_prefix("--") {
        Some(long) => command.get_arguments().find(|arg| arg.get_long() == Some(long)),
        None => {
            let last = word.chars().last();
            command.get_arguments().find(|arg| arg.get_short() == last && word.len() == 2)
        }
    };
    found.is_some_and(|arg| arg.get_action().takes_values() && !flags::is_boolean(arg))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(words: &[&str]) -> (String, u8) {
        let arguments: Vec<OsString> = words.iter().map(Into::into).collect();
        match parse(Program::Docker, &arguments) {
            Ok(_) => panic!("{words:?} parses"),
            Err(error) => (error.to_string(), error.exit_code()),
        }
    }

    #[test]
    fn complaints_about_flags_are_dockers() {
        let (text, code) = complaint(&["docker", "rm", "--nope", "x"]);
        assert_eq!(
            text,
            "unknown flag: --nope\n\nUsage:  docker rm [OPTIONS] CONTAINER [CONTAINER...]\n\n\
             Run 'docker rm --help' for more information"
        );
        assert_eq!(code, 125);
        let (text, _) = complaint(&["docker", "rm", "-fx", "y"]);
        assert!(text.starts_with("unknown shorthand flag: 'x' in -x\n"), "{text}");
        let (text, _) = complaint(&["docker", "run", "--name"]);
        assert!(text.starts_with("flag needs an argument: --name\n"), "{text}");
        let (text, code) = complaint(&["docker", "stop", "--timeout", "x", "y"]);
        assert!(
            text.starts_with(
                "invalid argument \"x\" for \"-t, --timeout\" flag: strconv.ParseInt: parsing \"x\": invalid syntax\n"
            ),
            "{text}"
        );
        assert_eq!(code, 125);
        let (text, _) = complaint(&["docker", "ps", "--all=x"]);
        assert!(
            text.starts_with(
                "invalid argument \"x\" for \"-a, --all\" flag: strconv.ParseBool: parsing \"x\": invalid syntax\n"
            ),
            "{text}"
        );
        let (text, _) = complaint(&["docker", "run", "-e"]);
        assert!(text.starts_with("flag needs an argument: 'e' in -e\n"), "{text}");
    }

    #[test]
    fn complaints_about_the_number_of_arguments_are_dockers() {
        let (text, code) = complaint(&["docker", "rm"]);
        assert_eq!(
            text,
            "docker: 'docker rm' requires at least 1 argument\n\n\
             Usage:  docker rm [OPTIONS] CONTAINER [CONTAINER...]\n\nSee 'docker rm --help' for more information"
        );
        assert_eq!(code, 1);
        let (text, _) = complaint(&["docker", "ps", "x"]);
        assert!(text.starts_with("docker: 'docker ps' accepts no arguments\n"), "{text}");
        let (text, _) = complaint(&["docker", "tag", "x"]);
        assert!(text.starts_with("docker: 'docker tag' requires 2 arguments\n"), "{text}");
        let (text, _) = complaint(&["docker", "images", "x", "y"]);
        assert!(text.starts_with("docker: 'docker images' requires at most 1 argument\n"), "{text}");
    }

    #[test]
    fn an_unknown_command_is_named() {
        let (text, code) = complaint(&["docker", "-H", "ps", "frobnicate"]);
        assert_eq!(
            text,
            "docker: unknown command: docker frobnicate\n\nRun 'docker --help' for more information"
        );
        assert_eq!(code, 1);
        let (text, _) = complaint(&["docker", "build", "."]);
        assert!(text.starts_with("docker: 'build' is not there yet: "), "{text}");
        let (text, _) = complaint(&["docker", "container", "frobnicate"]);
        assert!(text.starts_with("docker: unknown command: docker container frobnicate\n"), "{text}");
    }

    #[test]
    fn no_command_that_is_there_is_called_missing() {
        let root = commands(Program::Docker);
        for name in NOT_YET {
            assert!(root.find_subcommand(name).is_none(), "{name}");
        }
    }

    #[test]
    fn the_definitions_are_sound() {
        commands(Program::Holm).debug_assert();
        commands(Program::Docker).debug_assert();
    }
}
