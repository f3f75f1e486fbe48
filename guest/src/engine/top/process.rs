//! One process or thread, as `/proc/<pid>` tells of it. Its names are a container's word: any bytes, of any length.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a command line that are read.
const LONGEST_COMMAND: u64 = 64 * 1024;

/// What is shown of a process. Times are in clock ticks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// Of the process.
    pub(super) pid: i32,
    /// Of the thread; a process' own is its first thread's.
    pub(super) tid: i32,
    pub(super) name: String,
    pub(super) state: char,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    pub(super) terminal: i32,
    pub(super) foreground: i32,
    pub(super) flags: u64,
    pub(super) minor_faults: u64,
    pub(super) major_faults: u64,
    /// Processor time.
    pub(super) used: u64,
    pub(super) priority: i64,
    pub(super) nice: i32,
    pub(super) processor: i64,
    pub(super) real_time: u64,
    pub(super) policy: u64,
    pub(super) threads: u64,
    /// After the machine's.
    pub(super) start: u64,
    /// Bytes.
    pub(super) size: u64,
    /// Pages.
    pub(super) resident: u64,
    /// Of `/proc/<pid>/status`.
    pub(super) status: Status,
    /// What it waits for in the kernel.
    pub(super) waits: String,
    /// Arguments with a space between them; the name in brackets where there are none.
    pub(super) command: String,
}

impl Process {
    /// Looks at a process; an error where it is gone.
    pub(super) fn look(pid: i32) -> io::Result<Self> {
        Self::look_in(pid, &Path::new("/proc").join(pid.to_string()))
    }

    /// Its threads that are still there, the first one first.
    pub(super) fn threads(&self) -> io::Result<Vec<Self>> {
        let folder = Path::new("/proc").join(self.pid.to_string()).join("task");
        let numbers =
            fs::read_dir(&folder)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut numbers: Vec<i32> = numbers.collect();
        numbers.sort_unstable();
        let look = |tid: i32| Self::look_in(self.pid, &folder.join(tid.to_string())).ok();
        Ok(numbers.into_iter().filter_map(look).collect())
    }

    fn look_in(pid: i32, folder: &Path) -> io::Result<Self> {
        let stat = fs::read(folder.join("stat"))?;
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        let mut process = Self::parse(&String::from_utf8_lossy(&stat)).ok_or_else(broken)?;
        process.pid = pid;
        let status = fs::read(folder.join("status"))?;
        process.status = Status::parse(&String::from_utf8_lossy(&status)).ok_or_else(broken)?;
        // Not every kernel tells, and then it is as if it waited for nothing.
        process.waits = waits(&fs::read(folder.join("wchan")).unwrap_or_default());
        let mut words = Vec::new();
        File::open(folder.join("cmdline"))?.take(LONGEST_COMMAND).read_to_end(&mut words)?;
        process.command = match command(&words) {
            empty if empty.is_empty() => process.name_for_command(),
            command => command,
        };
        Ok(process)
    }

    fn name_for_command(&self) -> String {
        let end = if matches!(self.state, 'Z' | 'X') { " <defunct>" } else { "" };
        format!("[{}]{end}", self.name)
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
        let pid = pid.trim().parse().ok()?;
        Some(Self {
            pid,
            tid: pid,
            name: printable(name),
            state: fields.first()?.chars().next()?,
            parent: small(1)?,
            group: small(2)?,
            session: small(3)?,
            terminal: small(4)?,
            foreground: small(5)?,
            flags: unsigned(6)?,
            minor_faults: unsigned(7)?,
            major_faults: unsigned(9)?,
            used: unsigned(11)?.saturating_add(unsigned(12)?),
            priority: number(15)?,
            nice: small(16)?,
            threads: unsigned(17)?,
            start: unsigned(19)?,
            size: unsigned(20)?,
            resident: unsigned(21)?,
            // These are newer than what is before them.
            processor: number(36).unwrap_or(0),
            real_time: unsigned(37).unwrap_or(0),
            policy: unsigned(38).unwrap_or(0),
            ..Self::default()
        })
    }

    /// As in `STAT`.
    pub(super) fn states(&self) -> String {
        let mut states = String::from(self.state);
        for (letter, is_so) in [
            ('<', self.nice < 0),
            ('N', self.nice > 0),
            ('L', self.status.locked > 0),
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

/// What only `/proc/<pid>/status` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// Real and effective.
    pub(super) users: [u32; 2],
    /// Likewise.
    pub(super) groups: [u32; 2],
    /// KiB of memory that stays.
    pub(super) locked: u64,
    /// KiB of program.
    pub(super) text: u64,
    /// Signals as 16 hexadecimal digits: those that wait for the process, and for the thread.
    pub(super) pending: [String; 2],
    pub(super) blocked: String,
    pub(super) ignored: String,
    pub(super) caught: String,
}

impl Status {
    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let ids = |name| {
            let mut ids = value(name)?.split_ascii_whitespace().map(|id| id.parse().ok());
            Some([ids.next()??, ids.next()??])
        };
        // A process that has ended has no memory.
        let kibibytes = |name| {
            value(name).and_then(|text| text.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let signals = |name| printable(value(name).unwrap_or_default().trim());
        Some(Self {
            users: ids("Uid")?,
            groups: ids("Gid")?,
            locked: kibibytes("VmLck"),
            text: kibibytes("VmExe"),
            pending: [signals("ShdPnd"), signals("SigPnd")],
            blocked: signals("SigBlk"),
            ignored: signals("SigIgn"),
            caught: signals("SigCgt"),
        })
    }
}

/// A function of the kernel.
fn waits(text: &[u8]) -> String {
    match String::from_utf8_lossy(text).trim() {
        "" | "0" => "-".to_owned(),
        name => printable(name),
    }
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
    fn a_status_tells_owners_memory_and_signals() {
        let status = Status::parse(
            "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nVmLck:\t      12 kB\nVmExe:\t     880 kB\n\
             SigPnd:\t0000000000000001\nShdPnd:\t0000000000000002\nSigBlk:\t0000000000000004\n",
        )
        .unwrap();
        assert_eq!((status.users, status.groups, status.locked, status.text), ([1, 2], [5, 6], 12, 880));
        assert_eq!(status.pending, ["0000000000000002", "0000000000000001"]);
        assert_eq!((status.blocked.as_str(), status.caught.as_str()), ("0000000000000004", ""));
        assert_eq!(Status::parse("Name:\tx\n"), None);
    }

    #[test]
    fn locked_memory_is_a_state_and_an_ended_process_has_a_name_alone() {
        let mut process = Process::parse(STAT).unwrap();
        process.status.locked = 4;
        assert_eq!(process.states(), "SLsl+");
        process.state = 'Z';
        assert_eq!(process.name_for_command(), "[a) b (c] <defunct>");
    }

    #[test]
    fn what_a_kernel_does_not_tell_is_nothing() {
        assert_eq!((waits(b""), waits(b"0"), waits(b"do_wait")), ("-".into(), "-".into(), "do_wait".into()));
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let own = Process::look(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.command.contains("holmd") && own.threads > 0, "{own:?}");
        let threads = own.threads().unwrap();
        assert!(threads.iter().all(|thread| thread.pid == own.pid));
        assert_eq!(threads[0].tid, own.pid);
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
            let _ = Status::parse(stat);
            assert!(!command(words).chars().any(char::is_control));
        });
    }
}
