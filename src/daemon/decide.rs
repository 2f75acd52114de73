//! The desk: judges every score, keeps and publishes what follows from it, and remembers the features.
//!
//! A new alert is on disk before anybody hears of it; its picture, the timeline and the features come after it,
//! so that they add nothing to its latency. A picture waits while other cameras' scores do, for one of each at
//! most, so that one camera's picture does not delay another's alert. An update's map is told once the picture it
//! belongs to is there.

use super::board::Board;
use super::lane::{Received, receive, receive_waiting};
use super::pulse::Pulse;
use super::scoring::{Arming, Scored};
use crate::alert::{Change, Event, Map, Observation, Report, Tracker, snapshot};
use crate::api::{Bus, LearningState};
use crate::base::{CameraName, Clock};
use crate::infer::Covers;
use crate::score::Score;
use crate::segment::Segment;
use crate::store::{FeatureRing, ScoreRow, Store, StoreError};
use crate::telemetry::{CameraMetrics, Metrics, SkipReason, Stage};
use crate::threshold::Verdict;
use crossbeam_channel::{Receiver, Sender};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Scores are written together, this often.
const WRITE_SCORES_EVERY: Duration = Duration::from_secs(1);
/// Old events, pictures and scores are removed this often.
const RETAIN_EVERY: Duration = Duration::from_secs(600);
/// Pixels across an event's picture.
const SNAPSHOT_WIDTH: u32 = 1280;

/// What the desk keeps of one camera.
pub struct Seat {
    pub name: CameraName,
    pub tracker: Tracker,
    pub metrics: CameraMetrics,
    pub covers: Covers,
    /// Where the features go; `None` for a camera whose model is given.
    pub ring: Option<FeatureRing>,
    /// Segments to see before the first learning, and before another attempt where one failed ...
    pub enough: usize,
    /// ... and how many of them are still to come.
    pub to_see: usize,
    /// The newest stream's run, and the wall time of its presentation time 0, seconds since 1970.
    pub run: Option<(u64, f64)>,
    /// Frames from the start of one segment that is learned from to that of the next ...
    pub apart: u64,
    /// ... and run and first frame of the newest one.
    pub remembered: Option<(u64, u64)>,
    /// The last score could not be used; said once, not at every segment.
    pub troubled: bool,
}

/// The stage itself.
pub struct Desk {
    pub seats: Vec<Seat>,
    pub store: Arc<Store>,
    pub bus: Arc<Bus>,
    pub board: Arc<Board>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    /// Asks for a camera to be learned.
    pub learn: Sender<usize>,
    pub keep: Duration,
    pub timeline: Vec<ScoreRow>,
    /// Pictures that wait to be drawn, one a camera at most.
    pub drawings: VecDeque<Drawing>,
    pub pulse: Pulse,
}

/// A picture still to be drawn for an event.
pub struct Drawing {
    camera: usize,
    event: Event,
    /// Presentation time of what the picture shows.
    at: Duration,
    /// The event as it is has been told already.
    told: bool,
    /// Scores that it may still wait for: what it shows is not to be had for long.
    patience: usize,
}

impl Desk {
    /// Works until the lane closes, then ends what is open.
    pub fn run(mut self, lane: &Receiver<Scored>) {
        let (mut written, mut retained) = (self.clock.monotonic(), Duration::ZERO);
        loop {
            self.pulse.beat();
            match if self.drawings.is_empty() { receive(lane) } else { receive_waiting(lane) } {
                Received::Message(scored) => {
                    self.take(scored);
                    self.draw_what_is_due();
                }
                Received::Nothing => {
                    let drawing = self.drawings.pop_front();
                    drawing.into_iter().for_each(|drawing| self.draw(drawing));
                }
                Received::Closed => break,
            }
            let now = self.clock.monotonic();
            if now.saturating_sub(written) >= WRITE_SCORES_EVERY {
                self.write_timeline();
                self.let_time_pass(now);
                written = now;
            }
            if retained.is_zero() || now.saturating_sub(retained) >= RETAIN_EVERY {
                if let Err(error) = self.store.retain(self.keep) {
                    tracing::warn!("cannot remove what is too old: {error}");
                }
                retained = now.max(Duration::from_nanos(1));
            }
        }
        for camera in 0..self.seats.len() {
            if let Some(report) = self.seats[camera].tracker.finish() {
                self.publish(camera, report, None);
            }
            self.draw_for(camera);
        }
        self.write_timeline();
    }

    fn take(&mut self, scored: Scored) {
        let Scored { camera, segment, features, score } = scored;
        let began = Instant::now();
        self.board.with(camera, |facts| facts.segments += 1);
        match (&features, score) {
            (Err(error), _) => self.trouble(camera, SkipReason::Model, error.to_string()),
            (Ok(_), Some((Err(error), _))) => self.trouble(camera, SkipReason::Model, error.to_string()),
            (Ok(_), None) => self.seats[camera].metrics.skipped(SkipReason::Learning),
            (Ok(_), Some((Ok(score), arming))) => self.judge(camera, &segment, &score, &arming),
        }
        self.metrics.stage(Stage::Decide, began.elapsed());
        if let Ok(features) = features {
            self.remember(camera, &segment, &features);
        }
    }

    /// A score against its threshold, and what follows.
    fn judge(&mut self, camera: usize, segment: &Segment, score: &Score, arming: &Arming) {
        let verdict = if score.is_finite() { arming.threshold.judge(score.value) } else { Verdict::Invalid };
        let seat = &mut self.seats[camera];
        if verdict == Verdict::Invalid {
            let problem = "the model gives scores that are not finite (learn the camera again)";
            self.trouble(camera, SkipReason::NotFinite, problem.into());
            return;
        }
        let limit = arming.threshold;
        seat.metrics.scored(f64::from(score.value), limit.mu, limit.sigma, limit.k);
        seat.troubled = false;
        self.board.with(camera, |facts| {
            facts.model_problem = None;
            facts.last_score = Some(score.value);
            facts.grid = Some(arming.grid);
            facts.regions.clone_from(&score.regions);
        });
        let reports = seat.tracker.observe(&Observation {
            segment,
            score,
            verdict,
            threshold: arming.threshold,
            scorer: &arming.method,
            model: &arming.model,
            grid: arming.grid,
            covers: seat.covers,
        });
        for report in reports {
            self.publish(camera, report, Some(segment));
        }
        let name = self.seats[camera].name.clone();
        let row =
            ScoreRow { camera: name, time: segment.end.wall, score: score.value, threshold: limit.limit() };
        self.bus.score(&row.camera, row.time, row.score, &limit);
        self.timeline.push(row);
    }

    /// Store first, then the wire; a new alert's picture after both, an update's before. `segment`: the one
    /// that the report is of, if any.
    fn publish(&mut self, camera: usize, report: Report, segment: Option<&Segment>) {
        // An event is told in its order.
        self.draw_for(camera);
        let Report { change, event, new_picture } = report;
        let pictured = segment.filter(|_| new_picture);
        let told = change != Change::Update || pictured.is_none();
        if told {
            self.keep_and_tell(camera, change, &event);
        }
        let open = event.end_time.is_none();
        self.board.with(camera, |facts| facts.open_event = open.then(|| event.id.clone()));
        if change == Change::New {
            if let Some(segment) = segment {
                self.metrics.alert_latency(self.clock.monotonic().saturating_sub(segment.end.received));
            }
            let seat = &self.seats[camera];
            seat.metrics.alert(event.severity.into());
            tracing::info!(
                camera = %seat.name, event = %event.id, score = event.score, threshold = event.threshold, "alert"
            );
        }
        if let Some(segment) = pictured {
            // A region's energy is a mean over the segment: what moves is best seen in the box at its middle.
            let at = segment.start.pts + segment.end.pts.saturating_sub(segment.start.pts) / 2;
            let patience = self.seats.len();
            self.drawings.push_back(Drawing { camera, event, at, told, patience });
        }
    }

    /// Draws what has waited for a score of every other camera.
    fn draw_what_is_due(&mut self) {
        self.drawings.iter_mut().for_each(|drawing| drawing.patience -= 1);
        while self.drawings.front().is_some_and(|drawing| drawing.patience == 0) {
            let drawing = self.drawings.pop_front();
            drawing.into_iter().for_each(|drawing| self.draw(drawing));
        }
    }

    /// Draws what waits for a camera.
    fn draw_for(&mut self, camera: usize) {
        if let Some(waiting) = self.drawings.iter().position(|drawing| drawing.camera == camera) {
            let drawing = self.drawings.remove(waiting).expect("it is there");
            self.draw(drawing);
        }
    }

    fn draw(&mut self, drawing: Drawing) {
        let Drawing { camera, mut event, at, told, .. } = drawing;
        let drawn = self.picture(camera, &event, at);
        event.has_snapshot |= drawn;
        if drawn || !told {
            self.keep_and_tell(camera, Change::Update, &event);
        }
    }

    /// Writes the picture of an event's map; whether there is one now.
    fn picture(&mut self, camera: usize, event: &Event, at: Duration) -> bool {
        let began = Instant::now();
        let taken = self.board.with(camera, |facts| facts.pictures.clone());
        let Some(picture) = taken.and_then(|pictures| pictures.at(at, SNAPSHOT_WIDTH)) else {
            return false;
        };
        let map = Map {
            grid: event.grid,
            covers: event.covers,
            regions: &event.regions,
            threshold: event.threshold as f32,
        };
        let written = snapshot(&picture, &map).map_err(|error| error.to_string()).and_then(|drawn| {
            self.store.put_snapshot(&event.id, &drawn.full, &drawn.thumbnail).map_err(|e| e.to_string())
        });
        self.metrics.stage(Stage::Snapshot, began.elapsed());
        match written {
            Ok(()) => self.seats[camera].tracker.has_snapshot(&event.id),
            Err(ref problem) => tracing::warn!(event = %event.id, "no picture for this alert: {problem}"),
        }
        written.is_ok()
    }

    fn keep_and_tell(&self, camera: usize, change: Change, event: &Event) {
        let kept = self.store.put_event(event);
        self.metrics.delivery(crate::telemetry::Sink::Store, kept.is_ok());
        if let Err(error) = kept {
            // An alert that cannot be kept is still worth telling.
            self.store_problem(camera, &error);
        }
        self.bus.alert(change, event);
        self.metrics.delivery(crate::telemetry::Sink::Stream, true);
    }

    fn store_problem(&self, camera: usize, error: &StoreError) {
        tracing::error!(camera = %self.seats[camera].name, "cannot keep an alert: {error}");
        self.board.with(camera, |facts| facts.model_problem = Some(error.to_string()));
    }

    fn trouble(&mut self, camera: usize, reason: SkipReason, problem: String) {
        let seat = &mut self.seats[camera];
        seat.metrics.skipped(reason);
        if !seat.troubled {
            tracing::error!(camera = %seat.name, "{problem}");
        }
        seat.troubled = true;
        self.board.with(camera, |facts| facts.model_problem = Some(problem));
    }

    /// Features into the ring; when enough were seen, the camera is learned.
    fn remember(&mut self, camera: usize, segment: &Segment, features: &crate::features::Features) {
        let seat = &mut self.seats[camera];
        let Some(ring) = &mut seat.ring else { return };
        let (run, start) = (segment.run, segment.start.seq);
        if seat.remembered.is_some_and(|(of, newest)| of == run && start < newest + seat.apart) {
            return;
        }
        seat.remembered = Some((run, start));
        // By the stream's own clock since its run began: a recording played fast is learned from like a live
        // camera, whose segments lie as far apart as they look.
        let pts = segment.end.pts.as_secs_f64();
        let arrived = segment.end.wall.as_microsecond() as f64 / 1e6;
        let begins = (segment.run, arrived - pts);
        let run = seat.run.filter(|(run, _)| *run == segment.run).unwrap_or(begins);
        seat.run = Some(run);
        if let Err(error) = ring.append(run.1 + pts, segment.run, features) {
            if !seat.troubled {
                tracing::error!(camera = %seat.name, "cannot keep features to learn from: {error}");
            }
            seat.troubled = true;
            return;
        }
        // Only the first learning waits for enough to be seen; later ones are asked for.
        let watching = self
            .board
            .with(camera, |facts| facts.learning.state == LearningState::Learning && !facts.training);
        if !watching {
            return;
        }
        seat.to_see = seat.to_see.saturating_sub(1);
        let progress = 1.0 - seat.to_see as f64 / seat.enough as f64;
        self.board.with(camera, |facts| {
            facts.learning.progress = progress;
            facts.learning.step = "watching normal life".into();
        });
        if seat.to_see == 0 {
            seat.to_see = seat.enough;
            self.board.with(camera, |facts| {
                if self.learn.try_send(camera).is_ok() {
                    facts.queue_learning();
                }
            });
        }
    }

    fn write_timeline(&mut self) {
        if self.timeline.is_empty() {
            return;
        }
        let began = Instant::now();
        if let Err(error) = self.store.put_scores(&self.timeline) {
            tracing::error!("{} scores are lost to the timeline: {error}", self.timeline.len());
        }
        self.timeline.clear();
        self.metrics.stage(Stage::Store, began.elapsed());
    }

    /// Events of cameras that have gone silent end by the clock.
    fn let_time_pass(&mut self, now: Duration) {
        for camera in 0..self.seats.len() {
            if let Some(report) = self.seats[camera].tracker.tick(now) {
                self.publish(camera, report, None);
            }
        }
    }
}
