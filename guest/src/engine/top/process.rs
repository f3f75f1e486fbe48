//! One process, as `/proc/<pid>` tells of it. Its names are a container's word: any bytes, of any length.

use std::fs::{self, File};
use std::io::{self, Read};

/// Bytes of a command line that are read.
const LONGEST_COMMAND: u64 = 64 * 1024;

/// What is shown of a process. Times are in clock ticks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) name: String,
    pub(super) state: char,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    pub(super) terminal: i32,
    pub(super) foreground: i32,
    /// Processor time.
    pub(super) used: u64,
    pub(super) nice: i32,
    pub(super) threads: u64,
    /// After the machine's.
    pub(super) start: u64,
    /// Bytes.
    pub(super) size: u64,
    /// Pages.
    pub(super) resident: u64,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Arguments with a space between them; the name in brackets where there are none.
    pub(super) command: String,
}

impl Process {
    /// Looks at a process; an error where it is gone.
    pub(super) fn look(pid: i32) -> io::Result<Self> {
        let stat = fs::read(format!("/proc/{pid}/stat"))?;
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        let mut process = Self::parse(&String::from_utf8_lossy(&stat)).ok_or_else(broken)?;
        let status = fs::read(format!("/proc/{pid}/status"))?;
        (process.uid, process.gid) = owner(&String::from_utf8_lossy(&status)).ok_or_else(broken)?;
        let mut words = Vec::new();
        File::open(format!("/proc/{pid}/cmdline"))?.take(LONGEST_COMMAND).read_to_end(&mut words)?;
        process.command = match command(&words) {
            empty if empty.is_empty() => format!("[{}]", process.name),
            command => command,
        };
        Ok(process)
    }

    /// Takes `/proc/<pid>/stat` apart (proc(5)).
    fn parse(stat: &str) -> Option<Self> {
        // The name may hold blanks and brackets; nothing after it does.
        let (start, rest) = stat.rsplit_once(')')?;
        let (pid, name) = start.split_once(" (")?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<i64>().ok();
        let unsigned = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let small = |index: usize| i32::try_from(number(index)?).ok();
        Some(Self {
            pid: pid.trim().parse().ok()?,
            name: printable(name),
            state: fields.first()?.chars().next()?,
            parent: small(1)?,
            group: small(2)?,
            session: small(3)?,
            terminal: small(4)?,
            foreground: small(5)?,
            used: unsigned(11)?.saturating_add(unsigned(12)?),
            nice: small(16)?,
            threads: unsigned(17)?,
            start: unsigned(19)?,
            size: unsigned(20)?,
            resident: unsigned(21)?,
            ..Self::default()
        })
    }

    /// As in `STAT`.
    pub(super) fn states(&self) -> String {
        let mut states = String::from(self.state);
        for (letter, is_so) in [
            ('<', self.nice < 0),
            ('N', self.nice > 0),
            ('s', self.session == self.pid),
            ('l', self.threads > 1),
            ('+', self.foreground == self.group),
        ] {
            if is_so {
                states.push(letter);
            }
        }
        states
    }

    /// As `ps` names it.
    pub(super) fn terminal_name(&self) -> String {
        let number = self.terminal.cast_unsigned();
        let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xf_ff00));
        match (major, minor) {
            (0, 0) => "?".to_owned(),
            (136..=143, minor) => format!("pts/{}", (major - 136) * 256 + minor),
            (4, minor @ 64..) => format!("ttyS{}", minor - 64),
            (4, minor) => format!("tty{minor}"),
            (5, 1) => "console".to_owned(),
            _ => "?".to_owned(),
        }
    }
}

/// Effective user and group of `/proc/<pid>/status`.
fn owner(status: &str) -> Option<(u32, u32)> {
    let effective = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    Some((effective("Uid:")?, effective("Gid:")?))
}

fn command(words: &[u8]) -> String {
    let words = words.strip_suffix(b"\0").unwrap_or(words);
    let spaced: Vec<u8> = words.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect();
    let text = String::from_utf8_lossy(&spaced);
    // moby takes the output of `ps` apart at blanks, and joins it again.
    text.split_ascii_whitespace().map(printable).collect::<Vec<_>>().join(" ")
}

fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "1234 (a) b (c) S 1 1234 1234 34817 1234 4194304 100 0 0 0 150 50 0 0 20 0 3 0 \
                        5000 8388608 250 18446744073709551615 1 1 0 0 0 0 0";

    #[test]
    fn a_name_may_hold_anything() {
        let process = Process::parse(STAT).unwrap();
        assert_eq!((process.pid, process.name.as_str(), process.parent), (1234, "a) b (c", 1));
        assert_eq!(
            (process.used, process.start, process.size, process.resident),
            (200, 5000, 8_388_608, 250)
        );
        assert_eq!((process.states().as_str(), process.terminal_name().as_str()), ("Ssl+", "pts/1"));
    }

    #[test]
    fn a_command_is_one_line() {
        assert_eq!(command(b"sh\0-c\0echo  a;\n\x1b[1m\0"), "sh -c echo a; ?[1m");
        assert_eq!(command(b""), "");
    }

    #[test]
    fn the_effective_user_owns_it() {
        assert_eq!(owner("Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n"), Some((2, 6)));
        assert_eq!(owner("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let own = Process::look(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.command.contains("holmd") && own.threads > 0, "{own:?}");
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn whatever_a_process_calls_itself_is_read() {
        bolero::check!().with_type::<(String, Vec<u8>)>().for_each(|(stat, words)| {
            let _ = Process::parse(stat);
            let _ = Process::parse(&format!("1 ({stat}) S {stat}"));
            assert!(!command(words).chars().any(char::is_control));
        });
    }
}
