//! The spatial half of the bank as an ONNX graph: what every orientation answers in each frame by itself.
//!
//! Every factor is a sum of products of y and x alone, and angles share products. A frame is convolved down with each
//! product's profile of y, at the sampled rows only, then across with its profile of x; the sums come last, with the
//! constant that makes the even filters' mean zero.

use super::bank::{Bank, Orientation, V1Params};
use crate::infer::{Dim, Graph, Value};

/// Spatial factors of an orientation: even and odd.
pub const PARTS: usize = 2;

/// ONNX's number for the element type f32.
const FLOAT: i64 = 1;

/// Channels come in multiples of this, some of them empty: ONNX Runtime's fast kernels for channels that are filtered
/// each by itself take no other counts (16 with AVX-512, 8 elsewhere).
const CHANNELS: usize = 16;

/// Where the responses of an octave are sampled.
pub struct Samples {
    /// Pixels of the octave between samples, and from the corner to the first one.
    stride: usize,
    first: usize,
    pub rows: usize,
    pub cols: usize,
}

impl Samples {
    pub fn count(&self) -> usize {
        self.rows * self.cols
    }

    /// Where the field of a row's, or column's, unit begins: pixels of the octave from the picture's edge.
    pub fn field(&self, unit: usize, kernel: usize) -> i64 {
        (self.first + self.stride * unit) as i64 - (kernel / 2) as i64
    }
}

impl V1Params {
    pub fn sampling(&self, octave: usize) -> Samples {
        let stride = self.spacing;
        let samples = |pixels: usize| ((pixels >> octave) - 1) / stride + 1;
        // The first sample lies half a stride from the corner, so that a cell's samples are centred in it.
        Samples { stride, first: stride / 2, rows: samples(self.height), cols: samples(self.width) }
    }

    /// Samples of each octave.
    pub fn counts(&self) -> Vec<usize> {
        (0..self.octaves).map(|octave| self.sampling(octave).count()).collect()
    }

    /// Samples of all octaves.
    pub fn samples(&self) -> usize {
        self.counts().iter().sum()
    }
}

impl Bank {
    /// Maps of responses of one frame on one octave: two an orientation, and the constant.
    pub fn maps(&self) -> usize {
        self.orientations.len() * PARTS + 1
    }
}

/// The graph of the half: `frames` u8 `[frames, height, width, 1]` to `responses` f32 `[frames, maps, samples]`, octave
/// after octave.
pub fn build(params: &V1Params, bank: &Bank) -> Vec<u8> {
    let mut g = Graph::new("v1_spatial");
    let (count, side) = (Dim::Symbol("frames"), |pixels| Dim::Fixed(pixels));
    let bytes = g.input_u8("frames", &[count, side(params.height), side(params.width), Dim::Fixed(1)]);
    let maps = responses(&mut g, params, bank, &bytes);
    g.output_f32("responses", &maps, &[count, Dim::Fixed(bank.maps()), Dim::Fixed(params.samples())]);
    g.finish_bare()
}

/// The responses on all octaves, `[frames, maps, samples]`, to `bytes` that hold whole frames.
pub fn responses(g: &mut Graph, params: &V1Params, bank: &Bank, bytes: &Value) -> Value {
    let bytes = g.reshape(bytes, &[-1, 1, params.height as i64, params.width as i64]);
    let mut picture = g.op("Cast", &[&bytes], &[("to", FLOAT.into())]);
    let mut octaves = Vec::new();
    for octave in 0..params.octaves {
        if octave > 0 {
            let halves = [("kernel_shape", [2usize, 2].into()), ("strides", [2usize, 2].into())];
            picture = g.op("AveragePool", &[&picture], &halves);
        }
        octaves.push(convolved(g, params, bank, &picture, &params.sampling(octave)));
    }
    g.op("Concat", &octaves.iter().collect::<Vec<_>>(), &[("axis", 2.into())])
}

fn convolved(g: &mut Graph, params: &V1Params, bank: &Bank, picture: &Value, samples: &Samples) -> Value {
    let (n, stride) = (params.kernel, samples.stride);
    let (radius, first) = ((n / 2) as i64, samples.first as i64);
    let (before, after) = (radius - first, radius + first);
    let pads = g.ints(&[0, 0, before, before, 0, 0, after, after]);
    let padded = g.op("Pad", &[picture, &pads], &[("mode", "edge".into())]);
    let Factors { down, across, sums } = Factors::of(bank, n);
    let channels = down.len() / n;
    let down = g.constant(&[channels, 1, n, 1], &down);
    let attributes = [("kernel_shape", [n, 1].into()), ("strides", [stride, 1].into())];
    let rows = g.op("Conv", &[&padded, &down], &attributes);
    let across = g.constant(&[channels, 1, 1, n], &across);
    let each = ("group", (channels as i64).into());
    let attributes = [("kernel_shape", [1, n].into()), ("strides", [1, stride].into()), each];
    let products = g.op("Conv", &[&rows, &across], &attributes);
    let sums = g.constant(&[bank.maps(), channels, 1, 1], &sums);
    let maps = g.op("Conv", &[&products, &sums], &[("kernel_shape", [1usize, 1].into())]);
    g.reshape(&maps, &[-1, bank.maps() as i64, samples.count() as i64])
}

/// Weights of the three convolutions.
struct Factors {
    /// Of each product: its profile of y, and of x; `[channels, kernel]`.
    down: Vec<f32>,
    across: Vec<f32>,
    /// Even and odd of every orientation, then the constant, as sums of products: `[maps, channels]`.
    sums: Vec<f32>,
}

impl Factors {
    fn of(bank: &Bank, kernel: usize) -> Self {
        let (ones, zeros) = (vec![1.0; kernel], vec![0.0; kernel]);
        // A profile of y, one of x, and the sign of their product.
        type Product<'a> = (&'a [f64], &'a [f64], f64);
        let mut maps: Vec<Vec<Product<'_>>> = Vec::new();
        for Orientation { x, y, .. } in &bank.orientations {
            maps.push(vec![(&y.cos, &x.cos, 1.0), (&y.sin, &x.sin, -1.0)]);
            maps.push(vec![(&y.cos, &x.sin, 1.0), (&y.sin, &x.cos, 1.0)]);
        }
        maps.push(vec![(&ones, &ones, 1.0)]);
        let mut products: Vec<(&[f64], &[f64])> = Vec::new();
        let mut terms = Vec::new();
        for (map, summands) in maps.iter().enumerate() {
            for &(y, x, sign) in summands {
                // Waves along one axis do not change along the other: their sine there is zero but for rounding.
                if same(y, &zeros, 1.0) || same(x, &zeros, 1.0) {
                    continue;
                }
                let turned = |a: &[f64], b: &[f64]| [1.0, -1.0].into_iter().find(|turn| same(a, b, *turn));
                let known = (products.iter().enumerate())
                    .find_map(|(at, (of_y, of_x))| Some((at, turned(y, of_y)? * turned(x, of_x)?)));
                let (product, turn) = known.unwrap_or_else(|| {
                    products.push((y, x));
                    (products.len() - 1, 1.0)
                });
                terms.push((map, product, sign * turn));
            }
        }
        let channels = products.len().next_multiple_of(CHANNELS);
        let mut sums = vec![0.0; maps.len() * channels];
        for (map, product, sign) in terms {
            sums[map * channels + product] += sign as f32;
        }
        let weights = |of: &dyn Fn(usize) -> Vec<f64>| -> Vec<f32> {
            let all = (0..channels).flat_map(|at| if at < products.len() { of(at) } else { zeros.clone() });
            all.map(|weight| weight as f32).collect()
        };
        // Bytes stand for 0 to 1.
        let down = weights(&|at| products[at].0.iter().map(|weight| weight / 255.0).collect());
        Self { down, across: weights(&|at| products[at].1.to_vec()), sums }
    }
}

/// Whether `a` is `sign` times `b`, but for rounding: angles whose sines are equal have sines that differ in
/// the last place.
fn same(a: &[f64], b: &[f64], sign: f64) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - sign * b).abs() < 1e-9)
}
