//! `--ulimit`: names as in Docker, values as far as this host lets them be set.

use holm_api::models::ResourcesUlimits;
use nix::sys::resource::Resource;
use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType};

use super::SpecError;
use super::abilities::HostAbilities;

/// Docker's names and what they mean.
pub(super) const TYPES: [(&str, PosixRlimitType, Resource); 15] = [
    ("core", PosixRlimitType::RlimitCore, Resource::RLIMIT_CORE),
    ("cpu", PosixRlimitType::RlimitCpu, Resource::RLIMIT_CPU),
    ("data", PosixRlimitType::RlimitData, Resource::RLIMIT_DATA),
    ("fsize", PosixRlimitType::RlimitFsize, Resource::RLIMIT_FSIZE),
    ("locks", PosixRlimitType::RlimitLocks, Resource::RLIMIT_LOCKS),
    ("memlock", PosixRlimitType::RlimitMemlock, Resource::RLIMIT_MEMLOCK),
    ("msgqueue", PosixRlimitType::RlimitMsgqueue, Resource::RLIMIT_MSGQUEUE),
    ("nice", PosixRlimitType::RlimitNice, Resource::RLIMIT_NICE),
    ("nofile", PosixRlimitType::RlimitNofile, Resource::RLIMIT_NOFILE),
    ("nproc", PosixRlimitType::RlimitNproc, Resource::RLIMIT_NPROC),
    ("rss", PosixRlimitType::RlimitRss, Resource::RLIMIT_RSS),
    ("rtprio", PosixRlimitType::RlimitRtprio, Resource::RLIMIT_RTPRIO),
    ("rttime", PosixRlimitType::RlimitRttime, Resource::RLIMIT_RTTIME),
    ("sigpending", PosixRlimitType::RlimitSigpending, Resource::RLIMIT_SIGPENDING),
    ("stack", PosixRlimitType::RlimitStack, Resource::RLIMIT_STACK),
];

/// The limits asked for. What cannot be raised is as high as it can be, and warned of.
pub(super) fn rlimits(
    asked: &[ResourcesUlimits],
    abilities: &HostAbilities,
    warnings: &mut Vec<String>,
) -> Result<Vec<PosixRlimit>, SpecError> {
    asked.iter().map(|ulimit| rlimit(ulimit, abilities, warnings)).collect()
}

fn rlimit(
    ulimit: &ResourcesUlimits,
    abilities: &HostAbilities,
    warnings: &mut Vec<String>,
) -> Result<PosixRlimit, SpecError> {
    let name = ulimit.name.as_deref().unwrap_or_default();
    let Some((name, typ, _)) = TYPES.into_iter().find(|(known, ..)| known.eq_ignore_ascii_case(name)) else {
        return Err(SpecError::AtStart(format!("invalid ulimit type: {name}")));
    };
    // -1 is "unlimited", which is all bits set in either word.
    let (soft, hard) = (ulimit.soft.unwrap_or(0), ulimit.hard.unwrap_or(0));
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(SpecError::AtStart(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )));
    }
    let (mut soft, mut hard) = (soft.cast_unsigned(), hard.cast_unsigned());
    if let Some(&highest) = abilities.hard_limits.get(name)
        && hard > highest
        && !abilities.may_raise_limits()
    {
        warnings.push(format!(
            "This host does not let the {name} limit be raised above {highest}. Limited to that."
        ));
        (soft, hard) = (soft.min(highest), highest);
    }
    let built = PosixRlimitBuilder::default().typ(typ).soft(soft).hard(hard).build();
    Ok(built.expect("all three fields are set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ulimit(name: &str, soft: i64, hard: i64) -> ResourcesUlimits {
        ResourcesUlimits { name: Some(name.into()), soft: Some(soft), hard: Some(hard) }
    }

    #[test]
    fn minus_one_is_unlimited() {
        let abilities = HostAbilities::unlimited();
        let limits = rlimits(&[ulimit("memlock", -1, -1)], &abilities, &mut Vec::new()).unwrap();
        assert_eq!((limits[0].soft(), limits[0].hard()), (u64::MAX, u64::MAX));
    }

    #[test]
    fn a_limit_that_cannot_be_raised_is_lowered_with_a_warning() {
        let mut abilities = HostAbilities::unlimited();
        abilities.hard_limits.insert("nofile", 20_000);
        let mut warnings = Vec::new();
        let asked = [ulimit("nofile", 1024, 1_048_576)];
        assert_eq!(rlimits(&asked, &abilities, &mut warnings).unwrap()[0].hard(), 1_048_576);
        abilities.capabilities.remove("CAP_SYS_RESOURCE");
        let limits = rlimits(&asked, &abilities, &mut warnings).unwrap();
        assert_eq!((limits[0].soft(), limits[0].hard(), warnings.len()), (1024, 20_000, 1));
    }

    #[test]
    fn nonsense_is_refused() {
        let abilities = HostAbilities::unlimited();
        let message = |limit| rlimits(&[limit], &abilities, &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(message(ulimit("fun", 1, 1)), "invalid ulimit type: fun");
        assert_eq!(
            message(ulimit("nofile", 2, 1)),
            "ulimit soft limit must be less than or equal to hard limit: 2 > 1"
        );
        assert!(message(ulimit("nofile", -1, 5)).contains("-1 > 5"));
    }
}
