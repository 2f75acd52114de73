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
        let width = self.vectors.width();
        let mut g = Graph::new("sigmawatch_diffusion");
        let x = self.vectors.taken(&mut g);

        // One row a region and segment, of each draw, from here on.
        let rows = g.reshape(&x, &[-1, width as i64]);
        let error = match self.plan.stages.as_slice() {
            [stage] => self.step(&mut g, &rows, stage.sigma),
            _ => self.steps(&mut g, &rows),
        };
        let error = g.op("Mul", &[&error, &error], &[]);
        let residual = g.op("ReduceMean", &[&error], &[("axes", [0i64, 2].into()), ("keepdims", 0.into())]);
        let pooled = self.pooling.pooled(&mut g, &residual, self.vectors.grid);
        self.vectors.given(&mut g, &pooled.score, &pooled.map);
        g.finish(manifest)
    }

    /// The draws as they are added.
    fn scaled_noise(&self) -> impl Iterator<Item = f64> + '_ {
        let start = self.plan.start();
        self.noise.iter().map(move |n| f64::from(*n) * start)
    }

    /// (x^ - x) / sigma_t of the rows `[n, width]`, as `[draws, n, width]`, where the plan is one step from sigma to 0: x^ - x
    /// = noise + step d.
    ///
    /// All that is linear is worked into the weights. The first layer is applied to the rows once, for all draws; what is
    /// kept of the rows themselves is added by the last one.
    fn step(&self, g: &mut Graph, rows: &Value, sigma: f64) -> Value {
        let (width, draws, start) = (self.vectors.width(), self.draws(), self.plan.start());
        let step: f64 = self.plan.result.steps.iter().map(|(_, weight)| weight).sum();
        let (of_x, of_f) = Scalings::direction(sigma, self.sigma_data);
        let layers = self.worked_in(sigma);
        let (last, layers) = layers.split_last().expect("a network has layers");
        let (first, layers) = layers.split_first().expect("a network has two layers");

        // x W = rows W + noise W.
        let mut biases = Vec::with_capacity(draws * first.outputs);
        for noise in self.scaled_noise().collect::<Vec<f64>>().chunks_exact(width) {
            let mut bias: Vec<f64> = first.bias.iter().map(|b| f64::from(*b)).collect();
            for (n, weights) in noise.iter().zip(first.weight.chunks_exact(first.outputs)) {
                bias.iter_mut().zip(weights).for_each(|(b, w)| *b += n * f64::from(*w));
            }
            biases.extend(bias.iter().map(|b| *b as f32));
        }
        let weight = g.constant(&[first.inputs, first.outputs], &first.weight);
        let biases = g.constant(&[draws, 1, first.outputs], &biases);
        let h = g.op("MatMul", &[rows, &weight], &[]);
        let h = g.op("Add", &[&h, &biases], &[]);
        let mut h = g.op("Relu", &[&h], &[]);
        h = g.reshape(&h, &[-1, first.outputs as i64]);
        for layer in layers {
            let (weight, bias) = constants(g, layer);
            h = g.op("Gemm", &[&h, &weight, &bias], &[]);
            h = g.op("Relu", &[&h], &[]);
        }

        let share = step * of_f / start;
        let of_noise = (1.0 + step * of_x) / start;
        let noise: Vec<f32> = (self.scaled_noise().zip(last.bias.iter().cycle()))
            .map(|(noise, bias)| (of_noise * noise + share * f64::from(*bias)) as f32)
            .collect();
        let weight: Vec<f32> = last.weight.iter().map(|w| (share * f64::from(*w)) as f32).collect();
        let weight = g.constant(&[last.inputs, last.outputs], &weight);
        let (of_rows, noise) =
            (g.scalar((step * of_x / start) as f32), g.constant(&[draws, 1, width], &noise));
        let kept = g.op("Mul", &[rows, &of_rows], &[]);
        let kept = g.op("Add", &[&kept, &noise], &[]);
        let kept = g.reshape(&kept, &[-1, width as i64]);
        let error = g.op("Gemm", &[&h, &weight, &kept], &[]);
        g.reshape(&error, &[draws as i64, -1, width as i64])
    }

    /// What tells the input its noise level, with c_in.
    fn at_input(&self, sigma: f64) -> Modulation {
        let mut by = self.network.at_input.at(sigma);
        let input = Scalings::at(sigma, self.sigma_data).input as f32;
        by.gamma.iter_mut().for_each(|gamma| *gamma *= input);
        by
    }

    /// The layers for one noise level, with batch norms and what tells them that level worked into weights and biases.
    fn worked_in(&self, sigma: f64) -> Vec<Layer> {
        let mut layers: Vec<Layer> = self.network.layers.iter().map(Layer::folded).collect();
        for (at, by) in
            [(0, self.at_input(sigma)), (self.network.decoder(), self.network.at_bottleneck.at(sigma))]
        {
            let Layer { outputs, weight, bias, .. } = &mut layers[at];
            for ((weights, gamma), beta) in weight.chunks_exact_mut(*outputs).zip(&by.gamma).zip(&by.beta) {
                bias.iter_mut().zip(&*weights).for_each(|(bias, weight)| *bias += beta * weight);
                weights.iter_mut().for_each(|weight| *weight *= gamma);
            }
        }
        layers
    }

    /// The same for any plan.
    fn steps(&self, g: &mut Graph, rows: &Value) -> Value {
        let (width, start) = (self.vectors.width(), self.plan.start());
        let rows = g.reshape(rows, &[1, -1, width as i64]);
        let noise: Vec<f32> = self.scaled_noise().map(|n| n as f32).collect();
        let noise = g.constant(&[self.draws(), 1, width], &noise);
        let error = self.reconstructed(g, &rows, noise);
        let inverse = g.scalar((1.0 / start) as f32);
        g.op("Mul", &[&error, &inverse], &[])
    }

    /// Runs the plan from the rows `[1, n, width]` and their noise down to level 0; gives x^ - x, `[draws, n, width]`.
    ///
    /// Every point is kept as its difference from the rows: at small noise levels that is all that a score is made
    /// of, and adding it to the rows and taking them away again would round it off.
    fn reconstructed(&self, g: &mut Graph, rows: &Value, noise: Value) -> Value {
        let layers: Vec<(Value, Value)> =
            self.network.layers.iter().map(|layer| constants(g, &layer.folded())).collect();
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
        let mut h = g.reshape(x, &[-1, self.vectors.width() as i64]);
        h = modulated(g, &h, &self.at_input(sigma));
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

fn constants(g: &mut Graph, layer: &Layer) -> (Value, Value) {
    let weight = g.constant(&[layer.inputs, layer.outputs], &layer.weight);
    (weight, g.constant(&[layer.outputs], &layer.bias))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sampler;
    use crate::infer::{Dim, Grid, Runner, TensorIn, init_for_tests};
    use crate::score::diffusion::{Embedding, Widths};
    use crate::score::{Norm, Scale, Whitening};
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    const WIDTH: usize = 5;
    const ROWS: usize = 7;

    /// Untrained, but with batch norms that do something.
    fn denoiser(sigma: f64, embedding: Embedding, draws: usize) -> Denoiser {
        let mut rng = StdRng::seed_from_u64(4);
        let mut network = Network::new(Widths::regional(WIDTH), embedding, &mut rng);
        for norm in network.layers.iter_mut().filter_map(|layer| layer.norm.as_mut()) {
            let Norm { gain, shift, mean, variance } = norm;
            gain.iter_mut().chain(variance).for_each(|v| *v = rng.random_range(0.5..2.0));
            shift.iter_mut().chain(mean).for_each(|v| *v = rng.random_range(-0.5..0.5));
        }
        let whitening =
            Whitening { centre: vec![0.0; WIDTH], matrix: vec![0.0; WIDTH * WIDTH], kept: WIDTH, clip: 5.0 };
        Denoiser {
            vectors: Vectors { grid: Grid::WHOLE, dims: WIDTH, whitening, rows: None },
            network,
            sigma_data: 0.9,
            plan: Plan::new(Sampler::Euler, &[sigma, 0.0]),
            noise: (0..draws * WIDTH).map(|_| rng.random_range(-2.0..2.0)).collect(),
            pooling: Pooling { smoothing: 0.0, highest: 1, scale: Scale::Plain, masked: vec![] },
        }
    }

    #[test]
    fn one_step_worked_into_the_weights_is_the_plan_step_by_step() {
        init_for_tests();
        let mut rng = StdRng::seed_from_u64(5);
        let rows: Vec<f32> = (0..ROWS * WIDTH).map(|_| rng.random_range(-3.0..3.0)).collect();
        for embedding in [Embedding::Film, Embedding::SineCosine] {
            for (sigma, draws) in [(1.0, 2), (0.3, 1), (0.02, 3)] {
                let model = denoiser(sigma, embedding, draws);
                let error = |of: &dyn Fn(&mut Graph, &Value) -> Value| {
                    let mut g = Graph::new("error");
                    let x = g.input_f32("rows", &[Dim::Fixed(ROWS), Dim::Fixed(WIDTH)]);
                    let error = of(&mut g, &x);
                    g.output_f32("error", &error, &[draws, ROWS, WIDTH].map(Dim::Fixed));
                    let mut runner = Runner::own("error", &g.finish_bare()).expect("loads");
                    let input = TensorIn::F32 { dims: &[ROWS, WIDTH], data: &rows };
                    runner.run(&[input]).expect("runs").remove(0).data
                };
                let (short, long) =
                    (error(&|g, x| model.step(g, x, sigma)), error(&|g, x| model.steps(g, x)));
                assert_eq!(short.len(), draws * ROWS * WIDTH);
                for (a, b) in short.iter().zip(&long) {
                    assert!((a - b).abs() < 2e-5 * b.abs().max(1.0), "{a} for {b} at {sigma}, {embedding:?}");
                }
            }
        }
    }
}
