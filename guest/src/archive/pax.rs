//! Extended headers: `<length> <key>=<value>\n`, in front of the member that they describe (POSIX.1-2001 pax).

use super::ArchiveError;
use super::sparse::PaxSparse;

/// What an extended header says about the next member.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: PaxSparse,
    any: bool,
}

impl Extensions {
    pub(super) fn is_empty(&self) -> bool {
        !self.any
    }

    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, ArchiveError> {
        let mut extensions = Self::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or(ArchiveError::Malformed("pax record"))?;
            extensions.take(key, value)?;
            extensions.any = true;
            bytes = rest;
        }
        Ok(extensions)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), ArchiveError> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Ok(());
        }
        if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.take(name, value);
        }
        match key {
            // An empty value takes back what was said before.
            _ if value.is_empty() => {}
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(decimal(value)?),
            b"gid" => self.gid = Some(decimal(value)?),
            b"mtime" => self.mtime = Some(time(value).ok_or(ArchiveError::Malformed("pax time"))?),
            // Names of users, comments, character sets: nothing that a layer is made of.
            _ => {}
        }
        Ok(())
    }
}

/// Key, value, and what follows the record.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..blank]).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let body = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    (equals > 0).then_some((&body[..equals], &body[equals + 1..], rest))
}

pub(super) fn decimal<T: std::str::FromStr>(value: &[u8]) -> Result<T, ArchiveError> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).ok_or(ArchiveError::Malformed("pax number"))
}

/// `-1234.5`: seconds and nanoseconds, the latter always counted forwards.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos = format!("{fraction:0<9.9}").parse::<u32>().ok()?;
    let negative = seconds.starts_with('-');
    let seconds: i64 = seconds.parse().ok()?;
    if negative && nanos > 0 {
        Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos))
    } else {
        Some((seconds, nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_may_hold_any_bytes() {
        let extensions = Extensions::parse(b"30 SCHILY.xattr.user.a=\n=\0\xff\n1\n11 path=a\n\n").unwrap();
        assert_eq!(extensions.xattrs, [(b"user.a".to_vec(), b"\n=\0\xff\n1".to_vec())]);
        assert_eq!(extensions.path.as_deref(), Some(&b"a\n"[..]));
    }

    #[test]
    fn records_that_lie_about_their_length_are_refused() {
        for bytes in
            [&b"99 path=a\n"[..], b"5 path=a\n", b"0 a=b\n", b"x path=a\n", b"6 =ab\n", b"10 path=a", b"3 a"]
        {
            assert!(Extensions::parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn times_before_1970_count_their_fraction_forwards() {
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"-0.5"), Some((-1, 500_000_000)));
        assert_eq!(time(b"7.1234567891"), Some((7, 123_456_789)));
        assert_eq!((time(b""), time(b"1.x"), time(b"1.-5")), (None, None, None));
    }
}
