//! Makes the container: root, user, streams, libcontainer. The end of this process undoes all of it but the
//! cgroup and libcontainer's state, which [`super::leftovers`] removes.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Mutex;

use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::syscall::syscall::SyscallType;
use oci_spec::runtime::{LinuxNamespaceType, LinuxResources, Spec};
use rustix::pipe::{PipeFlags, pipe_with};
use tracing::level_filters::LevelFilter;

use super::cgroup::Cgroup;
use super::exec::Entrance;
use super::execute::Execute;
use super::protocol::{Failure, ShimConfig};
use super::rootfs::Rootfs;
use super::streams::{Streams, receive_terminal};
use super::{bundle, device_rules, leftovers, sources};
use crate::container::limits;
use crate::container::users::{self, ResolvedUser};

/// A container that waits for its start.
#[derive(Debug)]
pub(super) struct NewContainer {
    /// libcontainer's view of it.
    pub(super) container: Container,
    /// Its first process, a child of this one.
    pub(super) pid: i32,
    /// Its root.
    pub(super) rootfs: Rootfs,
    /// The other ends of its standard streams.
    pub(super) streams: Streams,
    /// Its cgroup.
    pub(super) cgroup: Cgroup,
    /// Whether the kernel ends all of its processes with the first one.
    pub(super) owns_pids: bool,
    /// Where further processes come in.
    pub(super) entrance: Entrance,
}

/// Creates what the bundle describes. This process must have one thread.
pub(super) fn create(bundle: &Path, config: &ShimConfig, mut spec: Spec) -> Result<NewContainer, Failure> {
    let cgroup = Cgroup::of(&spec);
    leftovers::remove(&config.runtime, &config.id, &cgroup)
        .map_err(|e| Failure::of_creation(&format!("cannot remove what an earlier run left: {e}")))?;
    let rootfs = Rootfs::mount(&config.rootfs)
        .map_err(|e| Failure::of_creation(&format!("cannot mount the root file system: {e}")))?;
    sources::attach(&config.sources)?;

    let user = resolve_user(&config.user, config, &rootfs)?;
    set_user(&mut spec, &user);
    make_working_folder(&spec, &rootfs)?;
    let system = |e: io::Error| Failure::of_creation(&e.to_string());
    let limits = take_limits(&mut spec);
    let resolved = serde_json::to_vec(&spec).map_err(|e| system(e.into()))?;
    fs::write(bundle.join("config.json"), resolved).map_err(system)?;

    let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
    let (report, reporter) = pipe_with(flags).map_err(|e| system(e.into()))?;
    let built = build(bundle, config, &user, Execute::new(reporter)).and_then(|built| {
        // The container's first process waits for its start, and has made its own device nodes.
        device_rules::enforce(&cgroup, &spec).map_err(BuildError::DeviceRules)?;
        limits::write(cgroup.folder(), &limits).map_err(BuildError::Limits)?;
        Ok(built)
    });
    let (container, streams) = built.map_err(|error| {
        let undone = leftovers::remove(&config.runtime, &config.id, &cgroup);
        undone.unwrap_or_else(|e| tracing::error!("cannot remove a container that was not created: {e}"));
        reported(report).unwrap_or_else(|| explained(bundle, &error))
    })?;
    let pid = container.pid().ok_or_else(|| Failure::of_creation("the container has no process"))?.as_raw();
    let owns_pids = owns_pids(&spec);
    let entrance = Entrance::open(pid, cgroup.clone()).map_err(system)?;
    Ok(NewContainer { container, pid, rootfs, streams, cgroup, owns_pids, entrance })
}

/// Why the container could not be made, before it is put in the daemon's words.
#[derive(Debug, thiserror::Error)]
enum BuildError {
    #[error(transparent)]
    Streams(#[from] io::Error),
    #[error("cannot restrict devices")]
    DeviceRules(#[source] io::Error),
    #[error("error setting cgroup config")]
    Limits(#[source] io::Error),
    #[error(transparent)]
    Container(#[from] Box<LibcontainerError>),
}

fn build(
    bundle: &Path,
    config: &ShimConfig,
    user: &ResolvedUser,
    execute: Execute,
) -> Result<(Container, Streams), BuildError> {
    // In the container's first process, standard error is soon the container's own, in which nothing of ours may
    // appear; this copy stays the shim's log until that process becomes the program.
    let log = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let subscriber = tracing_subscriber::fmt()
        .with_writer(Mutex::new(log))
        .with_ansi(false)
        .with_target(false)
        .with_max_level(LevelFilter::ERROR)
        .finish();
    let _until_built = tracing::subscriber::set_default(subscriber);

    let builder = ContainerBuilder::new(config.id.as_str().to_owned(), SyscallType::default())
        .with_executor(execute)
        .with_root_path(&config.runtime)
        .map_err(Box::new)?;
    let finish = |builder: ContainerBuilder| {
        builder.as_init(bundle).with_systemd(false).with_detach(true).build().map_err(Box::new)
    };
    let Some(size) = config.terminal else {
        let (streams, theirs) = Streams::pipes(config.stdin, user.uid)?;
        let builder = builder.with_stdin(theirs.stdin).with_stdout(theirs.stdout).with_stderr(theirs.stderr);
        return Ok((finish(builder)?, streams));
    };
    // libcontainer makes the terminal in the container's own /dev/pts and sends it to us.
    let socket = config.socket.with_extension("tty");
    leftovers::absent_is_fine(fs::remove_file(&socket))?;
    let listener = UnixListener::bind(&socket)?;
    let container = finish(builder.with_console_socket(Some(&socket)));
    fs::remove_file(&socket)?;
    Ok((container?, Streams::terminal(receive_terminal(&listener)?, size, config.stdin, user.uid)?))
}

/// What the container's first process said before it gave up.
fn reported(report: OwnedFd) -> Option<Failure> {
    let mut told = Vec::new();
    // The pipe does not block: an error at its end says that nobody wrote.
    let _ = File::from(report).read_to_end(&mut told);
    serde_json::from_slice(&told).ok()
}

/// What libcontainer puts before every error of the container's first process and of the one before it.
const WRAPPINGS: [&str; 4] = [
    "failed to create container: ",
    "exec process failed with error ",
    "error in executing process : ",
    "intermediate process error ",
];

/// libcontainer hands on only the outermost of the errors in the container's first process, but logs the first.
fn explained(bundle: &Path, error: &BuildError) -> Failure {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    let mut text = text.as_str();
    for wrapping in WRAPPINGS {
        text = text.strip_prefix(wrapping).unwrap_or(text);
    }
    let log = bundle::log_tail(bundle);
    match log.lines().find_map(|line| line.split_once("ERROR ")) {
        Some((_, first)) => Failure::in_container(&format!("{text}: {first}")),
        None => Failure::of_creation(text),
    }
}

/// Looks `user` up in the mounted root, with the groups that the container's processes have beside their own.
pub(super) fn resolve_user(
    user: &str,
    config: &ShimConfig,
    rootfs: &Rootfs,
) -> Result<ResolvedUser, Failure> {
    // An image without these files is as good as one with empty ones, until a name is asked for.
    let passwd = rootfs.read("/etc/passwd").unwrap_or_default();
    let group = rootfs.read("/etc/group").unwrap_or_default();
    users::resolve(user, &config.groups, &passwd, &group).map_err(Failure::of_daemon)
}

/// Sets the user, and `HOME` as runc does; libcontainer would ask the C library, which in a static program loads
/// modules of whatever root it is in.
fn set_user(spec: &mut Spec, user: &ResolvedUser) {
    let Some(process) = spec.process_mut() else { return };
    let as_whom = process.user_mut();
    as_whom.set_uid(user.uid).set_gid(user.gid).set_additional_gids(Some(user.groups.clone()));
    set_home(process.env_mut().get_or_insert_default(), user);
}

/// Gives the variables a `HOME` where they have none.
pub(super) fn set_home(env: &mut Vec<String>, user: &ResolvedUser) {
    env.retain(|variable| variable != "HOME=");
    if !env.iter().any(|variable| variable.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home));
    }
}

/// Leaves libcontainer the device rules; the rest is written by us.
fn take_limits(spec: &mut Spec) -> LinuxResources {
    let resources = spec.linux_mut().as_mut().and_then(|linux| linux.resources_mut().as_mut());
    let Some(resources) = resources else { return LinuxResources::default() };
    let limits = resources.clone();
    resources.set_cpu(None).set_memory(None).set_pids(None).set_block_io(None);
    limits
}

fn make_working_folder(spec: &Spec, rootfs: &Rootfs) -> Result<(), Failure> {
    let Some(process) = spec.process() else { return Ok(()) };
    let cwd = process.cwd();
    rootfs.make_folder(cwd).map_err(|e| match e.kind() {
        io::ErrorKind::NotADirectory => {
            Failure::of_daemon(format!("Cannot mkdir: {} is not a directory", cwd.display()))
        }
        _ => Failure::of_daemon(format!("mkdir {}: {e}", cwd.display())),
    })
}

fn owns_pids(spec: &Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    namespaces
        .is_some_and(|all| all.iter().any(|ns| ns.typ() == LinuxNamespaceType::Pid && ns.path().is_none()))
}
