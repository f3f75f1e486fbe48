//! `top`: a container's processes in the columns of ps(1). A machine has no `ps`, so `/proc` is read here; numbers are
//! the machine's, as Docker's are the host's.

mod columns;
mod process;

use std::fs;
use std::io;
use std::path::Path;

use chrono::{DateTime, Datelike, Utc};

use super::{Container, Engine, EngineError};
use crate::container::cgroup;
use columns::{Column, Field};
use process::Process;

/// Levels of cgroups below a container's that are looked into.
const DEEPEST: u32 = 16;

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
        let columns = columns::columns(words).map_err(|error| EngineError::Invalid(error.to_string()))?;
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
        let read = tokio::task::spawn_blocking(move || read(&folder, &columns)).await;
        let read = read.unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
        let top = read.map_err(EngineError::system("list the container's processes"))?;
        self.tell_container(&definition, "top", []);
        Ok(top)
    }
}

fn read(folder: &Path, columns: &[Column]) -> io::Result<Top> {
    let clock = Clock::read()?;
    let mut pids = Vec::new();
    collect(folder, DEEPEST, &mut pids)?;
    pids.sort_unstable();
    // One that is gone by now is none of the container's processes any more.
    let processes = pids.into_iter().filter_map(|pid| Process::look(pid).ok());
    Ok(Top {
        titles: columns.iter().map(|column| column.header.clone()).collect(),
        processes: processes
            .map(|process| columns.iter().map(|column| clock.show(&process, column.field)).collect())
            .collect(),
    })
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

    fn show(&self, process: &Process, field: Field) -> String {
        let elapsed = self.uptime.saturating_sub(process.start) / self.ticks;
        let used = process.used / self.ticks;
        let resident = process.resident * self.page / 1024;
        match field {
            Field::Pid => process.pid.to_string(),
            Field::ParentPid => process.parent.to_string(),
            Field::Group => process.group.to_string(),
            Field::Session => process.session.to_string(),
            Field::UserId => process.uid.to_string(),
            // The machine knows no other by name.
            Field::User if process.uid == 0 => "root".to_owned(),
            Field::User => process.uid.to_string(),
            Field::GroupId => process.gid.to_string(),
            Field::Name => process.name.clone(),
            Field::Command => process.command.clone(),
            Field::State => process.state.to_string(),
            Field::States => process.states(),
            Field::Terminal => process.terminal_name(),
            Field::Time => long_time(used),
            Field::ShortTime => format!("{}:{:02}", used / 60, used % 60),
            Field::Elapsed => elapsed_time(elapsed),
            Field::ElapsedSeconds => elapsed.to_string(),
            Field::Start => self.start(elapsed),
            Field::LongStart => self.started(elapsed).format("%a %b %e %H:%M:%S %Y").to_string(),
            Field::Load => (tenths(used, elapsed) / 10).min(99).to_string(),
            Field::Processor => with_tenth(tenths(used, elapsed)),
            Field::Memory => with_tenth(tenths(resident, self.memory)),
            Field::Size => (process.size / 1024).to_string(),
            Field::Resident => resident.to_string(),
            Field::Nice => process.nice.to_string(),
            Field::Threads => process.threads.to_string(),
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
