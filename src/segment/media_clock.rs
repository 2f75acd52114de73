//! Time as the stream tells it: a recording played fast is judged like a live camera.

use crate::frame::Stamp;
use std::time::Duration;

/// A clock that never goes back: presentation time within a run, arrival time between runs, whose presentation
/// times are unrelated.
#[derive(Debug, Default)]
pub struct MediaClock {
    /// Run, presentation time and arrival of the newest moment, and its time here.
    newest: Option<(u64, Duration, Duration, Duration)>,
}

impl MediaClock {
    /// Time of the next moment of the stream.
    pub fn next(&mut self, run: u64, stamp: &Stamp) -> Duration {
        let now = match self.newest {
            None => Duration::ZERO,
            Some((before, pts, _, media)) if before == run => media + stamp.pts.saturating_sub(pts),
            Some((_, _, received, media)) => media + stamp.received.saturating_sub(received),
        };
        self.newest = Some((run, stamp.pts, stamp.received, now));
        now
    }

    /// Time at a moment of the monotonic clock, with nothing new from the stream; `None` before the first.
    pub fn at(&self, now: Duration) -> Option<Duration> {
        self.newest.map(|(_, _, received, media)| media + now.saturating_sub(received))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    #[test]
    fn it_follows_the_stream_and_never_goes_back() {
        let stamp = |pts, received| Stamp {
            seq: 0,
            pts: Duration::from_secs(pts),
            wall: Timestamp::UNIX_EPOCH,
            received: Duration::from_secs(received),
        };
        let mut clock = MediaClock::default();
        assert_eq!(clock.at(Duration::from_secs(9)), None);
        let times = [(1, 100, 50), (1, 130, 51), (2, 0, 60), (2, 5, 61), (2, 4, 62)]
            .map(|(run, pts, received)| clock.next(run, &stamp(pts, received)).as_secs());
        assert_eq!(times, [0, 30, 39, 44, 44]);
        assert_eq!(clock.at(Duration::from_secs(70)), Some(Duration::from_secs(52)));
    }
}
