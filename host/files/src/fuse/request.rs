//! A request of the kernel, taken apart. Every operation that a Linux guest sends has a variant; others are
//! [`Operation::Unknown`], answered by ENOSYS.

use crate::fuse::abi;
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::reader::{LONGEST_TARGET, Name, Reader};

/// Who asks, about what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) unique: u64,
    pub(crate) node: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) pid: u32,
}

/// A range that somebody locks, last byte included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// `fuse_lk_in`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockRequest {
    pub(crate) fh: u64,
    pub(crate) owner: u64,
    pub(crate) range: Range,
    pub(crate) kind: u32,
    pub(crate) flags: u32,
}

/// `fuse_setattr_in`; `valid` says which fields count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetAttributes {
    pub(crate) valid: u32,
    pub(crate) fh: u64,
    pub(crate) size: u64,
    pub(crate) atime: (i64, u32),
    pub(crate) mtime: (i64, u32),
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What is asked.
#[derive(Debug)]
pub(crate) enum Operation<'a> {
    Init {
        major: u32,
        minor: u32,
        readahead: u32,
        flags: u64,
    },
    Lookup {
        name: Name<'a>,
    },
    Forget {
        lookups: u64,
    },
    BatchForget {
        forgets: Vec<(u64, u64)>,
    },
    Getattr {
        fh: Option<u64>,
    },
    Setattr(SetAttributes),
    Readlink,
    Symlink {
        name: Name<'a>,
        target: &'a [u8],
    },
    Mknod {
        name: Name<'a>,
        mode: u32,
        rdev: u32,
    },
    Mkdir {
        name: Name<'a>,
        mode: u32,
    },
    Unlink {
        name: Name<'a>,
    },
    Rmdir {
        name: Name<'a>,
    },
    Rename {
        name: Name<'a>,
        folder: u64,
        new_name: Name<'a>,
        flags: u32,
    },
    Link {
        node: u64,
        name: Name<'a>,
    },
    Open {
        flags: u32,
        open_flags: u32,
    },
    Create {
        name: Name<'a>,
        flags: u32,
        mode: u32,
        open_flags: u32,
    },
    Tmpfile {
        flags: u32,
        mode: u32,
    },
    Read {
        fh: u64,
        offset: u64,
        size: u32,
    },
    Write {
        fh: u64,
        offset: u64,
        flags: u32,
        open_flags: u32,
        data: &'a [u8],
    },
    Statfs,
    Release {
        fh: u64,
        flags: u32,
        owner: u64,
    },
    Fsync {
        fh: u64,
        data_only: bool,
    },
    Setxattr {
        name: &'a [u8],
        value: &'a [u8],
        flags: u32,
    },
    Getxattr {
        name: &'a [u8],
        size: u32,
    },
    Listxattr {
        size: u32,
    },
    Removexattr {
        name: &'a [u8],
    },
    Flush {
        owner: u64,
    },
    Opendir,
    Readdir {
        fh: u64,
        offset: u64,
        size: u32,
        plus: bool,
    },
    Releasedir {
        fh: u64,
    },
    Fsyncdir {
        data_only: bool,
    },
    Getlk(LockRequest),
    Setlk {
        request: LockRequest,
        wait: bool,
    },
    Access {
        mask: u32,
    },
    Interrupt {
        unique: u64,
    },
    Ioctl,
    Fallocate {
        fh: u64,
        offset: u64,
        length: u64,
        mode: u32,
    },
    Lseek {
        fh: u64,
        offset: u64,
        whence: u32,
    },
    CopyFileRange {
        fh_in: u64,
        off_in: u64,
        fh_out: u64,
        off_out: u64,
        length: u64,
        node_out: u64,
    },
    Syncfs,
    Destroy,
    /// `POLL`, `BMAP`, DAX mappings and what later kernels add: the kernel remembers ENOSYS and does without.
    Unknown,
}

/// Who asks and the rest of the request, or nothing if there is not even somebody to answer.
pub(crate) fn header(request: &[u8]) -> Option<(Header, u32, Outcome<Reader<'_>>)> {
    let mut reader = Reader(request);
    let mut read = || -> Outcome<_> {
        let (length, opcode) = (reader.u32()?, reader.u32()?);
        let header = Header {
            unique: reader.u64()?,
            node: reader.u64()?,
            uid: reader.u32()?,
            gid: reader.u32()?,
            pid: reader.u32()?,
        };
        Ok((length, opcode, header, reader.u16()?, reader.u16()?))
    };
    let (length, opcode, header, extension, _) = read().ok()?;
    // Extensions stand at the end and are not negotiated; a kernel that sends them all the same loses nothing.
    let body = (length as usize == request.len())
        .then(|| reader.0.len().checked_sub(usize::from(extension) * 8))
        .flatten()
        .and_then(|end| reader.0.get(..end))
        .map(Reader)
        .ok_or(Errno::INVAL);
    Some((header, opcode, body))
}

/// Reads what follows the header.
pub(crate) fn operation(opcode: u32, mut body: Reader<'_>) -> Outcome<Operation<'_>> {
    let body = &mut body;
    Ok(match opcode {
        1 => Operation::Lookup { name: body.name()? },
        2 => Operation::Forget { lookups: body.u64()? },
        3 => {
            let flags = body.u32()?;
            body.skip(4)?;
            let fh = body.u64()?;
            Operation::Getattr { fh: (flags & abi::GETATTR_FH != 0).then_some(fh) }
        }
        4 => Operation::Setattr(set_attributes(body)?),
        5 => Operation::Readlink,
        6 => {
            let name = body.name()?;
            let target = body.text()?;
            if target.is_empty() || target.len() > LONGEST_TARGET {
                return Err(Errno::NAMETOOLONG);
            }
            Operation::Symlink { name, target }
        }
        8 => {
            let (mode, rdev) = (body.u32()?, body.u32()?);
            body.skip(8)?;
            Operation::Mknod { name: body.name()?, mode, rdev }
        }
        9 => {
            let mode = body.u32()?;
            body.skip(4)?;
            Operation::Mkdir { name: body.name()?, mode }
        }
        10 => Operation::Unlink { name: body.name()? },
        11 => Operation::Rmdir { name: body.name()? },
        12 => {
            let folder = body.u64()?;
            Operation::Rename { folder, name: body.name()?, new_name: body.name()?, flags: 0 }
        }
        45 => {
            let (folder, flags) = (body.u64()?, body.u32()?);
            body.skip(4)?;
            Operation::Rename { folder, name: body.name()?, new_name: body.name()?, flags }
        }
        13 => Operation::Link { node: body.u64()?, name: body.name()? },
        14 => Operation::Open { flags: body.u32()?, open_flags: body.u32()? },
        15 => {
            let (fh, offset, size) = (body.u64()?, body.u64()?, body.u32()?);
            Operation::Read { fh, offset, size }
        }
        16 => {
            let (fh, offset, size, flags) = (body.u64()?, body.u64()?, body.u32()?, body.u32()?);
            body.skip(8)?;
            let open_flags = body.u32()?;
            body.skip(4)?;
            Operation::Write { fh, offset, flags, open_flags, data: body.bytes(size as usize)? }
        }
        17 => Operation::Statfs,
        18 => {
            let release = release(body)?;
            Operation::Release { fh: release.0, flags: release.1, owner: release.2 }
        }
        20 => {
            let (fh, flags) = (body.u64()?, body.u32()?);
            Operation::Fsync { fh, data_only: flags & abi::FSYNC_DATA != 0 }
        }
        21 => {
            let (size, flags) = (body.u32()?, body.u32()?);
            body.skip(8)?;
            Operation::Setxattr { name: attribute(body)?, value: body.bytes(size as usize)?, flags }
        }
        22 => {
            let size = body.u32()?;
            body.skip(4)?;
            Operation::Getxattr { size, name: attribute(body)? }
        }
        23 => Operation::Listxattr { size: body.u32()? },
        24 => Operation::Removexattr { name: attribute(body)? },
        25 => {
            body.skip(16)?;
            Operation::Flush { owner: body.u64()? }
        }
        26 => {
            let (major, minor) = (body.u32()?, body.u32()?);
            let (readahead, flags) = (body.u32().unwrap_or(0), body.u32().unwrap_or(0));
            let more = if u64::from(flags) & abi::init::INIT_EXT != 0 { body.u32()? } else { 0 };
            Operation::Init { major, minor, readahead, flags: u64::from(flags) | u64::from(more) << 32 }
        }
        27 => Operation::Opendir,
        28 | 44 => {
            let (fh, offset, size) = (body.u64()?, body.u64()?, body.u32()?);
            Operation::Readdir { fh, offset, size, plus: opcode == 44 }
        }
        29 => Operation::Releasedir { fh: release(body)?.0 },
        30 => {
            body.skip(8)?;
            Operation::Fsyncdir { data_only: body.u32()? & abi::FSYNC_DATA != 0 }
        }
        31 => Operation::Getlk(lock_request(body)?),
        32 | 33 => Operation::Setlk { request: lock_request(body)?, wait: opcode == 33 },
        34 => Operation::Access { mask: body.u32()? },
        35 => {
            let (flags, mode) = (body.u32()?, body.u32()?);
            body.skip(4)?;
            let open_flags = body.u32()?;
            Operation::Create { name: body.name()?, flags, mode, open_flags }
        }
        51 => Operation::Tmpfile { flags: body.u32()?, mode: body.u32()? },
        36 => Operation::Interrupt { unique: body.u64()? },
        38 => Operation::Destroy,
        39 => Operation::Ioctl,
        42 => {
            let count = body.u32()?;
            body.skip(4)?;
            // By what is there, not by what is said to be there.
            let mut forgets = Vec::with_capacity((count as usize).min(body.0.len() / 16));
            for _ in 0..count {
                forgets.push((body.u64()?, body.u64()?));
            }
            Operation::BatchForget { forgets }
        }
        43 => Operation::Fallocate {
            fh: body.u64()?,
            offset: body.u64()?,
            length: body.u64()?,
            mode: body.u32()?,
        },
        46 => Operation::Lseek { fh: body.u64()?, offset: body.u64()?, whence: body.u32()? },
        47 => Operation::CopyFileRange {
            fh_in: body.u64()?,
            off_in: body.u64()?,
            node_out: body.u64()?,
            fh_out: body.u64()?,
            off_out: body.u64()?,
            length: body.u64()?,
        },
        50 => Operation::Syncfs,
        _ => Operation::Unknown,
    })
}

fn release(body: &mut Reader<'_>) -> Outcome<(u64, u32, u64)> {
    let fh = body.u64()?;
    body.skip(4)?;
    Ok((fh, body.u32()?, body.u64()?))
}

/// The name of an extended attribute, which may hold anything but NUL.
fn attribute<'a>(body: &mut Reader<'a>) -> Outcome<&'a [u8]> {
    match body.text()? {
        [] => Err(Errno::INVAL),
        name if name.len() > crate::fuse::reader::LONGEST_NAME => Err(Errno::RANGE),
        name => Ok(name),
    }
}

fn lock_request(body: &mut Reader<'_>) -> Outcome<LockRequest> {
    Ok(LockRequest {
        fh: body.u64()?,
        owner: body.u64()?,
        range: Range { start: body.u64()?, end: body.u64()? },
        kind: body.u32()?,
        // Its process comes between.
        flags: body.u64().map(|pair| (pair >> 32) as u32)?,
    })
}

fn set_attributes(body: &mut Reader<'_>) -> Outcome<SetAttributes> {
    let valid = body.u32()?;
    body.skip(4)?;
    let (fh, size) = (body.u64()?, body.u64()?);
    body.skip(8)?;
    let (atime, mtime, _ctime) = (body.u64()?, body.u64()?, body.u64()?);
    let (atime_nanos, mtime_nanos, _) = (body.u32()?, body.u32()?, body.u32()?);
    let mode = body.u32()?;
    body.skip(4)?;
    let (uid, gid) = (body.u32()?, body.u32()?);
    if atime_nanos > 999_999_999 || mtime_nanos > 999_999_999 {
        return Err(Errno::INVAL);
    }
    Ok(SetAttributes {
        valid,
        fh,
        size,
        // Seconds travel unsigned; times before 1970 are negative all the same.
        atime: (atime.cast_signed(), atime_nanos),
        mtime: (mtime.cast_signed(), mtime_nanos),
        mode,
        uid,
        gid,
    })
}
