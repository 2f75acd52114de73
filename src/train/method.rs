//! What the methods of learning share: vectors to learn from, and a model that can be written.

use super::descent::Recipe;
use super::signals::Signals;
use super::whiten::Moments;
use super::{LearnConfig, LearnError, Sample, denoiser, factors, knn, mahalanobis, vae};
use crate::config::Method;
use crate::infer::{FactorSpec, Grid, Manifest};
use crate::score::beta_vae::BetaVae;
use crate::score::diffusion::Denoiser;
use crate::score::{Gaussian, Neighbours, Pooling, Scale, Vectors, Whitening};

/// The rows of the picture lie between minus and plus this, about unit variance as everything else.
const ROW_SPAN: f32 = 1.7;

/// Told how far a training is (0 to 1); an error where it is to end.
pub type Say<'a> = dyn FnMut(f64) -> Result<(), LearnError> + 'a;

/// What one training is given.
pub struct Task<'a> {
    pub samples: &'a [&'a Sample],
    pub grid: Grid,
    /// Numbers a region.
    pub dims: usize,
    pub config: &'a LearnConfig,
    /// Of the model to be, not calibrated yet.
    pub manifest: &'a Manifest,
}

/// What one training found.
#[derive(Debug)]
pub struct Trained {
    pub model: Model,
    /// Learned numbers.
    pub parameters: usize,
    /// Where a loss was minimised: its mean over the last steps.
    pub loss: Option<f64>,
}

/// A model that can be written as a file.
#[derive(Debug)]
pub enum Model {
    Diffusion(Denoiser),
    Knn(Neighbours),
    Mahalanobis(Gaussian),
    BetaVae(BetaVae),
}

impl Model {
    /// The model file; the same model and manifest give the same bytes.
    pub fn to_onnx(&self, manifest: &Manifest) -> Vec<u8> {
        match self {
            Model::Diffusion(denoiser) => denoiser.to_onnx(manifest),
            Model::Knn(neighbours) => neighbours.to_onnx(manifest),
            Model::Mahalanobis(gaussian) => gaussian.to_onnx(manifest),
            Model::BetaVae(vae) => vae.to_onnx(manifest),
        }
    }

    /// The latent factors that explain the model's scores, as the task's samples had them; none where it has none.
    pub fn factors(&self, task: &Task, signals: &Signals) -> Result<Vec<FactorSpec>, LearnError> {
        match self {
            Model::BetaVae(vae) => factors::factors(vae, task, signals),
            Model::Diffusion(_) | Model::Knn(_) | Model::Mahalanobis(_) => Ok(Vec::new()),
        }
    }
}

/// Trains by the configured method; the same task gives the same model.
pub fn train(task: &Task, say: &mut Say) -> Result<Trained, LearnError> {
    match task.config.method {
        Method::Diffusion => denoiser::one_step(task, say),
        Method::DiffusionPublished => denoiser::published(task, say),
        Method::Knn => knn::train(task, say),
        Method::Mahalanobis => mahalanobis::train(task),
        Method::BetaVae => vae::train(task, say),
        Method::Rtfm => Err(LearnError::NeedsLabels),
    }
}

impl Task<'_> {
    pub fn moments(&self) -> Result<Moments, LearnError> {
        Moments::of(self.samples).ok_or(LearnError::Constant)
    }

    /// Directions that the samples can tell: each needs a good number of rows to be estimated from.
    pub fn directions(&self, most: usize) -> usize {
        most.min(self.samples.len() * self.grid.regions() / 4)
    }

    /// Vectors without a position.
    pub fn vectors(&self, whitening: Whitening) -> Vectors {
        Vectors { grid: self.grid, dims: self.dims, whitening, rows: None }
    }

    /// Vectors that end with the region's row in the picture, where there are several.
    pub fn placed(&self, whitening: Whitening) -> Vectors {
        let rows = self.grid.rows;
        let place = |row: usize| ROW_SPAN * (2.0 * row as f32 / (rows - 1) as f32 - 1.0);
        let rows = (rows > 1).then(|| (0..rows).map(place).collect());
        Vectors { rows, ..self.vectors(whitening) }
    }

    /// The vectors of all regions of all samples, one after the other.
    pub fn rows(&self, vectors: &Vectors) -> Vec<f32> {
        let mut rows = Vec::with_capacity(self.samples.len() * self.grid.regions() * vectors.width());
        self.samples.iter().for_each(|sample| vectors.apply(&sample.features.values, &mut rows));
        rows
    }

    /// Runs a descent with `say` for its steps.
    pub fn told<T>(
        &self,
        recipe: &Recipe,
        say: &mut Say,
        descent: impl FnOnce(&mut dyn FnMut(usize) -> bool) -> Option<T>,
    ) -> Result<T, LearnError> {
        let mut refused = None;
        let found = descent(&mut |step| {
            refused = say(step as f64 / recipe.steps as f64).err();
            refused.is_none()
        });
        found.ok_or_else(|| refused.unwrap_or(LearnError::Cancelled))
    }

    pub fn pooling(&self) -> Pooling {
        let LearnConfig { smoothing, highest, ref masked, .. } = *self.config;
        Pooling { smoothing, highest, scale: Scale::Logarithm, masked: masked.clone() }
    }
}
