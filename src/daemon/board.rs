//! The board: the newest truth about every camera and detector, written by the stages and read by the API.

use super::standing::Standing;
use crate::api::{
    CameraStatus, Cameras, DetectState, DetectStatus, DetectorStatus, LearnRefused, LearningState,
    LearningStatus, Places,
};
use crate::base::{CameraName, Clock, DetectorName, Timestamp};
use crate::config::Schedule;
use crate::frame::{PacketRing, Picture, PictureTap, StreamInfo};
use crate::infer::{Covers, Grid};
use crate::segment::PictureState;
use crate::threshold::{Judging, Normal, Outlook, Threshold};
use crossbeam_channel::{Sender, TrySendError};
use jiff::tz::TimeZone;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The measured frame rate is that of the frames within this time.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// The newest truth about every camera and detector.
pub struct Board {
    clock: Arc<dyn Clock>,
    cameras: Vec<(Listed, Mutex<Facts>)>,
    detectors: Vec<(Post, Mutex<Watch>)>,
    ready: AtomicBool,
    /// Asks the learning supervisor to learn a detector again.
    learn: Sender<usize>,
}

/// What never changes about a camera.
pub struct Listed {
    pub name: CameraName,
    /// Without credentials.
    pub source: String,
    /// When it opens events, and where that is; `None`: always.
    pub schedule: Option<(Schedule, TimeZone)>,
    /// It opens events, until it is told otherwise.
    pub detect: bool,
    pub places: Arc<Places>,
}

/// What never changes about a detector.
pub struct Post {
    pub camera: usize,
    pub name: DetectorName,
    /// For people, for example `v1+diffusion`.
    pub method: String,
    /// Opens events.
    pub alerts: bool,
    pub judging: Judging,
    pub origin: Origin,
}

/// Where a detector's scores come from.
pub enum Origin {
    /// A model that was learned in place.
    Learned,
    /// A model file that the configuration names.
    File,
    /// The camera's other detectors.
    Fused,
}

/// What is known of one camera.
pub struct Facts {
    pub standing: Standing,
    pub stream: StreamInfo,
    pub pictures: Option<Arc<dyn PictureTap>>,
    /// What clips are cut from; of the newest stream.
    pub packets: Option<Arc<PacketRing>>,
    /// Monotonic arrival of the frames within [`RATE_WINDOW`].
    arrivals: VecDeque<Duration>,
    last_frame: Option<Timestamp>,
    frames: u64,
    pub reconnects: u64,
    /// Events are wanted.
    pub detect: bool,
    /// The whole picture changes.
    pub scene_changes: bool,
}

/// What is known of one detector.
pub struct Watch {
    /// Why its scores cannot be trusted.
    pub problem: Option<String>,
    pub segments: u64,
    pub learning: LearningStatus,
    /// A learning process is at work, or waits for its turn.
    pub training: bool,
    pub threshold: Option<Threshold>,
    pub outlook: Option<Arc<Outlook>>,
    /// What it was found from.
    pub normal: Option<Arc<Normal>>,
    pub last_score: Option<f32>,
    pub probability: Option<f64>,
    pub grid: Option<Grid>,
    pub covers: Covers,
    pub regions: Vec<f32>,
    pub open_event: Option<String>,
}

impl Facts {
    fn new(detect: bool) -> Self {
        Self {
            standing: Standing::default(),
            stream: StreamInfo::default(),
            pictures: None,
            packets: None,
            arrivals: VecDeque::new(),
            last_frame: None,
            frames: 0,
            reconnects: 0,
            detect,
            scene_changes: false,
        }
    }

    /// A frame came.
    pub fn frame(&mut self, wall: Timestamp, received: Duration) {
        self.frames += 1;
        self.last_frame = Some(wall);
        self.arrivals.push_back(received);
        while self.arrivals.front().is_some_and(|first| received.saturating_sub(*first) > RATE_WINDOW) {
            self.arrivals.pop_front();
        }
    }

    /// Frames a second over the window that ends now: falls towards zero when the camera goes silent.
    fn fps(&self, now: Duration) -> f64 {
        let Some(first) = self.arrivals.front() else { return 0.0 };
        let recent = self.arrivals.iter().filter(|at| now.saturating_sub(**at) <= RATE_WINDOW).count();
        let span = now.saturating_sub(*first).min(RATE_WINDOW);
        if recent < 2 { 0.0 } else { (recent - 1) as f64 / span.as_secs_f64().max(0.1) }
    }
}

impl Watch {
    fn new() -> Self {
        Self {
            problem: None,
            segments: 0,
            learning: LearningStatus {
                state: LearningState::Learning,
                progress: 0.0,
                step: "waiting for the first frames".into(),
                model_sha256: None,
                learned_at: None,
            },
            training: false,
            threshold: None,
            outlook: None,
            normal: None,
            last_score: None,
            probability: None,
            grid: None,
            covers: Covers::default(),
            regions: vec![],
            open_event: None,
        }
    }

    /// Learning has been asked for, and begins when its turn comes: detectors learn one after the other.
    pub fn queue_learning(&mut self) {
        self.training = true;
        self.learning.progress = 0.0;
        self.learning.step = "waiting for its turn to learn".into();
        if self.learning.state == LearningState::Armed {
            self.learning.state = LearningState::Relearning;
        }
    }
}

impl Board {
    /// Of each camera, its fused detector comes after the others. `learn` should have room for every detector.
    pub fn new(
        cameras: Vec<Listed>,
        detectors: Vec<Post>,
        clock: Arc<dyn Clock>,
        learn: Sender<usize>,
    ) -> Self {
        Self {
            clock,
            cameras: (cameras.into_iter())
                .map(|listed| (Facts::new(listed.detect), listed))
                .map(|(facts, listed)| (listed, Mutex::new(facts)))
                .collect(),
            detectors: detectors.into_iter().map(|post| (post, Mutex::new(Watch::new()))).collect(),
            ready: AtomicBool::new(false),
            learn,
        }
    }

    /// Changes, or reads, what is known of a camera.
    pub fn with<R>(&self, camera: usize, change: impl FnOnce(&mut Facts) -> R) -> R {
        change(&mut self.cameras[camera].1.lock().expect("nothing panics while facts are held"))
    }

    /// Changes, or reads, what is known of a detector.
    pub fn of<R>(&self, detector: usize, change: impl FnOnce(&mut Watch) -> R) -> R {
        change(&mut self.detectors[detector].1.lock().expect("nothing panics while it is held"))
    }

    /// Camera and name of a detector, for people.
    pub fn named(&self, detector: usize) -> (&CameraName, &DetectorName) {
        let post = &self.detectors[detector].0;
        (&self.cameras[post.camera].0.name, &post.name)
    }

    /// Models loaded, store open, sources started.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    pub fn status(&self, camera: usize) -> CameraStatus {
        let listed = &self.cameras[camera].0;
        let now = self.clock.monotonic();
        let (problem, detectors) = self.detectors_of(camera);
        self.with(camera, |facts| CameraStatus {
            name: listed.name.clone(),
            source: listed.source.clone(),
            link: facts.standing.link(),
            healthy: problem.is_none() && facts.standing.sight() == PictureState::Healthy,
            problem: facts.standing.problem().or(problem),
            picture: facts.standing.picture(),
            stream: facts.stream.clone(),
            fps: facts.fps(now),
            last_frame: facts.last_frame,
            last_frame_age: facts.arrivals.back().map(|at| now.saturating_sub(*at).as_secs_f64()),
            reconnects: facts.reconnects,
            frames: facts.frames,
            detect: DetectStatus { on: facts.detect, state: self.detects(listed, facts) },
            places: listed.places.clone(),
            detectors,
        })
    }

    /// Whether a camera opens events now.
    pub fn detect_state(&self, camera: usize) -> DetectState {
        self.with(camera, |facts| self.detects(&self.cameras[camera].0, facts))
    }

    fn detects(&self, listed: &Listed, facts: &Facts) -> DetectState {
        let planned = |(schedule, zone): &(Schedule, TimeZone)| {
            schedule.holds(self.clock.now().to_zoned(zone.clone()).datetime())
        };
        if !facts.detect {
            DetectState::Off
        } else if !listed.schedule.as_ref().is_none_or(planned) {
            DetectState::Schedule
        } else if facts.scene_changes {
            DetectState::SceneChange
        } else {
            DetectState::On
        }
    }

    /// How a camera's detectors stand, and the first trouble among them.
    fn detectors_of(&self, camera: usize) -> (Option<String>, Vec<DetectorStatus>) {
        let (mut problem, mut found): (Option<String>, Vec<DetectorStatus>) = (None, vec![]);
        let own: Vec<usize> =
            (0..self.detectors.len()).filter(|d| self.detectors[*d].0.camera == camera).collect();
        for detector in &own {
            let post = &self.detectors[*detector].0;
            let status = self.of(*detector, |watch| {
                let named = |text: String| match own[..] {
                    [_] => text,
                    _ => format!("detector {}: {text}", post.name),
                };
                problem = problem.take().or_else(|| watch.problem.clone().map(named));
                DetectorStatus {
                    name: post.name.clone(),
                    method: post.method.clone(),
                    alerts: post.alerts,
                    segments: watch.segments,
                    learning: match post.origin {
                        Origin::Fused => slowest(&found),
                        _ => watch.learning.clone(),
                    },
                    judging: post.judging.clone(),
                    threshold: watch.threshold,
                    outlook: watch.outlook.clone(),
                    normal: watch.normal.clone(),
                    last_score: watch.last_score,
                    probability: watch.probability,
                    grid: watch.grid,
                    covers: watch.covers,
                    regions: watch.regions.clone(),
                    open_event: watch.open_event.clone(),
                }
            });
            found.push(status);
        }
        (problem, found)
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.cameras.iter().position(|(listed, _)| &*listed.name == name)
    }

    /// Looked at and marked in one go: of two that ask at once, one is refused.
    fn ask(&self, detector: usize) -> Result<(), LearnRefused> {
        self.of(detector, |watch| {
            if watch.training || watch.learning.state != LearningState::Armed {
                return Err(LearnRefused::Busy);
            }
            match self.learn.try_send(detector) {
                Ok(()) => {
                    watch.queue_learning();
                    Ok(())
                }
                Err(TrySendError::Full(_)) => Err(LearnRefused::Busy),
                Err(TrySendError::Disconnected(_)) => {
                    Err(LearnRefused::Impossible("the daemon is stopping".into()))
                }
            }
        })
    }
}

/// What a fused verdict waits for: the member that is least far.
fn slowest(members: &[DetectorStatus]) -> LearningStatus {
    let far = |s: &&DetectorStatus| (s.learning.state != LearningState::Learning, s.learning.progress);
    let least =
        members.iter().min_by(|a, b| far(a).partial_cmp(&far(b)).unwrap_or(std::cmp::Ordering::Equal));
    let mut learning = least.expect("a fused verdict has members").learning.clone();
    // It is made of several models, each with a hash and a time of its own.
    (learning.model_sha256, learning.learned_at) = (None, None);
    learning
}

impl Cameras for Board {
    fn list(&self) -> Vec<CameraStatus> {
        (0..self.cameras.len()).map(|camera| self.status(camera)).collect()
    }

    fn get(&self, camera: &str) -> Option<CameraStatus> {
        self.find(camera).map(|camera| self.status(camera))
    }

    fn picture(&self, camera: &str, max_width: u32) -> Option<Picture> {
        let pictures = self.with(self.find(camera)?, |facts| facts.pictures.clone())?;
        // Converted without holding the facts: the stages must not wait for a JPEG.
        pictures.latest(max_width)
    }

    fn learn(&self, camera: &str, detector: Option<&str>) -> Result<(), LearnRefused> {
        let camera = self.find(camera).ok_or(LearnRefused::NoSuchCamera)?;
        let wanted = |post: &Post| post.camera == camera && detector.is_none_or(|name| &*post.name == name);
        let asked: Vec<usize> = (0..self.detectors.len()).filter(|d| wanted(&self.detectors[*d].0)).collect();
        if asked.is_empty() {
            return Err(LearnRefused::NoSuchDetector);
        }
        let learns = |d: &&usize| matches!(self.detectors[**d].0.origin, Origin::Learned);
        let outcomes: Vec<_> = asked.iter().filter(learns).map(|detector| self.ask(*detector)).collect();
        // One that is learning already does not keep the others from it.
        let best = outcomes.into_iter().min_by_key(Result::is_err);
        best.unwrap_or_else(|| {
            let (name, _) = self.named(asked[0]);
            Err(LearnRefused::Impossible(format!(
                "camera `{name}` watches with a model file that the configuration names, or with what others \
                 find, and learns nothing in place; set its `scorer` to a method such as \"diffusion\""
            )))
        })
    }

    fn detect(&self, camera: &str, on: bool) -> bool {
        let camera = self.find(camera);
        camera.is_some_and(|camera| {
            self.with(camera, |facts| facts.detect = on);
            true
        })
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SimClock;
    use crate::config::Baseline;
    use crate::threshold::{DayParts, Rule};

    fn gate(clock: &Arc<SimClock>, learn: Sender<usize>, origins: Vec<Origin>) -> Board {
        let post = |(i, origin): (usize, Origin)| Post {
            camera: 0,
            name: ["motion", "scene", "fused"][i].into(),
            method: "toy".into(),
            alerts: true,
            judging: Judging {
                rule: Rule::default(),
                hysteresis: 0.0,
                day: DayParts::new(Baseline::One, TimeZone::UTC),
            },
            origin,
        };
        let cameras = vec![Listed {
            name: "gate".into(),
            source: "rtsp://gate".into(),
            schedule: None,
            detect: true,
            places: Default::default(),
        }];
        Board::new(cameras, origins.into_iter().enumerate().map(post).collect(), clock.clone(), learn)
    }

    #[test]
    fn the_measured_rate_follows_the_camera_and_falls_when_it_is_silent() {
        let clock = Arc::new(SimClock::new(Timestamp::UNIX_EPOCH));
        let board = gate(&clock, crossbeam_channel::bounded(1).0, vec![Origin::Learned]);
        for _ in 0..100 {
            clock.advance(Duration::from_millis(100));
            board.with(0, |facts| facts.frame(clock.now(), clock.monotonic()));
        }
        assert!((board.status(0).fps - 10.0).abs() < 0.01, "{}", board.status(0).fps);
        clock.advance(Duration::from_secs(4));
        let status = board.status(0);
        assert!(status.fps < 2.5 && status.last_frame_age == Some(4.0), "{status:?}");
        clock.advance(Duration::from_secs(60));
        assert_eq!(board.status(0).fps, 0.0);
    }

    #[test]
    fn events_are_opened_when_they_are_wanted_planned_and_the_picture_is_calm() {
        // Thursday, 1 January 1970, in London: an hour ahead of UTC then.
        let clock = Arc::new(SimClock::new(Timestamp::UNIX_EPOCH));
        let schedule = Schedule::parse(["thu 02:00-03:00"]).expect("a schedule");
        let zone = TimeZone::get("Europe/London").expect("a time zone");
        let listed = Listed {
            name: "gate".into(),
            source: String::new(),
            schedule: Some((schedule, zone)),
            detect: true,
            places: Default::default(),
        };
        let board = Board::new(vec![listed], vec![], clock.clone(), crossbeam_channel::bounded(1).0);
        let state = || board.status(0).detect.state;
        assert_eq!(state(), DetectState::Schedule);
        clock.advance(Duration::from_secs(3600));
        assert_eq!(state(), DetectState::On);
        board.with(0, |facts| facts.scene_changes = true);
        assert_eq!(state(), DetectState::SceneChange);
        assert!(board.detect("gate", false) && !board.detect("yard", false));
        assert_eq!(board.status(0).detect, DetectStatus { on: false, state: DetectState::Off });
        board.detect("gate", true);
        clock.advance(Duration::from_secs(3600));
        assert_eq!(state(), DetectState::Schedule);
    }

    #[test]
    fn learning_again_is_refused_while_learning() {
        let (sender, asked) = crossbeam_channel::bounded(9);
        let clock = Arc::new(SimClock::new(Timestamp::UNIX_EPOCH));
        let board = gate(&clock, sender, vec![Origin::Learned, Origin::Learned]);
        assert_eq!(board.learn("yard", None), Err(LearnRefused::NoSuchCamera));
        assert_eq!(board.learn("gate", Some("sound")), Err(LearnRefused::NoSuchDetector));
        assert_eq!(board.learn("gate", None), Err(LearnRefused::Busy));
        board.of(1, |watch| watch.learning.state = LearningState::Armed);
        assert_eq!(board.learn("gate", Some("motion")), Err(LearnRefused::Busy));
        assert_eq!(board.learn("gate", None), Ok(()), "the one that can");
        // Though nobody has begun yet.
        assert_eq!(board.learn("gate", Some("scene")), Err(LearnRefused::Busy));
        assert_eq!(board.status(0).detectors[1].learning.state, LearningState::Relearning);
        assert_eq!(asked.try_iter().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_camera_whose_model_is_given_learns_nothing() {
        let clock = Arc::new(SimClock::new(Timestamp::UNIX_EPOCH));
        let board = gate(&clock, crossbeam_channel::bounded(1).0, vec![Origin::File]);
        board.of(0, |watch| watch.learning.state = LearningState::Armed);
        let refused = board.learn("gate", None).expect_err("refused").to_string();
        assert!(refused.contains("model file") && refused.contains("`scorer`"), "{refused}");
    }

    #[test]
    fn a_fused_verdict_is_armed_when_all_its_members_are() {
        let clock = Arc::new(SimClock::new(Timestamp::UNIX_EPOCH));
        let origins = vec![Origin::Learned, Origin::File, Origin::Fused];
        let board = gate(&clock, crossbeam_channel::bounded(1).0, origins);
        let fused = || board.status(0).detectors[2].learning.clone();
        board.of(1, |watch| watch.learning.state = LearningState::Armed);
        board.of(0, |watch| watch.learning.progress = 0.3);
        assert_eq!((fused().state, fused().progress), (LearningState::Learning, 0.3));
        board.of(0, |watch| watch.learning.state = LearningState::Armed);
        assert_eq!(fused().state, LearningState::Armed);
    }

    #[test]
    fn trouble_names_its_detector_where_there_are_several() {
        let clock = Arc::new(SimClock::new(Timestamp::UNIX_EPOCH));
        let board = gate(&clock, crossbeam_channel::bounded(1).0, vec![Origin::Learned, Origin::File]);
        assert!(board.status(0).healthy);
        board.of(1, |watch| watch.problem = Some("broken".into()));
        let status = board.status(0);
        assert_eq!((status.healthy, status.problem.as_deref()), (false, Some("detector scene: broken")));
    }
}
