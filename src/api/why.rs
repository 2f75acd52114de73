//! Why an event is one, on the wire, and the pictures of what normal life was most like it.

use super::problem::Problem;
use super::routes::{Api, Queried, blocking, picture};
use crate::alert::{SIMILAR, Why};
use crate::base::Timestamp;
use crate::score::Moved;
use axum::extract::{Path, State};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why an event is one, from the segment that its picture shows and the strangest regions there.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct WhyDto {
    /// How much moved around each of the segment's 16 frames, in the strangest regions: 0 to 1, the most of them.
    pub frames: Vec<f32>,
    /// The frame with most movement, from 0, and when it was.
    pub peak_frame: usize,
    pub peak_time: Option<Timestamp>,
    /// Features that are not as in normal life; empty where the model does not say what that is like.
    pub features: Vec<FeatureDto>,
    /// Segments of normal life that are most like it in these regions, at other times each; most alike first.
    pub similar: Vec<SimilarDto>,
}

/// A feature that is not as in normal life.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct FeatureDto {
    pub name: String,
    /// Of motion: `right`, `down-right`, `down` ... `up-right`, as seen in the picture.
    pub direction: Option<String>,
    /// Of motion: pixels of the analysed picture a frame.
    pub speed: Option<f64>,
    /// Robust standard deviations above (negative: below) the median of the same place in normal life.
    pub z: f32,
    /// The same in words.
    pub text: String,
}

/// A segment of normal life.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SimilarDto {
    pub time: Timestamp,
    /// Standard deviations of normal life there, on the average of all numbers.
    pub distance: f32,
    /// A small picture of it.
    pub picture: Option<String>,
}

impl WhyDto {
    /// Of the event `id`.
    pub fn of(id: &str, why: &Why) -> Self {
        let feature = |moved: &Moved| FeatureDto {
            name: moved.name.clone(),
            direction: moved.direction.clone(),
            speed: moved.speed,
            z: moved.z,
            text: moved.to_string(),
        };
        let similar = why.similar.iter().enumerate().map(|(i, similar)| SimilarDto {
            time: similar.time,
            distance: similar.distance,
            picture: similar.picture.then(|| format!("/api/events/{id}/similar.jpg?n={}", i + 1)),
        });
        Self {
            frames: why.frames.clone(),
            peak_frame: why.peak_frame,
            peak_time: why.peak_time,
            features: why.features.iter().map(feature).collect(),
            similar: similar.collect(),
        }
    }
}

/// Query of `/api/events/{id}/similar.jpg`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SimilarQuery {
    /// Which of `why.similar`, from 1; the first where nothing is said.
    pub n: Option<usize>,
    /// Means nothing: another address makes a browser ask again.
    #[serde(rename = "v")]
    pub _version: Option<String>,
}

pub(super) async fn similar(
    State(api): Api,
    Path(id): Path<String>,
    query: Queried<SimilarQuery>,
) -> Result<Response, Problem> {
    let n = query?.n.unwrap_or(1);
    if !(1..=SIMILAR).contains(&n) {
        return Err(Problem::bad_request(format!("`n` is from 1 to {SIMILAR}")));
    }
    blocking(move || picture(&id, api.parts.store.similar(&id, n)?)).await
}
