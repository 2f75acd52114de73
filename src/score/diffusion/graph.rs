//! Writes the whole scorer (whitening, noise, network, sampler, pooling) as one ONNX graph.

use super::{Film, Layer, Network, Plan, Scalings};
use crate::infer::{Attr, Dim, Graph, Grid, Manifest, Value};

/// Linear map that gives the features unit variance in every direction: z = (x - centre) matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Whitening {
    /// `dims` numbers.
    pub centre: Vec<f32>,
    /// `[dims, kept]`, row-major.
    pub matrix: Vec<f32>,
    /// Directions kept.
    pub kept: usize,
    /// Numbers beyond this many standard deviations are drawn in to it.
    pub clip: f32,
}

/// How the regions' residuals become one score.
#[derive(Debug, Clone, PartialEq)]
pub struct Pooling {
    /// Standard deviation of the Gaussian that smooths the map of residuals, in regions; 0 for none.
    pub smoothing: f32,
    /// The score is the mean over this many highest regions.
    pub highest: usize,
}

/// A trained scorer, ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Denoiser {
    pub grid: Grid,
    /// Numbers of a region's features.
    pub dims: usize,
    pub whitening: Whitening,
    /// Appended to the whitened vector of each region: its row in the picture. `None` where there is no
    /// position to tell; else one number a row.
    pub rows: Option<Vec<f32>>,
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
    /// Numbers that the network sees of a region: the whitened ones, and the position.
    pub fn width(&self) -> usize {
        self.whitening.kept + usize::from(self.rows.is_some())
    }

    pub fn draws(&self) -> usize {
        self.noise.len() / self.width()
    }

    /// The model file. Input `features` f32 `[segments, regions, dims]` as the extractor gives them.
    ///
    /// The residual of a region is mean((x - x^)^2) / sigma_t^2 over its numbers and the draws of noise,
    /// smoothed over the grid. `regions` holds its logarithm, `score` the logarithm of the mean over the
    /// highest regions: residuals have a heavy tail, their logarithms are near to normal, so mu + k sigma
    /// means what it says.
    pub fn to_onnx(&self, manifest: &Manifest) -> Vec<u8> {
        let (regions, width, draws) = (self.grid.regions(), self.width(), self.draws());
        let segments = Dim::Symbol("segments");
        let mut g = Graph::new("sigmawatch_diffusion");
        let features = g.input_f32("features", &[segments, Dim::Fixed(regions), Dim::Fixed(self.dims)]);
        let x = self.whitened(&mut g, &features);

        // One row a region, segment and draw from here on.
        let rows = reshape(&mut g, &x, &[1, -1, width as i64]);
        let start = self.plan.start();
        let scaled: Vec<f32> = self.noise.iter().map(|n| (f64::from(*n) * start) as f32).collect();
        let noise = g.constant(&[draws, 1, width], &scaled);
        let noised = g.op("Add", &[&rows, &noise], &[]);
        let noised = reshape(&mut g, &noised, &[-1, width as i64]);
        let found = self.reconstructed(&mut g, noised);
        let found = reshape(&mut g, &found, &[draws as i64, -1, width as i64]);

        let error = g.op("Sub", &[&rows, &found], &[]);
        let error = g.op("Mul", &[&error, &error], &[]);
        let error = g.op("ReduceMean", &[&error], &[("axes", [0i64, 2].into()), ("keepdims", 0.into())]);
        let scale = g.scalar((1.0 / (start * start)) as f32);
        let residual = g.op("Mul", &[&error, &scale], &[]);
        let (score, map) = self.pooled(&mut g, &residual);
        g.output_f32("score", &score, &[segments]);
        g.output_f32("regions", &map, &[segments, Dim::Fixed(regions)]);
        g.finish(manifest)
    }

    /// `[segments, regions, width]`: whitened, drawn in, with the position appended.
    fn whitened(&self, g: &mut Graph, features: &Value) -> Value {
        let Whitening { centre, matrix, kept, clip } = &self.whitening;
        let centre = g.constant(&[self.dims], centre);
        let matrix = g.constant(&[self.dims, *kept], matrix);
        let centred = g.op("Sub", &[features, &centre], &[]);
        let white = g.op("MatMul", &[&centred, &matrix], &[]);
        let (low, high) = (g.scalar(-clip), g.scalar(*clip));
        let drawn_in = g.op("Clip", &[&white, &low, &high], &[]);
        // Min and max may lose a NaN; this brings it back, so that it reaches the score.
        let zero = g.scalar(0.0);
        let nothing = g.op("Mul", &[&white, &zero], &[]);
        let x = g.op("Add", &[&drawn_in, &nothing], &[]);
        let Some(rows) = &self.rows else { return x };
        // A column of zeros, then the positions onto it.
        let (regions, cols) = (self.grid.regions(), self.grid.cols);
        let pads = g.ints(&[0, 0, 0, 0, 0, 1]);
        let padded = g.op("Pad", &[&x, &pads], &[]);
        let mut position = vec![0.0; regions * (kept + 1)];
        for region in 0..regions {
            position[region * (kept + 1) + kept] = rows[region / cols];
        }
        let position = g.constant(&[regions, kept + 1], &position);
        g.op("Add", &[&padded, &position], &[])
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

    /// From residuals `[segments * regions]` to the score `[segments]` and the map `[segments, regions]`.
    fn pooled(&self, g: &mut Graph, residual: &Value) -> (Value, Value) {
        let Grid { rows, cols } = self.grid;
        let regions = self.grid.regions();
        let mut map = reshape(g, residual, &[-1, 1, rows as i64, cols as i64]);
        if self.pooling.smoothing > 0.0 && regions > 1 {
            let kernel = gaussian(self.pooling.smoothing);
            let (size, reach) = (kernel.len(), (kernel.len() / 2) as i64);
            let pads = g.ints(&[0, 0, reach, reach, 0, 0, reach, reach]);
            map = g.op("Pad", &[&map, &pads], &[("mode", "edge".into())]);
            let (down, across) =
                (g.constant(&[1, 1, size, 1], &kernel), g.constant(&[1, 1, 1, size], &kernel));
            map = g.op("Conv", &[&map, &down], &[("kernel_shape", [size, 1].into())]);
            map = g.op("Conv", &[&map, &across], &[("kernel_shape", [1, size].into())]);
        }
        let map = reshape(g, &map, &[-1, regions as i64]);
        let highest = g.ints(&[self.pooling.highest.min(regions) as i64]);
        let attributes: [(&str, Attr); 3] = [("axis", 1.into()), ("largest", 1.into()), ("sorted", 0.into())];
        let top = g.ops("TopK", &[&map, &highest], 2, &attributes).swap_remove(0);
        let over_regions = [("axes", [1i64].into()), ("keepdims", 0.into())];
        let mean = g.op("ReduceMean", &[&top], &over_regions);
        // A NaN has no place in an order, and TopK may leave it out; the sum does not.
        let all = g.op("ReduceMean", &[&map], &over_regions);
        let zero = g.scalar(0.0);
        let nothing = g.op("Mul", &[&all, &zero], &[]);
        let mean = g.op("Add", &[&mean, &nothing], &[]);
        (g.op("Log", &[&mean], &[]), g.op("Log", &[&map], &[]))
    }
}

fn reshape(g: &mut Graph, x: &Value, dims: &[i64]) -> Value {
    let dims = g.ints(dims);
    g.op("Reshape", &[x, &dims], &[])
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

/// A Gaussian's samples out to three standard deviations, of sum 1.
fn gaussian(sigma: f32) -> Vec<f32> {
    let reach = (3.0 * sigma).ceil() as i32;
    let raw: Vec<f32> = (-reach..=reach).map(|i| (-0.5 * (i as f32 / sigma).powi(2)).exp()).collect();
    let sum: f32 = raw.iter().sum();
    raw.iter().map(|v| v / sum).collect()
}
