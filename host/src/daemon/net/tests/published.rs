//! Connections and datagrams to the guest, from real sockets on loopback.

use std::sync::Arc;

use smoltcp::socket::udp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;

use super::guest::{CONTAINER, CONTAINER_V6, Guest};
use super::*;
use crate::daemon::net::inlet::{Arrival, Order, Owner, source};

const PORT: u16 = 80;
const OWNER: Owner = Owner(1);

/// A client, and its accepted connection.
async fn client() -> (TcpStream, TcpStream) {
    let (listener, port) = listener().await;
    let client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// Hands a connection to the gateway, as a published port would.
async fn arrive(guest: &Guest, stream: TcpStream, target: &str) {
    let places = Arc::new(Semaphore::new(1));
    let place = places.acquire_owned().await.unwrap();
    let target = SocketAddr::new(target.parse().unwrap(), PORT);
    let source = source(stream.peer_addr().unwrap(), target.ip(), &[]);
    let arrival = Arrival { stream, source, target, owner: OWNER, place };
    assert!(guest.orders().send(Order::Connection(arrival)).await.is_ok());
}

/// A guest that has accepted `client`'s connection.
async fn met(target: &str) -> (Guest, SocketHandle, TcpStream) {
    let mut guest = Guest::new();
    let handle = guest.listen(PORT);
    let (client, accepted) = client().await;
    arrive(&guest, accepted, target).await;
    guest.until(|guest| guest.tcp(handle).may_send().then_some(())).await;
    (guest, handle, client)
}

#[tokio::test]
async fn a_client_and_a_container_talk_until_both_have_ended() {
    for (target, gateway) in [(CONTAINER, "192.168.65.1"), (CONTAINER_V6, "fdc4:f303:9324::1")] {
        let (mut guest, handle, mut client) = met(target).await;
        let remote = guest.tcp(handle).remote_endpoint().unwrap();
        assert_eq!(remote.addr.to_string(), gateway);
        assert_eq!(remote.port, client.local_addr().unwrap().port());
        let data = bytes(3 << 20);
        let sent = data.clone();
        let talking = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            // Half-close: what is asked is over, what is answered is not.
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        });
        let mut heard = Vec::new();
        guest
            .until(|guest| {
                let socket = guest.tcp(handle);
                let _ = socket.recv(|bytes| {
                    heard.extend_from_slice(bytes);
                    (bytes.len(), ())
                });
                (socket.state() == State::CloseWait && !socket.can_recv()).then_some(())
            })
            .await;
        assert!(heard == data);
        exchange(&mut guest, handle, b"all of it").await;
        guest.until(|guest| (guest.stats().tcp_flows == 0).then_some(())).await;
        assert_eq!(talking.await.unwrap(), b"all of it");
    }
}

#[tokio::test]
async fn a_container_without_a_listener_resets_the_client() {
    let mut guest = Guest::new();
    let (mut client, accepted) = client().await;
    arrive(&guest, accepted, CONTAINER).await;
    guest.until(|guest| (guest.stats().received > 0 && guest.stats().tcp_flows == 0).then_some(())).await;
    assert_eq!(client.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_container_that_cannot_be_reached_resets_the_client_at_once() {
    let mut guest = Guest::new();
    let (mut client, accepted) = client().await;
    arrive(&guest, accepted, "172.17.0.99").await;
    let syn = guest.receive().await;
    // A router's answer: no such host, and the packet's first bytes.
    let mut message = vec![3, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&syn[..28]);
    smoltcp::wire::Icmpv4Packet::new_unchecked(&mut message[..]).fill_checksum();
    guest.send(&packets::ip([172, 17, 0, 1].into(), GATEWAY_V4, IpProtocol::Icmp, &message)).await;
    assert_eq!(client.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(guest.stats().tcp_flows, 0);
}

#[tokio::test]
async fn resets_pass_both_ways() {
    let (mut guest, handle, mut client) = met(CONTAINER).await;
    guest.tcp(handle).abort();
    guest.until(|guest| (guest.stats().tcp_flows == 0).then_some(())).await;
    assert_eq!(client.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);

    let (mut guest, handle, client) = met(CONTAINER).await;
    crate::daemon::net::reset(&client);
    drop(client);
    guest.until(|guest| (guest.tcp(handle).state() == State::Closed).then_some(())).await;
}

#[tokio::test]
async fn a_container_that_reads_nothing_stops_the_client() {
    let (mut guest, _handle, client) = met(CONTAINER).await;
    let data = vec![7; 1 << 20];
    let mut sent = 0;
    // Far less than what would fit into the guest's 256 KiB, ours and the kernel's buffers is not reached.
    let mut quiet = 0;
    guest
        .until(|_| {
            match client.try_write(&data) {
                Ok(count) => (sent, quiet) = (sent + count, 0),
                Err(_) => quiet += 1,
            }
            (quiet > 50).then_some(())
        })
        .await;
    assert!(sent < 32 << 20, "{sent} bytes were taken for a container that reads none");
}

#[tokio::test]
async fn two_clients_with_one_port_are_told_apart() {
    let mut guest = Guest::new();
    let handles = [guest.listen(PORT), guest.listen(PORT)];
    let places = Arc::new(Semaphore::new(2));
    let mut clients = Vec::new();
    for _ in handles {
        let (client, stream) = client().await;
        let target = SocketAddr::new(CONTAINER.parse().unwrap(), PORT);
        let place = places.clone().acquire_owned().await.unwrap();
        let source = "203.0.113.7:4000".parse().unwrap();
        let arrival = Arrival { stream, source, target, owner: OWNER, place };
        assert!(guest.orders().send(Order::Connection(arrival)).await.is_ok());
        clients.push(client);
    }
    guest.until(|guest| handles.iter().all(|handle| guest.tcp(*handle).may_send()).then_some(())).await;
    let ports: Vec<_> = handles.iter().map(|handle| guest.tcp(*handle).remote_endpoint().unwrap()).collect();
    assert_eq!(ports[0].addr, ports[1].addr);
    assert_ne!(ports[0].port, ports[1].port);
    assert_eq!(places.available_permits(), 2, "given back once the container has answered");
}

#[tokio::test]
async fn clients_over_the_limit_are_reset_and_containers_still_connect() {
    let (listener, port) = listener().await;
    let config =
        GatewayConfig { most_inbound_flows: 2, resolvers: Some(Vec::new()), ..GatewayConfig::default() };
    let mut guest = Guest::with(config);
    let mut clients = Vec::new();
    for _ in 0..3 {
        guest.listen(PORT);
        let (client, accepted) = client().await;
        arrive(&guest, accepted, CONTAINER).await;
        clients.push(client);
    }
    guest.until(|guest| (guest.stats().over_limit == 1).then_some(())).await;
    assert_eq!(clients[2].read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let handle = guest.connect(CONTAINER, at(HOST_V4, port));
    guest_meets(&mut guest, handle, &listener).await;
}

#[tokio::test]
async fn flows_of_a_container_that_has_ended_end_soon() {
    let (mut guest, _handle, mut client) = met(CONTAINER).await;
    let (closed, _gone) = tokio::sync::oneshot::channel();
    assert!(guest.orders().send(Order::Close { owner: OWNER, closed }).await.is_ok());
    guest.until(|guest| (guest.stats().tcp_flows == 0).then_some(())).await;
    assert_eq!(client.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn datagrams_reach_a_container_and_its_answers_the_client() {
    let mut guest = Guest::new();
    let handle = guest.datagrams(53);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap();
    let target = SocketAddr::new(CONTAINER.parse().unwrap(), 53);
    let order = Order::Datagrams { socket, target, inside: Arc::new([]), owner: OWNER };
    assert!(guest.orders().send(order).await.is_ok());
    let clients =
        [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
    for (number, client) in clients.iter().enumerate() {
        client.send_to(&[number as u8], port).await.unwrap();
    }
    for _ in &clients {
        let (bytes, from) = guest
            .until(|guest| {
                let socket = guest.sockets.get_mut::<udp::Socket>(handle);
                socket.recv().ok().map(|(bytes, from)| (bytes.to_vec(), from.endpoint))
            })
            .await;
        assert_eq!(from.addr.to_string(), "192.168.65.1");
        let socket = guest.sockets.get_mut::<udp::Socket>(handle);
        socket.send_slice(&[bytes[0] + 10], from).unwrap();
    }
    guest.until(|guest| (guest.stats().received >= 2).then_some(())).await;
    for (number, client) in clients.iter().enumerate() {
        let mut answer = [0; 8];
        let (count, from) = client.recv_from(&mut answer).await.unwrap();
        assert_eq!((&answer[..count], from), (&[number as u8 + 10][..], port));
    }
    assert_eq!(guest.stats().udp_flows, 0, "no socket of the guest's own was opened");
    // Closed, the number is free.
    let (closed, gone) = tokio::sync::oneshot::channel();
    assert!(guest.orders().send(Order::Close { owner: OWNER, closed }).await.is_ok());
    gone.await.unwrap_err();
    UdpSocket::bind(port).await.unwrap();
}

#[tokio::test]
async fn an_answer_comes_from_the_address_that_was_asked() {
    let mut guest = Guest::new();
    let handle = guest.datagrams(53);
    let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let target = SocketAddr::new(CONTAINER.parse().unwrap(), 53);
    let order = Order::Datagrams { socket, target, inside: Arc::new([]), owner: OWNER };
    assert!(guest.orders().send(order).await.is_ok());
    // One client may ask several; nearest to it is always 127.0.0.1.
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for asked in ["127.0.0.2", "127.0.0.3"] {
        client.send_to(asked.as_bytes(), (asked, port)).await.unwrap();
        let (bytes, from) = guest
            .until(|guest| {
                let socket = guest.sockets.get_mut::<udp::Socket>(handle);
                socket.recv().ok().map(|(bytes, from)| (bytes.to_vec(), from.endpoint))
            })
            .await;
        guest.sockets.get_mut::<udp::Socket>(handle).send_slice(&bytes, from).unwrap();
        let received = guest.stats().received;
        guest.until(|guest| (guest.stats().received > received).then_some(())).await;
        let mut answer = [0; 16];
        let (count, from) = client.recv_from(&mut answer).await.unwrap();
        assert_eq!((&answer[..count], from.ip().to_string()), (asked.as_bytes(), asked.to_owned()));
    }
}
