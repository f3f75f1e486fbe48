//! Real sockets on loopback, and a gateway's end that only looks at what arrives.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};

use tokio::net::TcpStream;

use holm_api::services::{Protocol, ShownPort};

use super::*;
use crate::daemon::net::inlet::Inlet;

fn ports() -> (Ports, Inlet) {
    let (gateway, inlet) = Inlet::new();
    (Ports::new(gateway), inlet)
}

async fn order(inlet: &Inlet) -> Order {
    std::future::poll_fn(|context| inlet.poll(context)).await
}

fn id(number: u8) -> ContainerId {
    ContainerId::from_bytes([number; 32])
}

fn wish(protocol: Protocol, address: Option<&str>, first: u16, last: u16) -> PortWish {
    PortWish { protocol, container_port: 80, address: address.map(|text| text.parse().unwrap()), first, last }
}

fn open(container: u8, ports: Vec<PortWish>) -> OpenPorts {
    let target = Target { v4: Some(Ipv4Addr::new(172, 17, 0, 2)), v6: None };
    OpenPorts { container: id(container), target, inside: Vec::new(), ports }
}

/// A number that nobody has.
fn spare() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn any_number_is_the_same_in_both_families_and_clients_arrive() {
    let (ports, inlet) = ports();
    let bound = ports.open(open(1, vec![wish(Protocol::Tcp, None, 0, 0)])).await.unwrap();
    assert_eq!(bound[0].address, IpAddr::from(Ipv4Addr::UNSPECIFIED));
    assert!(bound.iter().all(|port| port.port == bound[0].port && port.port != 0));
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, bound[0].port)).await.unwrap();
    let Order::Connection(arrival) = order(&inlet).await else { panic!("something else") };
    assert_eq!(arrival.target, "172.17.0.2:80".parse().unwrap());
    assert_eq!(
        arrival.source,
        SocketAddr::new([192, 168, 65, 1].into(), client.local_addr().unwrap().port())
    );
    if bound.len() == 2 {
        assert_eq!(bound[1].address, IpAddr::from(Ipv6Addr::UNSPECIFIED));
        let _client = TcpStream::connect((Ipv6Addr::LOCALHOST, bound[1].port)).await.unwrap();
        assert!(matches!(order(&inlet).await, Order::Connection(_)));
    }
}

#[tokio::test]
async fn what_another_container_has_is_allocated_and_what_another_program_has_is_in_use() {
    let (ports, _inlet) = ports();
    let number = spare();
    let local = || vec![wish(Protocol::Tcp, Some("127.0.0.1"), number, number)];
    ports.open(open(1, local())).await.unwrap();
    assert_eq!(
        ports.open(open(2, local())).await.unwrap_err().to_string(),
        format!("Bind for 127.0.0.1:{number} failed: port is already allocated")
    );
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = other.local_addr().unwrap().port();
    let refused = ports.open(open(2, vec![wish(Protocol::Tcp, Some("127.0.0.1"), number, number)])).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        format!("failed to bind host port for 127.0.0.1:{number}:172.17.0.2:80/tcp: address already in use")
    );
}

#[tokio::test]
async fn a_range_gives_the_first_that_is_free() {
    let (ports, _inlet) = ports();
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let number = other.local_addr().unwrap().port();
    let range = || vec![wish(Protocol::Udp, Some("127.0.0.1"), number, number.saturating_add(20))];
    let first = ports.open(open(1, range())).await.unwrap()[0].port;
    let second = ports.open(open(2, range())).await.unwrap()[0].port;
    assert!(number < first && first < second, "{number} {first} {second}");
}

#[tokio::test]
async fn all_or_none_are_opened() {
    let (ports, _inlet) = ports();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, free) = (other.local_addr().unwrap().port(), spare());
    let both = [free, taken].map(|number| wish(Protocol::Tcp, Some("127.0.0.1"), number, number));
    ports.open(open(1, both.to_vec())).await.unwrap_err();
    TcpListener::bind(("127.0.0.1", free)).unwrap();
}

#[tokio::test]
async fn a_wish_that_is_open_already_is_answered_as_the_first_time() {
    let (ports, inlet) = ports();
    let wish = open(1, vec![wish(Protocol::Tcp, Some("127.0.0.1"), 0, 0)]);
    let first = ports.open(wish.clone()).await.unwrap();
    assert_eq!(ports.open(wish.clone()).await.unwrap(), first);
    // At another address the container is another one.
    let elsewhere = Target { v4: Some(Ipv4Addr::new(172, 17, 0, 9)), v6: None };
    let (second, ()) = tokio::join!(ports.open(OpenPorts { target: elsewhere, ..wish }), async {
        assert!(matches!(order(&inlet).await, Order::Close { .. }));
    });
    let second = second.unwrap();
    let _client = TcpStream::connect(("127.0.0.1", second[0].port)).await.unwrap();
    let Order::Connection(arrival) = order(&inlet).await else { panic!("something else") };
    assert_eq!(arrival.target.ip(), IpAddr::from([172, 17, 0, 9]));
}

#[tokio::test]
async fn closed_ports_are_free_at_once_and_kept_ones_stay() {
    let (ports, inlet) = ports();
    let any = || vec![wish(Protocol::Tcp, Some("127.0.0.1"), 0, 0)];
    let mut numbers = Vec::new();
    for container in 1..=3 {
        numbers.push(ports.open(open(container, any())).await.unwrap()[0].port);
    }
    let closing = async {
        ports.close(&id(1)).await;
        ports.keep(&[id(3)]).await;
    };
    let gateway = async {
        for _ in 0..2 {
            assert!(matches!(order(&inlet).await, Order::Close { .. }));
        }
    };
    tokio::join!(closing, gateway);
    for (number, is_free) in numbers.iter().zip([true, true, false]) {
        assert_eq!(TcpListener::bind(("127.0.0.1", *number)).is_ok(), is_free);
    }
}

#[tokio::test]
async fn a_computer_without_the_address_says_so() {
    let (ports, _inlet) = ports();
    let number = spare();
    let refused = ports.open(open(1, vec![wish(Protocol::Tcp, Some("192.0.2.1"), number, number)])).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        format!(
            "failed to bind host port for 192.0.2.1:{number}:172.17.0.2:80/tcp: cannot assign requested address"
        )
    );
}

#[test]
fn a_low_port_that_is_refused_comes_with_the_way_out() {
    let error = PortsError::Bind {
        binding: "0.0.0.0:80:172.17.0.2:80/tcp".to_owned(),
        port: 80,
        cause: io::ErrorKind::PermissionDenied.into(),
    };
    let text = error.to_string();
    assert!(
        text.starts_with("failed to bind host port for 0.0.0.0:80:172.17.0.2:80/tcp: permission denied ("),
        "{text}"
    );
}

fn shown(protocol: Protocol, port: u16, v4: [u8; 4]) -> ShownPort {
    ShownPort { protocol, port, target: Target { v4: Some(v4.into()), v6: None } }
}

#[tokio::test]
async fn ports_of_the_machines_network_are_on_the_loopback_while_they_are_listed() {
    let (ports, inlet) = ports();
    let number = spare();
    ports.show(&[shown(Protocol::Tcp, number, [192, 168, 65, 3])]).await.unwrap();
    for loopback in ["127.0.0.1", "::1"] {
        let _client = TcpStream::connect((loopback, number)).await.unwrap();
        let Order::Connection(arrival) = order(&inlet).await else { panic!("something else") };
        assert_eq!(arrival.target, SocketAddr::from(([192, 168, 65, 3], number)), "{loopback}");
    }
    // Nobody but the computer itself reaches them.
    TcpListener::bind(("127.0.0.2", number)).unwrap();
    // They are no container's.
    ports.keep(&[]).await;
    ports.show(&[shown(Protocol::Tcp, number, [192, 168, 65, 3])]).await.unwrap();
    assert!(TcpListener::bind(("127.0.0.1", number)).is_err());
    let gateway = async {
        for _ in 0..2 {
            assert!(matches!(order(&inlet).await, Order::Close { .. }));
        }
    };
    let (hidden, ()) = tokio::join!(ports.show(&[]), gateway);
    hidden.unwrap();
    TcpListener::bind(("127.0.0.1", number)).unwrap();
}

#[tokio::test]
async fn a_port_that_listens_elsewhere_now_leads_there() {
    let (ports, inlet) = ports();
    let number = spare();
    let port = |last| [shown(Protocol::Udp, number, [172, 17, 0, last])];
    let targets = async |count: usize| {
        let mut targets = Vec::new();
        while targets.len() < count {
            if let Order::Datagrams { target, .. } = order(&inlet).await {
                targets.push(target.to_string());
            }
        }
        targets
    };
    for last in [1, 2] {
        let port = port(last);
        let (shown, targets) = tokio::join!(ports.show(&port), targets(2));
        shown.unwrap();
        assert_eq!(targets, [0, 1].map(|_| format!("172.17.0.{last}:{number}")));
    }
}

#[tokio::test]
async fn a_port_that_is_taken_fails_nobody_and_is_had_when_it_is_free() {
    let (ports, _inlet) = ports();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, free) = (other.local_addr().unwrap().port(), spare());
    let both = [taken, free].map(|number| shown(Protocol::Tcp, number, [192, 168, 65, 3]));
    ports.show(&both).await.unwrap();
    assert!(TcpListener::bind(("127.0.0.1", free)).is_err());
    drop(other);
    TcpListener::bind(("127.0.0.1", taken)).unwrap();
    ports.show(&both).await.unwrap();
    assert!(TcpListener::bind(("127.0.0.1", taken)).is_err());
}

#[tokio::test]
async fn a_list_without_end_is_refused() {
    let (ports, _inlet) = ports();
    let many = vec![shown(Protocol::Tcp, 1, [192, 168, 65, 3]); MOST_SHOWN + 1];
    assert!(matches!(ports.show(&many).await, Err(PortsError::TooManyShown)));
}
