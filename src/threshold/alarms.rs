//! Blocks -> how many alarms each limit would have raised, and whether they come in flocks.

use super::Block;

/// Blocks of a window in which a flock of alarms is looked for: some minutes; and windows that make an estimate.
const FLOCK_BLOCKS: usize = 12;
const LEAST_WINDOWS: usize = 20;
/// Levels from the highest down, each with the alarms so far: blocks that are next to each other are one, and so are those
/// between which an event would have been kept open.
pub(super) fn ranked(blocks: &[Block]) -> Vec<(f64, usize)> {
    let falling = |of: fn(&Block) -> f32| {
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        order.sort_by(|a, b| of(&blocks[*b]).total_cmp(&of(&blocks[*a])));
        order
    };
    let (by_level, mut by_peak) = (falling(|b| b.level), falling(|b| b.peak).into_iter().peekable());
    let mut joined =
        Joined { next: (0..blocks.len()).collect(), alarm: vec![false; blocks.len()], alarms: 0 };
    let mut there = vec![false; blocks.len()];
    let rank = |at: usize| {
        while let Some(peak) = by_peak.next_if(|i| blocks[*i].peak >= blocks[at].level) {
            there[peak] = true;
            if peak > 0 && there[peak - 1] && blocks[peak - 1].to == blocks[peak].from {
                joined.join(peak - 1, peak);
            }
            if there.get(peak + 1) == Some(&true) && blocks[peak].to == blocks[peak + 1].from {
                joined.join(peak, peak + 1);
            }
        }
        joined.alarms_at(at);
        (f64::from(blocks[at].level), joined.alarms)
    };
    by_level.into_iter().map(rank).collect()
}

/// Stretches of blocks, and which of them are alarms (a forest of disjoint sets).
struct Joined {
    next: Vec<usize>,
    /// Of the stretch that is named after the block.
    alarm: Vec<bool>,
    alarms: usize,
}

impl Joined {
    /// The block that the stretch of `at` is named after.
    fn name(&mut self, mut at: usize) -> usize {
        while self.next[at] != at {
            self.next[at] = self.next[self.next[at]];
            at = self.next[at];
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.name(a), self.name(b));
        if a != b {
            self.alarms -= usize::from(self.alarm[a] && self.alarm[b]);
            self.alarm[b] |= self.alarm[a];
            self.next[a] = b;
        }
    }

    fn alarms_at(&mut self, at: usize) {
        let name = self.name(at);
        self.alarms += usize::from(!self.alarm[name]);
        self.alarm[name] = true;
    }
}

/// Variance over mean of the alarms in windows of time, under the limit that raises enough of them for an estimate; at
/// least 1.
pub(super) fn dispersion(blocks: &[Block], ranked: &[(f64, usize)]) -> f64 {
    let windows = blocks.len() / FLOCK_BLOCKS;
    if windows < LEAST_WINDOWS {
        return 1.0;
    }
    let limit = ranked.iter().find(|(_, alarms)| *alarms >= windows / 3).map_or(f64::INFINITY, |r| r.0);
    let above = |i: usize| blocks.get(i).is_some_and(|b| f64::from(b.level) >= limit);
    let begins = |i: usize| above(i) && !(i > 0 && above(i - 1) && blocks[i - 1].to == blocks[i].from);
    let counts: Vec<f64> = (0..windows)
        .map(|w| (w * FLOCK_BLOCKS..(w + 1) * FLOCK_BLOCKS).filter(|i| begins(*i)).count() as f64)
        .collect();
    let mean = counts.iter().sum::<f64>() / windows as f64;
    let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / (windows - 1) as f64;
    if mean > 0.0 { (variance / mean).max(1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    fn block((i, (level, peak)): (usize, &(f32, f32))) -> Block {
        Block { from: 30.0 * i as f64, to: 30.0 * (i + 1) as f64, level: *level, peak: *peak, usual: None }
    }

    #[test]
    fn neighbouring_blocks_are_one_alarm() {
        let levels = [5.0, 1.0, 2.0, 6.0, 7.0, 1.5, 0.0, 3.0];
        let block = |(i, level): (usize, &f32)| {
            // Nothing was seen between the first and the second.
            let from = if i == 1 { 50.0 } else { 30.0 * i as f64 };
            Block { from, to: 30.0 * (i + 1) as f64, level: *level, peak: *level, usual: None }
        };
        let blocks: Vec<Block> = levels.iter().enumerate().map(block).collect();
        let found: Vec<usize> = ranked(&blocks).iter().map(|(_, alarms)| *alarms).collect();
        assert_eq!(found, [1, 1, 2, 3, 3, 3, 3, 2]);
        assert_eq!(ranked(&blocks)[4], (2.0, 3));
    }

    #[test]
    fn what_would_have_kept_an_event_open_joins_two_blocks_to_one_alarm() {
        // The second block opens nothing above 1, and prolongs under any limit below 4.
        let blocks: Vec<Block> = [(5.0, 6.0), (1.0, 4.0), (4.5, 4.5), (2.0, 2.5), (3.0, 3.0)]
            .iter()
            .enumerate()
            .map(block)
            .collect();
        let found: Vec<(f64, usize)> = ranked(&blocks);
        assert_eq!(found, [(5.0, 1), (4.5, 2), (3.0, 2), (2.0, 1), (1.0, 1)]);
    }

    #[test]
    fn alarms_that_come_in_flocks_are_told_from_independent_ones() {
        let mut rng = StdRng::seed_from_u64(5);
        let mut of = |flock: usize| {
            let mut levels = vec![0.0; 4800];
            for _ in 0..400 / flock {
                let at = rng.random_range(0..4800 - 2 * flock);
                let strength = rng.random_range(1.0..2.0);
                (0..flock).for_each(|i| levels[at + 2 * i] = strength + rng.random_range(0.0..0.1));
            }
            let blocks: Vec<Block> = levels
                .iter()
                .map(|level| (*level, *level))
                .enumerate()
                .map(|(i, pair)| block((i, &pair)))
                .collect();
            dispersion(&blocks, &ranked(&blocks))
        };
        let (alone, fours) = (of(1), of(4));
        assert!((1.0..1.3).contains(&alone) && (2.0..5.0).contains(&fours), "{alone}, {fours}");
        let few: Vec<Block> = [(1.0, 1.0); 30].iter().enumerate().map(block).collect();
        assert_eq!(dispersion(&few, &ranked(&few)), 1.0, "too little to tell");
    }
}
