//! A guest made of a second smoltcp stack, with a stream to a real gateway that uses real sockets.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use holm_api::network::{FRAME_HEADER, GATEWAY_V4, GATEWAY_V6, MTU, Offload};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr, IpEndpoint};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::kernel;
use crate::daemon::net::{Gateway, GatewayConfig, Stats};

/// What a test waits for comes at once or never.
const NEVER: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub(super) const CONTAINER_V6: &str = "fd00::2";
pub(super) const CONTAINER: &str = "172.17.0.2";

pub(super) struct Guest {
    gateway: std::sync::Arc<Gateway>,
    interface: Interface,
    device: Queues,
    pub(super) sockets: SocketSet<'static>,
    packets: mpsc::Receiver<Vec<u8>>,
    writer: WriteHalf<DuplexStream>,
    port: u16,
    _tasks: [AbortOnDropHandle<()>; 2],
}

#[derive(Default)]
struct Queues {
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

impl Guest {
    pub(super) fn new() -> Self {
        Self::with(GatewayConfig { resolvers: Some(Vec::new()), ..GatewayConfig::default() })
    }

    pub(super) fn with(config: GatewayConfig) -> Self {
        let (guest, host) = tokio::io::duplex(1 << 20);
        let gateway = std::sync::Arc::new(Gateway::new(config));
        let serving = std::sync::Arc::clone(&gateway);
        let serve = tokio::spawn(async move { serving.serve(Box::new(host)).await.unwrap() });
        let (reader, writer) = tokio::io::split(guest);
        let (sender, packets) = mpsc::channel(64);
        let read = tokio::spawn(read(reader, sender));
        let mut device = Queues::default();
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut device, Instant::now());
        interface.update_ip_addrs(|addresses| {
            for (address, prefix) in [(CONTAINER, 16), (CONTAINER_V6, 64)] {
                addresses.push(IpCidr::new(address.parse().unwrap(), prefix)).unwrap();
            }
        });
        interface.routes_mut().add_default_ipv4_route(GATEWAY_V4).unwrap();
        interface.routes_mut().add_default_ipv6_route(GATEWAY_V6).unwrap();
        let _tasks = [AbortOnDropHandle::new(serve), AbortOnDropHandle::new(read)];
        let sockets = SocketSet::new(Vec::new());
        Self { gateway, interface, device, sockets, packets, writer, port: 40_000, _tasks }
    }

    pub(super) fn stats(&self) -> Stats {
        self.gateway.stats()
    }

    /// Where published ports bring their clients.
    pub(super) fn orders(&self) -> crate::daemon::net::inlet::Sender {
        self.gateway.orders()
    }

    /// Waits for one connection.
    pub(super) fn listen(&mut self, port: u16) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 256 << 10]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.listen(port).unwrap();
        self.sockets.add(socket)
    }

    /// Takes datagrams.
    pub(super) fn datagrams(&mut self, port: u16) -> SocketHandle {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 8 << 10]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).unwrap();
        self.sockets.add(socket)
    }

    /// Starts a connection from `source`.
    pub(super) fn connect(&mut self, source: &str, far: impl Into<IpEndpoint>) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 256 << 10]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        self.port += 1;
        let near: IpAddr = source.parse().unwrap();
        socket.connect(self.interface.context(), far, (near, self.port)).unwrap();
        self.sockets.add(socket)
    }

    pub(super) fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Lets packets flow until `done` says so.
    pub(super) async fn until<T>(&mut self, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        tokio::time::timeout(NEVER, async {
            loop {
                self.interface.poll(Instant::now(), &mut self.device, &mut self.sockets);
                for packet in std::mem::take(&mut self.device.sent) {
                    self.send(&packet).await;
                }
                if let Some(value) = done(self) {
                    return value;
                }
                let wait = self.interface.poll_delay(Instant::now(), &self.sockets);
                // The gateway's counters change without a packet that tells of it.
                let wait = wait.map_or(LOOK_AGAIN, Duration::from).min(LOOK_AGAIN);
                if let Ok(packet) = tokio::time::timeout(wait, self.packets.recv()).await {
                    self.device.received.push_back(packet.expect("the gateway serves"));
                }
            }
        })
        .await
        .expect("what is waited for never came")
    }

    /// Sends a packet that no stack has made.
    pub(super) async fn send(&mut self, packet: &[u8]) {
        self.writer.write_u16(packet.len() as u16).await.unwrap();
        self.writer.write_all(&[0; Offload::BYTES]).await.unwrap();
        self.writer.write_all(packet).await.unwrap();
    }

    /// The next packet for the guest, past its stack.
    pub(super) async fn receive(&mut self) -> Vec<u8> {
        tokio::time::timeout(NEVER, self.packets.recv()).await.expect("no packet came").unwrap()
    }
}

async fn read(mut reader: ReadHalf<DuplexStream>, sender: mpsc::Sender<Vec<u8>>) {
    let mut header = [0; FRAME_HEADER];
    while reader.read_exact(&mut header).await.is_ok() {
        let mut packet = vec![0; u16::from_be_bytes([header[0], header[1]]).into()];
        reader.read_exact(&mut packet).await.unwrap();
        for packet in kernel::finish(&header, &packet) {
            if sender.send(packet).await.is_err() {
                return;
            }
        }
    }
}

impl Device for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sent<'_>)> {
        let packet = self.received.pop_front()?;
        Some((Received(packet), Sent(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sent<'_>> {
        Some(Sent(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

pub(super) struct Received(Vec<u8>);
pub(super) struct Sent<'a>(&'a mut Vec<Vec<u8>>);

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
