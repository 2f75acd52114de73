//! HTTP: the API, server-sent events, the metrics endpoint and the live page.

mod announce;
mod backtest;
mod bus;
mod calibration;
mod check;
mod clip;
mod dto;
mod guard;
mod health;
mod listen;
mod login;
mod openapi;
mod page;
mod places;
mod preview;
mod problem;
mod reload;
mod routes;
mod serve;
mod sinks;
mod stream;
mod why;

pub use crate::frame::LinkState;
pub use announce::{CameraState, announce_camera, announce_event};
pub use backtest::{BacktestBody, BacktestDto, BacktestError, Subject, Table, over_store};
pub use bus::Bus;
pub use listen::{CONNECTIONS, tls};
pub use places::{Places, Zone};
pub use reload::{Configuration, ReloadRefused, Reloaded};
pub use routes::openapi;
pub use serve::{HEARTBEAT, PATIENCE, Parts, ServeError, ServerHandle, serve};
pub use sinks::{SinkState, SinkStatus, Sinks};

use crate::base::{CameraName, DetectorName, Timestamp};
use crate::frame::{Picture, StreamInfo};
use crate::infer::{Covers, Grid};
use crate::segment::PictureState;
use crate::store::{Store, StoreError};
use crate::threshold::{Judging, Normal, Outlook, Threshold};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// What the API needs of the running daemon.
pub trait Cameras: Send + Sync {
    /// Every configured camera, in the configuration's order.
    fn list(&self) -> Vec<CameraStatus>;
    fn get(&self, camera: &str) -> Option<CameraStatus>;
    /// Newest picture, at most `max_width` pixels wide. `None`: no such camera or no picture yet.
    fn picture(&self, camera: &str, max_width: u32) -> Option<Picture>;
    /// Starts learning again from the newest features: one detector, or without a name all that learn in place.
    fn learn(&self, camera: &str, detector: Option<&str>) -> Result<(), LearnRefused>;
    /// Has the camera open events, or not. False: no such camera.
    fn detect(&self, camera: &str, on: bool) -> bool;
    /// Models loaded, store open, sources started.
    fn ready(&self) -> bool;
}

/// Has a camera open events, or not, and remembers it over restarts. False: no such camera.
///
/// # Errors
/// When it cannot be remembered; then nothing changes.
pub fn switch_detection(
    cameras: &dyn Cameras,
    store: &Store,
    camera: &str,
    on: bool,
) -> Result<bool, StoreError> {
    if cameras.get(camera).is_none() {
        return Ok(false);
    }
    store.put_detect(camera, on)?;
    Ok(cameras.detect(camera, on))
}

/// Why learning cannot start now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LearnRefused {
    #[error("no camera of that name")]
    NoSuchCamera,
    #[error("the camera has no detector of that name")]
    NoSuchDetector,
    #[error("already learning")]
    Busy,
    #[error("{0}")]
    Impossible(String),
}

/// A camera as the API shows it.
#[derive(Debug, Clone, Serialize)]
pub struct CameraStatus {
    pub name: CameraName,
    /// Source without credentials.
    pub source: String,
    pub link: LinkState,
    /// Why the camera is not live, or not healthy; with a remedy.
    pub problem: Option<String>,
    /// Red when scores are not finite or the model failed.
    pub healthy: bool,
    pub picture: PictureStatus,
    pub stream: StreamInfo,
    /// Analysed frames a second, measured.
    pub fps: f64,
    /// Arrival of the newest frame.
    pub last_frame: Option<Timestamp>,
    /// Seconds since then.
    pub last_frame_age: Option<f64>,
    pub reconnects: u64,
    pub frames: u64,
    pub detect: DetectStatus,
    #[serde(skip)]
    pub places: Arc<Places>,
    /// In the configuration's order; the fused one, if there is one, comes last.
    pub detectors: Vec<DetectorStatus>,
}

/// Whether a camera's picture can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PictureStatus {
    pub state: PictureState,
    /// Arrival of the frame that showed it to be so; null before the first change.
    pub since: Option<Timestamp>,
}

impl Default for PictureStatus {
    fn default() -> Self {
        Self { state: PictureState::Healthy, since: None }
    }
}

/// Whether a camera opens events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DetectStatus {
    /// It is wanted.
    pub on: bool,
    pub state: DetectState,
}

/// Whether a camera opens events now, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DetectState {
    On,
    /// It is not wanted.
    Off,
    /// Its schedule says not now.
    Schedule,
    /// The whole picture changes.
    SceneChange,
}

/// A detector as the API shows it.
#[derive(Debug, Clone, Serialize)]
pub struct DetectorStatus {
    pub name: DetectorName,
    /// For people, for example `v1+diffusion`.
    pub method: String,
    /// Opens events. One whose verdict is fused with others' does not.
    pub alerts: bool,
    /// Segments that it was given.
    pub segments: u64,
    pub learning: LearningStatus,
    /// How scores are judged, beside the threshold.
    #[serde(skip)]
    pub judging: Judging,
    pub threshold: Option<Threshold>,
    /// Normal life as far as it was seen; `None` before the first score.
    #[serde(skip)]
    pub outlook: Option<Arc<Outlook>>,
    /// What it was found from.
    #[serde(skip)]
    pub normal: Option<Arc<Normal>>,
    pub last_score: Option<f32>,
    /// Of normal life giving a score as high.
    pub probability: Option<f64>,
    /// Regions of the picture, and the newest score of each.
    pub grid: Option<Grid>,
    pub covers: Covers,
    pub regions: Vec<f32>,
    /// Id of the event that is open now.
    pub open_event: Option<String>,
}

/// Whether the camera can alert.
#[derive(Debug, Clone, Serialize)]
pub struct LearningStatus {
    pub state: LearningState,
    /// 0 to 1: share of the video watched, then of the training done.
    pub progress: f64,
    /// What it is doing, in words.
    pub step: String,
    pub model_sha256: Option<String>,
    pub learned_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LearningState {
    /// No model yet: watches and trains.
    Learning,
    /// Watches with a calibrated model.
    Armed,
    /// Watches with the old model while a new one is learned.
    Relearning,
}
