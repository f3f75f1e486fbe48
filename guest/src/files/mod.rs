//! `holmd files`: one process for one look into, or change of, a container's files. The engine starts it, hands it
//! a plan, and reads or writes a tar; it has a mount namespace of its own, resolves every path inside of the
//! container's root, and can be killed at any time without harm to anybody else.

mod changes;
mod pack;
pub(crate) mod protocol;
mod stat;
mod view;

use std::ffi::CString;
use std::fs;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flate2::read::MultiGzDecoder;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountPropagationFlags, mount_change};

use crate::container::users;
use crate::inside;
use crate::shim::message;
use crate::shim::rootfs;
use crate::snapshot::{self, Rules, UnpackError};
use changes::open_folder;
use pack::{Flavour, Packer, by_descriptor};
use protocol::{Emptiness, FailureKind, Job, Plan, Reply};
use stat::Asked;
use view::{View, With};

/// Bytes of `/etc/passwd` that are read at most.
const LONGEST_FILE: u64 = 16 << 20;
/// Bytes that go to the engine at once.
const BUFFER: usize = 256 << 10;

/// Why a job was not done.
#[derive(Debug, thiserror::Error)]
enum JobError {
    /// The request cannot be.
    #[error("{0}")]
    Invalid(String),
    /// A tar that is none, or that does not fit.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The kernel refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Does what the plan on standard input says.
pub(crate) fn run() -> ExitCode {
    // Made files have the modes that they are given.
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    let mut input = io::stdin().lock();
    let plan = match read_plan(&mut input) {
        Ok(plan) => plan,
        Err(error) => {
            tracing::error!("no plan: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut output = Output { out: BufWriter::with_capacity(BUFFER, io::stdout().lock()), replied: false };
    let done = perform(&plan, input, &mut output).and_then(|()| Ok(output.out.flush()?));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if !output.replied => match output.reply(&refusal(&error)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_gone) => ExitCode::FAILURE,
        },
        Err(error) => {
            tracing::warn!("a container's files: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What goes to the engine: the reply first.
struct Output<W: Write> {
    out: W,
    replied: bool,
}

impl<W: Write> Output<W> {
    fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        self.replied = true;
        self.out.write_all(&message::encode(reply))?;
        self.out.flush()
    }
}

fn read_plan(input: &mut impl Read) -> io::Result<Plan> {
    let mut buffer = Vec::new();
    loop {
        let start = buffer.len();
        buffer.resize(start + message::wanting(&buffer).map_err(io::Error::other)?, 0);
        input.read_exact(&mut buffer[start..])?;
        if let Some(plan) = message::take(&mut buffer).map_err(io::Error::other)? {
            return Ok(plan);
        }
    }
}

fn refusal(error: &JobError) -> Reply {
    let kind = match error {
        JobError::Io(error) if error.kind() == io::ErrorKind::NotFound => FailureKind::NotFound,
        JobError::Invalid(_) => FailureKind::Invalid,
        _ => FailureKind::Other,
    };
    Reply::Failed { kind, message: error.to_string() }
}

fn perform(plan: &Plan, input: impl Read, output: &mut Output<impl Write>) -> Result<(), JobError> {
    match &plan.job {
        Job::Stat(path) => {
            let view = View::enter(plan, With::Volumes)?;
            Ok(output.reply(&Reply::Found(stat::stat(&view, &Asked::parse(path))?))?)
        }
        Job::Get(path) => {
            let view = View::enter(plan, With::Volumes)?;
            get(&view, &Asked::parse(path), output)
        }
        Job::Put { path, replaces, owner } => {
            let view = View::enter(plan, With::Volumes)?;
            put(&view, plan, path, Rules::copied(*replaces), owner.as_deref(), input)?;
            Ok(output.reply(&Reply::Done)?)
        }
        Job::Export => {
            let view = View::enter(plan, With::NoVolumes)?;
            let root = view.find(Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY)?;
            output.reply(&Reply::Done)?;
            pack_folder(root, b"", Flavour::Plain, &mut output.out)
        }
        Job::Changes => {
            let lower = lower(plan)?;
            let upper = open_folder(&plan.root.upper)?;
            output.reply(&Reply::Done)?;
            Ok(changes::write(&mut output.out, upper, lower)?)
        }
        Job::Layer => {
            let upper = open_folder(&plan.root.upper)?;
            output.reply(&Reply::Done)?;
            pack_folder(upper, b"", Flavour::Layer, &mut output.out)
        }
        Job::Populate(volumes) => {
            let view = View::enter(plan, With::NoVolumes)?;
            volumes.iter().try_for_each(|volume| populate(&view, volume))?;
            Ok(output.reply(&Reply::Done)?)
        }
    }
}

fn pack_folder(folder: OwnedFd, path: &[u8], flavour: Flavour, out: &mut impl Write) -> Result<(), JobError> {
    let mut packer = Packer::new(out, flavour);
    packer.folder(folder, path)?;
    Ok(packer.finish()?)
}

fn get(view: &View, asked: &Asked, output: &mut Output<impl Write>) -> Result<(), JobError> {
    let found = stat::stat(view, asked)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let is_folder = found.mode & (1 << 31) != 0;
    if is_folder {
        let folder = view.find(&asked.path, flags)?;
        let name = if asked.name == "/" { "/".to_owned() } else { format!("{}/", asked.name) };
        output.reply(&Reply::Found(found))?;
        return pack_folder(folder, name.as_bytes(), Flavour::Plain, &mut output.out);
    }
    let (folder, name) = view.parent(&asked.path)?;
    let name = CString::new(name.as_os_str().as_bytes()).map_err(io::Error::from)?;
    output.reply(&Reply::Found(found))?;
    let mut packer = Packer::new(&mut output.out, Flavour::Plain);
    packer.single(&folder, &name, asked.name.as_bytes())?;
    Ok(packer.finish()?)
}

fn put(
    view: &View,
    plan: &Plan,
    path: &str,
    mut rules: Rules,
    owner: Option<&str>,
    input: impl Read,
) -> Result<(), JobError> {
    let asked = Asked::parse(path);
    let folder = match view.find(&asked.path, OFlags::PATH | OFlags::DIRECTORY) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(JobError::Invalid("extraction point is not a directory".to_owned()));
        }
        other => other?,
    };
    let place = view.place_of(&folder)?;
    check_writable(plan, &place).map_err(|text| JobError::Invalid(text.to_owned()))?;
    if let Some(owner) = owner {
        let read = |path: &str| read_file(view, path).unwrap_or_default();
        let (passwd, group) = (read("/etc/passwd"), read("/etc/group"));
        let user = users::resolve(owner, &[], &passwd, &group);
        let user = user.map_err(|error| JobError::Invalid(error.to_string()))?;
        rules = rules.owned_by(user.uid, user.gid);
    }
    let mut tar = uncompressed(BufReader::with_capacity(BUFFER, input))?;
    Ok(snapshot::unpack_into(view.path(), &place, rules, &mut tar)?)
}

/// moby's rule: the mount that holds the place decides, and else the root.
fn check_writable(plan: &Plan, place: &Path) -> Result<(), &'static str> {
    let holding = plan.sources.iter().filter(|source| place.starts_with(&source.destination));
    let nearest = holding.max_by_key(|source| source.destination.components().count());
    match nearest {
        Some(source) if plan.read_only.contains(&source.destination) => {
            Err("mounted volume is marked read-only")
        }
        Some(_) => Ok(()),
        None if plan.read_only_root => Err("container rootfs is marked read-only"),
        None => Ok(()),
    }
}

fn read_file(view: &View, path: &str) -> io::Result<Vec<u8>> {
    let file = fs::File::from(view.find(Path::new(path), OFlags::RDONLY | OFlags::NONBLOCK)?);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut content = Vec::new();
    file.take(LONGEST_FILE).read_to_end(&mut content)?;
    Ok(content)
}

/// A client may compress what it sends. The first bytes tell.
fn uncompressed<'a>(mut input: impl io::BufRead + 'a) -> Result<Box<dyn Read + 'a>, JobError> {
    Ok(match input.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(input)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            return Err(JobError::Invalid(
                "archives by bzip2 and xz are not taken; gzip and zstd are".to_owned(),
            ));
        }
        _ => Box::new(input),
    })
}

/// All layers of the image as one tree, or nothing where there are none.
fn lower(plan: &Plan) -> io::Result<Option<OwnedFd>> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    match plan.root.lower.as_slice() {
        [] => Ok(None),
        [one] => open_folder(one).map(Some),
        several => {
            rootfs::mount_lower(several, &plan.root.target)?;
            open_folder(&plan.root.target).map(Some)
        }
    }
}

/// Copies the image's folder into an empty volume: owners, modes and times too, also of the folder itself.
fn populate(view: &View, volume: &Emptiness) -> Result<(), JobError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let source = match view.find(&volume.destination, flags) {
        // The image has no folder there: nothing to copy.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(());
        }
        other => other?,
    };
    let data = open(&volume.volume, flags | OFlags::CLOEXEC, Mode::empty()).map_err(io::Error::from)?;
    let data = match inside::find(&data, &volume.subpath, flags) {
        // Told at the start, where it matters.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let target: PathBuf = by_descriptor(&data);
    if fs::read_dir(&target)?.next().is_some() {
        return Ok(());
    }
    let (mut reader, writer) = io::pipe()?;
    std::thread::scope(|scope| {
        let packing = scope.spawn(move || {
            let mut writer = BufWriter::with_capacity(BUFFER, writer);
            pack_folder(source, b"./", Flavour::Exact, &mut writer)
        });
        let unpacked = snapshot::unpack_into(&target, Path::new("/"), Rules::filling(), &mut reader);
        drop(reader);
        let packed = packing.join().unwrap_or_else(|_| Err(io::Error::other("the copy was given up").into()));
        unpacked?;
        packed
    })
}
