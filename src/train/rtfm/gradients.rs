//! Loss and gradients of the RTFM network on one batch of bags, written out layer by layer.

use super::super::backward::Pass;
use super::bags::Batch;
use super::loss::{chosen, slopes};
use super::steps::{
    NormTrace, Slope, attended, attended_back, attention_weights, convolved, convolved_back, norm, norm_back,
    relu, through_relu, weight_slopes,
};
use crate::score::Layer;
use crate::score::rtfm::{DILATIONS, Rtfm};
use ndarray::{Array1, Array2, Axis, concatenate, s};
use rand::{Rng, RngExt};

/// Share of the numbers that dropout leaves out.
pub const DROPOUT: f32 = 0.7;

/// What chance decides in one pass: dropout after the network's trunk and after two layers of the head, and which rows
/// are candidates to speak for their bag. 0, or 1 / (1 - [`DROPOUT`]) for what stays.
#[derive(Debug, Clone)]
pub struct Masks {
    trunk: Array2<f32>,
    head: [Array2<f32>; 2],
    candidates: Array1<f32>,
}

impl Masks {
    pub fn drawn(network: &Rtfm, rows: usize, rng: &mut impl Rng) -> Self {
        let mut draw = || if rng.random::<f32>() < DROPOUT { 0.0 } else { 1.0 / (1.0 - DROPOUT) };
        let mut matrix = |columns: usize| Array2::from_shape_simple_fn((rows, columns), &mut draw);
        let trunk = matrix(network.features);
        let head = [matrix(network.head[0].outputs), matrix(network.head[1].outputs)];
        let candidates = matrix(1).remove_axis(Axis(1));
        Self { trunk, head, candidates }
    }
}

/// Everything that the way back needs of the way forward.
struct Forward {
    /// Of the pyramid's convolutions, after their ReLUs; and of their norms.
    raised: [Array2<f32>; 3],
    normed: [NormTrace; 3],
    narrow: Array2<f32>,
    /// theta, phi and g.
    attention: [Array2<f32>; 3],
    weights: Array2<f32>,
    seen: Array2<f32>,
    back: NormTrace,
    branches: Array2<f32>,
    risen: Array2<f32>,
    merged: NormTrace,
    features: Array2<f32>,
    /// Of the head's two hidden layers, after dropout.
    hidden: [Array2<f32>; 2],
    logits: Array1<f32>,
    /// Mean and unbiased variance that each norm saw, in the order of the layers.
    statistics: Vec<(Vec<f32>, Vec<f32>)>,
}

/// Runs the network on a batch with the batch's own statistics. `decay` is that of the causal attention.
fn forward(network: &Rtfm, batch: &Batch, masks: &Masks, decay: f32) -> Forward {
    let (n, x) = (batch.bags(), &batch.x);
    let mut statistics = Vec::new();
    let mut normed = |layer: &Layer, z: &Array2<f32>| norm(layer, z, &batch.there, &mut statistics);
    let raised = [0, 1, 2].map(|i| relu(convolved(&network.pyramid[i], x, DILATIONS[i] * n)));
    let [(a, at_a), (b, at_b), (c, at_c)] = [0, 1, 2].map(|i| normed(&network.pyramid[i], &raised[i]));
    let narrow = relu(convolved(&network.narrow, x, n));
    let attention = [0, 1, 2].map(|i| convolved(&network.attention[i], &narrow, n));
    let weights = attention_weights(x.nrows() / n, decay);
    let seen = attended(&attention, &weights, n);
    let (passed, back) = normed(&network.back, &convolved(&network.back, &seen, n));
    let branches = concatenate![Axis(1), a, b, c, passed + &narrow];
    let risen = relu(convolved(&network.merge, &branches, n));
    let (out, merged) = normed(&network.merge, &risen);
    let features = (out + x) * &masks.trunk;
    let first = relu(convolved(&network.head[0], &features, n)) * &masks.head[0];
    let second = relu(convolved(&network.head[1], &first, n)) * &masks.head[1];
    let logits = convolved(&network.head[2], &second, n).remove_axis(Axis(1));
    let (normed, hidden) = ([at_a, at_b, at_c], [first, second]);
    Forward {
        raised,
        normed,
        narrow,
        attention,
        weights,
        seen,
        back,
        branches,
        risen,
        merged,
        features,
        hidden,
        logits,
        statistics,
    }
}

/// Loss and gradients on a batch; see [`slopes`] for what is minimised.
pub fn gradients(network: &Rtfm, batch: &Batch, masks: &Masks, decay: f32) -> Pass {
    let (n, x) = (batch.bags(), &batch.x);
    let seen = forward(network, batch, masks, decay);
    let chosen = chosen(batch, &seen.features, &masks.candidates);
    let found = slopes(batch, &seen.logits, &seen.features, &chosen);

    let [first, second] = &seen.hidden;
    let slope = found.at_logits.insert_axis(Axis(1));
    let (head_2, slope) = convolved_back(&network.head[2], second, slope, n);
    // What dropout left out is nought, so its slope falls away with that of the ReLU.
    let slope = through_relu(slope * &masks.head[1], second);
    let (head_1, slope) = convolved_back(&network.head[1], first, slope, n);
    let slope = through_relu(slope * &masks.head[0], first);
    let (head_0, slope) = convolved_back(&network.head[0], &seen.features, slope, n);
    let slope = (slope + found.at_features) * &masks.trunk;

    let (slope, merge_norm) = norm_back(&network.merge, slope, &seen.merged, &batch.there);
    let slope = through_relu(slope, &seen.risen);
    let (merge, slope) = convolved_back(&network.merge, &seen.branches, slope, n);
    let merge = Slope { norm: Some(merge_norm), ..merge };
    let part = |i: usize| slope.slice(s![.., i * network.branch()..(i + 1) * network.branch()]).to_owned();

    let pyramid = [0, 1, 2].map(|i| {
        let layer = &network.pyramid[i];
        let (slope, norm) = norm_back(layer, part(i), &seen.normed[i], &batch.there);
        // Nothing that is learned lies before the pyramid.
        let weights = weight_slopes(layer, x, &through_relu(slope, &seen.raised[i]), DILATIONS[i] * n);
        Slope { norm: Some(norm), ..weights }
    });

    let (slope, back_norm) = norm_back(&network.back, part(3), &seen.back, &batch.there);
    let (back, slope) = convolved_back(&network.back, &seen.seen, slope, n);
    let back = Slope { norm: Some(back_norm), ..back };
    let mut at_narrow = part(3);
    let mut attention = Vec::new();
    for (i, slope) in attended_back(&seen.attention, &seen.weights, n, &slope).into_iter().enumerate() {
        let (weights, slope) = convolved_back(&network.attention[i], &seen.narrow, slope, n);
        at_narrow += &slope;
        attention.push(weights);
    }
    let narrow = weight_slopes(&network.narrow, x, &through_relu(at_narrow, &seen.narrow), n);

    let first = pyramid.into_iter().chain([narrow]).chain(attention);
    let all = first.chain([back, merge, head_0, head_1, head_2]);
    let flat = |slope: Slope| {
        let (gain, shift) = slope.norm.unzip();
        [Some(slope.weight), Some(slope.bias), gain, shift].into_iter().flatten()
    };
    Pass { loss: found.loss, gradients: all.flat_map(flat).collect(), statistics: seen.statistics }
}

#[cfg(test)]
mod tests {
    use super::super::super::backward::assert_slopes;
    use super::super::bags::Bag;
    use super::*;
    use crate::score::rtfm::{Padding, logits};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn bag(unusual: bool, steps: usize, width: usize, rng: &mut StdRng) -> Bag {
        let vectors = (0..steps * width).map(|_| rng.random_range(-2.0f32..2.0)).collect();
        Bag { unusual, width, vectors }
    }

    #[test]
    fn every_gradient_is_the_slope_of_the_loss() {
        let mut rng = StdRng::seed_from_u64(4);
        let bags: Vec<Bag> = (0..20).map(|i| bag(i >= 10, 10 + i % 3, 8, &mut rng)).collect();
        let batch = Batch::of(&bags.iter().collect::<Vec<_>>());
        let mut network = Rtfm::new(8, &mut rng);
        // Nought as it begins, where no slope would reach the attention.
        network.back.norm.as_mut().expect("a norm").gain.fill(0.8);
        // And with these, where everything that a unit sees is dropped, its ReLU would stand at its kink.
        for layer in network.layers() {
            layer.bias.iter_mut().for_each(|b| *b = rng.random_range(0.1..0.5));
        }
        let masks = Masks::drawn(&network, batch.x.nrows(), &mut rng);
        assert_slopes(&mut network, Rtfm::layers, |network| gradients(network, &batch, &masks, 0.9));
    }

    /// The way forward here and the reference agree, so that what is trained is what is written.
    #[test]
    fn the_way_forward_is_the_reference() {
        let mut rng = StdRng::seed_from_u64(5);
        let mut network = Rtfm::new(6, &mut rng);
        for layer in network.layers() {
            layer.bias.iter_mut().for_each(|b| *b = rng.random_range(-0.3..0.3));
        }
        let (a, b) = (bag(false, 9, 6, &mut rng), bag(true, 9, 6, &mut rng));
        let batch = Batch::of(&[&a, &b]);
        let all = Masks {
            trunk: Array2::ones(batch.x.raw_dim()),
            head: [0, 1].map(|i| Array2::ones((batch.x.nrows(), network.head[i].outputs))),
            candidates: Array1::ones(batch.x.nrows()),
        };
        network.back.norm.as_mut().expect("a norm").gain.fill(0.5);
        let found = forward(&network, &batch, &all, 0.9);
        // The batch's own statistics as the running ones.
        let norms = network.layers().into_iter().filter_map(|layer| layer.norm.as_mut());
        for (norm, (mean, variance)) in norms.zip(&found.statistics) {
            norm.mean.clone_from(mean);
            let rows = batch.x.nrows() as f32;
            norm.variance = variance.iter().map(|v| v * (rows - 1.0) / rows).collect();
        }
        for (i, bag) in [&a, &b].into_iter().enumerate() {
            let x = Array2::from_shape_vec((9, 6), bag.vectors.clone()).expect("9 vectors");
            let expected = logits(&network, &x, Padding::Causal { decay: 0.9 });
            for (t, expected) in expected.iter().enumerate() {
                let found = found.logits[2 * t + i];
                assert!((found - expected).abs() < 1e-4, "bag {i}, step {t}: {found}, {expected}");
            }
        }
    }
}
