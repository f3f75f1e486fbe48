//! A machine's stream as the descriptor that it is, for threads that wait in the kernel and not in a runtime.

use std::any::Any;
use std::io;

use holm_vmm::Stream;
use socket2::Socket;
use tokio::net::UnixStream;

/// The stream's socket, whose reads and writes wait from now on; the stream itself where it has none.
pub(crate) fn into_socket(stream: Stream) -> io::Result<Result<Socket, Stream>> {
    if !(&*stream as &dyn Any).is::<UnixStream>() {
        return Ok(Err(stream));
    }
    let stream: Box<dyn Any> = stream;
    let stream = stream.downcast::<UnixStream>().map_err(|_| io::ErrorKind::InvalidInput)?.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(Ok(stream.into()))
}
