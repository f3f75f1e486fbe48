//! Against the kernel, in network namespaces that end with the threads that made them. They need root.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use holm_api::link::Token;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

use super::{Bridge, Endpoint, EndpointRequest, NetworkError, Uplink};
use crate::transport::Transport;

/// A connection that does not come takes this long to fail a test.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where a container serves.
const PORT: u16 = 80;

/// Runs a test in a network namespace of its own.
fn in_own_network<T: Send>(test: impl AsyncFnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let own = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("this test needs root");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(test())
        });
        own.join().unwrap()
    })
}

/// A thread with a network namespace of its own, which to the kernel is as good as a container's process. Once it
/// has an address, it serves one connection: it reads to the end and says who came.
struct Container {
    id: i32,
    serve: mpsc::Sender<Endpoint>,
    serving: mpsc::Receiver<()>,
    thread: thread::JoinHandle<SocketAddr>,
}

impl Container {
    fn new() -> Self {
        let (tell, id) = mpsc::channel();
        let (serve, endpoint) = mpsc::channel::<Endpoint>();
        let (tell_serving, serving) = mpsc::channel();
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("this test needs root");
            tell.send(gettid().as_raw()).unwrap();
            let endpoint = endpoint.recv().unwrap();
            let listener = TcpListener::bind((endpoint.address, PORT)).unwrap();
            tell_serving.send(()).unwrap();
            let (mut stream, peer) = listener.accept().unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
            peer
        });
        Self { id: id.recv().unwrap(), serve, serving, thread }
    }

    /// Connects to it from this thread's namespace, and returns who it thinks that was.
    fn visit(self, endpoint: &Endpoint) -> Ipv4Addr {
        self.serve.send(endpoint.clone()).unwrap();
        self.serving.recv().unwrap();
        TcpStream::connect_timeout(&(endpoint.address, PORT).into(), PATIENCE)
            .unwrap()
            .write_all(b"x")
            .unwrap();
        match self.thread.join().unwrap() {
            SocketAddr::V4(peer) => *peer.ip(),
            SocketAddr::V6(peer) => panic!("{peer}"),
        }
    }
}

#[test]
fn a_container_is_reached_over_the_bridge() {
    in_own_network(async || {
        let bridge = Bridge::ensure(&[]).await.unwrap();
        let container = Container::new();
        let endpoint = bridge.reserve(&EndpointRequest::default()).unwrap();
        assert_eq!(endpoint.address, Ipv4Addr::new(172, 17, 0, 2));
        bridge.attach(container.id, &endpoint).await.unwrap();
        assert_eq!(container.visit(&endpoint), Ipv4Addr::new(172, 17, 0, 1));
    });
}

#[test]
fn a_restarted_engine_adopts_what_runs() {
    in_own_network(async || {
        let bridge = Bridge::ensure(&[]).await.unwrap();
        let (old, new) = (Container::new(), Container::new());
        let first = bridge.reserve(&EndpointRequest::default()).unwrap();
        bridge.attach(old.id, &first).await.unwrap();
        drop(bridge);

        let bridge = Bridge::ensure(std::slice::from_ref(&first)).await.unwrap();
        let second = bridge.reserve(&EndpointRequest::default()).unwrap();
        assert_eq!(second.address, Ipv4Addr::new(172, 17, 0, 3));
        bridge.attach(new.id, &second).await.unwrap();
        old.visit(&first);
        new.visit(&second);
        let wanted = EndpointRequest { address: Some(first.address), mac: None };
        assert!(matches!(bridge.reserve(&wanted), Err(NetworkError::AddressTaken(_))));
    });
}

#[test]
fn a_released_address_serves_the_next_container_at_once() {
    in_own_network(async || {
        let bridge = Bridge::ensure(&[]).await.unwrap();
        let old = Container::new();
        let endpoint = bridge.reserve(&EndpointRequest::default()).unwrap();
        bridge.attach(old.id, &endpoint).await.unwrap();
        bridge.release(&endpoint).await.unwrap();
        bridge.release(&endpoint).await.unwrap();

        let new = Container::new();
        let endpoint = bridge.reserve(&EndpointRequest::default()).unwrap();
        bridge.attach(new.id, &endpoint).await.unwrap();
        new.visit(&endpoint);
    });
}

#[test]
fn what_a_killed_engine_left_is_no_hindrance() {
    in_own_network(async || {
        let bridge = Bridge::ensure(&[]).await.unwrap();
        let (forgotten, new) = (Container::new(), Container::new());
        let endpoint = bridge.reserve(&EndpointRequest::default()).unwrap();
        bridge.attach(forgotten.id, &endpoint).await.unwrap();
        // Killed here, before it could write the endpoint down.
        let bridge = Bridge::ensure(&[]).await.unwrap();
        assert_eq!(bridge.reserve(&EndpointRequest::default()).unwrap(), endpoint);
        bridge.attach(new.id, &endpoint).await.unwrap();
        new.visit(&endpoint);
    });
}

#[test]
fn a_process_that_is_gone_gets_nothing_and_leaves_nothing() {
    in_own_network(async || {
        let bridge = Bridge::ensure(&[]).await.unwrap();
        let endpoint = bridge.reserve(&EndpointRequest::default()).unwrap();
        // Larger than any process id can be (PID_MAX_LIMIT).
        let error = bridge.attach(1 << 23, &endpoint).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot enter the network namespace of process 8388608");
        bridge.release(&endpoint).await.unwrap();
    });
}

#[test]
fn packets_go_out_over_the_stream_and_answers_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("host-1027.sock")).unwrap();
    let gateway = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut token = [0; Token::LENGTH];
        stream.read_exact(&mut token).unwrap();
        let request = echo_request();
        stream.write_all(&(request.len() as u16).to_be_bytes()).unwrap();
        stream.write_all(&request).unwrap();
        // The kernel has things of its own to say on a new interface, about IPv6 for one.
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut packet).unwrap();
            let from_gateway = packet[0] >> 4 == 4 && packet[16..20] == [192, 168, 65, 1];
            if from_gateway {
                return (token, packet);
            }
        }
    });
    let uplink = in_own_network(async || {
        let mut warnings = Vec::new();
        let transport = Transport::Unix(folder.path().into());
        let mut uplink = Uplink::open(&transport, &Token([7; 32]), &mut warnings).await.unwrap();
        // The gateway hangs up when it has its answer.
        tokio::time::timeout(PATIENCE, uplink.ended()).await.unwrap()
    });
    let (token, answer) = gateway.join().unwrap();
    assert_eq!(token, [7; 32]);
    assert_eq!(answer[12..16], [192, 168, 65, 3]);
    assert_eq!(answer[20], 0, "an echo reply");
    assert_eq!(answer[28..], *b"holm");
    assert_eq!(uplink, "the host closed the stream");
}

/// An ICMP echo request (RFC 792) from the gateway to the guest.
fn echo_request() -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, 1, 0, 0, 192, 168, 65, 1, 192, 168, 65, 3];
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut message = vec![8, 0, 0, 0, 0, 1, 0, 1];
    message.extend_from_slice(b"holm");
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    [packet, message].concat()
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
