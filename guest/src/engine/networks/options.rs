//! Options of the bridge driver (`com.docker.network.…`), as moby reads them. What is unknown is kept and shown, and
//! means nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::engine::EngineError;
use crate::network::{Family, MTU};

const BRIDGE: &str = "com.docker.network.bridge.";
const MTU_OPTION: &str = "com.docker.network.driver.mtu";
const ENABLE_IPV4: &str = "com.docker.network.enable_ipv4";
const ENABLE_IPV6: &str = "com.docker.network.enable_ipv6";
const HOST_IPV4: &str = "com.docker.network.host_ipv4";
const HOST_IPV6: &str = "com.docker.network.host_ipv6";
const PREFIX: &str = "com.docker.network.container_iface_prefix";
/// Bytes of an interface's longest name.
const LONGEST_NAME: usize = 15;
/// What the kernel lets a bridge and IPv4 (RFC 791) have.
const MTUS: std::ops::RangeInclusive<u32> = 68..=65_535;

/// What they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BridgeOptions {
    /// Of the bridge's interface; `None` is one made from the network's id.
    pub(crate) interface: Option<String>,
    /// Bytes of the largest packet.
    pub(crate) mtu: u32,
    /// Containers of the network may talk to each other.
    pub(crate) talkative: bool,
    /// The bridge gets no IPv4 address.
    pub(crate) inhibit_ipv4: bool,
    /// Where published ports of its containers are opened that name no address.
    pub(crate) binding: Option<IpAddr>,
    /// The bridge has no address, so that not even the machine is reached: of IPv4 and IPv6.
    pub(crate) isolated: [bool; 2],
    /// What interfaces in containers are called but for their number.
    pub(crate) prefix: String,
}

impl BridgeOptions {
    /// Reads them.
    pub(crate) fn parse(options: &BTreeMap<String, String>) -> Result<Self, EngineError> {
        let mut parsed = Self {
            interface: None,
            mtu: MTU,
            talkative: true,
            inhibit_ipv4: false,
            binding: None,
            isolated: [false; 2],
            prefix: "eth".to_owned(),
        };
        for (option, value) in options {
            let wrong = |why: String| {
                EngineError::Invalid(format!("failed to parse {option} value: {value} ({why})"))
            };
            let yes = || {
                bool_of(value)
                    .ok_or_else(|| wrong(format!("strconv.ParseBool: parsing {value:?}: invalid syntax")))
            };
            match option.strip_prefix(BRIDGE).unwrap_or(option) {
                "name" if !value.is_empty() => parsed.interface = Some(interface(value)?),
                "enable_icc" => parsed.talkative = yes()?,
                // Nothing is ever masqueraded in here: the host's gateway takes every container's packets.
                "enable_ip_masquerade" | "default_bridge" => drop(yes()?),
                "inhibit_ipv4" => parsed.inhibit_ipv4 = yes()?,
                "host_binding_ipv4" => {
                    parsed.binding = Some(value.parse().map_err(|_| wrong("nil ip".to_owned()))?);
                }
                "gateway_mode_ipv4" => parsed.isolated[0] = isolated(value).map_err(wrong_mode(&wrong))?,
                "gateway_mode_ipv6" => parsed.isolated[1] = isolated(value).map_err(wrong_mode(&wrong))?,
                MTU_OPTION => {
                    let syntax = || wrong(format!("strconv.Atoi: parsing {value:?}: invalid syntax"));
                    let mtu: i64 = value.parse().map_err(|_| syntax())?;
                    parsed.mtu = match mtu {
                        0 => MTU,
                        _ => u32::try_from(mtu)
                            .ok()
                            .filter(|mtu| MTUS.contains(mtu))
                            .ok_or_else(|| EngineError::Invalid(format!("invalid MTU number: {mtu}")))?,
                    };
                }
                ENABLE_IPV4 | ENABLE_IPV6 => drop(yes()?),
                HOST_IPV4 | HOST_IPV6 => {
                    return Err(EngineError::NotImplemented(format!(
                        "Holm {} cannot choose the address by which containers are seen outside yet: {option}",
                        holm_api::VERSION
                    )));
                }
                PREFIX if !value.is_empty() => {
                    parsed.prefix = interface(&format!("{value}00")).map(|_| value.clone())?
                }
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// Whether the network has this family switched on by an option; a field of the request comes first.
    pub(crate) fn enabled(
        options: &BTreeMap<String, String>,
        family: Family,
    ) -> Result<Option<bool>, EngineError> {
        let option = if family == Family::V4 { ENABLE_IPV4 } else { ENABLE_IPV6 };
        let Some(value) = options.get(option) else { return Ok(None) };
        let wrong = || EngineError::Invalid(format!("driver-opt {option:?} is not a valid bool"));
        bool_of(value).map(Some).ok_or_else(wrong)
    }
}

/// Go's words for yes and no (`strconv.ParseBool`).
fn bool_of(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// What the kernel takes for an interface's name (`dev_valid_name`).
pub(super) fn interface(name: &str) -> Result<String, EngineError> {
    let legal = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    if name.len() > LONGEST_NAME || name == "." || name == ".." || name.is_empty() || !name.bytes().all(legal)
    {
        return Err(EngineError::Invalid(format!("invalid interface name: {name:?}")));
    }
    Ok(name.to_owned())
}

enum WrongMode {
    Unknown(String),
    NotYet(String),
}

fn wrong_mode(wrong: &impl Fn(String) -> EngineError) -> impl FnOnce(WrongMode) -> EngineError {
    move |mode| match mode {
        WrongMode::Unknown(mode) => wrong(format!("unknown gateway mode {mode}")),
        WrongMode::NotYet(mode) => EngineError::NotImplemented(format!(
            "Holm {} cannot route other computers' packets to containers: gateway mode {mode}",
            holm_api::VERSION
        )),
    }
}

fn isolated(mode: &str) -> Result<bool, WrongMode> {
    match mode {
        // No packet of another computer ever comes into the machine unasked, so both are the same.
        "nat" | "nat-unprotected" => Ok(false),
        "isolated" => Ok(true),
        "routed" => Err(WrongMode::NotYet(mode.to_owned())),
        _ => Err(WrongMode::Unknown(mode.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(option: &str, value: &str) -> Result<BridgeOptions, String> {
        let options = BTreeMap::from([(option.to_owned(), value.to_owned())]);
        BridgeOptions::parse(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_read_and_unknown_ones_mean_nothing() {
        let name = "com.docker.network.bridge.name";
        assert_eq!(parse(name, "br-mine").unwrap().interface.unwrap(), "br-mine");
        assert_eq!(parse(name, "").unwrap().interface, None);
        assert_eq!(parse(MTU_OPTION, "1450").unwrap().mtu, 1450);
        assert!(!parse("com.docker.network.bridge.enable_icc", "false").unwrap().talkative);
        assert!(parse("com.docker.network.bridge.gateway_mode_ipv6", "isolated").unwrap().isolated[1]);
        assert_eq!(parse("com.example.mine", "x").unwrap(), BridgeOptions::parse(&BTreeMap::new()).unwrap());
    }

    #[test]
    fn wrong_values_are_refused_in_mobys_words() {
        assert_eq!(
            parse("com.docker.network.bridge.enable_icc", "yes").unwrap_err(),
            "failed to parse com.docker.network.bridge.enable_icc value: yes (strconv.ParseBool: parsing \"yes\": invalid syntax)"
        );
        assert_eq!(
            parse("com.docker.network.bridge.gateway_mode_ipv4", "open").unwrap_err(),
            "failed to parse com.docker.network.bridge.gateway_mode_ipv4 value: open (unknown gateway mode open)"
        );
        assert_eq!(parse(MTU_OPTION, "-1").unwrap_err(), "invalid MTU number: -1");
        for name in ["../etc", "a b", "much-too-long-a-name", "a/b", ".."] {
            assert!(parse("com.docker.network.bridge.name", name).is_err(), "{name}");
        }
    }
}
