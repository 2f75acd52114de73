//! Writes the whole scorer (whitening, noise, network, sampler, pooling) as one ONNX graph.

use super::{Film, Network, Plan, Scalings};
use crate::infer::{Graph, Manifest, Value};
use crate::score::{Layer, Pooling, Vectors};

/// A trained scorer, ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Denoiser {
    pub vectors: Vectors,
    pub network: Network,
    /// Of the whitened vectors; 1 by construction, where the whitening is exact.
    pub sigma_data: f64,
    pub plan: Plan,
    /// Fixed draws of noise, `[draws, width]`: all segments and regions share them, so a score has no
    /// chance in it.
    pub noise: Vec<f32>,
    pub pooling: Pooling,
}

impl Denoiser {
    pub fn draws(&self) -> usize {
        self.noise.len() / self.vectors.width()
    }

    /// The model file.
    ///
    /// The residual of a region is mean((x - x^)^2) / sigma_t^2 over its numbers and the draws of noise.
    pub fn to_onnx(&self, manifest: &Manifest) -> Vec<u8> {
        let (width, draws) = (self.vectors.width(), self.draws());
        let mut g = Graph::new("sigmawatch_diffusion");
        let x = self.vectors.taken(&mut g);

        // One row a region, segment and draw from here on.
        let rows = g.reshape(&x, &[1, -1, width as i64]);
        let start = self.plan.start();
        let scaled: Vec<f32> = self.noise.iter().map(|n| (f64::from(*n) * start) as f32).collect();
        let noise = g.constant(&[draws, 1, width], &scaled);
        let noised = g.op("Add", &[&rows, &noise], &[]);
        let noised = g.reshape(&noised, &[-1, width as i64]);
        let found = self.reconstructed(&mut g, noised);
        let found = g.reshape(&found, &[draws as i64, -1, width as i64]);

        let error = g.op("Sub", &[&rows, &found], &[]);
        let error = g.op("Mul", &[&error, &error], &[]);
        let error = g.op("ReduceMean", &[&error], &[("axes", [0i64, 2].into()), ("keepdims", 0.into())]);
        let scale = g.scalar((1.0 / (start * start)) as f32);
        let residual = g.op("Mul", &[&error, &scale], &[]);
        let pooled = self.pooling.pooled(&mut g, &residual, self.vectors.grid);
        self.vectors.given(&mut g, &pooled.score, &pooled.map);
        g.finish(manifest)
    }

    /// Runs the plan from the noised rows `[n, width]` down to noise level 0.
    fn reconstructed(&self, g: &mut Graph, start: Value) -> Value {
        let layers: Vec<(Value, Value)> = (self.network.layers.iter().map(Layer::folded))
            .map(|l| (g.constant(&[l.inputs, l.outputs], &l.weight), g.constant(&[l.outputs], &l.bias)))
            .collect();
        let mut directions: Vec<Value> = Vec::new();
        for stage in &self.plan.stages {
            let x = combine(g, &start, &stage.weights, &directions);
            let denoised = self.denoised(g, &layers, &x, stage.sigma);
            let difference = g.op("Sub", &[&x, &denoised], &[]);
            let inverse = g.scalar((1.0 / stage.sigma) as f32);
            directions.push(g.op("Mul", &[&difference, &inverse], &[]));
        }
        combine(g, &start, &self.plan.result, &directions)
    }

    /// D(x; sigma) = c_skip x + c_out F(c_in x; sigma).
    fn denoised(&self, g: &mut Graph, layers: &[(Value, Value)], x: &Value, sigma: f64) -> Value {
        let c = Scalings::at(sigma, self.sigma_data);
        let mut film = Film::at(sigma, &self.network.film_input);
        for gamma in &mut film.gamma {
            *gamma *= c.input as f32;
        }
        let mut h = modulated(g, x, &film);
        for (i, (weight, bias)) in layers.iter().enumerate() {
            if i == self.network.decoder() {
                h = modulated(g, &h, &Film::at(sigma, &self.network.film_bottleneck));
            }
            h = g.op("Gemm", &[&h, weight, bias], &[]);
            if i + 1 < layers.len() {
                h = g.op("Relu", &[&h], &[]);
            }
        }
        let (skip, out) = (g.scalar(c.skip as f32), g.scalar(c.out as f32));
        let kept = g.op("Mul", &[x, &skip], &[]);
        let corrected = g.op("Mul", &[&h, &out], &[]);
        g.op("Add", &[&kept, &corrected], &[])
    }
}

fn modulated(g: &mut Graph, x: &Value, film: &Film) -> Value {
    if film.gamma.iter().all(|gamma| *gamma == 1.0) && film.beta.iter().all(|beta| *beta == 0.0) {
        // So it is at sigma 1.
        return x.clone();
    }
    let gamma = g.constant(&[film.gamma.len()], &film.gamma);
    let beta = g.constant(&[film.beta.len()], &film.beta);
    let scaled = g.op("Mul", &[x, &gamma], &[]);
    g.op("Add", &[&scaled, &beta], &[])
}

/// x_0 + sum of weights[j] directions[j].
fn combine(g: &mut Graph, start: &Value, weights: &[f64], directions: &[Value]) -> Value {
    let mut sum = start.clone();
    for (weight, direction) in weights.iter().zip(directions) {
        let weight = g.scalar(*weight as f32);
        let part = g.op("Mul", &[direction, &weight], &[]);
        sum = g.op("Add", &[&sum, &part], &[]);
    }
    sum
}
