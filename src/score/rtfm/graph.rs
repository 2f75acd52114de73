//! Writes a trained RTFM as an ONNX graph that takes one segment of each stream, and what it remembers of it.

use super::{CONV_TAPS, DILATIONS, Rtfm};
use crate::infer::{Dim, Graph, Grid, Manifest, StateSpec, Value};
use crate::score::vectors::with_nan_of;
use crate::score::{BATCH_NORM_EPSILON, Layer};

/// Standardised features beyond this many deviations are drawn in to it.
pub const CLIP: f32 = 8.0;

/// A trained scorer, ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct RtfmModel {
    pub grid: Grid,
    /// Mean over the regions, less this ...
    pub centre: Vec<f32>,
    /// ... times this, is what the network takes; nought for what never varied.
    pub scale: Vec<f32>,
    pub network: Rtfm,
    /// What a segment's weight in the attention falls to with each one after it: exp(-1 / tau).
    pub decay: f32,
}

impl RtfmModel {
    /// Mean over the regions of one segment's features.
    pub fn pooled(&self, features: &[f32]) -> Vec<f32> {
        let share = 1.0 / self.grid.regions() as f32;
        let mut x = vec![0.0f32; self.centre.len()];
        for region in features.chunks_exact(x.len()) {
            x.iter_mut().zip(region).for_each(|(x, v)| *x += share * v);
        }
        x
    }

    /// What the network takes of one segment's features.
    pub fn taken(&self, features: &[f32]) -> Vec<f32> {
        let x = self.pooled(features);
        let standard = |(x, (c, s)): (f32, (&f32, &f32))| ((x - c) * s).clamp(-CLIP, CLIP);
        x.into_iter().zip(self.centre.iter().zip(&self.scale)).map(standard).collect()
    }

    /// What must be remembered of each stream: constant in size, however long the stream.
    pub fn state(&self) -> Vec<StateSpec> {
        let (features, branch, inner) = (self.network.features, self.network.branch(), self.network.inner());
        let state = |name: &str, shape: &[usize]| StateSpec { name: name.into(), shape: shape.to_vec() };
        vec![
            state("past", &[Rtfm::PAST, features]),
            state("merged", &[Rtfm::MERGED, 4 * branch]),
            state("attention", &[inner, inner]),
            state("attention_weight", &[1]),
        ]
    }

    /// The model file; `manifest` must name [`RtfmModel::state`].
    ///
    /// The score is the logit of the published one, whose sigmoid would press all that is normal together near nought;
    /// `probability` is the sigmoid, f32 `[segments]`. The network looks at the whole picture: every region has the
    /// segment's score. Causal: convolutions are padded on the left, and the non-local block's sum over the video,
    /// which has no softmax, runs: S_t = decay S_{t-1} + phi_t g_t^T, n_t = decay n_{t-1} + 1, y_t = theta_t S_t / n_t.
    pub fn to_onnx(&self, manifest: &Manifest) -> Vec<u8> {
        let mut graph = Graph::new("sigmawatch_rtfm");
        let g = &mut graph;
        let segments = Dim::Symbol("segments");
        let (regions, dims) = (self.grid.regions(), self.network.features);
        let features = g.input_f32("features", &[segments, Dim::Fixed(regions), Dim::Fixed(dims)]);
        let held: Vec<(StateSpec, Value, Vec<Dim>)> = self
            .state()
            .into_iter()
            .map(|state| {
                let shape: Vec<Dim> =
                    std::iter::once(segments).chain(state.shape.iter().map(|d| Dim::Fixed(*d))).collect();
                let value = g.input_f32(&state.name, &shape);
                (state, value, shape)
            })
            .collect();
        let [past, merged_before, sum, weight] = [0, 1, 2, 3].map(|i: usize| held[i].1.clone());

        let x = self.standardised(g, &features);
        let branches: Vec<Value> = (self.network.pyramid.iter().zip(DILATIONS))
            .map(|(layer, dilation)| {
                let taps = taps(g, &past, Rtfm::PAST, &x, dilation);
                let z = linear(g, layer, &taps);
                let z = g.op("Relu", &[&z], &[]);
                normed(g, layer, &z)
            })
            .collect();
        let narrow = linear(g, &self.network.narrow, &x);
        let narrow = g.op("Relu", &[&narrow], &[]);
        let (skipped, sum, weight) = self.attended(g, &narrow, &sum, &weight);
        let mut parts: Vec<&Value> = branches.iter().collect();
        parts.push(&skipped);
        let merged = g.op("Concat", &parts, &[("axis", 1.into())]);
        let taps = taps(g, &merged_before, Rtfm::MERGED, &merged, 1);
        let z = linear(g, &self.network.merge, &taps);
        let z = g.op("Relu", &[&z], &[]);
        let z = normed(g, &self.network.merge, &z);
        let mut h = g.op("Add", &[&z, &x], &[]);
        for (i, layer) in self.network.head.iter().enumerate() {
            h = linear(g, layer, &h);
            if i + 1 < self.network.head.len() {
                h = g.op("Relu", &[&h], &[]);
            }
        }
        let last = g.ints(&[1]);
        let score = g.op("Squeeze", &[&h, &last], &[]);
        let total = g.op("ReduceSum", &[&x, &last], &[("keepdims", 0.into())]);
        let score = with_nan_of(g, &score, &total);
        let probability = g.op("Sigmoid", &[&score], &[]);
        let column = g.op("Unsqueeze", &[&score, &last], &[]);
        let wide = g.ints(&[1, regions as i64]);
        let map = g.op("Expand", &[&column, &wide], &[]);
        g.output_f32("score", &score, &[segments]);
        g.output_f32("regions", &map, &[segments, Dim::Fixed(regions)]);
        g.output_f32("probability", &probability, &[segments]);
        let next = [shifted(g, &past, &x), shifted(g, &merged_before, &merged), sum, weight];
        for ((state, _, shape), next) in held.iter().zip(&next) {
            g.output_f32(&state.next(), next, shape);
        }
        graph.finish(manifest)
    }

    fn standardised(&self, g: &mut Graph, features: &Value) -> Value {
        let over = [("axes", [1i64].into()), ("keepdims", 0.into())];
        let mean = g.op("ReduceMean", &[features], &over);
        let (centre, scale) =
            (g.constant(&[self.centre.len()], &self.centre), g.constant(&[self.scale.len()], &self.scale));
        let centred = g.op("Sub", &[&mean, &centre], &[]);
        let x = g.op("Mul", &[&centred, &scale], &[]);
        let (low, high) = (g.scalar(-CLIP), g.scalar(CLIP));
        let clipped = g.op("Clip", &[&x, &low, &high], &[]);
        with_nan_of(g, &clipped, &x)
    }

    /// The non-local block on `[segments, branch]`, and its state after it.
    fn attended(&self, g: &mut Graph, x: &Value, sum: &Value, weight: &Value) -> (Value, Value, Value) {
        let [theta, phi, values] = [0, 1, 2].map(|i: usize| linear(g, &self.network.attention[i], x));
        let (one, two) = (g.ints(&[1]), g.ints(&[2]));
        let phi = g.op("Unsqueeze", &[&phi, &two], &[]);
        let values = g.op("Unsqueeze", &[&values, &one], &[]);
        let now = g.op("Mul", &[&phi, &values], &[]);
        let decay = g.scalar(self.decay);
        let kept = g.op("Mul", &[sum, &decay], &[]);
        let sum = g.op("Add", &[&kept, &now], &[]);
        let kept = g.op("Mul", &[weight, &decay], &[]);
        let unit = g.scalar(1.0);
        let weight = g.op("Add", &[&kept, &unit], &[]);
        let theta = g.op("Unsqueeze", &[&theta, &one], &[]);
        let y = g.op("MatMul", &[&theta, &sum], &[]);
        let y = g.op("Squeeze", &[&y, &one], &[]);
        let y = g.op("Div", &[&y, &weight], &[]);
        let y = linear(g, &self.network.back, &y);
        let y = normed(g, &self.network.back, &y);
        (g.op("Add", &[&y, x], &[]), sum, weight)
    }
}

/// The vectors that a convolution looks at, oldest first and side by side: `[segments, 3 * width]`. `before` holds the
/// last `length` ones, oldest first, and `now` is the newest.
fn taps(g: &mut Graph, before: &Value, length: usize, now: &Value, dilation: usize) -> Value {
    let earlier: Vec<Value> = (1..CONV_TAPS)
        .rev()
        .map(|back| {
            let at = g.ints(&[(length - back * dilation) as i64]);
            let one = g.ints(&[1]);
            let found = g.op("Gather", &[before, &at], &[("axis", 1.into())]);
            g.op("Squeeze", &[&found, &one], &[])
        })
        .collect();
    let all: Vec<&Value> = earlier.iter().chain([now]).collect();
    g.op("Concat", &all, &[("axis", 1.into())])
}

/// `before` without its oldest vector, and `now` after it.
fn shifted(g: &mut Graph, before: &Value, now: &Value) -> Value {
    let (from, to, axis) = (g.ints(&[1]), g.ints(&[i64::MAX]), g.ints(&[1]));
    let kept = g.op("Slice", &[before, &from, &to, &axis], &[]);
    let now = g.op("Unsqueeze", &[now, &axis], &[]);
    g.op("Concat", &[&kept, &now], &[("axis", 1.into())])
}

fn linear(g: &mut Graph, layer: &Layer, x: &Value) -> Value {
    let weight = g.constant(&[layer.inputs, layer.outputs], &layer.weight);
    match layer.bias.is_empty() {
        true => g.op("MatMul", &[x, &weight], &[]),
        false => {
            let bias = g.constant(&[layer.outputs], &layer.bias);
            g.op("Gemm", &[x, &weight, &bias], &[])
        }
    }
}

/// The layer's norm with its running statistics: one product and one sum.
fn normed(g: &mut Graph, layer: &Layer, x: &Value) -> Value {
    let Some(norm) = &layer.norm else { return x.clone() };
    let scale: Vec<f32> = (norm.gain.iter().zip(&norm.variance))
        .map(|(gain, variance)| gain / (variance + BATCH_NORM_EPSILON).sqrt())
        .collect();
    let shift: Vec<f32> = (0..layer.outputs).map(|i| norm.shift[i] - norm.mean[i] * scale[i]).collect();
    let (scale, shift) = (g.constant(&[layer.outputs], &scale), g.constant(&[layer.outputs], &shift));
    let scaled = g.op("Mul", &[x, &scale], &[]);
    g.op("Add", &[&scaled, &shift], &[])
}

#[cfg(test)]
mod tests {
    use super::super::{Padding, logits};
    use super::*;
    use crate::features::Features;
    use crate::infer::{ModelSpec, Session, scorer_manifest_for_tests};
    use crate::score::{OnnxScorer, Score, Scorer};
    use ndarray::Array2;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const GRID: Grid = Grid { rows: 2, cols: 3 };
    const DIMS: usize = 10;

    /// As if it had been trained: nothing in it is nought or one.
    fn model() -> RtfmModel {
        let mut rng = StdRng::seed_from_u64(6);
        let mut network = Rtfm::new(DIMS, &mut rng);
        for layer in network.layers() {
            layer.bias.iter_mut().for_each(|b| *b = rng.random_range(-0.5..0.5));
            let Some(norm) = &mut layer.norm else { continue };
            norm.gain.iter_mut().for_each(|v| *v = rng.random_range(0.5..1.5));
            norm.shift.iter_mut().for_each(|v| *v = rng.random_range(-0.5..0.5));
            norm.mean.iter_mut().for_each(|v| *v = rng.random_range(0.0..0.5));
            norm.variance.iter_mut().for_each(|v| *v = rng.random_range(0.5..1.5));
        }
        let mut draw = |low, high| (0..DIMS).map(|_| rng.random_range(low..high)).collect::<Vec<f32>>();
        let (centre, scale) = (draw(-0.5, 0.5), draw(0.5, 2.0));
        RtfmModel { grid: GRID, centre, scale, network, decay: 0.95 }
    }

    fn scorer(model: &RtfmModel) -> OnnxScorer {
        crate::infer::init_for_tests();
        let mut manifest = scorer_manifest_for_tests();
        let ModelSpec::Scorer(spec) = &mut manifest.spec else { unreachable!("a scorer's manifest") };
        (spec.grid, spec.dims, spec.state) = (GRID, DIMS, model.state());
        let session = Session::from_bytes("rtfm", &model.to_onnx(&manifest)).expect("loads");
        OnnxScorer::new(session).expect("a scorer")
    }

    fn segments(n: usize, seed: u64) -> Vec<Features> {
        let mut rng = StdRng::seed_from_u64(seed);
        let numbers = GRID.regions() * DIMS;
        let mut draw = || (0..numbers).map(|_| rng.random_range(-2.0f32..2.0)).collect();
        (0..n).map(|_| Features { regions: GRID.regions(), dims: DIMS, values: draw() }).collect()
    }

    fn run(scorer: &mut OnnxScorer, segments: &[Features]) -> Vec<Score> {
        scorer.score_run(&segments.iter().collect::<Vec<_>>()).expect("scores")
    }

    /// Segment by segment through the file, and the whole sequence at once by the formulas.
    #[test]
    fn the_stream_is_scored_as_the_whole_is() {
        let (model, segments) = (model(), segments(60, 1));
        let found = run(&mut scorer(&model), &segments);
        let x: Vec<f32> = segments.iter().flat_map(|s| model.taken(&s.values)).collect();
        let x = Array2::from_shape_vec((60, DIMS), x).expect("60 vectors");
        let expected = logits(&model.network, &x, Padding::Causal { decay: model.decay });
        for (t, (score, expected)) in found.iter().zip(&expected).enumerate() {
            assert!((score.value - expected).abs() < 1e-4, "segment {t}: {} and {expected}", score.value);
            assert_eq!(score.regions, vec![score.value; GRID.regions()]);
        }
        let spread = |f: fn(f32, f32) -> f32| found.iter().map(|s| s.value).reduce(f).expect("scores");
        assert!(spread(f32::max) - spread(f32::min) > 0.1, "and they are not all alike");
    }

    /// Provisional is final: whatever comes later, the scores so far stand, to the last bit.
    #[test]
    fn no_score_depends_on_what_comes_later() {
        let (model, whole) = (model(), segments(40, 1));
        let mut scorer = scorer(&model);
        let found = run(&mut scorer, &whole);
        for from in [1, 13, 39] {
            let changed = [&whole[..from], &segments(40 - from, 2)].concat();
            let other = run(&mut scorer, &changed);
            assert_eq!(found[..from], other[..from]);
            assert_ne!(found[from], other[from]);
        }
    }

    #[test]
    fn what_is_not_finite_is_said_and_forgotten() {
        let model = model();
        let mut segments = segments(12, 1);
        segments[4].values[7] = f32::NAN;
        let found = run(&mut scorer(&model), &segments);
        assert!(!found[4].value.is_finite());
        assert!(found.iter().enumerate().all(|(t, score)| t == 4 || score.is_finite()));
    }
}
