//! The simple cells of the bank, whose squares make its energies: their weights, measured by single bright pixels.
//!
//! The filters are spread over pooling, two convolutions and a matrix product, so no tensor of the graph holds
//! them. A linear filter is known by its answers to impulses: one pixel is lit in one frame, and every unit that sees it
//! answers with the weight that it has there. Units lie `spacing` pixels of their octave and `step` frames apart, so a
//! block of so many pixels and frames shows every weight to some unit.

use super::bank::{Bank, V1Params};
use super::graph::{at_moments, manifest};
use super::spatial;
use super::temporal::{moments, simple_cells};
use crate::features::kernels::Kernel;
use crate::infer::{Dim, Graph, Grid, InferError, Manifest, Runner, TensorIn};
use crate::segment::SEGMENT_FRAMES;

/// Side of the picture that is measured on: all fields of view in its middle lie in it but for their dark margins.
const SIDE: usize = 64;

/// The weights of all simple cells of the bank that `described` describes, as pairs of even and odd, in the order
/// of the features.
///
/// # Errors
/// Where the description is not that of this program's bank, or ONNX Runtime cannot run it.
pub fn kernels(model: &str, described: &Manifest) -> Result<Vec<Kernel>, InferError> {
    let spec = described.extractor(model)?;
    let (width, height) = (spec.frame.width as usize, spec.frame.height as usize);
    let params = V1Params::new(width, height, spec.frame.fps, spec.grid == Grid::WHOLE);
    if params.problem().is_some() || *described != manifest(&params) {
        let problem =
            format!("is not the `v1` of this program ({}), whose filters are known", described.id());
        return Err(InferError::new(model, problem, "write it again: `sigmawatch models export v1`"));
    }
    let params = V1Params { width: SIDE, height: SIDE, whole_frame: true, ..params };
    let weights = measured(&params)?;
    let cells = spec.channels.iter().flat_map(|name| ["even", "odd"].map(|half| format!("{name}, {half}")));
    let octave = weights.len() / params.octaves;
    let kernel = |(i, (name, weights)): (usize, (String, Vec<f32>))| {
        let side = params.kernel << (i / octave);
        Kernel::new(name, 1, [params.taps, side, side], &weights)
    };
    Ok(cells.zip(weights).enumerate().map(kernel).collect())
}

/// Weights `[taps, side, side]` of every cell, octave by octave, even and odd by turns.
fn measured(params: &V1Params) -> Result<Vec<Vec<f32>>, InferError> {
    let bank = Bank::new(params);
    let mut cells = Runner::own("v1, simple cells", &front(params, &bank))?;
    let (channels, orientations) = (bank.channels(), bank.orientations.len());
    let energies = channels / orientations;
    let sides: Vec<usize> = (0..params.octaves).map(|octave| params.kernel << octave).collect();
    let mut weights: Vec<Vec<f32>> = (sides.iter())
        .flat_map(|side| vec![vec![f32::NAN; params.taps * side * side]; channels * 2])
        .collect();
    let block = params.spacing << (params.octaves - 1);
    let middle = (SIDE - block) / 2;
    let last = SEGMENT_FRAMES - params.taps;
    let pixels = || (middle..middle + block).flat_map(|y| (middle..middle + block).map(move |x| (y, x)));
    for (frame, (y, x)) in (last..=last + params.step).flat_map(|frame| pixels().map(move |at| (frame, at))) {
        let mut picture = vec![0; SEGMENT_FRAMES * SIDE * SIDE];
        picture[(frame * SIDE + y) * SIDE + x] = 255;
        let dims = [1, SEGMENT_FRAMES, SIDE, SIDE, 1];
        let answers = cells.run(&[TensorIn::U8 { dims: &dims, data: &picture }])?.swap_remove(0).data;
        let mut before = 0;
        for (octave, side) in sides.iter().copied().enumerate() {
            let samples = params.sampling(octave);
            // Where the lit pixel lies in the field of the unit at a row or column, if it does.
            let offset = |at: usize, unit: usize| {
                let first = samples.field(unit, params.kernel) << octave;
                usize::try_from(at as i64 - first).ok().filter(|offset| *offset < side)
            };
            let seeing = |at: usize, units: usize| -> Vec<(usize, usize)> {
                (0..units).filter_map(|unit| Some((unit, offset(at, unit)?))).collect()
            };
            let (rows, cols) = (seeing(y, samples.rows), seeing(x, samples.cols));
            for (moment, start) in moments(params).enumerate().filter(|(_, start)| *start <= frame) {
                let tap = frame - start;
                if tap >= params.taps {
                    continue;
                }
                for (&(row, dy), &(col, dx)) in rows.iter().flat_map(|r| cols.iter().map(move |c| (r, c))) {
                    for (cell, half) in (0..channels).flat_map(|channel| [(channel, 0), (channel, 1)]) {
                        let (orientation, energy) = (cell / energies, cell % energies);
                        let of = ((moment * orientations + orientation) * 2 + half) * energies + energy;
                        let unit = of * params.samples() + before + row * samples.cols + col;
                        weights[(octave * channels + cell) * 2 + half][(tap * side + dy) * side + dx] =
                            answers[unit];
                    }
                }
            }
            before += samples.count();
        }
    }
    Ok(weights)
}

/// The bank up to its simple cells: f32 `[moments, orientations, 2, energies, samples]`, even and odd.
fn front(params: &V1Params, bank: &Bank) -> Vec<u8> {
    let mut g = Graph::new("v1_simple_cells");
    let (segments, frame) = (Dim::Symbol("segments"), [SEGMENT_FRAMES, params.height, params.width, 1]);
    let bytes = g.input_u8("frames", &[&[segments], frame.map(Dim::Fixed).as_slice()].concat());
    let responses = spatial::responses(&mut g, params, bank, &bytes);
    let responses = at_moments(&mut g, params, bank, &responses);
    let cells = simple_cells(&mut g, params, bank, &responses);
    let orientations = bank.orientations.len();
    let dims = [orientations, 2, bank.channels() / orientations, params.samples()].map(Dim::Fixed);
    g.output_f32("cells", &cells, &[&[Dim::Symbol("moments")], dims.as_slice()].concat());
    g.finish_bare()
}
