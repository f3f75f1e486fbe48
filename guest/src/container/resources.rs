//! Limits for a container's cgroup. What this host cannot do is discarded with Docker's warning, and shown nowhere from
//! then on; what makes no sense is refused with Docker's words (moby, `daemon/daemon_unix.go`,
//! `verifyPlatformContainerResources`).

use std::ops::RangeInclusive;

use holm_api::models::HostConfig;
use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxPids, LinuxPidsBuilder, LinuxResources};

use super::SpecError;
use super::abilities::HostAbilities;
use super::disk_limits::{disk_limits, settle_disk};

/// Docker lets no container have less memory.
const LEAST_MEMORY: i64 = 6 << 20;
/// Microseconds in which a part of a processor is counted out.
const PERIOD: u64 = 100_000;
/// No list of processors or memory nodes goes further.
const MOST_PROCESSORS: usize = 8192;

/// Whose limits are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A container's: all that is not said is not limited.
    Container,
    /// A change's: what is not said stays as it is.
    Change,
}

/// Discards the limits that this host does not have, with Docker's warnings.
pub fn settle(
    host: &mut HostConfig,
    subject: Subject,
    abilities: &HostAbilities,
    warnings: &mut Vec<String>,
) -> Result<(), SpecError> {
    refuse_impossible(host)?;
    settle_memory(host, subject, abilities, warnings)?;
    settle_pids(host, abilities, warnings);
    settle_cpu(host, abilities, warnings)?;
    settle_cpuset(host, abilities, warnings)?;
    settle_disk(host, abilities, warnings)
}

/// The limits, without device rules; of what this host has.
pub fn resources(
    host: &HostConfig,
    subject: Subject,
    abilities: &HostAbilities,
) -> Result<LinuxResources, SpecError> {
    let mut host = host.clone();
    // Warned of when the container was created.
    settle(&mut host, subject, abilities, &mut Vec::new())?;
    let mut resources = LinuxResources::default();
    resources
        .set_memory(memory(&host, abilities))
        .set_pids(pids(&host))
        .set_cpu(cpu(&host))
        .set_block_io(disk_limits(&host)?);
    Ok(resources)
}

fn settle_memory(
    host: &mut HostConfig,
    subject: Subject,
    abilities: &HostAbilities,
    warnings: &mut Vec<String>,
) -> Result<(), SpecError> {
    let mut limit = host.memory.unwrap_or(0);
    let mut reservation = host.memory_reservation.unwrap_or(0);
    let mut swap = host.memory_swap.unwrap_or(0);
    if limit != 0 && limit < LEAST_MEMORY {
        return invalid("Minimum memory limit allowed is 6MB");
    }
    if limit > 0 && !abilities.has("memory") {
        warn(
            warnings,
            "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
        );
        (limit, swap) = (0, -1);
        (host.memory, host.memory_swap) = (Some(limit), Some(swap));
    }
    if limit > 0 && swap != -1 && !abilities.swap {
        warn(
            warnings,
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.",
        );
        swap = -1;
        host.memory_swap = Some(swap);
    }
    if limit > 0 && swap > 0 && swap < limit {
        return invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if limit == 0 && swap > 0 && subject == Subject::Container {
        return invalid("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    // No cgroup of version 2 has it.
    if host.memory_swappiness.take().is_some_and(|value| value != -1) {
        warn(
            warnings,
            "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.",
        );
    }
    if reservation > 0 && !abilities.has("memory") {
        warn(
            warnings,
            "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.",
        );
        reservation = 0;
        host.memory_reservation = Some(reservation);
    }
    if reservation > 0 && reservation < LEAST_MEMORY {
        return invalid("Minimum memory reservation allowed is 6MB");
    }
    if limit > 0 && reservation > limit {
        return invalid("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    // Likewise.
    if host.oom_kill_disable.take() == Some(true) {
        warn(warnings, "Your kernel does not support OomKillDisable. OomKillDisable discarded.");
    }
    Ok(())
}

fn memory(host: &HostConfig, abilities: &HostAbilities) -> Option<LinuxMemory> {
    let (limit, reservation) = (host.memory.unwrap_or(0), host.memory_reservation.unwrap_or(0));
    if limit == 0 && reservation == 0 {
        return None;
    }
    let swap = host.memory_swap.filter(|swap| *swap != 0).unwrap_or(limit.saturating_mul(2));
    let mut memory = LinuxMemory::default();
    memory
        .set_limit((limit > 0).then_some(limit))
        .set_reservation((reservation > 0).then_some(reservation))
        .set_swap((limit > 0 && abilities.swap).then_some(swap));
    Some(memory)
}

fn settle_pids(host: &mut HostConfig, abilities: &HostAbilities, warnings: &mut Vec<String>) {
    if !abilities.has("pids") && host.pids_limit.take().is_some_and(|limit| limit > 0) {
        warn(
            warnings,
            "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
        );
    }
}

fn pids(host: &HostConfig) -> Option<LinuxPids> {
    let limit = host.pids_limit?;
    let limit = if limit <= 0 { -1 } else { limit };
    Some(LinuxPidsBuilder::default().limit(limit).build().expect("the limit is set"))
}

fn settle_cpu(
    host: &mut HostConfig,
    abilities: &HostAbilities,
    warnings: &mut Vec<String>,
) -> Result<(), SpecError> {
    let nanos = host.nano_cpus.unwrap_or(0);
    let shares = host.cpu_shares.unwrap_or(0);
    let mut period = host.cpu_period.unwrap_or(0);
    let mut quota = host.cpu_quota.unwrap_or(0);
    if nanos > 0 && period > 0 {
        return invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if nanos > 0 && quota > 0 {
        return invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    if nanos > 0 && !abilities.has("cpu") {
        return invalid(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted",
        );
    }
    let cpus = abilities.cpus;
    if nanos < 0 || nanos > i64::try_from(cpus).unwrap_or(i64::MAX).saturating_mul(1_000_000_000) {
        return Err(SpecError::Invalid(format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        )));
    }
    if shares < 0 && abilities.has("cpu") {
        return Err(SpecError::Invalid(format!(
            "invalid CPU shares ({shares}): value must be a positive integer"
        )));
    }
    if shares > 0 && !abilities.has("cpu") {
        warn(
            warnings,
            "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.",
        );
        host.cpu_shares = Some(0);
    }
    if (period != 0 || quota != 0) && !abilities.has("cpu") {
        warn(warnings, "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.");
        (period, quota) = (0, 0);
        (host.cpu_period, host.cpu_quota) = (Some(period), Some(quota));
    }
    if period != 0 && !(1_000..=1_000_000).contains(&period) {
        return invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if quota > 0 && quota < 1_000 {
        return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if host.cpu_percent.unwrap_or(0) > 0 {
        warn(warnings, "linux does not support CPU percent. Percent discarded.");
        host.cpu_percent = Some(0);
    }
    Ok(())
}

fn cpu(host: &HostConfig) -> Option<LinuxCpu> {
    let nanos = host.nano_cpus.unwrap_or(0);
    let shares = host.cpu_shares.filter(|shares| *shares > 0);
    let period = host.cpu_period.unwrap_or(0);
    let quota = host.cpu_quota.unwrap_or(0);
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(shares.map(i64::cast_unsigned))
        .set_period((period != 0).then_some(period.cast_unsigned()))
        .set_quota((quota != 0).then_some(quota))
        .set_cpus(set(&host.cpuset_cpus))
        .set_mems(set(&host.cpuset_mems));
    if nanos > 0 {
        let quota = nanos.saturating_mul(PERIOD.cast_signed()) / 1_000_000_000;
        cpu.set_period(Some(PERIOD)).set_quota(Some(quota));
    }
    (cpu != LinuxCpu::default()).then_some(cpu)
}

fn settle_cpuset(
    host: &mut HostConfig,
    abilities: &HostAbilities,
    warnings: &mut Vec<String>,
) -> Result<(), SpecError> {
    let is_set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if (is_set(&host.cpuset_cpus) || is_set(&host.cpuset_mems)) && !abilities.has("cpuset") {
        warn(warnings, "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.");
        (host.cpuset_cpus, host.cpuset_mems) = (None, None);
    }
    for (text, name, what, available) in [
        (&host.cpuset_cpus, "cpus", "CPUs", &abilities.processors),
        (&host.cpuset_mems, "mems", "memory nodes", &abilities.memory_nodes),
    ] {
        let Some(text) = text.as_ref().filter(|text| !text.is_empty()) else { continue };
        let wanted = ranges(text)
            .map_err(|why| SpecError::Invalid(format!("Invalid value {text} for cpuset {name}: {why}")))?;
        // One that the kernel does not tell has nothing to be compared with.
        let offered = ranges(available).unwrap_or_default();
        if !wanted.iter().all(|range| contains(&offered, range)) {
            return Err(SpecError::Invalid(format!(
                "Requested {what} are not available - requested {text}, available: {available}"
            )));
        }
    }
    Ok(())
}

/// The parts of a list like `0-2,5`, or why it is none, in moby's words.
fn ranges(list: &str) -> Result<Vec<RangeInclusive<usize>>, String> {
    let mut ranges = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<usize>().map_err(|_| format!("invalid format: {list}"));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("invalid format: {list}"));
        }
        if last > MOST_PROCESSORS {
            return Err(format!("value of out range, maximum is {MOST_PROCESSORS}"));
        }
        ranges.push(first..=last);
    }
    Ok(ranges)
}

/// Whether every number of `range` is in one of `offered`.
fn contains(offered: &[RangeInclusive<usize>], range: &RangeInclusive<usize>) -> bool {
    range.clone().all(|number| offered.iter().any(|offered| offered.contains(&number)))
}

/// No cgroup of version 2 knows real time (moby, `runconfig`, `validateResources`).
fn refuse_impossible(host: &HostConfig) -> Result<(), SpecError> {
    match host.cpu_realtime_period.unwrap_or(0) != 0 || host.cpu_realtime_runtime.unwrap_or(0) != 0 {
        true => invalid("kernel does not support CPU real-time scheduler"),
        false => Ok(()),
    }
}

fn warn(warnings: &mut Vec<String>, text: &str) {
    warnings.push(text.to_owned());
}

fn invalid<T>(text: &str) -> Result<T, SpecError> {
    Err(SpecError::Invalid(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare() -> HostAbilities {
        HostAbilities { controllers: Default::default(), ..HostAbilities::unlimited() }
    }

    fn limits(mut host: HostConfig, abilities: &HostAbilities) -> (LinuxResources, Vec<String>) {
        let mut warnings = Vec::new();
        let limits = resources(&host, Subject::Container, abilities).unwrap();
        settle(&mut host, Subject::Container, abilities, &mut warnings).unwrap();
        // What is settled stays so.
        assert_eq!(resources(&host, Subject::Container, abilities).unwrap(), limits);
        (limits, warnings)
    }

    fn refused(host: HostConfig) -> String {
        resources(&host, Subject::Container, &HostAbilities::unlimited()).unwrap_err().to_string()
    }

    #[test]
    fn nothing_asked_is_nothing_set() {
        assert_eq!(limits(HostConfig::default(), &bare()), (LinuxResources::default(), Vec::new()));
    }

    #[test]
    fn memory_brings_twice_as_much_with_swap() {
        let host = HostConfig { memory: Some(64 << 20), ..Default::default() };
        let (resources, warnings) = limits(host, &HostAbilities::unlimited());
        let memory = resources.memory().unwrap();
        assert_eq!((memory.limit(), memory.swap(), warnings.len()), (Some(64 << 20), Some(128 << 20), 0));
    }

    #[test]
    fn processors_are_counted_out_in_tenths_of_a_second() {
        let host = HostConfig { nano_cpus: Some(1_500_000_000), ..Default::default() };
        let (resources, _) = limits(host, &HostAbilities::unlimited());
        let cpu = resources.cpu().as_ref().unwrap();
        assert_eq!((cpu.quota(), cpu.period()), (Some(150_000), Some(100_000)));
    }

    #[test]
    fn what_the_host_lacks_is_discarded_with_dockers_warning() {
        let host = HostConfig {
            memory: Some(64 << 20),
            memory_reservation: Some(32 << 20),
            pids_limit: Some(10),
            cpu_shares: Some(512),
            cpuset_cpus: Some("0".into()),
            ..Default::default()
        };
        let (resources, warnings) = limits(host, &bare());
        assert_eq!(resources, LinuxResources::default());
        assert_eq!(warnings.len(), 5, "{warnings:#?}");
        assert_eq!(
            warnings[0],
            "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded."
        );
    }

    #[test]
    fn what_is_discarded_is_shown_no_more() {
        let mut host = HostConfig {
            memory: Some(64 << 20),
            memory_reservation: Some(32 << 20),
            pids_limit: Some(10),
            cpu_shares: Some(512),
            cpuset_cpus: Some("0".into()),
            oom_kill_disable: Some(false),
            memory_swappiness: Some(-1),
            blkio_weight: Some(500),
            ..Default::default()
        };
        let lacking = HostAbilities { disk_weight: false, ..bare() };
        settle(&mut host, Subject::Container, &lacking, &mut Vec::new()).unwrap();
        let left = HostConfig {
            memory: Some(0),
            memory_swap: Some(-1),
            memory_reservation: Some(0),
            cpu_shares: Some(0),
            blkio_weight: Some(0),
            ..Default::default()
        };
        assert_eq!(host, left);
    }

    #[test]
    fn processors_may_be_missing_between_others() {
        let offered = ranges("0-3,6").unwrap();
        let has = |list: &str| ranges(list).unwrap().iter().all(|range| contains(&offered, range));
        assert!(has("0,2-3,6"));
        assert!(!has("3-6") && !has("7"));
        assert_eq!(ranges("1-9999"), Err("value of out range, maximum is 8192".to_owned()));
        for wrong in ["", "x", "3-1", "1-", "0,,1"] {
            assert_eq!(ranges(wrong), Err(format!("invalid format: {wrong}")));
        }
    }

    #[test]
    fn nonsense_is_refused_in_dockers_words() {
        let cases = [
            (HostConfig { memory: Some(1), ..Default::default() }, "Minimum memory limit allowed is 6MB"),
            (
                HostConfig { memory_swap: Some(1 << 30), ..Default::default() },
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ),
            (
                HostConfig { nano_cpus: Some(5_000_000_000), ..Default::default() },
                "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available",
            ),
            (
                HostConfig { cpuset_cpus: Some("2-9".into()), ..Default::default() },
                "Requested CPUs are not available - requested 2-9, available: 0-3",
            ),
            (
                HostConfig { cpuset_cpus: Some("x".into()), ..Default::default() },
                "Invalid value x for cpuset cpus: invalid format: x",
            ),
        ];
        for (host, message) in cases {
            assert_eq!(refused(host), message);
        }
        let host = HostConfig { cpu_realtime_period: Some(100), ..Default::default() };
        assert_eq!(refused(host), "kernel does not support CPU real-time scheduler");
    }

    #[test]
    fn a_change_may_be_of_swap_alone() {
        let host = HostConfig { memory_swap: Some(1 << 30), ..Default::default() };
        resources(&host, Subject::Change, &HostAbilities::unlimited()).unwrap();
    }

    #[test]
    fn pids_without_a_limit_are_unlimited() {
        let host = HostConfig { pids_limit: Some(0), ..Default::default() };
        assert_eq!(limits(host, &HostAbilities::unlimited()).0.pids().unwrap().limit(), -1);
    }
}
