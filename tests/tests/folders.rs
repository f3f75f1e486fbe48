//! A folder of the computer as a container sees it, on a mount of its own: two writers against a model of what must
//! be there, and what programs expect of a file system.
#![expect(unsafe_code, reason = "a mapping has no safe wrapper")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use anyhow::{Result, ensure};
use holm_files::{Author, Options};
use holm_tests::mounted::{Mounted, privately};
use nix::libc;

/// A small generator of random numbers, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn bytes(&mut self) -> Vec<u8> {
        // Around the edges of pages, where a stale size shows.
        let length = [0, 1, 100, 4095, 4096, 4097, 9000][self.below(7) as usize];
        let byte = b'a' + self.below(26) as u8;
        vec![byte; length]
    }
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "ä"];

/// One of the two who write, and the model of what they have written. Gives the names to which something happened.
fn step(
    dice: &mut Dice,
    folder: impl Fn(&str) -> PathBuf,
    model: &mut BTreeMap<String, Vec<u8>>,
) -> Result<Vec<String>> {
    let name = NAMES[dice.below(6) as usize].to_owned();
    let path = folder(&name);
    let there = model.contains_key(&name);
    Ok(match dice.below(8) {
        0 | 1 => {
            let bytes = dice.bytes();
            fs::write(&path, &bytes)?;
            model.insert(name.clone(), bytes);
            vec![name]
        }
        2 if there => {
            let bytes = dice.bytes();
            File::options().append(true).open(&path)?.write_all(&bytes)?;
            let nothing = bytes.is_empty();
            model.entry(name.clone()).or_default().extend(bytes);
            if nothing { vec![] } else { vec![name] }
        }
        3 if there => {
            let size = dice.below(10_000) as usize;
            File::options().write(true).open(&path)?.set_len(size as u64)?;
            model.entry(name.clone()).or_default().resize(size, 0);
            vec![name]
        }
        4 if there => {
            let (bytes, at) = (dice.bytes(), dice.below(5000) as usize);
            File::options().write(true).open(&path)?.write_all_at(&bytes, at as u64)?;
            let content = model.entry(name.clone()).or_default();
            if !bytes.is_empty() && content.len() < at + bytes.len() {
                content.resize(at + bytes.len(), 0);
            }
            if let Some(part) = content.get_mut(at..at + bytes.len()) {
                part.copy_from_slice(&bytes);
            }
            if bytes.is_empty() { vec![] } else { vec![name] }
        }
        5 if there => {
            fs::remove_file(&path)?;
            model.remove(&name);
            vec![name]
        }
        6 if there => {
            let new = NAMES[dice.below(6) as usize].to_owned();
            fs::rename(&path, folder(&new))?;
            if let Some(content) = model.remove(&name) {
                model.insert(new.clone(), content);
            }
            if name == new { vec![] } else { vec![name, new] }
        }
        // As editors save: beside it, then over it.
        _ => {
            let bytes = dice.bytes();
            fs::write(folder("saved~"), &bytes)?;
            fs::rename(folder("saved~"), &path)?;
            model.insert(name.clone(), bytes);
            vec!["saved~".to_owned(), name]
        }
    })
}

/// What is there, read in one of the two ways.
fn seen(folder: impl Fn(&str) -> PathBuf) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut seen = BTreeMap::new();
    for entry in fs::read_dir(folder(""))? {
        let name = entry?.file_name().into_string().map_err(|name| anyhow::anyhow!("{name:?}"))?;
        let content = fs::read(folder(&name))?;
        let size = fs::metadata(folder(&name))?.len();
        ensure!(size == content.len() as u64, "{name} has {} bytes and says {size}", content.len());
        seen.insert(name, content);
    }
    Ok(seen)
}

fn lengths(files: &BTreeMap<String, Vec<u8>>) -> Vec<(&str, usize, Option<&u8>)> {
    files.iter().map(|(name, content)| (&**name, content.len(), content.last())).collect()
}

#[test]
fn two_writers_always_see_what_the_other_wrote() -> Result<()> {
    // `make test-full` raises it.
    let steps: u64 =
        std::env::var("HOLM_COHERENCE_STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(400);
    let seed = std::env::var("HOLM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x9e37_79b9);
    privately(move || {
        let source = tempfile::tempdir()?;
        let mounted = Mounted::new(source.path(), Options::new())?;
        let mut dice = Dice(seed);
        let mut model = BTreeMap::new();
        for at in 0..steps {
            if dice.below(2) == 0 {
                for name in step(&mut dice, |name| source.path().join(name), &mut model)? {
                    mounted.announce(&name, Author::Other);
                }
            } else {
                for name in step(&mut dice, |name| mounted.path(name), &mut model)? {
                    // The watcher sees what the guest does too, and must not disturb it.
                    ensure!(
                        !mounted.announce(&name, Author::Ourselves),
                        "step {at} of seed {seed}: {name} was taken for the host's"
                    );
                }
            }
            let guest = seen(|name| mounted.path(name))?;
            ensure!(
                guest == model,
                "step {at} of seed {seed}: the guest sees {:?}, and there is {:?}",
                lengths(&guest),
                lengths(&model)
            );
            ensure!(
                seen(|name| source.path().join(name))? == model,
                "step {at} of seed {seed}: the host differs"
            );
        }
        Ok(())
    })
}

#[test]
fn an_open_file_shows_what_the_host_writes_to_it() -> Result<()> {
    privately(|| {
        let source = tempfile::tempdir()?;
        fs::write(source.path().join("log"), "one\n")?;
        let mounted = Mounted::new(source.path(), Options::new())?;
        let mut follow = File::open(mounted.path("log"))?;
        let mut text = String::new();
        follow.read_to_string(&mut text)?;
        for line in ["two\n", "three\n"] {
            File::options().append(true).open(source.path().join("log"))?.write_all(line.as_bytes())?;
            ensure!(mounted.announce("log", Author::Other), "it is news");
            let mut more = String::new();
            follow.read_to_string(&mut more)?;
            ensure!(more == line, "{more:?} instead of {line:?}");
        }
        Ok(())
    })
}

#[test]
fn what_the_host_writes_in_the_tick_of_the_guests_own_write_is_seen() -> Result<()> {
    privately(|| {
        let source = tempfile::tempdir()?;
        fs::write(source.path().join("file"), "0000")?;
        let mounted = Mounted::new(source.path(), Options::new())?;
        let here = File::options().write(true).open(source.path().join("file"))?;
        let there = File::options().read(true).write(true).open(mounted.path("file"))?;
        // Most rounds are shorter than a tick.
        for _ in 0..50 {
            let mut seen = [0; 4];
            there.write_all_at(b"them", 0)?;
            there.read_exact_at(&mut seen, 0)?;
            here.write_all_at(b"host", 0)?;
            ensure!(mounted.announce("file", Author::Other), "it is news");
            there.read_exact_at(&mut seen, 0)?;
            ensure!(&seen == b"host", "{seen:?}");
        }
        Ok(())
    })
}

#[test]
fn a_folder_that_the_host_moved_is_alive_under_its_new_name() -> Result<()> {
    privately(|| {
        let source = tempfile::tempdir()?;
        fs::create_dir(source.path().join("old"))?;
        fs::write(source.path().join("old/file"), "x")?;
        let mounted = Mounted::new(source.path(), Options::new())?;
        ensure!(fs::read(mounted.path("old/file"))? == b"x");
        fs::rename(source.path().join("old"), source.path().join("new"))?;
        ensure!(
            mounted.announce("old", Author::Other) && mounted.announce("new", Author::Other),
            "both are news"
        );
        ensure!(!mounted.path("old").exists());
        ensure!(fs::read(mounted.path("new/file"))? == b"x");
        fs::write(mounted.path("new/more"), "y")?;
        ensure!(fs::read(source.path().join("new/more"))? == b"y");
        Ok(())
    })
}

#[test]
fn files_behave_as_programs_expect() -> Result<()> {
    privately(|| {
        let source = tempfile::tempdir()?;
        let mounted = Mounted::new(source.path(), Options::new())?;
        let path = |name: &str| mounted.path(name);

        // Both writers append to one file, each where the other ended.
        let mut guest = File::options().create(true).append(true).open(path("both"))?;
        let mut host = File::options().append(true).open(source.path().join("both"))?;
        for _ in 0..3 {
            guest.write_all(b"guest ")?;
            host.write_all(b"host ")?;
        }
        ensure!(fs::read(source.path().join("both"))? == b"guest host guest host guest host ");

        // Holes stay holes, and are found.
        let sparse =
            File::options().create(true).read(true).write(true).truncate(true).open(path("sparse"))?;
        sparse.set_len(64 << 20)?;
        sparse.write_all_at(b"data", 32 << 20)?;
        ensure!(fs::metadata(source.path().join("sparse"))?.blocks() < 1024, "it is sparse on the host");
        let data = rustix::fs::seek(&sparse, rustix::fs::SeekFrom::Data(0))?;
        ensure!(data == 32 << 20, "data is at {data}");
        rustix::fs::fallocate(&sparse, rustix::fs::FallocateFlags::KEEP_SIZE, 0, 1 << 20)?;

        // Copied without passing through the guest.
        let target = File::create(path("copied"))?;
        let copied = rustix::fs::copy_file_range(&sparse, Some(&mut (32 << 20)), &target, None, 4)?;
        ensure!(copied == 4 && fs::read(path("copied"))? == b"data");

        // Unlinked and nameless files.
        let mut unlinked = File::options().create_new(true).read(true).write(true).open(path("unlinked"))?;
        fs::remove_file(path("unlinked"))?;
        unlinked.write_all(b"still")?;
        unlinked.seek(SeekFrom::Start(0))?;
        let mut text = String::new();
        unlinked.read_to_string(&mut text)?;
        ensure!(text == "still" && unlinked.metadata()?.nlink() == 0);
        let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
        let nameless = rustix::fs::open(path(""), flags, rustix::fs::Mode::from_raw_mode(0o600))?;
        rustix::io::write(&nameless, b"named later")?;
        let proc = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&nameless));
        let follow = rustix::fs::AtFlags::SYMLINK_FOLLOW;
        rustix::fs::linkat(rustix::fs::CWD, proc, rustix::fs::CWD, path("named"), follow)?;
        ensure!(fs::read(source.path().join("named"))? == b"named later");

        // Times to the nanosecond, before 1970 too; attributes; modes.
        let file = File::create(path("file"))?;
        let time = |seconds, nanos| rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanos };
        let times = rustix::fs::Timestamps {
            last_access: time(-5, 1),
            last_modification: time(1 << 33, 999_999_999),
        };
        rustix::fs::futimens(&file, &times)?;
        let metadata = fs::metadata(source.path().join("file"))?;
        ensure!((metadata.atime(), metadata.mtime(), metadata.mtime_nsec()) == (-5, 1 << 33, 999_999_999));
        rustix::fs::setxattr(path("file"), "user.test", b"value", rustix::fs::XattrFlags::CREATE)?;
        let mut value = [0; 16];
        ensure!(rustix::fs::getxattr(path("file"), "user.test", &mut value[..])? == 5);
        fs::set_permissions(path("file"), fs::Permissions::from_mode(0o6755))?;
        ensure!(fs::metadata(source.path().join("file"))?.mode() & 0o7777 == 0o6755);

        // A name of 255 bytes; more than one page of entries; removed while they are listed.
        let long = "ä".repeat(127) + "x";
        fs::create_dir(path(&long))?;
        for number in 0..1500 {
            fs::write(path(&long).join(number.to_string()), "x")?;
        }
        ensure!(fs::read_dir(path(&long))?.count() == 1500);
        fs::remove_dir_all(path(&long))?;
        ensure!(!source.path().join(&long).exists());
        Ok(())
    })
}

#[test]
fn one_file_is_shared_alone() -> Result<()> {
    privately(|| {
        let source = tempfile::tempdir()?;
        fs::write(source.path().join("config"), "one")?;
        let at = source.path().join("at");
        fs::write(&at, "")?;
        let root = holm_files::Root::open(&source.path().join("config"))?;
        let device = holm_files::direct::mount(&at, root.kind())?;
        let watch = std::sync::Arc::new(holm_tests::mounted::ByHand);
        let (server, outgoing) = holm_files::Server::new(root, Options::new(), watch);
        let serving = holm_files::direct::serve(&server, outgoing, device, 1, &at)?;
        ensure!(fs::read_to_string(&at)? == "one");
        fs::write(source.path().join("config"), "changed")?;
        ensure!(server.changed(holm_files::NodeId(1), None, Author::Other), "it is news");
        serving.settle(&server);
        ensure!(fs::read_to_string(&at)? == "changed");
        fs::write(&at, "by the guest")?;
        ensure!(fs::read_to_string(source.path().join("config"))? == "by the guest");
        holm_files::direct::unmount(&at)?;
        drop(serving);
        Ok(())
    })
}

/// A kernel that is this computer's own reads them without asking: what it reads is never old, whoever writes.
#[test]
fn a_long_file_is_read_by_the_kernel_itself() -> Result<()> {
    privately(|| {
        let source = tempfile::tempdir()?;
        let (host, length) = (source.path().join("long"), 1 << 20);
        fs::write(&host, vec![b'a'; length])?;
        let mounted = Mounted::new(source.path(), Options::new())?;
        let path = mounted.path("long");

        let reader = File::open(&path)?;
        let byte = |at: u64| {
            let mut byte = [0];
            reader.read_exact_at(&mut byte, at).map(|()| byte[0])
        };
        ensure!(byte(0)? == b'a' && fs::read(&path)?.len() == length);
        File::options().write(true).open(&host)?.write_all_at(b"b", 0)?;
        ensure!(mounted.announce("long", Author::Other) && byte(0)? == b'b');

        // In the guest others write to it meanwhile, each in its own way.
        File::options().append(true).open(&path)?.write_all(b"c")?;
        ensure!(byte(length as u64)? == b'c' && fs::metadata(&path)?.len() == length as u64 + 1);
        let both = File::options().read(true).write(true).open(&path)?;
        both.write_all_at(b"d", 1)?;
        let mapped = write_mapped(&both, 2, b'e')?;
        ensure!(mapped[..3] == *b"bde" && (byte(1)?, byte(2)?) == (b'd', b'e'));
        ensure!(fs::read(&host)?.starts_with(b"bde"));
        fs::write(&path, "short")?;
        ensure!(byte(4)? == b't' && byte(5).is_err() && fs::read(&host)? == b"short");

        // Nobody has it open any more, so that it is read like any other.
        drop((reader, both));
        ensure!(fs::read(&path)? == b"short");
        if passes_through()? {
            // By the last one alone.
            ensure!(mounted.server.counts().read == 5, "{:?}", mounted.server.counts());
        }
        Ok(())
    })
}

/// Writes a byte by way of a shared mapping of the file's first page; the page.
fn write_mapped(file: &File, at: usize, byte: u8) -> Result<[u8; 4096]> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a mapping of its own, at an address of the kernel's choice.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, file.as_raw_fd(), 0) };
    ensure!(address != libc::MAP_FAILED, "it cannot be mapped: {}", std::io::Error::last_os_error());
    let address = address.cast::<[u8; 4096]>();
    // SAFETY: a page of the file, which nobody shortens meanwhile, and nobody else has this mapping.
    let page = unsafe { &mut *address };
    page[at] = byte;
    let seen = *page;
    // SAFETY: mapped above, and not used any more.
    unsafe { libc::munmap(address.cast(), 4096) };
    Ok(seen)
}

/// Whether this kernel reads files of other file systems by itself (Linux 6.9).
fn passes_through() -> Result<bool> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map_while(|number| number.parse::<u32>().ok());
    Ok((numbers.next(), numbers.next()) >= (Some(6), Some(9)))
}
