//! The words of ps(1) that choose columns: a machine has no `ps`, and clients ask for its.

/// What a column shows of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Number of the process.
    Pid,
    /// Of its parent.
    ParentPid,
    /// Of its group.
    Group,
    /// Of its session.
    Session,
    /// Its user's number.
    UserId,
    /// Its user's name, where it has one.
    User,
    /// Its user group's number.
    GroupId,
    /// Its program's name.
    Name,
    /// Its whole command line.
    Command,
    /// One letter.
    State,
    /// The letter, and what else there is to say.
    States,
    /// Its terminal.
    Terminal,
    /// Processor time, `hh:mm:ss`.
    Time,
    /// Processor time, `m:ss`.
    ShortTime,
    /// Time since its start.
    Elapsed,
    /// The same in seconds.
    ElapsedSeconds,
    /// Its start: a time of this day, a day, or a year.
    Start,
    /// Its start in full.
    LongStart,
    /// Processor time by time, whole percents.
    Load,
    /// The same with one digit more.
    Processor,
    /// Resident memory of all, in percents.
    Memory,
    /// KiB of address space.
    Size,
    /// KiB of resident memory.
    Resident,
    /// As nice(1).
    Nice,
    /// Threads.
    Threads,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) field: Field,
    pub(super) header: String,
}

/// Names for `-o`, and their headers.
const NAMES: &[(&str, &str, Field)] = &[
    ("pid", "PID", Field::Pid),
    ("tgid", "TGID", Field::Pid),
    ("ppid", "PPID", Field::ParentPid),
    ("pgid", "PGID", Field::Group),
    ("pgrp", "PGRP", Field::Group),
    ("sid", "SID", Field::Session),
    ("sess", "SESS", Field::Session),
    ("session", "SESS", Field::Session),
    ("uid", "UID", Field::UserId),
    ("euid", "EUID", Field::UserId),
    ("user", "USER", Field::User),
    ("euser", "EUSER", Field::User),
    ("uname", "USER", Field::User),
    ("gid", "GID", Field::GroupId),
    ("egid", "EGID", Field::GroupId),
    ("comm", "COMMAND", Field::Name),
    ("ucmd", "CMD", Field::Name),
    ("ucomm", "COMMAND", Field::Name),
    ("args", "COMMAND", Field::Command),
    ("command", "COMMAND", Field::Command),
    ("cmd", "CMD", Field::Command),
    ("s", "S", Field::State),
    ("state", "S", Field::State),
    ("stat", "STAT", Field::States),
    ("tty", "TT", Field::Terminal),
    ("tt", "TT", Field::Terminal),
    ("tname", "TTY", Field::Terminal),
    ("time", "TIME", Field::Time),
    ("cputime", "TIME", Field::Time),
    ("bsdtime", "TIME", Field::ShortTime),
    ("etime", "ELAPSED", Field::Elapsed),
    ("etimes", "ELAPSED", Field::ElapsedSeconds),
    ("stime", "STIME", Field::Start),
    ("start_time", "START", Field::Start),
    ("bsdstart", "START", Field::Start),
    ("lstart", "STARTED", Field::LongStart),
    ("c", "C", Field::Load),
    ("pcpu", "%CPU", Field::Processor),
    ("%cpu", "%CPU", Field::Processor),
    ("pmem", "%MEM", Field::Memory),
    ("%mem", "%MEM", Field::Memory),
    ("vsz", "VSZ", Field::Size),
    ("vsize", "VSZ", Field::Size),
    ("rss", "RSS", Field::Resident),
    ("rssize", "RSS", Field::Resident),
    ("rsz", "RSZ", Field::Resident),
    ("ni", "NI", Field::Nice),
    ("nice", "NI", Field::Nice),
    ("nlwp", "NLWP", Field::Threads),
    ("thcount", "THCNT", Field::Threads),
];

/// `ps -e`
const SHORT: &[(&str, Field)] =
    &[("PID", Field::Pid), ("TTY", Field::Terminal), ("TIME", Field::Time), ("CMD", Field::Name)];
/// `ps -ef`
const FULL: &[(&str, Field)] = &[
    ("UID", Field::User),
    ("PID", Field::Pid),
    ("PPID", Field::ParentPid),
    ("C", Field::Load),
    ("STIME", Field::Start),
    ("TTY", Field::Terminal),
    ("TIME", Field::Time),
    ("CMD", Field::Command),
];
/// `ps ax`
const BSD: &[(&str, Field)] = &[
    ("PID", Field::Pid),
    ("TTY", Field::Terminal),
    ("STAT", Field::States),
    ("TIME", Field::ShortTime),
    ("COMMAND", Field::Command),
];
/// `ps aux`
const USERS: &[(&str, Field)] = &[
    ("USER", Field::User),
    ("PID", Field::Pid),
    ("%CPU", Field::Processor),
    ("%MEM", Field::Memory),
    ("VSZ", Field::Size),
    ("RSS", Field::Resident),
    ("TTY", Field::Terminal),
    ("STAT", Field::States),
    ("START", Field::Start),
    ("TIME", Field::ShortTime),
    ("COMMAND", Field::Command),
];

/// Why there are no columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadColumns {
    /// `ps` may know it.
    #[error("ps: unsupported option: {0}")]
    Option(String),
    /// Likewise.
    #[error("ps: error: unknown user-defined format specifier \"{0}\"")]
    Name(String),
    /// `-o` and nothing.
    #[error("ps: error: format specification must follow -o")]
    Nothing,
    /// moby finds a container's processes in the output of `ps` by it.
    #[error("Couldn't find PID field in ps output")]
    NoPid,
    /// In moby's words: no other column may pass for it.
    #[error("specifying \"{0}=PID\" is not allowed")]
    FalsePid(String),
}

/// The columns that these words ask for; none is `-ef`.
pub(super) fn columns(words: &str) -> Result<Vec<Column>, BadColumns> {
    let mut chosen: Option<&[(&str, Field)]> = None;
    let mut own: Vec<Column> = Vec::new();
    let words = if words.trim().is_empty() { "-ef" } else { words };
    let mut words = words.split_ascii_whitespace();
    while let Some(word) = words.next() {
        let unknown = || BadColumns::Option(word.to_owned());
        if let Some(list) = word.strip_prefix("--format") {
            let list = match list.strip_prefix('=') {
                Some(list) => list,
                None if list.is_empty() => words.next().ok_or(BadColumns::Nothing)?,
                None => return Err(unknown()),
            };
            own.append(&mut named(list)?);
            continue;
        }
        // Everybody's mistake, which ps takes for what was meant.
        let (bsd, letters) = match word.strip_prefix('-') {
            Some(rest) if rest.starts_with("aux") => (true, rest),
            Some(rest) if !rest.is_empty() && !rest.starts_with('-') => (false, rest),
            Some(_) => return Err(unknown()),
            None => (true, word),
        };
        for (at, letter) in letters.char_indices() {
            match (letter, bsd) {
                ('o', _) => {
                    let rest = &letters[at + 1..];
                    let list = if rest.is_empty() { words.next() } else { Some(rest) };
                    own.append(&mut named(list.ok_or(BadColumns::Nothing)?)?);
                    break;
                }
                ('f', false) => chosen = Some(FULL),
                ('u', true) => chosen = Some(USERS),
                ('a' | 'x', true) => chosen = chosen.or(Some(BSD)),
                // All processes are a container's, and no line is cut off.
                ('e' | 'A' | 'a' | 'd', false) | ('w' | 'g' | '-', _) => {}
                _ => return Err(unknown()),
            }
        }
    }
    let columns = if own.is_empty() {
        let chosen = chosen.unwrap_or(SHORT);
        chosen.iter().map(|(header, field)| Column { field: *field, header: (*header).to_owned() }).collect()
    } else {
        own
    };
    if columns.iter().any(|column| column.header == "PID") { Ok(columns) } else { Err(BadColumns::NoPid) }
}

/// `pid,user=WHO,args`: the last header goes to the end of the word.
fn named(list: &str) -> Result<Vec<Column>, BadColumns> {
    let mut columns = Vec::new();
    for name in list.split(',').filter(|name| !name.is_empty()) {
        let (name, header) = name.split_once('=').map_or((name, None), |(name, header)| (name, Some(header)));
        let known = NAMES.iter().find(|(known, ..)| *known == name);
        let (_, usual, field) = known.ok_or_else(|| BadColumns::Name(name.to_owned()))?;
        let header = header.filter(|header| !header.is_empty()).unwrap_or(usual);
        if header.starts_with("PID") && *field != Field::Pid {
            return Err(BadColumns::FalsePid(name.to_owned()));
        }
        columns.push(Column { field: *field, header: header.to_owned() });
    }
    if columns.is_empty() { Err(BadColumns::Nothing) } else { Ok(columns) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(words: &str) -> String {
        let columns = columns(words).unwrap();
        columns.iter().map(|column| column.header.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_usual_words_have_the_columns_of_ps() {
        let full = "UID PID PPID C STIME TTY TIME CMD";
        let users = "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND";
        for (words, expected) in [
            ("", full),
            ("-ef", full),
            ("-e -f", full),
            ("-Afww", full),
            ("aux", users),
            ("-aux", users),
            ("auxww", users),
            ("ax", "PID TTY STAT TIME COMMAND"),
            ("-e", "PID TTY TIME CMD"),
            ("-eo pid,comm", "PID COMMAND"),
            ("-opid,args", "PID COMMAND"),
            ("-o pid -o user,%cpu", "PID USER %CPU"),
            ("axo pid,cmd", "PID CMD"),
            ("--format=pid,rss", "PID RSS"),
            ("-eo pid,user=WHO", "PID WHO"),
        ] {
            assert_eq!(headers(words), expected, "{words}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_words() {
        for (words, message) in [
            ("-Z", "ps: unsupported option: -Z"),
            ("--forest", "ps: unsupported option: --forest"),
            ("-o", "ps: error: format specification must follow -o"),
            ("-o ,", "ps: error: format specification must follow -o"),
            ("-o pid,nope", "ps: error: unknown user-defined format specifier \"nope\""),
            ("-o args", "Couldn't find PID field in ps output"),
            ("-o ppid=PID,pid", "specifying \"ppid=PID\" is not allowed"),
        ] {
            assert_eq!(columns(words).unwrap_err().to_string(), message, "{words}");
        }
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn whatever_a_client_types_has_columns_with_a_pid_or_is_refused() {
        bolero::check!().with_type::<String>().for_each(|words| {
            if let Ok(columns) = columns(words) {
                assert!(columns.iter().any(|column| column.header == "PID"));
            }
        });
    }
}
