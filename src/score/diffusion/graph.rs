//! Writes the whole scorer (whitening, noise, network, sampler, pooling) as one ONNX graph.

use super::{Modulation, Network, Plan, Point, Scalings};
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

        // One row a region and segment, of each draw, from here on.
        let rows = g.reshape(&x, &[1, -1, width as i64]);
        let start = self.plan.start();
        let scaled: Vec<f32> = self.noise.iter().map(|n| (f64::from(*n) * start) as f32).collect();
        let noise = g.constant(&[draws, 1, width], &scaled);
        let error = self.reconstructed(&mut g, &rows, noise);
        let inverse = g.scalar((1.0 / start) as f32);
        let error = g.op("Mul", &[&error, &inverse], &[]);
        let error = g.op("Mul", &[&error, &error], &[]);
        let residual = g.op("ReduceMean", &[&error], &[("axes", [0i64, 2].into()), ("keepdims", 0.into())]);
        let pooled = self.pooling.pooled(&mut g, &residual, self.vectors.grid);
        self.vectors.given(&mut g, &pooled.score, &pooled.map);
        g.finish(manifest)
    }

    /// Runs the plan from the rows `[1, n, width]` and their noise down to level 0; gives x^ - x, `[draws, n, width]`.
    ///
    /// Every point is kept as its difference from the rows: at small noise levels that is all that a score is made
    /// of, and adding it to the rows and taking them away again would round it off.
    fn reconstructed(&self, g: &mut Graph, rows: &Value, noise: Value) -> Value {
        let layers: Vec<(Value, Value)> = (self.network.layers.iter().map(Layer::folded))
            .map(|l| (g.constant(&[l.inputs, l.outputs], &l.weight), g.constant(&[l.outputs], &l.bias)))
            .collect();
        let (mut points, mut directions): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
        for stage in &self.plan.stages {
            let point = match &stage.at {
                None => noise.clone(),
                Some(at) => reached(g, at, &points, &directions),
            };
            let x = g.op("Add", &[rows, &point], &[]);
            directions.push(self.direction(g, &layers, &x, stage.sigma));
            points.push(point);
        }
        reached(g, &self.plan.result, &points, &directions)
    }

    /// (x - D(x; sigma)) / sigma, with D(x; sigma) = c_skip x + c_out F(c_in x; sigma).
    fn direction(&self, g: &mut Graph, layers: &[(Value, Value)], x: &Value, sigma: f64) -> Value {
        let mut at_input = self.network.at_input.at(sigma);
        let input = Scalings::at(sigma, self.sigma_data).input as f32;
        at_input.gamma.iter_mut().for_each(|gamma| *gamma *= input);
        let mut h = g.reshape(x, &[-1, self.vectors.width() as i64]);
        h = modulated(g, &h, &at_input);
        for (i, (weight, bias)) in layers.iter().enumerate() {
            if i == self.network.decoder() {
                h = modulated(g, &h, &self.network.at_bottleneck.at(sigma));
            }
            h = g.op("Gemm", &[&h, weight, bias], &[]);
            if i + 1 < layers.len() {
                h = g.op("Relu", &[&h], &[]);
            }
        }
        let h = g.reshape(&h, &[self.draws() as i64, -1, self.vectors.width() as i64]);
        let (of_x, of_f) = Scalings::direction(sigma, self.sigma_data);
        let (of_x, of_f) = (g.scalar(of_x as f32), g.scalar(of_f as f32));
        let kept = g.op("Mul", &[x, &of_x], &[]);
        let corrected = g.op("Mul", &[&h, &of_f], &[]);
        g.op("Add", &[&kept, &corrected], &[])
    }
}

fn modulated(g: &mut Graph, x: &Value, by: &Modulation) -> Value {
    if by.gamma.iter().all(|gamma| *gamma == 1.0) && by.beta.iter().all(|beta| *beta == 0.0) {
        // So FiLM is at sigma 1.
        return x.clone();
    }
    let gamma = g.constant(&[by.gamma.len()], &by.gamma);
    let beta = g.constant(&[by.beta.len()], &by.beta);
    let scaled = g.op("Mul", &[x, &gamma], &[]);
    g.op("Add", &[&scaled, &beta], &[])
}

fn reached(g: &mut Graph, at: &Point, points: &[Value], directions: &[Value]) -> Value {
    at.steps.iter().fold(points[at.from].clone(), |sum, (j, weight)| {
        let weight = g.scalar(*weight as f32);
        let part = g.op("Mul", &[&directions[*j], &weight], &[]);
        g.op("Add", &[&sum, &part], &[])
    })
}
