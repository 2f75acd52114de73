//! Features -> a scorer, learned in place and written as ONNX.
//!
//! Train by one of the methods, drop the most suspicious segments, train again; then calibrate mu and sigma on time blocks
//! that none of it has seen, with the very graph that the daemon will run.

mod backward;
mod denoiser;
mod descent;
mod factors;
mod knn;
mod learn;
mod mahalanobis;
mod method;
mod normal;
mod optim;
#[cfg(test)]
mod reference;
mod regions;
mod rtfm;
mod shapes;
mod signals;
mod split;
#[cfg(test)]
mod tests;
mod vae;
mod whiten;

pub use learn::learn;
pub use normal::normal;
pub use regions::Regions;
pub use rtfm::learn_labelled;
pub use shapes::{Disentangled, FACTORS, ShapesConfig, shapes};

use crate::config::Method;
use crate::features::Features;
use crate::infer::{Grid, InferError, Manifest, Sampling};
use crate::score::diffusion::{Embedding, Sampler};
use serde::Serialize;

/// Fewer segments than this teach nothing.
pub const LEAST_SEGMENTS: usize = 40;
/// Fewer clips of either label than this teach nothing.
pub const LEAST_CLIPS: usize = 6;

/// The features of one segment, and when it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Seconds on any clock that all samples share.
    pub time: f64,
    /// Segments of different runs share no frames.
    pub run: u64,
    pub features: Features,
}

/// What is learned from: one camera's unlabelled life.
#[derive(Debug, Clone)]
pub struct TrainingSet {
    /// Name and version of the extractor.
    pub extractor: String,
    pub grid: Grid,
    pub sampling: Option<Sampling>,
    /// What the extractor calls the numbers of a region; empty where that is not known.
    pub channels: Vec<String>,
    /// The samples' times are seconds since 1970.
    pub wall_clock: bool,
    /// In any order.
    pub samples: Vec<Sample>,
}

/// One clip that is known to be normal as a whole, or to have something unusual in it somewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    pub unusual: bool,
    /// Of one unbroken run, in order of time; all the segments, as close as they will be when it is watched.
    pub segments: Vec<Features>,
}

/// What is learned from where there are labels.
#[derive(Debug, Clone)]
pub struct LabelledSet {
    /// Name and version of the extractor.
    pub extractor: String,
    pub grid: Grid,
    pub sampling: Option<Sampling>,
    /// Neighbours are taken to be of one scene.
    pub clips: Vec<Clip>,
}

/// How to learn. The defaults are the measured ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LearnConfig {
    pub method: Method,
    pub seed: u64,
    /// Steps of each training of a network.
    pub steps: usize,
    /// Rows a step: vectors of regions; for `rtfm` clips, half of them normal.
    pub batch: usize,
    pub rate: f64,
    /// Mean and deviation of the logarithm of the training noise.
    pub noise: (f64, f64),
    /// Noise level that the scoring of `diffusion` starts from.
    pub start: f64,
    /// Fixed draws of noise that its score is the mean over ([`crate::score::diffusion::opposed`]).
    pub draws: usize,
    pub published: Published,
    /// Vectors that `knn` remembers at most, of all rows of regions together.
    pub memory: usize,
    /// Neighbours that its distance is the mean over.
    pub neighbours: usize,
    /// Latents of the `beta-vae`, at most half the numbers of a vector.
    pub latents: usize,
    /// Weight of its latents' divergence from N(0, I) ...
    pub beta: f64,
    /// ... or the nats that the divergence is held at.
    pub capacity: Option<f64>,
    /// Smoothing of the map of regions, in regions.
    pub smoothing: f32,
    /// The score is the mean over this many highest regions.
    pub highest: usize,
    /// Regions that count for nothing, row by row.
    pub masked: Vec<usize>,
    /// Share of the segments that is dropped before the last training.
    pub drop: f64,
}

impl LearnConfig {
    /// The defaults of a method.
    pub fn of(method: Method) -> Self {
        let plain = Self { method, ..Self::default() };
        match method {
            // By its own loss on Ped2's normal clips: 1.33 after 500 steps and .97 after 1500 at a rate of 1e-3, .92
            // after 1500 at this one.
            Method::BetaVae => Self { steps: 1500, rate: 2e-3, ..plain },
            Method::Diffusion | Method::DiffusionPublished | Method::Knn | Method::Mahalanobis => plain,
            // Half the authors' 32 pairs, and few steps: whoever labels clips has hundreds of them, not thousands.
            Method::Rtfm => Self { steps: 100, batch: 32, ..plain },
        }
    }
}

/// What `diffusion-published` leaves open. The defaults are the authors'.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Published {
    /// Levels of Karras' schedule, without the last 0.
    pub levels: usize,
    /// The reconstruction starts at this level, from 0, and so is of `levels - start` steps.
    pub start: usize,
    pub sampler: Sampler,
    pub embedding: Embedding,
}

impl Default for Published {
    fn default() -> Self {
        Self { levels: 10, start: 6, sampler: Sampler::Lms4, embedding: Embedding::Film }
    }
}

impl Default for LearnConfig {
    fn default() -> Self {
        Self {
            method: Method::default(),
            seed: 0,
            steps: 500,
            batch: 1024,
            // The authors' 2e-4 is for batches of 8192 over many thousand steps.
            rate: 1e-3,
            noise: (-1.0, 1.5),
            start: 1.0,
            draws: 2,
            published: Published::default(),
            memory: 10_000,
            neighbours: 5,
            latents: 16,
            beta: 1.0,
            capacity: None,
            smoothing: 1.0,
            highest: 16,
            masked: vec![],
            drop: 0.02,
        }
    }
}

/// How far learning is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Progress {
    /// 0 to 1.
    pub progress: f64,
    /// What it is doing, in words.
    pub step: &'static str,
}

/// Whether to go on learning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Continue,
    Cancel,
}

/// A finished scorer.
#[derive(Debug, Clone)]
pub struct Learned {
    /// The model file.
    pub bytes: Vec<u8>,
    pub manifest: Manifest,
    pub report: Report,
}

/// Facts of the training; kept in the model file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub segments: usize,
    /// From the first segment to the last.
    pub seconds: f64,
    /// Segments that were learned from, after dropping.
    pub learned_from: usize,
    /// Segments dropped as too suspicious.
    pub dropped: usize,
    /// Segments left out for calibration.
    pub calibrated_on: usize,
    /// Learned numbers of the network.
    pub parameters: usize,
    /// Where a loss was minimised: its mean over the last steps. The denoiser's is 1 where nothing but the
    /// variance is known.
    pub loss: Option<f64>,
    pub mu: f64,
    pub sigma: f64,
    pub config: LearnConfig,
}

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    #[error(
        "there are {found} segments to learn from, and at least {LEAST_SEGMENTS} are needed (watch longer, or \
         give more recordings)"
    )]
    TooLittle { found: usize },
    #[error(
        "the features do not change at all (is the camera covered, or the recording a still picture? show it \
         some of normal life)"
    )]
    Constant,
    #[error(
        "segment {segment} (at {time:.1} s) has features that are not finite (the extractor is at fault: \
         `sigmawatch models` checks it)"
    )]
    NotFinite { segment: usize, time: f64 },
    #[error(
        "segment {segment} has {found} numbers, and {expected} are wanted (all segments must come from one \
         extractor)"
    )]
    Mixed { segment: usize, found: usize, expected: usize },
    #[error(
        "this method learns from labelled clips, not from unlabelled life (`sigmawatch learn --scorer rtfm --from \
         DIR`, with clips in DIR/normal/ and in other folders, or `--reviewed`)"
    )]
    NeedsLabels,
    #[error(
        "there are {normal} normal and {unusual} unusual clips that are as long as a segment, and at least \
         {LEAST_CLIPS} of each are needed (label more clips)"
    )]
    TooFewClips { normal: usize, unusual: usize },
    #[error(
        "{masked} regions are to count for nothing, and there are {regions}, from 0 to {}: none is left, or some are \
         not there (mask less of the picture)",
        regions - 1
    )]
    Masked { masked: usize, regions: usize },
    #[error("learning was cancelled")]
    Cancelled,
    #[error(transparent)]
    Model(#[from] InferError),
}
