//! What `docker update` makes of a container's limits and restart policy (moby, `container.UpdateContainer`).

use holm_api::ContainerRef;
use holm_api::models::{HostConfig, RestartPolicyNameEnum};

use super::{Engine, EngineError, validate};
use crate::container::resources::{Subject, settle};

impl Engine {
    /// `docker update`. Returns Docker's warnings about what this machine cannot limit.
    pub(crate) async fn update(
        &self,
        container: &ContainerRef,
        mut wish: HostConfig,
    ) -> Result<Vec<String>, EngineError> {
        validate::check_restarts(&wish)?;
        let mut warnings = Vec::new();
        settle(&mut wish, Subject::Change, self.abilities(), &mut warnings)?;
        self.find(container)?.update(wish).await?;
        Ok(warnings)
    }
}

/// `current` with what `wish` says laid over it. What makes no sense together is refused in Docker's words.
pub(super) fn updated(current: &HostConfig, wish: &HostConfig) -> Result<HostConfig, EngineError> {
    refuse_conflicts(current, wish)?;
    let mut host = current.clone();
    number(&mut host.blkio_weight, wish.blkio_weight);
    number(&mut host.cpu_shares, wish.cpu_shares);
    number(&mut host.nano_cpus, wish.nano_cpus);
    number(&mut host.cpu_period, wish.cpu_period);
    number(&mut host.cpu_quota, wish.cpu_quota);
    number(&mut host.cpu_realtime_period, wish.cpu_realtime_period);
    number(&mut host.cpu_realtime_runtime, wish.cpu_realtime_runtime);
    number(&mut host.memory, wish.memory);
    number(&mut host.memory_swap, wish.memory_swap);
    number(&mut host.memory_reservation, wish.memory_reservation);
    given(&mut host.pids_limit, &wish.pids_limit);
    given(&mut host.blkio_weight_device, &wish.blkio_weight_device);
    given(&mut host.blkio_device_read_bps, &wish.blkio_device_read_bps);
    given(&mut host.blkio_device_write_bps, &wish.blkio_device_write_bps);
    given(&mut host.blkio_device_read_iops, &wish.blkio_device_read_iops);
    given(&mut host.blkio_device_write_iops, &wish.blkio_device_write_iops);
    for (own, wish) in
        [(&mut host.cpuset_cpus, &wish.cpuset_cpus), (&mut host.cpuset_mems, &wish.cpuset_mems)]
    {
        if wish.as_deref().is_some_and(|set| !set.is_empty()) {
            own.clone_from(wish);
        }
    }
    if changes_restarts(wish) {
        host.restart_policy.clone_from(&wish.restart_policy);
    }
    Ok(host)
}

/// Whether the restart policy is part of the wish.
fn changes_restarts(wish: &HostConfig) -> bool {
    let name = wish.restart_policy.as_ref().and_then(|policy| policy.name);
    !matches!(name, None | Some(RestartPolicyNameEnum::EMPTY))
}

/// Zero is what a client sends that says nothing.
fn number<N: Default + PartialEq + Copy>(own: &mut Option<N>, wish: Option<N>) {
    if wish.is_some_and(|wish| wish != N::default()) {
        *own = wish;
    }
}

fn given<T: Clone>(own: &mut Option<T>, wish: &Option<T>) {
    if wish.is_some() {
        own.clone_from(wish);
    }
}

fn refuse_conflicts(current: &HostConfig, wish: &HostConfig) -> Result<(), EngineError> {
    let set = |value: Option<i64>| value.unwrap_or(0) > 0;
    let swap_unchanged = wish.memory_swap.unwrap_or(0) == 0;
    let restarts = changes_restarts(wish)
        && wish.restart_policy.as_ref().and_then(|policy| policy.name) != Some(RestartPolicyNameEnum::NO);
    let conflicts = [
        (
            set(wish.nano_cpus) && set(current.cpu_period),
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        ),
        (
            set(wish.nano_cpus) && set(current.cpu_quota),
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        ),
        (
            set(wish.cpu_period) && set(current.nano_cpus),
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        ),
        (
            set(wish.cpu_quota) && set(current.nano_cpus),
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
        (
            // One without any limit has a swap limit of 0 here, so that it can only get both at once.
            wish.memory.unwrap_or(0) > current.memory_swap.unwrap_or(0)
                && wish.memory.unwrap_or(0) != 0
                && swap_unchanged,
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
        (
            restarts && current.auto_remove == Some(true),
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ),
    ];
    match conflicts.into_iter().find(|(conflict, _)| *conflict) {
        Some((_, words)) => Err(EngineError::Conflict(words.to_owned())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use holm_api::models::RestartPolicy;

    use super::*;

    fn policy(name: RestartPolicyNameEnum) -> Option<RestartPolicy> {
        Some(RestartPolicy { name: Some(name), maximum_retry_count: None })
    }

    #[test]
    fn what_is_not_said_stays_as_it_is() {
        let current = HostConfig {
            memory: Some(64 << 20),
            memory_swap: Some(128 << 20),
            cpuset_cpus: Some("0".into()),
            restart_policy: policy(RestartPolicyNameEnum::ALWAYS),
            ..Default::default()
        };
        let wish = HostConfig {
            memory: Some(0),
            cpu_shares: Some(512),
            cpuset_cpus: Some(String::new()),
            pids_limit: Some(0),
            restart_policy: policy(RestartPolicyNameEnum::EMPTY),
            ..Default::default()
        };
        let expected = HostConfig { cpu_shares: Some(512), pids_limit: Some(0), ..current.clone() };
        assert_eq!(updated(&current, &wish).unwrap(), expected);
    }

    #[test]
    fn a_policy_may_be_taken_back() {
        let current =
            HostConfig { restart_policy: policy(RestartPolicyNameEnum::ALWAYS), ..Default::default() };
        let wish = HostConfig { restart_policy: policy(RestartPolicyNameEnum::NO), ..Default::default() };
        assert_eq!(updated(&current, &wish).unwrap().restart_policy, wish.restart_policy);
    }

    #[test]
    fn conflicts_are_told_in_dockers_words() {
        let refused =
            |current: HostConfig, wish: HostConfig| updated(&current, &wish).unwrap_err().to_string();
        assert_eq!(
            refused(HostConfig::default(), HostConfig { memory: Some(64 << 20), ..Default::default() }),
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        );
        assert_eq!(
            refused(
                HostConfig { cpu_quota: Some(50_000), ..Default::default() },
                HostConfig { nano_cpus: Some(1), ..Default::default() }
            ),
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set"
        );
        assert_eq!(
            refused(
                HostConfig { auto_remove: Some(true), ..Default::default() },
                HostConfig { restart_policy: policy(RestartPolicyNameEnum::ALWAYS), ..Default::default() }
            ),
            "Restart policy cannot be updated because AutoRemove is enabled for the container"
        );
    }
}
