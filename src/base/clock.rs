//! Time as an injected dependency: wall time for people, monotonic time for every decision.

use jiff::Timestamp;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Where the program takes its time from.
pub trait Clock: Send + Sync {
    /// Wall time (UTC). May jump; only ever shown to people or written down.
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary fixed moment. Never goes back; every timeout uses it.
    fn monotonic(&self) -> Duration;
    /// Waits. A simulated clock moves itself on instead.
    fn sleep(&self, time: Duration);
}

/// The machine's own clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct SimClock {
    start: Timestamp,
    elapsed: Mutex<Duration>,
}

impl SimClock {
    /// Stands at `start`, with zero monotonic time.
    pub fn new(start: Timestamp) -> Self {
        Self { start, elapsed: Mutex::new(Duration::ZERO) }
    }

    /// Moves both clocks on by `by`.
    pub fn advance(&self, by: Duration) {
        *self.elapsed.lock().expect("no panic while the clock is held") += by;
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.start + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        *self.elapsed.lock().expect("no panic while the clock is held")
    }

    fn sleep(&self, time: Duration) {
        self.advance(time);
    }
}
