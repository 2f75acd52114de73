//! Features -> Score: how unlikely a segment is, and where in the picture.

pub mod beta_vae;
pub mod diffusion;
mod knn;
mod layer;
mod mahalanobis;
pub mod metrics;
mod moved;
mod onnx;
mod pooling;
mod reasons;
mod similar;
pub mod rtfm;
mod vectors;

pub use knn::{Neighbours, coreset};
pub use layer::{BATCH_NORM_EPSILON, Layer, Norm};
pub use mahalanobis::{Covariance, Gaussian, inverse_root};
pub use moved::{Channels, Moved, moved};
pub use onnx::{DEADLINE, OnnxScorer};
pub use pooling::{Pooled, Pooling, Scale};
pub use reasons::{Reason, reasons};
pub use similar::similar;
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
    /// What each learned factor contributes in the strangest region, in nats: the *why*. Empty where the scorer has
    /// none; [`reasons`] puts it into words.
    pub factors: Vec<f32>,
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

/// What a scorer remembers of one stream between segments; nothing where it looks at each by itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// One tensor for each of the scorer's [`ScorerSpec::state`].
    pub state: Vec<Vec<f32>>,
}

/// The next segment of one stream, and what is remembered of that stream.
#[derive(Debug)]
pub struct Seen<'a> {
    pub features: &'a Features,
    /// Of [`Scorer::begin`] of the same model; left as the stream's next segment needs it.
    pub memory: &'a mut Memory,
}

/// Turns features into scores. One instance belongs to one thread.
pub trait Scorer: Send {
    fn spec(&self) -> &ScorerSpec;

    /// Whether a segment's score depends on the segments before it.
    fn remembers(&self) -> bool {
        !self.spec().state.is_empty()
    }

    /// What is remembered where a stream begins, or where it was interrupted.
    fn begin(&self) -> Memory {
        Memory { state: self.spec().state.iter().map(|s| vec![0.0; s.size()]).collect() }
    }

    /// One result a segment, in order; a batch costs less than its parts. The segments of a batch are of different
    /// streams, unless the scorer does not remember: then each may have a memory of its own.
    fn score(&mut self, batch: &mut [Seen<'_>]) -> Result<Vec<Score>, InferError>;

    /// Scores of all segments of one unbroken stream, from its beginning.
    fn score_run(&mut self, run: &[&Features]) -> Result<Vec<Score>, InferError> {
        let mut memory = self.begin();
        if self.remembers() {
            let next = |features: &&Features| self.score(&mut [Seen { features, memory: &mut memory }]);
            return Ok(run.iter().map(next).collect::<Result<Vec<_>, _>>()?.concat());
        }
        let mut memories = vec![memory; run.len()];
        let mut batch: Vec<Seen> =
            run.iter().zip(&mut memories).map(|(features, memory)| Seen { features, memory }).collect();
        self.score(&mut batch)
    }
}
