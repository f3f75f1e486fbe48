//! What images ask of the place where layers are unpacked. The engine introduces the two: `snapshot` does not
//! know images, and images do not know how a layer is laid out on disk.

use std::io::{self, Read};

use holm_api::Digest;

/// Keeps unpacked layers, each under the digest of its uncompressed tar (its diff id).
///
/// Every method may block on the disk; none may be called from an async task.
pub(crate) trait LayerSink: Send + Sync + 'static {
    /// Whether the layer is there, whole.
    fn holds(&self, diff_id: &Digest) -> bool;

    /// Unpacks `tar`, whose digest `found` tells when its end was read, and returns the bytes that its files have.
    /// Reads to the end of the stream; an error of
    /// the stream, its very last read included, leaves nothing behind. That is how a digest that does not
    /// fit is told. The layer is visible when this returns, durable after [`LayerSink::sync`]. Where two
    /// callers unpack one layer at the same time, one of the two copies stays.
    fn unpack_as(&self, tar: &mut dyn Read, found: &dyn Fn() -> io::Result<Digest>) -> io::Result<u64>;

    /// Likewise, where the digest is known before, and the stream checks it.
    fn unpack(&self, diff_id: &Digest, tar: &mut dyn Read) -> io::Result<u64> {
        self.unpack_as(tar, &|| Ok(*diff_id))
    }

    /// Makes all layers durable.
    fn sync(&self) -> io::Result<()>;

    /// Removes a layer; one that is not there is no error.
    fn remove(&self, diff_id: &Digest) -> io::Result<()>;

    /// All layers that are there.
    fn list(&self) -> io::Result<Vec<Digest>>;
}
