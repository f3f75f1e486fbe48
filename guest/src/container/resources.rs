//! Limits for a container's cgroup. What this host cannot do is left out with Docker's warning; what makes no sense
//! is refused with Docker's words (moby, `daemon/daemon_unix.go`, `verifyPlatformContainerResources`).

use holm_api::models::HostConfig;
use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxPids, LinuxPidsBuilder, LinuxResources};

use super::SpecError;
use super::abilities::HostAbilities;
use super::disk_limits::disk_limits;

/// Docker lets no container have less memory.
const LEAST_MEMORY: i64 = 6 << 20;
/// Microseconds in which a part of a processor is counted out.
const PERIOD: u64 = 100_000;

/// Whose limits are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A container's: all that is not said is not limited.
    Container,
    /// A change's: what is not said stays as it is.
    Change,
}

/// The limits, without device rules.
pub fn resources(
    host: &HostConfig,
    subject: Subject,
    abilities: &HostAbilities,
    warnings: &mut Vec<String>,
) -> Result<LinuxResources, SpecError> {
    refuse_unsupported(host)?;
    let mut resources = LinuxResources::default();
    resources
        .set_memory(memory(host, subject, abilities, warnings)?)
        .set_pids(pids(host, abilities, warnings))
        .set_cpu(cpu(host, abilities, warnings)?)
        .set_block_io(disk_limits(host, abilities, warnings)?);
    Ok(resources)
}

fn memory(
    host: &HostConfig,
    subject: Subject,
    abilities: &HostAbilities,
    warnings: &mut Vec<String>,
) -> Result<Option<LinuxMemory>, SpecError> {
    let mut limit = host.memory.unwrap_or(0);
    let mut reservation = host.memory_reservation.unwrap_or(0);
    let mut swap = host.memory_swap.unwrap_or(0);
    if limit > 0 && swap == 0 {
        swap = limit.saturating_mul(2);
    }
    if limit != 0 && limit < LEAST_MEMORY {
        return invalid("Minimum memory limit allowed is 6MB");
    }
    if limit > 0 && !abilities.has("memory") {
        warn(
            warnings,
            "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
        );
        (limit, swap) = (0, -1);
    }
    if limit > 0 && swap != -1 && !abilities.swap {
        warn(
            warnings,
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.",
        );
        swap = -1;
    }
    if limit > 0 && swap > 0 && swap < limit {
        return invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if limit == 0 && swap > 0 && subject == Subject::Container {
        return invalid("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if host.memory_swappiness.is_some_and(|value| value != -1) {
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
    }
    if reservation > 0 && reservation < LEAST_MEMORY {
        return invalid("Minimum memory reservation allowed is 6MB");
    }
    if limit > 0 && reservation > limit {
        return invalid("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if host.oom_kill_disable == Some(true) {
        warn(warnings, "Your kernel does not support OomKillDisable. OomKillDisable discarded.");
    }
    if limit == 0 && reservation == 0 {
        return Ok(None);
    }
    let mut memory = LinuxMemory::default();
    memory
        .set_limit((limit > 0).then_some(limit))
        .set_reservation((reservation > 0).then_some(reservation))
        .set_swap((limit > 0 && abilities.swap).then_some(swap));
    Ok(Some(memory))
}

fn pids(host: &HostConfig, abilities: &HostAbilities, warnings: &mut Vec<String>) -> Option<LinuxPids> {
    let limit = host.pids_limit?;
    if !abilities.has("pids") {
        if limit > 0 {
            warn(
                warnings,
                "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
            );
        }
        return None;
    }
    let limit = if limit <= 0 { -1 } else { limit };
    Some(LinuxPidsBuilder::default().limit(limit).build().expect("the limit is set"))
}

fn cpu(
    host: &HostConfig,
    abilities: &HostAbilities,
    warnings: &mut Vec<String>,
) -> Result<Option<LinuxCpu>, SpecError> {
    let nanos = host.nano_cpus.unwrap_or(0);
    let mut shares = host.cpu_shares.unwrap_or(0);
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
    if shares < 0 {
        return Err(SpecError::Invalid(format!(
            "invalid CPU shares ({shares}): value must be a positive integer"
        )));
    }
    if shares > 0 && !abilities.has("cpu") {
        warn(
            warnings,
            "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.",
        );
        shares = 0;
    }
    if (period != 0 || quota != 0) && !abilities.has("cpu") {
        warn(warnings, "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.");
        (period, quota) = (0, 0);
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
    }
    let mut cpu = LinuxCpu::default();
    cpu.set_shares((shares != 0).then_some(shares.cast_unsigned()))
        .set_period((period != 0).then_some(period.cast_unsigned()))
        .set_quota((quota != 0).then_some(quota));
    if nanos > 0 {
        let quota = nanos.saturating_mul(PERIOD.cast_signed()) / 1_000_000_000;
        cpu.set_period(Some(PERIOD)).set_quota(Some(quota));
    }
    let (cpus, mems) = cpuset(host, abilities, warnings)?;
    cpu.set_cpus(cpus).set_mems(mems);
    Ok((cpu != LinuxCpu::default()).then_some(cpu))
}

type Sets = (Option<String>, Option<String>);

fn cpuset(
    host: &HostConfig,
    abilities: &HostAbilities,
    warnings: &mut Vec<String>,
) -> Result<Sets, SpecError> {
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (cpus, mems) = (set(&host.cpuset_cpus), set(&host.cpuset_mems));
    if (cpus.is_some() || mems.is_some()) && !abilities.has("cpuset") {
        warn(warnings, "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.");
        return Ok((None, None));
    }
    for (text, name) in [(&cpus, "cpus"), (&mems, "mems")] {
        let Some(text) = text else { continue };
        let Some(highest) = highest_of(text) else {
            let words = format!("Invalid value {text} for cpuset {name}: invalid format: {text}");
            return Err(SpecError::Invalid(words));
        };
        let (what, last) = match name {
            "cpus" => ("CPUs", abilities.cpus - 1),
            _ => ("memory nodes", abilities.last_memory_node),
        };
        if highest > last {
            let available = if last == 0 { "0".to_owned() } else { format!("0-{last}") };
            return Err(SpecError::Invalid(format!(
                "Requested {what} are not available - requested {text}, available: {available}"
            )));
        }
    }
    Ok((cpus, mems))
}

/// The highest number of a list like `0-2,5`; `None` for what is no list.
fn highest_of(list: &str) -> Option<usize> {
    let mut highest = 0;
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last {
            return None;
        }
        highest = highest.max(last);
    }
    Some(highest)
}

fn refuse_unsupported(host: &HostConfig) -> Result<(), SpecError> {
    let refused = [
        (host.cpu_realtime_period.unwrap_or(0) != 0, "--cpu-rt-period"),
        (host.cpu_realtime_runtime.unwrap_or(0) != 0, "--cpu-rt-runtime"),
    ];
    match refused.into_iter().find(|(asked, _)| *asked) {
        Some((_, flag)) => Err(SpecError::Unsupported(flag)),
        None => Ok(()),
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

    fn limits(host: HostConfig, abilities: &HostAbilities) -> (LinuxResources, Vec<String>) {
        let mut warnings = Vec::new();
        (resources(&host, Subject::Container, abilities, &mut warnings).unwrap(), warnings)
    }

    fn refused(host: HostConfig) -> String {
        resources(&host, Subject::Container, &HostAbilities::unlimited(), &mut Vec::new())
            .unwrap_err()
            .to_string()
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
        assert!(refused(host).contains("--cpu-rt-period"));
    }

    #[test]
    fn a_change_may_be_of_swap_alone() {
        let host = HostConfig { memory_swap: Some(1 << 30), ..Default::default() };
        resources(&host, Subject::Change, &HostAbilities::unlimited(), &mut Vec::new()).unwrap();
    }

    #[test]
    fn pids_without_a_limit_are_unlimited() {
        let host = HostConfig { pids_limit: Some(0), ..Default::default() };
        assert_eq!(limits(host, &HostAbilities::unlimited()).0.pids().unwrap().limit(), -1);
    }
}
