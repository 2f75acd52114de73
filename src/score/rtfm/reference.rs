//! The network over a whole sequence at once, step by step as the formulas stand: what the tests hold the others to.

use super::{CONV_TAPS, DILATIONS, Rtfm};
use crate::score::{BATCH_NORM_EPSILON, Layer};
use ndarray::{Array1, Array2, Axis, Zip, concatenate, s};

/// Where the network looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Padding {
    /// As published: both ways in time, attention over the whole sequence.
    Centred,
    /// Back in time only; attention over what was, each step weighing `decay` less than the next.
    Causal { decay: f32 },
}

/// One logit a row of `x` (`[T, features]`, standardised).
pub(crate) fn logits(network: &Rtfm, x: &Array2<f32>, padding: Padding) -> Array1<f32> {
    let relu = |z: Array2<f32>| z.mapv(|v| v.max(0.0));
    let [a, b, c] = [0, 1, 2].map(|i| {
        let layer = &network.pyramid[i];
        normed(layer, relu(convolved(layer, x, DILATIONS[i], padding)))
    });
    let narrow = relu(linear(&network.narrow, x));
    let [theta, phi, g] = [0, 1, 2].map(|i| linear(&network.attention[i], &narrow));
    let seen = attended(&theta, &phi, &g, padding);
    let skipped = normed(&network.back, linear(&network.back, &seen)) + &narrow;
    let merged = concatenate![Axis(1), a, b, c, skipped];
    let merged = normed(&network.merge, relu(convolved(&network.merge, &merged, 1, padding))) + x;
    let h = relu(linear(&network.head[0], &merged));
    let h = relu(linear(&network.head[1], &h));
    linear(&network.head[2], &h).column(0).to_owned()
}

/// y_t = theta_t S_t / n_t with S_t = sum of phi_u g_u^T: over all u and n = T as published, or with weights decay^(t - u)
/// over u <= t and n_t their sum. There is no softmax, so this is a product of matrices in any order.
pub(crate) fn attended(
    theta: &Array2<f32>,
    phi: &Array2<f32>,
    g: &Array2<f32>,
    padding: Padding,
) -> Array2<f32> {
    let n = theta.nrows();
    let weight = |t: usize, u: usize| match padding {
        Padding::Centred => 1.0,
        Padding::Causal { decay } if u <= t => decay.powi((t - u) as i32),
        Padding::Causal { .. } => 0.0,
    };
    let weights = Array2::from_shape_fn((n, n), |(t, u)| weight(t, u));
    let total = weights.sum_axis(Axis(1)).insert_axis(Axis(1));
    (theta.dot(&phi.t()) * weights / total).dot(g)
}

fn linear(layer: &Layer, x: &Array2<f32>) -> Array2<f32> {
    let weight =
        Array2::from_shape_vec((layer.inputs, layer.outputs), layer.weight.clone()).expect("its size");
    let z = x.dot(&weight);
    if layer.bias.is_empty() { z } else { z + &Array1::from(layer.bias.clone()) }
}

/// Rows from before the beginning, or from after the end, are nought.
fn convolved(layer: &Layer, x: &Array2<f32>, dilation: usize, padding: Padding) -> Array2<f32> {
    let (steps, inputs) = x.dim();
    let ahead = if padding == Padding::Centred { dilation } else { 0 };
    let mut taps = Array2::zeros((steps, CONV_TAPS * inputs));
    for t in 0..steps {
        for tap in 0..CONV_TAPS {
            let from = (t + ahead).checked_sub((CONV_TAPS - 1 - tap) * dilation).filter(|u| *u < steps);
            if let Some(u) = from {
                taps.slice_mut(s![t, tap * inputs..(tap + 1) * inputs]).assign(&x.row(u));
            }
        }
    }
    linear(layer, &taps)
}

fn normed(layer: &Layer, mut x: Array2<f32>) -> Array2<f32> {
    let norm = layer.norm.as_ref().expect("a layer with a norm");
    for mut row in x.rows_mut() {
        Zip::indexed(&mut row).for_each(|i, v| {
            *v = (*v - norm.mean[i]) / (norm.variance[i] + BATCH_NORM_EPSILON).sqrt() * norm.gain[i]
                + norm.shift[i];
        });
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    fn noise(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        Array2::from_shape_simple_fn((rows, columns), || rng.random_range(-1.0f32..1.0))
    }

    fn network(features: usize) -> Rtfm {
        Rtfm::new(features, &mut StdRng::seed_from_u64(3))
    }

    /// The published network looks 4 steps and 1 step both ways, apart from attention, which an untrained block
    /// leaves out (its norm's gain is nought).
    #[test]
    fn cropping_changes_nothing_five_steps_from_the_edges() {
        let (network, x) = (network(32), noise(40, 32, 1));
        let whole = logits(&network, &x, Padding::Centred);
        let part = logits(&network, &x.slice(s![10..30, ..]).to_owned(), Padding::Centred);
        let apart = |t: usize| (whole[10 + t] - part[t]).abs();
        for t in 5..15 {
            assert!(apart(t) < 1e-5, "step {t}: {}", apart(t));
        }
        let edges = (0..5).chain(15..20).map(apart).fold(0.0, f32::max);
        assert!(edges > 1e-4, "and at the edges it does: {edges}");
    }

    /// Without decay, the running state is the published product over what was so far.
    #[test]
    fn a_running_state_is_the_batch_product() {
        let (theta, phi, g) = (noise(50, 7, 1), noise(50, 7, 2), noise(50, 7, 3));
        for decay in [1.0f32, 0.9] {
            let batch = attended(&theta, &phi, &g, Padding::Causal { decay });
            let (mut state, mut weight) = (Array2::<f32>::zeros((7, 7)), 0.0f32);
            for t in 0..50 {
                let (p, v) = (phi.slice(s![t..=t, ..]), g.slice(s![t..=t, ..]));
                state = state * decay + p.t().dot(&v);
                weight = weight * decay + 1.0;
                let now = theta.row(t).dot(&state) / weight;
                let apart = (&now - &batch.row(t)).iter().fold(0.0f32, |m, v| m.max(v.abs()));
                assert!(apart < 1e-5, "step {t}: {apart}");
            }
            if decay == 1.0 {
                let whole = attended(&theta, &phi, &g, Padding::Centred);
                let apart = (&whole.row(49) - &batch.row(49)).iter().fold(0.0f32, |m, v| m.max(v.abs()));
                assert!(apart < 1e-5, "the last step sees all: {apart}");
            }
        }
    }
}
