//! The extractor workers: each owns single-thread ONNX sessions and serves the feeds in turn.

use super::lane::{LaneSender, SegmentLane};
use super::pulse::Pulse;
use crate::features::{Extractor, Features};
use crate::infer::InferError;
use crate::segment::Segment;
use crate::telemetry::{Metrics, Queue, Stage};
use std::time::{Duration, Instant};

/// What an extractor made of one segment.
pub struct Extracted {
    pub feed: usize,
    pub segment: Segment,
    /// The error is told to the detectors' health; the segment is then lost, and counted.
    pub features: Result<Features, InferError>,
}

/// Runs until the lane is told to stop and empty. `extractors[which[feed]]` serves a feed.
pub fn work(
    lane: &SegmentLane,
    extractors: &mut [Box<dyn Extractor>],
    which: &[usize],
    next: &LaneSender<Extracted>,
    metrics: &Metrics,
    pulse: &Pulse,
    finished: &dyn Fn() -> bool,
) {
    let waiting = metrics.queue(Queue::Segments);
    loop {
        pulse.beat();
        let Some((feed, segment)) = lane.take(Duration::from_millis(200)) else {
            if finished() {
                return;
            }
            continue;
        };
        let began = Instant::now();
        pulse.beat_until(crate::features::DEADLINE);
        let features = extractors[which[feed]].extract(&[&segment]).map(|mut batch| batch.remove(0));
        metrics.stage(Stage::Extract, began.elapsed());
        waiting.depth(lane.depth());
        let alive = next.send(Extracted { feed, segment, features }, &|| pulse.beat());
        lane.done(feed);
        if !alive {
            return;
        }
    }
}
