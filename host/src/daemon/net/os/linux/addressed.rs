//! Datagrams of a socket that is bound to all addresses: which one was asked, and answers in its name (`IP_PKTINFO`,
//! ip(7)). Otherwise the kernel takes the address that is nearest to the client, which need not be the one asked.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::task::{Context, Poll, ready};

use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::Caller;
use super::errors::address;

/// Has the kernel say which address was asked.
pub(in crate::daemon::net) fn enable(socket: &UdpSocket, v4: bool) -> io::Result<()> {
    match v4 {
        true => setsockopt(socket, Ipv4PacketInfo, &true)?,
        false => setsockopt(socket, Ipv6RecvPacketInfo, &true)?,
    }
    Ok(())
}

/// The next datagram: its length, and whose it is.
pub(in crate::daemon::net) fn poll_receive(
    socket: &UdpSocket,
    context: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<(usize, Caller)>> {
    loop {
        ready!(socket.poll_recv_ready(context))?;
        match socket.try_io(Interest::READABLE, || receive(socket, buffer)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, Caller)> {
    let mut parts = [IoSliceMut::new(buffer)];
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let client = message.address.as_ref().and_then(address).ok_or(io::ErrorKind::InvalidData)?;
    let asked = message.cmsgs().into_iter().flatten().find_map(|part| match part {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::from(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes())))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into()),
        _ => None,
    });
    // Nobody can answer in the name of a group.
    Ok((message.bytes, Caller { client, asked: asked.filter(|address| !address.is_multicast()) }))
}

/// Answers. What the socket has no room for is an error.
pub(in crate::daemon::net) fn send(socket: &UdpSocket, to: &Caller, payload: &[u8]) -> io::Result<()> {
    let parts = [IoSlice::new(payload)];
    let target = SockaddrStorage::from(to.client);
    let send = |control: &[ControlMessage<'_>]| {
        sendmsg(socket.as_raw_fd(), &parts, control, MsgFlags::MSG_DONTWAIT, Some(&target))
    };
    match to.asked {
        Some(IpAddr::V4(address)) => {
            let spec = libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
            let none = libc::in_addr { s_addr: 0 };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: spec, ipi_addr: none };
            send(&[ControlMessage::Ipv4PacketInfo(&info)])
        }
        Some(IpAddr::V6(address)) => {
            let own = libc::in6_addr { s6_addr: address.octets() };
            send(&[ControlMessage::Ipv6PacketInfo(&libc::in6_pktinfo { ipi6_addr: own, ipi6_ifindex: 0 })])
        }
        None => send(&[]),
    }?;
    Ok(())
}
