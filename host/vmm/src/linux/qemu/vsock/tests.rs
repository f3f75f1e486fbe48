use super::*;

use std::future::{Future, poll_fn};
use std::task::Poll;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vhost_user_backend::{VringMutex, VringT};
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace};

use super::backend::GUEST_CID;
use crate::vsock::{HEADER_SIZE, HOST_CID, Header, Operation};

const SIZE: u16 = 64;
/// Bytes of each of the guest's buffers.
const BUFFER: u32 = 4096;

/// A driver's end of a queue: descriptor `i` is always buffer `i`.
struct Ring {
    base: u64,
    buffers: u64,
    added: u16,
    seen: u16,
}

impl Ring {
    fn avail(&self) -> u64 {
        self.base + 16 * u64::from(SIZE)
    }

    fn used(&self) -> u64 {
        self.base + 0x1000
    }

    fn buffer(&self, index: u16) -> u64 {
        self.buffers + u64::from(index) * u64::from(BUFFER)
    }

    /// Gives the device the buffer `index`, of which `length` bytes count.
    fn add(&mut self, memory: &GuestMemoryMmap, index: u16, length: u32, writable: bool) {
        let descriptor = self.base + 16 * u64::from(index);
        memory.write_obj(self.buffer(index), GuestAddress(descriptor)).unwrap();
        memory.write_obj(length, GuestAddress(descriptor + 8)).unwrap();
        memory.write_obj(if writable { 2_u16 } else { 0 }, GuestAddress(descriptor + 12)).unwrap();
        let place = self.avail() + 4 + 2 * u64::from(self.added % SIZE);
        memory.write_obj(index, GuestAddress(place)).unwrap();
        self.added = self.added.wrapping_add(1);
        memory.write_obj(self.added, GuestAddress(self.avail() + 2)).unwrap();
    }

    /// The next buffer that the device has used, and its bytes.
    fn take_used(&mut self, memory: &GuestMemoryMmap) -> Option<(u16, u32)> {
        let index: u16 = memory.read_obj(GuestAddress(self.used() + 2)).unwrap();
        if index == self.seen {
            return None;
        }
        let place = self.used() + 4 + 8 * u64::from(self.seen % SIZE);
        self.seen = self.seen.wrapping_add(1);
        let head: u32 = memory.read_obj(GuestAddress(place)).unwrap();
        Some((head as u16, memory.read_obj(GuestAddress(place + 4)).unwrap()))
    }

    fn queue(&self, memory: &GuestMemoryAtomic<GuestMemoryMmap>) -> VringMutex {
        let queue = VringMutex::new(memory.clone(), SIZE).unwrap();
        queue.set_queue_info(self.base, self.avail(), self.used()).unwrap();
        queue.set_queue_size(SIZE);
        queue.set_queue_ready(true);
        queue.set_enabled(true);
        queue
    }
}

/// The device with a guest that the test plays.
struct Rig {
    vsock: Vsock,
    pump: Pump,
    memory: GuestMemoryAtomic<GuestMemoryMmap>,
    to_guest: VringMutex,
    from_guest: VringMutex,
    receiving: Ring,
    sending: Ring,
}

impl Rig {
    fn new() -> Self {
        let ranges = [(GuestAddress(0), 1 << 20)];
        let memory = GuestMemoryAtomic::new(GuestMemoryMmap::from_ranges(&ranges).unwrap());
        let receiving = Ring { base: 0, buffers: 0x40000, added: 0, seen: 0 };
        let sending = Ring { base: 0x4000, buffers: 0x80000, added: 0, seen: 0 };
        let commands = Arc::new(Commands::new().unwrap());
        let mut rig = Self {
            vsock: vsock(&commands),
            pump: Pump::new(commands).unwrap(),
            to_guest: receiving.queue(&memory),
            from_guest: sending.queue(&memory),
            memory,
            receiving,
            sending,
        };
        for index in 0..SIZE {
            rig.receiving.add(&rig.memory.memory(), index, BUFFER, true);
        }
        rig
    }

    /// What the device's thread does on an event.
    fn turn(&mut self) {
        self.pump.take_events();
        self.pump.run(&self.memory, &self.to_guest, &self.from_guest);
    }

    /// The device's next packet to the guest, whose buffer it gets back.
    fn packet(&mut self) -> Option<(Header, Vec<u8>)> {
        let memory = self.memory.memory();
        let (head, length) = self.receiving.take_used(&memory)?;
        let mut bytes = vec![0; length as usize];
        memory.read_slice(&mut bytes, GuestAddress(self.receiving.buffer(head))).unwrap();
        self.receiving.add(&memory, head, BUFFER, true);
        let payload = bytes.split_off(HEADER_SIZE);
        let header = Header::parse(bytes.as_slice().try_into().unwrap());
        assert_eq!(header.length as usize, payload.len());
        Some((header, payload))
    }

    fn control(&mut self, operation: Operation) -> Header {
        let (header, _) = self.packet().expect("the device has sent a packet");
        assert_eq!(header.operation, operation);
        header
    }

    /// The guest sends a packet.
    fn send(&mut self, header: &Header, payload: &[u8]) {
        let memory = self.memory.memory();
        let index = self.sending.added % SIZE;
        let place = self.sending.buffer(index);
        memory.write_slice(&header.encode(), GuestAddress(place)).unwrap();
        memory.write_slice(payload, GuestAddress(place + HEADER_SIZE as u64)).unwrap();
        self.sending.add(&memory, index, (HEADER_SIZE + payload.len()) as u32, false);
        drop(memory);
        self.turn();
    }

    /// A stream that the guest accepted, and the header with which it answers on it.
    async fn connected(&mut self) -> (UnixStream, Header) {
        let vsock = vsock(&self.vsock.commands);
        let mut connecting = Box::pin(vsock.connect(80));
        once(&mut connecting).await;
        self.turn();
        let answer = answer(&self.control(Operation::Request), Operation::Response);
        self.send(&answer, &[]);
        (connecting.await.unwrap(), answer)
    }
}

fn vsock(commands: &Arc<Commands>) -> Vsock {
    Vsock { commands: Arc::clone(commands), when_ended: Arc::default() }
}

/// Has a future do what it does at first.
async fn once<F: Future + Unpin>(future: &mut F) {
    poll_fn(|context| {
        assert!(std::pin::Pin::new(&mut *future).poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// A packet of the guest for the connection of one of the device's.
fn answer(header: &Header, operation: Operation) -> Header {
    Header {
        source_cid: GUEST_CID,
        destination_cid: HOST_CID,
        source_port: header.destination_port,
        destination_port: header.source_port,
        length: 0,
        flags: 0,
        window: 1 << 20,
        forwarded: 0,
        operation,
        ..*header
    }
}

fn payload(on: &Header, bytes: &[u8]) -> Header {
    Header { operation: Operation::Payload, length: bytes.len() as u32, ..*on }
}

fn shutdown(on: &Header, flags: u32) -> Header {
    Header { operation: Operation::Shutdown, flags, ..*on }
}

#[tokio::test]
async fn before_the_guests_driver_is_up_a_connect_is_refused() {
    let mut rig = Rig::new();
    rig.to_guest.set_enabled(false);
    let vsock = vsock(&rig.vsock.commands);
    let mut connecting = Box::pin(vsock.connect(80));
    once(&mut connecting).await;
    rig.turn();
    assert_eq!(connecting.await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_port_nobody_listens_on_refuses() {
    let mut rig = Rig::new();
    let vsock = vsock(&rig.vsock.commands);
    let mut connecting = Box::pin(vsock.connect(80));
    once(&mut connecting).await;
    rig.turn();
    let reset = answer(&rig.control(Operation::Request), Operation::Reset);
    rig.send(&reset, &[]);
    assert_eq!(connecting.await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn after_the_device_has_ended_everything_is_not_connected() {
    let rig = Rig::new();
    rig.vsock.commands.close();
    assert_eq!(rig.vsock.connect(80).await.unwrap_err().kind(), io::ErrorKind::NotConnected);
    assert_eq!(rig.vsock.listen(80).err().unwrap().kind(), io::ErrorKind::NotConnected);
}

#[tokio::test]
async fn a_connect_that_is_given_up_resets() {
    let mut rig = Rig::new();
    let vsock = vsock(&rig.vsock.commands);
    let mut connecting = Box::pin(vsock.connect(80));
    once(&mut connecting).await;
    rig.turn();
    rig.control(Operation::Request);
    drop(connecting);
    rig.turn();
    rig.control(Operation::Reset);
}

#[tokio::test]
async fn bytes_of_a_stream_fill_many_of_the_guests_buffers() {
    let mut rig = Rig::new();
    let (mut stream, _) = rig.connected().await;
    let sent: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    stream.write_all(&sent).await.unwrap();
    rig.turn();
    let mut got = Vec::new();
    while let Some((header, payload)) = rig.packet() {
        assert_eq!(header.operation, Operation::Payload);
        got.extend(payload);
    }
    assert_eq!(got, sent);
}

#[tokio::test]
async fn the_end_of_a_stream_comes_after_its_bytes_even_when_it_came_before_they_were_read() {
    let mut rig = Rig::new();
    let (mut stream, _) = rig.connected().await;
    stream.write_all(&[7; 5000]).await.unwrap();
    stream.shutdown().await.unwrap();
    rig.turn();
    let mut got = 0;
    loop {
        let (header, payload) = rig.packet().expect("the end is told");
        match header.operation {
            Operation::Payload => got += payload.len(),
            operation => {
                assert_eq!((operation, header.flags, got), (Operation::Shutdown, 2, 5000));
                break;
            }
        }
    }
}

#[tokio::test]
async fn what_a_slow_reader_leaves_is_kept_and_the_guests_end_comes_after_it() {
    let mut rig = Rig::new();
    let (mut stream, on) = rig.connected().await;
    let part = [7; 4000];
    let mut sent = 0;
    // As much as its credit allows, which is more than the socket holds.
    while sent + part.len() <= 256 << 10 {
        rig.send(&payload(&on, &part), &part);
        sent += part.len();
    }
    rig.send(&shutdown(&on, 2), &[]);
    let mut got = vec![0; sent];
    let mut filled = 0;
    while filled < sent {
        let read = stream.read(&mut got[filled..]).await.unwrap();
        assert_ne!(read, 0, "the stream ended early");
        filled += read;
        rig.turn();
    }
    assert_eq!(stream.read(&mut got).await.unwrap(), 0);
    assert!(got.iter().all(|byte| *byte == 7));
    let mut last = rig.packet();
    while let Some((header, _)) = rig.packet() {
        last = Some((header, Vec::new()));
    }
    assert_eq!(last.unwrap().0.operation, Operation::CreditUpdate);
}

#[tokio::test]
async fn a_guest_that_closes_leaves_its_last_bytes_to_the_reader() {
    let mut rig = Rig::new();
    let (mut stream, on) = rig.connected().await;
    stream.write_all(b"never read").await.unwrap();
    rig.send(&payload(&on, b"farewell"), b"farewell");
    rig.send(&shutdown(&on, 3), &[]);
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "farewell");
    while let Some((header, _)) = rig.packet() {
        assert!(matches!(header.operation, Operation::Payload | Operation::Reset));
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_tells_the_guest() {
    let mut rig = Rig::new();
    let (mut stream, _) = rig.connected().await;
    stream.write_all(b"last words").await.unwrap();
    drop(stream);
    rig.turn();
    let mut operations = Vec::new();
    let mut words = Vec::new();
    while let Some((header, payload)) = rig.packet() {
        operations.push((header.operation, header.flags));
        words.extend(payload);
    }
    assert_eq!(words, b"last words");
    assert_eq!(operations.last(), Some(&(Operation::Shutdown, 3)));
}

#[tokio::test]
async fn a_stream_that_is_dropped_without_last_words_is_one_packet() {
    let mut rig = Rig::new();
    let (stream, on) = rig.connected().await;
    drop(stream);
    rig.turn();
    assert_eq!(rig.control(Operation::Shutdown).flags, 3);
    rig.send(&Header { operation: Operation::Reset, ..on }, &[]);
    assert!(rig.packet().is_none());
}

#[tokio::test]
async fn the_guest_reaches_a_port_that_is_listened_on_and_no_other() {
    let mut rig = Rig::new();
    let (offer, offered) = tokio::sync::mpsc::channel(1);
    let (tell, _told) = mpsc::channel();
    rig.vsock.commands.send(Command::Listen { port: 1027, offer, answer: tell }).unwrap();
    let mut listener = VsockListener { port: 1027, offered, commands: Arc::clone(&rig.vsock.commands) };
    rig.turn();
    let request = |port| Header {
        source_cid: GUEST_CID,
        destination_cid: HOST_CID,
        source_port: 9,
        destination_port: port,
        length: 0,
        kind: 1,
        operation: Operation::Request,
        flags: 0,
        window: 1 << 20,
        forwarded: 0,
    };
    rig.send(&request(1028), &[]);
    rig.control(Operation::Reset);
    rig.send(&request(1027), &[]);
    let on = answer(&rig.control(Operation::Response), Operation::Payload);
    let mut stream = listener.accept().await.unwrap();
    rig.send(&payload(&on, b"token"), b"token");
    let mut token = [0; 5];
    stream.read_exact(&mut token).await.unwrap();
    assert_eq!(&token, b"token");
    // A listener nobody accepts from is full at its bound, and one that is dropped is gone.
    drop(listener);
    rig.turn();
    rig.send(&Header { source_port: 10, ..request(1027) }, &[]);
    rig.control(Operation::Reset);
}

#[tokio::test]
async fn the_guest_is_told_of_buffers_it_has_back_by_the_quarter_of_the_queue() {
    let mut rig = Rig::new();
    let (_stream, on) = rig.connected().await;
    let call = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).unwrap();
    rig.from_guest.set_call(Some(call.try_clone().unwrap().into()));
    let told = || rustix::io::read(&call, &mut [0; 8]).is_ok();
    // Its answer to the connect was the first.
    for _ in 2..SIZE / 4 {
        rig.send(&payload(&on, b"1"), b"1");
        assert!(!told());
    }
    rig.send(&payload(&on, b"1"), b"1");
    assert!(told());
}

#[tokio::test]
async fn a_guest_that_stops_ends_all_streams() {
    let mut rig = Rig::new();
    let (mut stream, on) = rig.connected().await;
    rig.send(&payload(&on, b"farewell"), b"farewell");
    rig.pump.guest_is_gone();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "farewell");
}

#[tokio::test]
async fn a_packet_shorter_than_its_header_says_costs_the_connection() {
    let mut rig = Rig::new();
    let (mut stream, on) = rig.connected().await;
    rig.send(&payload(&on, &[7; 100]), &[7; 50]);
    rig.control(Operation::Reset);
    assert_eq!(stream.read(&mut [0; 10]).await.unwrap(), 0);
}

mod fuzz {
    use super::*;

    /// Rings, descriptors, headers: all of it is whatever the guest likes.
    #[test]
    fn no_guest_memory_breaks_the_device() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let mut rig = Rig::new();
            let memory = rig.memory.memory();
            // Over the end of the rings of the queue from the guest, and over its first buffers.
            let (rings, packets) = bytes.split_at(bytes.len() / 2);
            memory.write_slice(rings, GuestAddress(rig.sending.base)).unwrap();
            memory.write_slice(packets, GuestAddress(rig.sending.buffers)).unwrap();
            memory.write_slice(rings, GuestAddress(rig.receiving.base + 3)).unwrap();
            let count = u16::from(bytes.first().copied().unwrap_or_default());
            memory.write_obj(count % (SIZE + 2), GuestAddress(rig.sending.avail() + 2)).unwrap();
            drop(memory);
            rig.turn();
            rig.turn();
        });
    }
}
