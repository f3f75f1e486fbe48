//! The DNS server at the gateway's address. It knows a few names itself and asks the host for the rest.
//!
//! Order, for each question:
//! 1. `host.docker.internal` and its like, `localhost`: answered here, so nobody outside can change them.
//! 2. The host's hosts file, for A and AAAA: it overrides DNS on the host, so it does here. It is read rather
//!    than asked for through getaddrinfo, which would answer from DNS too, and lose aliases and lifetimes.
//! 3. `.local`, which no DNS server may answer: getaddrinfo, so the host's mDNS does.
//! 4. The host's DNS servers, message for message, so every record type and EDNS option passes.
//! 5. Where none of them answers, getaddrinfo for A and AAAA, which may know other ways; else SERVFAIL.

mod forward;
mod hosts;
mod local;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::{DNSClass, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use self::forward::Forwarder;
use self::hosts::HostsFile;

/// Where DNS servers listen.
pub(super) const PORT: u16 = 53;
/// Questions under way at once; more are answered SERVFAIL.
const MOST_WAITING: usize = 512;
/// The host's own lookup has no limit of its own.
const LOOKUP_LIMIT: Duration = Duration::from_secs(4);
/// A client's TCP connection may be quiet for so long.
const STREAM_IDLE: Duration = Duration::from_secs(30);
/// Seconds for which clients may keep answers that come from no DNS server.
const LIFETIME: u32 = 30;
/// Bytes buffered between a client's connection and the server.
const STREAM_BUFFER: usize = 16 << 10;

/// How a question came, which decides how long an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// A datagram.
    Udp,
    /// A stream.
    Tcp,
}

/// The server. Clones are the same one.
#[derive(Clone)]
pub(super) struct Dns(Arc<Server>);

struct Server {
    forwarder: Forwarder,
    hosts: Option<HostsFile>,
    places: Semaphore,
}

impl Dns {
    /// A server that asks `resolvers`, and no other way of the host's to find a name; `None`: as the host does. Each
    /// of them may take `attempt`.
    pub(super) fn new(resolvers: Option<Vec<SocketAddr>>, attempt: Duration) -> Self {
        let hosts = resolvers.is_none().then(HostsFile::system);
        let forwarder = Forwarder::new(resolvers, attempt);
        Self(Arc::new(Server { forwarder, hosts, places: Semaphore::new(MOST_WAITING) }))
    }

    /// The answer to a message; `None` to one that deserves none.
    pub(super) async fn answer(&self, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let Ok(request) = Message::from_vec(message) else {
            return format_error(message);
        };
        if request.metadata.message_type != MessageType::Query {
            return None;
        }
        let reply = if request.metadata.op_code != OpCode::Query {
            reply(&request, ResponseCode::NotImp)
        } else if let [question] = &request.queries[..] {
            let Ok(_place) = self.0.places.try_acquire() else {
                return reply(&request, ResponseCode::ServFail).to_vec().ok();
            };
            match self.0.resolve(&request, question, message, transport).await {
                Resolved::Here(reply) => reply,
                Resolved::Forwarded(bytes) => return Some(bytes),
            }
        } else {
            reply(&request, ResponseCode::FormErr)
        };
        reply.to_vec().ok()
    }

    /// A connection to this server, and the task that serves it.
    pub(super) fn stream(&self) -> (DuplexStream, AbortOnDropHandle<()>) {
        let (client, server) = tokio::io::duplex(STREAM_BUFFER);
        let dns = self.clone();
        let task = tokio::spawn(async move {
            // Whatever went wrong, the client sees the connection end.
            let _ = serve_stream(dns, server).await;
        });
        (client, AbortOnDropHandle::new(task))
    }
}

/// Answers one question after the other (RFC 7766), until the client stops or is too slow.
async fn serve_stream(dns: Dns, mut stream: DuplexStream) -> std::io::Result<()> {
    while let Ok(length) = timeout(STREAM_IDLE, stream.read_u16()).await? {
        let mut message = vec![0; length.into()];
        timeout(STREAM_IDLE, stream.read_exact(&mut message)).await??;
        let Some(answer) = dns.answer(&message, Transport::Tcp).await else { break };
        let Ok(length) = u16::try_from(answer.len()) else { break };
        // In one piece: some clients take the length and the answer for one segment.
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        timeout(STREAM_IDLE, stream.write_all(&framed)).await??;
    }
    stream.shutdown().await
}

enum Resolved {
    Here(Message),
    Forwarded(Vec<u8>),
}

impl Server {
    async fn resolve(
        &self,
        request: &Message,
        question: &Query,
        message: &[u8],
        transport: Transport,
    ) -> Resolved {
        let kind = question.query_type();
        let address =
            question.query_class() == DNSClass::IN && matches!(kind, RecordType::A | RecordType::AAAA);
        if let Some(addresses) = local::lookup(question.name()) {
            return Resolved::Here(with_addresses(request, question, &addresses));
        }
        if address
            && let Some(hosts) = &self.hosts
            && let Some(addresses) = hosts.lookup(question)
        {
            return Resolved::Here(with_addresses(request, question, &addresses));
        }
        let system = address && self.hosts.is_some();
        if system && local::is_multicast_dns(question.name()) {
            return Resolved::Here(ask_system(request, question, ResponseCode::NXDomain).await);
        }
        match self.forwarder.forward(message, transport).await {
            Ok(bytes) => Resolved::Forwarded(bytes),
            Err(error) => {
                tracing::debug!(name = %question.name(), %error, "no DNS server answers");
                Resolved::Here(match system {
                    true => ask_system(request, question, ResponseCode::ServFail).await,
                    false => reply(request, ResponseCode::ServFail),
                })
            }
        }
    }
}

/// Asks as any program on the host would. `otherwise` is what a name that is not found means.
async fn ask_system(request: &Message, question: &Query, otherwise: ResponseCode) -> Message {
    let name = question.name().to_ascii();
    let name = name.trim_end_matches('.');
    match timeout(LOOKUP_LIMIT, tokio::net::lookup_host((name, 0))).await {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.map(|address| local::seen_from_guest(address.ip())).collect();
            with_addresses(request, question, &addresses)
        }
        Ok(Err(_)) => reply(request, otherwise),
        Err(_) => reply(request, ResponseCode::ServFail),
    }
}

/// The start of an answer to `request`.
fn reply(request: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::response(request.metadata.id, request.metadata.op_code);
    reply.metadata.recursion_desired = request.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.add_queries(request.queries.iter().cloned());
    reply
}

/// The answer with those of `addresses` that the question is about, perhaps none.
fn with_addresses(request: &Message, question: &Query, addresses: &[std::net::IpAddr]) -> Message {
    let mut reply = reply(request, ResponseCode::NoError);
    for address in addresses {
        let data = RData::from(*address);
        if data.record_type() == question.query_type() {
            reply.add_answer(Record::from_rdata(question.name().clone(), LIFETIME, data));
        }
    }
    reply
}

/// The answer to a message that cannot be read, if as much as its header can.
fn format_error(message: &[u8]) -> Option<Vec<u8>> {
    let header = message.first_chunk::<12>()?;
    let is_query = header[2] & 0x80 == 0;
    let id = u16::from_be_bytes([header[0], header[1]]);
    is_query.then(|| Message::error_msg(id, OpCode::Query, ResponseCode::FormErr).to_vec().ok())?
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn no_message_breaks_the_server() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dns = Dns::new(Some(Vec::new()), Duration::MAX);
        bolero::check!().for_each(|bytes: &[u8]| {
            runtime.block_on(dns.answer(bytes, Transport::Udp));
        });
    }
}
