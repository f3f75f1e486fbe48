//! Writes a tar, member by member: POSIX ustar, with a pax header in front where a name, a number or an attribute
//! does not fit (POSIX.1-2001). The crate `tar` can write neither attributes nor devices
//! of a size without our building its headers by hand.

use std::io::{self, Write};

/// Bytes of a header, and what all data is padded to.
const BLOCK: usize = 512;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// So many bytes follow.
    File(u64),
    /// Its path ends with a slash.
    Directory,
    /// A symbolic link with this text.
    Symlink(&'a [u8]),
    /// One more name of this path.
    HardLink(&'a [u8]),
    /// A character device.
    Character(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// A member.
#[derive(Clone, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) path: &'a [u8],
    pub(crate) kind: Kind<'a>,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970, and nanoseconds on top.
    pub(crate) mtime: (i64, u32),
    pub(crate) xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

/// Writes the member's header. The bytes of a file, padded by [`padding`], are the caller's.
pub(crate) fn write_header(out: &mut impl Write, member: &Member<'_>) -> io::Result<()> {
    let extended = extended(member);
    if !extended.is_empty() {
        let mut header = Header::new(b'x', b"pax");
        header.octal(124..136, extended.len() as u64);
        out.write_all(&header.finished())?;
        out.write_all(&extended)?;
        out.write_all(padding(extended.len() as u64))?;
    }
    let (flag, size) = match member.kind {
        Kind::File(size) => (b'0', size),
        Kind::HardLink(_) => (b'1', 0),
        Kind::Symlink(_) => (b'2', 0),
        Kind::Character(..) => (b'3', 0),
        Kind::Block(..) => (b'4', 0),
        Kind::Directory => (b'5', 0),
        Kind::Fifo => (b'6', 0),
    };
    let mut header = Header::new(flag, member.path);
    header.octal(100..108, member.mode.into());
    header.octal(108..116, member.uid.into());
    header.octal(116..124, member.gid.into());
    header.octal(124..136, size);
    header.octal(136..148, u64::try_from(member.mtime.0).unwrap_or(0));
    if let Kind::Symlink(text) | Kind::HardLink(text) = member.kind {
        header.text(157..257, text);
    }
    if let Kind::Character(major, minor) | Kind::Block(major, minor) = member.kind {
        header.octal(329..337, major.into());
        header.octal(337..345, minor.into());
    }
    out.write_all(&header.finished())
}

/// Zeros after `size` bytes of data.
pub(crate) fn padding(size: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let over = (size % BLOCK as u64) as usize;
    if over == 0 { &[] } else { &ZEROS[over..] }
}

/// Ends the archive.
pub(crate) fn finish(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])?;
    out.flush()
}

/// What ustar has no room for.
fn extended(member: &Member<'_>) -> Vec<u8> {
    let mut records = Vec::new();
    let is_plain = |text: &[u8]| text.len() <= 100 && text.iter().all(|byte| (0x20..0x7f).contains(byte));
    if !is_plain(member.path) {
        record(&mut records, b"path", member.path);
    }
    if let Kind::Symlink(text) | Kind::HardLink(text) = member.kind
        && !is_plain(text)
    {
        record(&mut records, b"linkpath", text);
    }
    if let Kind::File(size) = member.kind
        && size >= 1 << 33
    {
        record(&mut records, b"size", size.to_string().as_bytes());
    }
    for (key, number) in [(b"uid", member.uid), (b"gid", member.gid)] {
        if number >= 1 << 21 {
            record(&mut records, key, number.to_string().as_bytes());
        }
    }
    let (seconds, nanos) = member.mtime;
    if nanos != 0 || !(0..1 << 33).contains(&seconds) {
        record(&mut records, b"mtime", decimal(seconds, nanos).as_bytes());
    }
    for (name, value) in member.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    records
}

/// Before 1970, the fraction is counted forwards on disk and backwards in a decimal number.
fn decimal(seconds: i64, nanos: u32) -> String {
    match (seconds, nanos) {
        (seconds, 0) => seconds.to_string(),
        (seconds, nanos) if seconds >= 0 => format!("{seconds}.{nanos:09}"),
        (seconds, nanos) => format!("-{}.{:09}", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanos),
    }
}

/// `<length> <key>=<value>\n`, where the length counts itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    for part in [&b" "[..], key, b"=", value, b"\n"] {
        records.extend_from_slice(part);
    }
}

struct Header([u8; BLOCK]);

impl Header {
    fn new(flag: u8, path: &[u8]) -> Self {
        let mut header = Self([0; BLOCK]);
        header.text(0..100, path);
        header.0[156] = flag;
        header.0[257..265].copy_from_slice(b"ustar\x0000");
        header
    }

    /// As much of it as there is room for: the whole is in the pax header then.
    fn text(&mut self, field: std::ops::Range<usize>, text: &[u8]) {
        let length = text.len().min(field.len());
        self.0[field.start..field.start + length].copy_from_slice(&text[..length]);
    }

    /// Zero where it does not fit, and the number is in the pax header.
    fn octal(&mut self, field: std::ops::Range<usize>, number: u64) {
        let digits = field.len() - 1;
        let fits = number < 1 << (3 * digits);
        let text = format!("{:0digits$o}", if fits { number } else { 0 });
        self.text(field, text.as_bytes());
    }

    fn finished(mut self) -> [u8; BLOCK] {
        self.0[148..156].fill(b' ');
        let sum: u64 = self.0.iter().map(|byte| u64::from(*byte)).sum();
        self.octal(148..155, sum);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(member: &Member<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_header(&mut bytes, member).unwrap();
        if let Kind::File(size) = member.kind {
            bytes.extend(vec![b'x'; size as usize]);
            bytes.extend(padding(size));
        }
        finish(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn another_reader_finds_what_was_written() {
        let long = format!("{}/ü", "d".repeat(200));
        let xattrs = [(b"user.a".to_vec(), b"\0=".to_vec())];
        let member = Member {
            path: long.as_bytes(),
            kind: Kind::File(700),
            mode: 0o4755,
            uid: 3_000_000,
            gid: 7,
            mtime: (-2, 750_000_000),
            xattrs: &xattrs,
        };
        let bytes = written(&member);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path_bytes(), long.as_bytes());
        assert_eq!((entry.size(), entry.header().mode().unwrap()), (700, 0o4755));
        let extensions = entry.pax_extensions().unwrap().unwrap();
        let all: Vec<_> = extensions
            .map(|record| record.unwrap())
            .map(|record| (record.key().unwrap().to_owned(), record.value_bytes().to_vec()))
            .collect();
        assert!(all.contains(&("uid".to_owned(), b"3000000".to_vec())));
        assert!(all.contains(&("mtime".to_owned(), b"-1.250000000".to_vec())));
        assert!(all.contains(&("SCHILY.xattr.user.a".to_owned(), b"\0=".to_vec())));
    }

    #[test]
    fn a_short_member_is_one_header_and_its_data() {
        let member = Member {
            path: b"dir/file",
            kind: Kind::File(512),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: (1, 0),
            xattrs: &[],
        };
        assert_eq!(written(&member).len(), 4 * BLOCK);
    }
}
