//! Which backend runs the machine: what the settings say, and what this host has for it.

use std::fmt;
use std::str::FromStr;

use crate::Hypervisor;

/// The `machine` of the settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best virtual machine this host can run; never `process`, which shares the host's kernel.
    #[default]
    Auto,
    /// A virtual machine by QEMU.
    Qemu,
    /// No virtual machine: the guest's daemon in namespaces of this host's kernel.
    Process,
}

impl Choice {
    /// All of them, as the settings call them.
    pub const NAMES: [&str; 3] = ["auto", "qemu", "process"];
}

impl FromStr for Choice {
    type Err = ParseChoiceError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Self::Auto),
            "qemu" => Ok(Self::Qemu),
            "process" => Ok(Self::Process),
            _ => Err(ParseChoiceError { name: name.to_owned() }),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Qemu => "qemu",
            Self::Process => "process",
        })
    }
}

/// A name that is none of [`Choice::NAMES`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no machine: it is one of {}", Choice::NAMES.join(", "))]
pub struct ParseChoiceError {
    /// What was given.
    pub name: String,
}

/// Why there is no backend for a choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    /// This system's own backend is not written yet, and the others are for Linux.
    #[error("no machine can run on {system} yet: machines for macOS and Windows come with a later version")]
    SystemLater {
        /// As Rust calls it: `macos`, `windows`.
        system: &'static str,
    },
}

impl PickError {
    /// The next thing to type, when we know it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::SystemLater { .. } => Some("run the daemon on a Linux computer for now".into()),
        }
    }
}

/// The backend for a choice. Whether it can boot here (its program installed, enough rights), `boot` tells.
#[cfg(target_os = "linux")]
pub fn pick(choice: Choice) -> Result<Box<dyn Hypervisor>, PickError> {
    Ok(match choice {
        Choice::Auto | Choice::Qemu => Box::new(crate::linux::Qemu),
        Choice::Process => Box::new(crate::linux::Process),
    })
}

/// The backend for a choice. There is none on this system yet.
#[cfg(not(target_os = "linux"))]
pub fn pick(_choice: Choice) -> Result<Box<dyn Hypervisor>, PickError> {
    Err(PickError::SystemLater { system: std::env::consts::OS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_it_is_written() {
        for name in Choice::NAMES {
            assert_eq!(name.parse::<Choice>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "vmware".parse::<Choice>().unwrap_err();
        assert_eq!(error.to_string(), "`vmware` is no machine: it is one of auto, qemu, process");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn auto_never_takes_the_backend_without_a_kernel_of_its_own() {
        assert!(pick(Choice::Auto).unwrap().features().own_kernel);
    }
}
