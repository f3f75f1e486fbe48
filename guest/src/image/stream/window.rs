//! The memory of zstd: a frame says how far back it refers (RFC 8878, "Window_Descriptor"), and that much has to be
//! kept. Small windows are everybody's; of large ones there is one at a time, however many layers come.

use std::io::{self, BufRead};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use zstd::stream::read::Decoder;

/// Bytes of the longest frame header, with the magic number.
pub(super) const HEADER: usize = 18;
/// Log2 of the largest window that any number of layers may have at a time: 8 MiB, which RFC 8878 asks of everybody.
const NARROW: u32 = 23;
/// Log2 of the largest window at all: 128 MiB, what `zstd` itself takes without being asked.
const WIDEST: u32 = 27;

/// Who may have a large window.
#[derive(Debug, Default)]
pub(in crate::image) struct Windows {
    taken: Mutex<bool>,
    free: Condvar,
}

/// The large window. It is free again when this is dropped.
pub(in crate::image) struct Wide(Arc<Windows>);

impl Windows {
    /// Decompresses what begins with `first`; waits where its window is large and another's is too. Blocks.
    pub(in crate::image) fn decoder<R: BufRead>(
        self: &Arc<Self>,
        first: &[u8],
        input: R,
    ) -> io::Result<(Decoder<'static, R>, Option<Wide>)> {
        let mut decoder = Decoder::with_buffer(input)?;
        // A frame that does not tell is refused by the decoder, whichever limit it has.
        if window(first).is_none_or(|window| window <= 1 << NARROW) {
            decoder.window_log_max(NARROW)?;
            return Ok((decoder, None));
        }
        decoder.window_log_max(WIDEST)?;
        Ok((decoder, Some(self.take())))
    }

    fn take(self: &Arc<Self>) -> Wide {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            taken = self.free.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken = true;
        Wide(self.clone())
    }
}

impl Drop for Wide {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.free.notify_one();
    }
}

/// Bytes of the first frame's window.
fn window(first: &[u8]) -> Option<u64> {
    let (descriptor, rest) = first.get(4..)?.split_first()?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let byte = *rest.first()?;
        let base = 1_u64 << (10 + (byte >> 3));
        return Some(base + base / 8 * u64::from(byte & 7));
    }
    // Then all of the content is the window.
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let length = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let field = rest.get(dictionary..dictionary + length)?;
    let mut bytes = [0; 8];
    bytes[..length].copy_from_slice(field);
    let size = u64::from_le_bytes(bytes);
    // The field of two bytes counts from 256 on.
    Some(if length == 2 { size + 256 } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn packed(log: u32, known: bool) -> Vec<u8> {
        let data = vec![7; 1 << 20];
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.include_contentsize(known).unwrap();
        if known {
            encoder.set_pledged_src_size(Some(data.len() as u64)).unwrap();
        }
        encoder.write_all(&data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_frame_tells_its_window_or_its_size() {
        assert_eq!(window(&packed(20, false)), Some(1 << 20));
        assert_eq!(window(&packed(27, false)), Some(1 << 27));
        assert_eq!(window(&packed(27, true)), Some(1 << 20));
        assert!(window(&zstd::encode_all(&[1; 300][..], 1).unwrap()).is_some());
        assert_eq!((window(b""), window(b"\x28\xb5\x2f\xfd\x20")), (None, None));
    }

    #[test]
    fn large_windows_wait_for_each_other_and_small_ones_for_nobody() {
        let windows = Arc::<Windows>::default();
        let (wide, narrow) = (packed(25, false), packed(20, false));
        let (_, held) = windows.decoder(&wide, &wide[..]).unwrap();
        assert!(held.is_some() && windows.decoder(&narrow, &narrow[..]).unwrap().1.is_none());
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let (mut decoder, _wide) = windows.decoder(&wide, &wide[..]).unwrap();
                decoder.read_to_end(&mut Vec::new()).unwrap()
            });
            drop(held);
            assert_eq!(second.join().unwrap(), 1 << 20);
        });
    }

    #[test]
    fn a_window_over_128_mebibytes_is_refused() {
        let packed = packed(28, false);
        let windows = Arc::<Windows>::default();
        let (mut decoder, _) = windows.decoder(&packed, &packed[..]).unwrap();
        assert!(decoder.read_to_end(&mut Vec::new()).is_err());
    }
}
