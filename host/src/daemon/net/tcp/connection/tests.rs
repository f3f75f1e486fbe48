//! Against smoltcp's own TCP, over a link that loses packets, in time that only the test moves.

use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as GuestInstant;
use smoltcp::wire::{HardwareAddress, IpCidr, TcpPacket};

use super::super::send::Sender;
use super::*;
use crate::daemon::net::packet::parse;

const BYTES: usize = 400_000;
const STEP: Duration = Duration::from_millis(10);

/// A guest, a connection, and a link between them that loses some percent of the packets each way.
struct Link {
    interface: Interface,
    device: Queues,
    sockets: SocketSet<'static>,
    guest: SocketHandle,
    connection: Connection,
    downlink: Downlink,
    budget: Budget,
    start: Instant,
    now: Instant,
    percent: u64,
    random: u64,
}

impl Link {
    /// Handshakes over a link that loses nothing, and then begins to lose.
    fn losing(percent: u64) -> Self {
        let mut device = Queues::default();
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut device, GuestInstant::ZERO);
        let key = FlowKey { guest: "172.17.0.2:4000".parse().unwrap(), far: "1.1.1.1:80".parse().unwrap() };
        interface
            .update_ip_addrs(|addresses| addresses.push(IpCidr::new(key.guest.ip().into(), 16)).unwrap());
        interface.routes_mut().add_default_ipv4_route([172, 17, 0, 1].into()).unwrap();
        let buffer = || tcp::SocketBuffer::new(vec![0; 64 << 10]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.connect(interface.context(), key.far, key.guest).unwrap();
        let mut sockets = SocketSet::new(Vec::new());
        let guest = sockets.add(socket);
        interface.poll(GuestInstant::ZERO, &mut device, &mut sockets);
        let syn = device.sent.remove(0);
        let now = Instant::now();
        let syn = with_segment(&syn, Syn::new);
        let connection = Connection::answer(key, syn, Seq(u32::MAX - 1000), now);
        let (downlink, budget) = (Downlink::new(), Budget::new(1 << 20));
        let mut link = Self {
            interface,
            device,
            sockets,
            guest,
            connection,
            downlink,
            budget,
            start: now,
            now,
            percent: 0,
            random: percent,
        };
        let mut nothing = Vec::new();
        while !link.connection.is_established() {
            link.step(&mut nothing);
        }
        link.percent = percent;
        link
    }

    fn lost(&mut self) -> bool {
        // Knuth's generator: a regular pattern would always hit the same kind of packet.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % 100 < self.percent
    }

    /// A step of time, and everything that is under way. What the guest sent ends up in `host`.
    fn step(&mut self, host: &mut Vec<u8>) {
        self.now += STEP;
        assert_eq!(self.connection.on_time(self.now, &mut self.budget), Fate::Lives);
        for _ in 0..4 {
            assert!(self.connection.emit(&mut self.downlink, self.now));
            for packet in self.downlink.take() {
                if !self.lost() {
                    self.device.received.push_back(packet);
                }
            }
            let time = GuestInstant::from_micros((self.now - self.start).as_micros() as i64);
            self.interface.poll(time, &mut self.device, &mut self.sockets);
            for packet in std::mem::take(&mut self.device.sent) {
                if !self.lost() {
                    let (connection, budget, now) = (&mut self.connection, &mut self.budget, self.now);
                    let fate = with_segment(&packet, |repr| {
                        connection.on_segment(repr, now, budget, |bytes| {
                            host.extend_from_slice(bytes);
                            bytes.len()
                        })
                    });
                    assert_eq!(fate, Fate::Lives);
                }
            }
            let held = self.connection.receiver().held().to_vec();
            self.connection.receiver().consume(held.len(), &mut self.budget);
            host.extend_from_slice(&held);
        }
    }

    fn guest(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.guest)
    }
}

fn with_segment<R>(packet: &[u8], f: impl FnOnce(&TcpRepr<'_>) -> R) -> R {
    let packet = parse(packet).unwrap();
    let segment = TcpPacket::new_checked(packet.payload).unwrap();
    let (source, destination) = (packet.source.into(), packet.destination.into());
    f(&TcpRepr::parse(&segment, &source, &destination, &ChecksumCapabilities::default()).unwrap())
}

fn data() -> Vec<u8> {
    (0..BYTES).map(|n| (n % 253) as u8).collect()
}

fn write(sender: &mut Sender, data: &[u8], budget: &mut Budget) -> usize {
    let space = sender.space();
    let count = space.len().min(data.len());
    space[..count].copy_from_slice(&data[..count]);
    sender.commit(count, budget);
    count
}

#[test]
fn all_bytes_reach_the_guest_over_a_link_that_loses_some() {
    for percent in [0, 1, 5, 20, 40] {
        let mut link = Link::losing(percent);
        let (data, mut sent, mut received) = (data(), 0, Vec::new());
        let mut nothing = Vec::new();
        for _ in 0..1_000_000 {
            sent += write(link.connection.sender(), &data[sent..], &mut link.budget);
            if sent == BYTES {
                link.connection.sender().finish();
            }
            link.step(&mut nothing);
            let guest = link.guest();
            while guest.can_recv() {
                guest.recv(|bytes| (bytes.len(), received.extend_from_slice(bytes))).unwrap();
            }
            if !guest.may_recv() {
                break;
            }
        }
        assert!(received == data, "{percent} % lost: {} of {BYTES} bytes", received.len());
    }
}

#[test]
fn all_bytes_reach_the_host_over_a_link_that_loses_some() {
    for percent in [0, 1, 5, 20, 40] {
        let mut link = Link::losing(percent);
        let (data, mut sent, mut received) = (data(), 0, Vec::new());
        for _ in 0..1_000_000 {
            let guest = link.guest();
            if sent < BYTES {
                sent += guest.send_slice(&data[sent..]).unwrap();
                if sent == BYTES {
                    guest.close();
                }
            }
            link.step(&mut received);
            if link.connection.receiver().finished() {
                break;
            }
        }
        assert!(received == data, "{percent} % lost: {} of {BYTES} bytes", received.len());
    }
}

#[test]
fn a_silent_guest_is_asked_and_then_given_up() {
    let mut link = Link::losing(0);
    let mut asked = 0;
    loop {
        link.now = link.now.max(link.connection.deadline());
        if link.connection.on_time(link.now, &mut link.budget) == Fate::Dead {
            break;
        }
        link.connection.emit(&mut link.downlink, link.now);
        asked += link.downlink.take().len();
    }
    assert_eq!(asked, MOST_PROBES as usize);
}

#[test]
fn a_reset_must_stand_where_the_next_byte_is_expected() {
    let mut link = Link::losing(0);
    let next = link.connection.receiver().next();
    let mut reset = super::super::header(4000, 80, TcpControl::Rst, next.plus(5));
    let none = |_: &[u8]| 0;
    assert_eq!(link.connection.on_segment(&reset, link.now, &mut link.budget, none), Fate::Lives);
    link.connection.emit(&mut link.downlink, link.now);
    assert_eq!(link.downlink.take().len(), 1, "it is asked to come again");
    reset.seq_number = next.into();
    assert_eq!(link.connection.on_segment(&reset, link.now, &mut link.budget, none), Fate::Dead);
}

#[derive(Default)]
struct Queues {
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

impl Device for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _: GuestInstant) -> Option<(Received, Sent<'_>)> {
        let packet = self.received.pop_front()?;
        Some((Received(packet), Sent(&mut self.sent)))
    }

    fn transmit(&mut self, _: GuestInstant) -> Option<Sent<'_>> {
        Some(Sent(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        // As in a container behind an ordinary bridge: many segments, so that some are lost.
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

struct Received(Vec<u8>);
struct Sent<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut packet = vec![0; length];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}
