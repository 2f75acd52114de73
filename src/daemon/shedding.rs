//! Decides when a camera's stream is decoded in full, and when the machine is too slow for it. Pure: times are the caller's.

use std::collections::VecDeque;
use std::time::Duration;

/// Where, over this time, ...
const WINDOW: Duration = Duration::from_secs(10);
/// ... of so many segments at least ...
const LEAST: usize = 4;
/// ... more than this share was dropped, only key frames are decoded for a while: ...
const MOST: f64 = 0.5;
/// ... at first so long, then twice as long every time that it did not help, up to the longest.
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(80);
/// It has helped where full decoding went well for so long.
const PROVEN: Duration = Duration::from_secs(30);

/// Of one camera.
#[derive(Debug)]
pub struct Shedding {
    /// When segments came, and whether one was dropped for them.
    segments: VecDeque<(Duration, bool)>,
    /// Key frames only until then.
    low_until: Option<Duration>,
    full_since: Duration,
    next: Duration,
    /// From 0 to 1. Cameras that suffer alike must not all give way, and all come back, at the same time.
    phase: f64,
}

impl Shedding {
    /// `phase`: from 0 to 1, another one for each camera.
    pub fn new(phase: f64) -> Self {
        Self { segments: VecDeque::new(), low_until: None, full_since: Duration::ZERO, next: FIRST, phase }
    }

    /// A segment was made; `dropped`: another one had to go for it.
    pub fn segment(&mut self, now: Duration, dropped: bool) {
        self.segments.push_back((now, dropped));
        self.forget(now);
    }

    /// What is older than the window.
    fn forget(&mut self, now: Duration) {
        let window = self.window();
        while self.segments.front().is_some_and(|(at, _)| now.saturating_sub(*at) > window) {
            self.segments.pop_front();
        }
    }

    fn window(&self) -> Duration {
        WINDOW.mul_f64(1.0 + self.phase)
    }

    /// Whether only key frames are to be decoded from now on.
    pub fn is_low(&mut self, now: Duration) -> bool {
        if let Some(until) = self.low_until {
            if now < until {
                return true;
            }
            (self.low_until, self.full_since) = (None, now);
            self.segments.clear();
        }
        let window = self.window();
        let since = now.saturating_sub(self.full_since);
        if since >= PROVEN {
            self.next = FIRST;
        }
        self.forget(now);
        let dropped = self.segments.iter().filter(|(_, dropped)| *dropped).count();
        let all = self.segments.len();
        if since < window || all < LEAST || dropped as f64 <= MOST * all as f64 {
            return false;
        }
        self.low_until = Some(now + self.next.mul_f64(1.0 + self.phase));
        self.next = (self.next * 2).min(LONGEST);
        self.segments.clear();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds at which it changes, of a camera with two segments a second of which `share` are dropped while all is
    /// decoded, and none are made while not.
    fn changes(phase: f64, seconds: u64, share: impl Fn(u64) -> f64) -> Vec<u64> {
        let (mut shedding, mut low, mut found, mut lost) = (Shedding::new(phase), false, vec![], 0.0);
        for half in 0..seconds * 2 {
            let now = Duration::from_millis(half * 500);
            if !low {
                lost += share(half / 2);
                let dropped = lost >= 1.0;
                lost -= f64::from(dropped);
                shedding.segment(now, dropped);
            }
            let is_low = shedding.is_low(now);
            if is_low != low {
                found.push(half / 2);
            }
            low = is_low;
        }
        found
    }

    #[test]
    fn what_is_too_much_gives_way_for_longer_and_longer() {
        assert_eq!(changes(0.0, 200, |_| 0.8), [10, 20, 30, 50, 60, 100, 110, 190]);
    }

    #[test]
    fn what_drops_now_and_then_goes_on() {
        assert!(changes(0.0, 600, |_| 0.4).is_empty());
        assert!(changes(0.5, 600, |second| if second % 60 < 4 { 1.0 } else { 0.0 }).is_empty());
    }

    #[test]
    fn what_has_gone_well_begins_with_a_short_time_again() {
        let busy = |second| if (0..25).contains(&second) || (100..118).contains(&second) { 1.0 } else { 0.0 };
        assert_eq!(changes(0.0, 200, busy), [10, 20, 105, 115]);
    }

    #[test]
    fn cameras_that_suffer_alike_change_at_different_times() {
        let (one, other) = (changes(0.1, 60, |_| 0.9), changes(0.9, 60, |_| 0.9));
        assert_eq!((one[0], other[0]), (11, 19));
    }
}
