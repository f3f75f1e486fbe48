//! The measurements, and the two ways to a guest they are made through.

use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holm_vmm::{Choice, Machine, MachineSpec, Mebibytes, Stream, pick};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

const ECHO: u32 = 5000;
const SINK: u32 = 5001;
const SOURCE: u32 = 5002;
/// Of the host: the guest says there that it is up.
const READY: u32 = 6000;
const MEMORY: Mebibytes = Mebibytes(512);
const ROUND_TRIPS: usize = 3000;
const CONNECTIONS: usize = 300;
const BYTES: u64 = 64 << 20;
const RUNS: usize = 3;

struct Arguments {
    kernel: PathBuf,
    peer: Option<PathBuf>,
}

fn arguments() -> io::Result<Arguments> {
    let mut arguments = std::env::args_os().skip(1);
    let (mut kernel, mut peer) = (None, None);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--kernel") => kernel = arguments.next().map(PathBuf::from),
            Some("--peer") => peer = arguments.next().map(PathBuf::from),
            _ => return Err(io::Error::other("usage: vsock --kernel VMLINUX [--peer VHOST-DEVICE-VSOCK]")),
        }
    }
    let kernel = kernel.ok_or_else(|| io::Error::other("--kernel: which vmlinux?"))?;
    Ok(Arguments { kernel: kernel.canonicalize()?, peer })
}

/// What one way to a guest is worth.
struct Figures {
    first_byte: Duration,
    round_trip: Duration,
    to_guest: f64,
    from_guest: f64,
    connection: Duration,
}

pub(crate) fn main() -> io::Result<()> {
    let arguments = arguments()?;
    let folder = tempfile::tempdir()?;
    std::os::unix::fs::symlink(&arguments.kernel, folder.path().join("vmlinux"))?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/vsock/guest.c");
    super::initramfs::build(&source, folder.path())?;
    let runtime = tokio::runtime::Runtime::new()?;

    let bare = median((0..RUNS).map(|_| bare_init(folder.path())).collect::<io::Result<_>>()?);
    println!("exec -> bare /init      {:8.3} s", bare.as_secs_f64());
    let ours = runtime.block_on(ours(folder.path()))?;
    println!(
        "exec -> first byte      {:8.3} s      {:.2} x bare /init",
        ours.first_byte.as_secs_f64(),
        ours.first_byte.as_secs_f64() / bare.as_secs_f64()
    );
    print_figures("ours", &ours);
    if let Some(peer) = arguments.peer {
        let peer = runtime.block_on(peer_figures(folder.path(), &peer))?;
        print_figures("peer", &peer);
        println!(
            "ours : peer             first byte {:.2}  round trip {:.2}  to guest {:.2}  from guest {:.2}  connection {:.2}",
            ratio(peer.first_byte, ours.first_byte),
            ratio(peer.round_trip, ours.round_trip),
            ours.to_guest / peer.to_guest,
            ours.from_guest / peer.from_guest,
            ratio(peer.connection, ours.connection),
        );
    }
    Ok(())
}

fn print_figures(name: &str, figures: &Figures) {
    println!(
        "{name}: first byte {:.3} s, round trip of 64 bytes {:.0} us, to guest {:.0} MiB/s, from guest {:.0} MiB/s, \
         connection {:.0} us",
        figures.first_byte.as_secs_f64(),
        figures.round_trip.as_secs_f64() * 1e6,
        figures.to_guest,
        figures.from_guest,
        figures.connection.as_secs_f64() * 1e6,
    );
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}

/// QEMU and the kernel alone, until /init runs.
fn bare_init(folder: &Path) -> io::Result<Duration> {
    let start = Instant::now();
    let mut qemu = qemu(folder)
        .args(["-append", "console=ttyS0 quiet reboot=t panic=-1", "-serial", "stdio"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = qemu.stdout.take().ok_or_else(|| io::Error::other("QEMU has no output"))?;
    let reached =
        BufReader::new(output).lines().any(|line| line.is_ok_and(|line| line.contains("/init runs")));
    let time = start.elapsed();
    qemu.kill()?;
    qemu.wait()?;
    if reached { Ok(time) } else { Err(io::Error::other("the guest does not reach /init")) }
}

/// The same machine as the backend's, as far as it matters here.
fn qemu(folder: &Path) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    let memory = format!("{}M", MEMORY.0);
    command
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-smp",
            "2",
            "-m",
            &memory,
        ])
        .args(["-M", "microvm,acpi=off,rtc=on,isa-serial=on,x-option-roms=off,memory-backend=memory"])
        .args(["-object", &format!("memory-backend-memfd,id=memory,size={memory},share=on")])
        .arg("-kernel")
        .arg(folder.join("vmlinux"))
        .arg("-initrd")
        .arg(folder.join("initramfs"));
    if pick(Choice::Qemu).is_ok_and(|qemu| qemu.features().emulation.is_some()) {
        command.args(["-accel", "tcg,thread=multi", "-cpu", "max,-erms,-fsrm"]);
    } else {
        command.args(["-accel", "kvm", "-cpu", "host"]);
    }
    command
}

/// A way to the guest's ports.
trait Guest {
    async fn connect(&self, port: u32) -> io::Result<Stream>;
}

struct Ours(Box<dyn Machine>);

impl Guest for Ours {
    async fn connect(&self, port: u32) -> io::Result<Stream> {
        self.0.connect(port).await
    }
}

async fn ours(folder: &Path) -> io::Result<Figures> {
    let mut first_bytes = Vec::new();
    for _ in 1..RUNS {
        let (time, machine) = boot_ours(folder).await?;
        first_bytes.push(time);
        machine.0.kill();
        machine.0.wait().await;
    }
    let (time, machine) = boot_ours(folder).await?;
    first_bytes.push(time);
    let figures = measure(median(first_bytes), &machine).await?;
    machine.0.kill();
    machine.0.wait().await;
    Ok(figures)
}

async fn boot_ours(folder: &Path) -> io::Result<(Duration, Ours)> {
    let run = folder.join("run");
    std::fs::create_dir_all(&run)?;
    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o700))?;
    let disk = folder.join("disk.raw");
    std::fs::File::create(&disk)?.set_len(1 << 30)?;
    let spec = MachineSpec { run, image: folder.to_owned(), disk, cpus: 2, memory: MEMORY };
    let hypervisor = pick(Choice::Qemu).map_err(io::Error::other)?;
    let start = Instant::now();
    let machine = hypervisor.boot(&spec).map_err(io::Error::other)?;
    let mut listener = machine.listen(READY)?;
    listener.accept().await?.read_u8().await?;
    Ok((start.elapsed(), Ours(machine)))
}

struct Peer {
    qemu: Child,
    device: Child,
    socket: PathBuf,
}

impl Guest for Peer {
    async fn connect(&self, port: u32) -> io::Result<Stream> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        stream.write_all(format!("CONNECT {port}\n").as_bytes()).await?;
        let mut answer = Vec::new();
        while answer.last() != Some(&b'\n') {
            answer.push(stream.read_u8().await?);
        }
        Ok(Box::new(stream))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for child in [&mut self.qemu, &mut self.device] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn peer_figures(folder: &Path, program: &Path) -> io::Result<Figures> {
    let mut first_bytes = Vec::new();
    for _ in 1..RUNS {
        first_bytes.push(boot_peer(folder, program).await?.0);
    }
    let (time, peer) = boot_peer(folder, program).await?;
    first_bytes.push(time);
    measure(median(first_bytes), &peer).await
}

async fn boot_peer(folder: &Path, program: &Path) -> io::Result<(Duration, Peer)> {
    let (control, socket) = (folder.join("control.sock"), folder.join("guest.sock"));
    let ready = folder.join(format!("guest.sock_{READY}"));
    for path in [&control, &socket, &ready] {
        let _ = std::fs::remove_file(path);
    }
    let listener = UnixListener::bind(&ready)?;
    let options = format!("guest-cid=3,uds-path={},socket={}", socket.display(), control.display());
    let start = Instant::now();
    let device = Command::new(program).arg("--vm").arg(options).stderr(Stdio::null()).spawn()?;
    while !control.exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let qemu = qemu(folder)
        .args(["-append", "console=ttyS0 quiet reboot=t panic=-1", "-serial", "null"])
        .args(["-chardev", &format!("socket,id=vsock,path={}", control.display())])
        .args(["-device", "vhost-user-vsock-device,chardev=vsock"])
        .stdin(Stdio::null())
        .spawn()?;
    let peer = Peer { qemu, device, socket };
    listener.accept().await?.0.read_u8().await?;
    Ok((start.elapsed(), peer))
}

async fn measure(first_byte: Duration, guest: &impl Guest) -> io::Result<Figures> {
    let mut to_guest = Vec::new();
    let mut from_guest = Vec::new();
    for _ in 0..RUNS {
        to_guest.push(send(guest).await?);
        from_guest.push(receive(guest).await?);
    }
    Ok(Figures {
        first_byte,
        round_trip: round_trip(guest).await?,
        to_guest: rate(median(to_guest)),
        from_guest: rate(median(from_guest)),
        connection: connection(guest).await?,
    })
}

fn rate(time: Duration) -> f64 {
    (BYTES >> 20) as f64 / time.as_secs_f64()
}

async fn round_trip(guest: &impl Guest) -> io::Result<Duration> {
    let mut stream = guest.connect(ECHO).await?;
    let mut times = Vec::new();
    let mut bytes = [7; 64];
    for _ in 0..ROUND_TRIPS {
        let start = Instant::now();
        stream.write_all(&bytes).await?;
        stream.read_exact(&mut bytes).await?;
        times.push(start.elapsed());
    }
    Ok(median(times))
}

async fn send(guest: &impl Guest) -> io::Result<Duration> {
    let mut stream = guest.connect(SINK).await?;
    let bytes = vec![7; 256 << 10];
    let start = Instant::now();
    stream.write_u64_le(BYTES).await?;
    for _ in 0..BYTES / bytes.len() as u64 {
        stream.write_all(&bytes).await?;
    }
    let count = stream.read_u64_le().await?;
    if count == BYTES { Ok(start.elapsed()) } else { Err(io::Error::other("the guest got other bytes")) }
}

async fn receive(guest: &impl Guest) -> io::Result<Duration> {
    let mut stream = guest.connect(SOURCE).await?;
    let mut bytes = vec![0; 256 << 10];
    let start = Instant::now();
    stream.write_u64_le(BYTES).await?;
    let mut left = BYTES;
    while left > 0 {
        match stream.read(&mut bytes).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => left -= read as u64,
        }
    }
    Ok(start.elapsed())
}

/// Open, one byte there and back, close.
async fn connection(guest: &impl Guest) -> io::Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..CONNECTIONS {
        let start = Instant::now();
        let mut stream = guest.connect(ECHO).await?;
        stream.write_u8(7).await?;
        stream.read_u8().await?;
        times.push(start.elapsed());
    }
    Ok(median(times))
}
