//! Against the kernel, in network namespaces that end with the threads that made them. They need root.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use holm_api::link::Token;
use holm_api::network::{FRAME_HEADER, Offload};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

use super::endpoint::tests::endpoint;
use super::netfilter::{self, Filtered};
use super::{Bridge, Endpoint, Namespace, Switches, Uplink, route};
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
            let listener = TcpListener::bind((address(&endpoint), PORT)).unwrap();
            tell_serving.send(()).unwrap();
            let (mut stream, peer) = listener.accept().unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
            peer
        });
        Self { id: id.recv().unwrap(), serve, serving, thread }
    }

    fn namespace(&self) -> Namespace {
        Namespace::of(self.id).unwrap()
    }

    /// Connects to it from this thread's namespace, and returns who it thinks that was.
    fn visit(self, endpoint: &Endpoint) -> IpAddr {
        self.serve.send(endpoint.clone()).unwrap();
        self.serving.recv().unwrap();
        TcpStream::connect_timeout(&(address(endpoint), PORT).into(), PATIENCE)
            .unwrap()
            .write_all(b"x")
            .unwrap();
        self.thread.join().unwrap().ip()
    }
}

/// Its first.
fn address(endpoint: &Endpoint) -> IpAddr {
    endpoint.places().next().unwrap().address.addr()
}

fn bridge(interface: &str, gateway: &str) -> Bridge {
    Bridge {
        interface: interface.to_owned(),
        gateways: vec![gateway.parse().unwrap()],
        mtu: super::MTU,
        isolated: false,
    }
}

async fn attach(switches: &Switches, container: &Container, bridge: &Bridge, endpoint: &Endpoint) {
    switches.attach(&container.namespace(), bridge, endpoint).await.unwrap();
    route(&container.namespace(), std::slice::from_ref(endpoint)).await.unwrap();
}

#[test]
fn a_container_is_reached_over_its_bridge_by_ipv4_and_ipv6() {
    in_own_network(async || {
        let switches = Switches::open().unwrap();
        for (number, (gateway, own, six)) in
            [("172.17.0.1/16", Some("172.17.0.2/16"), None), ("fd00:1::1/64", None, Some("fd00:1::2/64"))]
                .into_iter()
                .enumerate()
        {
            let bridge = bridge(&format!("br{number}"), gateway);
            switches.ensure(&bridge).await.unwrap();
            let container = Container::new();
            let endpoint = endpoint("mine", own, six);
            attach(&switches, &container, &bridge, &endpoint).await;
            assert_eq!(container.visit(&endpoint), bridge.gateways[0].addr());
        }
    });
}

#[test]
fn a_restarted_engine_adopts_what_runs() {
    in_own_network(async || {
        let bridge = bridge("docker0", "172.17.0.1/16");
        let first = endpoint("bridge", Some("172.17.0.2/16"), None);
        let container = Container::new();
        let switches = Switches::open().unwrap();
        switches.ensure(&bridge).await.unwrap();
        attach(&switches, &container, &bridge, &first).await;
        drop(switches);
        Switches::open().unwrap().ensure(&bridge).await.unwrap();
        container.visit(&first);
    });
}

#[test]
fn a_released_address_serves_the_next_container_at_once() {
    in_own_network(async || {
        let (switches, bridge) = (Switches::open().unwrap(), bridge("docker0", "172.17.0.1/16"));
        switches.ensure(&bridge).await.unwrap();
        let endpoint = endpoint("bridge", Some("172.17.0.2/16"), None);
        let (old, new) = (Container::new(), Container::new());
        attach(&switches, &old, &bridge, &endpoint).await;
        switches.detach(&endpoint).await.unwrap();
        switches.detach(&endpoint).await.unwrap();
        attach(&switches, &new, &bridge, &endpoint).await;
        new.visit(&endpoint);
    });
}

#[test]
fn what_a_killed_engine_left_is_no_hindrance() {
    in_own_network(async || {
        let (switches, bridge) = (Switches::open().unwrap(), bridge("docker0", "172.17.0.1/16"));
        switches.ensure(&bridge).await.unwrap();
        let endpoint = endpoint("bridge", Some("172.17.0.2/16"), None);
        let (forgotten, new) = (Container::new(), Container::new());
        attach(&switches, &forgotten, &bridge, &endpoint).await;
        attach(&switches, &new, &bridge, &endpoint).await;
        new.visit(&endpoint);
    });
}

#[test]
fn a_process_that_is_gone_has_no_namespace() {
    // Larger than any process id can be (PID_MAX_LIMIT).
    let error = Namespace::of(1 << 23).unwrap_err();
    assert_eq!(error.to_string(), "cannot enter the network namespace of process 8388608");
}

/// Two bridges with a container each, and a third container on the first bridge. Whether the first container reaches
/// the second one, on its own bridge, and the third one, on the other.
async fn reached(filtered: impl Fn(&Bridge) -> Filtered, isolated: bool) -> (bool, bool) {
    let switches = Switches::open().unwrap();
    let mut bridges = [bridge("br-a", "10.1.0.1/24"), bridge("br-b", "10.2.0.1/24")];
    let all = bridges.each_mut().map(|bridge| {
        bridge.isolated = isolated;
        filtered(bridge)
    });
    netfilter::install(&all[..1]).await.unwrap();
    netfilter::add(&all[1]).await.unwrap();
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    for bridge in &bridges {
        switches.ensure(bridge).await.unwrap();
    }
    let mut found = Vec::new();
    let own = endpoint("a", Some("10.1.0.2/24"), None);
    let caller = Container::new();
    attach(&switches, &caller, &bridges[0], &own).await;
    for (bridge, net) in [(&bridges[0], "10.1.0.3/24"), (&bridges[1], "10.2.0.3/24")] {
        let other = endpoint("b", Some(net), None);
        let container = Container::new();
        attach(&switches, &container, bridge, &other).await;
        container.serve.send(other.clone()).unwrap();
        container.serving.recv().unwrap();
        let to = (address(&other), PORT).into();
        let patience = Duration::from_millis(500);
        let call = move || TcpStream::connect_timeout(&to, patience);
        found.push(caller.namespace().enter(call).await.is_ok());
    }
    (found[0], found[1])
}

#[test]
fn containers_of_one_network_meet_and_those_of_two_do_not() {
    in_own_network(async || {
        let open = |bridge: &Bridge| Filtered {
            interface: bridge.interface.clone(),
            internal: false,
            talkative: true,
        };
        assert_eq!(reached(open, false).await, (true, false));
    });
}

#[test]
fn an_internal_network_has_no_way_out_and_a_silent_one_none_inside() {
    in_own_network(async || {
        let closed = |bridge: &Bridge| Filtered {
            interface: bridge.interface.clone(),
            internal: true,
            talkative: false,
        };
        assert_eq!(reached(closed, true).await, (false, false));
    });
}

#[test]
fn rules_are_written_anew_and_forgotten_one_by_one() {
    in_own_network(async || {
        let network = Filtered { interface: "br-a".to_owned(), internal: true, talkative: true };
        netfilter::install(&[]).await.unwrap();
        netfilter::install(std::slice::from_ref(&network)).await.unwrap();
        netfilter::remove(&network).await.unwrap();
        netfilter::remove(&network).await.unwrap_err();
        netfilter::add(&network).await.unwrap();
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
        stream.write_all(&Offload::default().encode()).unwrap();
        stream.write_all(&request).unwrap();
        // The kernel has things of its own to say on a new interface, about IPv6 for one.
        loop {
            let mut header = [0; FRAME_HEADER];
            stream.read_exact(&mut header).unwrap();
            let mut packet = vec![0; usize::from(u16::from_be_bytes([header[0], header[1]]))];
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
