//! What a model file says of itself, kept in the ONNX metadata so that one file is all there is.

use crate::frame::FrameSpec;
use serde::{Deserialize, Serialize};

/// Metadata key that holds the [`Manifest`] as JSON.
pub const MANIFEST_KEY: &str = "sigmawatch.manifest";
/// Version of the layout below; a file with another one is refused.
pub const MANIFEST_FORMAT: u32 = 1;

/// A model file's description of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// For example `v1` or `diffusion`.
    pub name: String,
    pub version: String,
    /// SPDX expression of the weights.
    pub licence: String,
    /// Where the weights come from.
    pub provenance: String,
    pub spec: ModelSpec,
}

/// What kind of model it is, and what it takes and gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ModelSpec {
    Extractor(ExtractorSpec),
    Scorer(ScorerSpec),
}

/// Regions of the picture, row by row from the top left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    pub rows: usize,
    pub cols: usize,
}

impl Grid {
    /// The whole picture as one region.
    pub const WHOLE: Grid = Grid { rows: 1, cols: 1 };

    pub fn regions(self) -> usize {
        self.rows * self.cols
    }
}

/// Share of the picture's width and height, from its top left corner, that the grid lies over. A grid of
/// whole cells may leave a strip at the right or the bottom unwatched.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Covers {
    pub width: f64,
    pub height: f64,
}

impl Default for Covers {
    fn default() -> Self {
        Self { width: 1.0, height: 1.0 }
    }
}

/// Input `frames` u8 `[segments, 16, height, width, channels]`; output `features` f32
/// `[segments, regions, dims]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtractorSpec {
    pub frame: FrameSpec,
    /// Frames in a segment.
    pub frames: usize,
    pub grid: Grid,
    /// The whole picture where the file does not say.
    #[serde(default)]
    pub covers: Covers,
    /// Numbers a region.
    pub dims: usize,
    /// One name a dimension (`dims` of them), for explanations.
    pub channels: Vec<String>,
}

/// Input `features` f32 `[segments, regions, dims]`; outputs `score` f32 `[segments]` and `regions` f32
/// `[segments, regions]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScorerSpec {
    /// Name and version of the extractor whose features it was learned from.
    pub extractor: String,
    pub grid: Grid,
    pub dims: usize,
    pub calibration: Calibration,
    /// Free-form facts of the training (steps, seed, segments, seconds of video ...).
    pub training: serde_json::Value,
}

/// Scores of normal life, from time blocks that the learning did not see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    pub mu: f64,
    pub sigma: f64,
    /// The scores themselves, in order of time, so that other thresholds can be had later.
    pub scores: Vec<f32>,
}
