//! What is answered to a container's question: from the directory, or that somebody else has to be asked. Pure.

use std::net::IpAddr;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::PTR;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use holm_api::ContainerId;

use super::directory::Directory;
use crate::network::Family;

/// Seconds for which answers hold, as moby tells.
const LIFETIME: u32 = 600;
/// Bytes of a datagram that every client takes (RFC 1035).
const SHORTEST_LIMIT: usize = 512;

/// How a question came, which decides how long an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) container: ContainerId,
    /// Names without a dot are only ours to know: the container set `ndots` itself.
    pub(super) short_names_are_ours: bool,
}

/// What comes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// This.
    Answer(Vec<u8>),
    /// Others know.
    Forward,
    /// It is no question.
    Ignore,
}

/// The outcome of a message.
pub(super) fn answer(directory: &Directory, asker: &Asker, message: &[u8], transport: Transport) -> Outcome {
    let Ok(request) = Message::from_vec(message) else { return Outcome::Ignore };
    let (MessageType::Query, [question]) = (request.metadata.message_type, &request.queries[..]) else {
        return Outcome::Ignore;
    };
    if request.metadata.op_code != OpCode::Query {
        return encoded(&reply(&request, ResponseCode::NotImp, Vec::new()), transport, &request);
    }
    match records(directory, asker, question) {
        Some(records) => encoded(&reply(&request, ResponseCode::NoError, records), transport, &request),
        None => Outcome::Forward,
    }
}

/// A refusal of a question.
pub(super) fn refusal(message: &[u8], code: ResponseCode) -> Option<Vec<u8>> {
    let request = Message::from_vec(message).ok()?;
    reply(&request, code, Vec::new()).to_vec().ok()
}

fn records(directory: &Directory, asker: &Asker, question: &Query) -> Option<Vec<Record>> {
    let text = question.name().to_ascii();
    let name = text.strip_suffix('.').unwrap_or(&text);
    let find = |family| directory.find(&asker.container, name, family);
    let kind = question.query_type();
    let known = match kind {
        RecordType::A => find(Family::V4).map(|found| addresses(question, found)),
        RecordType::AAAA => find(Family::V6).map(|found| addresses(question, found)),
        // Whoever is one of ours takes no mail; asking outside would tell its name to strangers.
        RecordType::MX => find(Family::V4).map(|_| Vec::new()),
        RecordType::PTR => {
            let address = question.name().parse_arpa_name().ok().filter(is_whole)?.addr();
            let name = directory.reverse(&asker.container, address)?;
            let target = Name::from_ascii(format!("{name}.")).ok()?;
            Some(vec![record(question, RData::PTR(PTR(target)))])
        }
        _ => None,
    };
    let ours_alone = asker.short_names_are_ours && !name.contains('.');
    match known {
        None if ours_alone && matches!(kind, RecordType::A | RecordType::AAAA) => Some(Vec::new()),
        known => known,
    }
}

/// Not that of a whole subnet.
fn is_whole(net: &ipnet::IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}

fn addresses(question: &Query, found: Vec<IpAddr>) -> Vec<Record> {
    let data = found.into_iter().map(|address| match address {
        IpAddr::V4(address) => RData::A(address.into()),
        IpAddr::V6(address) => RData::AAAA(address.into()),
    });
    data.map(|data| record(question, data)).collect()
}

fn record(question: &Query, data: RData) -> Record {
    Record::from_rdata(question.name().clone(), LIFETIME, data)
}

fn reply(request: &Message, code: ResponseCode, records: Vec<Record>) -> Message {
    let mut reply = Message::response(request.metadata.id, request.metadata.op_code);
    reply.metadata.recursion_desired = request.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.add_queries(request.queries.iter().cloned());
    reply.add_answers(records);
    reply
}

fn encoded(reply: &Message, transport: Transport, request: &Message) -> Outcome {
    let limit = match transport {
        Transport::Tcp => usize::from(u16::MAX),
        Transport::Udp => {
            request.edns.as_ref().map_or(0, |edns| edns.max_payload().into()).max(SHORTEST_LIMIT)
        }
    };
    let bytes = reply.to_vec().ok().filter(|bytes| bytes.len() <= limit);
    match bytes.or_else(|| reply.truncate().to_vec().ok()) {
        Some(bytes) => Outcome::Answer(bytes),
        None => Outcome::Ignore,
    }
}

#[cfg(test)]
mod tests {
    use super::super::directory::tests::{id, on};
    use super::*;

    fn asker(short_names_are_ours: bool) -> Asker {
        Asker { container: id(1), short_names_are_ours }
    }

    fn directory() -> Directory {
        let directory = Directory::default();
        directory.set(&id(1), vec![on("net", &["web"], &["10.1.0.2", "fd00::2"])]);
        directory.set(&id(2), vec![on("net", &["db"], &["10.1.0.3"])]);
        directory
    }

    fn ask(name: &str, kind: RecordType, ours: bool) -> Option<Vec<String>> {
        let mut query = Message::new(7, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        match answer(&directory(), &asker(ours), &query.to_vec().unwrap(), Transport::Udp) {
            Outcome::Forward => None,
            Outcome::Ignore => panic!("a question is answered"),
            Outcome::Answer(bytes) => {
                let reply = Message::from_vec(&bytes).unwrap();
                assert_eq!((reply.metadata.id, reply.metadata.response_code), (7, ResponseCode::NoError));
                Some(reply.answers.iter().map(|record| record.data.to_string()).collect())
            }
        }
    }

    #[test]
    fn names_and_addresses_of_the_network_are_answered_and_the_rest_is_not_ours() {
        assert_eq!(ask("db.", RecordType::A, false).unwrap(), ["10.1.0.3"]);
        assert_eq!(ask("WEB.", RecordType::AAAA, false).unwrap(), ["fd00::2"]);
        assert_eq!(ask("3.0.1.10.in-addr.arpa.", RecordType::PTR, false).unwrap(), ["db.net."]);
        assert_eq!(ask("9.0.1.10.in-addr.arpa.", RecordType::PTR, false), None);
        assert_eq!(ask("example.com.", RecordType::A, false), None);
        assert_eq!(ask("db.", RecordType::TXT, false), None);
    }

    #[test]
    fn one_without_an_address_of_the_family_is_still_known() {
        assert_eq!(ask("db.", RecordType::AAAA, false), Some(Vec::new()));
        assert_eq!(ask("db.", RecordType::MX, false), Some(Vec::new()));
    }

    #[test]
    fn names_without_a_dot_stay_here_where_the_container_wants_that() {
        assert_eq!(ask("stranger.", RecordType::A, false), None);
        assert_eq!(ask("stranger.", RecordType::A, true), Some(Vec::new()));
    }

    #[test]
    fn an_answer_that_is_too_long_for_a_datagram_says_so() {
        let directory = directory();
        let many: Vec<String> = (0..100).map(|number| format!("10.1.1.{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        directory.set(&id(3), vec![on("net", &["many"], &many)]);
        let mut query = Message::new(7, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(Name::from_ascii("many.").unwrap(), RecordType::A));
        let bytes = query.to_vec().unwrap();
        let answered = |transport| match answer(&directory, &asker(false), &bytes, transport) {
            Outcome::Answer(bytes) => Message::from_vec(&bytes).unwrap(),
            other => panic!("{other:?}"),
        };
        assert!(answered(Transport::Udp).metadata.truncation);
        assert_eq!(answered(Transport::Tcp).answers.len(), 100);
    }
}

#[cfg(test)]
mod fuzz {
    use super::super::directory::tests::id;
    use super::*;

    #[test]
    fn whatever_a_container_sends_is_a_question_or_not() {
        bolero::check!().for_each(|message: &[u8]| {
            let asker = Asker { container: id(1), short_names_are_ours: true };
            let _ = answer(&Directory::default(), &asker, message, Transport::Udp);
            let _ = refusal(message, ResponseCode::Refused);
        });
    }
}
