use super::*;

const GUEST: u64 = 3;
const LIMITS: Limits = Limits { connections: 32, wide_window: 1000, narrow_window: 100, refusals: 4 };

fn device() -> Device {
    Device::new(GUEST, LIMITS)
}

/// A packet of the guest.
fn packet(ports: Ports, operation: Operation) -> Header {
    Header {
        source_cid: GUEST,
        destination_cid: HOST_CID,
        source_port: ports.guest,
        destination_port: ports.host,
        window: 500,
        ..Header::from_host(ports, GUEST, operation)
    }
}

fn payload(ports: Ports, length: u32) -> Header {
    Header { length, ..packet(ports, Operation::Payload) }
}

fn shutdown(ports: Ports, flags: u32) -> Header {
    Header { flags, ..packet(ports, Operation::Shutdown) }
}

/// The next packet, which must be one without payload.
fn control(device: &mut Device) -> Header {
    match device.next() {
        Some(Outgoing::Control(header)) => header,
        other => panic!("{other:?}"),
    }
}

/// A stream that the guest opened to port 7 from port 9.
fn opened(device: &mut Device) -> (Id, Ports) {
    let ports = Ports { host: 7, guest: 9 };
    let Received::Offered(id, 7) = device.receive(&packet(ports, Operation::Request)) else { panic!() };
    device.accept(id);
    assert_eq!(control(device).operation, Operation::Response);
    (id, ports)
}

/// A stream that the host opened to port 80.
fn dialled(device: &mut Device) -> (Id, Ports) {
    let id = device.dial(80).unwrap();
    let request = control(device);
    assert_eq!((request.operation, request.destination_port), (Operation::Request, 80));
    let ports = Ports { host: request.source_port, guest: 80 };
    assert_eq!(device.receive(&packet(ports, Operation::Response)), Received::Answered(id));
    (id, ports)
}

fn connections(device: &Device) -> usize {
    device.slots.len() - device.free.len()
}

#[test]
fn a_dialled_stream_carries_bytes_both_ways() {
    let mut device = device();
    let (id, ports) = dialled(&mut device);
    device.readable(id);
    assert_eq!(device.next(), Some(Outgoing::Payload(id, 500)));
    let header = device.payload(id, 30).unwrap();
    assert_eq!((header.operation, header.length, header.window), (Operation::Payload, 30, 1000));
    device.drained(id);
    assert_eq!(device.next(), None);
    assert_eq!(device.receive(&payload(ports, 600)), Received::Payload(id));
    device.consumed(id, 600);
    let header = control(&mut device);
    assert_eq!((header.operation, header.forwarded), (Operation::CreditUpdate, 600));
}

#[test]
fn a_guest_that_does_not_listen_refuses() {
    let mut device = device();
    let id = device.dial(80).unwrap();
    let ports = Ports { host: control(&mut device).source_port, guest: 80 };
    assert_eq!(device.receive(&packet(ports, Operation::Reset)), Received::Closed(id));
    device.release(id);
    assert_eq!((device.next(), connections(&device)), (None, 0));
}

#[test]
fn a_port_the_host_does_not_take_is_refused() {
    let mut device = device();
    let ports = Ports { host: 7, guest: 9 };
    let Received::Offered(id, 7) = device.receive(&packet(ports, Operation::Request)) else { panic!() };
    device.abort(id);
    device.release(id);
    assert_eq!(control(&mut device).operation, Operation::Reset);
    assert_eq!(connections(&device), 0);
}

#[test]
fn a_dial_given_up_before_the_guest_heard_of_it_is_never_told() {
    let mut device = device();
    let id = device.dial(80).unwrap();
    device.abort(id);
    device.release(id);
    assert_eq!((device.next(), connections(&device)), (None, 0));
}

#[test]
fn a_dial_given_up_while_the_guest_thinks_is_reset() {
    let mut device = device();
    let id = device.dial(80).unwrap();
    let ports = Ports { host: control(&mut device).source_port, guest: 80 };
    device.abort(id);
    device.release(id);
    assert_eq!(control(&mut device).operation, Operation::Reset);
    assert_eq!(device.receive(&packet(ports, Operation::Response)), Received::Nothing);
    assert_eq!(control(&mut device).operation, Operation::Reset);
}

#[test]
fn the_host_ends_its_direction_and_the_other_goes_on() {
    let mut device = device();
    let (id, ports) = opened(&mut device);
    device.host_sends_no_more(id);
    let header = control(&mut device);
    assert_eq!((header.operation, header.flags), (Operation::Shutdown, SHUTDOWN_SEND));
    assert_eq!(device.receive(&payload(ports, 5)), Received::Payload(id));
    device.readable(id);
    assert_eq!(device.next(), None);
}

#[test]
fn the_guest_ends_its_direction_and_the_other_goes_on() {
    let mut device = device();
    let (id, ports) = opened(&mut device);
    assert_eq!(device.receive(&shutdown(ports, SHUTDOWN_SEND)), Received::GuestSendsNoMore(id));
    device.readable(id);
    assert_eq!(device.next(), Some(Outgoing::Payload(id, 500)));
    assert_eq!(device.receive(&payload(ports, 5)), Received::Closed(id));
}

#[test]
fn a_guest_that_takes_no_more_is_sent_no_more() {
    let mut device = device();
    let (id, ports) = opened(&mut device);
    device.readable(id);
    assert_eq!(device.receive(&shutdown(ports, SHUTDOWN_RECEIVE)), Received::GuestTakesNoMore(id));
    assert_eq!(device.next(), None);
}

#[test]
fn a_guest_that_closes_is_answered_at_once_and_what_it_sent_may_drain() {
    let mut device = device();
    let (id, ports) = opened(&mut device);
    assert_eq!(device.receive(&payload(ports, 800)), Received::Payload(id));
    let both = SHUTDOWN_SEND | SHUTDOWN_RECEIVE;
    assert_eq!(device.receive(&shutdown(ports, both)), Received::Closed(id));
    assert_eq!(control(&mut device).operation, Operation::Reset);
    // The ports are free, the slot is not.
    let (other, _) = opened(&mut device);
    assert_ne!(other, id);
    device.consumed(id, 800);
    device.release(id);
    assert_eq!((device.next(), connections(&device)), (None, 1));
}

#[test]
fn a_host_stream_that_is_gone_tells_the_guest_and_waits_for_its_answer() {
    let mut device = device();
    let (id, ports) = opened(&mut device);
    device.host_is_gone(id);
    device.release(id);
    let header = control(&mut device);
    assert_eq!((header.operation, header.flags), (Operation::Shutdown, SHUTDOWN_SEND | SHUTDOWN_RECEIVE));
    assert_eq!(device.receive(&payload(ports, 5)), Received::Nothing);
    assert_eq!(device.receive(&packet(ports, Operation::Reset)), Received::Closed(id));
    assert_eq!(connections(&device), 0);
}

#[test]
fn a_host_stream_without_a_reader_still_sends_what_was_written() {
    let mut device = device();
    let (id, _) = opened(&mut device);
    device.readable(id);
    device.host_takes_no_more(id);
    let header = control(&mut device);
    assert_eq!((header.operation, header.flags), (Operation::Shutdown, SHUTDOWN_RECEIVE));
    assert_eq!(device.next(), Some(Outgoing::Payload(id, 500)));
}

#[test]
fn a_guest_that_overruns_its_credit_loses_the_connection() {
    let mut device = device();
    let (id, ports) = opened(&mut device);
    assert_eq!(device.receive(&payload(ports, 1000)), Received::Payload(id));
    assert_eq!(device.receive(&payload(ports, 1)), Received::Closed(id));
    assert_eq!(control(&mut device).operation, Operation::Reset);
}

#[test]
fn the_host_stops_at_the_guests_credit_and_goes_on_when_it_grows() {
    let mut device = device();
    let (id, ports) = opened(&mut device);
    device.readable(id);
    assert_eq!(device.next(), Some(Outgoing::Payload(id, 500)));
    device.payload(id, 500).unwrap();
    device.readable(id);
    assert_eq!(device.next(), None);
    device.receive(&Header { forwarded: 200, ..packet(ports, Operation::CreditUpdate) });
    assert_eq!(device.next(), Some(Outgoing::Payload(id, 200)));
}

#[test]
fn packets_of_no_connection_are_refused_up_to_a_bound() {
    let mut device = device();
    for guest in 0..100 {
        assert_eq!(device.receive(&payload(Ports { host: 7, guest }, 5)), Received::Nothing);
    }
    for _ in 0..LIMITS.refusals {
        assert_eq!(control(&mut device).operation, Operation::Reset);
    }
    assert_eq!(device.next(), None);
    device.receive(&packet(Ports { host: 7, guest: 1 }, Operation::Reset));
    assert_eq!(device.next(), None);
}

#[test]
fn packets_in_anothers_name_or_of_another_kind_open_nothing() {
    let mut device = device();
    let request = packet(Ports { host: 7, guest: 9 }, Operation::Request);
    assert_eq!(device.receive(&Header { source_cid: 4, ..request }), Received::Nothing);
    assert_eq!(device.receive(&Header { destination_cid: 1, ..request }), Received::Nothing);
    assert_eq!(device.next(), None);
    assert_eq!(device.receive(&Header { kind: 2, ..request }), Received::Nothing);
    let refusal = control(&mut device);
    assert_eq!((refusal.operation, refusal.kind), (Operation::Reset, 2));
    assert_eq!(connections(&device), 0);
}

#[test]
fn too_many_connections_are_refused_and_later_ones_get_less_room() {
    let mut device = device();
    let windows: Vec<_> = (0..LIMITS.connections as u32)
        .map(|guest| {
            let ports = Ports { host: 7, guest };
            let Received::Offered(id, 7) = device.receive(&packet(ports, Operation::Request)) else {
                panic!()
            };
            device.accept(id);
            control(&mut device).window
        })
        .collect();
    assert_eq!((windows[0], windows[31]), (1000, 100));
    let one_more = packet(Ports { host: 7, guest: 99 }, Operation::Request);
    assert_eq!(device.receive(&one_more), Received::Nothing);
    assert_eq!(control(&mut device).operation, Operation::Reset);
    assert_eq!(device.dial(80), None);
}

#[test]
fn connections_take_turns() {
    let mut device = device();
    let (first, _) = dialled(&mut device);
    let (second, _) = dialled(&mut device);
    device.readable(first);
    device.readable(second);
    for expected in [first, second, first, second] {
        let Some(Outgoing::Payload(id, _)) = device.next() else { panic!() };
        assert_eq!(id, expected);
        device.payload(id, 10).unwrap();
        device.readable(id);
    }
}

#[test]
fn a_guest_that_takes_no_packets_cannot_make_the_line_grow() {
    let mut device = device();
    let ports = Ports { host: 7, guest: 9 };
    for _ in 0..1000 {
        let Received::Offered(id, 7) = device.receive(&packet(ports, Operation::Request)) else { panic!() };
        device.accept(id);
        assert_eq!(device.receive(&packet(ports, Operation::Reset)), Received::Closed(id));
        device.release(id);
    }
    assert_eq!((device.line.len(), connections(&device)), (1, 0));
    assert_eq!(device.next(), None);
}

#[test]
fn a_guest_that_begins_anew_has_no_connections() {
    let mut device = device();
    let (id, ports) = opened(&mut device);
    device.receive(&payload(Ports { host: 1, guest: 1 }, 5));
    assert_eq!(device.guest_is_gone(), [id]);
    device.release(id);
    assert_eq!((device.next(), connections(&device)), (None, 0));
    device.receive(&payload(ports, 5));
    assert_eq!(control(&mut device).operation, Operation::Reset);
}

mod fuzz {
    use super::*;
    use bolero::TypeGenerator;

    #[derive(Clone, Copy, Debug, TypeGenerator)]
    enum Step {
        Packet { operation: u8, ports: u8, length: u32, short: bool, flags: u8, window: u16, forwarded: u16 },
        Malformed { ports: u8 },
        Dial,
        Accept(u8),
        Readable(u8),
        Drained(u8),
        Consumed(u8, u16),
        HostSendsNoMore(u8),
        HostTakesNoMore(u8),
        HostIsGone(u8),
        Abort(u8),
        Release(u8),
        Send(u16),
        GuestIsGone,
    }

    /// Keeps books of its own beside the device.
    struct Books {
        device: Device,
        ids: Vec<Id>,
        credit: HashMap<Id, (u32, u32)>,
    }

    impl Books {
        fn id(&self, number: u8) -> Option<Id> {
            (!self.ids.is_empty()).then(|| self.ids[number as usize % self.ids.len()])
        }

        fn header(&self, operation: u8, ports: u8) -> Header {
            // Half of them meet a connection that exists, where there is one.
            let known = self.id(ports).filter(|_| ports & 1 == 0);
            let slot = known.and_then(|id| self.device.slots[id.slot()].connection.as_ref());
            let ports = slot.map_or(Ports { host: 7, guest: u32::from(ports) }, |open| open.ports);
            packet(ports, Operation::from(u16::from(operation % 9)))
        }

        fn received(&mut self, header: &Header, received: Received) {
            if let Received::Offered(id, _) = received {
                self.ids.push(id);
            }
            if let Some(&id) = self.device.by_ports.get(&header.ports()) {
                let (sent, taken) = self.credit.entry(id).or_default();
                // The guest's claim counts only where it lies between what it claimed before and what was sent.
                if sent.wrapping_sub(header.forwarded) <= sent.wrapping_sub(*taken) {
                    *taken = header.forwarded;
                }
                let under_way = sent.wrapping_sub(*taken);
                let connection = self.device.connection(id).unwrap();
                assert!(connection.sendable() <= header.window.saturating_sub(under_way));
            }
        }

        fn step(&mut self, step: Step) -> Option<()> {
            match step {
                Step::Packet { operation, ports, length, short, flags, window, forwarded } => {
                    let header = Header {
                        length: if short { length % 200 } else { length },
                        flags: flags.into(),
                        window: window.into(),
                        forwarded: forwarded.into(),
                        ..self.header(operation, ports)
                    };
                    let received = self.device.receive(&header);
                    self.received(&header, received);
                }
                Step::Malformed { ports } => {
                    let header = self.header(5, ports);
                    self.device.receive_malformed(&header);
                }
                Step::Dial => self.ids.extend(self.device.dial(80)),
                Step::Accept(id) => self.device.accept(self.id(id)?),
                Step::Readable(id) => self.device.readable(self.id(id)?),
                Step::Drained(id) => self.device.drained(self.id(id)?),
                Step::Consumed(id, bytes) => {
                    let id = self.id(id)?;
                    let held = self.device.connection(id)?.inbound.held();
                    self.device.consumed(id, held.min(bytes.into()));
                }
                Step::HostSendsNoMore(id) => self.device.host_sends_no_more(self.id(id)?),
                Step::HostTakesNoMore(id) => self.device.host_takes_no_more(self.id(id)?),
                Step::HostIsGone(id) => self.device.host_is_gone(self.id(id)?),
                Step::Abort(id) => self.device.abort(self.id(id)?),
                Step::Release(id) => self.device.release(self.id(id)?),
                Step::Send(bytes) => {
                    if let Outgoing::Payload(id, most) = self.device.next()? {
                        let bytes = most.min(bytes.into());
                        assert_eq!(self.device.payload(id, bytes)?.length, bytes);
                        let (sent, _) = self.credit.entry(id).or_default();
                        *sent = sent.wrapping_add(bytes);
                        self.device.readable(id);
                    }
                }
                Step::GuestIsGone => {
                    self.device.guest_is_gone();
                }
            }
            Some(())
        }

        fn check_bounds(&self) {
            let device = &self.device;
            let all = || device.slots.iter().filter_map(|slot| slot.connection.as_ref());
            assert!(all().count() <= LIMITS.connections);
            assert_eq!(all().count(), connections(device));
            assert!(device.slots.len() <= LIMITS.connections);
            assert!(device.refusals.len() <= LIMITS.refusals);
            assert!(device.line.len() <= device.slots.len());
            assert!(device.by_ports.len() <= connections(device));
            let wide = LIMITS.connections as u32 / 16 * LIMITS.wide_window;
            let narrow = LIMITS.connections as u32 * LIMITS.narrow_window;
            assert!(all().map(|connection| connection.inbound.held()).sum::<u32>() <= wide + narrow);
            for slot in &device.slots {
                let waits = slot.connection.as_ref().is_some_and(Connection::has_something_for_the_guest);
                assert!(slot.in_line || !waits);
            }
        }
    }

    #[test]
    fn no_guest_exceeds_its_bounds_or_gets_more_than_its_credit() {
        bolero::check!().with_type::<Vec<Step>>().for_each(|steps| {
            let mut books = Books { device: device(), ids: Vec::new(), credit: HashMap::new() };
            for &step in steps {
                books.step(step);
                books.check_bounds();
            }
        });
    }
}
