//! The board: the newest truth about every camera, written by the stages and read by the API.

use crate::api::{CameraStatus, Cameras, LearnRefused, LearningState, LearningStatus, LinkState};
use crate::base::{CameraName, Clock, Timestamp};
use crate::frame::{Picture, PictureTap, StreamInfo};
use crate::infer::{Covers, Grid};
use crate::threshold::Threshold;
use crossbeam_channel::{Sender, TrySendError};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The measured frame rate is that of the frames within this time.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// The newest truth about every camera.
pub struct Board {
    clock: Arc<dyn Clock>,
    cameras: Vec<Entry>,
    ready: AtomicBool,
    /// Asks the learning supervisor to learn a camera again.
    learn: Sender<usize>,
}

/// What never changes about a camera.
pub struct Listed {
    pub name: CameraName,
    /// Without credentials.
    pub source: String,
    /// What the extractor's grid lies over.
    pub covers: Covers,
    /// Learned in place; false where the configuration names a model file.
    pub learned: bool,
}

struct Entry {
    listed: Listed,
    facts: Mutex<Facts>,
}

/// What is known of one camera.
pub struct Facts {
    pub link: LinkState,
    /// Why there are no frames.
    pub link_problem: Option<String>,
    /// Why the scores cannot be trusted.
    pub model_problem: Option<String>,
    pub stream: StreamInfo,
    pub pictures: Option<Arc<dyn PictureTap>>,
    /// Monotonic arrival of the frames within [`RATE_WINDOW`].
    arrivals: VecDeque<Duration>,
    last_frame: Option<Timestamp>,
    frames: u64,
    pub reconnects: u64,
    pub segments: u64,
    pub learning: LearningStatus,
    /// A learning process is at work, or waits for its turn.
    pub training: bool,
    pub threshold: Option<Threshold>,
    pub last_score: Option<f32>,
    pub grid: Option<Grid>,
    pub regions: Vec<f32>,
    pub open_event: Option<String>,
}

impl Facts {
    fn new() -> Self {
        Self {
            link: LinkState::Connecting,
            link_problem: None,
            model_problem: None,
            stream: StreamInfo::default(),
            pictures: None,
            arrivals: VecDeque::new(),
            last_frame: None,
            frames: 0,
            reconnects: 0,
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
            last_score: None,
            grid: None,
            regions: vec![],
            open_event: None,
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

    /// Learning has been asked for, and begins when its turn comes: cameras learn one after the other.
    pub fn queue_learning(&mut self) {
        self.training = true;
        self.learning.progress = 0.0;
        self.learning.step = "waiting for its turn to learn".into();
        if self.learning.state == LearningState::Armed {
            self.learning.state = LearningState::Relearning;
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

impl Board {
    /// `learn` should have room for every camera.
    pub fn new(cameras: Vec<Listed>, clock: Arc<dyn Clock>, learn: Sender<usize>) -> Self {
        let entry = |listed| Entry { listed, facts: Mutex::new(Facts::new()) };
        Self {
            clock,
            cameras: cameras.into_iter().map(entry).collect(),
            ready: AtomicBool::new(false),
            learn,
        }
    }

    /// Changes, or reads, what is known of a camera.
    pub fn with<R>(&self, camera: usize, change: impl FnOnce(&mut Facts) -> R) -> R {
        change(&mut self.cameras[camera].facts.lock().expect("nothing panics while facts are held"))
    }

    /// Models loaded, store open, sources started.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    pub fn status(&self, camera: usize) -> CameraStatus {
        let entry = &self.cameras[camera];
        let now = self.clock.monotonic();
        self.with(camera, |facts| CameraStatus {
            name: entry.listed.name.clone(),
            source: entry.listed.source.clone(),
            link: facts.link,
            problem: facts.link_problem.clone().or_else(|| facts.model_problem.clone()),
            healthy: facts.model_problem.is_none(),
            stream: facts.stream.clone(),
            fps: facts.fps(now),
            last_frame: facts.last_frame,
            last_frame_age: facts.arrivals.back().map(|at| now.saturating_sub(*at).as_secs_f64()),
            reconnects: facts.reconnects,
            frames: facts.frames,
            segments: facts.segments,
            learning: facts.learning.clone(),
            threshold: facts.threshold,
            last_score: facts.last_score,
            grid: facts.grid,
            covers: entry.listed.covers,
            regions: facts.regions.clone(),
            open_event: facts.open_event.clone(),
        })
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.cameras.iter().position(|entry| &*entry.listed.name == name)
    }
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

    fn learn(&self, camera: &str) -> Result<(), LearnRefused> {
        let camera = self.find(camera).ok_or(LearnRefused::NoSuchCamera)?;
        if !self.cameras[camera].listed.learned {
            let name = &self.cameras[camera].listed.name;
            let problem = format!(
                "camera `{name}` watches with a model file that the configuration names, and learns nothing in \
                 place; set its `scorer` to a method such as \"diffusion\""
            );
            return Err(LearnRefused::Impossible(problem));
        }
        // Looked at and marked in one go: of two that ask at once, one is refused.
        self.with(camera, |facts| {
            if facts.training || facts.learning.state != LearningState::Armed {
                return Err(LearnRefused::Busy);
            }
            match self.learn.try_send(camera) {
                Ok(()) => {
                    facts.queue_learning();
                    Ok(())
                }
                Err(TrySendError::Full(_)) => Err(LearnRefused::Busy),
                Err(TrySendError::Disconnected(_)) => {
                    Err(LearnRefused::Impossible("the daemon is stopping".into()))
                }
            }
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

    fn gate(learned: bool) -> Vec<Listed> {
        vec![Listed { name: "gate".into(), source: "rtsp://gate".into(), covers: Covers::default(), learned }]
    }

    #[test]
    fn the_measured_rate_follows_the_camera_and_falls_when_it_is_silent() {
        let clock = Arc::new(SimClock::new(Timestamp::UNIX_EPOCH));
        let board = Board::new(gate(true), clock.clone(), crossbeam_channel::bounded(1).0);
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
    fn learning_again_is_refused_while_learning() {
        let (sender, asked) = crossbeam_channel::bounded(9);
        let clock = Arc::new(SimClock::new(Timestamp::UNIX_EPOCH));
        let board = Board::new(gate(true), clock.clone(), sender);
        assert_eq!(board.learn("yard"), Err(LearnRefused::NoSuchCamera));
        assert_eq!(board.learn("gate"), Err(LearnRefused::Busy));
        board.with(0, |facts| facts.learning.state = LearningState::Armed);
        assert_eq!(board.learn("gate"), Ok(()));
        // Though nobody has begun yet.
        assert_eq!(board.learn("gate"), Err(LearnRefused::Busy));
        assert_eq!(board.status(0).learning.state, LearningState::Relearning);
        assert_eq!(asked.try_iter().collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn a_camera_whose_model_is_given_learns_nothing() {
        let clock = Arc::new(SimClock::new(Timestamp::UNIX_EPOCH));
        let board = Board::new(gate(false), clock, crossbeam_channel::bounded(1).0);
        board.with(0, |facts| facts.learning.state = LearningState::Armed);
        let refused = board.learn("gate").expect_err("refused").to_string();
        assert!(refused.contains("model file") && refused.contains("`scorer`"), "{refused}");
    }
}
