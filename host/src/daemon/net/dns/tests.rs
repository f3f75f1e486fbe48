use std::net::IpAddr;

use hickory_resolver::proto::rr::Name;
use holm_api::network::{GATEWAY_V4, HOST_V4, HOST_V6};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = 0x1234;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

async fn ask(dns: &Dns, name: &str, kind: RecordType) -> Message {
    let bytes = dns.answer(&question(name, kind), Transport::Udp).await.unwrap();
    let answer = Message::from_vec(&bytes).unwrap();
    assert_eq!(answer.metadata.id, 0x1234);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    answer
}

fn addresses(message: &Message) -> Vec<IpAddr> {
    message.answers.iter().filter_map(|record| record.data.ip_addr()).collect()
}

/// Servers of tests answer, however long the computer takes to let them.
const NEVER: Duration = Duration::from_secs(60);

fn alone() -> Dns {
    Dns::new(Some(Vec::new()), NEVER)
}

/// Answers every question with 10.9.8.7, truncated over UDP if `truncate`.
async fn server(truncate: bool) -> (Dns, AbortOnDropHandle<()>) {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(address).await.unwrap();
    let answer = |bytes: &[u8]| {
        let request = Message::from_vec(bytes).unwrap();
        let question = request.queries[0].clone();
        with_addresses(&request, &question, &[[10, 9, 8, 7].into()])
    };
    let task = tokio::spawn(async move {
        let mut bytes = [0; 512];
        loop {
            tokio::select! {
                received = udp.recv_from(&mut bytes) => {
                    let (count, from) = received.unwrap();
                    let mut reply = answer(&bytes[..count]);
                    // Spoofed ones come first: another id, then another question.
                    let mut wrong = reply.clone();
                    wrong.metadata.id ^= 1;
                    udp.send_to(&wrong.to_vec().unwrap(), from).await.unwrap();
                    let other = Query::query(Name::from_ascii("evil.").unwrap(), RecordType::A);
                    let mut wrong = reply.clone();
                    wrong.queries = vec![other];
                    udp.send_to(&wrong.to_vec().unwrap(), from).await.unwrap();
                    if truncate {
                        reply = reply.truncate();
                    }
                    udp.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
                }
                accepted = tcp.accept() => {
                    let mut stream = accepted.unwrap().0;
                    let count = stream.read_u16().await.unwrap().into();
                    stream.read_exact(&mut bytes[..count]).await.unwrap();
                    let reply = answer(&bytes[..count]).to_vec().unwrap();
                    stream.write_u16(reply.len() as u16).await.unwrap();
                    stream.write_all(&reply).await.unwrap();
                }
            }
        }
    });
    (Dns::new(Some(vec![address]), NEVER), AbortOnDropHandle::new(task))
}

#[tokio::test]
async fn the_host_is_found_by_its_names_whatever_their_case() {
    let dns = alone();
    for name in ["host.docker.internal", "HOST.docker.Internal.", "host.holm.internal."] {
        assert_eq!(addresses(&ask(&dns, name, RecordType::A).await), [IpAddr::from(HOST_V4)]);
        assert_eq!(addresses(&ask(&dns, name, RecordType::AAAA).await), [IpAddr::from(HOST_V6)]);
    }
    let gateway = ask(&dns, "gateway.docker.internal.", RecordType::A).await;
    assert_eq!(addresses(&gateway), [IpAddr::from(GATEWAY_V4)]);
}

#[tokio::test]
async fn another_kind_of_record_of_a_known_name_is_an_empty_answer() {
    let answer = ask(&alone(), "host.docker.internal.", RecordType::MX).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert!(answer.answers.is_empty());
}

#[tokio::test]
async fn localhost_is_whoever_asks() {
    let answer = ask(&alone(), "localhost.", RecordType::A).await;
    assert_eq!(addresses(&answer), [IpAddr::from([127, 0, 0, 1])]);
}

#[tokio::test]
async fn without_a_server_the_answer_is_a_failure_and_not_silence() {
    let answer = ask(&alone(), "example.com.", RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn other_names_are_asked_outside_and_forged_answers_are_not_believed() {
    let (dns, _server) = server(false).await;
    let answer = ask(&dns, "example.com.", RecordType::A).await;
    assert_eq!(addresses(&answer), [IpAddr::from([10, 9, 8, 7])]);
}

#[tokio::test]
async fn a_truncated_answer_is_passed_on_by_udp_and_fetched_by_tcp() {
    let (dns, _server) = server(true).await;
    let by_udp = ask(&dns, "example.com.", RecordType::A).await;
    assert!(by_udp.metadata.truncation && by_udp.answers.is_empty());
    let query = question("example.com.", RecordType::A);
    let by_tcp = Message::from_vec(&dns.answer(&query, Transport::Tcp).await.unwrap()).unwrap();
    assert_eq!(addresses(&by_tcp), [IpAddr::from([10, 9, 8, 7])]);
}

#[tokio::test]
async fn a_stream_answers_one_question_after_the_other() {
    let (mut stream, _task) = alone().stream();
    for _ in 0..3 {
        let query = question("host.docker.internal.", RecordType::A);
        stream.write_u16(query.len() as u16).await.unwrap();
        stream.write_all(&query).await.unwrap();
        let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(addresses(&Message::from_vec(&answer).unwrap()), [IpAddr::from(HOST_V4)]);
    }
}

#[tokio::test]
async fn what_is_no_question_gets_an_error_or_nothing() {
    let dns = alone();
    assert_eq!(dns.answer(b"short", Transport::Udp).await, None);
    let mut response = question("a.", RecordType::A);
    response[2] |= 0x80;
    assert_eq!(dns.answer(&response, Transport::Udp).await, None);
    let mut cut = question("host.docker.internal.", RecordType::A);
    cut.truncate(20);
    let answer = Message::from_vec(&dns.answer(&cut, Transport::Udp).await.unwrap()).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
}
