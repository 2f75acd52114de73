//! The extractor workers: each owns single-thread ONNX sessions and serves the feeds in turn.

use super::change::Featured;
use super::lane::{LaneSender, SegmentLane};
use super::numbered::Numbered;
use super::pulse::Pulse;
use crate::features::{Extractor, Features};
use crate::infer::InferError;
use crate::segment::Segment;
use crate::telemetry::{Metrics, Queue, Stage};
use crossbeam_channel::Receiver;
use std::time::{Duration, Instant};

/// At a stop what waits is still extracted for so long; a slow machine leaves the rest.
const DRAIN: Duration = Duration::from_secs(4);

/// What an extractor made of one segment.
pub struct Extracted {
    pub feed: usize,
    pub segment: Segment,
    /// The error is told to the detectors' health; the segment is then lost, and counted.
    pub features: Result<Features, InferError>,
}

/// Sessions that a worker is to have, and those that nobody needs any more, by the extractor's number. Told before the
/// first segment that needs them is pushed, so that the worker who takes that finds them.
pub struct Equipment {
    pub bring: Vec<(usize, Box<dyn Extractor>)>,
    pub drop: Vec<usize>,
}

/// Runs until it is told to stop, and the lane is empty or [`DRAIN`] is over.
pub fn work(
    lane: &SegmentLane,
    equipment: &Receiver<Equipment>,
    next: &LaneSender<Featured>,
    metrics: &Metrics,
    pulse: &Pulse,
    finished: &dyn Fn() -> bool,
) {
    let waiting = metrics.queue(Queue::Segments);
    let mut extractors: Numbered<Box<dyn Extractor>> = Numbered::default();
    let mut stopping = None;
    loop {
        pulse.beat();
        let taken = lane.take(Duration::from_millis(200));
        for Equipment { bring, drop } in equipment.try_iter() {
            drop.into_iter().for_each(|number| std::mem::drop(extractors.remove(number)));
            extractors.extend(bring);
        }
        let Some((feed, segment)) = taken else {
            if finished() {
                return;
            }
            continue;
        };
        if finished() && stopping.get_or_insert_with(Instant::now).elapsed() > DRAIN {
            let left = lane.depth() + 1;
            return tracing::warn!(
                "{left} segments are left out at the stop: this machine is too slow for them"
            );
        }
        waiting.depth(lane.depth());
        // Of a camera that has gone there may be none: nobody waits for its features.
        let alive = extractors.get_mut(feed.extractor()).is_none_or(|extractor| {
            let began = Instant::now();
            pulse.beat_until(crate::features::DEADLINE);
            let features = extractor.extract(&[&segment]).map(|mut batch| batch.remove(0));
            metrics.stage(Stage::Extract, began.elapsed());
            let extracted = Extracted { feed: feed.feed(), segment, features };
            next.send(Featured::Segment(Box::new(extracted)), &|| pulse.beat())
        });
        feed.done();
        if !alive {
            return;
        }
    }
}
