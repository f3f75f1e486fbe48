//! Wishes for networks, and what becomes of them.

use super::*;
use crate::engine::networks::record::tests::network;

fn try_with(wish: CreateNetwork, networks: &[Network], elsewhere: &[&str]) -> Result<Network, String> {
    let networks: Vec<_> = networks.iter().cloned().map(Arc::new).collect();
    let elsewhere: Vec<IpNet> = elsewhere.iter().map(|net| net.parse().unwrap()).collect();
    let around = Surroundings { networks: &networks, elsewhere: &elsewhere, machine: [1; 5] };
    plan(wish, &around, NetworkId::from_bytes([0xab; 32]), DateTime::UNIX_EPOCH)
        .map_err(|error| error.to_string())
}

fn wish(name: &str) -> CreateNetwork {
    CreateNetwork { name: name.to_owned(), ..CreateNetwork::default() }
}

fn with_subnet(subnet: &str, range: &str, gateway: &str) -> CreateNetwork {
    let config = IpamConfig {
        subnet: subnet.to_owned(),
        range: range.to_owned(),
        gateway: gateway.to_owned(),
        auxiliary: BTreeMap::new(),
    };
    CreateNetwork { ipam: Some(Ipam { config: vec![config], ..Ipam::default() }), ..wish("mine") }
}

fn refused(wish: CreateNetwork) -> String {
    try_with(wish, &[network("other", "10.9.0.0/16")], &[]).unwrap_err()
}

#[test]
fn a_network_without_wishes_is_the_next_of_dockers() {
    let planned = try_with(wish("mine"), &[network("bridge", "172.17.0.0/16")], &["172.18.0.0/16"]).unwrap();
    assert_eq!(planned.subnets[0].net, "172.19.0.0/16".parse().unwrap());
    assert_eq!(planned.subnets[0].gateway, Some("172.19.0.1".parse().unwrap()));
    assert_eq!(planned.interface(), "br-abababababab");
    assert_eq!(planned.ipam.driver, "default");
}

#[test]
fn a_subnet_may_be_one_that_the_computer_routes_elsewhere_if_it_is_asked_for() {
    let planned = try_with(with_subnet("10.1.0.0/24", "10.1.0.128/25", ""), &[], &["10.0.0.0/8"]).unwrap();
    assert_eq!(planned.subnets[0].gateway, Some("10.1.0.128".parse().unwrap()));
}

#[test]
fn both_families_have_their_own_subnet() {
    let planned = try_with(CreateNetwork { ipv6: Some(true), ..wish("mine") }, &[], &[]).unwrap();
    let nets: Vec<_> = planned.subnets.iter().map(|subnet| subnet.net.to_string()).collect();
    assert_eq!(nets, ["172.17.0.0/16", "fd01:101:101::/64"]);
    let only = CreateNetwork { ipv4: Some(false), ipv6: Some(true), ..wish("mine") };
    assert_eq!(try_with(only, &[], &[]).unwrap().subnets.len(), 1);
}

#[test]
fn wrong_configurations_are_told_all_at_once_in_mobys_words() {
    assert_eq!(
        refused(with_subnet("10.1.0.5/16", "10.2.0.0/8", "10.3.0.1")),
        "invalid network config:\n\
         * invalid subnet 10.1.0.5/16: it should be 10.1.0.0/16\n\
         * invalid ip-range 10.2.0.0/8: CIDR block is bigger than its parent subnet 10.1.0.5/16\n\
         * invalid ip-range 10.2.0.0/8: it should be 10.0.0.0/8\n\
         * invalid gateway 10.3.0.1: parent subnet 10.1.0.5/16 doesn't contain this address"
    );
    assert_eq!(
        refused(with_subnet("", "", "")),
        "invalid network config:\ninvalid subnet : invalid CIDR block notation"
    );
}

#[test]
fn what_cannot_be_made_is_refused_in_mobys_words() {
    assert_eq!(refused(wish("host")), "operation is not permitted on predefined host network ");
    assert_eq!(refused(wish(" ")), "invalid name: name is empty");
    assert_eq!(refused(wish("other")), "network with name other already exists");
    assert_eq!(
        refused(CreateNetwork { driver: "host".to_owned(), ..wish("mine") }),
        "only one instance of \"host\" network is allowed"
    );
    assert_eq!(
        refused(CreateNetwork { driver: "macvlan".to_owned(), ..wish("mine") }),
        "could not find plugin macvlan in v1 plugin registry: plugin not found"
    );
    assert_eq!(
        refused(with_subnet("10.9.3.0/24", "", "")),
        "invalid pool request: Pool overlaps with other one on this address space"
    );
}

#[test]
fn a_configuration_is_taken_from_another_network() {
    let only = CreateNetwork { config_only: true, ..with_subnet("10.4.0.0/24", "", "") };
    let configuration = try_with(CreateNetwork { name: "like".to_owned(), ..only }, &[], &[]).unwrap();
    assert!(configuration.subnets.is_empty());
    let like = CreateNetwork { config_from: Some("like".to_owned()), ..wish("mine") };
    let planned = try_with(like.clone(), &[configuration], &[]).unwrap();
    assert_eq!(planned.subnets[0].net, "10.4.0.0/24".parse().unwrap());
    assert_eq!(refused(like), "configuration network \"like\" does not exist");
}

mod fuzz {
    use super::*;

    #[test]
    fn any_wish_is_planned_or_refused() {
        bolero::check!().with_type::<(String, String, String, String)>().for_each(
            |(subnet, range, gateway, option)| {
                let mut wish = with_subnet(subnet, range, gateway);
                wish.ipv6 = Some(true);
                wish.options =
                    BTreeMap::from([("com.docker.network.bridge.name".to_owned(), option.clone())]);
                if let Ok(network) = try_with(wish, &[], &[]) {
                    assert!(network.interface().len() <= 15);
                    for subnet in network.subnets {
                        assert!(subnet.gateway.is_none_or(|gateway| subnet.net.contains(&gateway)));
                    }
                }
            },
        );
    }
}
