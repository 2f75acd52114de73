//! Learning the Gaussian baseline: moments, and nothing else.

use super::LearnError;
use super::method::{Model, Task, Trained};
use crate::score::Gaussian;

/// Estimates mean and shrunk covariance.
pub fn train(task: &Task) -> Result<Trained, LearnError> {
    let whitening = task.moments()?.mahalanobis();
    let parameters = whitening.centre.len() + whitening.kept * (whitening.kept + 1) / 2;
    let gaussian = Gaussian { vectors: task.vectors(whitening), pooling: task.pooling() };
    Ok(Trained { model: Model::Mahalanobis(gaussian), parameters, loss: None })
}
