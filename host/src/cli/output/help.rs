//! Help and usage lines in the layout of Docker's, made from the same definitions that parse the flags.

use std::fmt::Write;

use clap::{Arg, Command};

use crate::cli::flags::is_boolean;

/// Where neither terminal nor pipe says otherwise.
const DEFAULT_COLUMNS: usize = 80;
/// A description narrower than this is put on lines of its own.
const NARROWEST: usize = 24;
/// A line may end this much earlier than it must.
const SLOP: usize = 5;

/// The commands that newcomers need, in the order in which Docker lists them.
const COMMON: [&str; 11] =
    ["run", "exec", "ps", "pull", "push", "images", "login", "logout", "search", "version", "info"];

/// The names of one command: at the top, and in its group.
const SYNONYMS: [(&str, &str, &[&str]); 34] = [
    ("attach", "container", &["attach"]),
    ("commit", "container", &["commit"]),
    ("cp", "container", &["cp"]),
    ("create", "container", &["create"]),
    ("diff", "container", &["diff"]),
    ("exec", "container", &["exec"]),
    ("export", "container", &["export"]),
    ("kill", "container", &["kill"]),
    ("logs", "container", &["logs"]),
    ("pause", "container", &["pause"]),
    ("port", "container", &["port"]),
    ("rename", "container", &["rename"]),
    ("restart", "container", &["restart"]),
    ("rm", "container", &["rm", "remove"]),
    ("run", "container", &["run"]),
    ("start", "container", &["start"]),
    ("stats", "container", &["stats"]),
    ("stop", "container", &["stop"]),
    ("top", "container", &["top"]),
    ("unpause", "container", &["unpause"]),
    ("update", "container", &["update"]),
    ("wait", "container", &["wait"]),
    ("ps", "container", &["ls", "list", "ps"]),
    ("history", "image", &["history"]),
    ("images", "image", &["ls", "list"]),
    ("import", "image", &["import"]),
    ("load", "image", &["load"]),
    ("pull", "image", &["pull"]),
    ("push", "image", &["push"]),
    ("rmi", "image", &["rm", "remove"]),
    ("save", "image", &["save"]),
    ("tag", "image", &["tag"]),
    ("events", "system", &["events"]),
    ("info", "system", &["info"]),
];

/// Other names of commands that exist only in their group.
const ALIASES: [(&str, &str, &str); 6] = [
    ("context", "ls", "list"),
    ("context", "rm", "remove"),
    ("network", "ls", "list"),
    ("network", "rm", "remove"),
    ("volume", "ls", "list"),
    ("volume", "rm", "remove"),
];

/// Columns that help may take.
pub(crate) fn columns() -> usize {
    crate::os::terminal::input_columns().map_or(DEFAULT_COLUMNS, usize::from) - 1
}

/// What follows a command's name in its usage line: ` [OPTIONS] CONTAINER [CONTAINER...]`.
fn tail(command: &Command) -> String {
    let mut tail = String::new();
    // Docker forgot that `network rm` has one.
    let silent =
        command.get_name() == "rm" && command.get_positionals().any(|arg| value_name(arg) == "NETWORK");
    if options(command).next().is_some() && !silent {
        tail.push_str(" [OPTIONS]");
    }
    if command.has_subcommands() {
        tail.push_str(" COMMAND");
    }
    for arg in command.get_positionals() {
        let name = value_name(arg);
        let many = arg.get_num_args().is_some_and(|range| range.max_values() > 1);
        let _ = match (arg.is_required_set(), many) {
            // A name of several words tells all of it: `IMAGE [COMMAND] [ARG...]`.
            _ if name.contains(' ') => write!(tail, " {name}"),
            (true, true) => write!(tail, " {name} [{name}...]"),
            (true, false) => write!(tail, " {name}"),
            (false, true) => write!(tail, " [{name}...]"),
            (false, false) => write!(tail, " [{name}]"),
        };
    }
    tail
}

/// How the command is typed: `Usage:  docker rm [OPTIONS] CONTAINER [CONTAINER...]`.
pub(crate) fn usage(command: &Command, path: &str) -> String {
    let usage = format!("Usage:  {path}{}", tail(command));
    match path.split_once(' ') {
        // The one command that is typed in two ways.
        Some((program, "cp" | "container cp")) => {
            format!("{usage}\n\t{program} cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH")
        }
        _ => usage,
    }
}

/// The least and the most arguments besides flags; `None` where there is no most.
pub(crate) fn positional_count(command: &Command) -> (usize, Option<usize>) {
    command.get_positionals().fold((0, Some(0)), |(least, most), arg| {
        let range = arg.get_num_args().unwrap_or_else(|| 1.into());
        let least = if arg.is_required_set() { least + range.min_values().max(1) } else { least };
        let most = match range.max_values() {
            usize::MAX => None,
            values => most.map(|most| most + values),
        };
        (least, most)
    })
}

/// All of a command's help; `path` is how it is typed.
pub(crate) fn render(command: &Command, path: &str, columns: usize) -> String {
    let mut text = format!("{}\n\n", usage(command, path));
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        let _ = writeln!(text, "{about}");
    }
    if let Some(aliases) = aliases(path) {
        let _ = write!(text, "\nAliases:\n  {aliases}\n");
    }
    let top = !path.contains(' ');
    let flags = flag_table(command, columns);
    if !top && !flags.is_empty() {
        let _ = write!(text, "\nOptions:\n{flags}");
    }
    if top {
        let common = COMMON.iter().filter_map(|name| command.find_subcommand(name));
        section(&mut text, "Common Commands", common.collect());
    }
    let mut visible: Vec<&Command> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).collect();
    visible.sort_by_key(|sub| sub.get_name());
    visible.retain(|sub| !(top && COMMON.contains(&sub.get_name())));
    let (groups, plain) = visible.into_iter().partition(|sub| sub.has_subcommands());
    section(&mut text, "Management Commands", groups);
    section(&mut text, "Commands", plain);
    if top && !flags.is_empty() {
        let _ = write!(text, "\nGlobal Options:\n{flags}");
    }
    if command.has_subcommands() {
        let _ = write!(text, "\nRun '{path} COMMAND --help' for more information on a command.\n");
    }
    text
}

fn section(text: &mut String, title: &str, commands: Vec<&Command>) {
    if commands.is_empty() {
        return;
    }
    let _ = write!(text, "\n{title}:\n");
    for command in commands {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "  {:<11} {about}", command.get_name());
    }
}

/// `docker container rm, docker container remove, docker rm`
fn aliases(path: &str) -> Option<String> {
    let mut words = path.split(' ');
    let program = words.next()?;
    let (first, second) = (words.next()?, words.next());
    if let Some(verb) = second
        && let Some((group, verb, alias)) = ALIASES.iter().find(|(g, v, _)| *g == first && *v == verb)
    {
        return Some(format!("{program} {group} {verb}, {program} {group} {alias}"));
    }
    let (top, group, verbs) = SYNONYMS.iter().find(|(top, group, verbs)| match second {
        None => *top == first,
        Some(verb) => *group == first && verbs.first() == Some(&verb),
    })?;
    let mut names: Vec<String> = verbs.iter().map(|verb| format!("{program} {group} {verb}")).collect();
    names.push(format!("{program} {top}"));
    Some(names.join(", "))
}

fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    // Where `-h` means something else, Docker lists `--help` with the other flags.
    let lists_help = command.get_arguments().any(|arg| arg.get_short() == Some('h'));
    command.get_arguments().filter(move |arg| {
        !arg.is_positional() && (!arg.is_hide_set() || (lists_help && arg.get_id() == "help"))
    })
}

fn value_name(arg: &Arg) -> String {
    match arg.get_value_names() {
        Some([name, ..]) => name.to_string(),
        _ => arg.get_id().to_string().to_uppercase(),
    }
}

fn flag_table(command: &Command, columns: usize) -> String {
    let mut flags: Vec<&Arg> = options(command).collect();
    flags.sort_by_key(|arg| arg.get_long().unwrap_or_default().to_owned());
    let rows: Vec<(String, String)> = flags.into_iter().map(|arg| (left(arg), right(arg))).collect();
    let widest = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    let indent = widest + 3;
    let mut text = String::new();
    for (left, right) in rows {
        let _ = writeln!(text, "{left:<indent$}{}", wrapped(indent, columns, &right));
    }
    text
}

fn left(arg: &Arg) -> String {
    let long = arg.get_long().unwrap_or_default();
    let mut left = match arg.get_short() {
        Some(short) => format!("  -{short}, --{long}"),
        None => format!("      --{long}"),
    };
    if !is_boolean(arg) && arg.get_action().takes_values() {
        left.push(' ');
        left.push_str(&value_name(arg));
    }
    left
}

fn right(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    match arg.get_default_values().first().and_then(|value| value.to_str()) {
        None | Some("" | "false" | "0") => help,
        Some(value) if is_boolean(arg) || value_name(arg) != "string" => format!("{help} (default {value})"),
        Some(value) => format!("{help} (default {value:?})"),
    }
}

/// `text` from column `indent` on, in lines that end before column `columns` where words allow.
fn wrapped(indent: usize, columns: usize, text: &str) -> String {
    let (indent, lead) = match columns.saturating_sub(indent) {
        width if width < NARROWEST => (16, true),
        _ => (indent, false),
    };
    let margin = format!("\n{}", " ".repeat(indent));
    let width = columns.saturating_sub(indent);
    if width < NARROWEST {
        return text.replace('\n', &margin);
    }
    let mut result = if lead { margin.clone() } else { String::new() };
    let mut rest = text;
    loop {
        let (line, remaining) = first_line(width - SLOP, rest);
        result.push_str(&line.replace('\n', &margin));
        if remaining.is_empty() {
            return result;
        }
        result.push_str(&margin);
        rest = remaining;
    }
}

fn first_line(width: usize, text: &str) -> (&str, &str) {
    if width + SLOP > text.len() {
        return (text, "");
    }
    let start = &text[..text.floor_char_boundary(width)];
    let Some(space) = start.rfind([' ', '\t', '\n']).filter(|at| *at > 0) else { return (text, "") };
    let end = match start.rfind('\n') {
        Some(newline) if newline > 0 && newline < space => newline,
        _ => space,
    };
    (&text[..end], &text[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::environment::Program;
    use crate::cli::usage::commands;

    fn help(path: &str) -> String {
        let mut root = commands(Program::Docker);
        root.build();
        let mut command = &root;
        for word in path.split(' ').skip(1) {
            command = command.find_subcommand(word).unwrap();
        }
        render(command, path, 79)
    }

    /// Recorded from Docker's command line, version 28.2, each after a line with its command.
    #[test]
    fn help_of_every_command_is_dockers_to_the_letter() {
        let recorded = include_str!("../golden/help.txt");
        let mut count = 0;
        for page in recorded.trim_start_matches("$ ").split("\n$ ") {
            let (path, text) = page.split_once('\n').unwrap();
            assert_eq!(help(path).trim_end(), text.trim_end(), "{path}");
            count += 1;
        }
        assert!(count > 40, "{count}");
    }

    #[test]
    fn every_synonym_is_a_command() {
        let root = commands(Program::Docker);
        for (top, group, verbs) in SYNONYMS {
            assert!(root.find_subcommand(top).is_some(), "{top}");
            for verb in verbs {
                assert!(
                    root.find_subcommand(group).unwrap().find_subcommand(verb).is_some(),
                    "{group} {verb}"
                );
            }
        }
    }
}
