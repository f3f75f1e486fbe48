//! What a guest may try, and does not get.

use super::*;

const SECRET: &str = "not to be seen from the share";

#[test]
fn names_that_are_not_one_step_down_are_refused() {
    let guest = Guest::new();
    fs::write(guest.path("file"), "x").unwrap();
    let file = guest.lookup(1, "file").unwrap().node;
    for name in ["..", ".", "", "a/b", "../x", "/etc/passwd"] {
        assert_eq!(guest.lookup(1, name).unwrap_err(), Errno::INVAL, "{name:?}");
        assert_eq!(guest.create(1, name, 0o644).unwrap_err(), Errno::INVAL, "{name:?}");
        let mkdir = [numbers(&[0o755, 0]), text(name)].concat();
        assert_eq!(guest.ask(MKDIR, 1, &mkdir).unwrap_err(), Errno::INVAL, "{name:?}");
        let rename = [longs(&[1]), text("file"), text(name)].concat();
        assert_eq!(guest.ask(RENAME, 1, &rename).unwrap_err(), Errno::INVAL, "{name:?}");
        let link = [longs(&[file]), text(name)].concat();
        assert_eq!(guest.ask(LINK, 1, &link).unwrap_err(), Errno::INVAL, "{name:?}");
        assert_eq!(guest.ask(UNLINK, 1, &text(name)).unwrap_err(), Errno::INVAL, "{name:?}");
    }
    assert_eq!(guest.lookup(1, &"n".repeat(256)).unwrap_err(), Errno::NAMETOOLONG);
    assert_eq!(guest.ask(LOOKUP, 1, b"without an end").unwrap_err(), Errno::INVAL);
}

#[test]
fn a_link_out_of_the_share_is_shown_and_never_followed() {
    let guest = Guest::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), SECRET).unwrap();
    symlink(outside.path(), guest.path("folder")).unwrap();
    symlink(outside.path().join("secret"), guest.path("file")).unwrap();

    let folder = guest.lookup(1, "folder").unwrap();
    assert_eq!(folder.mode & 0o170000, 0o120000);
    assert_eq!(guest.lookup(folder.node, "secret").unwrap_err(), Errno::NOTDIR);
    let file = guest.lookup(1, "file").unwrap();
    assert_eq!(guest.open(file.node, 0).unwrap_err(), Errno::PERM);
    let body = [numbers(&[READ_WRITE, 0o644, 0, 0]), text("file")].concat();
    assert_eq!(guest.ask(CREATE, 1, &body).unwrap_err(), Errno::STALE);
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), SECRET);
}

#[test]
fn a_folder_that_becomes_a_link_between_two_calls_leads_nowhere() {
    let guest = Guest::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), SECRET).unwrap();
    fs::create_dir(guest.path("folder")).unwrap();
    fs::write(guest.path("folder/file"), "inside").unwrap();
    let folder = guest.lookup(1, "folder").unwrap().node;
    let file = guest.lookup(folder, "file").unwrap().node;

    fs::rename(guest.path("folder"), outside.path().join("moved")).unwrap();
    symlink(outside.path(), guest.path("folder")).unwrap();
    guest.server.places.remove(folder);
    assert_eq!(guest.lookup(folder, "secret").unwrap_err(), Errno::STALE);
    assert_eq!(guest.open(file, 0).unwrap_err(), Errno::STALE);
    assert_eq!(guest.ask(UNLINK, folder, &text("secret")).unwrap_err(), Errno::STALE);
    assert!(outside.path().join("secret").exists());
}

#[test]
fn no_race_with_a_link_reads_what_is_outside() {
    let guest = Guest::new();
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(outside.path().join("folder")).unwrap();
    fs::write(outside.path().join("folder/file"), SECRET).unwrap();
    fs::create_dir(guest.path("folder")).unwrap();
    fs::write(guest.path("folder/file"), "inside").unwrap();
    symlink(outside.path().join("folder"), guest.path("link")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let root = fs::File::open(guest.folder.path()).unwrap();
            while !stop.load(Ordering::Relaxed) {
                let swap = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(&root, "folder", &root, "link", swap).unwrap();
            }
        });
        for _ in 0..500 {
            let Ok(folder) = guest.lookup(1, "folder") else { continue };
            guest.server.places.remove(folder.node);
            let Ok(file) = guest.lookup(folder.node, "file") else { continue };
            let Ok(fh) = guest.open(file.node, 0) else { continue };
            assert_eq!(guest.read(file.node, fh).unwrap(), b"inside");
            guest.ask(RELEASE, file.node, &longs(&[fh, 0, 0])).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn numbers_that_were_never_given_are_stale() {
    let guest = Guest::new();
    let (file, fh) = guest.create(1, "file", 0o644).unwrap();
    let (other, other_fh) = guest.create(1, "other", 0o644).unwrap();
    assert_eq!(guest.ask(GETATTR, 999, &[0; 16]).unwrap_err(), Errno::STALE);
    assert_eq!(guest.ask(GETATTR, 0, &[0; 16]).unwrap_err(), Errno::STALE);
    assert_eq!(guest.lookup(u64::MAX, "x").unwrap_err(), Errno::STALE);
    assert_eq!(guest.read(file.node, 999).unwrap_err(), Errno::BADF);
    // The open file of another node.
    assert_eq!(guest.read(file.node, other_fh).unwrap_err(), Errno::BADF);
    assert_eq!(guest.write(other.node, fh, b"x").unwrap_err(), Errno::BADF);
    guest.ask(RELEASE, file.node, &longs(&[fh, 0, 0])).unwrap();
    assert_eq!(guest.read(file.node, fh).unwrap_err(), Errno::BADF);
    assert_eq!(guest.ask(RELEASE, file.node, &longs(&[fh, 0, 0])).unwrap_err(), Errno::BADF);
    // Forgotten more often than it was known.
    let mut reply = Vec::new();
    let forget = [numbers(&[2, 0]), longs(&[file.node, u64::MAX, 1, u64::MAX])].concat();
    assert!(guest.server.handle(&guest.request(BATCH_FORGET, 7, 0, &forget), &mut reply).is_none());
    assert_eq!(guest.ask(GETATTR, file.node, &[0; 16]).unwrap_err(), Errno::STALE);
    guest.ask(GETATTR, 1, &[0; 16]).expect("the share itself stays");
}

#[test]
fn lengths_that_lie_are_refused() {
    let guest = Guest::new();
    let (file, fh) = guest.create(1, "file", 0o644).unwrap();
    // More data than there is.
    let write = [longs(&[fh, 0]), numbers(&[1 << 20, 0]), longs(&[0, 0]), b"little".to_vec()].concat();
    assert_eq!(guest.ask(WRITE, file.node, &write).unwrap_err(), Errno::INVAL);
    let set = [numbers(&[1 << 30, 0, 0, 0]), text("user.x"), b"v".to_vec()].concat();
    assert_eq!(guest.ask(SETXATTR, file.node, &set).unwrap_err(), Errno::INVAL);
    assert_eq!(guest.ask(BATCH_FORGET, 0, &numbers(&[u32::MAX, 0])).unwrap_err(), Errno::INVAL);
    // A request that is longer than it is, or shorter.
    for claimed in [0_u32, 39, 41, u32::MAX] {
        let mut request = guest.request(GETATTR, 7, 1, &[0; 16]);
        request[..4].copy_from_slice(&claimed.to_le_bytes());
        let mut reply = Vec::new();
        guest.server.handle(&request, &mut reply);
        assert_eq!(parse(&reply, 7).unwrap_err(), Errno::INVAL, "{claimed}");
    }
    // Extensions that would begin before the request.
    let mut request = guest.request(GETATTR, 7, 1, &[0; 16]);
    request[36..38].copy_from_slice(&u16::MAX.to_le_bytes());
    let mut reply = Vec::new();
    guest.server.handle(&request, &mut reply);
    assert_eq!(parse(&reply, 7).unwrap_err(), Errno::INVAL);
    // Reads that would end beyond all files, or fill our memory.
    let beyond = [longs(&[fh, u64::MAX - 1]), numbers(&[4096, 0]), longs(&[0, 0])].concat();
    assert_eq!(guest.ask(READ, file.node, &beyond).unwrap_err(), Errno::INVAL);
    let much = [longs(&[fh, 0]), numbers(&[u32::MAX, 0]), longs(&[0, 0])].concat();
    assert_eq!(guest.ask(READ, file.node, &much).unwrap(), b"");
}

#[test]
fn nothing_is_answered_before_the_mount_is_agreed_upon() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path()).unwrap();
    let (server, outgoing) = Server::new(root, Options::new(), Arc::new(NoWatch));
    let guest = Guest { server, outgoing, folder, uid: 0, pid: 1 };
    assert_eq!(guest.ask(GETATTR, 1, &[0; 16]).unwrap_err(), Errno::IO);
}

#[test]
fn a_share_for_reading_is_not_changed_by_any_request() {
    let guest = Guest::with(Options { access: Access::ReadOnly, ..Options::new() });
    fs::write(guest.path("file"), "as it was").unwrap();
    fs::create_dir(guest.path("folder")).unwrap();
    let file = guest.lookup(1, "file").unwrap().node;
    let setattr = [numbers(&[abi::setattr::SIZE, 0]), longs(&[0; 10])].concat();
    let changes = [
        (CREATE, 1, [numbers(&[READ_WRITE, 0o644, 0, 0]), text("new")].concat()),
        (MKNOD, 1, [numbers(&[0o100644, 0, 0, 0]), text("new")].concat()),
        (MKDIR, 1, [numbers(&[0o755, 0]), text("new")].concat()),
        (SYMLINK, 1, [text("new"), text("file")].concat()),
        (UNLINK, 1, text("file")),
        (RMDIR, 1, text("folder")),
        (RENAME, 1, [longs(&[1]), text("file"), text("new")].concat()),
        (LINK, 1, [longs(&[file]), text("new")].concat()),
        (SETATTR, file, setattr),
        (SETXATTR, file, [numbers(&[1, 0, 0, 0]), text("user.x"), b"v".to_vec()].concat()),
        (OPEN, file, numbers(&[open::WRITE, 0])),
        (OPEN, file, numbers(&[READ_WRITE, 0])),
        (OPEN, file, numbers(&[open::TRUNCATE, 0])),
    ];
    for (opcode, node, body) in changes {
        assert_eq!(guest.ask(opcode, node, &body).unwrap_err(), Errno::ROFS, "opcode {opcode}");
    }
    let fh = guest.open(file, 0).unwrap();
    assert_eq!(guest.write(file, fh, b"x").unwrap_err(), Errno::BADF);
    let allocate = [longs(&[fh, 0, 1 << 20]), numbers(&[0, 0])].concat();
    assert_eq!(guest.ask(FALLOCATE, file, &allocate).unwrap_err(), Errno::BADF);
    assert_eq!(guest.read(file, fh).unwrap(), b"as it was");
    assert_eq!(fs::read_dir(guest.folder.path()).unwrap().count(), 2);
}

#[test]
fn pipes_and_devices_of_the_host_are_not_opened() {
    let guest = Guest::new();
    let pipe = [numbers(&[0o010644, 0, 0, 0]), text("pipe")].concat();
    let pipe = Found::parse(&guest.ask(MKNOD, 1, &pipe).unwrap());
    assert_eq!(guest.open(pipe.node, 0).unwrap_err(), Errno::PERM);
    assert_eq!(guest.open(pipe.node, open::WRITE).unwrap_err(), Errno::PERM);
}

#[test]
fn a_guest_cannot_open_more_files_than_it_may() {
    let guest = Guest::with(Options { open_files: 3, ..Options::new() });
    let (file, fh) = guest.create(1, "file", 0o644).unwrap();
    for _ in 0..2 {
        guest.open(file.node, 0).unwrap();
    }
    assert_eq!(guest.open(file.node, 0).unwrap_err(), Errno::NFILE);
    guest.ask(RELEASE, file.node, &longs(&[fh, 0, 0])).unwrap();
    guest.open(file.node, 0).unwrap();
}

#[test]
fn a_guest_that_never_forgets_does_not_take_all_descriptors() {
    let guest = Guest::with(Options { open_files: 16, ..Options::new() });
    let held = || {
        fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
            let target = entry.as_ref().ok().and_then(|entry| fs::read_link(entry.path()).ok());
            target.is_some_and(|target| target.starts_with(guest.folder.path()))
        })
    };
    for number in 0..100 {
        let name = format!("folder{number}");
        guest.ask(MKDIR, 1, &[numbers(&[0o755, 0]), text(&name)].concat()).unwrap();
        guest.ask(RMDIR, 1, &text(&name)).unwrap();
    }
    // Four that are held, sixteen folders at hand, and the share.
    assert!(held().count() <= 21, "{} are held", held().count());
}

#[test]
fn requests_cut_short_anywhere_are_refused() {
    let guest = Guest::with(Options { access: Access::ReadOnly, ..Options::new() });
    for opcode in 1..60 {
        // Neither do these have a reply, nor would a share be served on after the last.
        if matches!(opcode, 2 | 36 | 38 | 42) {
            continue;
        }
        let whole = guest.request(opcode, 7, 1, &[0; 24]);
        for length in 40..whole.len() {
            let mut request = whole[..length].to_vec();
            request[..4].copy_from_slice(&(length as u32).to_le_bytes());
            let mut reply = Vec::new();
            if guest.server.handle(&request, &mut reply).is_some() {
                let _ = parse(&reply, 7);
            }
        }
    }
}
