//! Measures the vsock of a `qemu` machine: time from exec to its first byte, round trip, bytes a second each way,
//! connections a second. With `--peer` it does the same through rust-vmm's `vhost-device-vsock` with the same QEMU,
//! kernel and guest, and prints ratios: what is above 1 is better here.
//!
//! `cargo run --release -p holm-vmm --example vsock -- --kernel target/vm-image/vmlinux [--peer vhost-device-vsock]`
//!
//! The guest is `guest.c`, compiled with `cc -static`.

#[cfg(target_os = "linux")]
mod initramfs;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("there is no `qemu` machine on this system yet, so nothing to measure");
    std::process::exit(1);
}
