//! A folder of this computer served by our own FUSE server on a mount that only the caller sees: no guest and no
//! transport in between.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use holm_files::direct::{self, Serving};
use holm_files::{Author, Descriptor, NodeId, Options, Root, Server, Watch};
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use tempfile::TempDir;

/// Takes it upon itself to announce changes; whoever uses the mount does, or changes nothing beside it.
#[derive(Debug)]
pub struct ByHand;

impl Watch for ByHand {
    fn watch(&self, _: NodeId, _: Descriptor<'_>) -> bool {
        true
    }

    fn unwatch(&self, _: NodeId) {}
}

/// The mount.
pub struct Mounted {
    /// Of the share.
    pub server: Arc<Server>,
    serving: Option<Serving>,
    at: TempDir,
}

impl Mounted {
    /// Serves `folder`. To be called within [`privately`].
    pub fn new(folder: &Path, options: Options) -> Result<Mounted> {
        let at = tempfile::tempdir()?;
        let root = Root::open(folder)?;
        let device =
            direct::mount(at.path(), root.kind()).context("/dev/fuse cannot be mounted: not root?")?;
        let (server, outgoing) = Server::new(root, options, Arc::new(ByHand));
        let serving = direct::serve(&server, outgoing, device, 2, at.path())?;
        Ok(Mounted { server, serving: Some(serving), at })
    }

    /// Where the folder is seen as a guest sees it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.at.path().join(name)
    }

    /// Announces that something happened on the host to a name in the share's root, and waits until the kernel has
    /// forgotten what it must; says whether it was news.
    pub fn announce(&self, name: &str, author: Author) -> bool {
        let news = self.server.changed(NodeId(1), Some(name.as_bytes()), author);
        if let Some(serving) = &self.serving {
            serving.settle(&self.server);
        }
        news
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A mount that stays is gone with its namespace.
        let _ = direct::unmount(self.at.path());
        self.server.close();
        drop(self.serving.take());
    }
}

/// Runs `work` on a thread whose mounts nobody else sees.
pub fn privately<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            nix::sched::unshare(CloneFlags::CLONE_NEWNS).context("mount namespaces need root")?;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
            work()
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
