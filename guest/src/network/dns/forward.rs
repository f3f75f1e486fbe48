//! Questions that are not ours to answer, passed on message for message, so that every record type and EDNS option
//! passes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::answer::Transport;
use crate::network::Namespace;

/// How long one server may take (moby's `extIOTimeout`).
const PATIENCE: Duration = Duration::from_secs(4);
/// More are never asked (moby's `maxExtDNS`).
const MOST_SERVERS: usize = 3;
const PORT: u16 = 53;
/// Bytes of the largest message.
const LONGEST: usize = 65_535;

/// Who knows the rest.
#[derive(Clone, Debug, Default)]
pub struct Upstream {
    /// In order.
    pub servers: Vec<IpAddr>,
    /// Ask from within it: the container's own choice may be on its own networks, or itself. `None`: from the machine.
    pub from: Option<Namespace>,
}

impl Upstream {
    /// The first good answer. `None` where nobody has one.
    pub(super) async fn ask(&self, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
        for server in self.servers.iter().take(MOST_SERVERS) {
            let server = SocketAddr::new(*server, PORT);
            let answer = match transport {
                Transport::Udp => timeout(PATIENCE, self.by_datagram(server, message)).await,
                Transport::Tcp => timeout(PATIENCE, self.by_stream(server, message)).await,
            };
            if let Ok(Ok(answer)) = answer
                && is_good(message, &answer)
            {
                return Some(answer);
            }
        }
        None
    }

    async fn by_datagram(&self, server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
        let open = move || {
            let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let socket = std::net::UdpSocket::bind((any, 0))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = match &self.from {
            Some(namespace) => namespace.enter(open).await?,
            None => open()?,
        };
        let socket = UdpSocket::from_std(socket)?;
        // What others send to this port is not even seen.
        socket.connect(server).await?;
        socket.send(message).await?;
        let mut answer = vec![0; LONGEST];
        loop {
            let length = socket.recv(&mut answer).await?;
            if is_answer(message, &answer[..length]) {
                answer.truncate(length);
                return Ok(answer);
            }
        }
    }

    async fn by_stream(&self, server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
        let open = move || {
            let domain = socket2::Domain::for_address(server);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM.nonblocking(), None)?;
            Ok(std::net::TcpStream::from(socket))
        };
        let socket = match &self.from {
            Some(namespace) => namespace.enter(open).await?,
            None => open()?,
        };
        let mut stream: TcpStream = tokio::net::TcpSocket::from_std_stream(socket).connect(server).await?;
        let length = u16::try_from(message.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
        let mut answer = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }
}

/// Whether it is the answer to this question.
fn is_answer(message: &[u8], answer: &[u8]) -> bool {
    let (Ok(asked), Ok(told)) = (Message::from_vec(message), Message::from_vec(answer)) else { return false };
    told.metadata.message_type == MessageType::Response
        && told.metadata.id == asked.metadata.id
        && told.queries.iter().all(|query| asked.queries.contains(query))
}

/// Whether no other server has to be asked.
fn is_good(message: &[u8], answer: &[u8]) -> bool {
    let code = Message::from_vec(answer).map(|answer| answer.metadata.response_code);
    is_answer(message, answer) && !matches!(code, Ok(ResponseCode::ServFail | ResponseCode::Refused) | Err(_))
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::op::{OpCode, Query};
    use hickory_resolver::proto::rr::{Name, RecordType};

    use super::*;

    fn message(id: u16, kind: MessageType, name: &str) -> Vec<u8> {
        let mut message = Message::new(id, kind, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        message.to_vec().unwrap()
    }

    #[test]
    fn only_the_answer_to_the_question_is_one() {
        let asked = message(7, MessageType::Query, "a.");
        assert!(is_answer(&asked, &message(7, MessageType::Response, "a.")));
        assert!(!is_answer(&asked, &message(8, MessageType::Response, "a.")));
        assert!(!is_answer(&asked, &message(7, MessageType::Response, "b.")));
        assert!(!is_answer(&asked, &asked));
        assert!(!is_answer(&asked, b"what"));
    }
}
