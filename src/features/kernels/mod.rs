//! What the first layer of an extractor looks for: its kernels over space and time, described as Gabor functions.
//!
//! Reverse correlation drives a simple cell with noise and averages what went before its answers: for a cell that is
//! linear before its rectifier, that tends to the cell's weights. The first layer of a network is linear, so its
//! weights are read off without the noise: from the file, where the picture reaches a convolution through
//! preprocessing alone; by single bright pixels, one after the other, where the layer is spread over several
//! operators, as in `v1`.

mod gabor;
mod spectrum;

pub use gabor::{Gabor, fit};

use super::v1;
use crate::infer::{InferError, Manifest, first_convolution};
use nalgebra::DMatrix;

/// The weights of one unit of the first layer, in the picture's pixels and analysed frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// What the unit is called, for people.
    pub name: String,
    /// Of the picture, for example 3 for red, green and blue.
    pub channels: usize,
    pub volume: Volume,
    /// The share of each channel in `volume`, of unit length; a positive sum.
    pub colour: Vec<f64>,
    /// Share of the weights' energy that lies along `colour`: 1 for a unit that looks at one colour axis.
    pub colour_share: f64,
}

/// Weights over time and space without channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    pub frames: usize,
    pub height: usize,
    pub width: usize,
    /// Oldest frame first, row by row.
    pub weights: Vec<f64>,
}

impl Kernel {
    /// A kernel from the weights `[channels, frames, height, width]`. Channels become one by the first principal
    /// component over them, about zero: the colour axis that holds most of the weights' energy.
    pub fn new(name: String, channels: usize, [frames, height, width]: [usize; 3], weights: &[f32]) -> Self {
        let places = frames * height * width;
        let matrix = DMatrix::from_fn(channels, places, |c, i| f64::from(weights[c * places + i]));
        let energies = (&matrix * matrix.transpose()).symmetric_eigen();
        let first = energies.eigenvalues.imax();
        let mut axis = energies.eigenvectors.column(first).into_owned();
        if axis.sum() < 0.0 {
            axis.neg_mut();
        }
        let total = energies.eigenvalues.sum();
        let share = if total > 0.0 { energies.eigenvalues[first] / total } else { 1.0 };
        let weights = (axis.transpose() * matrix).iter().copied().collect();
        let volume = Volume { frames, height, width, weights };
        Self { name, channels, volume, colour: axis.iter().copied().collect(), colour_share: share }
    }
}

impl Volume {
    /// Sum of the squared weights.
    pub fn energy(&self) -> f64 {
        self.weights.iter().map(|w| w * w).sum()
    }

    /// Weights with their places `(x, y, t)`: pixels and frames from the middle.
    pub fn places(&self) -> impl Iterator<Item = ([f64; 3], f64)> {
        let middle = |n: usize| (n as f64 - 1.0) / 2.0;
        let (x0, y0, t0) = (middle(self.width), middle(self.height), middle(self.frames));
        self.weights.iter().enumerate().map(move |(i, &w)| {
            let (x, rest) = (i % self.width, i / self.width);
            let (y, t) = (rest % self.height, rest / self.height);
            ([x as f64 - x0, y as f64 - y0, t as f64 - t0], w)
        })
    }
}

/// The kernels of the first layer of an extractor, in the order of its units.
///
/// # Errors
/// Where it is no extractor, or its first layer is no convolution of the picture.
pub fn of(model: &str, manifest: &Manifest, bytes: &[u8]) -> Result<Vec<Kernel>, InferError> {
    manifest.extractor(model)?;
    if manifest.name == "v1" {
        return v1::kernels(model, manifest);
    }
    let layer = first_convolution(model, bytes)?;
    let [channels, frames, height, width] = layer.dims;
    let size = channels * frames * height * width;
    let kernel = |(i, weights)| Kernel::new(format!("{i}"), channels, [frames, height, width], weights);
    Ok(layer.weights.chunks_exact(size).enumerate().map(kernel).collect())
}

#[cfg(test)]
mod tests;
