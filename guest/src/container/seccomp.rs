//! The system calls that a container may make: Docker's default profile, and one rule of our own.
//!
//! Sockets of the machine's own transport (AF_VSOCK) are refused to every container that is not privileged, even
//! without a profile: vsock knows no namespaces, and behind it is the host.

use holm_api::models::HostConfig;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

use super::security::{Profile, Security};

mod table;

const AF_VSOCK: u64 = 40;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// `CLONE_NEW*` but for time (sched.h): a namespace is an administrator's to make.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// The filter for a container with these capabilities; `None` for a privileged one.
pub(super) fn filter(host: &HostConfig, security: &Security, capabilities: &[&str]) -> Option<LinuxSeccomp> {
    if host.privileged == Some(true) {
        return None;
    }
    let (default, rules) = match security.profile {
        Profile::Default => (LinuxSeccompAction::ScmpActErrno, default_rules(capabilities)),
        Profile::Unconfined => {
            let vsock = argument(LinuxSeccompOperator::ScmpCmpEq, AF_VSOCK);
            (LinuxSeccompAction::ScmpActAllow, vec![refuse("socket", EPERM, Some(vsock))])
        }
    };
    let built = LinuxSeccompBuilder::default()
        .default_action(default)
        .default_errno_ret(EPERM)
        .architectures(architectures())
        .syscalls(rules)
        .build();
    Some(built.expect("no field is missing that has to be there"))
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
    for operator in [LinuxSeccompOperator::ScmpCmpLt, LinuxSeccompOperator::ScmpCmpGt] {
        rules.push(allow(&["socket"], Some(argument(operator, AF_VSOCK))));
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
        rules.push(refuse("clone3", ENOSYS, None));
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

fn refuse(name: &str, errno: u32, argument: Option<LinuxSeccompArg>) -> LinuxSyscall {
    let mut rule = allow(&[name], argument);
    rule.set_action(LinuxSeccompAction::ScmpActErrno).set_errno_ret(Some(errno));
    rule
}

fn argument(operator: LinuxSeccompOperator, value: u64) -> LinuxSeccompArg {
    let built = LinuxSeccompArgBuilder::default().index(0_usize).value(value).op(operator).build();
    built.expect("index, value and operator are set")
}

/// The machine's own and those whose programs it runs as well: a call that comes by another door ends the process.
fn architectures() -> Vec<Arch> {
    match std::env::consts::ARCH {
        "x86_64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        _ => vec![Arch::ScmpArchNative],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(profile: Profile, capabilities: &[&str]) -> Vec<LinuxSyscall> {
        let security = Security { profile, ..Security::default() };
        let filter = filter(&HostConfig::default(), &security, capabilities).unwrap();
        filter.syscalls().clone().unwrap()
    }

    fn named<'a>(rules: &'a [LinuxSyscall], name: &str) -> Vec<&'a LinuxSyscall> {
        rules.iter().filter(|rule| rule.names().iter().any(|other| other == name)).collect()
    }

    #[test]
    fn vsock_is_refused_with_and_without_a_profile() {
        let rules_of_default = rules(Profile::Default, &["CAP_SYS_ADMIN"]);
        for rule in named(&rules_of_default, "socket") {
            let argument = rule.args().as_ref().unwrap()[0];
            assert_eq!(argument.value(), AF_VSOCK);
            assert!(matches!(
                argument.op(),
                LinuxSeccompOperator::ScmpCmpLt | LinuxSeccompOperator::ScmpCmpGt
            ));
        }
        assert!(named(&rules_of_default, "socketcall").is_empty());
        let unconfined = rules(Profile::Unconfined, &[]);
        assert_eq!(named(&unconfined, "socket")[0].action(), LinuxSeccompAction::ScmpActErrno);
    }

    #[test]
    fn capabilities_bring_their_calls() {
        assert!(named(&rules(Profile::Default, &[]), "mount").is_empty());
        assert_eq!(named(&rules(Profile::Default, &["CAP_SYS_ADMIN"]), "mount").len(), 1);
    }

    #[test]
    fn namespaces_cannot_be_cloned_without_being_an_administrator() {
        let rules = rules(Profile::Default, &[]);
        let clone = named(&rules, "clone");
        let argument = clone[0].args().as_ref().unwrap()[0];
        assert_eq!((clone.len(), argument.value(), argument.value_two()), (1, 0, Some(0x7e02_0000)));
        assert_eq!(named(&rules, "clone3")[0].errno_ret(), Some(ENOSYS));
    }

    #[test]
    fn a_privileged_container_has_no_filter() {
        let host = HostConfig { privileged: Some(true), ..Default::default() };
        assert!(filter(&host, &Security::default(), &[]).is_none());
    }
}
