//! The backend `qemu`.
use std::io;

use crate::{BootError, Features, Hypervisor, Machine, MachineSpec};

/// Runs the guest in a virtual machine.
pub(crate) struct Qemu;

impl Hypervisor for Qemu {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn features(&self) -> Features {
        Features { own_kernel: true, emulation: None }
    }

    fn end_leftover(&self, spec: &MachineSpec) -> Result<(), BootError> {
        super::leftover::end(&spec.run)
    }

    fn boot(&self, _spec: &MachineSpec) -> Result<Box<dyn Machine>, BootError> {
        Err(BootError::Step { step: "start qemu".into(), cause: io::ErrorKind::Unsupported.into() })
    }
}
