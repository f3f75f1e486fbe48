//! A guest that speaks the protocol byte by byte.

use std::collections::VecDeque;

use holm_api::ContainerId;
use holm_api::link::{LENGTH_PREFIX, decode, encode, parse_length};
use holm_api::services::{MOST_WAITING, Reply, Request};
use holm_vmm::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use super::*;

const TOKEN: Token = Token([9; Token::LENGTH]);

/// Streams that were dialled already, then none.
struct Dialled(VecDeque<Stream>);

impl Listener for Dialled {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async {
            match self.0.pop_front() {
                Some(stream) => Ok(stream),
                None => future::pending().await,
            }
        })
    }
}

/// Answers `Keep` at once, and everything else when it is let.
struct Slow(Semaphore);

impl Serve for Slow {
    async fn serve(&self, ask: Ask) -> Answer {
        if !matches!(ask, Ask::Keep(_)) {
            self.0.acquire().await.unwrap().forget();
        }
        Answer::Done
    }
}

/// A host, and `count` streams to it.
fn host(count: usize) -> (Vec<DuplexStream>, Arc<Slow>, AbortOnDropHandle<Infallible>) {
    let (mut guests, mut hosts) = (Vec::new(), VecDeque::new());
    for _ in 0..count {
        let (guest, host) = tokio::io::duplex(1 << 16);
        guests.push(guest);
        hosts.push_back(Box::new(host) as Stream);
    }
    let services = Arc::new(Slow(Semaphore::new(0)));
    let running = run(Box::new(Dialled(hosts)), TOKEN, services.clone());
    (guests, services, AbortOnDropHandle::new(tokio::spawn(running)))
}

fn keep(id: u64) -> Vec<u8> {
    encode(&Request { id, ask: Ask::Keep(Vec::new()) }).unwrap()
}

fn close(id: u64) -> Vec<u8> {
    encode(&Request { id, ask: Ask::ClosePorts(ContainerId::from_bytes([1; 32])) }).unwrap()
}

async fn reply(guest: &mut DuplexStream) -> u64 {
    let mut prefix = [0; LENGTH_PREFIX];
    guest.read_exact(&mut prefix).await.unwrap();
    let mut bytes = vec![0; parse_length(prefix).unwrap()];
    guest.read_exact(&mut bytes).await.unwrap();
    decode::<Reply>(&bytes).unwrap().id
}

#[tokio::test]
async fn a_quick_request_overtakes_a_slow_one() {
    let (mut guests, services, _host) = host(1);
    let guest = &mut guests[0];
    for bytes in [&TOKEN.0[..], &close(1), &keep(2)] {
        guest.write_all(bytes).await.unwrap();
    }
    assert_eq!(reply(guest).await, 2);
    services.0.add_permits(1);
    assert_eq!(reply(guest).await, 1);
}

#[tokio::test]
async fn a_newer_stream_takes_the_place_of_the_older_one() {
    let (mut guests, _services, _host) = host(2);
    guests[0].write_all(&TOKEN.0).await.unwrap();
    guests[0].write_all(&keep(1)).await.unwrap();
    assert_eq!(reply(&mut guests[0]).await, 1);
    guests[1].write_all(&TOKEN.0).await.unwrap();
    assert_eq!(guests[0].read(&mut [0]).await.unwrap(), 0, "closed");
    guests[1].write_all(&keep(2)).await.unwrap();
    assert_eq!(reply(&mut guests[1]).await, 2);
}

#[tokio::test]
async fn without_the_token_nobody_is_heard_and_nobody_is_kept_waiting() {
    let (mut guests, _services, _host) = host(3);
    guests[1].write_all(&[8; Token::LENGTH]).await.unwrap();
    assert_eq!(guests[1].read(&mut [0]).await.unwrap(), 0, "a wrong token");
    // The first one has said nothing all the time.
    guests[2].write_all(&TOKEN.0).await.unwrap();
    guests[2].write_all(&keep(3)).await.unwrap();
    assert_eq!(reply(&mut guests[2]).await, 3);
}

#[tokio::test]
async fn what_breaks_the_rules_ends_the_stream() {
    let mut many = Vec::new();
    (0..=MOST_WAITING as u64).for_each(|id| many.extend(close(id)));
    let garbage = [&3u32.to_be_bytes()[..], b"{]}"].concat();
    for bytes in [many, garbage, vec![0xff; 4]] {
        let (mut guests, _services, _host) = host(1);
        guests[0].write_all(&TOKEN.0).await.unwrap();
        guests[0].write_all(&bytes).await.unwrap();
        assert_eq!(guests[0].read(&mut [0]).await.unwrap(), 0);
    }
}
