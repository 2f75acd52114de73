//! The temporal half of the bank as an ONNX graph: from the frames' responses round a moment to energies.
//!
//! A matrix product applies all temporal factors at all samples; the length of each quadrature pair is the complex cell's
//! energy, averaged over every region.

use super::bank::{Bank, Filter, V1Params};
use super::spatial::PARTS;
use crate::infer::{Dim, Graph, Value};
use crate::segment::SEGMENT_FRAMES;

/// First frames of the windows round the moments at which a segment's energies are sampled. The last window
/// ends with the segment: what has just happened counts.
pub fn moments(params: &V1Params) -> impl Iterator<Item = usize> {
    let last = SEGMENT_FRAMES - params.taps;
    (last % params.step..=last).step_by(params.step)
}

impl V1Params {
    /// What the half takes of each orientation: the responses of its two spatial factors to all frames, and the sum of
    /// the constant's.
    pub fn rows(&self) -> usize {
        PARTS * self.taps + 1
    }
}

/// The graph of the half, for one moment at a time. It takes `responses` f32 `[1, orientations, rows, samples]`
/// ([`V1Params::rows`]; all octaves' samples), and gives `energies` f32 `[1, dims, regions]`.
pub fn build(params: &V1Params, bank: &Bank) -> Vec<u8> {
    let mut g = Graph::new("v1_temporal");
    let one = Dim::Fixed(1);
    let rows = [bank.orientations.len(), params.rows(), params.samples()].map(Dim::Fixed);
    let responses = g.input_f32("responses", &[&[one], rows.as_slice()].concat());
    let (dims, regions) = (Dim::Fixed(bank.channels() * params.octaves), Dim::Fixed(params.grid().regions()));
    let energies = energies(&mut g, params, bank, &responses);
    g.output_f32("energies", &energies, &[one, dims, regions]);
    g.finish_bare()
}

/// From the sums of the energies round all moments, `[segments, dims, regions]`, to features `[segments, regions, dims]`.
pub fn features(g: &mut Graph, params: &V1Params, sums: &Value) -> Value {
    let count = g.scalar(1.0 / moments(params).count() as f32);
    let mean = g.op("Mul", &[sums, &count], &[]);
    let epsilon = g.scalar(params.epsilon as f32);
    let floored = g.op("Add", &[&mean, &epsilon], &[]);
    let logarithms = g.op("Log", &[&floored], &[]);
    g.op("Transpose", &[&logarithms], &[("perm", [0usize, 2, 1].into())])
}

/// Mean energies of all octaves: `[moments, dims, regions]`.
pub fn energies(g: &mut Graph, params: &V1Params, bank: &Bank, responses: &Value) -> Value {
    let halves = simple_cells(g, params, bank, responses);
    let squares = g.op("Mul", &[&halves, &halves], &[]);
    let over_halves = g.ints(&[2]);
    let squares = g.op("ReduceSum", &[&squares, &over_halves], &[("keepdims", 0.into())]);
    let energy = g.op("Sqrt", &[&squares], &[]);
    let by_channel = g.reshape(&energy, &[-1, bank.channels() as i64, params.samples() as i64]);
    let counts: Vec<i64> = params.counts().iter().map(|&count| count as i64).collect();
    let sizes = g.ints(&counts);
    let octaves = g.ops("Split", &[&by_channel, &sizes], counts.len(), &[("axis", 2.into())]);
    let pooled: Vec<Value> = (octaves.iter().enumerate())
        .map(|(octave, energy)| pooled(g, params, bank, energy, octave))
        .collect();
    // Octaves are put together region by region.
    g.op("Concat", &pooled.iter().collect::<Vec<_>>(), &[("axis", 1.into())])
}

/// What the even and the odd half of every quadrature pair answer: `[moments, orientations, 2, energies, samples]`. One
/// matrix product for each orientation, whose rows are the responses and the constant.
pub fn simple_cells(g: &mut Graph, params: &V1Params, bank: &Bank, responses: &Value) -> Value {
    let (orientations, rows) = (bank.orientations.len(), params.rows());
    let energies = bank.channels() / orientations;
    let factors = |filter: &Filter| [&filter.on_even[..], &filter.on_odd, &[filter.constant]].concat();
    let weights: Vec<f32> = (bank.orientations.iter())
        .flat_map(|o| o.energies.iter().map(|e| &e.even).chain(o.energies.iter().map(|e| &e.odd)))
        .flat_map(factors)
        .map(|weight| weight as f32)
        .collect();
    let weights = g.constant(&[orientations, 2 * energies, rows], &weights);
    let halves = g.op("MatMul", &[&weights, responses], &[]);
    g.reshape(&halves, &[-1, orientations as i64, 2, energies as i64, params.samples() as i64])
}

/// Mean over each region of an octave's energies `[moments, channels, samples]`: `[moments, channels, regions]`.
fn pooled(g: &mut Graph, params: &V1Params, bank: &Bank, energy: &Value, octave: usize) -> Value {
    let (samples, grid) = (params.sampling(octave), params.grid());
    let channels = bank.channels() as i64;
    if params.whole_frame {
        return g.op("ReduceMean", &[energy], &[("axes", [2usize].into()), ("keepdims", 1.into())]);
    }
    let side = params.cell / (params.spacing << octave);
    let mut cells = g.reshape(energy, &[-1, channels, samples.rows as i64, samples.cols as i64]);
    if side > 1 {
        let attributes = [("kernel_shape", [side, side].into()), ("strides", [side, side].into())];
        cells = g.op("AveragePool", &[&cells], &attributes);
    }
    if (samples.rows / side, samples.cols / side) != (grid.rows, grid.cols) {
        // The samples may reach into a cell that the picture does not fill.
        let (starts, axes) = (g.ints(&[0, 0]), g.ints(&[2, 3]));
        let ends = g.ints(&[grid.rows as i64, grid.cols as i64]);
        cells = g.op("Slice", &[&cells, &starts, &ends, &axes], &[]);
    }
    g.reshape(&cells, &[-1, channels, grid.regions() as i64])
}
