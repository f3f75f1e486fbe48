//! Handing a question to the host's DNS servers and their answer back, byte for byte but for the id.
//!
//! Every attempt has a socket, so a port, and an id of its own (RFC 5452), and an answer counts only if it
//! comes from the server that was asked and repeats the question.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::proto::op::{Header, Query};
use hickory_resolver::proto::serialize::binary::{BinDecodable, BinDecoder};
use hickory_resolver::system_conf::read_system_conf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use super::{PORT, Transport};

/// Attempts for one question, over all servers in turn.
const ATTEMPTS: usize = 3;
/// How long the host's configuration is believed: a VPN that comes up changes it.
const BELIEVED: Duration = Duration::from_secs(2);
/// Bytes of a message's header.
const HEADER: usize = 12;

/// Asks the host's servers.
pub(super) struct Forwarder {
    /// `None`: those of the host's configuration.
    fixed: Option<Vec<SocketAddr>>,
    /// How long one server may take.
    attempt: Duration,
    read: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
    ids: RandomState,
}

impl Forwarder {
    pub(super) fn new(fixed: Option<Vec<SocketAddr>>, attempt: Duration) -> Self {
        Self { fixed, attempt, read: Mutex::new(None), ids: RandomState::new() }
    }

    /// The answer to `message`, a query with one question.
    pub(super) async fn forward(&self, message: &[u8], transport: Transport) -> io::Result<Vec<u8>> {
        let question = question_end(message).ok_or(io::ErrorKind::InvalidData)?;
        let servers = self.servers().await;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no DNS servers");
        for server in servers.iter().cycle().take(if servers.is_empty() { 0 } else { ATTEMPTS }) {
            match self.ask(*server, message, question, transport).await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask(
        &self,
        server: SocketAddr,
        message: &[u8],
        question: usize,
        transport: Transport,
    ) -> io::Result<Vec<u8>> {
        let mut query = message.to_vec();
        let id = (self.ids.hash_one((Instant::now(), server)) as u16).to_be_bytes();
        query[..2].copy_from_slice(&id);
        let mut answer = timeout(self.attempt, over_udp(server, &query, question)).await??;
        let truncated = answer[2] & 0x02 != 0;
        // A client that came by UDP is told so, and comes again by TCP.
        if truncated && transport == Transport::Tcp {
            answer = timeout(self.attempt, over_tcp(server, &query, question)).await??;
        }
        answer[..2].copy_from_slice(&message[..2]);
        Ok(answer)
    }

    async fn servers(&self) -> Vec<SocketAddr> {
        if let Some(servers) = &self.fixed {
            return servers.clone();
        }
        let known = self.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some((when, servers)) if when.elapsed() < BELIEVED => servers,
            _ => {
                let servers = tokio::task::spawn_blocking(system_servers).await.unwrap_or_default();
                let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
                *read = Some((Instant::now(), servers.clone()));
                servers
            }
        }
    }
}

fn system_servers() -> Vec<SocketAddr> {
    match read_system_conf() {
        Ok((config, _)) => {
            config.name_servers().iter().map(|server| SocketAddr::new(server.ip, PORT)).collect()
        }
        Err(error) => {
            tracing::debug!(%error, "cannot read the host's DNS configuration");
            Vec::new()
        }
    }
}

/// Where a message's only question ends.
fn question_end(message: &[u8]) -> Option<usize> {
    let mut decoder = BinDecoder::new(message);
    Header::read(&mut decoder).ok()?;
    Query::read(&mut decoder).ok()?;
    Some(decoder.index())
}

/// Whether `answer` answers `query`, whose question ends at `question`.
fn answers(answer: &[u8], query: &[u8], question: usize) -> bool {
    answer.len() >= HEADER
        && answer[..2] == query[..2]
        && answer[2] & 0x80 != 0
        // A server that refuses outright may leave the question out.
        && match answer.get(HEADER..question) {
            Some(repeated) => repeated.eq_ignore_ascii_case(&query[HEADER..question]),
            None => answer[4..6] == [0, 0],
        }
}

async fn over_udp(server: SocketAddr, query: &[u8], question: usize) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut answer = vec![0; usize::from(u16::MAX)];
    loop {
        let count = socket.recv(&mut answer).await?;
        if answers(&answer[..count], query, question) {
            return Ok(answer[..count].to_vec());
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8], question: usize) -> io::Result<Vec<u8>> {
    let length = u16::try_from(query.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut stream = TcpStream::connect(server).await?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(query);
    stream.write_all(&framed).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    if answers(&answer, query, question) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}
