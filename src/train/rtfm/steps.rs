//! The steps of the RTFM network and their derivatives: convolutions over time, batch norms, linear attention.

use crate::score::rtfm::CONV_TAPS;
use crate::score::{BATCH_NORM_EPSILON, Layer};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};

/// Gradients of one layer.
#[derive(Default)]
pub struct Slope {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    /// Of gain and shift.
    pub norm: Option<(Vec<f32>, Vec<f32>)>,
}

/// What the way back needs of a batch norm.
pub struct NormTrace {
    unit: Array2<f32>,
    inverse_deviation: Array1<f32>,
}

/// z where it is above nought.
pub fn relu(z: Array2<f32>) -> Array2<f32> {
    z.mapv_into(|v| v.max(0.0))
}

/// The slope before a ReLU that gave `out`.
pub fn through_relu(mut slope: Array2<f32>, out: &Array2<f32>) -> Array2<f32> {
    slope.zip_mut_with(out, |s, out| *s = if *out > 0.0 { *s } else { 0.0 });
    slope
}

/// The weights of each tap, oldest first, as `[inputs, outputs]`, and by how many rows it looks back, where the taps are
/// `apart` rows apart.
fn taps(layer: &Layer, inputs: usize, apart: usize) -> impl Iterator<Item = (ArrayView2<'_, f32>, usize)> {
    let count = layer.inputs / inputs;
    debug_assert!(count == 1 || count == CONV_TAPS);
    let weights = layer.weight.chunks_exact(inputs * layer.outputs);
    weights.enumerate().map(move |(tap, weights)| {
        let weights = ArrayView2::from_shape((inputs, layer.outputs), weights).expect("a tap's weights");
        (weights, (count - 1 - tap) * apart)
    })
}

/// A convolution over time, padded on the left; a linear layer where there is one tap.
pub fn convolved(layer: &Layer, x: &Array2<f32>, apart: usize) -> Array2<f32> {
    let rows = x.nrows();
    let mut z = Array2::zeros((rows, layer.outputs));
    if !layer.bias.is_empty() {
        z += &ArrayView1::from(&layer.bias);
    }
    for (weights, by) in taps(layer, x.ncols(), apart).filter(|(_, by)| *by < rows) {
        general_mat_mul(1.0, &x.slice(s![..rows - by, ..]), &weights, 1.0, &mut z.slice_mut(s![by.., ..]));
    }
    z
}

/// Slopes of a convolution's weights and bias.
pub fn weight_slopes(layer: &Layer, x: &Array2<f32>, slope: &Array2<f32>, apart: usize) -> Slope {
    let rows = x.nrows();
    let mut weight = Vec::with_capacity(layer.weight.len());
    for (weights, by) in taps(layer, x.ncols(), apart) {
        let mut of = Array2::<f32>::zeros(weights.raw_dim());
        if by < rows {
            general_mat_mul(1.0, &x.slice(s![..rows - by, ..]).t(), &slope.slice(s![by.., ..]), 0.0, &mut of);
        }
        weight.extend(of);
    }
    let bias = if layer.bias.is_empty() { vec![] } else { slope.sum_axis(Axis(0)).to_vec() };
    Slope { weight, bias, norm: None }
}

/// Slopes of a convolution's weights and bias, and at its input.
pub fn convolved_back(
    layer: &Layer,
    x: &Array2<f32>,
    slope: Array2<f32>,
    apart: usize,
) -> (Slope, Array2<f32>) {
    let rows = x.nrows();
    let mut before = Array2::zeros(x.raw_dim());
    for (weights, by) in taps(layer, x.ncols(), apart).filter(|(_, by)| *by < rows) {
        let (slope, mut before) = (slope.slice(s![by.., ..]), before.slice_mut(s![..rows - by, ..]));
        general_mat_mul(1.0, &slope, &weights.t(), 1.0, &mut before);
    }
    (weight_slopes(layer, x, &slope, apart), before)
}

/// Batch norm over the rows that are there.
pub fn norm(
    layer: &Layer,
    z: &Array2<f32>,
    there: &Array1<f32>,
    statistics: &mut Vec<(Vec<f32>, Vec<f32>)>,
) -> (Array2<f32>, NormTrace) {
    let norm = layer.norm.as_ref().expect("a layer with a norm");
    let n = there.sum();
    let mean = there.dot(z) / n;
    let mut unit = z - &mean;
    let variance = there.dot(&unit.mapv(|v| v * v)) / n;
    let inverse_deviation = variance.mapv(|v| (v + BATCH_NORM_EPSILON).sqrt().recip());
    unit *= &inverse_deviation;
    let out = &unit * &ArrayView1::from(&norm.gain) + ArrayView1::from(&norm.shift);
    let unbiased = variance * (n / (n - 1.0).max(1.0));
    statistics.push((mean.to_vec(), unbiased.to_vec()));
    (out, NormTrace { unit, inverse_deviation })
}

/// The slope before a batch norm, and the slopes of its gain and shift.
pub fn norm_back(
    layer: &Layer,
    slope: Array2<f32>,
    seen: &NormTrace,
    there: &Array1<f32>,
) -> (Array2<f32>, (Vec<f32>, Vec<f32>)) {
    let norm = layer.norm.as_ref().expect("a layer with a norm");
    let n = there.sum();
    let shift = slope.sum_axis(Axis(0));
    let gain = (&slope * &seen.unit).sum_axis(Axis(0));
    // Mean and deviation depend on every row that is there.
    let before = (slope - &(&shift / n) - &seen.unit * &(&gain / n))
        * &(&ArrayView1::from(&norm.gain) * &seen.inverse_deviation)
        * there.view().insert_axis(Axis(1));
    (before, (gain.to_vec(), shift.to_vec()))
}

/// decay^(t - u) / n_t for u <= t, n_t the sum over u; 0 for what is to come.
pub fn attention_weights(steps: usize, decay: f32) -> Array2<f32> {
    let mut weights =
        Array2::from_shape_fn((steps, steps), |(t, u)| if u <= t { decay.powi((t - u) as i32) } else { 0.0 });
    weights.rows_mut().into_iter().for_each(|mut row| row /= row.sum());
    weights
}

/// The rows of one bag, in order of time.
fn of_bag(matrix: &Array2<f32>, bag: usize, bags: usize) -> ArrayView2<'_, f32> {
    matrix.slice(s![bag..;bags, ..])
}

/// Linear attention over theta, phi and g, bag by bag.
pub fn attended(of: &[Array2<f32>; 3], weights: &Array2<f32>, bags: usize) -> Array2<f32> {
    let mut y = Array2::zeros(of[2].raw_dim());
    for bag in 0..bags {
        let [theta, phi, g] = of.each_ref().map(|m| of_bag(m, bag, bags));
        let matches = theta.dot(&phi.t()) * weights;
        y.slice_mut(s![bag..;bags, ..]).assign(&matches.dot(&g));
    }
    y
}

/// The slopes at theta, phi and g.
pub fn attended_back(
    of: &[Array2<f32>; 3],
    weights: &Array2<f32>,
    bags: usize,
    slope: &Array2<f32>,
) -> [Array2<f32>; 3] {
    let mut out = of.each_ref().map(|m| Array2::zeros(m.raw_dim()));
    for bag in 0..bags {
        let [theta, phi, g] = of.each_ref().map(|m| of_bag(m, bag, bags));
        let slope = of_bag(slope, bag, bags);
        let matches = theta.dot(&phi.t()) * weights;
        let at_matches = slope.dot(&g.t()) * weights;
        let found = [at_matches.dot(&phi), at_matches.t().dot(&theta), matches.t().dot(&slope)];
        for (out, found) in out.iter_mut().zip(found) {
            out.slice_mut(s![bag..;bags, ..]).assign(&found);
        }
    }
    out
}
