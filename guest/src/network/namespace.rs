//! Doing something in another network namespace, on a thread that ends with it: one of tokio's would carry the
//! namespace into other tasks.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::runtime::Handle as Runtime;

use super::NetworkError;
use super::netlink::failed;

/// The network namespace of a process. It lasts as long as somebody holds it.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<File>);

impl Namespace {
    /// That of the process `pid`.
    pub fn of(pid: i32) -> Result<Self, NetworkError> {
        let opened = File::open(format!("/proc/{pid}/ns/net"));
        let step = || format!("enter the network namespace of process {pid}");
        opened.map(|file| Self(Arc::new(file))).map_err(|error| failed(step())(error))
    }

    /// The descriptor.
    pub(super) fn file(&self) -> &File {
        &self.0
    }

    /// Does `work` in it, inside the caller's runtime.
    pub(super) async fn enter<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (runtime, namespace) = (Runtime::current(), self.0.clone());
        let (send, receive) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().name("netns".into()).spawn(move || {
            let _inside = runtime.enter();
            let entered = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
            // Nobody waits any more where the request was given up.
            let _ = send.send(entered.map_err(io::Error::from).and_then(|()| work()));
        })?;
        receive.await.unwrap_or_else(|_| Err(io::Error::other("its thread died")))
    }
}
