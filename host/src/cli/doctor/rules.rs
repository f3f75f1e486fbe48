//! What is wrong, told from what was found. Asks nobody, so that each rule can be tried.

use std::net::{IpAddr, Ipv4Addr};

use holm_api::diagnosis::{Diagnosis, Link, RegistryProbe};

use crate::cli::output::units;

/// A difference of clocks that breaks nothing, in milliseconds.
const CLOCK_DIFFERENCE: u64 = 2_000;
/// Bytes that an ordinary image needs.
const LITTLE_ROOM: u64 = 1 << 30;
/// Bytes below which things start to fail.
const NO_ROOM: u64 = 128 << 20;
/// What IPv6 asks of every link.
const SMALLEST_MTU: u32 = 1280;

/// How one thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// Works, and may not for long.
    Doubtful,
    Wrong,
    /// Could not be found out.
    Unknown,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Doubtful => "warning",
            Self::Wrong => "wrong",
            Self::Unknown => "unknown",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// In one word.
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    /// What was found, a sentence.
    pub(super) found: String,
    /// What to do; empty where there is nothing to do.
    pub(super) advice: String,
}

pub(super) fn check(
    name: &'static str,
    verdict: Verdict,
    found: impl Into<String>,
    advice: impl Into<String>,
) -> Check {
    Check { name, verdict, found: found.into(), advice: advice.into() }
}

/// Names, as this computer's resolver and the machine's know them.
pub(super) fn names(probe: &RegistryProbe, here: &Result<Vec<IpAddr>, String>) -> Check {
    let name = &probe.host;
    match (here, &probe.addresses) {
        (Ok(_), Ok(_)) => {
            check("names", Verdict::Fine, format!("{name} is known here and in the machine"), "")
        }
        (Ok(_), Err(error)) => check(
            "names",
            Verdict::Wrong,
            format!("{name} is known here, but not in the machine: {error}"),
            "type `holm machine restart`; if that does not help, tell us what this computer's resolver is",
        ),
        (Err(_), Ok(_)) => check(
            "names",
            Verdict::Doubtful,
            format!("{name} is known in the machine, but not here"),
            "if a proxy or a VPN answers for it, all is well",
        ),
        (Err(error), Err(_)) => check(
            "names",
            Verdict::Wrong,
            format!("{name} is known neither here nor in the machine: {error}"),
            "check this computer's network and the servers in its resolver's settings",
        ),
    }
}

/// Whether images can be pulled: one registry that answers is enough.
pub(super) fn registry(probes: &[RegistryProbe]) -> Check {
    if let Some(answered) = probes.iter().find(|probe| probe.failure.is_none()) {
        return check("registry", Verdict::Fine, format!("{} answers", answered.url), "");
    }
    let said: Vec<String> = probes
        .iter()
        .map(|probe| format!("{}: {}", probe.url, probe.failure.as_deref().unwrap_or_default()))
        .collect();
    let hint = probes.iter().find_map(|probe| probe.hint.clone());
    check(
        "registry",
        Verdict::Wrong,
        format!("no registry answers: {}", said.join("; ")),
        hint.unwrap_or_else(|| "check this computer's network, its proxy and its firewall".to_owned()),
    )
}

/// Links in the machine: no container may send what the way out cannot carry.
pub(super) fn mtu(links: &[Link]) -> Check {
    let outer = links.iter().filter(|link| is_way_out(&link.name)).map(|link| link.mtu).min();
    let Some(outer) = outer else {
        return check("mtu", Verdict::Unknown, "the machine does not show its way out", "");
    };
    let inner = links.iter().filter(|link| link.name.starts_with("br-") || link.name == "docker0");
    if let Some(large) = inner.clone().find(|link| link.mtu > outer) {
        return check(
            "mtu",
            Verdict::Wrong,
            format!(
                "packets of {} may be {} bytes long, and the way out takes {outer}",
                large.name, large.mtu
            ),
            "make that network again without `--opt com.docker.network.driver.mtu`",
        );
    }
    if let Some(small) = inner.clone().find(|link| link.mtu < SMALLEST_MTU) {
        return check(
            "mtu",
            Verdict::Doubtful,
            format!("packets of {} may be {} bytes long; IPv6 needs {SMALLEST_MTU}", small.name, small.mtu),
            "make that network again with a larger `--opt com.docker.network.driver.mtu`",
        );
    }
    check("mtu", Verdict::Fine, format!("the way out takes packets of {outer} bytes"), "")
}

fn is_way_out(name: &str) -> bool {
    name.starts_with("tun") || name.starts_with("holm")
}

/// A network of containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    /// The network's name.
    pub(super) network: String,
    pub(super) address: Ipv4Addr,
    pub(super) bits: u32,
}

/// Networks of containers against those that this computer can reach: what is in both, a container never reaches
/// on this computer's side.
pub(super) fn subnets(ours: &[Subnet], routes: Option<&[(Ipv4Addr, u32, String)]>) -> Check {
    let Some(routes) = routes else {
        return check("subnets", Verdict::Unknown, "this system does not tell its routes", "");
    };
    let clash = ours.iter().find_map(|subnet| {
        let overlaps = |(address, bits, _): &&(Ipv4Addr, u32, String)| {
            let mask = u32::MAX.checked_shl(32 - subnet.bits.min(*bits)).unwrap_or(0);
            address.to_bits() & mask == subnet.address.to_bits() & mask
        };
        Some((subnet, routes.iter().find(overlaps)?))
    });
    match clash {
        None => check(
            "subnets",
            Verdict::Fine,
            "no container network has addresses of this computer's networks",
            "",
        ),
        Some((Subnet { network, address, bits }, (there, there_bits, interface))) => {
            let advice = match network.as_str() {
                "bridge" => "use a network of your own instead: `holm network create --subnet …`".to_owned(),
                name => format!("`holm network rm {name}`, and make it again with another `--subnet`"),
            };
            check(
                "subnets",
                Verdict::Doubtful,
                format!(
                    "the network {network} has {address}/{bits}, which hides {there}/{there_bits} of {interface}"
                ),
                advice,
            )
        }
    }
}

/// Proxies that the machine was told of, and what came of calling each.
pub(super) fn proxies(called: &[(String, Result<(), String>)]) -> Check {
    if called.is_empty() {
        return check("proxy", Verdict::Fine, "there is none", "");
    }
    match called.iter().find_map(|(proxy, result)| Some((proxy, result.as_ref().err()?))) {
        None => {
            let names: Vec<&str> = called.iter().map(|(proxy, _)| proxy.as_str()).collect();
            check("proxy", Verdict::Fine, format!("{} can be reached", names.join(" and ")), "")
        }
        Some((proxy, error)) => check(
            "proxy",
            Verdict::Wrong,
            format!("{proxy} cannot be reached: {error}"),
            "correct HTTP_PROXY and HTTPS_PROXY, end the process `holm daemon`, and try again",
        ),
    }
}

/// The machine's clock, read between two looks at ours; all in milliseconds since 1970.
pub(super) fn clock(before: u64, there: u64, after: u64) -> Check {
    let difference = match there {
        there if there < before => before - there,
        there => there.saturating_sub(after),
    };
    if difference <= CLOCK_DIFFERENCE {
        return check("clock", Verdict::Fine, "the machine's clock is this computer's", "");
    }
    let side = if there < before { "behind" } else { "ahead" };
    check(
        "clock",
        Verdict::Wrong,
        format!("the machine's clock is {} s {side}", difference / 1000),
        "type `holm machine restart`: certificates are checked against that clock",
    )
}

/// Room on this computer and on the machine's disk.
pub(super) fn disk(here: Option<u64>, diagnosis: &Diagnosis) -> Check {
    let size = |bytes: u64| units::binary_size(bytes);
    let least = here.unwrap_or(u64::MAX).min(diagnosis.disk_free);
    let (verdict, advice) = match (least, here.is_some_and(|here| here < diagnosis.disk_free)) {
        (LITTLE_ROOM.., _) => (Verdict::Fine, ""),
        (left, true) => (verdict_of(left), "free some room on this computer: the machine's disk grows on it"),
        (left, false) => {
            (verdict_of(left), "type `holm system prune -a`, or raise disk-size in settings.toml")
        }
    };
    let found = match here {
        Some(here) => {
            format!("{} are free on this computer, {} in the machine", size(here), size(diagnosis.disk_free))
        }
        None => format!("{} are free in the machine", size(diagnosis.disk_free)),
    };
    check("disk", verdict, found, advice)
}

fn verdict_of(left: u64) -> Verdict {
    if left < NO_ROOM { Verdict::Wrong } else { Verdict::Doubtful }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(addresses: Result<Vec<IpAddr>, String>, failure: Option<&str>) -> RegistryProbe {
        RegistryProbe {
            url: "https://registry.example".to_owned(),
            host: "registry.example".to_owned(),
            addresses,
            failure: failure.map(str::to_owned),
            hint: None,
        }
    }

    #[test]
    fn a_name_that_only_this_computer_knows_is_the_machines_fault() {
        let known = || Ok(vec![IpAddr::from([192, 0, 2, 1])]);
        let unknown = || Err("no such host".to_owned());
        assert_eq!(names(&probe(known(), None), &known()).verdict, Verdict::Fine);
        assert_eq!(names(&probe(known(), None), &unknown()).verdict, Verdict::Doubtful);
        let machine = names(&probe(unknown(), None), &known());
        assert_eq!(machine.verdict, Verdict::Wrong);
        assert!(machine.advice.contains("holm machine restart"));
        let both = names(&probe(unknown(), None), &unknown());
        assert_eq!(both.verdict, Verdict::Wrong);
        assert!(both.advice.contains("this computer's network"));
    }

    #[test]
    fn one_registry_that_answers_is_enough() {
        let (good, bad) = (probe(Ok(Vec::new()), None), probe(Ok(Vec::new()), Some("connection refused")));
        assert_eq!(registry(&[bad.clone(), good]).verdict, Verdict::Fine);
        let wrong = registry(&[bad]);
        assert_eq!(wrong.verdict, Verdict::Wrong);
        assert!(wrong.found.contains("connection refused") && !wrong.advice.is_empty());
    }

    #[test]
    fn no_link_of_containers_is_wider_than_the_way_out() {
        let link = |name: &str, mtu| Link { name: name.to_owned(), mtu };
        let verdict = |links: &[Link]| mtu(links).verdict;
        assert_eq!(verdict(&[link("docker0", 65000), link("tun0", 65000)]), Verdict::Fine);
        assert_eq!(verdict(&[link("br-1", 65001), link("tun0", 65000)]), Verdict::Wrong);
        assert_eq!(verdict(&[link("br-1", 576), link("tun0", 65000)]), Verdict::Doubtful);
        assert_eq!(verdict(&[link("docker0", 1500)]), Verdict::Unknown);
    }

    #[test]
    fn subnets_clash_where_one_lies_in_the_other() {
        let ours = [Subnet { network: "n".to_owned(), address: Ipv4Addr::new(172, 18, 0, 0), bits: 16 }];
        let route = |a, b, c, d, bits| vec![(Ipv4Addr::new(a, b, c, d), bits, "vpn0".to_owned())];
        let verdict = |routes: &[_]| subnets(&ours, Some(routes)).verdict;
        assert_eq!(verdict(&route(172, 16, 0, 0, 12)), Verdict::Doubtful);
        assert_eq!(verdict(&route(172, 18, 7, 0, 24)), Verdict::Doubtful);
        assert_eq!(verdict(&route(172, 19, 0, 0, 16)), Verdict::Fine);
        assert_eq!(subnets(&ours, None).verdict, Verdict::Unknown);
        assert!(subnets(&ours, Some(&route(172, 18, 0, 1, 32))).advice.contains("holm network rm n"));
    }

    #[test]
    fn a_clock_may_be_anywhere_between_two_looks() {
        assert_eq!(clock(1_000, 9_000, 10_000).verdict, Verdict::Fine);
        assert_eq!(clock(10_000, 8_500, 10_001).verdict, Verdict::Fine);
        assert!(clock(10_000, 7_000, 10_001).found.contains("3 s behind"));
        assert!(clock(10_000, 15_001, 10_001).found.contains("5 s ahead"));
    }

    #[test]
    fn the_smaller_room_counts_and_says_whose_it_is() {
        let machine = |free| Diagnosis {
            time: 0,
            registries: vec![],
            links: vec![],
            disk_free: free,
            disk_size: 1 << 40,
        };
        assert_eq!(disk(Some(2 << 30), &machine(2 << 30)).verdict, Verdict::Fine);
        let here = disk(Some(1 << 20), &machine(2 << 30));
        assert!(here.verdict == Verdict::Wrong && here.advice.contains("this computer"));
        let there = disk(None, &machine(512 << 20));
        assert!(there.verdict == Verdict::Doubtful && there.advice.contains("prune"));
    }

    #[test]
    fn a_proxy_that_is_not_there_is_named() {
        assert_eq!(proxies(&[]).verdict, Verdict::Fine);
        let wrong = proxies(&[("http://p:1".to_owned(), Err("connection refused".to_owned()))]);
        assert!(wrong.verdict == Verdict::Wrong && wrong.found.contains("http://p:1"));
    }
}
