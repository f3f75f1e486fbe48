//! What programs expect of files.

use super::*;

#[test]
fn a_file_is_one_node_by_all_its_names() {
    let guest = Guest::new();
    let (file, _) = guest.create(1, "file", 0o644).unwrap();
    let link = Found::parse(&guest.ask(LINK, 1, &[longs(&[file.node]), text("other")].concat()).unwrap());
    assert_eq!((link.node, link.links), (file.node, 2));
    guest.ask(UNLINK, 1, &text("file")).unwrap();
    let left = guest.lookup(1, "other").unwrap();
    assert_eq!((left.node, left.links), (file.node, 1));
}

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    let guest = Guest::new();
    let (file, fh) = guest.create(1, "file", 0o644).unwrap();
    guest.write(file.node, fh, b"still here").unwrap();
    guest.ask(UNLINK, 1, &text("file")).unwrap();
    assert_eq!(guest.lookup(1, "file").unwrap().node, 0);
    assert_eq!(guest.read(file.node, fh).unwrap(), b"still here");
    let attributes = guest.ask(GETATTR, file.node, &[0; 16]).unwrap();
    assert_eq!(u64_at(&attributes, 24), 10);
    // Also removed by the host, under a guest that knows nothing of it.
    let (file, fh) = guest.create(1, "second", 0o644).unwrap();
    fs::remove_file(guest.path("second")).unwrap();
    guest.write(file.node, fh, b"x").unwrap();
    assert_eq!(u64_at(&guest.ask(GETATTR, file.node, &[0; 16]).unwrap(), 24), 1);
}

#[test]
fn an_open_file_is_renamed_over_and_lives_on() {
    let guest = Guest::new();
    let (old, fh) = guest.create(1, "file", 0o644).unwrap();
    guest.write(old.node, fh, b"old").unwrap();
    let (new, new_fh) = guest.create(1, "file.tmp", 0o644).unwrap();
    guest.write(new.node, new_fh, b"new").unwrap();
    guest.ask(RENAME, 1, &[longs(&[1]), text("file.tmp"), text("file")].concat()).unwrap();
    assert_eq!(guest.lookup(1, "file").unwrap().node, new.node);
    assert_eq!(guest.read(old.node, fh).unwrap(), b"old");
    assert_eq!(fs::read(guest.path("file")).unwrap(), b"new");
}

#[test]
fn two_names_are_exchanged() {
    let guest = Guest::new();
    let (a, _) = guest.create(1, "a", 0o644).unwrap();
    let (b, _) = guest.create(1, "b", 0o644).unwrap();
    let exchange =
        [longs(&[1]), numbers(&[crate::os::RenameFlags::EXCHANGE, 0]), text("a"), text("b")].concat();
    guest.ask(RENAME2, 1, &exchange).unwrap();
    guest.server.places.remove(a.node);
    assert_eq!(guest.lookup(1, "a").unwrap().node, b.node);
    assert_eq!(guest.lookup(1, "b").unwrap().node, a.node);
    guest.open(a.node, 0).expect("found by its new name");
    let bad = [longs(&[1]), numbers(&[8, 0]), text("a"), text("b")].concat();
    assert_eq!(guest.ask(RENAME2, 1, &bad).unwrap_err(), Errno::INVAL);
}

#[test]
fn a_tree_deeper_than_the_folders_at_hand_is_walked() {
    let guest = Guest::with(Options { open_files: 8, ..Options::new() });
    let mut folder = 1;
    let mut nodes = Vec::new();
    for depth in 0..60 {
        let mkdir = [numbers(&[0o755, 0]), text(&format!("at{depth}"))].concat();
        folder = Found::parse(&guest.ask(MKDIR, folder, &mkdir).unwrap()).node;
        nodes.push(folder);
    }
    for (depth, node) in nodes.iter().enumerate().rev() {
        let attributes = guest.ask(GETATTR, *node, &[0; 16]).unwrap();
        assert_eq!(u32_at(&attributes, 76) & 0o170000, 0o040000, "at {depth}");
    }
    let path = guest.server.path_of(NodeId(folder)).unwrap();
    assert!(path.ends_with("at58/at59"), "{}", path.display());
}

#[test]
fn names_are_bytes_up_to_255() {
    let guest = Guest::new();
    let long = "ä".repeat(127) + "x";
    let (file, _) = guest.create(1, &long, 0o644).unwrap();
    assert!(guest.path(&long).exists());
    assert_eq!(guest.lookup(1, &long).unwrap().node, file.node);
    let raw = [b"\xff\xfe".to_vec(), vec![0]].concat();
    let mkdir = [numbers(&[0o755, 0]), raw].concat();
    guest.ask(MKDIR, 1, &mkdir).unwrap();
}

#[test]
fn a_listing_tells_the_attributes_too() {
    let guest = Guest::new();
    fs::write(guest.path("file"), "12345").unwrap();
    let request = [longs(&[0, 0]), numbers(&[4096, 0]), longs(&[0, 0])].concat();
    let listed = guest.ask(READDIRPLUS, 1, &request).unwrap();
    let mut at = 0;
    let mut found = None;
    while at < listed.len() {
        let length = u32_at(&listed, at + 128 + 16) as usize;
        let name = &listed[at + 128 + 24..][..length];
        if name == b"file" {
            found = Some(Found::parse(&listed[at..]));
        }
        if name == b"." || name == b".." {
            assert_eq!(u64_at(&listed, at), 0, "the way up is not told");
        }
        at += 128 + (24 + length).next_multiple_of(8);
    }
    let found = found.expect("it is listed");
    assert_eq!((found.size, found.node), (5, guest.lookup(1, "file").unwrap().node));
}

#[test]
fn what_is_made_belongs_to_its_maker() {
    let mut guest = Guest::new();
    fs::set_permissions(guest.folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    guest.uid = 1234;
    guest.create(1, "file", 0o664).unwrap();
    guest.ask(MKDIR, 1, &[numbers(&[0o777, 0]), text("folder")].concat()).unwrap();
    guest.ask(SYMLINK, 1, &[text("link"), text("file")].concat()).unwrap();
    for name in ["file", "folder", "link"] {
        let metadata = fs::symlink_metadata(guest.path(name)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (1234, 1234), "{name}");
    }
    // Whatever the umask of this process.
    assert_eq!(fs::metadata(guest.path("file")).unwrap().mode() & 0o7777, 0o664);
    assert_eq!(fs::metadata(guest.path("folder")).unwrap().mode() & 0o7777, 0o777);
    assert_eq!(rustix::process::geteuid().as_raw(), 0, "this thread is itself again");
    fs::write(guest.path("ours"), "x").unwrap();
    assert_eq!(fs::metadata(guest.path("ours")).unwrap().uid(), 0);
}

#[test]
fn an_owner_that_the_host_cannot_set_is_remembered() {
    let ownership = Ownership::Remembered { default: Owner { uid: 0, gid: 0 } };
    let guest = Guest::with(Options { ownership, ..Options::new() });
    let data = Found::parse(&guest.ask(MKDIR, 1, &[numbers(&[0o755, 0]), text("data")].concat()).unwrap());
    let before = fs::metadata(guest.path("data")).unwrap().uid();
    // What the entrypoint of postgres does.
    let mut set = numbers(&[abi::setattr::UID | abi::setattr::GID | abi::setattr::MODE, 0]);
    set.extend(longs(&[0; 6]));
    set.extend(numbers(&[0, 0, 0, 0o40500, 0, 999, 998, 0]));
    guest.ask(SETATTR, data.node, &set).unwrap();
    let metadata = fs::metadata(guest.path("data")).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (before, 0o700), "the host can still enter it");

    let folder = guest.folder.path().to_owned();
    let check = |guest: &Guest| {
        let found = guest.lookup(1, "data").unwrap();
        assert_eq!((found.uid, found.mode & 0o7777), (999, 0o500));
        let mut names = guest.ask(LISTXATTR, found.node, &numbers(&[4096, 0])).unwrap();
        names.retain(|byte| *byte != 0);
        assert!(!String::from_utf8_lossy(&names).contains("holm"), "the guest does not see how");
        let ask = [numbers(&[256, 0]), text("user.holm.owner")].concat();
        assert_eq!(guest.ask(GETXATTR, found.node, &ask).unwrap_err(), Errno::NODATA);
    };
    check(&guest);
    // Another server, as after a restart, knows it as well.
    let (server, outgoing) =
        Server::new(Root::open(&folder).unwrap(), Options { ownership, ..Options::new() }, Arc::new(NoWatch));
    let again = Guest { server, outgoing, folder: tempfile::tempdir().unwrap(), uid: 0, pid: 1 };
    again.ask(INIT, 0, &[numbers(&[7, 38, 0, u32::MAX]), vec![0; 48]].concat()).unwrap();
    check(&again);
}

#[test]
fn set_id_bits_of_a_guest_do_not_reach_an_unprivileged_host() {
    let ownership = Ownership::Remembered { default: Owner { uid: 0, gid: 0 } };
    let guest = Guest::with(Options { ownership, ..Options::new() });
    guest.create(1, "program", 0o4755).unwrap();
    assert_eq!(fs::metadata(guest.path("program")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(guest.lookup(1, "program").unwrap().mode & 0o7777, 0o4755);
}
