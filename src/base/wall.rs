//! Notices when somebody sets the wall clock, and keeps moments in order all the same.

use super::Timestamp;
use jiff::SignedDuration;
use std::time::Duration;

/// The wall clock was set where it moves against monotonic time by more than this: slewing by NTP is slower, and a thread
/// that rests between its two looks rests less.
const STEP: SignedDuration = SignedDuration::from_secs(2);
/// For so long after a step nobody knows which of the two times was right.
const DOUBT: Duration = Duration::from_secs(600);
/// Moments that follow each other lie so far apart at least: identifiers made of them have this resolution.
const TICK: SignedDuration = SignedDuration::from_millis(1);

/// Watches wall time against monotonic time. Pure: fed with pairs of both that were taken together.
#[derive(Debug, Default)]
pub struct WallWatch {
    /// Newest monotonic time that was looked at, and wall time then.
    newest: Option<(Duration, Timestamp)>,
    /// Monotonic time of the newest step.
    stepped: Option<Duration>,
    /// The newest moment given out by [`WallWatch::in_order`].
    given: Option<Timestamp>,
}

impl WallWatch {
    /// Looks at both clocks. Gives by how much the wall clock was set since the last look, where it was: forward where
    /// that is positive. A pair that is older than the newest one is left out.
    pub fn look(&mut self, wall: Timestamp, monotonic: Duration) -> Option<SignedDuration> {
        let before = self.newest;
        if before.is_some_and(|(newest, _)| monotonic < newest) {
            return None;
        }
        self.newest = Some((monotonic, wall));
        let (newest, then) = before?;
        let passed = SignedDuration::try_from(monotonic - newest).unwrap_or(SignedDuration::MAX);
        let by = wall.duration_since(then).saturating_sub(passed);
        if by.abs() < STEP {
            return None;
        }
        self.stepped = Some(monotonic);
        Some(by)
    }

    /// Whether the wall clock was set shortly before this monotonic time.
    pub fn is_suspect(&self, monotonic: Duration) -> bool {
        self.stepped.is_some_and(|stepped| monotonic.saturating_sub(stepped) < DOUBT)
    }

    /// `wall`, or where that is not after every moment given before, the next one after them.
    pub fn in_order(&mut self, wall: Timestamp) -> Timestamp {
        let next = self.given.and_then(|given| given.checked_add(TICK).ok());
        let moment = next.map_or(wall, |next| next.max(wall));
        self.given = Some(moment);
        moment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("in range")
    }

    fn watched() -> WallWatch {
        let mut watch = WallWatch::default();
        assert_eq!(watch.look(at(0), Duration::from_secs(50)), None, "nothing to compare with");
        watch
    }

    #[test]
    fn a_clock_that_is_set_is_told_from_one_that_runs() {
        for hours in [-24, -1, 1, 24] {
            let mut watch = watched();
            assert_eq!(watch.look(at(3600), Duration::from_secs(3650)), None, "an hour of nothing");
            assert!(!watch.is_suspect(Duration::from_secs(3650)));
            let (wall, now) = (at(3601 + hours * 3600), Duration::from_secs(3651));
            assert_eq!(watch.look(wall, now), Some(SignedDuration::from_hours(hours)));
            assert!(watch.is_suspect(now));
            assert!(watch.is_suspect(now + DOUBT - Duration::from_secs(1)));
            assert!(!watch.is_suspect(now + DOUBT));
            assert_eq!(watch.look(wall + TICK, now), None, "said once");
        }
    }

    #[test]
    fn ntp_may_slew_and_pairs_may_come_late() {
        let mut watch = watched();
        // A second too fast in every minute: thousands of times what a slewing clock does.
        for minute in 1..100 {
            let (wall, monotonic) = (at(minute * 61), Duration::from_secs(50 + 60 * minute as u64));
            assert_eq!(watch.look(wall, monotonic), None);
        }
        assert_eq!(watch.look(at(0), Duration::from_secs(60)), None, "an old pair, of another camera");
        assert!(!watch.is_suspect(Duration::from_secs(10_000)));
    }

    #[test]
    fn moments_stay_in_order_whatever_the_clock_does() {
        let mut watch = WallWatch::default();
        let given = [10, 10, 3610, 20, 21, 3700].map(|s| watch.in_order(at(s)));
        assert!(given.is_sorted_by(|a, b| a < b), "{given:?}");
        assert_eq!([given[0], given[2], given[5]], [at(10), at(3610), at(3700)]);
    }
}
