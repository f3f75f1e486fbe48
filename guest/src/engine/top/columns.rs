//! The words of ps(1) that choose columns and lines: a machine has no `ps`, and clients ask for its. Checked against
//! procps-ng 4.0.2.

use super::field::Field;

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) field: Field,
    pub(super) header: String,
    /// Letters that are shown at most; `None` shows all.
    pub(super) width: Option<usize>,
}

/// What has a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lines {
    /// Each process.
    #[default]
    Processes,
    /// Each thread.
    Threads,
    /// Each process, and its threads below it.
    Both,
}

/// What words ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) columns: Vec<Column>,
    pub(super) lines: Lines,
}

type Preset = &'static [(&'static str, Field)];

/// `ps ax`
const BSD: Preset = &[
    ("PID", Field::Pid),
    ("TTY", Field::Terminal),
    ("STAT", Field::States),
    ("TIME", Field::ShortTime),
    ("COMMAND", Field::Command),
];
/// `ps aux`
const USERS: Preset = &[
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
/// `ps l`
const BSD_LONG: Preset = &[
    ("F", Field::Flags),
    ("UID", Field::UserId),
    ("PID", Field::Pid),
    ("PPID", Field::ParentPid),
    ("PRI", Field::KernelPriority),
    ("NI", Field::Nice),
    ("VSZ", Field::Size),
    ("RSS", Field::Resident),
    ("WCHAN", Field::Waits),
    ("STAT", Field::States),
    ("TTY", Field::Terminal),
    ("TIME", Field::ShortTime),
    ("COMMAND", Field::Command),
];
/// `ps j`
const BSD_JOBS: Preset = &[
    ("PPID", Field::ParentPid),
    ("PID", Field::Pid),
    ("PGID", Field::Group),
    ("SID", Field::Session),
    ("TTY", Field::Terminal),
    ("TPGID", Field::Foreground),
    ("STAT", Field::States),
    ("UID", Field::UserId),
    ("TIME", Field::ShortTime),
    ("COMMAND", Field::Command),
];
/// `ps v`
const BSD_MEMORY: Preset = &[
    ("PID", Field::Pid),
    ("TTY", Field::Terminal),
    ("STAT", Field::States),
    ("TIME", Field::ShortTime),
    ("MAJFL", Field::MajorFaults),
    ("TRS", Field::Text),
    ("DRS", Field::Data),
    ("RSS", Field::Resident),
    ("%MEM", Field::Memory),
    ("COMMAND", Field::Command),
];
/// `ps s`
const BSD_SIGNALS: Preset = &[
    ("UID", Field::UserId),
    ("PID", Field::Pid),
    ("PENDING", Field::Pending),
    ("BLOCKED", Field::Blocked),
    ("IGNORED", Field::Ignored),
    ("CAUGHT", Field::Caught),
    ("STAT", Field::States),
    ("TTY", Field::Terminal),
    ("TIME", Field::ShortTime),
    ("COMMAND", Field::Command),
];

/// Letters of what a process waits for.
const WAITS_WIDTH: usize = 6;

/// Why there are no columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadColumns {
    /// `ps` may know it.
    #[error("ps: unsupported option: {0}")]
    Option(String),
    /// Likewise.
    #[error("ps: error: unknown user-defined format specifier \"{0}\"")]
    Name(String),
    /// No number of letters, or none at all.
    #[error("ps: error: column widths must be unsigned decimal numbers")]
    Width,
    /// `-o` and nothing.
    #[error("ps: error: format specification must follow -o")]
    Nothing,
    /// `-y` is of `-l`.
    #[error("ps: error: modifier -y without format -l makes no sense")]
    WithoutLong,
    /// The number of a thread has two names.
    #[error("ps: error: thread flags conflict; can't use both -L and -T")]
    Threads,
    /// Two sets of columns.
    #[error("ps: error: conflicting format options")]
    Formats,
    /// moby finds a container's processes in the output of `ps` by it.
    #[error("Couldn't find PID field in ps output")]
    NoPid,
    /// In moby's words: no other column may pass for it.
    #[error("specifying \"{0}=PID\" is not allowed")]
    FalsePid(String),
}

/// The letters of System V's `ps` that change columns.
#[derive(Debug, Default)]
struct Letters(Vec<char>);

impl Letters {
    fn has(&self, letters: &str) -> bool {
        self.0.iter().any(|letter| letters.contains(*letter))
    }

    /// What they add up to.
    fn columns(&self, bsd: bool) -> Result<Vec<(&'static str, Field)>, BadColumns> {
        let [full, long, more] = ["fF", "l", "F"].map(|letters| self.has(letters));
        let [jobs, class, short, processor] = ["j", "c", "y", "P"].map(|letters| self.has(letters));
        let [lwp, spid] = ["L", "T"].map(|letters| self.has(letters));
        if short && !long {
            return Err(BadColumns::WithoutLong);
        }
        if lwp && spid {
            return Err(BadColumns::Threads);
        }
        let user = if full { Field::User } else { Field::UserId };
        let command = if full { Field::Command } else { Field::Name };
        let all = [
            (long && !short, "F", Field::Flags),
            (long, "S", Field::State),
            (full || long, "UID", user),
            (true, "PID", Field::Pid),
            (spid, "SPID", Field::Tid),
            (full || long, "PPID", Field::ParentPid),
            (jobs, "PGID", Field::Group),
            (jobs, "SID", Field::Session),
            (lwp, "LWP", Field::Tid),
            (processor, "PSR", Field::LastProcessor),
            (class, "CLS", Field::Class),
            (class, "PRI", Field::Priority),
            ((full || long) && !class, "C", Field::Load),
            (lwp && full, "NLWP", Field::Threads),
            (long && !class, "PRI", Field::OldPriority),
            (long && !class, "NI", Field::Nice),
            (long && !short, "ADDR", Field::Address),
            (long && short, "RSS", Field::Resident),
            (long || more, "SZ", Field::Pages),
            (long, "WCHAN", Field::Waits),
            (more && !short, "RSS", Field::Resident),
            (more && !processor, "PSR", Field::LastProcessor),
            (full, "STIME", Field::Start),
            (true, "TTY", Field::Terminal),
            (bsd, "STAT", Field::States),
            (true, "TIME", Field::Time),
            (true, "CMD", command),
        ];
        Ok(all.into_iter().filter(|(shown, ..)| *shown).map(|(_, header, field)| (header, field)).collect())
    }
}

/// What these words ask for; none is `-ef`.
pub(super) fn view(words: &str) -> Result<View, BadColumns> {
    let mut letters = Letters::default();
    let mut bsd: Option<Preset> = None;
    let mut own: Vec<Column> = Vec::new();
    let mut lines = Lines::default();
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
        let (is_bsd, rest) = match word.strip_prefix('-') {
            Some(rest) if rest.starts_with("aux") => (true, rest),
            Some(rest) if !rest.is_empty() && !rest.starts_with('-') => (false, rest),
            Some(_) => return Err(unknown()),
            None => (true, word),
        };
        for (at, letter) in rest.char_indices() {
            let mut preset = |columns| match bsd {
                Some(other) if other != BSD && other != columns => Err(BadColumns::Formats),
                _ => {
                    bsd = Some(columns);
                    Ok(())
                }
            };
            match (letter, is_bsd) {
                ('o', _) => {
                    let rest = &rest[at + 1..];
                    let list = if rest.is_empty() { words.next() } else { Some(rest) };
                    own.append(&mut named(list.ok_or(BadColumns::Nothing)?)?);
                    break;
                }
                ('L' | 'T', false) => {
                    lines = Lines::Threads;
                    letters.0.push(letter);
                }
                ('f' | 'F' | 'l' | 'j' | 'c' | 'y' | 'P', false) => letters.0.push(letter),
                ('u', true) => preset(USERS)?,
                ('l', true) => preset(BSD_LONG)?,
                ('j', true) => preset(BSD_JOBS)?,
                ('v', true) => preset(BSD_MEMORY)?,
                ('s', true) => preset(BSD_SIGNALS)?,
                ('a' | 'x', true) => bsd = bsd.or(Some(BSD)),
                ('H', true) => {
                    bsd = bsd.or(Some(BSD));
                    lines = Lines::Threads;
                }
                ('m', true) => {
                    bsd = bsd.or(Some(BSD));
                    lines = Lines::Both;
                }
                ('m', false) => lines = Lines::Both,
                // All processes are a container's, and no line is cut off.
                ('e' | 'A' | 'a' | 'd', false) | ('w' | 'g' | '-', _) => {}
                _ => return Err(unknown()),
            }
        }
    }
    let columns = match (own.is_empty(), bsd) {
        (false, _) => own,
        (true, Some(other)) if other != BSD && !letters.0.is_empty() => return Err(BadColumns::Formats),
        (true, Some(preset)) if letters.0.is_empty() => columns(preset),
        (true, _) => columns(&letters.columns(bsd.is_some())?),
    };
    match columns.iter().any(|column| column.header == "PID") {
        true => Ok(View { columns, lines }),
        false => Err(BadColumns::NoPid),
    }
}

fn columns(preset: &[(&str, Field)]) -> Vec<Column> {
    let column = |(header, field): &(&str, Field)| Column {
        field: *field,
        header: (*header).to_owned(),
        width: usual_width(*field),
    };
    preset.iter().map(column).collect()
}

fn usual_width(field: Field) -> Option<usize> {
    (field == Field::Waits).then_some(WAITS_WIDTH)
}

/// `pid,user=WHO,args:40`: the last header goes to the end of the word.
fn named(list: &str) -> Result<Vec<Column>, BadColumns> {
    let mut columns = Vec::new();
    for wish in list.split(',').filter(|name| !name.is_empty()) {
        let (name, header) = wish.split_once('=').map_or((wish, None), |(name, header)| (name, Some(header)));
        let unknown = || BadColumns::Name(name.to_owned());
        let (name, width) = match name.split_once(':') {
            None => (name, None),
            Some((name, width)) => {
                (name, Some(width.parse().ok().filter(|width| *width > 0).ok_or(BadColumns::Width)?))
            }
        };
        let (field, usual) = Field::named(name).ok_or_else(unknown)?;
        let header = header.filter(|header| !header.is_empty()).unwrap_or(usual);
        if header.starts_with("PID") && field != Field::Pid {
            return Err(BadColumns::FalsePid(name.to_owned()));
        }
        columns.push(Column { field, header: header.to_owned(), width: width.or(usual_width(field)) });
    }
    if columns.is_empty() { Err(BadColumns::Nothing) } else { Ok(columns) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(words: &str) -> String {
        let view = view(words).unwrap();
        view.columns.iter().map(|column| column.header.as_str()).collect::<Vec<_>>().join(" ")
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
            ("-eo pid,args:12", "PID COMMAND"),
        ] {
            assert_eq!(headers(words), expected, "{words}");
        }
    }

    /// What procps-ng 4.0.2 prints.
    #[test]
    fn letters_add_columns_where_ps_does() {
        for (words, expected) in [
            ("-l", "F S UID PID PPID C PRI NI ADDR SZ WCHAN TTY TIME CMD"),
            ("-ly", "S UID PID PPID C PRI NI RSS SZ WCHAN TTY TIME CMD"),
            ("-lf", "F S UID PID PPID C PRI NI ADDR SZ WCHAN STIME TTY TIME CMD"),
            ("-lF", "F S UID PID PPID C PRI NI ADDR SZ WCHAN RSS PSR STIME TTY TIME CMD"),
            ("-lyF", "S UID PID PPID C PRI NI RSS SZ WCHAN PSR STIME TTY TIME CMD"),
            ("-LlF", "F S UID PID PPID LWP C NLWP PRI NI ADDR SZ WCHAN RSS PSR STIME TTY TIME CMD"),
            ("-lcF", "F S UID PID PPID CLS PRI ADDR SZ WCHAN RSS PSR STIME TTY TIME CMD"),
            ("-lj -P", "F S UID PID PPID PGID SID PSR C PRI NI ADDR SZ WCHAN TTY TIME CMD"),
            ("-lT", "F S UID PID SPID PPID C PRI NI ADDR SZ WCHAN TTY TIME CMD"),
            ("-F", "UID PID PPID C SZ RSS PSR STIME TTY TIME CMD"),
            ("-PF", "UID PID PPID PSR C SZ RSS STIME TTY TIME CMD"),
            ("-LF", "UID PID PPID LWP C NLWP SZ RSS PSR STIME TTY TIME CMD"),
            ("-Tf", "UID PID SPID PPID C STIME TTY TIME CMD"),
            ("-jLf", "UID PID PPID PGID SID LWP C NLWP STIME TTY TIME CMD"),
            ("-fc", "UID PID PPID CLS PRI STIME TTY TIME CMD"),
            ("-j", "PID PGID SID TTY TIME CMD"),
            ("-jT", "PID SPID PGID SID TTY TIME CMD"),
            ("-Pc", "PID PSR CLS PRI TTY TIME CMD"),
            ("-eL", "PID LWP TTY TIME CMD"),
            ("ax -f", "UID PID PPID C STIME TTY STAT TIME CMD"),
            ("l", "F UID PID PPID PRI NI VSZ RSS WCHAN STAT TTY TIME COMMAND"),
            ("axj", "PPID PID PGID SID TTY TPGID STAT UID TIME COMMAND"),
            ("axv", "PID TTY STAT TIME MAJFL TRS DRS RSS %MEM COMMAND"),
            ("axs", "UID PID PENDING BLOCKED IGNORED CAUGHT STAT TTY TIME COMMAND"),
        ] {
            assert_eq!(headers(words), expected, "{words}");
        }
    }

    #[test]
    fn threads_have_lines_of_their_own_where_they_are_asked_for() {
        let lines = |words| view(words).unwrap().lines;
        assert_eq!(lines("-ef"), Lines::Processes);
        for words in ["-eLf", "-eT", "axH", "uH"] {
            assert_eq!(lines(words), Lines::Threads, "{words}");
        }
        for words in ["-em", "axm", "-emo pid,lwp"] {
            assert_eq!(lines(words), Lines::Both, "{words}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_words() {
        for (words, message) in [
            ("-Z", "ps: unsupported option: -Z"),
            ("--forest", "ps: unsupported option: --forest"),
            ("-y", "ps: error: modifier -y without format -l makes no sense"),
            ("-LTf", "ps: error: thread flags conflict; can't use both -L and -T"),
            ("axul", "ps: error: conflicting format options"),
            ("u -l", "ps: error: conflicting format options"),
            ("-o", "ps: error: format specification must follow -o"),
            ("-o ,", "ps: error: format specification must follow -o"),
            ("-o pid,nope", "ps: error: unknown user-defined format specifier \"nope\""),
            ("-o pid,args:x", "ps: error: column widths must be unsigned decimal numbers"),
            ("-o args", "Couldn't find PID field in ps output"),
            ("-o ppid=PID,pid", "specifying \"ppid=PID\" is not allowed"),
        ] {
            assert_eq!(view(words).unwrap_err().to_string(), message, "{words}");
        }
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn whatever_a_client_types_has_columns_with_a_pid_or_is_refused() {
        bolero::check!().with_type::<String>().for_each(|words| {
            if let Ok(view) = view(words) {
                assert!(view.columns.iter().any(|column| column.header == "PID"));
            }
        });
    }
}
