//! What a detector's normal life has been like, and the limit that keeps its budget of false alarms.

use super::scoring::Arming;
use crate::alert::ModelRef;
use crate::base::Timestamp;
use crate::config::Budget;
use crate::segment::Segment;
use crate::store::{LifeLog, StoreError};
use crate::threshold::{Blocking, DayParts, Look, Normal, Outlook, Rhythm, Rule, Threshold, block_seconds};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// The limit is found anew after so many blocks at most, ...
const EVERY: usize = 10;
/// ... from the newest time of this length, seconds: four weeks, of which three promise one alarm a week.
const REMEMBERED: f64 = 28.0 * 86_400.0;
/// A detector's normal life. Its blocks are of one model, and go on over restarts.
pub struct Life {
    /// Frames between the starts of segments.
    stride: usize,
    file: PathBuf,
    model: Option<ModelRef>,
    /// Also others look at it, as it was when the limit was found.
    normal: Arc<Normal>,
    blocking: Blocking,
    /// Run, presentation time and arrival of the newest segment, seconds.
    last: Option<(u64, f64, f64)>,
    log: Option<LifeLog>,
    /// Blocks since the limit was found.
    fresh: usize,
    /// In scores; in deviations from what is usual at the time, where there is a rhythm.
    limit: Option<f64>,
    rhythm: Option<Rhythm>,
}

impl Life {
    pub fn new(rule: Rule, stride: usize, budget: Option<Budget>, day: DayParts, file: PathBuf) -> Self {
        Self {
            stride,
            file,
            model: None,
            normal: Arc::new(Normal { rule, budget, day, learned: vec![], watched: vec![] }),
            blocking: Blocking::new(rule),
            last: None,
            log: None,
            fresh: 0,
            limit: None,
            rhythm: None,
        }
    }

    /// Scores are of this model from now on. True where it is another one than before: the limit is due.
    ///
    /// # Errors
    /// When what was watched before cannot be read back; it is then begun anew.
    pub fn arm(&mut self, model: &ModelRef, by: Option<&Arming>) -> Result<bool, StoreError> {
        if self.model.as_ref() == Some(model) {
            return Ok(false);
        }
        let course = by.and_then(|by| by.course.as_ref());
        let normal = Arc::make_mut(&mut self.normal);
        let rule = normal.rule;
        normal.learned = course.map_or(vec![], |course| course.blocks(rule, self.stride));
        normal.watched.clear();
        self.model = Some(model.clone());
        (self.blocking, self.last) = (Blocking::new(rule), None);
        (self.limit, self.rhythm) = (None, None);
        (self.log, self.fresh) = (None, EVERY);
        let Rule { open_n, open_m, close_after } = rule;
        let what = format!("{} {open_n}/{open_m} {} s", model.sha256, close_after.as_secs_f64());
        let (log, watched) = LifeLog::open(&self.file, &what, most(&rule))?;
        self.log = Some(log);
        Arc::make_mut(&mut self.normal).watched = watched;
        Ok(true)
    }

    /// The threshold in force at this time, where `plain` is mu + k sigma of what was learned from.
    pub fn threshold(&self, plain: Threshold, at: Timestamp) -> Threshold {
        let at = at.as_microsecond() as f64 / 1e6;
        self.normal.threshold(self.rhythm.as_ref(), self.limit, plain, at)
    }

    /// Takes a score, in order.
    ///
    /// # Errors
    /// When a block cannot be written; it counts all the same, until the program ends.
    pub fn take(&mut self, segment: &Segment, score: f32) -> Result<(), StoreError> {
        let (pts, wall) = (segment.end.pts.as_secs_f64(), segment.end.wall.as_microsecond() as f64 / 1e6);
        let passed = match self.last {
            Some((run, before, _)) if run == segment.run => pts - before,
            Some((.., before)) => wall - before,
            None => 0.0,
        };
        self.last = Some((segment.run, pts, wall));
        let Some(block) = self.blocking.push(wall, passed, score) else { return Ok(()) };
        let normal = Arc::make_mut(&mut self.normal);
        if normal.watched.len() >= most(&normal.rule) {
            normal.watched.remove(0);
        }
        normal.watched.push(block);
        self.fresh += 1;
        self.log.as_ref().map_or(Ok(()), |log| log.append(&block))
    }

    /// Enough is new for another limit: while little is known, each block tells much.
    pub fn is_due(&self) -> bool {
        self.fresh >= EVERY.min(1 + (self.normal.learned.len() + self.normal.watched.len()) / EVERY)
    }

    /// Since when blocks were watched, seconds since 1970.
    pub fn begins(&self) -> Option<f64> {
        self.normal.begins()
    }

    /// Finds the limit anew; `incidents` are no normal life.
    pub fn look(&mut self, incidents: &[Range<f64>]) -> Outlook {
        self.fresh = 0;
        let Look { outlook, limit } = self.normal.look(incidents);
        (self.limit, self.rhythm) = (limit, outlook.rhythm.clone());
        outlook
    }

    /// All of it as it is now.
    pub fn normal(&self) -> Arc<Normal> {
        self.normal.clone()
    }
}

/// Blocks that are remembered.
fn most(rule: &Rule) -> usize {
    (REMEMBERED / block_seconds(rule)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Baseline;
    use crate::frame::{FrameSpec, PixelFormat, Stamp};
    use crate::infer::{Calibration, Grid, Sampling};
    use crate::threshold::{Course, Tail};
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    use std::time::Duration;

    const RULE: Rule = Rule { open_n: 2, open_m: 3, close_after: Duration::from_secs(30) };
    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const PLAIN: Threshold = Threshold { mu: 0.5, sigma: 0.3, k: 3.0, budget: None };

    /// One score a second, from 0 to 1.
    fn scores(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..n).map(|_| rng.random_range(0.0..1.0)).collect()
    }

    fn model(name: &str) -> ModelRef {
        ModelRef { name: "toy 1".into(), sha256: name.into() }
    }

    /// Its learning saw scores that were higher by 1.
    fn arming(minutes: usize) -> Arming {
        let course = scores(60 * minutes, 1).into_iter().enumerate().map(|(i, s)| (i as f64, s + 1.0));
        let calibration = Calibration { mu: 0.5, sigma: 0.3, scores: vec![], course: course.collect() };
        let frame = FrameSpec { width: 8, height: 8, format: PixelFormat::Gray8, fps: 4.0 };
        Arming {
            model: model("a"),
            threshold: PLAIN,
            tail: Tail::of(&calibration),
            course: Course::of(&calibration, Some(&Sampling { frame, stride: 4 })),
            method: "toy".into(),
            grid: Grid::WHOLE,
            factors: vec![],
            normal: None,
        }
    }

    fn life(dir: &std::path::Path, budget: Option<Budget>) -> Life {
        timely(dir, budget, Baseline::One)
    }

    fn timely(dir: &std::path::Path, budget: Option<Budget>, baseline: Baseline) -> Life {
        let day = DayParts::new(baseline, jiff::tz::TimeZone::UTC);
        Life::new(RULE, 4, budget, day, dir.join("gate/main.life"))
    }

    /// Watches, from this second since 1970 on.
    fn watch(life: &mut Life, begins: i64, scores: &[f32]) {
        for (i, score) in scores.iter().enumerate() {
            let end = Stamp {
                seq: i as u64,
                pts: Duration::from_secs(i as u64),
                wall: Timestamp::from_second(begins + i as i64).expect("in range"),
                received: Duration::ZERO,
            };
            let segment = Segment {
                index: i as u64,
                run: 0,
                start: end,
                end,
                unsettled: false,
                damaged: false,
                frames: vec![],
            };
            life.take(&segment, *score).expect("written");
        }
    }

    #[test]
    fn the_limit_is_the_calibrations_at_first_and_comes_down_as_life_is_watched() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut life = life(dir.path(), Some(Budget::HOURLY));
        assert!(life.arm(&model("a"), Some(&arming(10))).expect("armed"));
        assert!(!life.arm(&model("a"), Some(&arming(10))).expect("armed"), "already");
        let early = life.look(&[]);
        assert_eq!((early.blocks, life.threshold(PLAIN, NOW).budget), (19, Some(Budget::HOURLY)));
        assert!(life.threshold(PLAIN, NOW).limit() > 2.0, "above all that was seen: {:?}", early.asked);
        watch(&mut life, 1_000_000, &scores(60, 2));
        assert!(!life.is_due(), "a block of twenty is no news");
        watch(&mut life, 1_000_000, &scores(20 * 60, 2));
        assert!(life.is_due());
        assert_eq!(life.look(&[]).blocks, 19 + 41, "both, while little was watched");
        assert!(!life.is_due());
        watch(&mut life, 1_002_000, &scores(4 * 3600, 3));
        let late = life.look(&[]);
        assert_eq!(late.blocks, 41 + 480, "what was learned from is outgrown");
        let limit = life.threshold(PLAIN, NOW).limit();
        assert!((0.9..1.01).contains(&limit), "{limit}");
        assert_eq!(late.promise.best, Some(Budget::HOURLY));
        let calm = life.look(&[1_002_000.0..1_005_600.0]);
        assert!((395..400).contains(&calm.blocks), "{} without an hour's incident", calm.blocks);
    }

    /// By day scores are from 4 to 6, by night from 0 to 1; what is usual by day is an incident by night.
    #[test]
    fn nights_have_a_limit_of_their_own_once_two_were_seen() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (budget, baseline) in
            [(None, Baseline::DayNight), (Some(Budget::HOURLY), Baseline::Hours), (None, Baseline::One)]
        {
            let _ = std::fs::remove_file(dir.path().join("gate/main.life"));
            let mut life = timely(dir.path(), budget, baseline);
            life.arm(&model("a"), Some(&arming(10))).expect("armed");
            let limit = |life: &Life, hour: i64| {
                let at = Timestamp::from_second(3 * 86_400 + hour * 3600 + 60).expect("in range");
                life.threshold(PLAIN, at).limit()
            };
            for day in 0..3 {
                let by_hour = |second: usize, score: f32| match second / 3600 {
                    6..18 => 4.0 + 2.0 * score,
                    _ => score,
                };
                let of_day: Vec<f32> =
                    scores(86_400, day).into_iter().enumerate().map(|(i, s)| by_hour(i, s)).collect();
                watch(&mut life, day as i64 * 86_400, &of_day);
                if day == 0 {
                    assert!(life.look(&[]).rhythm.is_none(), "after a day");
                }
            }
            let outlook = life.look(&[]);
            let (night, noon) = (limit(&life, 3), limit(&life, 12));
            if baseline == Baseline::One {
                assert!(outlook.rhythm.is_none() && night == noon);
                continue;
            }
            assert!((1.0..2.0).contains(&night) && (5.5..8.0).contains(&noon), "{night} and {noon}");
            assert_eq!(outlook.blocks, 3 * 2880 - 1);
            // The last hour that was watched was one of the night.
            let asked = outlook.asked.map(|point| point.limit);
            assert_eq!(asked.is_some(), budget.is_some());
            assert!(asked.is_none_or(|asked| (asked - limit(&life, 23)).abs() < 1e-9), "{asked:?}");
            // What is usual counts anew after a restart, from the file.
            let mut again = timely(dir.path(), budget, baseline);
            again.arm(&model("a"), None).expect("armed");
            again.look(&[]);
            assert!((limit(&again, 3) - night).abs() < 1e-6);
        }
    }

    #[test]
    fn what_was_watched_outlives_the_program_but_not_the_model() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut before = life(dir.path(), None);
        before.arm(&model("a"), None).expect("armed");
        assert_eq!(before.threshold(PLAIN, NOW), PLAIN, "no budget: k holds");
        watch(&mut before, 1_000_000, &scores(3600, 2));
        drop(before);
        let mut after = life(dir.path(), Some(Budget::DAILY));
        after.arm(&model("a"), None).expect("armed");
        assert_eq!(after.look(&[]).blocks, 119);
        assert_eq!(after.threshold(PLAIN, NOW).budget, Some(Budget::DAILY));
        after.arm(&model("b"), None).expect("armed");
        assert_eq!(after.look(&[]).blocks, 0);
        assert_eq!(after.threshold(PLAIN, NOW), PLAIN, "k holds until enough was seen");
    }
}
