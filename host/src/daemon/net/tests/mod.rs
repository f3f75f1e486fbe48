//! The whole gateway, from packets to real sockets on loopback.

mod guest;
pub(super) mod kernel;
mod packets;
mod published;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use hickory_resolver::proto::op::{Message, Query};
use hickory_resolver::proto::rr::{Name, RecordType};
use holm_api::network::{GATEWAY_V4, GATEWAY_V6, HOST_V4, HOST_V6};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;
use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet, IpProtocol, TcpPacket, UdpPacket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use self::guest::{CONTAINER, CONTAINER_V6, Guest};
use super::GatewayConfig;
use super::packet::{IpPacket, parse};

const GUEST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(172, 17, 0, 9), 5000);

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port on which nobody listens, whatever else runs: it stays bound by a socket that does not listen.
fn shut_port() -> (socket2::Socket, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket_ipv4().unwrap().port();
    (socket, port)
}

fn at(address: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address, port)
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8).collect()
}

/// Sends all of `data`, ends that direction, and receives to the end.
async fn exchange(guest: &mut Guest, handle: SocketHandle, data: &[u8]) -> Vec<u8> {
    let (mut sent, mut received) = (0, Vec::new());
    guest
        .until(|guest| {
            let socket = guest.tcp(handle);
            if sent < data.len() && socket.can_send() {
                sent += socket.send_slice(&data[sent..]).unwrap();
                if sent == data.len() {
                    socket.close();
                }
            }
            while socket.can_recv() {
                socket.recv(|bytes| (bytes.len(), received.extend_from_slice(bytes))).unwrap();
            }
            (sent == data.len() && !socket.may_recv()).then_some(())
        })
        .await;
    received
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_direction_ends_by_itself() {
    for (source, far) in [(CONTAINER, HOST_V4.into()), (CONTAINER_V6, HOST_V6.into())] {
        let (listener, port) = listener().await;
        let host = tokio::spawn(async move {
            let mut stream = listener.accept().await.unwrap().0;
            let mut all = Vec::new();
            // The end comes although the guest still listens for the answer.
            stream.read_to_end(&mut all).await.unwrap();
            stream.write_all(&all).await.unwrap();
        });
        let mut guest = Guest::new();
        let far: std::net::IpAddr = far;
        let handle = guest.connect(source, (far, port));
        let data = bytes(3_000_000);
        assert!(exchange(&mut guest, handle, &data).await == data, "what came back is not what was sent");
        host.await.unwrap();
        guest.until(|guest| (guest.stats().tcp_flows == 0).then_some(())).await;
        assert_eq!(guest.stats().budget_used, 0);
    }
}

#[tokio::test]
async fn a_host_that_speaks_first_and_ends_is_heard_to_the_end() {
    let (listener, port) = listener().await;
    let data = bytes(1_000_000);
    let said = data.clone();
    let host = tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        stream.write_all(&said).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        all
    });
    let mut guest = Guest::new();
    let handle = guest.connect(CONTAINER, at(HOST_V4, port));
    let mut received = Vec::new();
    guest
        .until(|guest| {
            let socket = guest.tcp(handle);
            while socket.can_recv() {
                socket.recv(|bytes| (bytes.len(), received.extend_from_slice(bytes))).unwrap();
            }
            (socket.state() == State::CloseWait).then_some(())
        })
        .await;
    assert!(received == data);
    exchange(&mut guest, handle, b"still here").await;
    guest.until(|guest| (guest.stats().tcp_flows == 0).then_some(())).await;
    assert_eq!(host.await.unwrap(), b"still here");
}

#[tokio::test]
async fn a_host_that_reads_nothing_stops_the_guest() {
    let (listener, port) = listener().await;
    socket2::SockRef::from(&listener).set_recv_buffer_size(64 << 10).unwrap();
    let mut guest = Guest::new();
    let handle = guest.connect(CONTAINER, at(HOST_V4, port));
    let mut host = guest_meets(&mut guest, handle, &listener).await;
    let data = bytes(24 << 20);
    let (mut sent, mut quiet) = (0, 0);
    // Until the guest could send nothing for many rounds: buffers everywhere are full.
    guest
        .until(|guest| {
            let socket = guest.tcp(handle);
            let count = socket.send_slice(&data[sent..]).unwrap();
            sent += count;
            quiet = if count == 0 { quiet + 1 } else { 0 };
            (quiet >= 50 && socket.send_queue() == socket.send_capacity()).then_some(())
        })
        .await;
    assert!(sent < data.len() / 2, "{sent} bytes were taken for a host that reads none");
    let reader = tokio::spawn(async move {
        let mut all = Vec::new();
        host.read_to_end(&mut all).await.unwrap();
        all
    });
    exchange(&mut guest, handle, &data[sent..]).await;
    assert!(reader.await.unwrap() == data);
}

/// Both sides of a new connection.
async fn guest_meets(
    guest: &mut Guest,
    handle: SocketHandle,
    listener: &TcpListener,
) -> tokio::net::TcpStream {
    guest.until(|guest| guest.tcp(handle).may_send().then_some(())).await;
    listener.accept().await.unwrap().0
}

#[tokio::test]
async fn a_refused_port_is_refused() {
    let (_shut, port) = shut_port();
    let mut guest = Guest::new();
    guest.send(&packets::syn(GUEST, at(HOST_V4, port))).await;
    let reply = guest.receive().await;
    let packet = parse(&reply).unwrap();
    let segment = TcpPacket::new_checked(packet.payload).unwrap();
    assert!(segment.rst() && segment.ack());
    assert_eq!(segment.ack_number().0, 1001);
    assert_eq!(guest.stats().tcp_flows, 0);
}

#[tokio::test]
async fn a_reset_of_the_hosts_reaches_the_guest() {
    let (listener, port) = listener().await;
    let mut guest = Guest::new();
    let handle = guest.connect(CONTAINER, at(HOST_V4, port));
    let host = guest_meets(&mut guest, handle, &listener).await;
    socket2::SockRef::from(&host).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(host);
    guest.until(|guest| (guest.tcp(handle).state() == State::Closed).then_some(())).await;
    assert_eq!(guest.stats().tcp_flows, 0);
}

#[tokio::test]
async fn a_reset_of_the_guests_reaches_the_host() {
    let (listener, port) = listener().await;
    let mut guest = Guest::new();
    let handle = guest.connect(CONTAINER, at(HOST_V4, port));
    let mut host = guest_meets(&mut guest, handle, &listener).await;
    guest.tcp(handle).abort();
    guest.until(|guest| (guest.stats().tcp_flows == 0).then_some(())).await;
    let error = host.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_guest_that_vanishes_is_a_reset_and_not_an_end() {
    let (listener, port) = listener().await;
    let mut guest = Guest::new();
    let handle = guest.connect(CONTAINER, at(HOST_V4, port));
    let mut host = guest_meets(&mut guest, handle, &listener).await;
    drop(guest);
    let error = host.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn loopback_is_not_reached_by_its_own_addresses() {
    let (_listener, port) = listener().await;
    let mut guest = Guest::new();
    for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 9, 9, 9), Ipv4Addr::UNSPECIFIED] {
        guest.send(&packets::syn(GUEST, at(address, port))).await;
        let reply = guest.receive().await;
        assert!(TcpPacket::new_checked(parse(&reply).unwrap().payload).unwrap().rst(), "{address}");
    }
    assert_eq!(guest.stats().refused, 3);
}

#[tokio::test]
async fn an_empty_address_of_the_guests_network_is_unreachable() {
    let mut guest = Guest::new();
    guest.send(&packets::syn(GUEST, at(Ipv4Addr::new(192, 168, 65, 77), 80))).await;
    let reply = guest.receive().await;
    let packet = parse(&reply).unwrap();
    assert_eq!((packet.protocol, &packet.payload[..2]), (IpProtocol::Icmp, &[3, 1][..]));
    assert!(Icmpv4Packet::new_checked(packet.payload).unwrap().verify_checksum());
}

#[tokio::test]
async fn a_flood_of_syns_leaves_half_open_flows_bounded() {
    let (_listener, port) = listener().await;
    let config =
        GatewayConfig { most_half_open: 32, resolvers: Some(Vec::new()), ..GatewayConfig::default() };
    let mut guest = Guest::with(config);
    for source in 1..=5_000u16 {
        guest.send(&packets::syn(at(*GUEST.ip(), source), at(HOST_V4, port))).await;
        assert!(guest.stats().tcp_half_open <= 32);
    }
    guest.until(|guest| (guest.stats().received >= 5_000).then_some(())).await;
    let stats = guest.stats();
    assert!(stats.tcp_flows <= 32 && stats.budget_used == 0, "{stats:?}");
    assert!(stats.over_limit > 0);
}

/// The datagram in a packet.
fn datagram<'a>(packet: &IpPacket<'a>) -> UdpPacket<&'a [u8]> {
    let datagram = UdpPacket::new_checked(packet.payload).unwrap();
    assert!(datagram.verify_checksum(&packet.source.into(), &packet.destination.into()));
    datagram
}

#[tokio::test]
async fn datagrams_are_answered_by_whom_they_were_sent_to_and_by_nobody_else() {
    let host = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let far = at(HOST_V4, host.local_addr().unwrap().port());
    let mut guest = Guest::new();
    guest.send(&packets::udp(GUEST, far, b"ping")).await;
    let mut buffer = [0; 100];
    let (count, from) = host.recv_from(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..count], b"ping");
    stranger.send_to(b"let me in", from).await.unwrap();
    host.send_to(b"pong", from).await.unwrap();
    let reply = guest.receive().await;
    let packet = parse(&reply).unwrap();
    assert_eq!((packet.source, packet.destination), ((*far.ip()).into(), (*GUEST.ip()).into()));
    let reply = datagram(&packet);
    assert_eq!(
        (reply.src_port(), reply.dst_port(), reply.payload()),
        (far.port(), GUEST.port(), &b"pong"[..])
    );
    assert_eq!(guest.stats().udp_flows, 1);
}

#[tokio::test]
async fn a_datagram_in_pieces_arrives_whole() {
    let host = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let far = at(HOST_V4, host.local_addr().unwrap().port());
    let data = bytes(3_000);
    let whole = packets::udp(GUEST, far, &data);
    let mut guest = Guest::new();
    for (start, end) in [(1_480, 3_008), (0, 1_480)] {
        let mut piece = [&whole[..20], &whole[20 + start..20 + end]].concat();
        let total = piece.len() as u16;
        let mut header = smoltcp::wire::Ipv4Packet::new_unchecked(&mut piece[..]);
        header.set_total_len(total);
        header.set_frag_offset(start as u16);
        header.set_more_frags(start == 0);
        header.fill_checksum();
        guest.send(&piece).await;
    }
    let mut received = vec![0; 4_000];
    let (count, _) = host.recv_from(&mut received).await.unwrap();
    assert!(received[..count] == data);
}

#[tokio::test]
async fn one_guest_port_is_one_host_port_whomever_it_talks_to() {
    let (one, two) =
        (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let mut guest = Guest::new();
    let mut seen = Vec::new();
    for host in [&one, &two] {
        let port = host.local_addr().unwrap().port();
        guest.send(&packets::udp(GUEST, at(HOST_V4, port), b"x")).await;
        seen.push(host.recv_from(&mut [0; 1]).await.unwrap().1);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn old_udp_flows_give_way_to_new_ones() {
    let host = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = host.local_addr().unwrap().port();
    let mut guest = Guest::with(GatewayConfig { most_udp_flows: 4, ..GatewayConfig::default() });
    for source in 1..50 {
        guest.send(&packets::udp(at(*GUEST.ip(), source), at(HOST_V4, port), b"x")).await;
        host.recv_from(&mut [0; 1]).await.unwrap();
        assert!(guest.stats().udp_flows <= 4);
    }
}

#[tokio::test]
async fn a_container_that_opens_more_than_there_is_harms_itself_alone() {
    let (listener, port) = listener().await;
    let host = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp = host.local_addr().unwrap().port();
    let config = GatewayConfig {
        most_tcp_flows: 16,
        most_udp_flows: 16,
        resolvers: Some(Vec::new()),
        ..GatewayConfig::default()
    };
    let mut guest = Guest::with(config);
    let (quiet, greedy) = (at(Ipv4Addr::new(172, 17, 0, 8), 5000), |source| at(*GUEST.ip(), source));
    guest.send(&packets::udp(quiet, at(HOST_V4, udp), b"mine")).await;
    let (_, before) = host.recv_from(&mut [0; 4]).await.unwrap();
    for source in 1..=50 {
        guest.send(&packets::syn(greedy(source), at(HOST_V4, port))).await;
        guest.send(&packets::udp(greedy(source), at(HOST_V4, udp), b"more")).await;
        host.recv_from(&mut [0; 4]).await.unwrap();
    }
    let stats = guest.stats();
    assert!(stats.tcp_flows <= 12 && stats.udp_flows <= 13, "{stats:?}");
    // The other one keeps its socket, and can still connect.
    guest.send(&packets::udp(quiet, at(HOST_V4, udp), b"mine")).await;
    assert_eq!(host.recv_from(&mut [0; 4]).await.unwrap().1, before);
    let handle = guest.connect(CONTAINER, at(HOST_V4, port));
    guest.until(|guest| guest.tcp(handle).may_send().then_some(())).await;
    drop(listener);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_datagram_to_a_shut_port_comes_back_as_unreachable() {
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let mut guest = Guest::new();
    guest.send(&packets::udp(GUEST, at(HOST_V4, port), b"anybody?")).await;
    let reply = guest.receive().await;
    let packet = parse(&reply).unwrap();
    assert_eq!((packet.protocol, &packet.payload[..2]), (IpProtocol::Icmp, &[3, 3][..]));
    // The datagram's ports, as the guest's kernel looks for.
    assert_eq!(packet.payload[28..30], GUEST.port().to_be_bytes());
    assert_eq!(packet.payload[30..32], port.to_be_bytes());
}

fn question(name: &str) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

fn answered_with_host(bytes: &[u8]) -> bool {
    let answer = Message::from_vec(bytes).unwrap();
    answer.answers.len() == 1 && answer.answers[0].data.ip_addr() == Some(HOST_V4.into())
}

#[tokio::test]
async fn names_are_answered_by_udp_and_by_tcp() {
    let mut guest = Guest::new();
    let query = question("host.docker.internal.");
    guest.send(&packets::udp(GUEST, at(GATEWAY_V4, 53), &query)).await;
    let reply = guest.receive().await;
    assert!(answered_with_host(datagram(&parse(&reply).unwrap()).payload()));

    let handle = guest.connect(CONTAINER, at(GATEWAY_V4, 53));
    guest.until(|guest| guest.tcp(handle).may_send().then_some(())).await;
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(&query);
    let reply = exchange(&mut guest, handle, &framed).await;
    assert!(answered_with_host(&reply[2..]));
}

#[tokio::test]
async fn the_gateway_answers_nothing_but_dns() {
    let mut guest = Guest::new();
    guest.send(&packets::syn(GUEST, at(GATEWAY_V4, 80))).await;
    let reply = guest.receive().await;
    assert!(TcpPacket::new_checked(parse(&reply).unwrap().payload).unwrap().rst());
    guest.send(&packets::udp(GUEST, at(GATEWAY_V4, 123), b"x")).await;
    let reply = guest.receive().await;
    assert_eq!(parse(&reply).unwrap().payload[..2], [3, 3]);
}

#[tokio::test]
async fn gateway_and_host_answer_pings() {
    let mut guest = Guest::new();
    for address in [GATEWAY_V4, HOST_V4] {
        guest.send(&packets::echo(*GUEST.ip(), address, 77)).await;
        let reply = guest.receive().await;
        let packet = parse(&reply).unwrap();
        assert_eq!(packet.source, std::net::IpAddr::from(address));
        let echo = Icmpv4Packet::new_checked(packet.payload).unwrap();
        assert!(echo.verify_checksum());
        assert_eq!((packet.payload[0], echo.echo_ident(), echo.data()), (0, 77, &b"hi"[..]));
    }
}

#[tokio::test]
async fn garbage_is_counted_and_changes_nothing() {
    let mut guest = Guest::new();
    let mut fragment = packets::udp(GUEST, at(HOST_V4, 9), b"x");
    fragment[6] = 0x20;
    smoltcp::wire::Ipv4Packet::new_unchecked(&mut fragment[..]).fill_checksum();
    let short = packets::ip(*GUEST.ip(), HOST_V4, IpProtocol::Tcp, b"short");
    let spoofed = packets::udp(at(Ipv4Addr::BROADCAST, 9), at(HOST_V4, 9), b"x");
    let packets: [&[u8]; 5] = [b"", b"garbage", &short, &fragment, &spoofed];
    for packet in packets {
        guest.send(packet).await;
    }
    guest.until(|guest| (guest.stats().received == 5).then_some(())).await;
    let stats = guest.stats();
    assert_eq!((stats.malformed, stats.fragments, stats.refused), (3, 1, 1));
    assert_eq!((stats.tcp_flows, stats.udp_flows), (0, 0));
}

#[tokio::test]
async fn a_packet_at_its_last_hop_ends_at_the_gateway_which_says_so() {
    let mut guest = Guest::new();
    let far = Ipv4Addr::new(203, 0, 113, 9);
    let sent = [
        packets::udp(GUEST, at(far, 33_434), b"probe"),
        packets::syn(GUEST, at(far, 80)),
        packets::echo(*GUEST.ip(), far, 77),
    ];
    for sent in sent.map(packets::at_its_last_hop) {
        guest.send(&sent).await;
        let bytes = guest.receive().await;
        let packet = parse(&bytes).unwrap();
        assert_eq!((packet.source, packet.destination), (GATEWAY_V4.into(), (*GUEST.ip()).into()));
        let message = Icmpv4Packet::new_checked(packet.payload).unwrap();
        assert_eq!((message.msg_type().into(), message.msg_code()), (11u8, 0));
        assert!(message.verify_checksum());
        let quoted = &packet.payload[8..];
        assert_eq!(
            (&quoted[12..20], &quoted[20..28]),
            (&sent[12..20], &sent[20..28]),
            "ends, and first bytes"
        );
    }
    assert_eq!((guest.stats().udp_flows, guest.stats().tcp_flows, guest.stats().ping_flows), (0, 0, 0));
}

#[tokio::test]
async fn a_packet_at_its_last_hop_ends_so_on_ipv6() {
    let mut guest = Guest::new();
    let (source, far): (Ipv6Addr, Ipv6Addr) = (CONTAINER_V6.parse().unwrap(), "2001:db8::9".parse().unwrap());
    let datagram = [0x13, 0x88, 0x82, 0x9a, 0, 8, 0, 0];
    guest.send(&packets::at_its_last_hop(packets::ip_v6(source, far, IpProtocol::Udp, &datagram))).await;
    let bytes = guest.receive().await;
    let packet = parse(&bytes).unwrap();
    assert_eq!((packet.source, packet.destination), (GATEWAY_V6.into(), source.into()));
    let message = Icmpv6Packet::new_checked(packet.payload).unwrap();
    assert_eq!((message.msg_type().into(), message.msg_code()), (3u8, 0));
    assert!(message.verify_checksum(&GATEWAY_V6, &source));
    assert_eq!(packet.payload[48..56], datagram);
}

#[tokio::test]
async fn at_its_last_hop_the_gateway_is_reached_and_no_error_is_answered_with_one() {
    let mut guest = Guest::new();
    let far = Ipv4Addr::new(203, 0, 113, 9);
    let error = packets::ip(*GUEST.ip(), far, IpProtocol::Icmp, &[3, 3, 0, 0, 0, 0, 0, 0]);
    let multicast = packets::udp(GUEST, at(Ipv4Addr::new(239, 255, 255, 250), 1_900), b"x");
    let echo = packets::echo(*GUEST.ip(), GATEWAY_V4, 77);
    for sent in [error, multicast, echo].map(packets::at_its_last_hop) {
        guest.send(&sent).await;
    }
    let bytes = guest.receive().await;
    let packet = parse(&bytes).unwrap();
    assert_eq!((packet.source, packet.payload[0]), (GATEWAY_V4.into(), 0), "the reply of the last one");
}
