//! Score -> Verdict: is a score above L = mu + k sigma, and for how many segments.

use serde::{Deserialize, Serialize};

/// L = mu + k sigma, with what it was made of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    pub mu: f64,
    pub sigma: f64,
    pub k: f64,
}

impl Threshold {
    /// The limit L itself.
    pub fn limit(&self) -> f64 {
        self.mu + self.k * self.sigma
    }
}

/// What a score means against the threshold in force.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// At or below the limit.
    Normal,
    /// Above the limit.
    Unusual,
    /// NaN or infinite: never an alert, and the camera's health turns red.
    Invalid,
}
