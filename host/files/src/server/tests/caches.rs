//! What the guest's kernel may keep, and when it is told to forget it.

use super::*;
use crate::Author;

const LONG: u64 = 3600;

#[test]
fn what_is_announced_is_kept_for_long() {
    let guest = Guest::new();
    fs::write(guest.path("file"), "x").unwrap();
    let found = guest.lookup(1, "file").unwrap();
    assert_eq!((found.entry_valid, found.attributes_valid), (LONG, LONG));
    let nothing = guest.lookup(1, "nothing").unwrap();
    assert_eq!((nothing.node, nothing.entry_valid), (0, LONG));
    // By a name elsewhere it could change unseen.
    fs::hard_link(guest.path("file"), guest.path("other")).unwrap();
    let found = guest.lookup(1, "other").unwrap();
    assert_eq!((found.entry_valid, found.attributes_valid), (LONG, 1));
}

#[test]
fn an_edit_of_the_host_is_news_and_forgotten() {
    let guest = Guest::new();
    fs::write(guest.path("file"), "before").unwrap();
    let file = guest.lookup(1, "file").unwrap();
    guest.said();
    fs::write(guest.path("file"), "after that").unwrap();
    assert!(guest.server.changed(NodeId(1), Some(b"file"), Author::Other));
    assert_eq!(guest.said(), [Message::ToKernel(reply::inval_inode(file.node, true))]);
    assert_eq!(guest.lookup(1, "file").unwrap().size, 10);
}

#[test]
fn names_that_come_and_go_on_the_host_are_forgotten() {
    let guest = Guest::new();
    assert_eq!(guest.lookup(1, "file").unwrap().node, 0);
    guest.said();
    fs::write(guest.path("file"), "x").unwrap();
    assert!(guest.server.changed(NodeId(1), Some(b"file"), Author::Other));
    assert!(guest.said().contains(&Message::ToKernel(reply::inval_entry(1, b"file"))));
    guest.lookup(1, "file").unwrap();
    fs::remove_file(guest.path("file")).unwrap();
    assert!(guest.server.changed(NodeId(1), Some(b"file"), Author::Other));
    assert!(guest.said().contains(&Message::ToKernel(reply::inval_entry(1, b"file"))));
    assert!(!guest.server.changed(NodeId(1), Some(b"never there"), Author::Other));
    assert!(!guest.server.changed(NodeId(1), Some(b"../x"), Author::Other));
}

#[test]
fn what_the_guest_does_itself_is_no_news() {
    let guest = Guest::new();
    let (file, fh) = guest.create(1, "file", 0o644).unwrap();
    assert!(!guest.server.changed(NodeId(1), Some(b"file"), Author::Ourselves));
    guest.write(file.node, fh, b"by the guest").unwrap();
    assert!(!guest.server.changed(NodeId(1), Some(b"file"), Author::Ourselves));
    let set =
        [numbers(&[abi::setattr::MODE, 0]), longs(&[0; 6]), numbers(&[0, 0, 0, 0o600, 0, 0, 0, 0])].concat();
    guest.ask(SETATTR, file.node, &set).unwrap();
    assert!(!guest.server.changed(NodeId(1), Some(b"file"), Author::Ourselves));
    guest.ask(RENAME, 1, &[longs(&[1]), text("file"), text("moved")].concat()).unwrap();
    assert!(!guest.server.changed(NodeId(1), Some(b"file"), Author::Ourselves));
    assert!(!guest.server.changed(NodeId(1), Some(b"moved"), Author::Ourselves));
    guest.ask(UNLINK, 1, &text("moved")).unwrap();
    assert!(!guest.server.changed(NodeId(1), Some(b"moved"), Author::Ourselves));
    assert!(!guest.server.changed(NodeId(1), None, Author::Ourselves));
    // Its kernel asks again, but believes in no other names.
    for message in guest.said() {
        let expected = [reply::inval_inode(1, true), reply::inval_inode(file.node, true)];
        assert!(expected.contains(match &message {
            Message::ToKernel(said) => said,
            other => panic!("{other:?}"),
        }));
    }
}

#[test]
fn what_another_program_does_is_news_whatever_it_looks_like() {
    let guest = Guest::new();
    let (file, fh) = guest.create(1, "file", 0o644).unwrap();
    guest.write(file.node, fh, b"by the guest").unwrap();
    // As if the other had written as much in the same tick of the clock: nothing differs.
    assert!(guest.server.changed(NodeId(1), Some(b"file"), Author::Other));
    assert_eq!(guest.said(), [Message::ToKernel(reply::inval_inode(file.node, true))]);
}

#[test]
fn an_invalidation_waits_for_the_answers_before_it() {
    let guest = Guest::new();
    fs::write(guest.path("file"), "before").unwrap();
    let mut reply = Vec::new();
    let answered = guest.server.handle(&guest.request(LOOKUP, 7, 1, &text("file")), &mut reply);
    fs::write(guest.path("file"), "after that").unwrap();
    guest.server.changed(NodeId(1), Some(b"file"), Author::Other);
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let say = tell.clone();
        let outgoing = &guest.outgoing;
        scope.spawn(move || {
            outgoing.next();
            say.send("the invalidation").unwrap();
        });
        tell.send("the answer").unwrap();
        drop(answered);
    });
    assert_eq!(told.recv().unwrap(), "the answer");
    assert_eq!(told.recv().unwrap(), "the invalidation");
}

#[test]
fn a_change_while_an_answer_is_made_keeps_it_from_being_kept() {
    let guest = Guest::new();
    fs::write(guest.path("file"), "x").unwrap();
    let place = guest.server.place(1).unwrap();
    let epoch = guest.server.epoch();
    let name = Name::new(b"file").unwrap();
    let stat = place.stat_at(name).unwrap();
    fs::remove_file(guest.path("file")).unwrap();
    fs::write(guest.path("file"), "another").unwrap();
    guest.server.changed(NodeId(1), Some(b"file"), Author::Other);
    let entry = guest.server.entry(1, name, &stat, epoch).unwrap();
    assert_eq!((entry.entry_valid, entry.attributes_valid), (Duration::ZERO, Duration::ZERO));
}

#[test]
fn lost_announcements_make_the_kernel_forget_everything() {
    let guest = Guest::new();
    fs::write(guest.path("file"), "x").unwrap();
    let file = guest.lookup(1, "file").unwrap();
    guest.said();
    guest.server.everything_changed();
    let said = guest.said();
    for expected in
        [reply::inval_inode(file.node, true), reply::inval_inode(1, true), reply::inval_entry(1, b"file")]
    {
        assert!(said.contains(&Message::ToKernel(expected)));
    }
}

#[test]
fn a_folder_asked_for_name_by_name_is_worth_listing() {
    let guest = Guest::new();
    fs::create_dir(guest.path("folder")).unwrap();
    let folder = guest.lookup(1, "folder").unwrap().node;
    for name in ["a", "b", "c", "d", "e", "f"] {
        guest.lookup(folder, name).unwrap();
    }
    assert_eq!(guest.said(), [Message::ReadFolder("folder".into())]);
}

#[test]
fn what_lost_its_name_is_found_once_more_as_it_is() {
    let guest = Guest::new();
    let (file, fh) = guest.create(1, "file", 0o644).unwrap();
    guest.write(file.node, fh, b"still open").unwrap();
    assert_eq!(guest.server.former(NodeId(1), b"file"), None, "it has its name");
    fs::write(guest.path("saved"), "new").unwrap();
    fs::rename(guest.path("saved"), guest.path("file")).unwrap();
    assert_eq!(guest.server.former(NodeId(1), b"file"), Some(NodeId(file.node)));
    let mut reply = Vec::new();
    let lookup = guest.request(LOOKUP, 7, 1, &text("file"));
    assert!(guest.server.find_former(&lookup, NodeId(file.node), &mut reply));
    let found = Found::parse(&reply[16..]);
    assert_eq!((found.node, found.size, found.entry_valid), (file.node, 10, 0));
    assert!(!guest.server.find_former(&lookup, NodeId(999), &mut reply), "nobody knows it");
}

#[test]
fn a_repeated_change_is_seen_as_the_guest_believed_it_and_touches_nothing() {
    let mut guest = Guest::new();
    assert_eq!(guest.lookup(1, "new").unwrap().node, 0);
    fs::write(guest.path("new"), "made by the host").unwrap();
    guest.server.set_replayer(Some(42));
    guest.pid = 42;
    assert_eq!(guest.lookup(1, "new").unwrap_err(), Errno::NOENT, "so that it can be made");
    let mknod = [numbers(&[0o100644, 0, 0, 0]), text("new")].concat();
    let made = Found::parse(&guest.ask(MKNOD, 1, &mknod).unwrap());
    assert_eq!(made.size, 16);
    let set = [numbers(&[abi::setattr::SIZE, 0]), longs(&[0; 10])].concat();
    guest.ask(SETATTR, made.node, &set).unwrap();
    guest.ask(UNLINK, 1, &text("new")).unwrap();
    assert_eq!(fs::read(guest.path("new")).unwrap(), b"made by the host");
    guest.pid = 1;
    assert_eq!(guest.lookup(1, "new").unwrap().node, made.node, "others see what is there");
}
