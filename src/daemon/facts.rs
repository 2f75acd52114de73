//! What is known of a camera, and of a detector: the entries of the board.

use super::scoring::Armed;
use super::standing::Standing;
use crate::api::{LearningState, LearningStatus};
use crate::base::Timestamp;
use crate::frame::{PacketRing, PictureTap, StreamInfo};
use crate::infer::{Covers, Grid};
use crate::threshold::{Normal, Outlook, Threshold};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The measured frame rate is that of the frames within this time.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// What is known of one camera.
pub struct Facts {
    pub standing: Standing,
    pub stream: StreamInfo,
    pub pictures: Option<Arc<dyn PictureTap>>,
    /// What clips are cut from; of the newest stream.
    pub packets: Option<Arc<PacketRing>>,
    /// Monotonic arrival of the frames within [`RATE_WINDOW`].
    pub arrivals: VecDeque<Duration>,
    pub last_frame: Option<Timestamp>,
    pub frames: u64,
    pub reconnects: u64,
    /// Events are wanted.
    pub detect: bool,
    /// The whole picture changes.
    pub scene_changes: bool,
    /// The machine is too slow for it.
    pub load_problem: Option<&'static str>,
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
    pub fn new(detect: bool) -> Self {
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
            load_problem: None,
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
    pub fn fps(&self, now: Duration) -> f64 {
        let Some(first) = self.arrivals.front() else { return 0.0 };
        let recent = self.arrivals.iter().filter(|at| now.saturating_sub(**at) <= RATE_WINDOW).count();
        let span = now.saturating_sub(*first).min(RATE_WINDOW);
        if recent < 2 { 0.0 } else { (recent - 1) as f64 / span.as_secs_f64().max(0.1) }
    }
}

impl Default for Watch {
    fn default() -> Self {
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
}

impl Watch {
    /// It watches with a model, of this age.
    pub fn arm(&mut self, armed: &Armed, learned_at: Timestamp) {
        self.threshold = Some(armed.threshold);
        self.problem = None;
        self.learning.state = LearningState::Armed;
        self.learning.progress = 1.0;
        self.learning.step = "watching".into();
        self.learning.model_sha256 = Some(armed.model.sha256.clone());
        self.learning.learned_at = Some(learned_at);
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
