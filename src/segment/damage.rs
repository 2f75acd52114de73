//! Whether so much of a stream is damaged that people have to be told.

use std::time::Duration;

/// Shares are of about so long, seconds.
const WITHIN: f32 = 15.0;
/// Much is damaged from this share on, until it is less than that: a single group of pictures is not much.
const MUCH: f32 = 0.25;
const LITTLE: f32 = 0.05;
/// From this share on, what looks whole between may well be damaged too: not all damage is noticed.
const NEARLY_ALL: f32 = 0.85;

/// Watches which frames of a camera are damaged. Pure: its only clock is the caller's.
#[derive(Debug, Default)]
pub struct DamageWatch {
    share: f32,
    newest: Option<Duration>,
    much: bool,
}

impl DamageWatch {
    /// Takes the next frame, shown at `now`, a clock that never goes back. Gives whether much is damaged where that is
    /// otherwise than before.
    pub fn see(&mut self, damaged: bool, now: Duration) -> Option<bool> {
        let passed = self.newest.replace(now).map_or(0.0, |newest| now.saturating_sub(newest).as_secs_f32());
        // Nothing is known of a time without frames.
        self.share += (f32::from(u8::from(damaged)) - self.share) * passed.min(1.0) / WITHIN;
        let much = self.share >= if self.much { LITTLE } else { MUCH };
        let changed = much != self.much;
        self.much = much;
        changed.then_some(much)
    }

    /// So much is damaged that nothing of what comes can be trusted.
    pub fn is_nearly_all(&self) -> bool {
        self.share >= NEARLY_ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames a tenth of a second apart: the times at which it says otherwise, seconds.
    fn told(seconds: f32, damaged: impl Fn(f32) -> bool) -> Vec<(bool, f32)> {
        let mut watch = DamageWatch::default();
        let moments = (0..(seconds * 10.0) as u32).map(|n| n as f32 / 10.0);
        moments.filter_map(|t| Some((watch.see(damaged(t), Duration::from_secs_f32(t))?, t))).collect()
    }

    #[test]
    fn a_group_now_and_then_is_not_told_and_many_are() {
        assert_eq!(told(600.0, |t| t % 60.0 < 4.0), []);
        let often = told(200.0, |t| t < 100.0 && t % 4.0 < 2.0);
        let [(true, begins), (false, ends)] = often[..] else { panic!("{often:?}") };
        assert!(begins < 15.0 && (100.0..140.0).contains(&ends), "{often:?}");
        let all = told(60.0, |_| true);
        assert!(matches!(all[..], [(true, t)] if t < 5.0), "{all:?}");
    }

    #[test]
    fn nothing_is_trusted_while_nearly_all_is_damaged_and_soon_after_it_is() {
        let mut watch = DamageWatch::default();
        let mut distrusts = |tenths: std::ops::Range<u64>, damaged: &dyn Fn(u64) -> bool| {
            let mut seen = |at: u64| {
                watch.see(damaged(at), Duration::from_millis(100 * at));
                watch.is_nearly_all()
            };
            tenths.filter(|at| seen(*at)).collect::<Vec<_>>()
        };
        assert!(distrusts(0..600, &|at| at % 40 < 20).is_empty(), "half of it");
        let worst = distrusts(600..1200, &|at| at % 20 != 7);
        assert!(worst.first().is_some_and(|at| *at < 850) && worst.last() == Some(&1199), "{worst:?}");
        let after = distrusts(1200..1400, &|_| false);
        assert!((1..=25).contains(&after.len()), "{after:?}");
    }
}
