//! A camera's thread: keeps it connected, cuts its frames into segments, says on the board how it fares.

use super::board::{Board, Watch};
use super::labels::sight;
use super::lane::FeedLane;
use super::shedding::Shedding;
use super::standing::Change;
use super::stop::Stop;
use crate::api::{Bus, LearningState, LinkState};
use crate::base::{CameraName, Clock};
use crate::frame::{Effort, Frame, FrameSpec, Link, LinkEvent, Source, SourceErrorKind, Stamp, Turns};
use crate::segment::{
    DamageWatch, MediaClock, PictureState, PictureWatch, SEGMENT_FRAMES, SceneChange, SceneWatch, Segmenter,
};
use crate::telemetry::{CameraMetrics, DetectorMetrics, DropReason, SkipReason};
use std::sync::Arc;
use std::time::Duration;

/// Said while a camera gives way to others.
const TOO_SLOW: &str = "the machine is too slow: only key frames are decoded for a while, and nothing is judged (watch fewer \
                        cameras, or with fewer `fps`, a smaller picture or a longer `stride`)";

/// What a camera's thread works with.
pub struct CameraThread {
    pub camera: usize,
    pub name: CameraName,
    /// What the extractors want.
    pub views: Vec<FrameSpec>,
    pub stall_after: Duration,
    /// It is to be watched.
    pub enabled: bool,
    /// Segments are dropped when the machine is too slow; those of a recording played as fast as possible wait.
    pub keeps_pace: bool,
    pub feeds: Vec<FeedCutter>,
    /// Looks at the first view; `None` where a change of the whole picture is not to matter.
    pub scene: Option<SceneWatch>,
    /// Looks at the first view of every camera.
    pub picture: PictureWatch,
    pub damage: DamageWatch,
    pub media: MediaClock,
    /// Arrival of the newest frame at which the whole picture changed.
    pub unsettled: Option<Duration>,
    /// Of the newest stream; `None` where nothing is decoded.
    pub effort: Option<Arc<Effort>>,
    /// Only key frames are decoded.
    pub low: bool,
    pub shedding: Shedding,
    pub board: Arc<Board>,
    pub bus: Arc<Bus>,
    pub metrics: CameraMetrics,
    /// The camera's detectors.
    pub detectors: Vec<usize>,
    pub clock: Arc<dyn Clock>,
    pub stop: Stop,
}

/// Cuts the frames of a view into the segments of a feed.
pub struct FeedCutter {
    pub lane: FeedLane,
    pub view: usize,
    pub segmenter: Segmenter,
    /// Of the detectors that live on it.
    pub metrics: Vec<DetectorMetrics>,
}

impl CameraThread {
    /// Runs until the stop, or until a recording has ended.
    pub fn run(mut self, mut source: Box<dyn Source>) {
        let link = Link::new(self.views.clone(), self.stall_after, self.clock.clone())
            .sharing(Turns::shared())
            .enabled(self.enabled);
        let stop = self.stop.flag();
        link.run(&mut *source, &stop, &mut |event| self.hear(event));
        if self.low {
            self.metrics.keyframes_only(false);
        }
    }

    fn hear(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connecting => _ = self.enter(LinkState::Connecting, None),
            LinkEvent::Live { info, pictures, packets, effort } => {
                effort.iter().for_each(|effort| effort.set_low(self.low));
                self.effort = effort;
                tracing::info!(
                    camera = %self.name, codec = info.codec.as_deref().unwrap_or("unknown"),
                    "live, {} x {} pixels, {} frames a second declared", info.width, info.height, info.fps
                );
                self.board.with(self.camera, |facts| {
                    facts.stream = info;
                    facts.pictures = Some(pictures);
                    facts.packets = packets;
                });
                if !self.enter(LinkState::Live, None) {
                    // It is of another size or codec now, which is no other state.
                    self.tell();
                }
            }
            LinkEvent::Frame(frame) => self.take(frame),
            LinkEvent::Dropped(frames) => {
                self.metrics.dropped(DropReason::QueueFull, frames);
                self.shedding.segment(self.clock.monotonic(), true);
            }
            LinkEvent::Lost { error } => {
                tracing::warn!(camera = %self.name, "lost: {error}");
                self.metrics.reconnect(error.kind.into());
                self.board.with(self.camera, |facts| facts.reconnects += 1);
                let state = match error.kind {
                    SourceErrorKind::Stalled => LinkState::Stalled,
                    _ => LinkState::Lost,
                };
                self.enter(state, Some(error.to_string()));
            }
            LinkEvent::BackingOff { wait } => {
                tracing::debug!(camera = %self.name, "connecting again in {:.1} s", wait.as_secs_f64());
                self.enter(LinkState::BackingOff, None);
            }
            LinkEvent::Disabled => {
                tracing::info!(camera = %self.name, "disabled: not watched");
                self.enter(LinkState::Disabled, None);
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

    /// The camera's connection is in a state; a `problem` stays until it is live again. False: that is no other state.
    fn enter(&self, state: LinkState, problem: Option<String>) -> bool {
        self.change(Change::Link(state, problem))
    }

    /// The one place from which everybody hears that a camera stands otherwise than before. False: it does not.
    fn change(&self, change: Change) -> bool {
        let now = self.clock.now();
        let (changed, before, standing) = self.board.with(self.camera, |facts| {
            let before = facts.standing.sight();
            (facts.standing.change(change, now), before, facts.standing.clone())
        });
        if changed {
            self.metrics.link(standing.link().into());
            self.metrics.picture(sight(before), sight(standing.sight()));
            self.tell();
        }
        changed
    }

    /// Tells the clients of the API how the camera stands.
    fn tell(&self) {
        if let Some(status) = self.board.status(self.camera) {
            self.bus.camera(&status);
        }
    }

    fn take(&mut self, frame: Frame) {
        let Stamp { wall, received, .. } = frame.stamp;
        // The same moment comes once for each view; it counts as one frame.
        if frame.view == 0 {
            self.metrics.frame(wall.as_microsecond() as f64 / 1e6);
            self.board.with(self.camera, |facts| facts.frame(wall, received));
            self.look_at_the_whole(&frame);
            self.look_at_the_load();
        }
        for number in 0..self.feeds.len() {
            let cutter = &mut self.feeds[number];
            if cutter.view != frame.view {
                continue;
            }
            let Some(mut segment) = cutter.segmenter.push(frame.clone()) else { continue };
            segment.unsettled = self.unsettled.is_some_and(|newest| newest >= segment.start.received);
            segment.damaged |= self.damage.is_nearly_all();
            let lane = cutter.lane.clone();
            while !self.keeps_pace && !self.may_go_on(&lane) {
                if self.stop.requested() {
                    return;
                }
            }
            let dropped = lane.push(segment).is_some();
            self.shedding.segment(self.clock.monotonic(), dropped);
            if dropped {
                self.feeds[number].metrics.iter().for_each(|m| m.skipped(SkipReason::QueueFull));
                self.metrics.dropped(DropReason::QueueFull, SEGMENT_FRAMES as u64);
            }
        }
    }

    /// Where the machine is too slow for everything, less is decoded.
    fn look_at_the_load(&mut self) {
        let Some(effort) = &self.effort else { return };
        let low = self.shedding.is_low(self.clock.monotonic());
        if low == self.low {
            return;
        }
        self.low = low;
        effort.set_low(low);
        self.metrics.keyframes_only(low);
        match low {
            true => tracing::warn!(camera = %self.name, "{TOO_SLOW}"),
            false => tracing::info!(camera = %self.name, "decoded in full again"),
        }
        self.board.with(self.camera, |facts| facts.load_problem = low.then_some(TOO_SLOW));
        self.tell();
    }

    /// Lights, the switch to infrared, a camera that is moved: says so, and marks the segments that it spoils.
    fn look_at_the_whole(&mut self, frame: &Frame) {
        let now = self.media.next(frame.run, &frame.stamp);
        if let Some(much) = self.damage.see(frame.damaged, now) {
            match PictureState::Damaged.problem().filter(|_| much) {
                Some(problem) => tracing::warn!(camera = %self.name, "{problem}"),
                None => tracing::info!(camera = %self.name, "hardly anything is damaged any more"),
            }
            self.change(Change::Damaged(much));
        }
        if frame.damaged {
            // It says nothing about what the camera looks at.
            return;
        }
        if let Some(state) = self.picture.see(&frame.pixels, frame.keys, now) {
            // Detection goes on: a still scene may be meant to be one.
            match state.problem() {
                Some(problem) => tracing::warn!(camera = %self.name, "{problem}"),
                None => tracing::info!(camera = %self.name, "the picture is healthy again"),
            }
            self.change(Change::Picture(state));
        }
        let Some(scene) = &mut self.scene else { return };
        let change = scene.see(&frame.pixels, now);
        if scene.changes() {
            self.unsettled = Some(frame.stamp.received);
        }
        let Some(change) = change else { return };
        let changes = scene.changes();
        match change {
            SceneChange::Began => {
                tracing::info!(camera = %self.name, "the whole picture changes: not judged")
            }
            SceneChange::Light => tracing::info!(camera = %self.name, "the light has changed: judged again"),
            SceneChange::View => {
                tracing::warn!(camera = %self.name, "{}", PictureState::Moved.problem().unwrap_or_default())
            }
            SceneChange::Back => tracing::info!(camera = %self.name, "the camera's view is as it was"),
        }
        self.board.with(self.camera, |facts| facts.scene_changes = changes);
        match change {
            SceneChange::View => _ = self.change(Change::Moved(true)),
            SceneChange::Back => _ = self.change(Change::Moved(false)),
            SceneChange::Began | SceneChange::Light => {}
        }
        self.tell();
    }

    /// Waits for room for a recording's next segment, and while its first model is made: a recording can
    /// wait, so nothing of it has to go by unjudged. False when there is reason to wait on.
    fn may_go_on(&self, lane: &FeedLane) -> bool {
        let wait = Duration::from_millis(100);
        let in_the_making =
            |watch: &mut Watch| watch.training && watch.learning.state == LearningState::Learning;
        if self.detectors.iter().any(|detector| self.board.of(*detector, in_the_making)) {
            self.clock.sleep(wait);
            return false;
        }
        lane.wait_for_room(wait)
    }
}
