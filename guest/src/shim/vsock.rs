//! Sockets of the machine's own transport (AF_VSOCK) are refused to every container that is not privileged, whatever
//! seccomp profile it has, or none: vsock knows no namespaces, and behind it is the host. The filter is the shim's own
//! and comes down to all that it forks; the container's is loaded on top of it.

use libcontainer::seccomp::initialize_seccomp;
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArgBuilder, LinuxSeccompBuilder, LinuxSeccompOperator,
    LinuxSyscallBuilder,
};

use super::protocol::Failure;
use crate::container::seccomp::architectures;

const AF_VSOCK: u64 = 40;
const EPERM: u32 = 1;

/// From here on neither this process nor any that it starts has such a socket.
pub(super) fn refuse() -> Result<(), Failure> {
    let loaded = initialize_seccomp(&filter());
    loaded.map(drop).map_err(|e| Failure::of_creation(&format!("unable to init seccomp: {e}")))
}

fn filter() -> LinuxSeccomp {
    let family = LinuxSeccompArgBuilder::default()
        .index(0_usize)
        .value(AF_VSOCK)
        .op(LinuxSeccompOperator::ScmpCmpEq)
        .build()
        .expect("index, value and operator are set");
    // libseccomp makes of it also what refuses the `socket` of 32-bit programs' `socketcall`, whose other arguments are
    // out of a filter's sight; they have had `socket` itself since Linux 4.3. A rule of our own for `socketcall` would
    // undo the first one on x86_64 (libseccomp 2.5.4, with x32).
    let socket = LinuxSyscallBuilder::default()
        .names(["socket".to_owned()])
        .action(LinuxSeccompAction::ScmpActErrno)
        .errno_ret(EPERM)
        .args([family])
        .build()
        .expect("names and action are set");
    let built = LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActAllow)
        .architectures(architectures())
        .syscalls([socket])
        .build();
    built.expect("no field is missing that has to be there")
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketType, socket};

    use super::*;

    #[test]
    fn a_thread_and_what_it_starts_get_no_such_socket_and_any_other() {
        let tried = std::thread::spawn(|| {
            // Without it this is an administrator's to do.
            rustix::thread::set_no_new_privs(true).unwrap();
            refuse().unwrap();
            let vsock = std::thread::spawn(|| socket(AddressFamily::VSOCK, SocketType::STREAM, None).err());
            (vsock.join().unwrap(), socket(AddressFamily::UNIX, SocketType::STREAM, None).is_ok())
        });
        assert_eq!(tried.join().unwrap(), (Some(Errno::PERM), true));
    }
}
