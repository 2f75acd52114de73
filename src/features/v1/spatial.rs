//! The spatial half of the bank as an ONNX graph: what every orientation answers in each frame by itself.
//!
//! A frame is convolved down with every factor of y, at the sampled rows only, and the results across with the
//! factors of x: with the sums of products that the orientations are, and with the constant that makes the
//! even filters' mean zero.

use super::bank::{Bank, Orientation, V1Params};
use crate::infer::{Dim, Graph, Value};

/// Spatial factors of an orientation: even and odd.
pub const PARTS: usize = 2;

/// ONNX's number for the element type f32.
const FLOAT: i64 = 1;

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
}

impl V1Params {
    pub fn sampling(&self, octave: usize) -> Samples {
        let stride = self.spacing;
        let samples = |pixels: usize| ((pixels >> octave) - 1) / stride + 1;
        // The first sample lies half a stride from the corner, so that a cell's samples are centred in it.
        Samples { stride, first: stride / 2, rows: samples(self.height), cols: samples(self.width) }
    }
}

impl Bank {
    /// Maps of responses of one frame on one octave: two an orientation, and the constant.
    pub fn maps(&self) -> usize {
        self.orientations.len() * PARTS + 1
    }
}

/// The graph of the half: `frames` u8 `[frames, height, width, 1]` to one output an octave,
/// f32 `[frames, maps, samples]`.
pub fn build(params: &V1Params, bank: &Bank) -> Vec<u8> {
    let mut g = Graph::new("v1_spatial");
    let (count, side) = (Dim::Symbol("frames"), |pixels| Dim::Fixed(pixels));
    let bytes = g.input_u8("frames", &[count, side(params.height), side(params.width), Dim::Fixed(1)]);
    for (octave, maps) in responses(&mut g, params, bank, &bytes).iter().enumerate() {
        let samples = Dim::Fixed(params.sampling(octave).count());
        g.output_f32(&format!("octave{octave}"), maps, &[count, Dim::Fixed(bank.maps()), samples]);
    }
    g.finish_bare()
}

/// The responses of each octave, `[frames, maps, samples]`, to `bytes` that hold whole frames.
pub fn responses(g: &mut Graph, params: &V1Params, bank: &Bank, bytes: &Value) -> Vec<Value> {
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
    octaves
}

fn convolved(g: &mut Graph, params: &V1Params, bank: &Bank, picture: &Value, samples: &Samples) -> Value {
    let (n, stride) = (params.kernel, samples.stride);
    let (radius, first) = ((n / 2) as i64, samples.first as i64);
    let (before, after) = (radius - first, radius + first);
    let pads = g.ints(&[0, 0, before, before, 0, 0, after, after]);
    let padded = g.op("Pad", &[picture, &pads], &[("mode", "edge".into())]);
    let Factors { down, across } = Factors::of(bank, n);
    let profiles = down.len() / n;
    let down = g.constant(&[profiles, 1, n, 1], &down);
    let attributes = [("kernel_shape", [n, 1].into()), ("strides", [stride, 1].into())];
    let rows = g.op("Conv", &[&padded, &down], &attributes);
    let across = g.constant(&[bank.maps(), profiles, 1, n], &across);
    let attributes = [("kernel_shape", [1, n].into()), ("strides", [1, stride].into())];
    let maps = g.op("Conv", &[&rows, &across], &attributes);
    g.reshape(&maps, &[-1, bank.maps() as i64, samples.count() as i64])
}

/// Weights of the two convolutions.
struct Factors {
    /// Profile by profile, `[profiles, kernel]`.
    down: Vec<f32>,
    /// `[maps, profiles, kernel]`: even and odd of every orientation, then the constant.
    across: Vec<f32>,
}

impl Factors {
    fn of(bank: &Bank, kernel: usize) -> Self {
        let ones = vec![1.0; kernel];
        // Each map is a sum of products: a profile down, a profile across, and its sign.
        type Product<'a> = (&'a [f64], &'a [f64], f64);
        let mut maps: Vec<Vec<Product<'_>>> = Vec::new();
        for Orientation { x, y, .. } in &bank.orientations {
            maps.push(vec![(&y.cos, &x.cos, 1.0), (&y.sin, &x.sin, -1.0)]);
            maps.push(vec![(&y.cos, &x.sin, 1.0), (&y.sin, &x.cos, 1.0)]);
        }
        maps.push(vec![(&ones, &ones, 1.0)]);
        // Angles share profiles; what is equal but for its sign is convolved once. Waves across the picture do
        // not change down it: their sine is zero but for rounding, and is left out.
        let mut profiles: Vec<&[f64]> = Vec::new();
        let mut terms = Vec::new();
        for (map, products) in maps.iter().enumerate() {
            for &(down, across, sign) in products {
                if same(down, &vec![0.0; kernel], 1.0) {
                    continue;
                }
                let known = profiles.iter().enumerate().find_map(|(at, profile)| {
                    [1.0, -1.0].into_iter().find(|turn| same(down, profile, *turn)).map(|turn| (at, turn))
                });
                let (profile, turn) = known.unwrap_or_else(|| {
                    profiles.push(down);
                    (profiles.len() - 1, 1.0)
                });
                terms.push((map, profile, across, sign * turn));
            }
        }
        let mut across = vec![0.0; maps.len() * profiles.len() * kernel];
        for (map, profile, weights, sign) in terms {
            let row = &mut across[(map * profiles.len() + profile) * kernel..][..kernel];
            row.iter_mut().zip(weights).for_each(|(sum, w)| *sum += (sign * w) as f32);
        }
        // Bytes stand for 0 to 1.
        let down = profiles.concat().iter().map(|w| (w / 255.0) as f32).collect();
        Self { down, across }
    }
}

/// Whether `a` is `sign` times `b`, but for rounding: angles whose sines are equal have sines that differ in
/// the last place.
fn same(a: &[f64], b: &[f64], sign: f64) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - sign * b).abs() < 1e-9)
}
