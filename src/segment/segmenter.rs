//! Collects frames into segments; never across a break.

use super::{SEGMENT_FRAMES, Segment};
use crate::frame::Frame;
use std::collections::VecDeque;

/// Makes segments of [`SEGMENT_FRAMES`] consecutive frames of one run. Holds fewer frames than that.
#[derive(Debug)]
pub struct Segmenter {
    stride: usize,
    run: Option<u64>,
    held: VecDeque<Frame>,
    /// Frames still to pass over before the next segment begins (strides longer than a segment).
    skip: usize,
    index: u64,
}

impl Segmenter {
    /// `stride`: frames between the starts of consecutive segments of a run, at least 1; 16 gives segments
    /// that neither overlap nor leave frames out, more leaves frames out between them.
    pub fn new(stride: usize) -> Self {
        assert!(stride > 0, "a stride of no frames never gets on");
        Self { stride, run: None, held: VecDeque::with_capacity(SEGMENT_FRAMES), skip: 0, index: 0 }
    }

    /// Takes the next frame, and gives the segment that it completes. The first frame of another run
    /// discards what was held; indices go on counting.
    pub fn push(&mut self, frame: Frame) -> Option<Segment> {
        if self.run != Some(frame.run) {
            self.run = Some(frame.run);
            self.held.clear();
            self.skip = 0;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        let (run, end) = (frame.run, frame.stamp);
        self.held.push_back(frame);
        if self.held.len() < SEGMENT_FRAMES {
            return None;
        }
        let segment = Segment {
            index: self.index,
            run,
            start: self.held[0].stamp,
            end,
            unsettled: false,
            damaged: self.held.iter().any(|f| f.damaged),
            frames: self.held.iter().map(|f| f.pixels.clone()).collect(),
        };
        self.index += 1;
        self.held.drain(..self.stride.min(SEGMENT_FRAMES));
        self.skip = self.stride.saturating_sub(SEGMENT_FRAMES);
        Some(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::frame::Stamp;
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    use std::time::Duration;

    fn frame(seq: u64, run: u64) -> Frame {
        let pts = Duration::from_millis(100 * seq);
        let stamp = Stamp { seq, pts, wall: Timestamp::UNIX_EPOCH, received: pts };
        Frame { stamp, view: 0, run, keys: None, damaged: seq == 35, pixels: vec![seq as u8; 4].into() }
    }

    fn segments(stride: usize, frames: &[Frame]) -> Vec<Segment> {
        let mut segmenter = Segmenter::new(stride);
        frames.iter().cloned().filter_map(|f| segmenter.push(f)).collect()
    }

    #[test]
    fn a_segment_is_sixteen_frames_in_order() {
        let all: Vec<_> = (0..40).map(|i| frame(i, 3)).collect();
        let got = segments(16, &all);
        let spans: Vec<_> = got.iter().map(|s| (s.index, s.run, s.start.seq, s.end.seq)).collect();
        assert_eq!(spans, [(0, 3, 0, 15), (1, 3, 16, 31)]);
        let damaged = segments(8, &all).iter().map(|s| s.damaged).collect::<Vec<_>>();
        assert_eq!(damaged, [false, false, false, true], "frame 35 is, of 24 to 39");
        let pixels: Vec<_> = got[1].frames.iter().map(|p| p[0]).collect();
        assert_eq!(pixels, (16..32).collect::<Vec<u8>>());
    }

    #[test]
    fn strides_overlap_or_leave_out() {
        let all: Vec<_> = (0..70).map(|i| frame(i, 0)).collect();
        let starts = |stride| segments(stride, &all).iter().map(|s| s.start.seq).collect::<Vec<_>>();
        assert_eq!(starts(1), (0..55).collect::<Vec<_>>());
        assert_eq!(starts(4), (0..55).step_by(4).collect::<Vec<_>>());
        assert_eq!(starts(20), [0, 20, 40]);
    }

    #[test]
    fn whatever_the_runs_segments_never_cross_a_break_and_none_is_missed() {
        let mut rng = StdRng::seed_from_u64(7);
        for _ in 0..300 {
            let stride = rng.random_range(1..=24);
            let lengths: Vec<u64> = (0..rng.random_range(1..6)).map(|_| rng.random_range(1..90)).collect();
            let (mut all, mut expected, mut seq) = (vec![], vec![], 0);
            for (run, &n) in lengths.iter().enumerate() {
                all.extend((seq..seq + n).map(|s| frame(s, run as u64)));
                expected
                    .extend((seq..seq + n).step_by(stride).filter(|s| s + 16 <= seq + n).map(|s| (s, run)));
                seq += n;
            }
            let got = segments(stride, &all);
            let spans: Vec<_> = got.iter().map(|s| (s.start.seq, s.run as usize)).collect();
            assert_eq!(spans, expected, "stride {stride}, runs of {lengths:?}");
            for (i, s) in got.iter().enumerate() {
                assert_eq!((s.index, s.end.seq - s.start.seq), (i as u64, 15));
                assert_eq!(s.frames.len(), SEGMENT_FRAMES);
            }
        }
    }
}
