//! Loss and gradients of a network on one batch, written out layer by layer.
//!
//! A network is a chain of five kinds of steps, each with a derivative of a line or two; the tests hold all
//! of them against finite differences. An automatic differentiation library would take longer to build than the
//! rest of the program.

use crate::score::diffusion::Network;
use crate::score::{BATCH_NORM_EPSILON, Layer};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

/// One batch of `n` rows.
pub struct Batch {
    /// What F is given, c_in (x + sigma n) after the first FiLM: `[n, features]`.
    pub input: Array2<f32>,
    /// What F is to give: `[n, features]`.
    pub target: Array2<f32>,
    /// Second FiLM, one row a sample: `[n, bottleneck]`.
    pub gamma: Array2<f32>,
    pub beta: Array2<f32>,
}

/// What one batch says of a network.
pub struct Pass {
    /// What is minimised, mean over the batch.
    pub loss: f32,
    /// For each layer: of its weight and bias, then of its norm's gain and shift where it has one.
    pub gradients: Vec<Vec<f32>>,
    /// Mean and unbiased variance that each batch norm saw.
    pub statistics: Vec<(Vec<f32>, Vec<f32>)>,
}

impl Pass {
    fn tensors(&mut self) -> impl Iterator<Item = &mut Vec<f32>> {
        self.gradients.iter_mut().chain(self.statistics.iter_mut().flat_map(|(m, v)| [m, v]))
    }

    /// Adds another batch's findings to these.
    pub fn add(&mut self, other: &Pass) {
        let others = other.gradients.iter().chain(other.statistics.iter().flat_map(|(m, v)| [m, v]));
        self.loss += other.loss;
        for (mine, theirs) in self.tensors().zip(others) {
            mine.iter_mut().zip(theirs).for_each(|(m, t)| *m += t);
        }
    }

    pub fn scale(&mut self, by: f32) {
        self.loss *= by;
        self.tensors().flatten().for_each(|v| *v *= by);
    }
}

/// What the way back needs of a layer.
pub struct Trace {
    input: Array2<f32>,
    norm: Option<NormTrace>,
}

/// What the way back needs of a batch norm and its ReLU.
struct NormTrace {
    /// (z - mean) / deviation.
    unit: Array2<f32>,
    inverse_deviation: Array1<f32>,
    output: Array2<f32>,
}

/// Runs a chain of layers with the batch's own statistics, which go onto the end of `statistics`.
pub fn forward(
    layers: &[Layer],
    input: Array2<f32>,
    statistics: &mut Vec<(Vec<f32>, Vec<f32>)>,
) -> (Array2<f32>, Vec<Trace>) {
    let n = input.nrows();
    let mut h = input;
    let mut traces = Vec::with_capacity(layers.len());
    for layer in layers {
        let z = h.dot(&weight(layer)) + vector(&layer.bias);
        let input = std::mem::replace(&mut h, z);
        let norm = layer.norm.as_ref().map(|norm| {
            let mean = h.mean_axis(Axis(0)).expect("a batch has rows");
            let variance = h.var_axis(Axis(0), 0.0);
            let inverse_deviation = variance.mapv(|v| (v + BATCH_NORM_EPSILON).sqrt().recip());
            h -= &mean;
            h *= &inverse_deviation;
            let output = (&h * &vector(&norm.gain) + vector(&norm.shift)).mapv_into(|v| v.max(0.0));
            let unbiased = variance * (n as f32 / (n - 1) as f32);
            statistics.push((mean.to_vec(), unbiased.to_vec()));
            let unit = std::mem::replace(&mut h, output.clone());
            NormTrace { unit, inverse_deviation, output }
        });
        traces.push(Trace { input, norm });
    }
    (h, traces)
}

/// The way back through [`forward`]: from the loss's slope at the output to the one where the first layer has
/// multiplied ([`before`] goes on from there). Gradients go onto the end of `gradients`, last tensor first.
pub fn back(
    layers: &[Layer],
    traces: &[Trace],
    mut slope: Array2<f32>,
    gradients: &mut Vec<Vec<f32>>,
) -> Array2<f32> {
    for (i, (layer, trace)) in layers.iter().zip(traces).enumerate().rev() {
        if let (Some(norm), Some(seen)) = (&layer.norm, &trace.norm) {
            let n = slope.nrows() as f32;
            slope.zip_mut_with(&seen.output, |s, out| *s = if *out > 0.0 { *s } else { 0.0 });
            let shift = slope.sum_axis(Axis(0));
            let gain = (&slope * &seen.unit).sum_axis(Axis(0));
            // Mean and deviation depend on every row of the batch (Ioffe & Szegedy 2015, section 3).
            let through_mean = &shift / n;
            let through_deviation = &seen.unit * &(&gain / n);
            slope = (slope - through_mean - through_deviation)
                * &(vector(&norm.gain).to_owned() * &seen.inverse_deviation);
            gradients.push(shift.to_vec());
            gradients.push(gain.to_vec());
        }
        gradients.push(slope.sum_axis(Axis(0)).to_vec());
        gradients.push(row_major(trace.input.t().dot(&slope)));
        if i > 0 {
            slope = before(layer, &slope);
        }
    }
    slope
}

/// The slope at a layer's input, from that where it has multiplied.
pub fn before(layer: &Layer, slope: &Array2<f32>) -> Array2<f32> {
    slope.dot(&weight(layer).t())
}

/// Runs the denoiser's network on a batch, and back.
pub fn backward(network: &Network, batch: Batch) -> Pass {
    let (encoder, decoder) = network.layers.split_at(network.decoder());
    let mut statistics = Vec::new();
    let (h, up) = forward(encoder, batch.input, &mut statistics);
    let (found, down) = forward(decoder, h * &batch.gamma + &batch.beta, &mut statistics);
    let error = found - batch.target;
    let numbers = error.len() as f32;
    let loss = error.iter().map(|e| e * e).sum::<f32>() / numbers;

    let mut gradients = Vec::new();
    let slope = back(decoder, &down, error * (2.0 / numbers), &mut gradients);
    let slope = before(&decoder[0], &slope) * &batch.gamma;
    back(encoder, &up, slope, &mut gradients);
    gradients.reverse();
    Pass { loss, gradients, statistics }
}

fn weight(layer: &Layer) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((layer.inputs, layer.outputs), &layer.weight).expect("a layer holds its weights")
}

fn vector(numbers: &[f32]) -> ArrayView1<'_, f32> {
    ArrayView1::from(numbers)
}

/// A matrix's numbers row by row, whichever way it lies in memory.
fn row_major(matrix: Array2<f32>) -> Vec<f32> {
    if matrix.is_standard_layout() {
        matrix.into_raw_vec_and_offset().0
    } else {
        matrix.iter().copied().collect()
    }
}

/// Holds every gradient that `pass` gives against differences of its loss.
#[cfg(test)]
pub(super) fn assert_slopes<N>(
    network: &mut N,
    layers: fn(&mut N) -> Vec<&mut Layer>,
    pass: impl Fn(&N) -> Pass,
) {
    use super::descent::parameters;
    let found = pass(network);
    for (at, gradient) in found.gradients.iter().enumerate() {
        let step = 2e-3;
        let (mut apart, mut length) = (0.0f64, 0.0f64);
        for (i, slope) in gradient.iter().enumerate() {
            let mut loss_at = |by: f32| {
                parameters(layers(network))[at][i] += by;
                let loss = pass(network).loss;
                parameters(layers(network))[at][i] -= by;
                f64::from(loss)
            };
            let difference = (loss_at(step) - loss_at(-step)) / f64::from(2.0 * step);
            apart += (difference - f64::from(*slope)).powi(2);
            length += difference.powi(2);
        }
        // A ReLU that switches within the step spoils a difference a little, a wrong formula all of them.
        let spoilt = 1e-3 * (gradient.len() as f64).sqrt();
        assert!(apart.sqrt() <= 0.05 * length.sqrt() + spoilt, "tensor {at}: {apart} of {length}");
    }
    assert!(found.gradients.iter().flatten().any(|g| g.abs() > 0.05), "and they are not all small");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::diffusion::{Embedding, Widths};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const ROWS: usize = 200;

    fn batch(seed: u64) -> Batch {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut matrix =
            |columns| Array2::from_shape_simple_fn((ROWS, columns), || rng.random_range(-1.0f32..1.0));
        Batch { input: matrix(3), target: matrix(3), gamma: matrix(4), beta: matrix(4) }
    }

    #[test]
    fn every_gradient_is_the_slope_of_the_loss() {
        let widths = Widths { features: 3, encoder: vec![6, 5, 4] };
        let mut network = Network::new(widths, Embedding::Film, &mut StdRng::seed_from_u64(2));
        assert_slopes(&mut network, |n| n.layers.iter_mut().collect(), |n| backward(n, batch(3)));
    }

    #[test]
    fn the_statistics_are_those_of_the_batch() {
        let widths = Widths { features: 3, encoder: vec![4] };
        let network = Network::new(widths, Embedding::Film, &mut StdRng::seed_from_u64(2));
        let batch = batch(5);
        let z = batch.input.dot(&weight(&network.layers[0])) + vector(&network.layers[0].bias);
        let column: Vec<f32> = z.column(1).to_vec();
        let mean = column.iter().sum::<f32>() / ROWS as f32;
        let variance = column.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / (ROWS - 1) as f32;
        let (means, variances) = &backward(&network, batch).statistics[0];
        assert!((means[1] - mean).abs() < 1e-6 && (variances[1] - variance).abs() < 1e-6);
    }
}
