//! What the desk has to say of why an alert is one: frames and features at once, similar moments of normal life when
//! the picture is drawn. And the gallery of such moments, filled while nothing happens.

use super::board::Board;
use super::decide::Desk;
use super::scoring::Arming;
use crate::alert::{Event, SIMILAR, Similar, Why, movement, small_jpeg, strangest};
use crate::base::Timestamp;
use crate::features::Features;
use crate::frame::FrameSpec;
use crate::score::{Channels, moved, similar};
use crate::segment::Segment;
use crate::store::{Gallery, PICTURE_BYTES, StoreError};
use crate::telemetry::Stage;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Similar moments are at least so far from each other, and from what they are shown beside, seconds.
const APART: f64 = 30.0;
/// Pixels across the pictures of the gallery.
const PICTURE_WIDTH: u32 = 160;

/// A segment and what was seen in it.
pub struct Evidence {
    pub segment: Segment,
    pub features: Features,
}

/// What a verdict rests on: of a fused one, what the member saw that found most.
#[derive(Clone)]
pub struct Witness {
    pub feed: usize,
    pub evidence: Arc<Evidence>,
    pub arming: Arc<Arming>,
}

/// What explanations need of a feed.
pub struct Looks {
    /// `None` where it cannot be kept.
    pub gallery: Option<Gallery>,
    pub channels: Channels,
    pub frame: FrameSpec,
    /// The newest stream's run, and the wall time of its presentation time 0, seconds since 1970.
    pub run: Option<(u64, f64)>,
}

/// A moment of normal life that is like an event.
struct Alike {
    time: Timestamp,
    distance: f32,
    jpeg: Option<Vec<u8>>,
}

impl Looks {
    /// The moment of a segment by the stream's own clock, seconds since 1970.
    pub(super) fn clock(&mut self, segment: &Segment) -> f64 {
        let pts = segment.end.pts.as_secs_f64();
        let begins = (segment.run, segment.end.wall.as_microsecond() as f64 / 1e6 - pts);
        let run = self.run.filter(|(run, _)| *run == segment.run).unwrap_or(begins);
        self.run = Some(run);
        run.1 + pts
    }

    /// Like the segment in `regions`, and at other times: of the gallery, nearest first, with the pictures.
    fn similar(&mut self, evidence: &Evidence, regions: &[usize]) -> Result<Vec<Alike>, StoreError> {
        let clock = self.clock(&evidence.segment);
        let Some(gallery) = &self.gallery else { return Ok(vec![]) };
        let Features { dims, values, .. } = &evidence.features;
        let target: Vec<f32> =
            regions.iter().flat_map(|r| &values[r * dims..(r + 1) * dims]).copied().collect();
        let mut moments = gallery.moments(regions)?;
        moments.retain(|moment| (moment.clock - clock).abs() >= APART && moment.values.len() == target.len());
        let candidates: Vec<(f64, Vec<f32>)> =
            moments.iter_mut().map(|moment| (moment.clock, std::mem::take(&mut moment.values))).collect();
        let found = similar(&target, &candidates, APART, SIMILAR).into_iter();
        let alike = |(i, distance): (usize, f32)| {
            let moment = &moments[i];
            Ok(Alike { time: moment.time, distance, jpeg: gallery.picture(moment)? })
        };
        found.map(alike).collect()
    }
}

/// Presentation time of the middle of a segment: a region's energy is a mean over the segment, so what moves is best seen
/// in the box then.
pub fn middle(segment: &Segment) -> Duration {
    segment.start.pts + segment.end.pts.saturating_sub(segment.start.pts) / 2
}

impl Desk {
    /// What frames and features say of an event; quick.
    pub(super) fn explained(&self, event: &Event, witness: &Witness) -> Why {
        let Witness { feed, evidence, arming } = witness;
        let looks = &self.memories[*feed].looks;
        let regions = known(event, &evidence.features);
        let frames = movement(&evidence.segment, &looks.frame, event.grid, event.covers, &regions);
        let normal = arming.normal.as_ref();
        let features =
            normal.map_or(vec![], |normal| moved(&evidence.features, &regions, normal, &looks.channels));
        Why::of(&evidence.segment, frames, features)
    }

    /// Finds moments of normal life that are like an event's, and puts their pictures beside its own.
    pub(super) fn find_similar(&mut self, detector: usize, event: &mut Event, witness: &Witness) {
        let began = Instant::now();
        let regions = known(event, &witness.evidence.features);
        let looks = &mut self.memories[witness.feed].looks;
        let kept = looks.similar(&witness.evidence, &regions).and_then(|found| {
            let pictures: Vec<Option<&[u8]>> = found.iter().map(|alike| alike.jpeg.as_deref()).collect();
            self.store.put_similar(&event.id, &pictures)?;
            Ok(found)
        });
        match kept {
            Ok(found) => {
                let why = event.why.get_or_insert_default();
                let similar =
                    |Alike { time, distance, jpeg }| Similar { time, distance, picture: jpeg.is_some() };
                why.similar = found.into_iter().map(similar).collect();
                let tracker = self.seats[detector].tracker.as_mut();
                tracker.into_iter().for_each(|tracker| tracker.explained(&event.id, why));
            }
            Err(error) => tracing::warn!(event = %event.id, "nothing similar for this alert: {error}"),
        }
        self.metrics.stage(Stage::Why, began.elapsed());
    }

    /// Keeps a small picture of a feed's normal life, now and then, while nothing happens.
    pub(super) fn collect(&mut self, feed: usize, evidence: &Evidence) {
        let Some(detector) = self.memories[feed].detectors.first() else { return };
        let camera = self.seats[*detector].camera;
        let looks = &mut self.memories[feed].looks;
        let clock = looks.clock(&evidence.segment);
        if !looks.gallery.as_ref().is_some_and(|gallery| gallery.wants(clock)) || !self.is_calm(camera) {
            return;
        }
        let began = Instant::now();
        let taken = self.board.with(camera, |facts| facts.pictures.clone());
        let picture = taken.and_then(|pictures| pictures.at(middle(&evidence.segment), PICTURE_WIDTH));
        let jpeg = picture.and_then(|picture| small_jpeg(&picture, PICTURE_BYTES));
        let looks = &mut self.memories[feed].looks;
        if let (Some(jpeg), Some(gallery)) = (jpeg, &mut looks.gallery) {
            let kept = gallery.put(clock, evidence.segment.end.wall, &evidence.features, &jpeg);
            if let Err(error) = kept {
                tracing::error!("no more pictures of normal life are kept: {error}");
                looks.gallery = None;
            }
        }
        self.metrics.stage(Stage::Gallery, began.elapsed());
    }

    /// No detector of a camera has an open event, or found its newest segment unusual.
    fn is_calm(&self, camera: usize) -> bool {
        let calm = |detector: usize, board: &Board| {
            board.of(detector, |watch| {
                let limit = watch.threshold.map_or(f64::INFINITY, |threshold| threshold.limit());
                watch.open_event.is_none() && watch.last_score.is_none_or(|score| f64::from(score) <= limit)
            })
        };
        self.seats
            .iter()
            .filter(|(_, seat)| seat.camera == camera)
            .all(|(detector, _)| calm(detector, &self.board))
    }
}

/// The strangest regions of an event's map, as far as there are features of them.
fn known(event: &Event, features: &Features) -> Vec<usize> {
    let mut regions = strangest(&event.regions, event.threshold as f32);
    regions.retain(|region| *region < features.regions);
    regions
}
