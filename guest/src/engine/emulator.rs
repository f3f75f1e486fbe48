//! Whether this machine runs programs of another processor: by an interpreter that somebody registered with the
//! kernel (Documentation/admin-guide/binfmt-misc.rst).

use std::fs;
use std::path::Path;

use crate::image::Platform;

/// Where the kernel lists what is registered, one file each.
const REGISTERED: &str = "/proc/sys/fs/binfmt_misc";

/// Architectures by Go's names, with the two bytes that tell them in an ELF header, in hex (`e_machine`, at byte 18).
const MACHINES: [(&str, &str); 9] = [
    ("386", "0300"),
    ("amd64", "3e00"),
    ("arm", "2800"),
    ("arm64", "b700"),
    ("loong64", "0201"),
    ("mips64le", "0800"),
    ("ppc64le", "1500"),
    ("riscv64", "f300"),
    ("s390x", "0016"),
];

/// What to tell who makes a container of an image for `platform`, where nothing here can run it.
pub(super) fn lacking(platform: &Platform) -> Option<String> {
    if Platform::host().fit(platform).is_some() || offers(Path::new(REGISTERED), &platform.architecture) {
        return None;
    }
    Some(format!(
        "This machine has no emulator for {platform}: nothing is registered for it in binfmt_misc, so its programs end \
         with \"exec format error\""
    ))
}

fn offers(folder: &Path, architecture: &str) -> bool {
    let Some((_, machine)) = MACHINES.iter().find(|(name, _)| *name == architecture) else { return false };
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_to_string(file.path()).ok()).any(|text| runs(&text, machine))
}

/// Whether one entry is switched on, and is for ELF programs of this machine.
fn runs(entry: &str, machine: &str) -> bool {
    let magic = entry.lines().find_map(|line| line.strip_prefix("magic "));
    entry.starts_with("enabled")
        && magic.is_some_and(|magic| magic.starts_with("7f454c46") && magic.get(36..40) == Some(machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QEMU: &str = "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: F\noffset 0\n\
                        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00\n";

    #[test]
    fn an_emulator_is_known_by_the_programs_that_it_runs_and_counts_while_it_is_on() {
        let folder = tempfile::tempdir().unwrap();
        let offered = |architecture: &str| offers(folder.path(), architecture);
        fs::write(folder.path().join("status"), "enabled\n").unwrap();
        assert!(!offered("arm64"));
        fs::write(folder.path().join("any-name"), QEMU).unwrap();
        assert!(offered("arm64") && !offered("s390x") && !offered("plan9"));
        fs::write(folder.path().join("any-name"), QEMU.replace("enabled", "disabled")).unwrap();
        assert!(!offered("arm64"));
        assert!(!offers(Path::new("/nonexistent"), "arm64"));
    }

    #[test]
    fn this_machines_own_programs_need_none() {
        assert_eq!(lacking(&Platform::host()), None);
    }
}
