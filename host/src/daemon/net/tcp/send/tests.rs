use super::*;

const START: Seq = Seq(u32::MAX - 50);
const GUEST: Seq = Seq(9);

struct Setup {
    sender: Sender,
    budget: Budget,
    now: Instant,
}

fn sender(window: usize) -> Setup {
    with_packets(1000, window)
}

/// Segments of 1,000 bytes in packets of at most so many.
fn with_packets(packet: usize, window: usize) -> Setup {
    let sender = Sender::new(START, 1000, packet, (GUEST, window));
    Setup { sender, budget: Budget::new(1 << 20), now: Instant::now() }
}

impl Setup {
    fn write(&mut self, count: usize) {
        self.sender.space()[..count].fill(1);
        self.sender.commit(count, &mut self.budget);
    }

    fn pieces(&mut self) -> Vec<(usize, usize, bool)> {
        let now = self.now;
        std::iter::from_fn(|| self.sender.next_piece(now))
            .map(|piece| (piece.seq.past(START), piece.bytes.len(), piece.fin))
            .collect()
    }

    fn ack(&mut self, upto: usize, window: usize) -> bool {
        self.sender.acknowledge(GUEST, START.plus(upto), window, true, self.now)
    }

    fn wait(&mut self) -> bool {
        self.now = self.sender.deadline().expect("a deadline");
        self.sender.on_time(self.now)
    }
}

#[test]
fn segments_are_cut_to_size_and_the_last_one_carries_the_fin() {
    let mut setup = sender(1 << 20);
    setup.write(2500);
    setup.sender.finish();
    assert_eq!(setup.pieces(), [(0, 1000, false), (1000, 1000, false), (2000, 500, true)]);
    assert!(setup.ack(2501, 1 << 20));
    assert!(setup.sender.finished());
    assert_eq!(setup.sender.deadline(), None);
}

#[test]
fn a_packet_has_as_many_whole_segments_as_fit() {
    let mut setup = with_packets(3900, 5500);
    setup.write(8000);
    assert_eq!(setup.pieces(), [(0, 3000, false), (3000, 2000, false)]);
    setup.ack(5000, 8000);
    setup.sender.finish();
    assert_eq!(setup.pieces(), [(5000, 3000, true)]);
    for _ in 0..3 {
        setup.ack(5000, 8000);
    }
    assert_eq!(setup.pieces(), [(5000, 3000, true)], "lost as one");
}

#[test]
fn what_is_too_long_for_the_way_is_sent_again_in_shorter_segments() {
    let mut setup = sender(1 << 20);
    setup.write(3000);
    assert_eq!(setup.pieces().len(), 3);
    for (seq, segment) in [(3000, 400), (-1, 400), (0, 1000)] {
        setup.sender.shorten(Seq(START.0.wrapping_add_signed(seq)), segment);
        assert_eq!(setup.pieces(), [], "{seq} is not under way, or {segment} no less");
    }
    setup.sender.shorten(START, 400);
    assert_eq!(setup.pieces(), [(0, 800, false)], "two of them in one packet");
    setup.ack(800, 1 << 20);
    assert_eq!(setup.pieces(), [(800, 800, false)]);
    setup.ack(3000, 1 << 20);
    setup.write(900);
    assert_eq!(setup.pieces(), [(3000, 800, false), (3800, 100, false)]);
}

#[test]
fn the_guests_window_holds_bytes_back() {
    let mut setup = sender(1500);
    setup.write(4000);
    assert_eq!(setup.pieces(), [(0, 1000, false)], "the rest of the window is not worth a packet");
    setup.ack(1000, 3000);
    assert_eq!(setup.pieces(), [(1000, 1000, false), (2000, 1000, false), (3000, 1000, false)]);
}

#[test]
fn a_shut_window_is_probed_until_it_opens() {
    let mut setup = sender(1000);
    setup.write(3000);
    assert_eq!(setup.pieces(), [(0, 1000, false)]);
    setup.ack(1000, 0);
    assert_eq!(setup.pieces(), []);
    assert!(setup.wait());
    assert_eq!(setup.pieces(), [(1000, 1, false)]);
    setup.ack(1000, 0);
    assert!(setup.wait());
    assert_eq!(setup.pieces(), [(1000, 1, false)]);
    setup.ack(1001, 5000);
    assert_eq!(setup.pieces(), [(1001, 1000, false), (2001, 999, false)]);
}

#[test]
fn three_repeated_acknowledgements_send_the_first_segment_again() {
    let mut setup = sender(1 << 20);
    setup.write(4000);
    assert_eq!(setup.pieces().len(), 4);
    for _ in 0..3 {
        assert_eq!(setup.pieces(), []);
        setup.ack(0, 1 << 20);
    }
    assert_eq!(setup.pieces(), [(0, 1000, false)]);
    setup.ack(2000, 1 << 20);
    assert_eq!(setup.pieces(), [(2000, 1000, false)], "the next hole, as recovery lasts");
    setup.ack(4000, 1 << 20);
    assert_eq!(setup.pieces(), []);
}

#[test]
fn a_guest_that_never_acknowledges_is_given_up() {
    let mut setup = sender(1 << 20);
    setup.write(10);
    assert_eq!(setup.pieces(), [(0, 10, false)]);
    let mut again = 0;
    while setup.wait() {
        assert_eq!(setup.pieces(), [(0, 10, false)]);
        again += 1;
    }
    assert_eq!(again, MOST_TIMEOUTS);
}

#[test]
fn a_lost_fin_is_sent_again() {
    let mut setup = sender(1 << 20);
    setup.sender.finish();
    assert_eq!(setup.pieces(), [(0, 0, true)]);
    assert!(setup.wait());
    assert_eq!(setup.pieces(), [(0, 0, true)]);
    setup.ack(1, 1 << 20);
    assert!(setup.sender.finished());
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_refused() {
    let mut setup = sender(1 << 20);
    setup.write(10);
    setup.pieces();
    assert!(!setup.ack(11, 1 << 20));
    assert!(setup.ack(10, 1 << 20));
}

#[test]
fn a_guest_that_takes_more_gets_a_larger_buffer_until_it_is_idle() {
    let mut setup = sender(1 << 20);
    let mut written = 0;
    for _ in 0..3 {
        let count = setup.sender.space().len();
        setup.write(count);
        written += count;
    }
    assert_eq!(written, 64 << 10);
    assert!(setup.budget.used() > 0);
    setup.pieces();
    setup.ack(written, 1 << 20);
    setup.sender.trim(&mut setup.budget);
    assert_eq!(setup.budget.used(), 0);
    assert!(!setup.sender.is_allocated());
}
