//! A `qemu` machine by itself: the kernel of the guest image with a guest of a few lines in the place of `holmd`
//! (host/vmm/examples/vsock/guest.c), so that streams are tested and nothing else.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../host/vmm/examples/vsock/initramfs.rs"]
mod initramfs;

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use holm_vmm::{BootError, Choice, Exit, Listener, Machine, MachineSpec, Mebibytes, Stream, pick};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ECHO: u32 = 5000;
const SINK: u32 = 5001;
const SOURCE: u32 = 5002;
const DIAL_BACK: u32 = 5003;
const POWER_OFF: u32 = 5004;
const PANIC: u32 = 5005;
/// Of the host: the guest says there that it is up.
const READY: u32 = 6000;

struct Rig {
    _folder: TempDir,
    spec: MachineSpec,
}

impl Rig {
    fn new() -> Self {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let kernel = workspace.join("target/vm-image/vmlinux");
        assert!(kernel.is_file(), "no {}: `make image` makes it", kernel.display());
        let folder = tempfile::tempdir().unwrap();
        symlink(kernel, folder.path().join("vmlinux")).unwrap();
        initramfs::build(&workspace.join("host/vmm/examples/vsock/guest.c"), folder.path()).unwrap();
        let run = folder.path().join("run");
        fs::create_dir(&run).unwrap();
        fs::set_permissions(&run, Permissions::from_mode(0o700)).unwrap();
        let disk = folder.path().join("disk.raw");
        File::create(&disk).unwrap().set_len(1 << 30).unwrap();
        let image = folder.path().to_owned();
        let spec = MachineSpec { run, image, disk, cpus: 2, memory: Mebibytes(256) };
        Self { _folder: folder, spec }
    }

    fn boot(&self) -> Result<Box<dyn Machine>, BootError> {
        pick(Choice::Qemu).unwrap().boot(&self.spec)
    }

    /// A machine whose guest is up, and the listener where it said so.
    async fn up(&self) -> (Box<dyn Machine>, Box<dyn Listener>) {
        let machine = self.boot().unwrap();
        let mut listener = machine.listen(READY).unwrap();
        match listener.accept().await {
            Ok(mut ready) => assert_eq!(ready.read_u8().await.unwrap(), 0),
            Err(error) => panic!("{error}: {}, {}", machine.wait().await, self.console("console.log")),
        }
        (machine, listener)
    }

    fn console(&self, name: &str) -> String {
        fs::read_to_string(self.spec.run.join(name)).unwrap()
    }
}

/// Bytes in which a lost, doubled or moved part shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8).collect()
}

/// Sends all of it and ends that direction while the other is read, as only then neither side waits for ever.
async fn through(stream: Stream, sent: Vec<u8>) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let writing = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut got = Vec::new();
    reader.read_to_end(&mut got).await.unwrap();
    writing.await.unwrap();
    got
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_pass_unchanged_both_ways_on_streams_of_both_sides() {
    let rig = Rig::new();
    let (machine, _ready) = rig.up().await;
    let sent = pattern(3 << 20);
    assert!(through(machine.connect(ECHO).await.unwrap(), sent.clone()).await == sent);

    let mut listener = machine.listen(7000).unwrap();
    let mut request = machine.connect(DIAL_BACK).await.unwrap();
    request.write_u64_le(7000).await.unwrap();
    assert!(through(listener.accept().await.unwrap(), sent.clone()).await == sent);

    let taken = machine.listen(7000).err().map(|error| error.kind());
    assert_eq!(taken, Some(io::ErrorKind::AddrInUse));
    let refused = machine.connect(4999).await.err().map(|error| error.kind());
    assert_eq!(refused, Some(io::ErrorKind::ConnectionRefused));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_direction_lets_the_answer_through() {
    let rig = Rig::new();
    let (machine, _ready) = rig.up().await;
    let mut sink = machine.connect(SINK).await.unwrap();
    sink.write_u64_le(5_000_000).await.unwrap();
    sink.write_all(&vec![7; 5_000_000]).await.unwrap();
    sink.shutdown().await.unwrap();
    assert_eq!(sink.read_u64_le().await.unwrap(), 5_000_000);
    assert_eq!(sink.read(&mut [0]).await.unwrap(), 0);

    // The guest has closed long before this reads; nothing is lost by that.
    let mut source = machine.connect(SOURCE).await.unwrap();
    source.write_u64_le(400_000).await.unwrap();
    let mut echo = machine.connect(ECHO).await.unwrap();
    echo.write_u8(7).await.unwrap();
    echo.read_u8().await.unwrap();
    let mut got = Vec::new();
    source.read_to_end(&mut got).await.unwrap();
    assert_eq!(got.len(), 400_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_at_once_keep_their_bytes_apart() {
    let rig = Rig::new();
    let (machine, _ready) = rig.up().await;
    let mut streams = tokio::task::JoinSet::new();
    for number in 0..60_usize {
        let stream = machine.connect(ECHO).await.unwrap();
        streams.spawn(async move {
            let sent = pattern(100_000 + number);
            through(stream, sent.clone()).await == sent
        });
    }
    assert!(streams.join_all().await.into_iter().all(|same| same));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_ends_as_it_says_and_its_disk_is_free_for_the_next() {
    let rig = Rig::new();
    let (machine, mut ready) = rig.up().await;
    assert!(matches!(rig.boot(), Err(BootError::DiskInUse(_))));
    assert!(PathBuf::from(format!("/proc/{}", machine.pid().unwrap())).exists());
    let _off = machine.connect(POWER_OFF).await.unwrap();
    assert_eq!(machine.wait().await, Exit::PoweredOff);
    assert_eq!(machine.pid(), None);
    let accepted = ready.accept().await.err().map(|error| error.kind());
    assert_eq!(accepted, Some(io::ErrorKind::NotConnected));
    let connected = machine.connect(ECHO).await.err().map(|error| error.kind());
    assert_eq!(connected, Some(io::ErrorKind::NotConnected));

    let (machine, _ready) = rig.up().await;
    assert!(rig.console("console.log").contains("/init runs"));
    let _panic = machine.connect(PANIC).await.unwrap();
    let exit = machine.wait().await;
    assert!(matches!(&exit, Exit::Died(how) if how.contains("Kernel panic")), "{exit:?}");
    assert!(rig.console("console.log").contains("Kernel panic"));
    assert!(!rig.console("console.log.1").contains("Kernel panic"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_machine_ends_its_streams() {
    let rig = Rig::new();
    let (machine, _ready) = rig.up().await;
    let mut stream = machine.connect(ECHO).await.unwrap();
    machine.kill();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(machine.wait().await, Exit::Died("QEMU was ended by signal 9".into()));
}

#[test]
fn a_machine_that_cannot_be_is_refused_in_qemus_words() {
    let mut rig = Rig::new();
    rig.spec.cpus = 4000;
    let Err(BootError::Step { step, cause }) = rig.boot() else { panic!("it booted") };
    assert_eq!(step, "start qemu-system-x86_64");
    assert!(cause.to_string().contains("CPUs"), "{cause}");
    rig.spec.cpus = 1;
    fs::remove_file(rig.spec.image.join("initramfs")).unwrap();
    assert!(matches!(rig.boot(), Err(BootError::ImageIncomplete(_))));
}
