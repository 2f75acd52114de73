//! Features -> Score: how unlikely a segment is, and where in the picture.

use crate::features::Features;
use crate::infer::{InferError, ScorerSpec};

/// How unlike normal life one segment is. Larger is stranger; no fixed unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Mean of the strangest regions.
    pub value: f32,
    /// One number a region, row by row: the *where*.
    pub regions: Vec<f32>,
}

impl Score {
    /// Neither the score nor any region is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        self.value.is_finite() && self.regions.iter().all(|r| r.is_finite())
    }
}

/// Turns features into scores. One instance belongs to one thread.
pub trait Scorer: Send {
    fn spec(&self) -> &ScorerSpec;
    /// One result a segment, in order; a batch costs less than its parts.
    fn score(&mut self, features: &[&Features]) -> Result<Vec<Score>, InferError>;
}
