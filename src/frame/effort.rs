//! How much of a camera's stream is decoded.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Set by whoever sees that the machine is too slow, followed by the stream: everything is decoded, or key frames only.
#[derive(Debug, Default)]
pub struct Effort {
    low: AtomicBool,
    packets: AtomicU64,
}

impl Effort {
    /// Decode key frames only, or everything again.
    pub fn set_low(&self, low: bool) {
        self.low.store(low, Relaxed);
    }

    pub fn is_low(&self) -> bool {
        self.low.load(Relaxed)
    }

    /// A packet came, decoded or not.
    pub fn packet(&self) {
        self.packets.fetch_add(1, Relaxed);
    }

    /// That many packets came so far, says whoever counts them elsewhere.
    pub(super) fn packets_are(&self, packets: u64) {
        self.packets.store(packets, Relaxed);
    }

    /// Packets so far: that they come is a sign of life where few are decoded.
    pub fn packets(&self) -> u64 {
        self.packets.load(Relaxed)
    }
}
