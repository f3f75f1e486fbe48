//! `statx`, which alone tells a file's time of birth.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Statx, StatxFlags, StatxTimestamp, statx};

use crate::fuse::errno::Outcome;
use crate::fuse::reply::Attributes;
use crate::os::{Key, Stat};

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// Of the name in the folder, not of what a link there leads to.
pub(super) fn at(folder: impl AsFd, name: &[u8]) -> Outcome<Stat> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    Ok(convert(&statx(folder, name, flags, WANTED)?))
}

/// Of what the descriptor holds.
pub(super) fn of(descriptor: impl AsFd) -> Outcome<Stat> {
    Ok(convert(&statx(descriptor, c"", AtFlags::EMPTY_PATH, WANTED)?))
}

fn convert(stat: &Statx) -> Stat {
    let time = |time: &StatxTimestamp| (time.tv_sec, time.tv_nsec);
    let born = if stat.stx_mask & StatxFlags::BTIME.bits() != 0 { time(&stat.stx_btime) } else { (0, 0) };
    Stat {
        key: Key {
            device: u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
            ino: stat.stx_ino,
            born,
        },
        attributes: Attributes {
            ino: stat.stx_ino,
            size: stat.stx_size,
            blocks: stat.stx_blocks,
            atime: time(&stat.stx_atime),
            mtime: time(&stat.stx_mtime),
            ctime: time(&stat.stx_ctime),
            mode: u32::from(stat.stx_mode),
            links: stat.stx_nlink,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            rdev: stat.stx_rdev_minor & 0xff | stat.stx_rdev_major << 8 | (stat.stx_rdev_minor & !0xff) << 12,
            block_size: stat.stx_blksize,
        },
    }
}
