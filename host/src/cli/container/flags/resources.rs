//! Memory, processors, block devices and other limits.

use serde_json::{Value, json};

use super::{Part, extend};
use crate::cli::error::CliError;
use crate::cli::options::{
    self, Throttle, Ulimit, WeightDevice, bytes, integer, swap_bytes, throttle_bytes, throttle_operations,
    unsigned_16, weight_device,
};

#[derive(Debug, clap::Args)]
pub(super) struct ResourcesFlags {
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)
    #[arg(long, value_name = "uint16", default_value = "0", value_parser = unsigned_16)]
    blkio_weight: u16,
    /// Block IO weight (relative device weight) (default [])
    #[arg(long, value_name = "list", value_parser = weight_device)]
    blkio_weight_device: Vec<WeightDevice>,
    /// Optional parent cgroup for the container
    #[arg(long, value_name = "string", default_value = "")]
    cgroup_parent: String,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int", default_value = "0", value_parser = integer)]
    cpu_period: i64,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int", default_value = "0", value_parser = integer)]
    cpu_quota: i64,
    /// Limit CPU real-time period in microseconds
    #[arg(long, value_name = "int", default_value = "0", value_parser = integer)]
    cpu_rt_period: i64,
    /// Limit CPU real-time runtime in microseconds
    #[arg(long, value_name = "int", default_value = "0", value_parser = integer)]
    cpu_rt_runtime: i64,
    /// CPU shares (relative weight)
    #[arg(short, long, value_name = "int", default_value = "0", value_parser = integer)]
    cpu_shares: i64,
    /// Number of CPUs
    #[arg(long, value_name = "decimal", default_value = "0", value_parser = options::cpus)]
    cpus: i64,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string", default_value = "")]
    cpuset_cpus: String,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string", default_value = "")]
    cpuset_mems: String,
    /// Limit read rate (bytes per second) from a device (default [])
    #[arg(long, value_name = "list", value_parser = throttle_bytes)]
    device_read_bps: Vec<Throttle>,
    /// Limit read rate (IO per second) from a device (default [])
    #[arg(long, value_name = "list", value_parser = throttle_operations)]
    device_read_iops: Vec<Throttle>,
    /// Limit write rate (bytes per second) to a device (default [])
    #[arg(long, value_name = "list", value_parser = throttle_bytes)]
    device_write_bps: Vec<Throttle>,
    /// Limit write rate (IO per second) to a device (default [])
    #[arg(long, value_name = "list", value_parser = throttle_operations)]
    device_write_iops: Vec<Throttle>,
    /// Kernel memory limit
    #[arg(long, value_name = "bytes", default_value = "0", value_parser = bytes)]
    kernel_memory: i64,
    /// Memory limit
    #[arg(short, long, value_name = "bytes", default_value = "0", value_parser = bytes)]
    memory: i64,
    /// Memory soft limit
    #[arg(long, value_name = "bytes", default_value = "0", value_parser = bytes)]
    memory_reservation: i64,
    /// Swap limit equal to memory plus swap: '-1' to enable unlimited swap
    #[arg(long, value_name = "bytes", default_value = "0", value_parser = swap_bytes)]
    memory_swap: i64,
    /// Tune container memory swappiness (0 to 100)
    #[arg(long, value_name = "int", default_value = "-1", value_parser = integer)]
    memory_swappiness: i64,
    /// Disable OOM Killer
    #[arg(long)]
    oom_kill_disable: bool,
    /// Tune host's OOM preferences (-1000 to 1000)
    #[arg(long, value_name = "int", default_value = "0", value_parser = integer)]
    oom_score_adj: i64,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int", default_value = "0", value_parser = integer)]
    pids_limit: i64,
    /// Size of /dev/shm
    #[arg(long, value_name = "bytes", default_value = "0", value_parser = bytes)]
    shm_size: i64,
    /// Ulimit options (default [])
    #[arg(long, value_name = "ulimit")]
    ulimit: Vec<Ulimit>,
}

impl ResourcesFlags {
    pub(super) fn write(&self, host: &mut Part) -> Result<(), CliError> {
        if self.memory_swappiness != -1 && !(0..=100).contains(&self.memory_swappiness) {
            return Err(CliError::said(format!(
                "invalid value: {}. Valid memory swappiness range is 0-100",
                self.memory_swappiness
            )));
        }
        if self.kernel_memory != 0 {
            host.insert("KernelMemory".to_owned(), self.kernel_memory.into());
        }
        let all = |throttles: &[Throttle]| throttles.iter().map(Value::from).collect::<Vec<_>>();
        extend(
            host,
            json!({
                "CpuShares": self.cpu_shares,
                "Memory": self.memory,
                "NanoCpus": self.cpus,
                "CgroupParent": self.cgroup_parent,
                "BlkioWeight": self.blkio_weight,
                "BlkioWeightDevice": self.blkio_weight_device.iter().map(Value::from).collect::<Vec<_>>(),
                "BlkioDeviceReadBps": all(&self.device_read_bps),
                "BlkioDeviceWriteBps": all(&self.device_write_bps),
                "BlkioDeviceReadIOps": all(&self.device_read_iops),
                "BlkioDeviceWriteIOps": all(&self.device_write_iops),
                "CpuPeriod": self.cpu_period,
                "CpuQuota": self.cpu_quota,
                "CpuRealtimePeriod": self.cpu_rt_period,
                "CpuRealtimeRuntime": self.cpu_rt_runtime,
                "CpusetCpus": self.cpuset_cpus,
                "CpusetMems": self.cpuset_mems,
                "MemoryReservation": self.memory_reservation,
                "MemorySwap": self.memory_swap,
                "MemorySwappiness": self.memory_swappiness,
                "OomKillDisable": self.oom_kill_disable,
                "OomScoreAdj": self.oom_score_adj,
                "PidsLimit": self.pids_limit,
                "ShmSize": self.shm_size,
                "Ulimits": self.ulimits(),
                "CpuCount": 0,
                "CpuPercent": 0,
                "IOMaximumIOps": 0,
                "IOMaximumBandwidth": 0,
            }),
        );
        Ok(())
    }

    /// By their names, the last of each.
    fn ulimits(&self) -> Vec<Value> {
        let by_name: std::collections::BTreeMap<&str, &Ulimit> =
            self.ulimit.iter().map(|limit| (limit.name.as_str(), limit)).collect();
        by_name.into_values().map(Value::from).collect()
    }
}
