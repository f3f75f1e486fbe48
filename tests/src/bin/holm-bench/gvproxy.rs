//! One stream through our gateway against one through gvproxy, the network of Podman's machines. That one runs without
//! a machine: its gateway in one network namespace, its forwarder with a tap in another.

use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use holm_tests::cache::made;
use holm_tests::home::Machine;
use holm_tests::http::{Request, exchange};
use tempfile::TempDir;

use crate::iperf::{self, Server};
use crate::measure::{Finding, median};
use crate::netns::{Namespace, ip};
use crate::network::{Outward, inward, prepared, serve};

const SCRIPT: &str = include_str!("gvproxy.sh");
const TIMES: usize = 3;
const DEADLINE: Duration = Duration::from_secs(30);
const PORT: &str = "5201";
/// gvproxy's own.
const MTU: &str = "1500";
const GUEST: &str = "192.168.127.2";
/// What it calls the loopback of the computer.
const COMPUTER: &str = "192.168.127.254";
/// With the same MTU, and with each one's own.
const LEAST: [f64; 2] = [1.5, 3.0];

pub(crate) fn measure() -> Result<Vec<Finding>> {
    let (_registry, home) = prepared(Machine::Process)?;
    let option = format!("com.docker.network.driver.mtu={MTU}");
    home.holm(&["network", "create", "-o", &option, "same"]).ok();
    for network in ["same", "bridge"] {
        let options = ["--network", network, "-p", "127.0.0.1::5201", "iperf3"];
        serve(&home, network, &options, &iperf::server(PORT), iperf::LISTENS)?;
    }
    let gvproxy = Gvproxy::start()?;
    let outward = Outward::new()?;
    let mut ours = [const { [const { Vec::new() }; 2] }; 2];
    let mut theirs = [const { Vec::new() }; 2];
    for _ in 0..TIMES {
        for (speeds, network) in ours.iter_mut().zip(["same", "bridge"]) {
            speeds[0].push(inward(&home, network)?);
            speeds[1].push(outward.send(&home, &["--network", network])?);
        }
        theirs[0].push(gvproxy.inward()?);
        theirs[1].push(gvproxy.outward()?);
    }
    let mut findings = Vec::new();
    for ((ours, mtu), least) in ours.iter().zip(["both at MTU 1500", "each at its MTU"]).zip(LEAST) {
        for ((ours, theirs), way) in ours.iter().zip(&theirs).zip(["to published port", "from container"]) {
            let what = format!("one stream {way}, {mtu} : gvproxy");
            findings.push(Finding::of_speeds(&what, median(ours), median(theirs), Some(least)));
        }
    }
    Ok(findings)
}

/// Both halves, and an iperf3 server on either side of them. They end in this order.
struct Gvproxy {
    _servers: [Server; 2],
    _forwarder: Server,
    _gateway: Server,
    guest: Namespace,
    computer: Namespace,
    _folder: TempDir,
}

impl Gvproxy {
    fn start() -> Result<Gvproxy> {
        let programs = made(SCRIPT, "gvproxy", &[])?;
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("gvproxy.sock");
        let url = format!("unix://{}", socket.display());
        let (computer, guest) = (Namespace::new()?, Namespace::new()?);
        let gateway = computer.within(|| {
            both_outputs(&programs.join("gvproxy"), &["-mtu", MTU, "-listen", &url], "listening")
        })?;
        expose(&socket)?;
        let forwarder = guest.within(|| {
            ip("tuntap add dev tap0 mode tap")?;
            ip(&format!("link set tap0 mtu {MTU} up"))?;
            ip(&format!("address add {GUEST}/24 dev tap0"))?;
            ip("route add default via 192.168.127.1")?;
            let flags = ["-url", &url, "-iface", "tap0", "-preexisting", "-mtu", MTU];
            both_outputs(&programs.join("vm"), &flags, "waiting for packets")
        })?;
        let servers = [guest.within(|| iperf::serve(PORT))?, computer.within(|| iperf::serve(PORT))?];
        Ok(Gvproxy {
            _servers: servers,
            _forwarder: forwarder,
            _gateway: gateway,
            guest,
            computer,
            _folder: folder,
        })
    }

    fn inward(&self) -> Result<f64> {
        self.computer.within(|| iperf::send(&Ipv4Addr::LOCALHOST.to_string(), "5202"))
    }

    fn outward(&self) -> Result<f64> {
        self.guest.within(|| iperf::send(COMPUTER, PORT))
    }
}

/// Starts a program that says what it does where others complain.
fn both_outputs(program: &Path, flags: &[&str], word: &str) -> Result<Server> {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(program).args(flags);
    Server::start(command, word)
}

/// Publishes the guest's port as the computer's 5202, beside that of the server there.
fn expose(socket: &Path) -> Result<()> {
    let end = Instant::now() + DEADLINE;
    let stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            // It says that it listens just before it does.
            Err(error) => ensure!(Instant::now() < end, "gvproxy does not listen: {error}"),
        }
    };
    let body = format!(r#"{{"local": "127.0.0.1:5202", "remote": "{GUEST}:{PORT}", "protocol": "tcp"}}"#);
    let request = Request {
        method: "POST",
        host: "gvproxy",
        path: "/services/forwarder/expose",
        content_type: Some("application/json"),
        body: body.as_bytes(),
    };
    let response = exchange(stream, &request)?;
    ensure!(response.status == 200, "gvproxy exposes nothing: {} {}", response.status, response.text());
    Ok(())
}
