//! The 512 bytes before every member: POSIX ustar, GNU's variant of it, and v7 (tar(5)).

use super::ArchiveError;

/// Bytes of a header, and what all data is padded to.
pub(super) const BLOCK: usize = 512;

/// A header whose checksum is right.
pub(super) struct Header([u8; BLOCK]);

impl Header {
    pub(super) fn check(block: [u8; BLOCK]) -> Result<Self, ArchiveError> {
        let written = number(&block[148..156])?;
        // The checksum counts its own field as blanks. Very old programs added signed bytes.
        let fields =
            block.iter().enumerate().map(|(i, byte)| if (148..156).contains(&i) { b' ' } else { *byte });
        let unsigned: i64 = fields.clone().map(i64::from).sum();
        let signed: i64 = fields.map(|byte| i64::from(byte as i8)).sum();
        if written != unsigned && written != signed {
            return Err(ArchiveError::Malformed("checksum"));
        }
        Ok(Self(block))
    }

    /// The type flag.
    pub(super) fn kind(&self) -> u8 {
        self.0[156]
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        // GNU keeps other things where POSIX has the prefix.
        let posix = &self.0[257..263] == b"ustar\0";
        match text(&self.0[345..500]) {
            prefix if posix && !prefix.is_empty() => [prefix, b"/", name].concat(),
            _ => name.to_vec(),
        }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    pub(super) fn mode(&self) -> Result<u32, ArchiveError> {
        narrow(&self.0[100..108])
    }

    pub(super) fn uid(&self) -> Result<u32, ArchiveError> {
        narrow(&self.0[108..116])
    }

    pub(super) fn gid(&self) -> Result<u32, ArchiveError> {
        narrow(&self.0[116..124])
    }

    pub(super) fn size(&self) -> Result<u64, ArchiveError> {
        number(&self.0[124..136])?.try_into().map_err(|_| ArchiveError::Malformed("size"))
    }

    pub(super) fn mtime(&self) -> Result<i64, ArchiveError> {
        number(&self.0[136..148])
    }

    pub(super) fn major(&self) -> Result<u32, ArchiveError> {
        narrow(&self.0[329..337])
    }

    pub(super) fn minor(&self) -> Result<u32, ArchiveError> {
        narrow(&self.0[337..345])
    }

    /// Old GNU: the four places of the sparse map that the header has, and whether blocks with more follow.
    pub(super) fn sparse_map(&self) -> (&[u8], bool) {
        (&self.0[386..482], self.0[482] != 0)
    }

    /// Old GNU: the size of the file with its holes.
    pub(super) fn sparse_size(&self) -> Result<u64, ArchiveError> {
        number(&self.0[483..495])?.try_into().map_err(|_| ArchiveError::Malformed("sparse size"))
    }
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn narrow(field: &[u8]) -> Result<u32, ArchiveError> {
    number(field)?.try_into().map_err(|_| ArchiveError::Malformed("number"))
}

/// Octal digits between blanks and NULs, or, where the first bit is set, a big-endian number in two's complement.
/// An empty field is zero.
pub(super) fn number(field: &[u8]) -> Result<i64, ArchiveError> {
    let wrong = ArchiveError::Malformed("number");
    if field[0] & 0x80 != 0 {
        // The first bit is the mark, the second the sign.
        let negative = field[0] & 0x40 != 0;
        let first = if negative { i64::from(field[0] as i8) } else { i64::from(field[0] & 0x7f) };
        let add = |n: i64, byte: &u8| n.checked_mul(256)?.checked_add(i64::from(*byte));
        return field[1..].iter().try_fold(first, add).ok_or(wrong);
    }
    let digits = field.trim_ascii_start();
    let digits = digits.split(|byte| matches!(byte, 0 | b' ')).next().unwrap_or_default();
    digits
        .iter()
        .try_fold(0_i64, |n, digit| match digit {
            b'0'..=b'7' => n.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
            _ => None,
        })
        .ok_or(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary_and_an_empty_field_is_zero() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"        ", 0),
            (b"77777777", 0o77777777),
            (b"\x80\0\0\0\0\0\x01\x02", 258),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
        ] {
            assert_eq!(number(field).unwrap(), value, "{field:?}");
        }
        for wrong in
            [&b"0000649\0"[..], b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"-1\0\0\0\0\0\0"]
        {
            assert!(number(wrong).is_err(), "{wrong:?}");
        }
    }
}
