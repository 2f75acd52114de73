//! Waits between attempts: each longer than the one before, with chance in it.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::time::Duration;

/// The waits after failures in a row.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    rng: StdRng,
}

impl Backoff {
    /// The wait begins at `first` and doubles with every failure in a row, up to `longest`.
    pub fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, failures: 0, rng: StdRng::seed_from_u64(seed) }
    }

    /// The wait after one more failure. Half of it is chance, so that what failed together does not come back
    /// together.
    pub fn failed(&mut self) -> Duration {
        let full = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures += 1;
        full.mul_f64(self.rng.random_range(0.5..=1.0))
    }

    /// All is well: the next wait is a first one again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), 7);
        for n in 0..100 {
            let full = 2f64.powi(n.min(10)).min(60.0);
            let wait = backoff.failed().as_secs_f64();
            assert!((full / 2.0..=full).contains(&wait), "wait {n}: {wait}");
        }
        backoff.reset();
        assert!(backoff.failed() <= Duration::from_secs(1));
    }
}
