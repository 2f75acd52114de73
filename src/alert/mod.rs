//! Verdict -> Event: open, update, close; and the picture that shows where.

mod clip;
mod incident;
mod quiet;
mod review;
mod snapshot;
mod tracker;
mod why;
mod zones;

pub use clip::{Clip, Lack};
pub use incident::{incident, incident_if};
pub use quiet::{Quiet, Quieting};
pub use review::{Label, Review};
pub use snapshot::{Map, Snapshot, jpeg, small_jpeg, snapshot, with_map};
pub use tracker::{Observation, Report, Tracker};
pub use why::{SIMILAR, Similar, Why, movement, strangest};
pub use zones::{Zone, covered_regions, zones_of};

use crate::base::{CameraName, DetectorName, Timestamp};
use crate::config::Budget;
use crate::infer::{Covers, Grid};
use crate::score::Reason;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happened to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    New,
    Update,
    End,
}

/// One incident on one camera, however long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Opaque, sortable by the time of opening (UUID version 7).
    pub id: String,
    pub camera: CameraName,
    /// Which of the camera's detectors spoke.
    #[serde(default = "only_detector")]
    pub detector: DetectorName,
    /// First frame of the first segment above the threshold.
    pub start_time: Timestamp,
    /// `last_time` once it is over; `None` while open.
    pub end_time: Option<Timestamp>,
    /// Last frame of the last segment above the threshold.
    pub last_time: Timestamp,
    /// Newest and highest score.
    pub score: f32,
    pub top_score: f32,
    /// How likely normal life gives a score as high as `top_score`; `None` where that is not known.
    #[serde(default)]
    pub probability: Option<f64>,
    /// The limit in force when it opened, and what it was made of.
    pub threshold: f64,
    pub mu: f64,
    pub sigma: f64,
    pub k: f64,
    /// The limit was the one that keeps this budget.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// Method, for example `v1+diffusion`.
    pub scorer: String,
    pub model: ModelRef,
    /// Index of the first and of the last segment above the threshold.
    pub first_segment: u64,
    pub last_segment: u64,
    pub severity: Severity,
    /// Grid and region scores of the segment that the picture shows.
    pub grid: Grid,
    pub covers: Covers,
    pub regions: Vec<f32>,
    /// Strangest regions of that segment, strangest first, as `(row, column)`.
    pub top_regions: Vec<(usize, usize)>,
    /// Names of the zones that hold one of the first three of them.
    #[serde(default)]
    pub zones: Vec<String>,
    /// What moved most in the strangest of them, most first; empty where the scorer explains nothing.
    #[serde(default)]
    pub factors: Vec<Reason>,
    /// Why it is one; `None` where there was nothing to explain it by.
    #[serde(default)]
    pub why: Option<Why>,
    /// The wall clock was set while it lasted or shortly before: its times may be wrong.
    #[serde(default)]
    pub clock_suspect: bool,
    /// Why it is announced to nobody, if it is not.
    #[serde(default)]
    pub quiet: Option<Quiet>,
    /// A picture has been written for it.
    pub has_snapshot: bool,
    /// What a person made of it. The store's alone: whoever else makes an event leaves it out.
    #[serde(default)]
    pub review: Option<Review>,
    /// Its clip, once there is one. The store's alone: whoever else makes an event leaves it out.
    #[serde(default)]
    pub clip: Option<Clip>,
}

/// Detectors had no names once: each was its camera's only one.
fn only_detector() -> DetectorName {
    "main".into()
}

/// Which model file spoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    pub name: String,
    /// Of the file, lower-case hexadecimal.
    pub sha256: String,
}

/// How far in the tail of normal life, beyond the threshold: up to a hundred times rarer than a score at the threshold, up
/// to a million times, or rarer still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Low,
    Medium,
    High,
}
