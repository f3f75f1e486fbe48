//! Datagrams of a socket that is bound to all addresses. The system chooses from which one it answers.

use std::io;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use super::Caller;

/// Has the system say which address was asked. Does nothing here.
pub(in crate::daemon::net) fn enable(_: &UdpSocket, _v4: bool) -> io::Result<()> {
    Ok(())
}

/// The next datagram: its length, and whose it is.
pub(in crate::daemon::net) fn poll_receive(
    socket: &UdpSocket,
    context: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<(usize, Caller)>> {
    let mut target = ReadBuf::new(buffer);
    let received = socket.poll_recv_from(context, &mut target);
    received.map_ok(|client| (target.filled().len(), Caller { client, asked: None }))
}

/// Answers. What the socket has no room for is an error.
pub(in crate::daemon::net) fn send(socket: &UdpSocket, to: &Caller, payload: &[u8]) -> io::Result<()> {
    SockRef::from(socket).send_to(payload, &to.client.into())?;
    Ok(())
}
