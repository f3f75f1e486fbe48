//! The simplest transport: the descriptor of `/dev/fuse` itself, where the guest is a process of this computer.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::{DeviceBacking, MAX_REQUEST, Message, Outgoing, RootKind, Server};

/// A server at work on a mount's descriptor. It ends when the mount does; dropping it waits for that.
#[derive(Debug)]
pub struct Serving {
    threads: Vec<JoinHandle<()>>,
    delivered: Arc<(Mutex<u64>, Condvar)>,
}

impl Serving {
    /// Waits until the kernel has been told all that the server has said so far.
    pub fn settle(&self, server: &Server) {
        let said = server.counts().invalidations;
        let (delivered, more) = &*self.delivered;
        let mut delivered = delivered.lock().unwrap_or_else(PoisonError::into_inner);
        while *delivered < said && !self.threads.iter().all(JoinHandle::is_finished) {
            let patience = std::time::Duration::from_secs(1);
            delivered = more.wait_timeout(delivered, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Opens `/dev/fuse` and mounts it at `target`, in this thread's mount namespace.
pub fn mount(target: &Path, kind: RootKind) -> io::Result<OwnedFd> {
    let device = File::options().read(true).write(true).open("/dev/fuse")?;
    let mode = match kind {
        RootKind::Folder => "40000",
        RootKind::File => "100000",
    };
    let options = format!(
        "fd={},rootmode={mode},user_id=0,group_id=0,default_permissions,allow_other,max_read={}",
        device.as_raw_fd(),
        1 << 20
    );
    let options = std::ffi::CString::new(options)?;
    rustix::mount::mount("holm", target, "fuse", MountFlags::NODEV, Some(options.as_c_str()))?;
    Ok(device.into())
}

/// Takes the mount away, also from under who uses it.
pub fn unmount(target: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(target, UnmountFlags::DETACH)?)
}

/// Serves the descriptor with `threads` threads for requests, and two for what the server says unasked.
pub fn serve(
    server: &Arc<Server>,
    outgoing: Outgoing,
    device: OwnedFd,
    threads: usize,
    at: &Path,
) -> io::Result<Serving> {
    if let Ok(backing) = DeviceBacking::new(device.as_fd()) {
        server.set_backing(Box::new(backing));
    }
    let device = Arc::new(device);
    let mut serving = Serving { threads: Vec::new(), delivered: Arc::default() };
    let delivered = Arc::clone(&serving.delivered);
    for _ in 0..threads.max(1) {
        let (server, device) = (Arc::clone(server), Arc::clone(&device));
        serving
            .threads
            .push(thread::Builder::new().name("files".to_owned()).spawn(move || answer(&server, &device))?);
    }
    let (hints, folders) = std::sync::mpsc::sync_channel(64);
    let at = at.to_owned();
    serving.threads.push(thread::Builder::new().name("files-ahead".to_owned()).spawn(move || {
        for folder in folders {
            // Listing it is all: the answers fill the kernel's caches.
            let _ = std::fs::read_dir(at.join::<std::path::PathBuf>(folder))
                .map(|entries| entries.for_each(drop));
        }
    })?);
    serving.threads.push(thread::Builder::new().name("files-news".to_owned()).spawn(move || {
        while let Some(message) = outgoing.next() {
            match message {
                Message::ToKernel(bytes) => {
                    // ENOENT: the kernel does not have what it is to forget.
                    let _ = rustix::io::write(&device, &bytes);
                    if bytes.get(8..16) == Some(&[0; 8]) {
                        *delivered.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                        delivered.1.notify_all();
                    }
                }
                Message::ReadFolder(folder) => drop(hints.try_send(folder)),
            }
        }
    })?);
    Ok(serving)
}

fn answer(server: &Server, device: &OwnedFd) {
    let mut request = vec![0; MAX_REQUEST];
    let mut reply = Vec::new();
    loop {
        let length = match rustix::io::read(device, request.as_mut_slice()) {
            Ok(0) => break,
            Ok(length) => length,
            // The asker was interrupted before we had read its request.
            Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => continue,
            // ENODEV: unmounted.
            Err(_) => break,
        };
        if let Some(_answered) = request.get(..length).and_then(|request| server.handle(request, &mut reply))
        {
            // ENOENT: nobody waits for it any more.
            let _ = rustix::io::write(device, &reply);
        }
    }
    server.close();
}

impl Drop for Serving {
    fn drop(&mut self) {
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}
