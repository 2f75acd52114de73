//! A camera's thread: keeps it connected, cuts its frames into segments, says on the board how it fares.

use super::board::{Board, Facts};
use super::lane::SegmentLane;
use super::stop::Stop;
use crate::api::{Bus, LearningState, LinkState};
use crate::base::{CameraName, Clock};
use crate::frame::{Frame, FrameSpec, Link, LinkEvent, Source, SourceErrorKind};
use crate::segment::{SEGMENT_FRAMES, Segmenter};
use crate::telemetry::{CameraMetrics, DropReason, SkipReason};
use std::sync::Arc;
use std::time::Duration;

/// What a camera's thread works with.
pub struct CameraThread {
    pub camera: usize,
    pub name: CameraName,
    pub spec: FrameSpec,
    pub stall_after: Duration,
    /// Segments are dropped when the machine is too slow; those of a recording played as fast as possible wait.
    pub keeps_pace: bool,
    pub segmenter: Segmenter,
    pub lane: Arc<SegmentLane>,
    pub board: Arc<Board>,
    pub bus: Arc<Bus>,
    pub metrics: CameraMetrics,
    pub clock: Arc<dyn Clock>,
    pub stop: Stop,
}

impl CameraThread {
    /// Runs until the stop, or until a recording has ended.
    pub fn run(mut self, mut source: Box<dyn Source>) {
        let link = Link::new(self.spec.clone(), self.stall_after, self.clock.clone());
        let stop = self.stop.flag();
        link.run(&mut *source, &stop, &mut |event| self.hear(event));
    }

    fn hear(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connecting => self.enter(LinkState::Connecting, None),
            LinkEvent::Live { info, pictures } => {
                tracing::info!(
                    camera = %self.name, codec = info.codec.as_deref().unwrap_or("unknown"),
                    "live, {} x {} pixels, {} frames a second declared", info.width, info.height, info.fps
                );
                self.board.with(self.camera, |facts| {
                    facts.stream = info;
                    facts.pictures = Some(pictures);
                    facts.link_problem = None;
                });
                self.enter(LinkState::Live, None);
            }
            LinkEvent::Frame(frame) => self.take(frame),
            LinkEvent::Dropped(frames) => self.metrics.dropped(DropReason::QueueFull, frames),
            LinkEvent::Lost { error } => {
                tracing::warn!(camera = %self.name, "lost: {error}");
                self.metrics.reconnect(error.kind.into());
                self.board.with(self.camera, |facts| facts.reconnects += 1);
                let state = match error.kind {
                    SourceErrorKind::Stalled => LinkState::Stalled,
                    _ => LinkState::BackingOff,
                };
                self.enter(state, Some(error.to_string()));
            }
            LinkEvent::BackingOff { wait } => {
                tracing::debug!(camera = %self.name, "connecting again in {:.1} s", wait.as_secs_f64());
                self.enter(LinkState::BackingOff, None);
            }
            LinkEvent::Finished { error } => {
                match &error {
                    Some(error) => tracing::error!(camera = %self.name, "given up: {error}"),
                    None => tracing::info!(camera = %self.name, "the recording has ended"),
                }
                self.enter(LinkState::Finished, error.map(|error| error.to_string()));
            }
        }
    }

    /// The camera's connection is in another state; a `problem` stays until it is live again.
    fn enter(&self, state: LinkState, problem: Option<String>) {
        let changed = self.board.with(self.camera, |facts| {
            let changed = facts.link != state || problem.is_some();
            facts.link = state;
            facts.link_problem = problem.or(facts.link_problem.take());
            changed
        });
        if changed {
            self.metrics.link(state.into());
            self.bus.camera(&self.board.status(self.camera));
        }
    }

    fn take(&mut self, frame: Frame) {
        let stamp = frame.stamp;
        self.metrics.frame(stamp.wall.as_microsecond() as f64 / 1e6);
        self.board.with(self.camera, |facts| facts.frame(stamp.wall, stamp.received));
        let Some(segment) = self.segmenter.push(frame) else { return };
        while !self.keeps_pace && !self.may_go_on() {
            if self.stop.requested() {
                return;
            }
        }
        if self.lane.push(self.camera, segment).is_some() {
            self.metrics.skipped(SkipReason::QueueFull);
            self.metrics.dropped(DropReason::QueueFull, SEGMENT_FRAMES as u64);
        }
    }

    /// Waits for room for a recording's next segment, and while its first model is made: a recording can
    /// wait, so nothing of it has to go by unjudged. False when there is reason to wait on.
    fn may_go_on(&self) -> bool {
        let wait = Duration::from_millis(100);
        let in_the_making =
            |facts: &mut Facts| facts.training && facts.learning.state == LearningState::Learning;
        if self.board.with(self.camera, in_the_making) {
            self.clock.sleep(wait);
            return false;
        }
        self.lane.wait_for_room(self.camera, wait)
    }
}
