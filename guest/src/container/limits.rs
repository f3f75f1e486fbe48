//! Limits, from OCI's words, which are those of cgroup v1, into the files of cgroup v2
//! (Documentation/admin-guide/cgroup-v2.rst). Written by the shim when it makes a container, and by the engine when a
//! client changes one that runs; in libcontainer's place, which counts weights of disks in too few bits.

use std::fs;
use std::io;
use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

/// Microseconds in which processor time is counted out, unless the client says otherwise.
const PERIOD: u64 = 100_000;
const UNLIMITED: &str = "max";

/// What is written where, in this order.
type Files = Vec<(&'static str, String)>;

/// Writes all limits that are set into the files of the cgroup `folder`. What is not set stays as it is.
pub fn write(folder: &Path, resources: &LinuxResources) -> io::Result<()> {
    for (name, value) in files(resources) {
        write_one(folder, name, &value).map_err(|error| {
            io::Error::new(error.kind(), format!("failed to write {value:?} to {name:?}: {error}"))
        })?;
    }
    Ok(())
}

fn write_one(folder: &Path, name: &str, value: &str) -> io::Result<()> {
    match fs::write(folder.join(name), value) {
        // With another scheduler of disks the weight has another file, and the same meaning.
        Err(error) if error.kind() == io::ErrorKind::NotFound && name == "io.weight" => {
            fs::write(folder.join("io.bfq.weight"), value)
        }
        other => other,
    }
}

fn files(resources: &LinuxResources) -> Files {
    let mut files = Vec::new();
    if let Some(cpu) = resources.cpu() {
        cpu_files(cpu, &mut files);
    }
    if let Some(memory) = resources.memory() {
        memory_files(memory, &mut files);
    }
    if let Some(pids) = resources.pids() {
        files.push(("pids.max", limit(pids.limit())));
    }
    if let Some(io) = resources.block_io() {
        io_files(io, &mut files);
    }
    files
}

fn cpu_files(cpu: &LinuxCpu, files: &mut Files) {
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        files.push(("cpu.weight", weight_of_shares(shares).to_string()));
    }
    if cpu.quota().is_some() || cpu.period().is_some() {
        let quota = limit(cpu.quota().filter(|quota| *quota > 0).unwrap_or(-1));
        files.push(("cpu.max", format!("{quota} {}", cpu.period().unwrap_or(PERIOD))));
    }
    for (name, set) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
        if let Some(set) = set {
            files.push((name, set.clone()));
        }
    }
}

/// 2 to 262144 become 1 to 10000, on a straight line, as with runc.
fn weight_of_shares(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn memory_files(memory: &LinuxMemory, files: &mut Files) {
    if let Some(swap) = memory.swap() {
        // OCI's is memory and swap together.
        let swap = match memory.limit() {
            Some(memory) if memory > 0 && swap > 0 => swap.saturating_sub(memory).max(0),
            _ => swap,
        };
        files.push(("memory.swap.max", limit(swap)));
    }
    if let Some(bytes) = memory.limit() {
        files.push(("memory.max", limit(bytes)));
    }
    if let Some(bytes) = memory.reservation() {
        files.push(("memory.low", limit(bytes)));
    }
}

fn io_files(io: &LinuxBlockIo, files: &mut Files) {
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        files.push(("io.weight", format!("default {}", io_weight(weight))));
    }
    for device in io.weight_device().iter().flatten() {
        if let Some(weight) = device.weight() {
            files.push(("io.weight", format!("{}:{} {}", device.major(), device.minor(), io_weight(weight))));
        }
    }
    let throttled = [
        ("rbps", io.throttle_read_bps_device()),
        ("wbps", io.throttle_write_bps_device()),
        ("riops", io.throttle_read_iops_device()),
        ("wiops", io.throttle_write_iops_device()),
    ];
    for (what, devices) in throttled {
        files.extend(devices.iter().flatten().map(|device| ("io.max", throttle(what, device))));
    }
}

/// 10 to 1000 become 1 to 10000.
fn io_weight(weight: u16) -> u32 {
    1 + u32::from(weight.clamp(10, 1000) - 10) * 9999 / 990
}

fn throttle(what: &str, device: &LinuxThrottleDevice) -> String {
    let rate = if device.rate() == 0 { UNLIMITED.to_owned() } else { device.rate().to_string() };
    format!("{}:{} {what}={rate}", device.major(), device.minor())
}

fn limit(value: i64) -> String {
    if value < 0 { UNLIMITED.to_owned() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: serde_json::Value) -> Files {
        files(&serde_json::from_value(text).unwrap())
    }

    #[test]
    fn limits_are_written_as_the_kernel_reads_them() {
        let files = written(serde_json::json!({
            "cpu": { "shares": 1024, "quota": 50_000, "cpus": "0-1" },
            "memory": { "limit": 67_108_864, "swap": 134_217_728, "reservation": 33_554_432 },
            "pids": { "limit": -1 },
            "blockIO": {
                "weight": 500,
                "weightDevice": [{ "major": 8, "minor": 0, "weight": 1000 }],
                "throttleReadBpsDevice": [{ "major": 8, "minor": 0, "rate": 1_048_576 }],
                "throttleWriteIOPSDevice": [{ "major": 8, "minor": 16, "rate": 10 }],
            },
        }));
        let expected = [
            ("cpu.weight", "39"),
            ("cpu.max", "50000 100000"),
            ("cpuset.cpus", "0-1"),
            ("memory.swap.max", "67108864"),
            ("memory.max", "67108864"),
            ("memory.low", "33554432"),
            ("pids.max", "max"),
            ("io.weight", "default 4950"),
            ("io.weight", "8:0 10000"),
            ("io.max", "8:0 rbps=1048576"),
            ("io.max", "8:16 wiops=10"),
        ];
        assert_eq!(files, expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn minus_one_is_no_limit_and_a_period_alone_limits_nothing() {
        assert_eq!(
            written(serde_json::json!({
                "cpu": { "period": 50_000 }, "memory": { "limit": 67_108_864, "swap": -1 },
            })),
            [
                ("cpu.max", "max 50000".to_owned()),
                ("memory.swap.max", "max".to_owned()),
                ("memory.max", "67108864".to_owned())
            ]
        );
        assert!(written(serde_json::json!({})).is_empty());
    }

    #[test]
    fn weights_keep_to_the_kernels_range() {
        assert_eq!([0, 2, 1024, 262_144, u64::MAX].map(weight_of_shares), [1, 1, 39, 10_000, 10_000]);
        assert_eq!([0, 10, 1000, u16::MAX].map(io_weight), [1, 1, 10_000, 10_000]);
    }

    #[test]
    fn a_limit_that_cannot_be_written_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let resources = serde_json::from_value(serde_json::json!({ "pids": { "limit": 5 } })).unwrap();
        write(folder.path(), &resources).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("pids.max")).unwrap(), "5");
        let error = write(&folder.path().join("gone"), &resources).unwrap_err();
        assert!(error.to_string().starts_with("failed to write \"5\" to \"pids.max\": "), "{error}");
    }
}
