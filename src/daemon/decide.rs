//! The desk: judges every score, keeps and publishes what follows from it, and remembers the features.
//!
//! A new alert is on disk before anybody hears of it (where the store cannot be written it is told all the same, marked,
//! and waits in memory for the keeper); its picture, the timeline and the features come after it,
//! so that they add nothing to its latency. A picture waits while other cameras' scores do, for one of each at
//! most, so that one camera's picture does not delay another's alert. An update's map is told once the picture it
//! belongs to is there.

use super::board::{Board, Watch};
use super::change::Told;
use super::clips::ClipDesk;
use super::drawing::Drawing;
use super::fusing::Fusing;
use super::keeper::KeeperTold;
use super::lane::{Received, receive, receive_waiting};
use super::life::Life;
use super::numbered::Numbered;
use super::pulse::Pulse;
use super::sameness::Sameness;
use super::scoring::{Arming, Scored};
use super::why::{Evidence, Looks, Witness, middle};
use crate::alert::{Change, Event, ModelRef, Observation, Report, Tracker, incident};
use crate::api::{Bus, DetectState, LearningState, announce_event};
use crate::base::{CameraName, Clock, DetectorName, Timestamp, WallWatch};
use crate::config::FUSED;
use crate::infer::{Covers, Grid};
use crate::score::{Reason, Score, reasons};
use crate::segment::Segment;
use crate::store::{Beside, EventFilter, FeatureRing, ScoreRow, Store, StoreError};
use crate::telemetry::{Delivery, DetectorMetrics, Metrics, SkipReason, Stage};
use crate::threshold::{Tail, Threshold, Verdict};
use crossbeam_channel::{Receiver, Sender};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Scores are written together, this often.
const WRITE_SCORES_EVERY: Duration = Duration::from_secs(1);

/// Said of a model that does not look.
const CONSTANT: &str = "the model gives the same score whatever it is shown (learn the camera again, or name another \
                        model)";

/// What the desk keeps of one detector.
pub struct Seat {
    pub camera: usize,
    pub camera_name: CameraName,
    pub name: DetectorName,
    /// `None` for one whose verdicts only are fused with others'.
    pub tracker: Option<Tracker>,
    pub metrics: DetectorMetrics,
    pub life: Life,
    /// How much lower a second limit lies, above which an open event goes on: share of the way to mu.
    pub hysteresis: f64,
    pub covers: Covers,
    /// Learns in place.
    pub learns: bool,
    /// Seconds of video to see before the first learning, and before another attempt where one failed ...
    pub enough: f64,
    /// ... and how many of them are still to come.
    pub to_see: f64,
    /// The last score could not be used; said once, not at every segment.
    pub troubled: bool,
    pub sameness: Sameness,
}

/// What the desk keeps of one feed: the features that its detectors learn from.
pub struct Memory {
    pub detectors: Vec<usize>,
    /// `None` where no detector learns in place.
    pub ring: Option<FeatureRing>,
    /// Frames from the start of one segment that is learned from to that of the next ...
    pub apart: u64,
    /// ... the time between them, seconds, where the camera is as quick as its extractor ...
    pub usual: f64,
    /// ... and run, first frame and presentation time of the newest one.
    pub remembered: Option<(u64, u64, f64)>,
    /// The last features could not be kept; said once.
    pub troubled: bool,
    pub looks: Looks,
}

impl Memory {
    /// Seconds of video that are remembered, of a camera that is as quick as its extractor.
    pub fn seconds(&self) -> f64 {
        self.ring.as_ref().map_or(0.0, |ring| ring.len() as f64 * self.usual)
    }
}

/// The stage itself.
pub struct Desk {
    /// Of each detector.
    pub seats: Numbered<Seat>,
    /// Of each feed.
    pub memories: Numbered<Memory>,
    pub fusings: Vec<Fusing>,
    pub store: Arc<Store>,
    pub bus: Arc<Bus>,
    pub board: Arc<Board>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    /// Asks for a detector to be learned.
    pub learn: Sender<usize>,
    pub keeper: Arc<KeeperTold>,
    pub timeline: Vec<ScoreRow>,
    /// Pictures that wait to be drawn, one a detector at most.
    pub drawings: VecDeque<Drawing>,
    pub clips: ClipDesk,
    pub wall: WallWatch,
    pub pulse: Pulse,
}

/// What a detector, or several together, made of a segment.
struct Finding<'a> {
    segment: &'a Segment,
    score: &'a Score,
    reasons: &'a [Reason],
    /// Of normal life giving a score as high.
    probability: f64,
    tail: &'a Tail,
    /// mu + k sigma.
    plain: Threshold,
    /// `None` for a fused verdict.
    by: Option<&'a Arming>,
    witness: &'a Witness,
    method: &'a str,
    model: &'a ModelRef,
    grid: Grid,
    covers: Covers,
}

impl Desk {
    /// Works until the lane closes, then ends what is open.
    pub fn run(mut self, lane: &Receiver<Told>) {
        let mut written = self.clock.monotonic();
        loop {
            self.pulse.beat();
            match if self.drawings.is_empty() { receive(lane) } else { receive_waiting(lane) } {
                Received::Message(Told::Scored(scored)) => {
                    self.take(*scored);
                    self.draw_what_is_due();
                }
                Received::Message(Told::Change(change)) => self.change(*change),
                Received::Nothing => {
                    let drawing = self.drawings.pop_front();
                    drawing.map(|drawing| self.draw(drawing));
                }
                Received::Closed => break,
            }
            let now = self.clock.monotonic();
            if now.saturating_sub(written) >= WRITE_SCORES_EVERY {
                self.write_timeline();
                self.let_time_pass(now);
                self.keeper.suspect.store(self.wall.is_suspect(now), Ordering::Relaxed);
                written = now;
            }
        }
        self.seats.numbers().into_iter().for_each(|detector| self.end(detector));
        self.write_timeline();
    }

    fn take(&mut self, scored: Scored) {
        let Scored { feed, segment, features, scores } = scored;
        let began = Instant::now();
        self.look_at_the_clock(&segment);
        let seen = features.map(|features| Arc::new(Evidence { segment: segment.clone(), features }));
        let Some(memory) = self.memories.get(feed) else { return };
        for (detector, score) in memory.detectors.clone().into_iter().zip(scores) {
            self.board.of(detector, |watch| watch.segments += 1);
            match (&seen, score) {
                (Err(error), _) => self.trouble(detector, SkipReason::Model, error.to_string()),
                (Ok(_), Some((Err(error), _))) => {
                    self.trouble(detector, SkipReason::Model, error.to_string());
                }
                (Ok(_), None) => self.seats[detector].metrics.skipped(SkipReason::Learning),
                (Ok(evidence), Some((Ok(score), arming))) => {
                    self.look(detector, &score, Witness { feed, evidence: evidence.clone(), arming });
                }
            }
        }
        self.fuse(feed, &segment);
        self.metrics.stage(Stage::Decide, began.elapsed());
        if let Ok(evidence) = seen
            && !segment.unsettled
            && !segment.damaged
        {
            self.remember(feed, &segment, &evidence.features);
            self.collect(feed, &evidence);
        }
    }

    /// Times of arrival are what every event has its times from.
    fn look_at_the_clock(&mut self, segment: &Segment) {
        if let Some(by) = self.wall.look(segment.end.wall, segment.end.received) {
            self.metrics.clock_step();
            tracing::warn!(
                "the wall clock was set by {} s: alerts are marked `clock_suspect` for ten minutes",
                by.as_secs()
            );
        }
    }

    /// A detector's score of a segment.
    fn look(&mut self, detector: usize, score: &Score, witness: Witness) {
        let (arming, segment) = (&witness.arming, &witness.evidence.segment);
        let (probability, covers) = (arming.tail.probability(score.value), self.seats[detector].covers);
        let reasons = reasons(score, &arming.factors);
        let usable = self.judge(
            detector,
            &Finding {
                segment,
                score,
                reasons: &reasons,
                probability,
                tail: &arming.tail,
                plain: arming.threshold,
                by: Some(arming),
                witness: &witness,
                method: &arming.method,
                model: &arming.model,
                grid: arming.grid,
                covers,
            },
        );
        self.metrics.score_latency(self.clock.monotonic().saturating_sub(segment.end.received));
        if usable {
            for fusing in &mut self.fusings {
                fusing.hear(detector, &witness, score, probability, covers);
            }
        }
    }

    /// What the camera's detectors say together, at each segment of the feed that leads them.
    fn fuse(&mut self, feed: usize, segment: &Segment) {
        for number in 0..self.fusings.len() {
            let fusing = &self.fusings[number];
            if fusing.leader != feed {
                continue;
            }
            let (detector, spoken) = (fusing.detector, fusing.speak(segment));
            self.board.of(detector, |watch| watch.segments += 1);
            let Some(fused) = spoken else {
                self.seats[detector].metrics.skipped(SkipReason::Learning);
                continue;
            };
            let finding = Finding {
                segment,
                score: &fused.score,
                reasons: &fused.reasons,
                probability: fused.probability,
                tail: &Tail::standard_normal(),
                plain: fused.threshold,
                by: None,
                witness: &fused.witness,
                method: FUSED,
                model: &fused.model,
                grid: fused.grid,
                covers: fused.covers,
            };
            self.judge(detector, &finding);
        }
    }

    /// A score against its threshold, and what follows; false where the score cannot be used.
    fn judge(&mut self, detector: usize, found: &Finding) -> bool {
        let Finding { segment, score, plain, .. } = *found;
        match self.seats[detector].life.arm(found.model, found.by) {
            Ok(true) => self.look_at_life(detector),
            Ok(false) => {}
            Err(error) => {
                self.life_problem(detector, &error);
                self.look_at_life(detector);
            }
        }
        let threshold = self.seats[detector].life.threshold(plain, segment.end.wall);
        let verdict = match score.is_finite() {
            true => threshold.judge_from(score.value, self.seats[detector].hysteresis),
            false => Verdict::Invalid,
        };
        if verdict == Verdict::Invalid {
            let problem = "the model gives scores that are not finite (learn the camera again)";
            self.trouble(detector, SkipReason::NotFinite, problem.into());
            return false;
        }
        let seat = &mut self.seats[detector];
        let Threshold { mu, sigma, k, .. } = threshold;
        seat.metrics.scored(f64::from(score.value), found.probability, mu, sigma, k);
        let constant =
            found.by.is_some() && seat.sameness.look(&found.witness.evidence.features, score.value);
        if constant && !seat.troubled {
            tracing::error!(camera = %seat.camera_name, detector = %seat.name, "{CONSTANT}");
        }
        seat.troubled = constant;
        self.board.of(detector, |watch| {
            watch.problem = constant.then(|| CONSTANT.to_string());
            watch.threshold = Some(threshold);
            watch.last_score = Some(score.value);
            watch.probability = Some(found.probability);
            watch.grid = Some(found.grid);
            watch.covers = found.covers;
            watch.regions.clone_from(&score.regions);
        });
        let observation = Observation {
            segment,
            score,
            reasons: found.reasons,
            probability: found.probability,
            limit_probability: found.tail.probability(threshold.limit() as f32),
            verdict,
            threshold,
            scorer: found.method,
            model: found.model,
            grid: found.grid,
            covers: found.covers,
            moment: self.wall.in_order(segment.end.wall),
            clock_suspect: self.wall.is_suspect(segment.end.received),
        };
        let held = self.held(detector, segment);
        let seat = &mut self.seats[detector];
        match held {
            None => {
                let reports = seat.tracker.as_mut().map(|tracker| tracker.observe(&observation));
                for report in reports.into_iter().flatten() {
                    self.publish(detector, report, Some((segment, found.witness)));
                }
            }
            Some(reason) => {
                seat.metrics.skipped(reason);
                // What is open ends: at once where no events are wanted, else after its gap.
                let over = seat.tracker.as_mut().and_then(|tracker| match reason {
                    SkipReason::SceneChange | SkipReason::Damaged => tracker.tick(segment.end.received),
                    _ => tracker.finish(),
                });
                over.into_iter().for_each(|report| self.publish(detector, report, None));
            }
        }
        if segment.unsettled {
            // Nor does its score belong to the camera's life, from which thresholds are made.
            return true;
        }
        let seat = &self.seats[detector];
        let row = ScoreRow {
            camera: seat.camera_name.clone(),
            detector: seat.name.clone(),
            time: segment.end.wall,
            score: score.value,
            threshold: threshold.limit(),
        };
        self.bus.score(&row, found.probability, segment.damaged);
        if segment.damaged {
            return false;
        }
        self.timeline.push(row);
        let seat = &mut self.seats[detector];
        let taken = seat.life.take(segment, score.value);
        // While an alarm lasts, nothing is said about normal life.
        let calm = seat.tracker.as_ref().is_none_or(|tracker| tracker.open_event().is_none());
        let due = calm && seat.life.is_due();
        if let Err(error) = taken {
            self.life_problem(detector, &error);
        }
        if due {
            self.look_at_life(detector);
        }
        true
    }

    /// Finds the detector's limit anew from normal life as far as it was seen.
    fn look_at_life(&mut self, detector: usize) {
        let seat = &self.seats[detector];
        let incidents = match seat.life.begins() {
            Some(begins) => match self.incidents(seat, begins) {
                Ok(incidents) => incidents,
                Err(error) => return self.life_problem(detector, &error),
            },
            None => vec![],
        };
        let life = &mut self.seats[detector].life;
        let (outlook, normal) = (life.look(&incidents), life.normal());
        self.board.of(detector, |watch| {
            (watch.outlook, watch.normal) = (Some(Arc::new(outlook)), Some(normal));
        });
    }

    /// When something happened to a detector that is no normal life, since `begins`; seconds since 1970.
    fn incidents(&self, seat: &Seat, begins: f64) -> Result<Vec<Range<f64>>, StoreError> {
        let after = Timestamp::from_microsecond((begins * 1e6) as i64).ok();
        let filter = EventFilter { cameras: vec![seat.camera_name.clone()], after, ..Default::default() };
        let events = self.store.all_events(filter)?;
        Ok(events.iter().filter(|e| e.detector == seat.name).filter_map(incident).collect())
    }

    fn life_problem(&self, detector: usize, error: &StoreError) {
        let Seat { camera_name, name, .. } = &self.seats[detector];
        tracing::warn!(camera = %camera_name, detector = %name, "what was watched is not kept: {error}");
    }

    /// Why a segment's score opens no event whatever it is, if so.
    fn held(&self, detector: usize, segment: &Segment) -> Option<SkipReason> {
        match self.board.detect_state(self.seats[detector].camera) {
            DetectState::Off | DetectState::Schedule => Some(SkipReason::Off),
            // Of when it was seen, not of now.
            DetectState::On | DetectState::SceneChange => {
                let damaged = segment.damaged.then_some(SkipReason::Damaged);
                segment.unsettled.then_some(SkipReason::SceneChange).or(damaged)
            }
        }
    }

    /// Store first, then the wire; a new alert's picture after both, an update's before. `seen`: the
    /// segment that the report is of, if any, and what its verdict rests on.
    pub(super) fn publish(&mut self, detector: usize, report: Report, seen: Option<(&Segment, &Witness)>) {
        self.clips.hear(self.seats[detector].camera, &report);
        // An event is told in its order.
        let drawn = self.draw_for(detector);
        let Report { change, mut event, new_picture, .. } = report;
        if let Some(drawn) = drawn.filter(|drawn| drawn.id == event.id) {
            (event.has_snapshot, event.why) = (event.has_snapshot | drawn.has_snapshot, drawn.why);
        }
        let pictured = seen.filter(|_| new_picture);
        if let Some((_, witness)) = pictured {
            let why = self.explained(&event, witness);
            let tracker = self.seats[detector].tracker.as_mut();
            tracker.into_iter().for_each(|tracker| tracker.explained(&event.id, &why));
            event.why = Some(why);
        }
        let told = change != Change::Update || pictured.is_none();
        if told {
            self.keep_and_tell(change, &event);
        }
        let open = event.end_time.is_none();
        self.board.of(detector, |watch| watch.open_event = open.then(|| event.id.clone()));
        if change == Change::New {
            if let Some((segment, _)) = seen {
                self.metrics.alert_latency(self.clock.monotonic().saturating_sub(segment.end.received));
            }
            let seat = &self.seats[detector];
            seat.metrics.alert(event.severity.into(), event.quiet.map(Into::into));
            tracing::info!(
                camera = %seat.camera_name, detector = %seat.name, event = %event.id, score = event.score, threshold = event.threshold,
                "{}", if event.quiet.is_some() { "quiet alert" } else { "alert" }
            );
        }
        if let Some((segment, witness)) = pictured {
            let (witness, at, patience) = (witness.clone(), middle(segment), self.seats.len());
            self.drawings.push_back(Drawing { detector, event, witness, at, told, patience });
        }
    }

    pub(super) fn keep_and_tell(&self, change: Change, event: &Event) {
        let _in_order = self.store.in_order();
        let kept = self.store.keep(change, event, announce_event(change, event));
        self.metrics.delivery("store", if kept.is_some() { Delivery::Ok } else { Delivery::Failed }, 1);
        match kept {
            Some(Beside { review, clip }) => {
                self.bus.alert(change, &Event { review, clip, ..event.clone() });
            }
            // An alert that cannot be kept yet is still worth telling: the keeper does what is left.
            None => {
                self.bus.alert_unkept(change, event);
            }
        }
        self.metrics.delivery("stream", Delivery::Ok, 1);
    }

    fn trouble(&mut self, detector: usize, reason: SkipReason, problem: String) {
        let seat = &mut self.seats[detector];
        seat.metrics.skipped(reason);
        if !seat.troubled {
            tracing::error!(camera = %seat.camera_name, detector = %seat.name, "{problem}");
        }
        seat.troubled = true;
        self.board.of(detector, |watch| watch.problem = Some(problem));
    }

    /// Features into the ring; when enough were seen, the detectors are learned.
    fn remember(&mut self, feed: usize, segment: &Segment, features: &crate::features::Features) {
        let memory = &mut self.memories[feed];
        let Some(ring) = &mut memory.ring else { return };
        let (run, start) = (segment.run, segment.start.seq);
        let before = memory.remembered.filter(|(of, ..)| *of == run);
        if before.is_some_and(|(_, newest, _)| start < newest + memory.apart) {
            return;
        }
        // By the stream's own clock since its run began: a recording played fast is learned from like a live
        // camera, whose segments lie as far apart as they look.
        let pts = segment.end.pts.as_secs_f64();
        let seconds = before.map_or(memory.usual, |(.., newest)| pts - newest);
        memory.remembered = Some((run, start, pts));
        let clock = memory.looks.clock(segment);
        if let Err(error) = ring.append(clock, segment.run, features) {
            if !memory.troubled {
                let camera = &self.seats[memory.detectors[0]].camera_name;
                tracing::error!(%camera, "cannot keep features to learn from: {error}");
            }
            memory.troubled = true;
            return;
        }
        memory.troubled = false;
        for detector in memory.detectors.clone() {
            self.see(detector, seconds);
        }
    }

    /// So much more video is remembered. Only the first learning waits for enough of it; later ones are asked for.
    fn see(&mut self, detector: usize, seconds: f64) {
        let seat = &mut self.seats[detector];
        let watching = |watch: &mut Watch| watch.learning.state == LearningState::Learning && !watch.training;
        if !seat.learns || !self.board.of(detector, watching) {
            return;
        }
        let left = seat.to_see - seconds;
        // What sums of fractions leave over is no time.
        seat.to_see = if left > 1e-6 { left } else { 0.0 };
        let progress = 1.0 - seat.to_see / seat.enough;
        self.board.of(detector, |watch| {
            watch.learning.progress = progress;
            watch.learning.step = "watching normal life".into();
        });
        if seat.to_see == 0.0 {
            seat.to_see = seat.enough;
            self.board.of(detector, |watch| {
                if self.learn.try_send(detector).is_ok() {
                    watch.queue_learning();
                }
            });
        }
    }

    pub(super) fn write_timeline(&mut self) {
        if self.timeline.is_empty() {
            return;
        }
        let began = Instant::now();
        self.store.keep_scores(&self.timeline);
        self.timeline.clear();
        self.metrics.stage(Stage::Store, began.elapsed());
    }

    /// Events of cameras that have gone silent end by the clock.
    fn let_time_pass(&mut self, now: Duration) {
        self.metrics.unhealthy(self.seats.values().filter(|seat| seat.troubled).count());
        for detector in self.seats.numbers() {
            if let Some(report) = self.seats[detector].tracker.as_mut().and_then(|tracker| tracker.tick(now))
            {
                self.publish(detector, report, None);
            }
        }
    }
}
