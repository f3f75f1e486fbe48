//! What a further process may do: the container's capabilities, or with `--privileged` all that there are.

use std::io;

use libcontainer::capabilities::drop_privileges;
use libcontainer::syscall::syscall::create_syscall;
use oci_spec::runtime::LinuxCapabilities;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
};

/// Keeps what the container's processes have, and drops the rest. Without a word about it they have all.
pub(super) fn keep(of_container: Option<&LinuxCapabilities>, privileged: bool) -> io::Result<()> {
    match of_container {
        Some(these) if !privileged => {
            drop_privileges(these, &*create_syscall()).map_err(|e| io::Error::other(e.to_string()))
        }
        _ => {
            // More than the shim has cannot be given.
            let all = capabilities(None)?.permitted;
            let inheritable = CapabilitySet::empty();
            set_capabilities(None, CapabilitySets { effective: all, permitted: all, inheritable })?;
            Ok(clear_ambient_capability_set()?)
        }
    }
}
