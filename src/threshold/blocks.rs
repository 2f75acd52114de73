//! Scores -> blocks of time: the highest limit under which an event would have opened in each.

use super::{Rule, Usual};
use crate::infer::{Calibration, Sampling};
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// A block is as long as an event needs to close, within these: neighbouring segments, and most of what one incident
/// does, then count once.
const SHORTEST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(60);

/// A stretch of watched time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// From the end of the last segment before it to the end of its last one, seconds on the scores' clock. Longer than
    /// a block where nothing was seen for a while.
    pub from: f64,
    pub to: f64,
    /// An event would have opened in it under any limit below this.
    pub level: f32,
    /// Its highest score, which prolongs an event under any limit below it; `level` where that is not known.
    pub peak: f32,
    /// Of the finite scores in it; `None` where that is not known.
    pub usual: Option<Usual>,
}

/// Length of the blocks under a rule, seconds.
pub fn block_seconds(rule: &Rule) -> f64 {
    rule.close_after.clamp(SHORTEST, LONGEST).as_secs_f64()
}

/// Cuts scores, as they come, into blocks.
///
/// An event opens when `open_n` of the last `open_m` segments are above the limit and the newest is one of them. So the
/// level of a segment is the `open_n`-th highest of the last `open_m` scores, or its own where that is lower; that of a
/// block is its highest. Blocks of this level tell how often *events* come; maxima of the scores themselves would also
/// count single high segments, which open nothing.
#[derive(Debug, Clone)]
pub struct Blocking {
    rule: Rule,
    seconds: f64,
    /// The newest `open_m` scores at most.
    window: VecDeque<f32>,
    begun: Option<f64>,
    /// Time seen since the block began, and its level.
    seen: f64,
    level: f32,
    peak: f32,
    /// Of its scores: how many, their sum, and the sum of their squares.
    moments: [f64; 3],
}

impl Blocking {
    pub fn new(rule: Rule) -> Self {
        let window = VecDeque::with_capacity(rule.open_m);
        let seconds = block_seconds(&rule);
        let (level, peak) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
        Self { rule, seconds, window, begun: None, seen: 0.0, level, peak, moments: [0.0; 3] }
    }

    /// Takes the score of a segment that ended at `time`, `passed` seconds of video after the one before it (a recording
    /// played fast has more of them than the clock); gives the block that it completes.
    ///
    /// A score that is not finite takes a place among the `open_m`, as in [`super::Debounce`]. A silence of `close_after`,
    /// or a clock that went back, is not time seen, and what lies before it does not count towards an event.
    pub fn push(&mut self, time: f64, passed: f64, score: f32) -> Option<Block> {
        let seen = (0.0..self.rule.close_after.as_secs_f64()).contains(&passed);
        if !seen {
            self.window.clear();
        }
        let begun = *self.begun.get_or_insert(time);
        self.seen += if seen { passed } else { 0.0 };
        if self.window.len() == self.rule.open_m {
            self.window.pop_front();
        }
        if score.is_finite() {
            let value = f64::from(score);
            [1.0, value, value * value].into_iter().zip(&mut self.moments).for_each(|(new, sum)| *sum += new);
        }
        let score = if score.is_finite() { score } else { f32::NEG_INFINITY };
        self.window.push_back(score);
        // Few change the level; the others need not be ranked.
        let above = |score: &&f32| **score > self.level;
        if score > self.level && self.window.iter().filter(above).count() >= self.rule.open_n {
            self.level = self.level.max(self.opens_below().min(score));
        }
        self.peak = self.peak.max(score);
        // What sums of fractions leave over is no time.
        if self.seen < self.seconds - 1e-6 {
            return None;
        }
        let usual = (self.moments[0] > 0.0).then(|| Usual::of(self.moments));
        let block = Block { from: begun.min(time), to: time, level: self.level, peak: self.peak, usual };
        (self.begun, self.seen, self.moments) = (Some(time), 0.0, [0.0; 3]);
        (self.level, self.peak) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
        Some(block)
    }

    /// The `open_n`-th highest score of the window.
    fn opens_below(&self) -> f32 {
        let mut ranked: Vec<f32> = self.window.iter().copied().collect();
        ranked.sort_by(|a, b| b.total_cmp(a));
        ranked.get(self.rule.open_n - 1).copied().unwrap_or(f32::NEG_INFINITY)
    }
}

/// The blocks of scores with their times, in order. Each score stands for `held` segments: those that are learned from
/// lie further apart than those that are watched, and `open_n` of them would have to be high for longer.
pub fn blocks(rule: Rule, scores: impl IntoIterator<Item = (f64, f32)>, held: usize) -> Vec<Block> {
    let mut blocking = Blocking::new(rule);
    let (mut found, mut last) = (vec![], None);
    for (time, score) in scores {
        for again in 0..held {
            let passed = last.filter(|_| again == 0).map_or(0.0, |last| time - last);
            found.extend(blocking.push(time, passed, score));
        }
        last = Some(time);
    }
    found
}

/// Scores of normal life by models that had not learned from it, as a model file has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// In order of time: end of the segment, seconds from the first one, and its score.
    scores: Vec<(f64, f32)>,
    /// Frames between the starts of segments.
    stride: usize,
}

impl Course {
    /// Of files from before times were kept, the scores are as far apart as their segments, and the highest few are
    /// missing. `None`: the file says nothing of time.
    pub fn of(calibration: &Calibration, sampling: Option<&Sampling>) -> Option<Self> {
        let Sampling { frame, stride } = sampling?;
        let apart = *stride as f64 / frame.fps;
        let spaced = || calibration.scores.iter().enumerate().map(|(i, s)| (i as f64 * apart, *s)).collect();
        let known = !calibration.course.is_empty();
        let scores = if known { calibration.course.clone() } else { spaced() };
        Some(Self { scores, stride: *stride })
    }

    /// Its blocks under a rule, for one who watches with this stride.
    pub fn blocks(&self, rule: Rule, stride: usize) -> Vec<Block> {
        blocks(rule, self.scores.iter().copied(), (self.stride / stride).max(1))
    }
}

/// The blocks that touch none of the spans, nor the `margin` seconds about them.
pub fn outside(blocks: &[Block], spans: &[Range<f64>], margin: f64) -> Vec<Block> {
    let touches = |b: &Block| spans.iter().any(|s| b.from < s.end + margin && s.start - margin < b.to);
    blocks.iter().filter(|b| !touches(b)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Debounce, Step, Threshold};
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    fn rule(open_n: usize, open_m: usize) -> Rule {
        Rule { open_n, open_m, close_after: Duration::from_secs(30) }
    }

    /// The level of a block says what the state machine does under every limit.
    #[test]
    fn an_event_opens_in_a_block_exactly_under_limits_below_its_level() {
        for (n, m) in [(1, 1), (2, 3), (3, 5), (4, 4)] {
            let mut rng = StdRng::seed_from_u64(7);
            let scores: Vec<f32> = (0..61).map(|_| (rng.random_range(0..50) as f32) / 10.0).collect();
            let found = blocks(rule(n, m), scores.iter().enumerate().map(|(i, s)| (i as f64 * 0.5, *s)), 1);
            assert_eq!(found.len(), 1);
            for tenth in 0..50 {
                let limit = Threshold::plain(f64::from(tenth as f32 / 10.0), 1.0, 0.0);
                let mut debounce = Debounce::new(rule(n, m));
                let mut step = |(i, s): (usize, &f32)| {
                    debounce.step(i as u64, Duration::from_millis(500 * i as u64), limit.judge(*s))
                };
                let opened = scores.iter().enumerate().any(|s| matches!(step(s), Step::Opened { .. }));
                assert_eq!(opened, f64::from(found[0].level) > limit.limit(), "{n} of {m} at {tenth}");
            }
        }
    }

    #[test]
    fn time_that_was_not_seen_is_in_no_block() {
        let second = |i: usize| (i as f64 + if i >= 20 { 3600.0 } else { 0.0 }, 1.0);
        let found = blocks(rule(1, 1), (0..62).map(second), 1);
        let spans: Vec<_> = found.iter().map(|b| (b.from, b.to)).collect();
        assert_eq!(spans, [(0.0, 3631.0), (3631.0, 3661.0)], "19 s, an hour of nothing, 11 s");
        let back = blocks(rule(1, 1), [(100.0, 1.0), (5.0, 1.0), (20.0, 2.0), (35.0, 3.0)], 1);
        let spans: Vec<_> = back.iter().map(|b| (b.from, b.to, b.level)).collect();
        assert_eq!(spans, [(35.0, 35.0, 3.0)]);
        // Of all four scores, also those from before the clock went back.
        assert_eq!(back[0].usual.map(|usual| usual.mu), Some(1.75));
    }

    #[test]
    fn what_is_not_finite_and_what_lies_before_a_silence_opens_nothing() {
        let scores =
            [(0.0, 9.0), (40.0, 9.0), (41.0, f32::NAN), (42.0, f32::INFINITY), (69.0, 1.0), (70.0, 2.0)];
        let found = blocks(rule(2, 3), scores, 1);
        assert_eq!(found.iter().map(|b| b.level).collect::<Vec<_>>(), [1.0]);
    }

    #[test]
    fn a_score_that_is_held_counts_as_often() {
        let scores = |i: usize| (i as f64 * 0.4, if i == 30 { 5.0 } else { 1.0 });
        let level = |held| blocks(rule(2, 3), (0..80).map(scores), held)[0].level;
        assert_eq!((level(1), level(2)), (1.0, 5.0));
    }

    #[test]
    fn blocks_at_an_incident_and_about_it_are_left_out() {
        let all: Vec<Block> = (0..10)
            .map(|i| Block {
                from: 30.0 * i as f64,
                to: 30.0 * (i + 1) as f64,
                level: i as f32,
                peak: i as f32,
                usual: None,
            })
            .collect();
        let left = outside(&all, &[100.0..110.0, 299.0..299.5], 15.0);
        assert_eq!(left.iter().map(|b| b.level as usize).collect::<Vec<_>>(), [0, 1, 5, 6, 7, 8]);
    }
}
