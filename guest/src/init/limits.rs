//! Resource limits (getrlimit(2)) that the engine and, through it, containers inherit.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::boot::{Boot, BootError, failed};

/// The kernel's own upper bound (`fs.nr_open`), which is what Docker's containers are used to.
const OPEN_FILES: u64 = 1 << 20;

/// Raises what can be raised. A process on a host that does not let it go over the host's own limit takes that
/// one, and says so.
pub(super) fn raise(boot: &mut Boot) -> Result<(), BootError> {
    match setrlimit(Resource::Nofile, Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) }) {
        Ok(()) => {}
        Err(rustix::io::Errno::PERM) => {
            let maximum = getrlimit(Resource::Nofile).maximum;
            setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
                .map_err(failed("raise the number of open files"))?;
            boot.warnings.push(format!(
                "a process can have {} files open at most: the host does not let this machine raise its limits \
                 (CAP_SYS_RESOURCE)",
                maximum.unwrap_or(OPEN_FILES)
            ));
        }
        Err(error) => {
            return Err(BootError::System {
                doing: "raise the number of open files".into(),
                cause: io::Error::from(error),
            });
        }
    }
    // The kernel's default depends on its memory, and a fork bomb is the pids controller's business.
    match setrlimit(Resource::Nproc, Rlimit { current: None, maximum: None }) {
        // Root's processes are not counted; only containers of other users would notice.
        Ok(()) | Err(rustix::io::Errno::PERM) => Ok(()),
        Err(error) => Err(failed("raise the number of processes")(error)),
    }
}
