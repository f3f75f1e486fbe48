//! `top`: a container's processes in the columns of ps(1). A machine has no `ps`, so `/proc` is read here; numbers are
//! the machine's, as Docker's are the host's.

mod columns;
mod field;
mod process;

use std::fs;
use std::io;
use std::path::Path;

use chrono::{DateTime, Datelike, Utc};

use super::{Container, Engine, EngineError};
use crate::container::cgroup;
use columns::{Column, Lines, View};
use field::{Extent, Field};
use process::Process;

/// Levels of cgroups below a container's that are looked into.
const DEEPEST: u32 = 16;
/// Letters of a program's short name.
const SHORT_NAME: usize = 8;
/// Where the three bits of the kernel's flags begin that are shown (`PF_FORKNOEXEC`, `PF_SUPERPRIV`).
const FLAGS: u32 = 6;
/// Policies of sched(7).
const FIFO: u64 = 1;
const ROUND_ROBIN: u64 = 2;
/// In seconds.
const DAY: u64 = 86_400;

/// What `top` shows.
#[derive(Debug)]
pub(crate) struct Top {
    /// One for each column.
    pub(crate) titles: Vec<String>,
    /// As many words as there are titles.
    pub(crate) processes: Vec<Vec<String>>,
}

impl Engine {
    /// The processes of a running container, in the columns that the words of `ps` ask for.
    pub(crate) async fn top(&self, container: &Container, words: &str) -> Result<Top, EngineError> {
        let view = columns::view(words).map_err(|error| EngineError::Invalid(error.to_string()))?;
        let life = container.status().life;
        if life.state == super::State::Restarting {
            let id = container.id();
            return Err(EngineError::Conflict(format!(
                "Container {id} is restarting, wait until the container is running"
            )));
        }
        if life.pid().is_none() {
            return Err(EngineError::NotRunning(container.id().to_string()));
        }
        let definition = container.definition();
        let folder = cgroup::folder(&definition.host, &definition.id);
        let read = tokio::task::spawn_blocking(move || read(&folder, &view)).await;
        let read = read.unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
        let top = read.map_err(EngineError::system("list the container's processes"))?;
        self.tell_container(&definition, "top", []);
        Ok(top)
    }
}

fn read(folder: &Path, view: &View) -> io::Result<Top> {
    let clock = Clock::read()?;
    let mut pids = Vec::new();
    collect(folder, DEEPEST, &mut pids)?;
    pids.sort_unstable();
    let mut lines = Vec::new();
    for pid in pids {
        // One that is gone by now is none of the container's processes any more.
        let Ok(process) = Process::look(pid) else { continue };
        let line = |process: &Process, of: Option<Extent>| -> Vec<String> {
            view.columns.iter().map(|column| clock.cell(process, column, of)).collect()
        };
        match view.lines {
            Lines::Processes => lines.push(line(&process, None)),
            Lines::Threads => lines.extend(process.threads().iter().flatten().map(|of| line(of, None))),
            Lines::Both => {
                lines.push(line(&process, Some(Extent::Process)));
                let threads = process.threads();
                lines.extend(threads.iter().flatten().map(|of| line(of, Some(Extent::Thread))));
            }
        }
    }
    let titles = view.columns.iter().map(|column| column.header.clone()).collect();
    Ok(Top { titles, processes: lines })
}

fn collect(folder: &Path, levels: u32, pids: &mut Vec<i32>) -> io::Result<()> {
    let procs = fs::read_to_string(folder.join("cgroup.procs"))?;
    pids.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    if levels == 0 {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            match collect(&entry.path(), levels - 1, pids) {
                // The container removed it just now.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// What times and shares are measured by.
#[derive(Debug)]
struct Clock {
    now: DateTime<Utc>,
    /// Since the machine's start, in ticks.
    uptime: u64,
    ticks: u64,
    page: u64,
    /// KiB of memory.
    memory: u64,
}

impl Clock {
    fn read() -> io::Result<Self> {
        let ticks = rustix::param::clock_ticks_per_second();
        let uptime = fs::read_to_string("/proc/uptime")?;
        let seconds: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo")?;
        let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kibibytes = total.and_then(|text| text.split_ascii_whitespace().next()?.parse().ok());
        Ok(Self {
            now: Utc::now(),
            // A machine's uptime has far fewer bits than either type.
            uptime: (seconds * ticks as f64) as u64,
            ticks,
            page: rustix::param::page_size() as u64,
            memory: kibibytes.unwrap_or(0),
        })
    }

    /// What stands in a column; `of` is what the line is of, where it is not of both.
    fn cell(&self, process: &Process, column: &Column, of: Option<Extent>) -> String {
        let extent = column.field.extent();
        if of.is_some_and(|of| extent != Extent::Both && extent != of) {
            return "-".to_owned();
        }
        let whole = match (column.field, of) {
            (Field::Pending, Some(Extent::Process)) => process.status.pending[0].clone(),
            (Field::Pending, Some(_)) => process.status.pending[1].clone(),
            (field, _) => self.show(process, field),
        };
        match column.width {
            Some(width) if whole.chars().count() > width => whole.chars().take(width).collect(),
            _ => whole,
        }
    }

    fn show(&self, process: &Process, field: Field) -> String {
        let elapsed = self.uptime.saturating_sub(process.start) / self.ticks;
        let used = process.used / self.ticks;
        let resident = process.resident.saturating_mul(self.page) / 1024;
        let status = &process.status;
        match field {
            Field::Pid => process.pid.to_string(),
            Field::ParentPid => process.parent.to_string(),
            Field::Group => process.group.to_string(),
            Field::Session => process.session.to_string(),
            Field::Tid => process.tid.to_string(),
            Field::Foreground => process.foreground.to_string(),
            Field::RealUserId => status.users[0].to_string(),
            Field::UserId => status.users[1].to_string(),
            Field::RealUser => name_of(status.users[0]),
            Field::User => name_of(status.users[1]),
            Field::RealGroupId => status.groups[0].to_string(),
            Field::GroupId => status.groups[1].to_string(),
            Field::GroupName => name_of(status.groups[1]),
            Field::Name => process.name.clone(),
            Field::ShortName => process.name.chars().take(SHORT_NAME).collect(),
            Field::Flags => format!("{:o}", process.flags >> FLAGS & 7),
            Field::Command => process.command.clone(),
            Field::State => process.state.to_string(),
            Field::States => process.states(),
            Field::Terminal => process.terminal_name(),
            Field::Time => long_time(used),
            Field::ShortTime => format!("{}:{:02}", used / 60, used % 60),
            Field::Seconds => used.to_string(),
            Field::Elapsed => elapsed_time(elapsed),
            Field::ElapsedSeconds => elapsed.to_string(),
            Field::Start => self.start(elapsed),
            Field::StartDay => {
                let form = if elapsed < DAY { "%H:%M:%S" } else { "%b %d" };
                self.started(elapsed).format(form).to_string()
            }
            Field::LongStart => self.started(elapsed).format("%a %b %e %H:%M:%S %Y").to_string(),
            Field::Load => (tenths(used, elapsed) / 10).min(99).to_string(),
            Field::Processor => with_tenth(tenths(used, elapsed)),
            Field::Memory => with_tenth(tenths(resident, self.memory)),
            Field::Size => (process.size / 1024).to_string(),
            Field::Pages => (process.size / self.page).to_string(),
            Field::Text => status.text.to_string(),
            Field::Data => (process.size / 1024).saturating_sub(status.text).to_string(),
            Field::Resident => resident.to_string(),
            Field::Address => "-".to_owned(),
            Field::MinorFaults => process.minor_faults.to_string(),
            Field::MajorFaults => process.major_faults.to_string(),
            // Who must be in time is not nice.
            Field::Nice if matches!(process.policy, FIFO | ROUND_ROBIN) => "-".to_owned(),
            Field::Nice => process.nice.to_string(),
            Field::Priority => 39i64.saturating_sub(process.priority).to_string(),
            Field::KernelPriority => process.priority.to_string(),
            Field::OldPriority => process.priority.saturating_add(60).to_string(),
            Field::RealTimePriority if matches!(process.policy, FIFO | ROUND_ROBIN) => {
                process.real_time.to_string()
            }
            Field::RealTimePriority => "-".to_owned(),
            Field::Class => class(process.policy).to_owned(),
            Field::LastProcessor => process.processor.to_string(),
            Field::Waits => process.waits.clone(),
            Field::Threads => process.threads.to_string(),
            Field::Pending => either(&status.pending[0], &status.pending[1]),
            Field::Blocked => status.blocked.clone(),
            Field::Ignored => status.ignored.clone(),
            Field::Caught => status.caught.clone(),
        }
    }

    fn started(&self, elapsed: u64) -> DateTime<Utc> {
        let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
        chrono::TimeDelta::try_seconds(elapsed)
            .and_then(|elapsed| self.now.checked_sub_signed(elapsed))
            .unwrap_or(self.now)
    }

    fn start(&self, elapsed: u64) -> String {
        let start = self.started(elapsed);
        let form = match (start.year() == self.now.year(), start.ordinal() == self.now.ordinal()) {
            (true, true) => "%H:%M",
            (true, false) => "%b%d",
            (false, _) => "%Y",
        };
        start.format(form).to_string()
    }
}

/// The machine knows no other by name.
fn name_of(id: u32) -> String {
    if id == 0 { "root".to_owned() } else { id.to_string() }
}

/// sched(7)
fn class(policy: u64) -> &'static str {
    match policy {
        0 => "TS",
        FIFO => "FF",
        ROUND_ROBIN => "RR",
        3 => "B",
        4 => "ISO",
        5 => "IDL",
        6 => "DLN",
        _ => "?",
    }
}

/// Signals of two sets.
fn either(one: &str, other: &str) -> String {
    let set = |text| u64::from_str_radix(text, 16).unwrap_or(0);
    format!("{:016x}", set(one) | set(other))
}

/// Tenths of percents.
fn tenths(part: u64, whole: u64) -> u64 {
    part.saturating_mul(1000).checked_div(whole).unwrap_or(0)
}

fn with_tenth(tenths: u64) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// `[dd-]hh:mm:ss`
fn long_time(seconds: u64) -> String {
    let days = match seconds / 86_400 {
        0 => String::new(),
        days => format!("{days}-"),
    };
    format!("{days}{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

/// `[[dd-]hh:]mm:ss`
fn elapsed_time(seconds: u64) -> String {
    match seconds {
        0..3600 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        _ => long_time(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        let now = "2026-03-04T05:06:07Z".parse().unwrap();
        Clock { now, uptime: 1_000_000, ticks: 100, page: 4096, memory: 1_000_000 }
    }

    #[test]
    fn a_process_is_shown_as_ps_does() {
        let process =
            Process { used: 30_000, start: 900_000, resident: 10_000, size: 1 << 20, ..Default::default() };
        let shown = |field| clock().show(&process, field);
        assert_eq!(shown(Field::Time), "00:05:00");
        assert_eq!(shown(Field::ShortTime), "5:00");
        assert_eq!(shown(Field::Elapsed), "16:40");
        assert_eq!(shown(Field::Processor), "30.0");
        assert_eq!(shown(Field::Load), "30");
        assert_eq!((shown(Field::Resident), shown(Field::Size)), ("40000".to_owned(), "1024".to_owned()));
        assert_eq!(shown(Field::Memory), "4.0");
        assert_eq!(shown(Field::User), "root");
        assert_eq!(shown(Field::LongStart), "Wed Mar  4 04:49:27 2026");
        assert_eq!(shown(Field::StartDay), "04:49:27");
        assert_eq!(shown(Field::Pages), "256");
    }

    #[test]
    fn priorities_are_counted_in_three_ways() {
        let process = Process { priority: 20, policy: 0, flags: 0x40_0140, ..Default::default() };
        let shown = |field| clock().show(&process, field);
        assert_eq!(
            [Field::Priority, Field::KernelPriority, Field::OldPriority].map(shown),
            ["19", "20", "80"].map(str::to_owned)
        );
        assert_eq!([Field::Class, Field::Flags, Field::Nice].map(shown), ["TS", "5", "0"].map(str::to_owned));
        let urgent = Process { policy: FIFO, real_time: 7, ..process };
        assert_eq!(clock().show(&urgent, Field::RealTimePriority), "7");
        assert_eq!(clock().show(&urgent, Field::Nice), "-");
    }

    #[test]
    fn a_line_of_a_process_says_nothing_of_its_threads_and_theirs_nothing_of_it() {
        let process = Process { pid: 7, tid: 8, state: 'S', waits: "do_wait".into(), ..Default::default() };
        let cell =
            |field, width, of| clock().cell(&process, &Column { field, header: String::new(), width }, of);
        assert_eq!(cell(Field::Pid, None, Some(Extent::Process)), "7");
        assert_eq!(cell(Field::Pid, None, Some(Extent::Thread)), "-");
        assert_eq!(cell(Field::Tid, None, Some(Extent::Process)), "-");
        assert_eq!(cell(Field::Tid, None, Some(Extent::Thread)), "8");
        assert_eq!(cell(Field::UserId, None, Some(Extent::Thread)), "0");
        assert_eq!(cell(Field::Waits, Some(6), None), "do_wai");
    }

    #[test]
    fn a_start_is_a_time_a_day_or_a_year() {
        let clock = clock();
        assert_eq!(clock.start(60), "05:05");
        assert_eq!(clock.start(86_400), "Mar03");
        assert_eq!(clock.start(100 * 86_400), "2025");
        assert_eq!(clock.start(u64::MAX), "05:06", "no such time");
    }

    #[test]
    fn times_grow_to_the_left() {
        assert_eq!(long_time(90_061), "1-01:01:01");
        assert_eq!(elapsed_time(59), "00:59");
        assert_eq!(elapsed_time(3600), "01:00:00");
    }
}
