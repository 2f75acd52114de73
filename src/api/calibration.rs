//! `GET /api/cameras/{name}/calibration`: what normal life was like, what can be promised of it, and at which limit.

use crate::base::{CameraName, DetectorName};
use crate::config::Budget;
use crate::threshold::{Outlook, Point};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Query of `/api/cameras/{name}/calibration`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CalibrationQuery {
    /// The camera's first one that opens events, where nothing is said.
    pub detector: Option<String>,
}

/// A detector's normal life as far as it was seen.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CalibrationDto {
    pub camera: CameraName,
    pub detector: DetectorName,
    /// The budget in force; null where k is, and until enough was seen.
    pub budget: Option<Budget>,
    /// Time seen, in learning and since; incidents are left out.
    pub hours: f64,
    pub blocks: usize,
    pub block_seconds: f64,
    /// What was seen, highest limit first: alarms an hour that a limit just below this one would have raised.
    pub seen: Vec<SeenDto>,
    /// What is expected, most alarms first; empty until enough was seen.
    pub curve: Vec<PointDto>,
    /// Of the budget in force.
    pub asked: Option<PointDto>,
    pub promise: PromiseDto,
    /// Where the time of day counts, and days enough were seen: what is usual when. The limits above are those of the
    /// part of the day that they were found in.
    pub baselines: Vec<BaselineDto>,
}

/// What is usual in a part of the day, local time.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct BaselineDto {
    /// `day`, `night`, or the hour as `14:00`.
    pub part: String,
    pub mu: f64,
    pub sigma: f64,
    /// Too little of it was seen yet: these are the whole day's.
    pub shared: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct SeenDto {
    pub limit: f64,
    pub per_hour: f64,
}

/// A limit, and the false alarms an hour that are expected under it, `low` to `high` with 90 % certainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct PointDto {
    pub per_hour: f64,
    pub limit: f64,
    pub low: f64,
    pub high: f64,
    /// So rare an alarm was not seen often enough: this rests on the shape of the tail.
    pub extrapolated: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PromiseDto {
    /// For example `3 hours seen: can promise one per hour, not yet one per day (that takes 3 days)`.
    pub text: String,
    /// The rarest of `1/hour`, `1/day` and `1/week` that can be promised, and the next one, which cannot; null: none.
    pub best: Option<Budget>,
    pub next: Option<Budget>,
}

impl CalibrationDto {
    pub fn of(camera: CameraName, detector: DetectorName, budget: Option<Budget>, outlook: &Outlook) -> Self {
        let Outlook { hours, blocks, block_seconds, seen, curve, promise, asked, rhythm } = outlook;
        let baselines = rhythm.iter().flat_map(|rhythm| rhythm.named()).map(|(part, usual, own)| {
            BaselineDto { part: part.to_owned(), mu: usual.mu, sigma: usual.sigma, shared: !own }
        });
        Self {
            camera,
            detector,
            budget,
            hours: *hours,
            blocks: *blocks,
            block_seconds: *block_seconds,
            seen: seen
                .iter()
                .map(|(limit, per_hour)| SeenDto { limit: *limit, per_hour: *per_hour })
                .collect(),
            curve: curve.iter().copied().map(PointDto::from).collect(),
            asked: asked.map(PointDto::from),
            promise: PromiseDto { text: promise.text.clone(), best: promise.best, next: promise.next },
            baselines: baselines.collect(),
        }
    }
}

impl From<Point> for PointDto {
    fn from(point: Point) -> Self {
        let Point { per_hour, limit, low, high, extrapolated } = point;
        Self { per_hour, limit, low, high, extrapolated }
    }
}
