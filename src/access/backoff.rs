//! Those who fail to log in wait ever longer before they may try again.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// The first wait; each further failure doubles it ...
const FIRST: Duration = Duration::from_secs(1);
/// ... up to this.
const LONGEST: Duration = Duration::from_secs(300);
/// Failures are forgotten after this long without one.
const FORGET: Duration = Duration::from_secs(900);
/// Keys remembered; beyond them the one that failed longest ago is forgotten.
const REMEMBERED: usize = 4096;

#[derive(Debug)]
struct Failures {
    count: u32,
    last: Duration,
}

/// Failures by name or by address.
#[derive(Debug)]
pub(super) struct Backoff<K> {
    /// Failures that cost no wait.
    free: u32,
    failures: HashMap<K, Failures>,
}

impl<K: Hash + Eq + Clone> Backoff<K> {
    pub(super) fn new(free: u32) -> Self {
        Self { free, failures: HashMap::new() }
    }

    /// How long this one must wait yet; zero: not at all. `now` is monotonic.
    pub(super) fn wait(&self, key: &K, now: Duration) -> Duration {
        let Some(failures) = self.failures.get(key) else { return Duration::ZERO };
        if failures.count < self.free {
            return Duration::ZERO;
        }
        let doublings = (failures.count - self.free).min(16);
        let wait = (FIRST * 2u32.pow(doublings)).min(LONGEST);
        (failures.last + wait).saturating_sub(now)
    }

    /// One attempt more. It is counted before it is looked at, so that many at once do not go by uncounted.
    pub(super) fn failed(&mut self, key: &K, now: Duration) {
        if !self.failures.contains_key(key) && self.failures.len() >= REMEMBERED {
            self.failures.retain(|_, failures| now.saturating_sub(failures.last) < FORGET);
            if self.failures.len() >= REMEMBERED
                && let Some(oldest) = self.failures.iter().min_by_key(|(_, f)| f.last).map(|(k, _)| k.clone())
            {
                self.failures.remove(&oldest);
            }
        }
        let failures = self.failures.entry(key.clone()).or_insert(Failures { count: 0, last: now });
        if now.saturating_sub(failures.last) >= FORGET {
            failures.count = 0;
        }
        failures.count += 1;
        failures.last = now;
    }

    /// The attempt was none that failed after all.
    pub(super) fn forgive(&mut self, key: &K) {
        if let Some(failures) = self.failures.get_mut(key) {
            failures.count = failures.count.saturating_sub(1);
        }
    }

    /// Everything is forgotten of this one.
    pub(super) fn forget(&mut self, key: &K) {
        self.failures.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn waits_double_up_to_five_minutes_and_are_forgotten() {
        let mut backoff = Backoff::new(3);
        let mut waits = Vec::new();
        for _ in 0..14 {
            waits.push(backoff.wait(&"a", s(0)).as_secs());
            backoff.failed(&"a", s(0));
        }
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.wait(&"a", s(299)), s(1));
        assert_eq!(backoff.wait(&"b", s(0)), Duration::ZERO, "another's");
        backoff.failed(&"a", s(900));
        assert_eq!(backoff.wait(&"a", s(900)), Duration::ZERO, "forgotten after a quarter of an hour");
        backoff.forget(&"a");
        assert_eq!(backoff.wait(&"a", s(900)), Duration::ZERO);
    }

    #[test]
    fn many_names_do_not_grow_it_without_end() {
        let mut backoff = Backoff::new(0);
        for n in 0..REMEMBERED as u64 + 100 {
            backoff.failed(&n, Duration::from_millis(n));
        }
        assert_eq!(backoff.failures.len(), REMEMBERED);
        assert!(backoff.wait(&(REMEMBERED as u64 + 99), Duration::ZERO) > Duration::ZERO);
    }
}
