//! What the gateway counts. The task that owns the flows writes, anybody reads.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $atomic:ty => $plain:ty,)*) => {
        /// The counters themselves, shared by the gateway and its sessions.
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: $atomic,)*
        }

        /// The gateway's counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Stats {
            $($(#[$doc])* pub(crate) $name: $plain,)*
        }

        impl Counters {
            /// The values now.
            pub(super) fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Packets that came from the guest.
    received: AtomicU64 => u64,
    /// Packets dropped because they are no IP packet, TCP segment, or datagram that can be read.
    malformed: AtomicU64 => u64,
    /// IP fragments, which are put together.
    fragments: AtomicU64 => u64,
    /// Packets dropped because of an address that may not be dialled, or a protocol that is not carried.
    refused: AtomicU64 => u64,
    /// Packets dropped because a limit was reached: flows, half-open flows, sockets, room towards the guest.
    over_limit: AtomicU64 => u64,
    /// TCP flows, half-open ones included.
    tcp_flows: AtomicUsize => usize,
    /// TCP flows whose host connection or whose guest handshake is not there yet.
    tcp_half_open: AtomicUsize => usize,
    /// UDP sockets of the host, one a guest address and port.
    udp_flows: AtomicUsize => usize,
    /// Ping sockets of the host.
    ping_flows: AtomicUsize => usize,
    /// DNS questions that wait for an answer.
    dns_waiting: AtomicUsize => usize,
    /// Bytes of the global budget that flows have reserved beyond their first buffers.
    budget_used: AtomicUsize => usize,
}

/// Adds one to a counter that only grows.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Sets a gauge.
pub(super) fn set(gauge: &AtomicUsize, value: usize) {
    gauge.store(value, Ordering::Relaxed);
}
