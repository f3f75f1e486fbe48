//! The system calls that a container may make: Docker's default profile, or one that the client brings along. What
//! no container may whatever its profile says, sockets of the machine's own transport, the shim sees to.

use holm_api::models::HostConfig;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

use super::SpecError;
use super::abilities::HostAbilities;
use super::security::{Profile, Security};
use profile::Surroundings;

mod profile;
mod table;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// `CLONE_NEW*` but for time (sched.h): a namespace is an administrator's to make.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// The filter for a container with these capabilities; `None` where there is none. A privileged container has only one
/// of its own.
pub(super) fn filter(
    host: &HostConfig,
    security: &Security,
    capabilities: &[&str],
    abilities: &HostAbilities,
) -> Result<Option<LinuxSeccomp>, SpecError> {
    let privileged = host.privileged == Some(true);
    match &security.profile {
        Profile::Own(text) => {
            let processor = std::env::consts::ARCH;
            profile::load(text, &Surroundings { capabilities, processor, kernel: abilities.kernel })
        }
        Profile::Default if !privileged => Ok(Some(default(capabilities))),
        Profile::Default | Profile::Unconfined => Ok(None),
    }
}

/// Docker's.
fn default(capabilities: &[&str]) -> LinuxSeccomp {
    let built = LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(EPERM)
        .architectures(architectures())
        .syscalls(default_rules(capabilities))
        .build();
    built.expect("no field is missing that has to be there")
}

fn default_rules(capabilities: &[&str]) -> Vec<LinuxSyscall> {
    let has = |name: &str| capabilities.contains(&name);
    let mut rules = vec![allow(table::ALWAYS, None)];
    let here = table::ON_ARCHITECTURE.iter().filter(|(name, _)| *name == std::env::consts::ARCH);
    let with = table::WITH_CAPABILITY.iter().filter(|(name, _)| has(name));
    rules.extend(here.chain(with).map(|(_, calls)| allow(calls, None)));
    for personality in table::PERSONALITIES {
        let same = argument(LinuxSeccompOperator::ScmpCmpEq, *personality);
        rules.push(allow(&["personality"], Some(same)));
    }
    for (operator, family) in table::SOCKET_FAMILIES {
        rules.push(allow(&["socket"], Some(argument(*operator, *family))));
    }
    if !has("CAP_SYS_ADMIN") {
        // libcontainer takes the mask from the second value and what is to be left from the first; runc does it
        // the other way round. With runc's order libcontainer would allow every flag.
        let without = LinuxSeccompArgBuilder::default()
            .index(0_usize)
            .value(0_u64)
            .value_two(NEW_NAMESPACES)
            .op(LinuxSeccompOperator::ScmpCmpMaskedEq)
            .build();
        rules.push(allow(&["clone"], Some(without.expect("all fields are set"))));
        // Its flags are in memory, out of a filter's sight; the C library then takes clone.
        let mut clone3 = allow(&["clone3"], None);
        clone3.set_action(LinuxSeccompAction::ScmpActErrno).set_errno_ret(Some(ENOSYS));
        rules.push(clone3);
    }
    rules
}

fn allow(names: &[&str], argument: Option<LinuxSeccompArg>) -> LinuxSyscall {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let rule = LinuxSyscallBuilder::default().names(names).action(LinuxSeccompAction::ScmpActAllow);
    let rule = match argument {
        Some(argument) => rule.args(vec![argument]),
        None => rule,
    };
    rule.build().expect("names and action are set")
}

fn argument(operator: LinuxSeccompOperator, value: u64) -> LinuxSeccompArg {
    let built = LinuxSeccompArgBuilder::default().index(0_usize).value(value).op(operator).build();
    built.expect("index, value and operator are set")
}

/// The machine's own and those whose programs it runs as well: a call that comes by another door ends the process.
pub(crate) fn architectures() -> Vec<Arch> {
    match std::env::consts::ARCH {
        "x86_64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        _ => vec![Arch::ScmpArchNative],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn made(profile: Profile, host: &HostConfig, capabilities: &[&str]) -> Option<LinuxSeccomp> {
        let security = Security { profile, ..Security::default() };
        filter(host, &security, capabilities, &HostAbilities::unlimited()).unwrap()
    }

    fn rules(capabilities: &[&str]) -> Vec<LinuxSyscall> {
        default(capabilities).syscalls().clone().unwrap()
    }

    fn named<'a>(rules: &'a [LinuxSyscall], name: &str) -> Vec<&'a LinuxSyscall> {
        rules.iter().filter(|rule| rule.names().iter().any(|other| other == name)).collect()
    }

    /// Every call by itself, with the conditions under which what happens.
    fn apart(filter: &LinuxSeccomp) -> BTreeSet<String> {
        let rules = filter.syscalls().iter().flatten();
        rules
            .flat_map(|rule| {
                let what =
                    |name| format!("{name} {:?} {:?} {:?}", rule.action(), rule.errno_ret(), arguments(rule));
                rule.names().iter().map(what).collect::<Vec<_>>()
            })
            .collect()
    }

    fn arguments(rule: &LinuxSyscall) -> Vec<(usize, u64, u64, String)> {
        let parts =
            |a: &LinuxSeccompArg| (a.index(), a.value(), a.value_two().unwrap_or(0), format!("{:?}", a.op()));
        rule.args().iter().flatten().map(parts).collect()
    }

    #[test]
    #[ignore = "wants moby's own profile in $MOBYS_PROFILE: `make mobys-profile`"]
    fn the_default_profile_is_mobys() {
        let file =
            std::env::var_os("MOBYS_PROFILE").expect("no MOBYS_PROFILE: `make mobys-profile` fetches it");
        let text = std::fs::read_to_string(file).unwrap();
        let mut sets = vec![Vec::new(), crate::container::capabilities::NAMES.to_vec()];
        sets.extend(crate::container::capabilities::NAMES.iter().map(|name| vec![*name]));
        for capabilities in sets {
            let here = Surroundings {
                capabilities: &capabilities,
                processor: std::env::consts::ARCH,
                kernel: (6, 12),
            };
            let theirs = profile::load(&text, &here).unwrap().unwrap();
            let ours = default(&capabilities);
            assert_eq!(apart(&ours), apart(&theirs), "with {capabilities:?}");
            assert_eq!(ours.architectures(), theirs.architectures());
            assert_eq!(ours.default_action(), theirs.default_action());
            assert_eq!(ours.default_errno_ret(), theirs.default_errno_ret());
        }
    }

    #[test]
    fn sockets_of_the_machine_and_of_the_kernels_ciphers_are_not_allowed() {
        let rules = rules(&["CAP_SYS_ADMIN"]);
        let conditions: Vec<_> = named(&rules, "socket").into_iter().flat_map(arguments).collect();
        let allowed = |family: u64| {
            conditions.iter().any(|(_, value, _, operator)| match operator.as_str() {
                "ScmpCmpLt" => family < *value,
                "ScmpCmpGt" => family > *value,
                _ => family == *value,
            })
        };
        let (alg, vsock) = (38, 40);
        assert!((0..64).all(|family| allowed(family) == (family != alg && family != vsock)));
    }

    #[test]
    fn capabilities_bring_their_calls() {
        assert!(named(&rules(&[]), "mount").is_empty());
        assert_eq!(named(&rules(&["CAP_SYS_ADMIN"]), "mount").len(), 1);
    }

    #[test]
    fn namespaces_cannot_be_cloned_without_being_an_administrator() {
        let rules = rules(&[]);
        let clone = named(&rules, "clone");
        let argument = clone[0].args().as_ref().unwrap()[0];
        assert_eq!((clone.len(), argument.value(), argument.value_two()), (1, 0, Some(0x7e02_0000)));
        assert_eq!(named(&rules, "clone3")[0].errno_ret(), Some(ENOSYS));
    }

    #[test]
    fn a_privileged_container_has_no_filter_but_its_own() {
        let host = HostConfig { privileged: Some(true), ..Default::default() };
        let own = r#"{"defaultAction":"SCMP_ACT_LOG"}"#;
        assert!(made(Profile::Default, &host, &[]).is_none());
        assert!(made(Profile::Unconfined, &HostConfig::default(), &[]).is_none());
        assert_eq!(
            made(Profile::Own(own.to_owned()), &host, &[]).unwrap().default_action(),
            LinuxSeccompAction::ScmpActLog
        );
    }
}
