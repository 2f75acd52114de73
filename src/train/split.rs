//! Time blocks that take turns at being left out of learning: what a model says of a block it never saw.

use super::Sample;

/// Blocks of time. Few and long: neighbours in time show the same people, so that short blocks between
/// learned ones would flatter the model.
pub const BLOCKS: usize = 3;

/// Indices into the samples, in order of time.
#[derive(Debug, PartialEq)]
pub struct Split {
    pub learn: Vec<usize>,
    pub left_out: Vec<usize>,
}

/// Leaves each block of the samples, which are in order of time, out once.
///
/// Samples closer than `guard` seconds to one that is left out, in the same run, share frames with it and
/// are used for neither.
pub fn splits(samples: &[Sample], guard: f64) -> Vec<Split> {
    (0..BLOCKS).map(|block| split(samples, guard, block)).collect()
}

fn split(samples: &[Sample], guard: f64, block: usize) -> Split {
    let n = samples.len();
    let left_out: Vec<usize> = (0..n).filter(|i| i * BLOCKS / n == block).collect();
    let (Some(&first), Some(&last)) = (left_out.first(), left_out.last()) else {
        return Split { learn: vec![], left_out };
    };
    let near = |i: usize, edge: usize| {
        samples[i].run == samples[edge].run && (samples[i].time - samples[edge].time).abs() < guard
    };
    let learn =
        (0..n).filter(|i| !(first..=last).contains(i) && !near(*i, first) && !near(*i, last)).collect();
    Split { learn, left_out }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Features;

    fn samples(n: usize, every: f64, per_run: usize) -> Vec<Sample> {
        let features = Features { regions: 1, dims: 1, values: vec![0.0] };
        (0..n)
            .map(|i| Sample { time: i as f64 * every, run: (i / per_run) as u64, features: features.clone() })
            .collect()
    }

    #[test]
    fn nothing_learned_from_shares_frames_with_what_is_left_out() {
        let samples = samples(400, 0.4, 400);
        for split in splits(&samples, 2.0) {
            for &l in &split.learn {
                for &c in &split.left_out {
                    assert!((samples[l].time - samples[c].time).abs() >= 2.0);
                }
            }
            assert!(split.learn.len() > 250, "{}", split.learn.len());
        }
    }

    #[test]
    fn every_sample_is_left_out_once() {
        let mut left_out: Vec<usize> =
            splits(&samples(50, 0.4, 50), 1.0).into_iter().flat_map(|s| s.left_out).collect();
        left_out.sort_unstable();
        assert_eq!(left_out, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn other_runs_share_no_frames() {
        for split in splits(&samples(100, 1.0, 1), 5.0) {
            assert_eq!(split.learn.len() + split.left_out.len(), 100);
        }
    }
}
