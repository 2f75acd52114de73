//! Time blocks that are left out of learning, to calibrate on.

use super::Sample;

/// Blocks are about this long, so that they hold more than one moment's neighbours, ...
const BLOCK_SECONDS: f64 = 8.0;
/// ... but there are at least and at most so many of them.
const BLOCKS: (usize, usize) = (5, 20);
/// Every fifth block is left out.
const EVERY: usize = 5;
/// Which of each five: one in the middle has neighbours in time on both sides.
const WHICH: usize = 2;

/// Indices into the samples, in order of time.
#[derive(Debug, PartialEq)]
pub struct Split {
    pub learn: Vec<usize>,
    pub calibrate: Vec<usize>,
}

/// Cuts the samples, which are in order of time, into blocks of equal numbers.
///
/// Samples closer than `guard` seconds to one that is left out, in the same run, share frames with it and
/// are used for neither.
pub fn split(samples: &[Sample], guard: f64) -> Split {
    let n = samples.len();
    let seconds = match (samples.first(), samples.last()) {
        (Some(first), Some(last)) => last.time - first.time,
        _ => 0.0,
    };
    let blocks = ((seconds / BLOCK_SECONDS) as usize).clamp(BLOCKS.0, BLOCKS.1);
    let left_out = |i: usize| (i * blocks / n) % EVERY == WHICH;
    let calibrate: Vec<usize> = (0..n).filter(|i| left_out(*i)).collect();
    let shares_frames = |i: usize| {
        // In order of time, so only the nearest ones on either side matter.
        let at = calibrate.partition_point(|c| *c < i);
        let near = |c: Option<&usize>| {
            c.is_some_and(|&c| {
                samples[c].run == samples[i].run && (samples[c].time - samples[i].time).abs() < guard
            })
        };
        near(calibrate.get(at)) || near(at.checked_sub(1).and_then(|before| calibrate.get(before)))
    };
    let learn = (0..n).filter(|i| !left_out(*i) && !shares_frames(*i)).collect();
    Split { learn, calibrate }
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
        let split = split(&samples, 2.0);
        assert!((80..90).contains(&split.calibrate.len()), "{}", split.calibrate.len());
        for &l in &split.learn {
            for &c in &split.calibrate {
                assert!((samples[l].time - samples[c].time).abs() >= 2.0);
            }
        }
        assert!(split.learn.len() > 270, "{}", split.learn.len());
    }

    #[test]
    fn other_runs_share_no_frames() {
        let split = split(&samples(100, 1.0, 1), 5.0);
        assert_eq!(split.learn.len() + split.calibrate.len(), 100);
    }

    #[test]
    fn short_recordings_still_have_five_blocks() {
        let split = split(&samples(50, 0.4, 50), 0.0);
        assert_eq!(split.calibrate, (20..30).collect::<Vec<_>>());
    }
}
