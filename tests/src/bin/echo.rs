//! The one program of the image `echo`: a server for tests of published ports, on IPv4 and IPv6.
//!
//! TCP: 7 sends back what comes and ends when the client has; 8 tells the client its address; 9 resets whoever says
//! something; 10 reads nothing. UDP: 7 sends back what comes. It says `ready` when all of them listen. A number as
//! its argument is added to all ports.

use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread;

use rustix::net::sockopt::set_socket_linger;

/// A thousand clients are a thousand threads.
const STACK: usize = 64 << 10;

fn main() -> io::Result<()> {
    let base: u16 = std::env::args().nth(1).map_or(Ok(0), |text| text.parse().map_err(io::Error::other))?;
    let udp = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, base + 7))?;
    let mut all = vec![thread::spawn(move || datagrams(&udp))];
    for (port, talk) in [(7, echo as fn(TcpStream) -> io::Result<()>), (8, tell), (9, reset), (10, ignore)] {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, base + port))?;
        all.push(thread::spawn(move || serve(&listener, talk)));
    }
    println!("ready");
    all.into_iter().try_for_each(|server| server.join().unwrap_or(Ok(())))
}

fn serve(listener: &TcpListener, talk: fn(TcpStream) -> io::Result<()>) -> io::Result<()> {
    loop {
        let stream = listener.accept()?.0;
        thread::Builder::new().stack_size(STACK).spawn(move || {
            if let Err(error) = talk(stream) {
                println!("{error}");
            }
        })?;
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    loop {
        match stream.read(&mut buffer)? {
            0 => return stream.shutdown(Shutdown::Write),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

fn tell(mut stream: TcpStream) -> io::Result<()> {
    let address = stream.peer_addr()?.ip().to_canonical();
    write!(stream, "{address}")
}

fn reset(mut stream: TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0])?;
    Ok(set_socket_linger(&stream, Some(std::time::Duration::ZERO))?)
}

fn ignore(stream: TcpStream) -> io::Result<()> {
    // Until the client has gone.
    stream.peek(&mut [0])?;
    loop {
        thread::park();
    }
}

fn datagrams(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 64 << 10];
    loop {
        let (count, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..count], from)?;
    }
}
