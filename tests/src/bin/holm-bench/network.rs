//! What crosses the gateway on `process`: one stream each way and a round trip against plain TCP between two network
//! namespaces of this computer, and short connections against what there must be.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use holm_tests::home::{Home, Machine, programs};
use holm_tests::registry::Registry;
use holm_tests::samples::{self, for_two_platforms, ready};

use crate::iperf::{self, Server};
use crate::measure::{Finding, Limit, median, time};
use crate::netns::Veth;

const TIMES: usize = 3;
/// Bits a second that are enough, however fast a veth is.
const ENOUGH: f64 = 10e9;
const SHORT: usize = 10_000;
const CLIENTS: usize = 8;
/// Short connections a second.
const SHORT_RATE: f64 = 2_000.0;
const ROUND_TRIPS: usize = 2_000;
const ADDED: Duration = Duration::from_micros(150);
const NEVER: Duration = Duration::from_secs(60);
const IPERF_PORT: &str = "5201";
const ECHO_PORT: u16 = 7;

pub(crate) fn measure() -> Result<Vec<Finding>> {
    let (_registry, home) = prepared(Machine::Process)?;
    serve(&home, "speed", &["-p", "127.0.0.1::5201", "iperf3"], &iperf::server(IPERF_PORT), iperf::LISTENS)?;
    serve(&home, "echo", &["-p", "127.0.0.1::7", "echo"], &[], "ready")?;
    let echo = published(&home, "echo", ECHO_PORT)?;
    let veth = Veth::new()?;
    let mut findings = streams(&home, &veth)?;
    findings.push(round_trip(echo, &veth)?);
    findings.push(short_connections(echo)?);
    Ok(findings)
}

/// A home that has the images.
pub(crate) fn prepared(machine: Machine) -> Result<(Registry, Home)> {
    let (registry, home) = ready(machine)?;
    for (name, image) in [("iperf3", iperf::image()?), ("echo", samples::echo()?)] {
        registry.push_index(&format!("library/{name}"), "latest", &for_two_platforms(image)?)?;
        home.holm(&["pull", "-q", name]).ok();
    }
    Ok((registry, home))
}

/// Runs a container in the background, and returns when it has said `word`.
pub(crate) fn serve(home: &Home, name: &str, options: &[&str], arguments: &[&str], word: &str) -> Result<()> {
    home.holm(&[&["run", "-d", "--name", name], options, arguments].concat()).ok();
    let end = Instant::now() + NEVER;
    while !home.holm(&["logs", name]).ok().contains(word) {
        ensure!(Instant::now() < end, "{name} never said `{word}`");
    }
    Ok(())
}

/// Where a container's port is to be reached.
fn published(home: &Home, name: &str, port: u16) -> Result<SocketAddr> {
    Ok(home.holm(&["port", name, &format!("{port}/tcp")]).line().parse()?)
}

/// One stream to a published port and one from a container to this computer.
fn streams(home: &Home, veth: &Veth) -> Result<Vec<Finding>> {
    let outward = Outward::new()?;
    let _far = veth.far.within(|| iperf::serve(IPERF_PORT))?;
    let far = Veth::FAR.to_string();
    let mut speeds = [const { Vec::new() }; 3];
    for _ in 0..TIMES {
        speeds[0].push(inward(home, "speed")?);
        speeds[1].push(outward.send(home, &[])?);
        speeds[2].push(veth.near.within(|| iperf::send(&far, IPERF_PORT))?);
    }
    let [inward, outward, veth] = speeds.map(|speeds| median(&speeds));
    let least = (ENOUGH / veth).min(1.0 / 3.0);
    Ok(vec![
        Finding::of_speeds("one stream, computer to published port : veth", inward, veth, Some(least)),
        Finding::of_speeds("one stream, container to computer : veth", outward, veth, Some(least)),
    ])
}

/// Sends to the published port of a container that serves iperf3: bits a second.
pub(crate) fn inward(home: &Home, container: &str) -> Result<f64> {
    let place = published(home, container, 5201)?;
    iperf::send(&place.ip().to_string(), &place.port().to_string())
}

/// An iperf3 server on this computer's loopback, for containers to send to.
pub(crate) struct Outward {
    _server: Server,
    port: String,
}

impl Outward {
    pub(crate) fn new() -> Result<Outward> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port().to_string();
        Ok(Outward { _server: iperf::serve(&port)?, port })
    }

    /// Sends from a container of its own: bits a second.
    pub(crate) fn send(&self, home: &Home, options: &[&str]) -> Result<f64> {
        let client = iperf::client("host.docker.internal", &self.port);
        let sent = home.holm(&[&["run", "--rm"], options, &["iperf3"], client.as_slice()].concat());
        iperf::arrived(sent.stdout.as_bytes()).with_context(|| sent.to_string())
    }
}

/// What a published port adds to a round trip of 64 bytes.
fn round_trip(echo: SocketAddr, veth: &Veth) -> Result<Finding> {
    let _far = veth.far.within(|| Server::start(Command::new(programs().join("echo")), "ready"))?;
    let ours = trip(echo)?;
    let plain = veth.near.within(|| trip(SocketAddr::from((Veth::FAR, ECHO_PORT))))?;
    let added = ours.saturating_sub(plain);
    Ok(Finding {
        what: "round trip that a published port adds to veth's : what it may".to_owned(),
        values: format!("{:.1?} ({ours:.1?} - {plain:.1?}) / {ADDED:.0?}", added),
        ratio: added.as_secs_f64() / ADDED.as_secs_f64(),
        limit: Some(Limit::AtMost(1.0)),
    })
}

fn trip(to: SocketAddr) -> Result<Duration> {
    let mut stream = connect(to)?;
    stream.set_nodelay(true)?;
    let trips: Vec<Duration> =
        (0..ROUND_TRIPS).map(|_| time(|| echoes(&mut stream))).collect::<Result<_>>()?;
    Ok(median(&trips))
}

fn short_connections(echo: SocketAddr) -> Result<Finding> {
    let took = time(|| {
        std::thread::scope(|scope| {
            let client = || (0..SHORT / CLIENTS).try_for_each(|_| echoes(&mut connect(echo)?));
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
            clients
                .into_iter()
                .try_for_each(|client| client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    })?;
    let rate = SHORT as f64 / took.as_secs_f64();
    Ok(Finding {
        what: format!("{SHORT} short connections by {CLIENTS} clients, each second : least"),
        values: format!("{rate:.0} / {SHORT_RATE:.0}"),
        ratio: rate / SHORT_RATE,
        limit: Some(Limit::AtLeast(1.0)),
    })
}

fn connect(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, NEVER).with_context(|| format!("{to}"))?;
    stream.set_read_timeout(Some(NEVER))?;
    Ok(stream)
}

fn echoes(stream: &mut TcpStream) -> Result<()> {
    let mut answer = [0; 64];
    stream.write_all(&[b'x'; 64])?;
    stream.read_exact(&mut answer)?;
    ensure!(answer == [b'x'; 64], "the echo is another one");
    Ok(())
}
