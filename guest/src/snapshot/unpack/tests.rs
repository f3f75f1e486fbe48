use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use super::*;

/// A folder with a layer's root in it and something beside it that no layer may touch.
struct Ground {
    folder: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make devices and give files away: run them as root"
        );
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/file"), "untouched").unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("root").join(name)
    }

    fn unpack(&self, tar: &[u8]) -> Result<u64, UnpackError> {
        let unpacked = unpack(&self.folder.path().join("root"), &mut &tar[..]);
        self.assert_contained();
        unpacked
    }

    fn assert_contained(&self) {
        let names = |path: PathBuf| {
            let mut names: Vec<_> =
                fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names(self.folder.path().to_owned()), ["outside", "root"]);
        let outside = self.folder.path().join("outside");
        assert_eq!(names(outside.clone()), ["file"]);
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "untouched");
        let file = fs::metadata(outside.join("file")).unwrap();
        assert_eq!((file.nlink(), file.uid(), file.mode() & 0o7777), (1, 0, 0o644));
    }
}

#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn add(mut self, kind: u8, path: &str, link: &str, data: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        let bytes = header.as_mut_bytes();
        bytes[..path.len()].copy_from_slice(path.as_bytes());
        bytes[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(if kind == b'5' { 0o750 } else { 0o640 });
        header.set_uid(12);
        header.set_gid(34);
        header.set_mtime(1_000_000);
        header.set_size(data.len() as u64);
        if matches!(kind, b'3' | b'4') {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, path: &str, data: &[u8]) -> Self {
        self.add(b'0', path, "", data)
    }

    fn folder(self, path: &str) -> Self {
        self.add(b'5', path, "", b"")
    }

    fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([(format!("SCHILY.xattr.{name}").as_str(), value)]).unwrap();
        let bytes = builder.into_inner().unwrap();
        // Without the zeros that end an archive.
        self.0.extend(&bytes[..bytes.len() - 1024]);
        self
    }
}

fn xattr(path: &std::path::Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value).ok()?;
    value.truncate(length);
    Some(value)
}

fn is_opaque(path: &std::path::Path) -> bool {
    xattr(path, "trusted.overlay.opaque").as_deref() == Some(b"y")
}

fn is_whiteout(path: &std::path::Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|stat| stat.file_type().is_char_device() && stat.rdev() == 0)
}

#[test]
fn everything_that_a_layer_can_hold_comes_out_as_it_was() {
    let ground = Ground::new();
    let tar = Tar::default()
        .folder("./")
        .folder("d/")
        .file("d/file", b"text")
        .add(b'1', "d/hard", "d/file", b"")
        .add(b'2', "d/soft", "/absolute/target", b"")
        .add(b'3', "d/null", "", b"")
        .add(b'6', "d/fifo", "", b"")
        .file("new/parents/file", b"12");
    assert_eq!(ground.unpack(&tar.0).unwrap(), 6);
    let file = fs::metadata(ground.path("d/file")).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777, file.mtime()), (12, 34, 0o640, 1_000_000));
    assert_eq!(fs::metadata(ground.path("d/hard")).unwrap().ino(), file.ino());
    assert_eq!(fs::read_link(ground.path("d/soft")).unwrap(), PathBuf::from("/absolute/target"));
    let soft = fs::symlink_metadata(ground.path("d/soft")).unwrap();
    assert_eq!((soft.uid(), soft.mtime()), (12, 1_000_000));
    let null = fs::symlink_metadata(ground.path("d/null")).unwrap();
    assert_eq!((null.file_type().is_char_device(), null.rdev()), (true, rustix::fs::makedev(1, 3)));
    assert!(fs::symlink_metadata(ground.path("d/fifo")).unwrap().file_type().is_fifo());
    let folder = fs::metadata(ground.path("d")).unwrap();
    assert_eq!((folder.mode() & 0o7777, folder.mtime(), folder.uid()), (0o750, 1_000_000, 12));
    let root = fs::metadata(ground.path("")).unwrap();
    assert_eq!((root.mode() & 0o7777, root.mtime()), (0o750, 1_000_000));
    assert_eq!(fs::metadata(ground.path("new/parents")).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn setuid_survives_the_change_of_owner() {
    let ground = Ground::new();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o6755);
    header.set_uid(5);
    header.set_gid(6);
    header.set_size(1);
    builder.append_data(&mut header, "su", &b"x"[..]).unwrap();
    ground.unpack(&builder.into_inner().unwrap()).unwrap();
    let stat = fs::metadata(ground.path("su")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.gid()), (0o6755, 5, 6));
}

#[test]
fn whiteouts_become_what_overlayfs_understands() {
    let ground = Ground::new();
    let tar = Tar::default()
        .file("etc/.wh.passwd", b"")
        .folder("opt/")
        .file("opt/.wh..wh..opq", b"")
        .file("var/.wh..wh..opq", b"")
        .file("tmp/.wh..wh.plnk", b"")
        .file(".wh.top", b"");
    ground.unpack(&tar.0).unwrap();
    assert!(is_whiteout(&ground.path("etc/passwd")) && is_whiteout(&ground.path("top")));
    assert!(is_opaque(&ground.path("opt")) && is_opaque(&ground.path("var")));
    assert!(!ground.path("tmp/.wh..wh.plnk").exists() && !ground.path("tmp/.wh.plnk").exists());
}

#[test]
fn what_a_layer_removes_and_makes_anew_is_there_in_either_order() {
    let ground = Ground::new();
    let tar = Tar::default()
        .file(".wh.a", b"")
        .folder("a/")
        .file("a/new", b"1")
        .folder("b/")
        .file("b/new", b"1")
        .file(".wh.b", b"")
        .file(".wh.c", b"")
        .file("c", b"1")
        .file("d", b"1")
        .file(".wh.d", b"");
    ground.unpack(&tar.0).unwrap();
    for folder in ["a", "b"] {
        assert!(is_opaque(&ground.path(folder)) && ground.path(folder).join("new").is_file(), "{folder}");
    }
    assert!(ground.path("c").is_file() && ground.path("d").is_file());
}

#[test]
fn a_layer_cannot_hide_what_has_no_name() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh..."] {
        let ground = Ground::new();
        let told = ground.unpack(&Tar::default().file(name, b"").0).unwrap_err();
        assert!(matches!(told, UnpackError::Whiteout(_)), "{name}: {told}");
    }
}

#[test]
fn paths_that_leave_the_layer_are_refused() {
    for tar in [
        Tar::default().file("../escaped", b"x"),
        Tar::default().file("a/../../escaped", b"x"),
        Tar::default().file("/../escaped", b"x"),
        Tar::default().file("x/../../outside/.wh.file", b""),
        Tar::default().add(b'2', "..", "x", b""),
    ] {
        let told = Ground::new().unpack(&tar.0).unwrap_err();
        assert!(matches!(told, UnpackError::Outside(_)), "{told}");
    }
    let told = Ground::new().unpack(&Tar::default().add(b'1', "a", "../outside/file", b"").0).unwrap_err();
    assert!(matches!(told, UnpackError::LinkOutside { .. }), "{told}");
}

#[test]
fn links_lead_nowhere_but_into_the_layer() {
    let ground = Ground::new();
    let outside = ground.folder.path().join("outside");
    let outside = outside.to_str().unwrap();
    let tar = Tar::default()
        .folder("real/")
        .add(b'2', "absolute", "/real", b"")
        .add(b'2', "up", "../../../real", b"")
        .add(b'2', "away", outside, b"")
        .file("absolute/one", b"1")
        .file("up/two", b"2");
    ground.unpack(&tar.0).unwrap();
    assert!(ground.path("real/one").is_file() && ground.path("real/two").is_file());

    // The link is absolute, so inside of the layer it leads to a path that is not there.
    for (kind, name, link) in [
        (b'0', "away/file", ""),
        (b'5', "away/new", ""),
        (b'1', "hard", "away/file"),
        (b'0', "away/.wh.file", ""),
    ] {
        let ground = Ground::new();
        let tar = Tar::default().add(b'2', "away", outside, b"").add(kind, name, link, b"");
        ground.unpack(&tar.0).unwrap_err();
    }
}

#[test]
fn a_file_in_place_of_a_link_is_written_to_the_layer_and_not_through_the_link() {
    let ground = Ground::new();
    let target = ground.folder.path().join("outside/file");
    let tar = Tar::default()
        .add(b'2', "a", target.to_str().unwrap(), b"")
        .file("a", b"replaced")
        .add(b'2', "b", "../outside/file", b"")
        .folder("b/")
        .add(b'2', "c", "/x", b"")
        .add(b'1', "d", "c", b"");
    ground.unpack(&tar.0).unwrap();
    assert_eq!(fs::read(ground.path("a")).unwrap(), b"replaced");
    assert!(fs::symlink_metadata(ground.path("b")).unwrap().is_dir());
    assert!(fs::symlink_metadata(ground.path("d")).unwrap().is_symlink());
}

#[test]
fn a_directory_that_was_replaced_is_not_written_to_through_memory() {
    let ground = Ground::new();
    let tar = Tar::default().file("d/one", b"1").file("d", b"now a file").file("d/two", b"2");
    let told = ground.unpack(&tar.0).unwrap_err();
    assert!(told.to_string().starts_with("\"d/two\": Not a directory"), "{told}");
    assert_eq!(fs::read(ground.path("d")).unwrap(), b"now a file");
}

#[test]
fn attributes_are_kept_but_those_of_overlayfs_itself() {
    let ground = Ground::new();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tar::default()
        .xattr("security.capability", &capability)
        .file("ping", b"x")
        .xattr("trusted.overlay.redirect", b"/outside")
        .folder("d/");
    ground.unpack(&tar.0).unwrap();
    assert_eq!(xattr(&ground.path("ping"), "security.capability").as_deref(), Some(&capability[..]));
    assert_eq!(xattr(&ground.path("d"), "trusted.overlay.redirect"), None);
}

#[test]
fn holes_stay_holes() {
    let ground = Ground::new();
    let source = tempfile::tempdir().unwrap();
    let file = fs::File::create(source.path().join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", (64 << 20) - 3).unwrap();
    let made = std::process::Command::new("tar")
        .args(["-C", source.path().to_str().unwrap(), "--format=posix", "-cSf", "-", "sparse"])
        .output()
        .expect("this test needs the program tar");
    ground.unpack(&made.stdout).unwrap();
    let stat = fs::metadata(ground.path("sparse")).unwrap();
    assert_eq!(stat.len(), 64 << 20);
    assert!(stat.blocks() * 512 < 1 << 20, "{} blocks", stat.blocks());
    assert!(fs::read(ground.path("sparse")).unwrap().ends_with(b"\0end"));
}

#[test]
fn nobody_has_the_number_that_means_no_change() {
    let ground = Ground::new();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("uid", &b"4294967295"[..])]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    header.set_mode(0);
    builder.append_data(&mut header, "a", &b""[..]).unwrap();
    let told = ground.unpack(&builder.into_inner().unwrap()).unwrap_err();
    assert_eq!(told.to_string(), "\"a\": no user has this number");
}

mod fuzz {
    use super::*;

    /// Few names, so that random members meet each other.
    const NAMES: [&str; 12] = [
        "a",
        "b",
        "a/b",
        "a/b/c",
        "b/a",
        "../outside",
        "a/../../outside/file",
        "/a",
        ".wh.a",
        "a/.wh.b",
        "a/.wh..wh..opq",
        ".",
    ];
    const LINKS: [&str; 8] = ["a", "b", "a/b", "..", "../../outside", "/", "../outside/file", "/a/b"];
    const KINDS: [u8; 6] = *b"012567";

    #[test]
    fn no_bytes_leave_the_layer_or_break_the_reader() {
        let ground = Ground::new();
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = unpack(&ground.path(""), &mut &bytes[..]);
            ground.assert_contained();
        });
    }

    #[test]
    fn no_members_in_any_order_leave_the_layer() {
        bolero::check!().with_type::<Vec<(u8, u8, u8)>>().for_each(|members| {
            let ground = Ground::new();
            symlink(ground.folder.path().join("outside"), ground.path("planted")).unwrap();
            let tar = members.iter().take(24).fold(Tar::default(), |tar, (kind, name, link)| {
                let kind = KINDS[usize::from(*kind) % KINDS.len()];
                let data: &[u8] = if kind == b'0' { b"data" } else { b"" };
                let pick = |list: &[&'static str], n: u8| list[usize::from(n) % list.len()];
                tar.add(kind, pick(&NAMES, *name), pick(&LINKS, *link), data)
            });
            let _ = ground.unpack(&tar.0);
        });
    }

    #[test]
    fn no_extended_header_breaks_the_reader() {
        let ground = Ground::new();
        bolero::check!().with_type::<Vec<(u8, Vec<u8>)>>().for_each(|records| {
            let keys = [
                "path",
                "size",
                "uid",
                "mtime",
                "GNU.sparse.map",
                "GNU.sparse.major",
                "GNU.sparse.realsize",
                "GNU.sparse.name",
            ];
            let mut builder = tar::Builder::new(Vec::new());
            let records =
                records.iter().take(8).map(|(key, value)| (keys[usize::from(*key) % 8], &value[..]));
            builder.append_pax_extensions(records).unwrap();
            let mut tar = Tar(builder.into_inner().unwrap());
            tar.0.truncate(tar.0.len().saturating_sub(1024));
            let _ = ground.unpack(&tar.file("file", b"3\n0\n1\n5\n1\n9\n1\nabc").0);
        });
    }
}
