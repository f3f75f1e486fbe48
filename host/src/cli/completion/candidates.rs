//! What may stand where the user is typing. Knows the commands and their flags, and asks nobody.

use clap::{Arg, Command};

use crate::cli::flags::is_boolean;

/// The shell is not to offer files (a directive of Docker's completion).
pub(super) const NO_FILES: u8 = 4;
/// The shell is not to put a space after it.
const NO_SPACE: u8 = 2;

/// What the last word may become.
#[derive(Debug, PartialEq)]
pub(super) struct Candidates<'a> {
    /// What is there of it.
    pub(super) typed: &'a str,
    /// Arguments that are there already, and need not be offered again.
    pub(super) before: Vec<&'a str>,
    pub(super) wanted: Wanted,
}

/// Where candidates come from.
#[derive(Debug, PartialEq)]
pub(super) enum Wanted {
    /// These, with a description after a tabulator where they have one.
    Lines(Vec<String>),
    /// The shell's own completion.
    Files,
    /// Names of things, and the directive that goes with them.
    Names(Names, u8),
}

/// Things that have names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    Containers(State),
    Images,
    Networks,
    Volumes,
    Contexts,
    /// Of environment variables.
    Variables,
}

/// Which containers a command can do something with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Any,
    /// Paused ones, too.
    Running,
    NotRunning,
    Paused,
    NotPaused,
}

/// Looks at all words after the program's name, of which the last is being typed.
pub(super) fn candidates<'a>(root: &Command, words: &'a [String]) -> Candidates<'a> {
    let (typed, words) = words.split_last().map_or(("", words), |(last, rest)| (last.as_str(), rest));
    let mut command = root;
    let mut before: Vec<&str> = Vec::new();
    let mut flags_end = false;
    let mut open_flag = None;
    for word in words {
        if open_flag.take().is_some() {
            continue;
        }
        if flags_end || !word.starts_with('-') || word == "-" {
            match command.find_subcommand(word).filter(|_| before.is_empty()) {
                Some(next) => command = next,
                None => before.push(word),
            }
            // What follows the first argument of `run` is not ours.
            flags_end |= takes_the_rest(command) && !before.is_empty();
        } else if word == "--" {
            flags_end = true;
        } else {
            open_flag = flag(command, word).filter(|arg| takes_next(arg, word));
        }
    }
    let (typed, wanted) = if let Some(arg) = open_flag {
        (typed, value(arg))
    } else if flags_end || !typed.starts_with('-') {
        (typed, argument(command, &before, words))
    } else if let Some((name, value_typed)) = typed.split_once('=') {
        match flag(command, name) {
            Some(arg) => (value_typed, value(arg)),
            None => (typed, Wanted::Lines(Vec::new())),
        }
    } else {
        (typed, Wanted::Lines(flags(command)))
    };
    Candidates { typed, before, wanted }
}

fn takes_the_rest(command: &Command) -> bool {
    command.get_positionals().any(Arg::is_trailing_var_arg_set)
}

fn flag<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let name = word.split('=').next().unwrap_or_default();
    match name.strip_prefix("--") {
        Some(long) => command.get_arguments().find(|arg| {
            arg.get_long() == Some(long) || arg.get_all_aliases().is_some_and(|all| all.contains(&long))
        }),
        // Of `-it`, the last letter may want a value.
        None => command
            .get_arguments()
            .find(|arg| arg.get_short().is_some() && arg.get_short() == name.chars().last()),
    }
}

fn takes_next(arg: &Arg, word: &str) -> bool {
    arg.get_action().takes_values() && !is_boolean(arg) && !word.contains('=')
}

fn flags(command: &Command) -> Vec<String> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_long().is_some());
    let mut flags: Vec<&Arg> = shown.collect();
    flags.sort_by_key(|arg| arg.get_long());
    let lines = flags.into_iter().flat_map(|arg| {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.lines().next().unwrap_or_default().to_owned();
        let long = arg.get_long().map(|long| format!("--{long}\t{help}"));
        let short = arg.get_short().map(|short| format!("-{short}\t{help}"));
        long.into_iter().chain(short)
    });
    lines.collect()
}

/// What a flag's value may be.
fn value(arg: &Arg) -> Wanted {
    let fixed = |words: &[&str]| Wanted::Lines(words.iter().map(|word| (*word).to_owned()).collect());
    let names = |names| Wanted::Names(names, NO_FILES);
    match arg.get_long().unwrap_or_default() {
        "network" => names(Names::Networks),
        "volumes-from" => names(Names::Containers(State::Any)),
        "link" => Wanted::Names(Names::Containers(State::Running), NO_FILES | NO_SPACE),
        "context" => names(Names::Contexts),
        "env" => names(Names::Variables),
        "restart" => fixed(&["no", "always", "on-failure", "unless-stopped"]),
        "pull" => fixed(&["always", "missing", "never"]),
        "attach" => fixed(&["stderr", "stdin", "stdout"]),
        "cgroupns" => fixed(&["host", "private"]),
        "userns" | "uts" | "pid" => fixed(&["host"]),
        "ipc" => fixed(&["host", "none", "private", "shareable"]),
        "log-driver" => fixed(&["json-file", "local", "none"]),
        "log-level" => fixed(&["debug", "info", "warn", "error", "fatal"]),
        "signal" | "stop-signal" => fixed(&["HUP", "INT", "KILL", "QUIT", "TERM", "USR1", "USR2", "WINCH"]),
        "security-opt" => {
            fixed(&["apparmor=", "label=", "no-new-privileges", "seccomp=", "systempaths=unconfined"])
        }
        "platform" => fixed(&["linux/amd64", "linux/arm64", "linux/386", "linux/arm/v7"]),
        "type" => fixed(&["container", "image", "network", "volume"]),
        "env-file" | "label-file" | "cidfile" | "config" | "tlscacert" | "tlscert" | "tlskey" | "output"
        | "volume" => Wanted::Files,
        _ => fixed(&[]),
    }
}

/// What an argument may be: a command of the group, or what the command's help calls it.
fn argument(command: &Command, before: &[&str], words: &[String]) -> Wanted {
    if command.has_subcommands() {
        let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
        let mut lines: Vec<String> = shown
            .map(|command| {
                let about = command.get_about().map(ToString::to_string).unwrap_or_default();
                format!("{}\t{}", command.get_name(), about.lines().next().unwrap_or_default())
            })
            .collect();
        lines.sort();
        return Wanted::Lines(lines);
    }
    let named = |arg: &Arg| arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let positionals: Vec<&Arg> = command.get_positionals().collect();
    let many =
        positionals.last().is_some_and(|arg| arg.get_num_args().is_some_and(|range| range.max_values() > 1));
    let first_alone = takes_the_rest(command);
    let place = match positionals.get(before.len()) {
        Some(arg) => named(arg),
        None if many && !first_alone => positionals.last().and_then(|arg| named(arg)),
        None => None,
    };
    let Some(place) = place.filter(|_| !first_alone || before.is_empty()) else {
        return if first_alone { Wanted::Files } else { Wanted::Lines(Vec::new()) };
    };
    let forced = words.iter().any(|word| word == "-f" || word == "--force");
    let first = place.split(' ').next().unwrap_or_default();
    match first {
        // `cp` takes files of both sides.
        _ if first.contains("PATH") || first.contains("FILE") || first == "DIR" => Wanted::Files,
        _ if first.contains("CONTAINER") => {
            Wanted::Names(Names::Containers(state(command.get_name(), forced)), NO_FILES)
        }
        _ if first.contains("IMAGE") || first.contains("REPOSITORY") || first.starts_with("NAME[") => {
            Wanted::Names(Names::Images, NO_FILES)
        }
        "NETWORK" if command.get_name() != "create" => Wanted::Names(Names::Networks, NO_FILES),
        "VOLUME" if command.get_name() != "create" => Wanted::Names(Names::Volumes, NO_FILES),
        "CONTEXT" if !matches!(command.get_name(), "create" | "import") => {
            Wanted::Names(Names::Contexts, NO_FILES)
        }
        "NAME|ID" => Wanted::Names(Names::Containers(State::Any), NO_FILES),
        _ => Wanted::Lines(Vec::new()),
    }
}

fn state(command: &str, forced: bool) -> State {
    match command {
        "rm" if !forced => State::NotRunning,
        "start" => State::NotRunning,
        "unpause" => State::Paused,
        "attach" | "exec" | "pause" => State::NotPaused,
        "stop" | "kill" | "top" | "port" | "stats" | "wait" | "commit" | "diff" => State::Running,
        _ => State::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::environment::Program;
    use crate::cli::usage::commands;

    fn wanted(line: &str) -> Wanted {
        let mut root = commands(Program::Docker);
        root.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        candidates(&root, &words).wanted
    }

    fn containers(state: State) -> Wanted {
        Wanted::Names(Names::Containers(state), NO_FILES)
    }

    #[test]
    fn names_are_offered_where_the_command_takes_them() {
        assert_eq!(wanted("stop "), containers(State::Running));
        assert_eq!(wanted("container rm -f x "), containers(State::Any));
        assert_eq!(wanted("rm "), containers(State::NotRunning));
        assert_eq!(wanted("start -ai "), containers(State::NotRunning));
        assert_eq!(wanted("rmi a "), Wanted::Names(Names::Images, NO_FILES));
        assert_eq!(wanted("run --name x "), Wanted::Names(Names::Images, NO_FILES));
        assert_eq!(wanted("run --network "), Wanted::Names(Names::Networks, NO_FILES));
        assert_eq!(wanted("run --network=b"), Wanted::Names(Names::Networks, NO_FILES));
        assert_eq!(wanted("network connect "), Wanted::Names(Names::Networks, NO_FILES));
        assert_eq!(wanted("network connect n "), containers(State::Any));
        assert_eq!(wanted("volume inspect "), Wanted::Names(Names::Volumes, NO_FILES));
        assert_eq!(wanted("-c "), Wanted::Names(Names::Contexts, NO_FILES));
        assert_eq!(wanted("context use "), Wanted::Names(Names::Contexts, NO_FILES));
    }

    #[test]
    fn what_follows_an_image_is_the_containers_own() {
        assert_eq!(wanted("run image --na"), Wanted::Files);
        assert_eq!(wanted("exec c ls -"), Wanted::Files);
        assert_eq!(wanted("network create "), Wanted::Lines(Vec::new()));
    }

    #[test]
    fn commands_and_flags_come_with_their_descriptions() {
        let Wanted::Lines(lines) = wanted("") else { panic!() };
        assert!(
            lines.contains(&"ps\tList containers".to_owned())
                && !lines.iter().any(|line| line.starts_with("__"))
        );
        let Wanted::Lines(lines) = wanted("run --net") else { panic!() };
        assert!(lines.contains(&"--network\tConnect a container to a network".to_owned()));
        assert!(lines.contains(&"-a\tAttach to STDIN, STDOUT or STDERR".to_owned()));
        assert_eq!(
            wanted("run --pull "),
            Wanted::Lines(["always", "missing", "never"].map(str::to_owned).into())
        );
    }
}
