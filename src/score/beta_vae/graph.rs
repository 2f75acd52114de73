//! Writes the trained beta-VAE (standardising, encoder, decoder, two scores and their maximum) as one ONNX graph.

use super::{MOST_LOG_VARIANCE, Vae};
use crate::infer::{Dim, Graph, Manifest, Value};
use crate::score::vectors::with_nan_of;
use crate::score::{LEAST_RESIDUAL, Layer, Pooled, Pooling, Vectors};

/// Mean and deviation of one of the two scores on what was learned from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standard {
    pub mean: f32,
    pub deviation: f32,
}

impl Standard {
    /// Changes nothing.
    pub const NONE: Standard = Standard { mean: 0.0, deviation: 1.0 };

    fn applied(self, g: &mut Graph, value: &Value) -> Value {
        let (mean, scale) = (g.scalar(self.mean), g.scalar(1.0 / self.deviation));
        let centred = g.op("Sub", &[value, &mean], &[]);
        g.op("Mul", &[&centred, &scale], &[])
    }
}

/// A trained scorer, ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct BetaVae {
    pub vectors: Vectors,
    pub network: Vae,
    pub pooling: Pooling,
    /// What makes the two scores comparable.
    pub reconstruction: Standard,
    pub divergence: Standard,
}

impl BetaVae {
    /// The model file. Means of the latents stand for samples, so a score has no chance in it.
    ///
    /// Residuals of a region: r = mean((x - x^)^2), and k = 1/2 sum(mu^2 + s^2 - 1 - ln s^2), the divergence of
    /// its latents from N(0, I). Each is pooled by itself and standardised; the score is the larger one, as the
    /// smaller of two tail probabilities would be. Outputs besides `score` and `regions`, `[segments]` unless said
    /// otherwise: `reconstruction` and `kl`, the two before the maximum, and `factors`, `[segments, latents]`, the
    /// share of each latent in the k of the strangest region.
    pub fn to_onnx(&self, manifest: &Manifest) -> Vec<u8> {
        let (width, latents) = (self.vectors.width(), self.network.latents);
        let grid = self.vectors.grid;
        let mut g = Graph::new("sigmawatch_beta_vae");
        let g = &mut g;
        let x = self.vectors.taken(g);
        let x = g.reshape(&x, &[-1, width as i64]);
        let code = chain(g, &self.network.encoder, &x);
        let (mean, log_variance) = (columns(g, &code, 0, latents), columns(g, &code, latents, 2 * latents));
        let (low, high) = (g.scalar(-MOST_LOG_VARIANCE), g.scalar(MOST_LOG_VARIANCE));
        let log_variance = g.op("Clip", &[&log_variance, &low, &high], &[]);

        let rebuilt = chain(g, &self.network.decoder, &mean);
        let error = g.op("Sub", &[&x, &rebuilt], &[]);
        let error = g.op("Mul", &[&error, &error], &[]);
        let error = g.op("ReduceMean", &[&error], &[("axes", [1i64].into()), ("keepdims", 0.into())]);
        let least = g.scalar(LEAST_RESIDUAL);
        let error = g.op("Add", &[&error, &least], &[]);
        let rebuilt = self.pooling.pooled(g, &error, grid);

        let shares = divergence(g, &mean, &log_variance);
        let one = g.ints(&[1]);
        let sum = g.op("ReduceSum", &[&shares, &one], &[("keepdims", 0.into())]);
        let sum = g.op("Add", &[&sum, &least], &[]);
        let diverged = self.pooling.pooled(g, &sum, grid);

        let of = |g: &mut Graph, part: fn(&Pooled) -> &Value| {
            let rebuilt = self.reconstruction.applied(g, part(&rebuilt));
            let diverged = self.divergence.applied(g, part(&diverged));
            let larger = g.op("Max", &[&rebuilt, &diverged], &[]);
            let both = g.op("Add", &[&rebuilt, &diverged], &[]);
            (rebuilt, diverged, with_nan_of(g, &larger, &both))
        };
        let (reconstruction, kl, score) = of(g, |pooled| &pooled.score);
        let (_, _, map) = of(g, |pooled| &pooled.map);
        let factors = self.at_the_highest(g, &shares, &map);
        self.vectors.given(g, &score, &map);
        let segments = Dim::Symbol("segments");
        g.output_f32("reconstruction", &reconstruction, &[segments]);
        g.output_f32("kl", &kl, &[segments]);
        g.output_f32("factors", &factors, &[segments, Dim::Fixed(latents)]);
        std::mem::replace(g, Graph::new("")).finish(manifest)
    }

    /// The rows of `shares` (`[segments * regions, latents]`) where `map` is highest.
    fn at_the_highest(&self, g: &mut Graph, shares: &Value, map: &Value) -> Value {
        let latents = self.network.latents;
        let shares = g.reshape(shares, &[-1, self.vectors.grid.regions() as i64, latents as i64]);
        let (last, wide) = (g.ints(&[2]), g.ints(&[1, 1, latents as i64]));
        let highest = g.op("ArgMax", &[map], &[("axis", 1.into())]);
        let at = g.op("Unsqueeze", &[&highest, &last], &[]);
        let at = g.op("Expand", &[&at, &wide], &[]);
        let there = g.op("GatherElements", &[&shares, &at], &[("axis", 1.into())]);
        g.reshape(&there, &[-1, latents as i64])
    }
}

/// Layer by layer, batch norms folded in.
fn chain(g: &mut Graph, layers: &[Layer], x: &Value) -> Value {
    layers.iter().fold(x.clone(), |x, layer| {
        let folded = layer.folded();
        let weight = g.constant(&[layer.inputs, layer.outputs], &folded.weight);
        let bias = g.constant(&[layer.outputs], &folded.bias);
        let z = g.op("Gemm", &[&x, &weight, &bias], &[]);
        if layer.norm.is_some() { g.op("Relu", &[&z], &[]) } else { z }
    })
}

fn columns(g: &mut Graph, x: &Value, from: usize, to: usize) -> Value {
    let (from, to, axis) = (g.ints(&[from as i64]), g.ints(&[to as i64]), g.ints(&[1]));
    g.op("Slice", &[x, &from, &to, &axis], &[])
}

/// 1/2 (mu^2 + s^2 - 1 - ln s^2) of each latent.
fn divergence(g: &mut Graph, mean: &Value, log_variance: &Value) -> Value {
    let (one, half) = (g.scalar(1.0), g.scalar(0.5));
    let square = g.op("Mul", &[mean, mean], &[]);
    let variance = g.op("Exp", &[log_variance], &[]);
    let sum = g.op("Add", &[&square, &variance], &[]);
    let sum = g.op("Sub", &[&sum, &one], &[]);
    let sum = g.op("Sub", &[&sum, log_variance], &[]);
    // Rounding can take what is nought a little below it.
    let sum = g.op("Abs", &[&sum], &[]);
    g.op("Mul", &[&sum, &half], &[])
}
