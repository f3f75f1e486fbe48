//! What `ps` can show of a process or a thread, and what it calls each.

use Extent::{Both, Process, Thread};

/// What a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Number of the process.
    Pid,
    /// Of its parent.
    ParentPid,
    /// Of the thread.
    Tid,
    /// Of its group.
    Group,
    /// Of its session.
    Session,
    /// Of the group that its terminal listens to.
    Foreground,
    /// Its user's number.
    UserId,
    /// Its user's name, where it has one.
    User,
    /// The same of who started it.
    RealUserId,
    /// Likewise.
    RealUser,
    /// Its user group's number.
    GroupId,
    /// Its name, where it has one.
    GroupName,
    /// The number of the group of who started it.
    RealGroupId,
    /// Its program's name.
    Name,
    /// Eight letters of it.
    ShortName,
    /// Its whole command line.
    Command,
    /// Two of the kernel's flags: forked and not yet something else, with more than a user's rights.
    Flags,
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
    /// Processor time in seconds.
    Seconds,
    /// Time since its start.
    Elapsed,
    /// The same in seconds.
    ElapsedSeconds,
    /// Its start: a time of this day, a day, or a year.
    Start,
    /// Its start: a time of the last day, or a day.
    StartDay,
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
    /// Pages of address space.
    Pages,
    /// KiB of program.
    Text,
    /// KiB of all else.
    Data,
    /// KiB of resident memory.
    Resident,
    /// Nothing, ever.
    Address,
    /// Page faults without reading.
    MinorFaults,
    /// Page faults with.
    MajorFaults,
    /// As nice(1).
    Nice,
    /// More is better.
    Priority,
    /// As the kernel counts it: less is better.
    KernelPriority,
    /// As Unix always counted it: 80 is usual.
    OldPriority,
    /// Among those that must be in time.
    RealTimePriority,
    /// How it is scheduled.
    Class,
    /// Which processor it was on last.
    LastProcessor,
    /// What it waits for in the kernel.
    Waits,
    /// Threads.
    Threads,
    /// Signals that wait.
    Pending,
    /// Those that it does not want now.
    Blocked,
    /// Or ever.
    Ignored,
    /// Or takes itself.
    Caught,
}

/// What a field is of, where processes are shown with their threads below them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Process,
    Thread,
    Both,
}

impl Field {
    /// What it is of.
    pub(super) fn extent(self) -> Extent {
        match self {
            Self::Tid
            | Self::State
            | Self::States
            | Self::Nice
            | Self::Priority
            | Self::KernelPriority
            | Self::OldPriority
            | Self::RealTimePriority
            | Self::Class
            | Self::LastProcessor
            | Self::Waits
            | Self::Blocked
            | Self::Ignored
            | Self::Caught => Thread,
            Self::UserId
            | Self::User
            | Self::RealUserId
            | Self::RealUser
            | Self::GroupId
            | Self::GroupName
            | Self::RealGroupId
            | Self::Flags
            | Self::Time
            | Self::ShortTime
            | Self::Seconds
            | Self::Elapsed
            | Self::ElapsedSeconds
            | Self::Start
            | Self::StartDay
            | Self::LongStart
            | Self::Load
            | Self::Processor
            | Self::MinorFaults
            | Self::MajorFaults
            | Self::Pending => Both,
            Self::Pid
            | Self::ParentPid
            | Self::Group
            | Self::Session
            | Self::Foreground
            | Self::Name
            | Self::ShortName
            | Self::Command
            | Self::Terminal
            | Self::Memory
            | Self::Size
            | Self::Pages
            | Self::Text
            | Self::Data
            | Self::Resident
            | Self::Address
            | Self::Threads => Process,
        }
    }

    /// By a name for `-o`, with the usual header.
    pub(super) fn named(name: &str) -> Option<(Self, &'static str)> {
        NAMES.iter().find(|(known, ..)| *known == name).map(|(_, header, field)| (*field, *header))
    }
}

const NAMES: &[(&str, &str, Field)] = &[
    ("pid", "PID", Field::Pid),
    ("tgid", "TGID", Field::Pid),
    ("ppid", "PPID", Field::ParentPid),
    ("lwp", "LWP", Field::Tid),
    ("tid", "TID", Field::Tid),
    ("spid", "SPID", Field::Tid),
    ("pgid", "PGID", Field::Group),
    ("pgrp", "PGRP", Field::Group),
    ("sid", "SID", Field::Session),
    ("sess", "SESS", Field::Session),
    ("session", "SESS", Field::Session),
    ("tpgid", "TPGID", Field::Foreground),
    ("uid", "UID", Field::UserId),
    ("euid", "EUID", Field::UserId),
    ("user", "USER", Field::User),
    ("euser", "EUSER", Field::User),
    ("uname", "USER", Field::User),
    ("ruid", "RUID", Field::RealUserId),
    ("ruser", "RUSER", Field::RealUser),
    ("gid", "GID", Field::GroupId),
    ("egid", "EGID", Field::GroupId),
    ("group", "GROUP", Field::GroupName),
    ("egroup", "EGROUP", Field::GroupName),
    ("rgid", "RGID", Field::RealGroupId),
    ("comm", "COMMAND", Field::Name),
    ("ucmd", "CMD", Field::Name),
    ("ucomm", "COMMAND", Field::Name),
    ("fname", "COMMAND", Field::ShortName),
    ("args", "COMMAND", Field::Command),
    ("command", "COMMAND", Field::Command),
    ("cmd", "CMD", Field::Command),
    ("f", "F", Field::Flags),
    ("flag", "F", Field::Flags),
    ("flags", "F", Field::Flags),
    ("s", "S", Field::State),
    ("state", "S", Field::State),
    ("stat", "STAT", Field::States),
    ("tty", "TT", Field::Terminal),
    ("tt", "TT", Field::Terminal),
    ("tname", "TTY", Field::Terminal),
    ("time", "TIME", Field::Time),
    ("cputime", "TIME", Field::Time),
    ("bsdtime", "TIME", Field::ShortTime),
    ("times", "TIME", Field::Seconds),
    ("cputimes", "TIME", Field::Seconds),
    ("etime", "ELAPSED", Field::Elapsed),
    ("etimes", "ELAPSED", Field::ElapsedSeconds),
    ("stime", "STIME", Field::Start),
    ("start_time", "START", Field::Start),
    ("bsdstart", "START", Field::Start),
    ("start", "STARTED", Field::StartDay),
    ("lstart", "STARTED", Field::LongStart),
    ("c", "C", Field::Load),
    ("pcpu", "%CPU", Field::Processor),
    ("%cpu", "%CPU", Field::Processor),
    ("pmem", "%MEM", Field::Memory),
    ("%mem", "%MEM", Field::Memory),
    ("vsz", "VSZ", Field::Size),
    ("vsize", "VSZ", Field::Size),
    ("sz", "SZ", Field::Pages),
    ("trs", "TRS", Field::Text),
    ("drs", "DRS", Field::Data),
    ("rss", "RSS", Field::Resident),
    ("rssize", "RSS", Field::Resident),
    ("rsz", "RSZ", Field::Resident),
    ("addr", "ADDR", Field::Address),
    ("min_flt", "MINFL", Field::MinorFaults),
    ("minflt", "MINFLT", Field::MinorFaults),
    ("maj_flt", "MAJFL", Field::MajorFaults),
    ("majflt", "MAJFLT", Field::MajorFaults),
    ("ni", "NI", Field::Nice),
    ("nice", "NI", Field::Nice),
    ("pri", "PRI", Field::Priority),
    ("priority", "PRI", Field::KernelPriority),
    ("opri", "PRI", Field::OldPriority),
    ("intpri", "PRI", Field::OldPriority),
    ("rtprio", "RTPRIO", Field::RealTimePriority),
    ("cls", "CLS", Field::Class),
    ("class", "CLS", Field::Class),
    ("policy", "POL", Field::Class),
    ("psr", "PSR", Field::LastProcessor),
    ("wchan", "WCHAN", Field::Waits),
    ("wname", "WCHAN", Field::Waits),
    ("nlwp", "NLWP", Field::Threads),
    ("thcount", "THCNT", Field::Threads),
    ("pending", "PENDING", Field::Pending),
    ("sig", "PENDING", Field::Pending),
    ("blocked", "BLOCKED", Field::Blocked),
    ("sigmask", "BLOCKED", Field::Blocked),
    ("ignored", "IGNORED", Field::Ignored),
    ("sigignore", "IGNORED", Field::Ignored),
    ("caught", "CAUGHT", Field::Caught),
    ("sigcatch", "CAUGHT", Field::Caught),
];
