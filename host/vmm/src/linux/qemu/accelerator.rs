//! Whether this host's processor can run the guest itself.
//!
//! `/dev/kvm` alone says too little: inside of some virtual machines it is there and interprets the guest, slower than
//! QEMU's own translator does. Where the processor's virtualization is really passed on, cpuinfo shows its flag.

use std::fs;

/// How the guest's instructions are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    /// By the processor.
    Kvm,
    /// By QEMU's translator.
    Emulation {
        /// What is missing, to follow "for".
        why: &'static str,
    },
}

impl Accelerator {
    /// Looks at cpuinfo and at `/dev/kvm`.
    pub(super) fn of_this_host() -> Self {
        let flags = fs::read_to_string("/proc/cpuinfo").is_ok_and(|cpuinfo| has_virtualization(&cpuinfo));
        if !flags {
            return Self::Emulation { why: "this processor shows no virtualization (vmx or svm)" };
        }
        match fs::File::options().read(true).write(true).open("/dev/kvm") {
            Ok(_) => Self::Kvm,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                Self::Emulation { why: "this user may not open /dev/kvm (its group is `kvm`)" }
            }
            Err(_) => Self::Emulation { why: "there is no /dev/kvm on this computer" },
        }
    }

    /// For QEMU's command line.
    pub(super) fn arguments(&self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // Without "fast" string instructions: with them Linux and glibc copy by `rep movsb`, which the translator
            // does byte by byte.
            Self::Emulation { .. } => ["-accel", "tcg,thread=multi", "-cpu", "max,-erms,-fsrm"],
        }
    }

    /// For the guest's kernel, after all others.
    pub(super) fn kernel_arguments(&self) -> &'static str {
        match self {
            Self::Kvm => "",
            Self::Emulation { .. } => TRANSLATED,
        }
    }
}

/// Loops of a delay in a tick, for a time stamp counter of 2.5 GHz: delays are too long where it is slower. The guest
/// has no device that cares, and would measure each processor but the first for 50 ms, as an emulated counter is not
/// to be relied on.
const TRANSLATED: &str = " lpj=10000000";

/// Whether the first processor of /proc/cpuinfo has Intel's or AMD's flag.
fn has_virtualization(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == "flags")
        .is_some_and(|(_, flags)| flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtualization_is_read_from_the_flags_and_nothing_else() {
        assert!(has_virtualization("processor\t: 0\nflags\t\t: fpu vmx sse\n"));
        assert!(has_virtualization("flags : svm\nflags : svm\n"));
        assert!(!has_virtualization(
            "model name\t: vmx svm\nflags\t\t: fpu svm_lock hypervisor\nvmx flags : vnmi\n"
        ));
        assert!(!has_virtualization(""));
    }
}
