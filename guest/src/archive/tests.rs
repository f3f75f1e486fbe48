use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::Command;

use super::*;

fn entries(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, ArchiveError> {
    let mut archive = Archive::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = archive.next()? {
        let mut data = Vec::new();
        loop {
            let chunk = archive.chunk(u64::MAX)?;
            if chunk.is_empty() {
                break;
            }
            data.write_all(chunk).unwrap();
            let length = chunk.len();
            archive.consume(length);
        }
        entries.push((entry, data));
    }
    archive.finish()?;
    Ok(entries)
}

fn header(name: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_size(size);
    header.set_mode(0o4755);
    header.set_uid(1000);
    header.set_mtime(77);
    header.set_cksum();
    header
}

#[test]
fn names_may_be_longer_than_the_header_has_room_for() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let mut builder = tar::Builder::new(Vec::new());
    let mut gnu = tar::Header::new_gnu();
    gnu.set_size(2);
    builder.append_data(&mut gnu, &long, &b"ab"[..]).unwrap();
    let mut gnu = tar::Header::new_gnu();
    gnu.set_entry_type(tar::EntryType::Symlink);
    gnu.set_size(0);
    builder.append_link(&mut gnu, "link", &long).unwrap();
    builder.append_pax_extensions([("path", long.as_bytes()), ("mtime", b"-1.5")]).unwrap();
    builder.append(&header("short", 1), &b"c"[..]).unwrap();
    let entries = entries(&builder.into_inner().unwrap()).unwrap();
    assert_eq!((&entries[0].0.path[..], &entries[0].1[..]), (long.as_bytes(), &b"ab"[..]));
    assert_eq!(entries[1].0.kind, Kind::Symlink(long.clone().into_bytes()));
    assert_eq!((&entries[2].0.path[..], entries[2].0.mtime), (long.as_bytes(), (-2, 500_000_000)));
}

#[test]
fn owner_mode_and_time_are_read() {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header("a", 0), &b""[..]).unwrap();
    let entry = entries(&builder.into_inner().unwrap()).unwrap().remove(0).0;
    assert_eq!((entry.uid, entry.mode, entry.mtime), (1000, 0o4755, (77, 0)));
}

#[test]
fn a_stream_that_ends_too_early_is_told_wherever_it_ends() {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("path", &b"other"[..])]).unwrap();
    builder.append(&header("a", 600), &[1; 600][..]).unwrap();
    let bytes = builder.into_inner().unwrap();
    let end_of_entry = 512 * (2 + 1 + 2);
    for length in 1..end_of_entry {
        let told = entries(&bytes[..length]);
        assert!(matches!(told, Err(ArchiveError::Truncated)), "{length}: {told:?}");
    }
    assert_eq!(entries(&bytes[..end_of_entry]).unwrap().len(), 1);
}

#[test]
fn a_wrong_checksum_an_unknown_type_and_an_endless_name_are_refused() {
    let bytes = |header: &tar::Header| {
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(4096, 0);
        bytes
    };
    let mut wrong = header("a", 0);
    wrong.as_mut_bytes()[0] = b'b';
    let mut unknown = header("a", 0);
    unknown.set_entry_type(tar::EntryType::new(b'V'));
    unknown.set_cksum();
    let mut endless = header("a", 1 << 40);
    endless.set_entry_type(tar::EntryType::GNULongName);
    endless.set_cksum();
    for header in [wrong, unknown, endless] {
        assert!(matches!(entries(&bytes(&header)), Err(ArchiveError::Malformed(_))));
    }
}

/// The program that people make archives with.
fn gnu_tar(arguments: &[&str]) -> Vec<u8> {
    let root = tempfile::tempdir().unwrap();
    let file = fs::File::create(root.path().join("sparse")).unwrap();
    for n in 0..40_u64 {
        file.write_all_at(&[n as u8 + 1; 4096], n * 131_072).unwrap();
    }
    file.set_len(8 << 20).unwrap();
    let made = Command::new("tar")
        .args(["-C", root.path().to_str().unwrap(), "-cS"])
        .args(arguments)
        .args(["-f", "-", "sparse"])
        .output()
        .expect("this test needs the program tar");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}

#[test]
fn sparse_files_are_read_in_all_ways_in_which_they_are_written() {
    for arguments in [
        &["--format=gnu"][..],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ] {
        let bytes = gnu_tar(arguments);
        assert!(bytes.len() < 400_000, "{arguments:?} made no sparse archive: {} bytes", bytes.len());
        let mut entries = entries(&bytes).unwrap();
        let (entry, data) = entries.remove(0);
        assert_eq!(entry.path, b"sparse", "{arguments:?}");
        let Kind::File { size, segments: Some(segments) } = entry.kind else {
            panic!("{arguments:?}: {entry:?}")
        };
        assert_eq!(size, 8 << 20);
        let full: Vec<_> = segments.iter().filter(|segment| segment.length > 0).collect();
        assert_eq!(full.len(), 40, "{arguments:?}");
        assert_eq!(*full[39], Segment { offset: 39 * 131_072, length: 4096 });
        assert_eq!(data.len(), 40 * 4096);
        assert_eq!(data[39 * 4096], 40);
    }
}
