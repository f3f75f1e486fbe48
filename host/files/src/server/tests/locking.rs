//! Locks: those of other guests, of the host, and waiting for them.

use super::*;

/// Whose lock, through which open file of which node.
#[derive(Clone, Copy)]
struct By {
    node: u64,
    fh: u64,
    owner: u64,
}

/// Asks for a lock of everything; false if the answer comes later.
fn lock(guest: &Guest, (opcode, unique): (u32, u64), by: By, kind: u32, flags: u32) -> Outcome<bool> {
    let body = [longs(&[by.fh, by.owner, 0, i64::MAX as u64]), numbers(&[kind, 1, flags, 0])].concat();
    let mut reply = Vec::new();
    match guest.server.handle(&guest.request(opcode, unique, by.node, &body), &mut reply) {
        Some(_) => parse(&reply, unique).map(|_| true),
        None => Ok(false),
    }
}

#[test]
fn a_lock_that_waits_is_answered_when_it_is_free() {
    let guest = Guest::new();
    let (file, fh) = guest.create(1, "file", 0o644).unwrap();
    for flags in [0, abi::LK_FLOCK] {
        let other = guest.open(file.node, READ_WRITE).unwrap();
        assert!(
            lock(&guest, (SETLK, 7), By { node: file.node, fh, owner: 1 }, abi::lock::WRITE, flags).unwrap()
        );
        assert_eq!(
            lock(&guest, (SETLK, 7), By { node: file.node, fh: other, owner: 2 }, abi::lock::READ, flags),
            Err(Errno::AGAIN)
        );
        let granted =
            lock(&guest, (SETLKW, 99), By { node: file.node, fh: other, owner: 2 }, abi::lock::WRITE, flags)
                .unwrap();
        assert!(!granted, "it does not hold up whoever asked for it");
        assert!(
            lock(&guest, (SETLK, 7), By { node: file.node, fh, owner: 1 }, abi::lock::NONE, flags).unwrap()
        );
        let Some(Message::ToKernel(late)) = guest.outgoing.next() else { panic!("an answer") };
        parse(&late, 99).expect("it was granted");
        lock(&guest, (SETLK, 7), By { node: file.node, fh: other, owner: 2 }, abi::lock::NONE, flags)
            .unwrap();
    }
}

#[test]
fn a_lock_that_waits_is_given_up_at_a_signal() {
    let guest = Guest::new();
    let (file, fh) = guest.create(1, "file", 0o644).unwrap();
    lock(&guest, (SETLK, 7), By { node: file.node, fh, owner: 1 }, abi::lock::WRITE, 0).unwrap();
    assert!(!lock(&guest, (SETLKW, 99), By { node: file.node, fh, owner: 2 }, abi::lock::WRITE, 0).unwrap());
    let mut reply = Vec::new();
    assert!(guest.server.handle(&guest.request(INTERRUPT, 0, 0, &longs(&[99])), &mut reply).is_none());
    let Some(Message::ToKernel(late)) = guest.outgoing.next() else { panic!("an answer") };
    assert_eq!(parse(&late, 99).unwrap_err(), Errno::INTR);
}

#[test]
fn the_host_sees_the_locks_of_the_guest() {
    let guest = Guest::new();
    let (file, fh) = guest.create(1, "file", 0o644).unwrap();
    let ours = fs::File::options().read(true).write(true).open(guest.path("file")).unwrap();
    lock(&guest, (SETLK, 7), By { node: file.node, fh, owner: 1 }, abi::lock::WRITE, abi::LK_FLOCK).unwrap();
    assert!(matches!(ours.try_lock(), Err(fs::TryLockError::WouldBlock)));
    lock(&guest, (SETLK, 7), By { node: file.node, fh, owner: 1 }, abi::lock::NONE, abi::LK_FLOCK).unwrap();
    ours.try_lock().expect("it is free");
    assert_eq!(
        lock(&guest, (SETLK, 7), By { node: file.node, fh, owner: 1 }, abi::lock::READ, abi::LK_FLOCK),
        Err(Errno::AGAIN),
        "and the guest those of the host"
    );

    lock(&guest, (SETLK, 7), By { node: file.node, fh, owner: 1 }, abi::lock::WRITE, 0).unwrap();
    let range = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::fcntl_lock(&ours, range).expect_err("a program with fcntl is kept out");
    // The close of an open file that both reads and writes is told with its owner.
    guest.ask(25, file.node, &longs(&[fh, 0, 1])).unwrap();
    rustix::fs::fcntl_lock(&ours, range).expect("closing gave it up");
}
