//! Limits of what a container reads from and writes to disks: weights, bytes and operations a second.

use holm_api::models::{HostConfig, ResourcesBlkioWeightDevice, ThrottleDevice};
use nix::sys::stat::{major, minor, stat};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxThrottleDevice, LinuxThrottleDeviceBuilder, LinuxWeightDevice,
    LinuxWeightDeviceBuilder,
};

use super::SpecError;
use super::abilities::HostAbilities;

/// Discards what this host cannot do, with Docker's warnings.
pub(super) fn settle_disk(
    host: &mut HostConfig,
    abilities: &HostAbilities,
    warnings: &mut Vec<String>,
) -> Result<(), SpecError> {
    for (asked, what) in [(host.io_maximum_bandwidth, "bandwidth"), (host.io_maximum_iops, "IOPs")] {
        if asked.unwrap_or(0) != 0 {
            let words = format!("invalid option: QoS maximum {what} configuration is not supported on linux");
            return Err(SpecError::Invalid(words));
        }
    }
    if let Some(weight) = host.blkio_weight.filter(|weight| *weight > 0) {
        if !abilities.disk_weight {
            warnings.push("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.".to_owned());
            host.blkio_weight = Some(0);
        } else if !(10..=1000).contains(&weight) {
            return Err(SpecError::Invalid("Range of blkio weight is from 10 to 1000".to_owned()));
        }
    }
    let mut discard = |is_asked: bool, is_had: bool, warning: &str| {
        let discarded = is_asked && !is_had;
        if discarded {
            warnings.push(warning.to_owned());
        }
        discarded
    };
    let some = |devices: &Option<Vec<ThrottleDevice>>| devices.as_ref().is_some_and(|all| !all.is_empty());
    if discard(
        host.blkio_weight_device.as_ref().is_some_and(|all| !all.is_empty()),
        abilities.disk_weight,
        "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
    ) {
        host.blkio_weight_device = None;
    }
    for (devices, warning) in [
        (
            &mut host.blkio_device_read_bps,
            "Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded.",
        ),
        (
            &mut host.blkio_device_write_bps,
            "Your kernel does not support BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit discarded.",
        ),
        (
            &mut host.blkio_device_read_iops,
            "Your kernel does not support IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit discarded.",
        ),
        (
            &mut host.blkio_device_write_iops,
            "Your kernel does not support IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit discarded.",
        ),
    ] {
        if discard(some(devices), abilities.disk_rates, warning) {
            *devices = None;
        }
    }
    Ok(())
}

/// The limits of a settled container.
pub(super) fn disk_limits(host: &HostConfig) -> Result<Option<LinuxBlockIo>, SpecError> {
    let mut limits = LinuxBlockIo::default();
    limits.set_weight(host.blkio_weight.filter(|weight| *weight > 0));
    let weights = host.blkio_weight_device.as_deref().unwrap_or_default();
    if !weights.is_empty() {
        limits.set_weight_device(Some(weights.iter().map(weight).collect::<Result<_, _>>()?));
    }
    let rates = |devices: &Option<Vec<ThrottleDevice>>| {
        let devices = devices.as_deref().filter(|devices| !devices.is_empty());
        devices.map(|devices| devices.iter().map(rate).collect::<Result<Vec<_>, SpecError>>()).transpose()
    };
    limits
        .set_throttle_read_bps_device(rates(&host.blkio_device_read_bps)?)
        .set_throttle_write_bps_device(rates(&host.blkio_device_write_bps)?)
        .set_throttle_read_iops_device(rates(&host.blkio_device_read_iops)?)
        .set_throttle_write_iops_device(rates(&host.blkio_device_write_iops)?);
    Ok((limits != LinuxBlockIo::default()).then_some(limits))
}

fn weight(device: &ResourcesBlkioWeightDevice) -> Result<LinuxWeightDevice, SpecError> {
    let (major, minor) = numbers(device.path.as_deref().unwrap_or_default())?;
    let weight = device.weight.and_then(|weight| u16::try_from(weight).ok());
    let built = LinuxWeightDeviceBuilder::default().major(major).minor(minor);
    let built = match weight {
        Some(weight) => built.weight(weight).build(),
        None => built.build(),
    };
    Ok(built.expect("both numbers are set"))
}

fn rate(device: &ThrottleDevice) -> Result<LinuxThrottleDevice, SpecError> {
    let (major, minor) = numbers(device.path.as_deref().unwrap_or_default())?;
    let rate = device.rate.and_then(|rate| u64::try_from(rate).ok()).unwrap_or(0);
    let built = LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(rate).build();
    Ok(built.expect("all three fields are set"))
}

fn numbers(path: &str) -> Result<(i64, i64), SpecError> {
    let stat = stat(path).map_err(|error| {
        // Go's errors begin with a small letter.
        SpecError::AtStart(format!("stat {path}: {}", error.desc().to_lowercase()))
    })?;
    let number = |number: u64| i64::try_from(number).unwrap_or(0);
    Ok((number(major(stat.st_rdev)), number(minor(stat.st_rdev))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(
        host: &HostConfig,
        abilities: &HostAbilities,
    ) -> (Result<Option<LinuxBlockIo>, String>, Vec<String>) {
        let (mut host, mut warnings) = (host.clone(), Vec::new());
        let limits = settle_disk(&mut host, abilities, &mut warnings).and_then(|()| disk_limits(&host));
        (limits.map_err(|error| error.to_string()), warnings)
    }

    fn rate_of(path: &str) -> HostConfig {
        let device = ThrottleDevice { path: Some(path.into()), rate: Some(1 << 20) };
        HostConfig { blkio_device_read_bps: Some(vec![device]), ..Default::default() }
    }

    #[test]
    fn a_device_is_known_to_the_kernel_by_its_numbers() {
        let (found, warnings) = limits(&rate_of("/dev/null"), &HostAbilities::unlimited());
        let found = found.unwrap().unwrap();
        let device = &found.throttle_read_bps_device().as_ref().unwrap()[0];
        assert_eq!((device.major(), device.minor(), device.rate()), (1, 3, 1 << 20));
        assert!(warnings.is_empty());
    }

    #[test]
    fn nonsense_is_refused_in_dockers_words() {
        let abilities = HostAbilities::unlimited();
        assert_eq!(
            limits(&rate_of("/dev/nope"), &abilities).0.unwrap_err(),
            "stat /dev/nope: no such file or directory"
        );
        let host = HostConfig { blkio_weight: Some(5), ..Default::default() };
        assert_eq!(limits(&host, &abilities).0.unwrap_err(), "Range of blkio weight is from 10 to 1000");
    }

    #[test]
    fn what_the_host_lacks_is_discarded_with_dockers_warning() {
        let abilities = HostAbilities { disk_weight: false, disk_rates: false, ..HostAbilities::unlimited() };
        let host = HostConfig { blkio_weight: Some(500), ..rate_of("/dev/null") };
        let (found, warnings) = limits(&host, &abilities);
        assert_eq!((found, warnings.len()), (Ok(None), 2));
        assert!(warnings[0].ends_with("Weight discarded."));
    }
}
