//! Flow control (virtio 1.2, 5.10.6.3): each side says how much room it has and how much it has taken out of it, and
//! the other never has more than that under way. All counters wrap.

/// What the guest lets the host send.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outbound {
    window: u32,
    sent: u32,
    forwarded: u32,
}

impl Outbound {
    /// What every packet of the guest carries. A count that is older than the last one is left out: two processors
    /// of the guest may send in another order than they counted. So is one of bytes that were never sent.
    pub(super) fn update(&mut self, window: u32, forwarded: u32) {
        self.window = window;
        if self.sent.wrapping_sub(forwarded) <= self.under_way() {
            self.forwarded = forwarded;
        }
    }

    /// Bytes that may be sent now.
    pub(super) fn available(&self) -> u32 {
        self.window.saturating_sub(self.under_way())
    }

    /// Counts bytes that are sent.
    pub(super) fn spend(&mut self, bytes: u32) {
        debug_assert!(bytes <= self.available());
        self.sent = self.sent.wrapping_add(bytes);
    }

    fn under_way(&self) -> u32 {
        self.sent.wrapping_sub(self.forwarded)
    }
}

/// What the host lets the guest send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inbound {
    window: u32,
    received: u32,
    forwarded: u32,
    announced: u32,
}

impl Inbound {
    pub(super) fn new(window: u32) -> Self {
        Self { window, received: 0, forwarded: 0, announced: 0 }
    }

    /// Counts bytes that came. False where there was no room for them, which the guest knew.
    #[must_use]
    pub(super) fn take(&mut self, bytes: u32) -> bool {
        if bytes > self.window - self.held() {
            return false;
        }
        self.received = self.received.wrapping_add(bytes);
        true
    }

    /// Counts bytes that the host's stream has taken. True once the guest should be told without waiting for a
    /// packet that goes its way: when, for all it knows, half of the room is used up.
    #[must_use]
    pub(super) fn forward(&mut self, bytes: u32) -> bool {
        debug_assert!(bytes <= self.held());
        self.forwarded = self.forwarded.wrapping_add(bytes.min(self.held()));
        self.forwarded.wrapping_sub(self.announced) >= self.window / 2
    }

    /// The two numbers for a packet that goes to the guest now.
    pub(super) fn announce(&mut self) -> (u32, u32) {
        self.announced = self.forwarded;
        (self.window, self.forwarded)
    }

    /// Bytes that came and that no stream has taken yet.
    pub(super) fn held(&self) -> u32 {
        self.received.wrapping_sub(self.forwarded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_sends_what_the_guest_has_room_for() {
        let mut credit = Outbound::default();
        assert_eq!(credit.available(), 0);
        credit.update(100, 0);
        credit.spend(60);
        assert_eq!(credit.available(), 40);
        credit.update(100, 50);
        assert_eq!(credit.available(), 90);
    }

    #[test]
    fn a_count_from_the_past_or_of_bytes_never_sent_gives_no_credit() {
        let mut credit = Outbound::default();
        credit.update(100, 0);
        credit.spend(60);
        credit.update(100, 50);
        credit.update(100, 40);
        assert_eq!(credit.available(), 90);
        credit.update(100, 61);
        assert_eq!(credit.available(), 90);
    }

    #[test]
    fn a_room_that_shrinks_below_what_is_under_way_stops_the_host() {
        let mut credit = Outbound::default();
        credit.update(100, 0);
        credit.spend(60);
        credit.update(10, 0);
        assert_eq!(credit.available(), 0);
    }

    #[test]
    fn counters_go_on_after_they_wrap() {
        let mut credit = Outbound { window: 100, sent: u32::MAX, forwarded: u32::MAX };
        credit.spend(80);
        assert_eq!(credit.available(), 20);
        credit.update(100, 79);
        assert_eq!(credit.available(), 100);
    }

    #[test]
    fn a_guest_that_sends_more_than_its_room_is_found_out() {
        let mut credit = Inbound::new(100);
        assert!(credit.take(100));
        assert!(!credit.take(1));
        let _ = credit.forward(10);
        assert!(credit.take(10));
        assert_eq!(credit.held(), 100);
    }

    #[test]
    fn the_guest_is_told_when_half_of_its_room_was_used() {
        let mut credit = Inbound::new(100);
        assert!(credit.take(80));
        assert!(!credit.forward(49));
        assert!(credit.forward(1));
        assert_eq!(credit.announce(), (100, 50));
        assert!(!credit.forward(30));
    }
}
