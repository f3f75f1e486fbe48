//! Which devices a container may use, as cgroup v2 wants it: an eBPF program at the container's cgroup
//! (BPF_PROG_TYPE_CGROUP_DEVICE). Without it, the right to make device nodes that Docker gives every container would be
//! the right to read the machine's disk. libcontainer's own way needs libbpf and libelf for these thirty instructions.
#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, Spec};

use super::cgroup::Cgroup;

/// Lets the processes of `cgroup` use what the spec's rules allow. Goes with the cgroup.
pub(super) fn enforce(cgroup: &Cgroup, spec: &Spec) -> io::Result<()> {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let Some(rules) = resources.and_then(|resources| resources.devices().as_ref()) else { return Ok(()) };
    let folder = File::open(cgroup.folder())?;
    let program = load(&compile(rules)?)?;
    attach(folder.as_fd(), program.as_fd())
}

/// One instruction (linux/bpf.h, `struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// Destination in the lower four bits, source in the upper ones.
    registers: u8,
    offset: i16,
    value: i32,
}

const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbc;
const MOVE_VALUE: u8 = 0xb4;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const SKIP_UNLESS_VALUE: u8 = 0x56;
const SKIP_IF_VALUE: u8 = 0x16;
const SKIP_UNLESS_REGISTER: u8 = 0x5e;
const EXIT: u8 = 0x95;

// What the program keeps where.
const ANSWER: u8 = 0;
const SCRATCH: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

/// The last rule that fits counts, so they are asked from the last to the first; where none fits, nothing is allowed.
fn compile(rules: &[LinuxDeviceCgroup]) -> io::Result<Vec<Instruction>> {
    // The context is three words: access and type in one, major, minor. Its register is free once they are read.
    let mut program = vec![
        instruction(LOAD_WORD, TYPE, SCRATCH, 0, 0),
        instruction(MOVE_REGISTER, ACCESS, TYPE, 0, 0),
        instruction(AND, TYPE, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, SCRATCH, 4, 0),
        instruction(LOAD_WORD, MINOR, SCRATCH, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let compiled = compile_rule(rule)?;
        let fits_all = compiled == answer(rule.allow());
        program.extend(compiled);
        if fits_all {
            // The kernel refuses a program with instructions that are never reached.
            return Ok(program);
        }
    }
    program.extend(answer(false));
    Ok(program)
}

fn compile_rule(rule: &LinuxDeviceCgroup) -> io::Result<Vec<Instruction>> {
    let mut checks = Vec::new();
    match rule.typ() {
        None | Some(LinuxDeviceType::A) => {}
        Some(LinuxDeviceType::B) => checks.push(instruction(SKIP_UNLESS_VALUE, TYPE, 0, 0, BLOCK)),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => {
            checks.push(instruction(SKIP_UNLESS_VALUE, TYPE, 0, 0, CHARACTER));
        }
        Some(LinuxDeviceType::P) => return Ok(Vec::new()),
    }
    let access = access(rule.access().as_deref().unwrap_or_default());
    if access != ALL_ACCESS {
        checks.push(instruction(MOVE_REGISTER, SCRATCH, ACCESS, 0, 0));
        checks.push(instruction(AND, SCRATCH, 0, 0, access));
        // All that is asked for must be allowed; one refusal is enough.
        checks.push(if rule.allow() {
            instruction(SKIP_UNLESS_REGISTER, SCRATCH, ACCESS, 0, 0)
        } else {
            instruction(SKIP_IF_VALUE, SCRATCH, 0, 0, 0)
        });
    }
    for (register, number) in [(MAJOR, rule.major()), (MINOR, rule.minor())] {
        // -1 is any number in the rules of Docker's own tables.
        let Some(number) = number.filter(|number| *number != -1) else { continue };
        let number = u32::try_from(number).map_err(io::Error::other)?.cast_signed();
        checks.push(instruction(SKIP_UNLESS_VALUE, register, 0, 0, number));
    }
    let answer = answer(rule.allow());
    let length = checks.len() + answer.len();
    for (index, check) in checks.iter_mut().enumerate() {
        if matches!(check.code, SKIP_UNLESS_VALUE | SKIP_IF_VALUE | SKIP_UNLESS_REGISTER) {
            check.offset = i16::try_from(length - index - 1).map_err(io::Error::other)?;
        }
    }
    checks.extend(answer);
    Ok(checks)
}

const ALL_ACCESS: i32 = 7;

fn access(letters: &str) -> i32 {
    let bit = |letter| match letter {
        'm' => 1,
        'r' => 2,
        'w' => 4,
        _ => 0,
    };
    letters.chars().map(bit).fold(0, |all, bit| all | bit)
}

fn answer(allow: bool) -> [Instruction; 2] {
    [instruction(MOVE_VALUE, ANSWER, 0, 0, i32::from(allow)), instruction(EXIT, 0, 0, 0, 0)]
}

fn instruction(code: u8, destination: u8, source: u8, offset: i16, value: i32) -> Instruction {
    Instruction { code, registers: destination | source << 4, offset, value }
}

/// `union bpf_attr` for BPF_PROG_LOAD, as far as it is used.
#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    unused: [u64; 3],
}

/// `union bpf_attr` for BPF_PROG_ATTACH.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

const BPF_PROG_LOAD: i64 = 5;
const BPF_PROG_ATTACH: i64 = 8;
const PROGRAM_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let request = Load {
        program_type: PROGRAM_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        unused: [0; 3],
    };
    // SAFETY: the kernel reads `request` and what it points to, both alive for the call and of the sizes that it names.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const request, size_of::<Load>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let descriptor = i32::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn attach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let request = Attach {
        target: cgroup.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        attach_type: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: the kernel reads `request`, which holds two descriptors that are borrowed for the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const request, size_of::<Attach>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Runs a program as the kernel would.
    fn allowed(rules: &Value, typ: i32, access: i32, major: i32, minor: i32) -> bool {
        let rules: Vec<LinuxDeviceCgroup> = serde_json::from_value(rules.clone()).unwrap();
        let program = compile(&rules).unwrap();
        let context = [access << 16 | typ, major, minor];
        let mut registers = [0_i32; 6];
        let mut at = 0;
        loop {
            let Instruction { code, registers: names, offset, value } = program[at];
            let (to, from) = (usize::from(names & 15), usize::from(names >> 4));
            let skip = match code {
                LOAD_WORD => {
                    registers[to] = context[usize::try_from(offset).unwrap() / 4];
                    false
                }
                MOVE_REGISTER => {
                    registers[to] = registers[from];
                    false
                }
                MOVE_VALUE => {
                    registers[to] = value;
                    false
                }
                AND => {
                    registers[to] &= value;
                    false
                }
                SHIFT_RIGHT => {
                    registers[to] >>= value;
                    false
                }
                SKIP_UNLESS_VALUE => registers[to] != value,
                SKIP_IF_VALUE => registers[to] == value,
                SKIP_UNLESS_REGISTER => registers[to] != registers[from],
                EXIT => return registers[0] != 0,
                other => panic!("{other:#x}"),
            };
            at += 1 + if skip { usize::try_from(offset).unwrap() } else { 0 };
        }
    }

    #[test]
    fn nothing_is_allowed_without_a_rule() {
        assert!(!allowed(&json!([]), CHARACTER, 2, 1, 3));
    }

    #[test]
    fn all_that_is_asked_for_must_be_allowed() {
        let rules = json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw" },
            { "allow": true, "type": "c", "access": "m" },
        ]);
        assert!(allowed(&rules, CHARACTER, 6, 1, 3));
        assert!(allowed(&rules, CHARACTER, 1, 8, 0), "any node may be made");
        assert!(!allowed(&rules, CHARACTER, 3, 1, 3), "made and read are two rules");
        assert!(!allowed(&rules, CHARACTER, 2, 1, 4));
        assert!(!allowed(&rules, BLOCK, 2, 1, 3));
    }

    #[test]
    fn nothing_follows_a_rule_that_fits_everything() {
        let rules: Vec<LinuxDeviceCgroup> = serde_json::from_value(json!([
            { "allow": true, "type": "c", "access": "r" },
            { "allow": true, "access": "rwm" },
        ]))
        .unwrap();
        assert_eq!(compile(&rules).unwrap().len(), 6 + 2);
    }

    #[test]
    fn the_last_rule_that_fits_counts() {
        let rules = json!([
            { "allow": true, "access": "rwm" },
            { "allow": false, "type": "b", "major": 8, "access": "w" },
        ]);
        assert!(allowed(&rules, BLOCK, 2, 8, 0));
        assert!(!allowed(&rules, BLOCK, 6, 8, 0), "one refusal is enough");
        assert!(allowed(&rules, BLOCK, 6, 9, 0));
    }
}
