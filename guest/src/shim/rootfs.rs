//! The container's root in the shim's own mount namespace, so that it goes when the shim goes, however that
//! ends. What a path inside it means is asked of the kernel (openat2(2), `RESOLVE_IN_ROOT`): an image may hold
//! any symlink.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, open, openat2};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};

use super::protocol::Overlay;

/// Bytes of an image's file that are read at most.
const LONGEST_FILE: u64 = 16 << 20;

/// A mounted root.
#[derive(Debug)]
pub struct Rootfs {
    target: PathBuf,
    root: OwnedFd,
}

impl Rootfs {
    /// Leaves the engine's mount namespace and mounts `overlay`. What the engine mounts or unmounts later is
    /// followed, nothing of ours is seen there.
    pub fn mount(overlay: &Overlay) -> io::Result<Self> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
        std::fs::create_dir_all(&overlay.target)?;
        if overlay.lower.is_empty() {
            mount_bind(&overlay.upper, &overlay.target)?;
        } else {
            mount_overlay(overlay)?;
        }
        let root = open(&overlay.target, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { target: overlay.target.clone(), root })
    }

    /// The start of the file `path`, as a process of the container would find it.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        // Not to wait for a writer where the image has a FIFO in the file's place.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(self.open(Path::new(path), flags)?);
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut content = Vec::new();
        file.take(LONGEST_FILE).read_to_end(&mut content)?;
        Ok(content)
    }

    /// Makes the folder `path` and those above it, where they are missing.
    pub fn make_folder(&self, path: &Path) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder = self.open(Path::new("/"), flags)?;
        let mut walked = PathBuf::from("/");
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            walked.push(name);
            folder = match self.open(&walked, flags) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    mkdirat(&folder, name, Mode::from_raw_mode(0o755))?;
                    self.open(&walked, flags)?
                }
                other => other?,
            };
        }
        Ok(())
    }

    fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(&self.root, path, flags, Mode::empty(), resolve)?)
    }

    /// Unmounts it. The container has its own copy, which went with its last process.
    pub fn unmount(self) -> io::Result<()> {
        drop(self.root);
        Ok(unmount(&self.target, UnmountFlags::DETACH)?)
    }
}

/// mount(2) takes one page of options, in which a hundred layers' paths have no room (the one option a layer
/// of fsconfig(2) came with 6.8). So the folders are opened, and named by descriptor, as seen from
/// `/proc/self/fd`; a comma or a colon in a path is harmless as well.
fn mount_overlay(overlay: &Overlay) -> io::Result<()> {
    let lower = overlay.lower.iter().map(folder).collect::<io::Result<Vec<_>>>()?;
    let (upper, work) = (folder(&overlay.upper)?, folder(&overlay.work)?);
    // The upper folder alone has to tell what changed, for `diff` and `commit`.
    let more = format!(
        "upperdir={},workdir={},index=off,redirect_dir=off,metacopy=off",
        upper.as_raw_fd(),
        work.as_raw_fd()
    );
    mount_by_descriptors(&lower, &more, &overlay.target)
}

/// Mounts two or more layers, the topmost first, with nothing to write to.
pub(crate) fn mount_lower(lower: &[PathBuf], target: &Path) -> io::Result<()> {
    std::fs::create_dir_all(target)?;
    let lower = lower.iter().map(folder).collect::<io::Result<Vec<_>>>()?;
    mount_by_descriptors(&lower, "index=off,metacopy=off", target)
}

fn folder(path: &PathBuf) -> io::Result<OwnedFd> {
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| io::Error::new(io::Error::from(e).kind(), format!("{}: {e}", path.display())))
}

fn mount_by_descriptors(lower: &[OwnedFd], more: &str, target: &Path) -> io::Result<()> {
    let names: Vec<_> = lower.iter().map(|layer| layer.as_fd().as_raw_fd().to_string()).collect();
    let options = format!("lowerdir={},{more}", names.join(":"));
    let options = std::ffi::CString::new(options).expect("numbers and names without NUL");
    let home = open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::process::chdir("/proc/self/fd")?;
    let mounted = mount("overlay", target, "overlay", MountFlags::empty(), options.as_c_str());
    rustix::process::fchdir(home)?;
    Ok(mounted?)
}
