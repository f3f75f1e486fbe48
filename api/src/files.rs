//! A share's stream on vsock port 1028: FUSE between a folder of the computer and the pump that mounts it.
//!
//! ```text
//!   pump                                     host
//!    │ ── token, 32 bytes ─────────────────────► │   good for one stream of one share
//!    │ ── replayer's thread, u32 ──────────────► │   with HANDS_OVER where descriptors can come with the stream
//!    │ ◄───────────────────────── READY, 1 byte  │   the folder can be served
//!    │ ◄────────────── or READY_FOR_DEVICE       │   the same, and the host reads /dev/fuse itself
//!    │ ── DEVICE, and the descriptor ──────────► │   once it is mounted; no requests and replies from here on
//!    │ ══ requests of /dev/fuse ═══════════════► │   as the kernel writes them
//!    │ ◄══ replies, notifications ══════════════ │   as the kernel reads them
//!    │ ◄── announcement ──────────────────────── │   a change on the computer, after its notifications
//!    │ ── BEGIN, then DONE ────────────────────► │   what the replayer does in between changes nothing
//! ```
//!
//! All of it is framed by the length that begins every message of FUSE (include/uapi/linux/fuse.h), in the byte
//! order of the two sides, which is little-endian. An announcement has the header of a reply, with
//! [`ANNOUNCEMENT`] in the place of the error and its number in that of `unique`; an acknowledgement the header of
//! a request with [`BEGIN`] or [`DONE`] for its opcode and the number for `unique`.

use serde::{Deserialize, Serialize};

/// Says that the token was good.
pub const READY: u8 = 1;
/// Beside the number of the thread: this stream is a Unix socket, and the host may have the device. Threads have no
/// such numbers.
pub const HANDS_OVER: u32 = 1 << 31;
/// Says so too, where the pump hands over: the host wants the device, and takes requests from it itself.
pub const READY_FOR_DEVICE: u8 = 3;
/// The byte that the descriptor of `/dev/fuse` comes with (`SCM_RIGHTS`).
pub const DEVICE: u8 = 4;
/// Of a relayed socket, in the place of the thread: the stream that lasts as long as the share.
pub const RELAY_CONTROL: u32 = 0;
/// Of a relayed socket: a stream that becomes a connection to it.
pub const RELAY_CONNECTION: u32 = 1;
/// Says that such a connection was made.
pub const CONNECTED: u8 = 2;
/// Bytes of the largest message: a write of 1 MiB, and its headers.
pub const LONGEST_MESSAGE: usize = (1 << 20) + (64 << 10);
/// Bytes of `struct fuse_in_header`.
pub const REQUEST_HEADER: usize = 40;
/// Bytes of `struct fuse_out_header`.
pub const REPLY_HEADER: usize = 16;
/// In the place of an announcement's error. Notifications have small positive numbers there, replies negative ones.
pub const ANNOUNCEMENT: u32 = 0x4000_0000;
/// The replayer is about to do what an announcement says.
pub const BEGIN: u32 = 0x4000_0001;
/// It has done it, or could not.
pub const DONE: u32 = 0x4000_0002;
/// Announcements and notifications that the pump keeps at most. The host has one announcement on its way at a time,
/// and waits with others while so many notifications may be unread.
pub const MOST_ANNOUNCED: usize = 4096;
/// Folders that the pump may be asked to list at once, beside what is announced.
pub const MOST_LISTED: usize = 64;

/// Something that was changed on the computer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Below the share's root, without a slash at its start; empty for the root. Bytes, as names are.
    pub path: Vec<u8>,
    /// What became of it.
    pub change: Change,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// It is there now.
    Created(Kind),
    /// It has other content.
    Modified(Times),
    /// Somebody who could write has closed it.
    Written,
    /// It has another owner, other rights or other times.
    Attributes(Times),
    /// It is gone.
    Removed(Kind),
    /// It has this path now.
    Renamed(Vec<u8>),
    /// Nothing: listing the folder now spares the guest many questions soon.
    Listed,
    /// Nothing at all: the acknowledgement is what is wanted.
    Nothing,
}

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A plain file.
    File,
    /// A symbolic link.
    Link,
    /// A FIFO.
    Pipe,
    /// A socket.
    Socket,
}

/// As utimensat(2) takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// Last read: seconds since the epoch, and nanoseconds.
    pub accessed: (i64, u32),
    /// Last written to.
    pub modified: (i64, u32),
}

/// Why a message is none.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A length that no message has.
    #[error("a message of {0} bytes on a share's stream")]
    Length(usize),
    /// No announcement of ours.
    #[error("an announcement that cannot be read")]
    Malformed(#[source] serde_json::Error),
}

/// Bytes of the message that begins here, its header included. `None` where four bytes have not come yet.
pub fn length(bytes: &[u8], header: usize) -> Result<Option<usize>, FilesError> {
    let Some(prefix) = bytes.first_chunk() else { return Ok(None) };
    let length = u32::from_le_bytes(*prefix) as usize;
    if (header..=LONGEST_MESSAGE).contains(&length) {
        Ok(Some(length))
    } else {
        Err(FilesError::Length(length))
    }
}

/// An announcement as it is sent.
pub fn announce(number: u64, announcement: &Announcement) -> Result<Vec<u8>, FilesError> {
    let mut message = vec![0; REPLY_HEADER];
    serde_json::to_writer(&mut message, announcement).map_err(FilesError::Malformed)?;
    let length = message.len();
    if length > LONGEST_MESSAGE {
        return Err(FilesError::Length(length));
    }
    message[..4].copy_from_slice(&(length as u32).to_le_bytes());
    message[4..8].copy_from_slice(&ANNOUNCEMENT.to_le_bytes());
    message[8..REPLY_HEADER].copy_from_slice(&number.to_le_bytes());
    Ok(message)
}

/// What the host's message is, its whole length given.
#[derive(Debug, PartialEq, Eq)]
pub enum FromHost<'a> {
    /// A reply: for the kernel.
    Reply(&'a [u8]),
    /// A notification: for the kernel too, and it may wait there for replies.
    Notification(&'a [u8]),
    /// For the replayer.
    Announcement(u64, Announcement),
}

/// Tells messages of the host apart.
pub fn from_host(message: &[u8]) -> Result<FromHost<'_>, FilesError> {
    let field = |at: usize| message.get(at..at + 4).and_then(|bytes| bytes.first_chunk().copied());
    let (Some(error), Some(unique)) = (field(4), message.get(8..REPLY_HEADER)) else {
        return Err(FilesError::Length(message.len()));
    };
    let number = unique.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    match u32::from_le_bytes(error) {
        ANNOUNCEMENT => {
            let read = serde_json::from_slice(&message[REPLY_HEADER..]);
            Ok(FromHost::Announcement(number, read.map_err(FilesError::Malformed)?))
        }
        _ if number == 0 => Ok(FromHost::Notification(message)),
        _ => Ok(FromHost::Reply(message)),
    }
}

/// [`BEGIN`] or [`DONE`] as it is sent.
pub fn acknowledge(opcode: u32, number: u64) -> [u8; REQUEST_HEADER] {
    let mut message = [0; REQUEST_HEADER];
    message[..4].copy_from_slice(&(REQUEST_HEADER as u32).to_le_bytes());
    message[4..8].copy_from_slice(&opcode.to_le_bytes());
    message[8..16].copy_from_slice(&number.to_le_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement() -> Announcement {
        Announcement { path: b"src/\xff".to_vec(), change: Change::Renamed(b"b".to_vec()) }
    }

    #[test]
    fn an_announcement_reads_back_as_it_was_written() {
        let bytes = announce(7, &announcement()).unwrap();
        assert_eq!(length(&bytes, REPLY_HEADER).unwrap(), Some(bytes.len()));
        assert_eq!(from_host(&bytes).unwrap(), FromHost::Announcement(7, announcement()));
    }

    #[test]
    fn replies_have_a_number_and_notifications_none() {
        let message = |unique: u64| [&16_u32.to_le_bytes()[..], &[0; 4], &unique.to_le_bytes()].concat();
        assert!(matches!(from_host(&message(3)).unwrap(), FromHost::Reply(_)));
        assert!(matches!(from_host(&message(0)).unwrap(), FromHost::Notification(_)));
    }

    #[test]
    fn a_length_that_no_message_has_is_refused_before_it_has_come() {
        assert!(length(&u32::MAX.to_le_bytes(), REPLY_HEADER).is_err());
        assert!(length(&15_u32.to_le_bytes(), REPLY_HEADER).is_err());
        assert_eq!(length(&[16, 0, 0], REPLY_HEADER).unwrap(), None);
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn no_bytes_break_the_pump() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = length(bytes, REPLY_HEADER);
            if let Ok(FromHost::Announcement(number, read)) = from_host(bytes) {
                let written = announce(number, &read).unwrap();
                assert_eq!(from_host(&written).unwrap(), FromHost::Announcement(number, read));
            }
        });
    }
}
