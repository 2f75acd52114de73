//! Features -> Score: how unlikely a segment is, and where in the picture.

pub mod beta_vae;
pub mod diffusion;
mod knn;
mod layer;
mod mahalanobis;
pub mod metrics;
mod onnx;
mod pooling;
mod vectors;

pub use knn::{Neighbours, coreset};
pub use layer::{BATCH_NORM_EPSILON, Layer, Norm};
pub use mahalanobis::{Covariance, Gaussian, inverse_root};
pub use onnx::OnnxScorer;
pub use pooling::{Pooled, Pooling};
pub use vectors::{Vectors, Whitening};

use crate::features::Features;
use crate::infer::{Grid, InferError, ScorerSpec};

/// Added to residuals that can be nought, which has no logarithm.
const LEAST_RESIDUAL: f32 = 1e-6;

/// How unlike normal life one segment is. Larger is stranger; no fixed unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Of the whole segment: the mean of the strangest regions, on the scale of `regions`.
    pub value: f32,
    /// One number a region, row by row: the *where*.
    pub regions: Vec<f32>,
}

impl Score {
    /// Neither the score nor any region is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        self.value.is_finite() && self.regions.iter().all(|r| r.is_finite())
    }

    /// The `n` strangest regions as `(row, column)`, strangest first.
    pub fn top_regions(&self, grid: Grid, n: usize) -> Vec<(usize, usize)> {
        let mut order: Vec<usize> = (0..self.regions.len()).collect();
        order.sort_by(|a, b| self.regions[*b].total_cmp(&self.regions[*a]));
        order.iter().take(n).map(|i| (i / grid.cols, i % grid.cols)).collect()
    }
}

/// Turns features into scores. One instance belongs to one thread.
pub trait Scorer: Send {
    fn spec(&self) -> &ScorerSpec;
    /// One result a segment, in order; a batch costs less than its parts.
    fn score(&mut self, features: &[&Features]) -> Result<Vec<Score>, InferError>;
}
