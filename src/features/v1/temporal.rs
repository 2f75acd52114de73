//! The temporal half of the bank as an ONNX graph: from the frames' responses round a moment to energies.
//!
//! One matrix product per half of the quadrature pairs applies all temporal factors at all samples; the length
//! of each pair is the complex cell's energy, averaged over every region.

use super::bank::{Bank, Energy, Filter, V1Params};
use super::spatial::PARTS;
use crate::infer::{Dim, Graph, Value};
use crate::segment::SEGMENT_FRAMES;

/// First frames of the windows round the moments at which a segment's energies are sampled. The last window
/// ends with the segment: what has just happened counts.
pub fn moments(params: &V1Params) -> impl Iterator<Item = usize> {
    let last = SEGMENT_FRAMES - params.taps;
    (last % params.step..=last).step_by(params.step)
}

/// What the half takes of one octave.
pub struct Inputs {
    /// `[moments, orientations, parts * taps, samples]`.
    pub responses: Value,
    /// The constant's responses, `[moments, taps, samples]`.
    pub constants: Value,
}

/// The graph of the half, for one moment at a time: two inputs an octave ([`Inputs`], with one moment), and
/// `energies` f32 `[1, channels * octaves, regions]`.
pub fn build(params: &V1Params, bank: &Bank) -> Vec<u8> {
    let mut g = Graph::new("v1_temporal");
    let one = Dim::Fixed(1);
    let (orientations, taps) = (bank.orientations.len(), params.taps);
    let inputs: Vec<Inputs> = (0..params.octaves)
        .map(|octave| {
            let samples = Dim::Fixed(params.sampling(octave).count());
            let dims = [one, Dim::Fixed(orientations), Dim::Fixed(PARTS * taps), samples];
            let responses = g.input_f32(&format!("responses{octave}"), &dims);
            let constants = g.input_f32(&format!("constants{octave}"), &[one, Dim::Fixed(taps), samples]);
            Inputs { responses, constants }
        })
        .collect();
    let energies = energies(&mut g, params, bank, &inputs);
    let dims = [bank.channels() * params.octaves, params.grid().regions()].map(Dim::Fixed);
    g.output_f32("energies", &energies, &[&[one], dims.as_slice()].concat());
    g.finish_bare()
}

/// Mean energies of all octaves: `[moments, channels * octaves, regions]`.
pub fn energies(g: &mut Graph, params: &V1Params, bank: &Bank, inputs: &[Inputs]) -> Value {
    let octaves: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(octave, inputs)| octave_energies(g, params, bank, inputs, octave))
        .collect();
    let all = g.op("Concat", &octaves.iter().collect::<Vec<_>>(), &[("axis", 1.into())]);
    g.reshape(&all, &[-1, (bank.channels() * params.octaves) as i64, params.grid().regions() as i64])
}

fn octave_energies(g: &mut Graph, params: &V1Params, bank: &Bank, inputs: &Inputs, octave: usize) -> Value {
    let [even, odd] = simple_cells(g, params, bank, inputs, octave);
    let (even, odd) = (g.op("Mul", &[&even, &even], &[]), g.op("Mul", &[&odd, &odd], &[]));
    let squares = g.op("Add", &[&even, &odd], &[]);
    let energy = g.op("Sqrt", &[&squares], &[]);
    pooled(g, params, bank, &energy, octave)
}

/// What the even and the odd half of every quadrature pair answer: `[moments, orientations, energies, samples]`.
pub fn simple_cells(
    g: &mut Graph,
    params: &V1Params,
    bank: &Bank,
    inputs: &Inputs,
    octave: usize,
) -> [Value; 2] {
    let Inputs { responses, constants } = inputs;
    // The constant is the same at all taps, so its responses are only added up: [moments, 1, 1, samples].
    let over_taps = g.ints(&[1]);
    let constant = g.op("ReduceSum", &[constants, &over_taps], &[("keepdims", 1.into())]);
    let constant = g.reshape(&constant, &[-1, 1, 1, params.sampling(octave).count() as i64]);
    let share: Vec<f32> = pairs(bank).map(|e| e.even.constant as f32).collect();
    let share = g.constant(&[bank.orientations.len(), share.len() / bank.orientations.len(), 1], &share);
    let constant = g.op("Mul", &[&constant, &share], &[]);
    let even = product(g, params, bank, responses, |e| &e.even);
    let even = g.op("Add", &[&even, &constant], &[]);
    let odd = product(g, params, bank, responses, |e| &e.odd);
    [even, odd]
}

fn pairs(bank: &Bank) -> impl Iterator<Item = &Energy> {
    bank.orientations.iter().flat_map(|o| &o.energies)
}

/// One half of every pair, but for its constant: `[moments, orientations, energies, samples]`.
fn product(
    g: &mut Graph,
    params: &V1Params,
    bank: &Bank,
    responses: &Value,
    half: impl Fn(&Energy) -> &Filter,
) -> Value {
    let factors = |e| [half(e).on_even.as_slice(), half(e).on_odd.as_slice()].concat();
    let weights: Vec<f32> = pairs(bank).flat_map(factors).map(|w| w as f32).collect();
    let orientations = bank.orientations.len();
    let dims = [orientations, bank.channels() / orientations, PARTS * params.taps];
    let weights = g.constant(&dims, &weights);
    g.op("MatMul", &[&weights, responses], &[])
}

/// Mean over each region: `[moments, channels, rows, cols]`, or `[moments, channels, 1]` for the whole frame.
fn pooled(g: &mut Graph, params: &V1Params, bank: &Bank, energy: &Value, octave: usize) -> Value {
    let (samples, grid) = (params.sampling(octave), params.grid());
    let channels = bank.channels() as i64;
    if params.whole_frame {
        let flat = g.reshape(energy, &[-1, channels, samples.count() as i64]);
        return g.op("ReduceMean", &[&flat], &[("axes", [2usize].into()), ("keepdims", 1.into())]);
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
    // Octaves are put together region by region.
    g.reshape(&cells, &[-1, channels, grid.regions() as i64])
}
