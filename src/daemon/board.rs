//! The board: the newest truth about every camera and detector, written by the stages and read by the API.
//!
//! What is said of a camera that has gone goes nowhere.

pub use super::facts::{Facts, Watch};
use super::numbered::Numbered;
use crate::api::{
    CameraStatus, Cameras, DetectState, DetectStatus, DetectorStatus, LearnRefused, LearningState,
    LearningStatus, Places,
};
use crate::base::{CameraName, Clock, DetectorName};
use crate::config::Schedule;
use crate::frame::Picture;
use crate::segment::PictureState;
use crate::threshold::Judging;
use crossbeam_channel::{Sender, TrySendError};
use jiff::tz::TimeZone;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// The newest truth about every camera and detector.
pub struct Board {
    clock: Arc<dyn Clock>,
    known: RwLock<Known>,
    ready: AtomicBool,
    /// Asks the learning supervisor to learn a detector again.
    learn: Sender<usize>,
}

/// Who is there. Held while it is looked at only, never while something is said.
#[derive(Default)]
struct Known {
    /// In the configuration's order.
    order: Vec<usize>,
    cameras: Numbered<OnBoard<Listed, Facts>>,
    detectors: Numbered<OnBoard<Post, Watch>>,
}

/// What never changes of somebody, and what does.
type OnBoard<T, V> = Arc<(T, Mutex<V>)>;

/// A camera that comes, its fused detector after the others.
pub struct Entry {
    pub number: usize,
    pub listed: Listed,
    pub detectors: Vec<(usize, Post, Watch)>,
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

impl Board {
    /// `learn` should have room for every detector.
    pub fn new(clock: Arc<dyn Clock>, learn: Sender<usize>) -> Self {
        Self { clock, known: RwLock::default(), ready: AtomicBool::new(false), learn }
    }

    /// Takes these cameras off and puts those on, at once; `order` is that of the configuration.
    pub fn change(&self, leave: &[usize], join: Vec<Entry>, order: Vec<usize>) {
        let mut known = self.known.write().expect("nothing panics while the list is held");
        leave.iter().for_each(|camera| drop(known.cameras.remove(*camera)));
        known.detectors.retain(|entry| !leave.contains(&entry.0.camera));
        for Entry { number, listed, detectors } in join {
            let facts = Mutex::new(Facts::new(listed.detect));
            known.cameras.insert(number, Arc::new((listed, facts)));
            let watched = detectors.into_iter();
            known.detectors.extend(watched.map(|(n, post, watch)| (n, Arc::new((post, Mutex::new(watch))))));
        }
        known.order = order;
    }

    fn camera(&self, number: usize) -> Option<OnBoard<Listed, Facts>> {
        self.known.read().expect("nothing panics while the list is held").cameras.get(number).cloned()
    }

    fn detector(&self, number: usize) -> Option<OnBoard<Post, Watch>> {
        self.known.read().expect("nothing panics while the list is held").detectors.get(number).cloned()
    }

    /// Changes, or reads, what is known of a camera.
    pub fn with<R>(&self, camera: usize, change: impl FnOnce(&mut Facts) -> R) -> R {
        match self.camera(camera) {
            Some(entry) => change(&mut entry.1.lock().expect("nothing panics while facts are held")),
            None => change(&mut Facts::new(false)),
        }
    }

    /// Changes, or reads, what is known of a detector.
    pub fn of<R>(&self, detector: usize, change: impl FnOnce(&mut Watch) -> R) -> R {
        match self.detector(detector) {
            Some(entry) => change(&mut entry.1.lock().expect("nothing panics while it is held")),
            None => change(&mut Watch::default()),
        }
    }

    /// Models loaded, store open, sources started.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// How a camera stands; `None` where it has gone.
    pub fn status(&self, camera: usize) -> Option<CameraStatus> {
        let entry = self.camera(camera)?;
        let listed = &entry.0;
        let now = self.clock.monotonic();
        let (problem, detectors) = self.detectors_of(camera);
        let facts = entry.1.lock().expect("nothing panics while facts are held");
        let facts = &*facts;
        Some(CameraStatus {
            name: listed.name.clone(),
            source: listed.source.clone(),
            link: facts.standing.link(),
            healthy: problem.is_none()
                && facts.load_problem.is_none()
                && facts.standing.sight() == PictureState::Healthy,
            // Where little is looked at, little else can be said.
            problem: (facts.load_problem.filter(|_| facts.standing.link() == crate::api::LinkState::Live))
                .map(str::to_owned)
                .or_else(|| facts.standing.problem())
                .or(problem),
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
        let detects = |entry: OnBoard<Listed, Facts>| {
            self.detects(&entry.0, &entry.1.lock().expect("nothing panics while facts are held"))
        };
        self.camera(camera).map_or(DetectState::Off, detects)
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
        let own = self.own(camera);
        for (_, entry) in &own {
            let post = &entry.0;
            let status = {
                let watch = entry.1.lock().expect("nothing panics while it is held");
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
            };
            found.push(status);
        }
        (problem, found)
    }

    /// A camera's detectors, in their order.
    fn own(&self, camera: usize) -> Vec<(usize, OnBoard<Post, Watch>)> {
        let known = self.known.read().expect("nothing panics while the list is held");
        let own = known.detectors.iter().filter(|(_, entry)| entry.0.camera == camera);
        own.map(|(number, entry)| (number, entry.clone())).collect()
    }

    /// The cameras, in the configuration's order.
    pub fn numbers(&self) -> Vec<usize> {
        self.known.read().expect("nothing panics while the list is held").order.clone()
    }

    fn find(&self, name: &str) -> Option<usize> {
        let known = self.known.read().expect("nothing panics while the list is held");
        let named = |number: &usize| known.cameras.get(*number).is_some_and(|entry| *entry.0.name == *name);
        known.order.iter().copied().find(named)
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
        self.numbers().into_iter().filter_map(|camera| self.status(camera)).collect()
    }

    fn get(&self, camera: &str) -> Option<CameraStatus> {
        self.find(camera).and_then(|camera| self.status(camera))
    }

    fn picture(&self, camera: &str, max_width: u32) -> Option<Picture> {
        let pictures = self.with(self.find(camera)?, |facts| facts.pictures.clone())?;
        // Converted without holding the facts: the stages must not wait for a JPEG.
        pictures.latest(max_width)
    }

    fn learn(&self, camera: &str, detector: Option<&str>) -> Result<(), LearnRefused> {
        let mut asked = self.own(self.find(camera).ok_or(LearnRefused::NoSuchCamera)?);
        asked.retain(|(_, entry)| detector.is_none_or(|name| *entry.0.name == *name));
        if asked.is_empty() {
            return Err(LearnRefused::NoSuchDetector);
        }
        let learning = asked.iter().filter(|(_, entry)| matches!(entry.0.origin, Origin::Learned));
        let outcomes: Vec<_> = learning.map(|(detector, _)| self.ask(*detector)).collect();
        // One that is learning already does not keep the others from it.
        let best = outcomes.into_iter().min_by_key(Result::is_err);
        best.unwrap_or_else(|| {
            Err(LearnRefused::Impossible(format!(
                "camera `{camera}` watches with a model file that the configuration names, or with what others \
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
    use crate::base::{SimClock, Timestamp};
    use crate::config::Baseline;
    use crate::threshold::{DayParts, Rule};
    use std::time::Duration;

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
        let detectors = origins.into_iter().enumerate().map(post).enumerate();
        let detectors = detectors.map(|(number, post)| (number, post, Watch::default())).collect();
        let board = Board::new(clock.clone(), learn);
        board.change(&[], vec![Entry { number: 0, listed: listed("gate"), detectors }], vec![0]);
        board
    }

    fn listed(name: &str) -> Listed {
        Listed {
            name: name.into(),
            source: format!("rtsp://{name}"),
            schedule: None,
            detect: true,
            places: Default::default(),
        }
    }

    fn gate_of(board: &Board) -> CameraStatus {
        board.status(0).expect("it is there")
    }

    #[test]
    fn the_measured_rate_follows_the_camera_and_falls_when_it_is_silent() {
        let clock = Arc::new(SimClock::new(Timestamp::UNIX_EPOCH));
        let board = gate(&clock, crossbeam_channel::bounded(1).0, vec![Origin::Learned]);
        for _ in 0..100 {
            clock.advance(Duration::from_millis(100));
            board.with(0, |facts| facts.frame(clock.now(), clock.monotonic()));
        }
        assert!((gate_of(&board).fps - 10.0).abs() < 0.01, "{}", gate_of(&board).fps);
        clock.advance(Duration::from_secs(4));
        let status = gate_of(&board);
        assert!(status.fps < 2.5 && status.last_frame_age == Some(4.0), "{status:?}");
        clock.advance(Duration::from_secs(60));
        assert_eq!(gate_of(&board).fps, 0.0);
    }

    #[test]
    fn events_are_opened_when_they_are_wanted_planned_and_the_picture_is_calm() {
        // Thursday, 1 January 1970, in London: an hour ahead of UTC then.
        let clock = Arc::new(SimClock::new(Timestamp::UNIX_EPOCH));
        let schedule = Schedule::parse(["thu 02:00-03:00"]).expect("a schedule");
        let zone = TimeZone::get("Europe/London").expect("a time zone");
        let listed = Listed { schedule: Some((schedule, zone)), ..listed("gate") };
        let board = Board::new(clock.clone(), crossbeam_channel::bounded(1).0);
        board.change(&[], vec![Entry { number: 0, listed, detectors: vec![] }], vec![0]);
        let state = || gate_of(&board).detect.state;
        assert_eq!(state(), DetectState::Schedule);
        clock.advance(Duration::from_secs(3600));
        assert_eq!(state(), DetectState::On);
        board.with(0, |facts| facts.scene_changes = true);
        assert_eq!(state(), DetectState::SceneChange);
        assert!(board.detect("gate", false) && !board.detect("yard", false));
        assert_eq!(gate_of(&board).detect, DetectStatus { on: false, state: DetectState::Off });
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
        assert_eq!(gate_of(&board).detectors[1].learning.state, LearningState::Relearning);
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
        let fused = || gate_of(&board).detectors[2].learning.clone();
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
        assert!(gate_of(&board).healthy);
        board.of(1, |watch| watch.problem = Some("broken".into()));
        let status = gate_of(&board);
        assert_eq!((status.healthy, status.problem.as_deref()), (false, Some("detector scene: broken")));
    }

    #[test]
    fn cameras_come_and_go_and_what_is_said_of_one_that_has_gone_goes_nowhere() {
        let clock = Arc::new(SimClock::new(Timestamp::UNIX_EPOCH));
        let board = gate(&clock, crossbeam_channel::bounded(1).0, vec![Origin::Learned]);
        board.with(0, |facts| facts.frame(clock.now(), clock.monotonic()));
        let entry = |number, name| Entry { number, listed: listed(name), detectors: vec![] };
        board.change(&[], vec![entry(1, "yard")], vec![1, 0]);
        let names = || board.list().into_iter().map(|camera| camera.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(), ["yard", "gate"]);
        assert_eq!(gate_of(&board).frames, 1, "who stays keeps all that is known");
        board.change(&[0], vec![entry(2, "gate")], vec![2, 1]);
        board.with(0, |facts| facts.frame(clock.now(), clock.monotonic()));
        board.of(0, |watch| watch.problem = Some("too late".into()));
        assert_eq!(names(), ["gate", "yard"]);
        let new = board.get("gate").expect("there again");
        assert_eq!((new.frames, new.healthy, new.detectors.len()), (0, true, 0));
        assert!(board.status(0).is_none() && board.detect_state(0) == DetectState::Off);
    }
}
