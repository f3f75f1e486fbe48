//! What a client asks of a container's place on a network, checked in moby's words (`validateEndpointSettings`).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use holm_api::models::EndpointSettings;

use super::mode::is_user_defined;
use super::plan::joined;
use super::{Network, Networks};
use crate::engine::EngineError;
use crate::network::MacAddress;

/// Sets sysctls of one interface.
const SYSCTLS_OPTION: &str = "com.docker.network.endpoint.sysctls";

/// What it comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) v4: Option<IpAddr>,
    pub(super) v6: Option<IpAddr>,
    pub(super) mac: Option<MacAddress>,
}

/// Reads it. [`check`] has found it good, but for the MAC address.
pub(super) fn wanted(settings: &EndpointSettings) -> Result<Wanted, EngineError> {
    let ipam = settings.ipam_config.clone().unwrap_or_default();
    let v4 = filled(&ipam.ipv4_address).and_then(|text| text.parse::<Ipv4Addr>().ok());
    let v6 = filled(&ipam.ipv6_address).and_then(|text| text.parse::<Ipv6Addr>().ok());
    let mac = match filled(&settings.mac_address) {
        None => None,
        Some(text) => Some(text.parse().map_err(|error| EngineError::Invalid(format!("{error}")))?),
    };
    Ok(Wanted { v4: v4.map(IpAddr::V4), v6: v6.map(IpAddr::V6), mac })
}

/// The fields that are wishes, without those that tell how a container is: clients send back what they were shown.
pub(crate) fn normalized(settings: EndpointSettings) -> EndpointSettings {
    EndpointSettings {
        ipam_config: settings.ipam_config,
        links: settings.links.filter(|links| !links.is_empty()),
        aliases: settings.aliases.filter(|aliases| !aliases.is_empty()),
        mac_address: settings.mac_address.filter(|mac| !mac.is_empty()),
        driver_opts: settings.driver_opts.filter(|options| !options.is_empty()),
        gw_priority: settings.gw_priority,
        ..EndpointSettings::default()
    }
}

/// Checks all of a new container's wishes. A network that is not there may be made before the start.
pub(crate) fn check_all(
    networks: &Networks,
    wishes: &HashMap<String, EndpointSettings>,
) -> Result<(), EngineError> {
    wishes.iter().try_for_each(|(name, wish)| {
        let network = networks.find(name).ok();
        check(network.as_ref().map_or(name, |network| &network.name), network.as_deref(), wish)
    })
}

/// Checks one.
pub(in crate::engine) fn check(
    name: &str,
    network: Option<&Network>,
    wish: &EndpointSettings,
) -> Result<(), EngineError> {
    let mut wrong = Vec::new();
    let ipam = wish.ipam_config.clone().unwrap_or_default();
    let (v4, v6) = (filled(&ipam.ipv4_address), filled(&ipam.ipv6_address));
    if !is_user_defined(name) {
        if v4.is_some() || v6.is_some() {
            wrong.push("user-specified IP address is supported on user-defined networks only".to_owned());
        }
        if wish.aliases.as_ref().is_some_and(|aliases| !aliases.is_empty()) {
            wrong.push("network-scoped aliases are only supported for user-defined networks".to_owned());
        }
    }
    let legal_4 = v4.map(|text| text.parse::<Ipv4Addr>().ok().filter(|address| !address.is_unspecified()));
    let legal_6 = v6.map(|text| text.parse::<Ipv6Addr>().ok().filter(|address| !address.is_unspecified()));
    if let (Some(text), Some(None)) = (v4, legal_4) {
        wrong.push(format!("invalid IPv4 address: {text}"));
    }
    if let (Some(text), Some(None)) = (v6, legal_6) {
        wrong.push(format!("invalid IPv6 address: {text}"));
    }
    if let Some(network) = network {
        let wanted = [legal_4.flatten().map(IpAddr::V4), legal_6.flatten().map(IpAddr::V6)];
        for address in wanted.into_iter().flatten() {
            if !network.subnets.iter().any(|subnet| subnet.net.contains(&address)) {
                wrong.push(format!("no configured subnet contains IP address {address}"));
            }
        }
    }
    if let Some(wrong) = joined(wrong) {
        return Err(EngineError::Invalid(format!("invalid endpoint settings:\n{wrong}")));
    }
    wanted(wish)?;
    let not_yet = if ipam.link_local_ips.is_some_and(|addresses| !addresses.is_empty()) {
        Some("give containers link-local addresses")
    } else if wish.driver_opts.as_ref().is_some_and(|options| options.contains_key(SYSCTLS_OPTION)) {
        Some("set sysctls of one interface")
    } else {
        None
    };
    match not_yet {
        None => Ok(()),
        Some(what) => {
            Err(EngineError::NotImplemented(format!("Holm {} cannot {what} yet", holm_api::VERSION)))
        }
    }
}

fn filled(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use holm_api::models::EndpointIpamConfig;

    use super::*;
    use crate::engine::networks::record::tests::network;

    fn wish(v4: &str, v6: &str) -> EndpointSettings {
        let ipam = EndpointIpamConfig {
            ipv4_address: Some(v4.to_owned()),
            ipv6_address: Some(v6.to_owned()),
            link_local_ips: None,
        };
        EndpointSettings { ipam_config: Some(ipam), ..EndpointSettings::default() }
    }

    fn refused(name: &str, wish: &EndpointSettings) -> String {
        check(name, Some(&network("mine", "10.1.0.0/24")), wish).unwrap_err().to_string()
    }

    #[test]
    fn a_fixed_address_is_one_of_the_networks() {
        check("mine", Some(&network("mine", "10.1.0.0/24")), &wish("10.1.0.9", "")).unwrap();
        assert_eq!(
            refused("mine", &wish("10.2.0.9", "")),
            "invalid endpoint settings:\nno configured subnet contains IP address 10.2.0.9"
        );
        assert_eq!(
            refused("mine", &wish("::1", "1.2.3.4")),
            "invalid endpoint settings:\n* invalid IPv4 address: ::1\n* invalid IPv6 address: 1.2.3.4"
        );
    }

    #[test]
    fn the_predefined_networks_give_neither_addresses_nor_names() {
        let mut both = wish("172.17.0.9", "");
        both.aliases = Some(vec!["db".to_owned()]);
        assert_eq!(
            check("bridge", None, &both).unwrap_err().to_string(),
            "invalid endpoint settings:\n\
             * user-specified IP address is supported on user-defined networks only\n\
             * network-scoped aliases are only supported for user-defined networks"
        );
    }

    #[test]
    fn what_a_client_was_shown_is_not_a_wish() {
        let shown = EndpointSettings {
            ip_address: Some("172.17.0.2".to_owned()),
            network_id: Some("x".to_owned()),
            aliases: Some(vec!["db".to_owned()]),
            ..wish("", "")
        };
        let normal = normalized(shown);
        assert_eq!((normal.ip_address, normal.network_id), (None, None));
        assert_eq!(normal.aliases.unwrap(), ["db"]);
    }
}
