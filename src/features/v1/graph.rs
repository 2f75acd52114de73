//! V1 energy as an ONNX graph that describes itself.
//!
//! For every octave: the frames are convolved with the factors of y and of x at the sampled positions; one
//! matrix product per orientation then applies all temporal factors at all sampled steps; the length of each
//! quadrature pair is the complex cell's energy; energies are averaged over the cell and the segment.
//!
//! The frames are the channels of one picture, and every convolution takes each channel by itself: this is
//! what ONNX Runtime's vector units do best (measured: half the time of frames as a batch of pictures).

use super::bank::{Bank, Filter, Orientation, V1Params};
use crate::frame::{FrameSpec, PixelFormat};
use crate::infer::{Covers, Dim, ExtractorSpec, Graph, Grid, MANIFEST_FORMAT, Manifest, ModelSpec, Value};
use crate::segment::SEGMENT_FRAMES;

/// Version of the arithmetic: features of another version are not comparable.
const VERSION: &str = "1";
/// Spatial factors of an orientation: even, odd, and the constant that makes the even filters' mean zero.
const PARTS: usize = 3;
const SEGMENTS: Dim = Dim::Symbol("segments");

/// Writes the extractor.
///
/// # Panics
/// If [`V1Params::problem`] finds one.
pub fn build(params: &V1Params) -> (Manifest, Vec<u8>) {
    assert_eq!(params.problem(), None, "parameters are checked before a graph is written");
    let manifest = manifest(params);
    let bank = Bank::new(params);
    let grid = params.grid();
    let channels = bank.channels();
    let mut g = Graph::new("v1");
    let frame = [params.height, params.width, 1].map(Dim::Fixed);
    let frames = g.input_u8("frames", &[&[SEGMENTS, Dim::Fixed(SEGMENT_FRAMES)], frame.as_slice()].concat());
    let shape = g.ints(&[-1, SEGMENT_FRAMES as i64, params.height as i64, params.width as i64]);
    let bytes = g.op("Reshape", &[&frames, &shape], &[]);
    let mut picture = g.op("Cast", &[&bytes], &[("to", FLOAT.into())]);
    let mut octaves = Vec::new();
    for octave in 0..params.octaves {
        if octave > 0 {
            picture = g.op(
                "AveragePool",
                &[&picture],
                &[("kernel_shape", [2usize, 2].into()), ("strides", [2usize, 2].into())],
            );
        }
        octaves.push(energies(&mut g, params, &bank, &picture, octave));
    }
    let all: Vec<&Value> = octaves.iter().collect();
    let all = g.op("Concat", &all, &[("axis", 1.into())]);
    let shape = g.ints(&[-1, (channels * params.octaves) as i64, grid.regions() as i64]);
    let all = g.op("Reshape", &[&all, &shape], &[]);
    let by_region = g.op("Transpose", &[&all], &[("perm", [0usize, 2, 1].into())]);
    let epsilon = g.scalar(params.epsilon as f32);
    let floored = g.op("Add", &[&by_region, &epsilon], &[]);
    let features = g.op("Log", &[&floored], &[]);
    let dims = [SEGMENTS, Dim::Fixed(grid.regions()), Dim::Fixed(channels * params.octaves)];
    g.output_f32("features", &features, &dims);
    let bytes = g.finish(&manifest);
    (manifest, bytes)
}

/// ONNX's number for the element type f32.
const FLOAT: i64 = 1;

/// Mean energies of one octave: `[segments, channels, rows, cols]`.
fn energies(g: &mut Graph, params: &V1Params, bank: &Bank, picture: &Value, octave: usize) -> Value {
    let sampling = params.sampling(octave);
    // The first sample lies half a stride from the corner, so that a cell's samples are centred in it.
    let (radius, first) = ((params.kernel / 2) as i64, sampling.first as i64);
    let (before, after) = (radius - first, radius + first);
    let pads = g.ints(&[0, 0, before, before, 0, 0, after, after]);
    let padded = g.op("Pad", &[picture, &pads], &[("mode", "edge".into())]);
    let mut space = Space { padded, stride: sampling.stride, done: Vec::new() };
    let ones = vec![1.0; params.kernel];
    let constant = space.product(g, &ones, &ones).expect("ones are not zeros");
    let mut parts = Vec::new();
    for Orientation { x, y, .. } in &bank.orientations {
        let cosines = space.product(g, &y.cos, &x.cos).expect("cosines are 1 in the middle");
        parts.push(match space.product(g, &y.sin, &x.sin) {
            Some(sines) => g.op("Sub", &[&cosines, &sines], &[]),
            None => cosines,
        });
        let mixed = [space.product(g, &y.cos, &x.sin), space.product(g, &y.sin, &x.cos)];
        parts.push(g.op("Sum", &mixed.iter().flatten().collect::<Vec<_>>(), &[]));
        parts.push(constant.clone());
    }
    // [segments, orientations * parts * frames, rows, cols] -> [segments, orientations, parts * frames, samples]
    let responses = g.op("Concat", &parts.iter().collect::<Vec<_>>(), &[("axis", 1.into())]);
    let samples = (sampling.rows * sampling.cols) as i64;
    let shape = g.ints(&[-1, bank.orientations.len() as i64, (PARTS * SEGMENT_FRAMES) as i64, samples]);
    let responses = g.op("Reshape", &[&responses, &shape], &[]);
    let even = squared_responses(g, params, bank, &responses, |e| &e.even);
    let odd = squared_responses(g, params, bank, &responses, |e| &e.odd);
    let squares = g.op("Add", &[&even, &odd], &[]);
    let energy = g.op("Sqrt", &[&squares], &[]);
    pool(g, params, bank, &energy, octave)
}

/// The squared responses of one half of every pair: `[segments, orientations, energies * steps, samples]`.
fn squared_responses(
    g: &mut Graph,
    params: &V1Params,
    bank: &Bank,
    responses: &Value,
    half: impl Fn(&super::bank::Energy) -> &Filter,
) -> Value {
    let mut weights = Vec::new();
    for energy in bank.orientations.iter().flat_map(|o| &o.energies) {
        for start in params.steps() {
            weights.extend(temporal_row(half(energy), start));
        }
    }
    let rows = params.energies() * params.steps().count();
    let weights = g.constant(&[bank.orientations.len(), rows, PARTS * SEGMENT_FRAMES], &weights);
    let response = g.op("MatMul", &[&weights, responses], &[]);
    g.op("Mul", &[&response, &response], &[])
}

/// Mean over the segment's steps and over each region: `[segments, channels, rows, cols]`.
fn pool(g: &mut Graph, params: &V1Params, bank: &Bank, energy: &Value, octave: usize) -> Value {
    let sampling = params.sampling(octave);
    let (channels, steps, grid) = (bank.channels() as i64, params.steps().count() as i64, params.grid());
    if params.whole_frame {
        let shape = g.ints(&[-1, channels, steps * (sampling.rows * sampling.cols) as i64]);
        let flat = g.op("Reshape", &[energy, &shape], &[]);
        return g.op("ReduceMean", &[&flat], &[("axes", [2usize].into()), ("keepdims", 0.into())]);
    }
    let side = params.cell / params.spacing_at(octave);
    let shape = g.ints(&[-1, channels * steps, sampling.rows as i64, sampling.cols as i64]);
    let maps = g.op("Reshape", &[energy, &shape], &[]);
    let attributes = [("kernel_shape", [side, side].into()), ("strides", [side, side].into())];
    let cells = g.op("AveragePool", &[&maps], &attributes);
    let (rows, cols) = (sampling.rows / side, sampling.cols / side);
    let shape = g.ints(&[-1, channels, steps, rows as i64, cols as i64]);
    let cells = g.op("Reshape", &[&cells, &shape], &[]);
    let cells = g.op("ReduceMean", &[&cells], &[("axes", [2usize].into()), ("keepdims", 0.into())]);
    if (rows, cols) == (grid.rows, grid.cols) {
        return cells;
    }
    // The samples may reach into a cell that the picture does not fill.
    let (starts, axes) = (g.ints(&[0, 0]), g.ints(&[2, 3]));
    let ends = g.ints(&[grid.rows as i64, grid.cols as i64]);
    g.op("Slice", &[&cells, &starts, &ends, &axes], &[])
}

/// The separable convolutions of one octave; what two filters share is computed once.
struct Space {
    /// Frames with their borders, `[segments, 16, height, width]`.
    padded: Value,
    stride: usize,
    /// What was convolved, with what, and the result.
    done: Vec<(Value, Vec<f64>, Value)>,
}

impl Space {
    /// The frames convolved with `y` down and `x` across; `None` where that is zero everywhere.
    fn product(&mut self, g: &mut Graph, y: &[f64], x: &[f64]) -> Option<Value> {
        // Waves across the picture do not change down it: their sine is zero but for rounding.
        if same(y, &vec![0.0; y.len()]) || same(x, &vec![0.0; x.len()]) {
            return None;
        }
        // Bytes stand for 0 to 1.
        let scaled: Vec<f64> = y.iter().map(|w| w / 255.0).collect();
        let down = self.convolved(g, self.padded.clone(), scaled, |n| [n, 1]);
        Some(self.convolved(g, down, x.to_vec(), |n| [1, n]))
    }

    /// `source` convolved, every frame by itself; `along` lays `n` out as rows and columns.
    fn convolved(
        &mut self,
        g: &mut Graph,
        source: Value,
        weights: Vec<f64>,
        along: impl Fn(usize) -> [usize; 2],
    ) -> Value {
        let found = self.done.iter().find(|(from, with, _)| *from == source && same(with, &weights));
        if let Some((_, _, value)) = found {
            return value.clone();
        }
        let [height, width] = along(weights.len());
        let each: Vec<f32> = weights.iter().map(|w| *w as f32).collect();
        let kernels = g.constant(&[SEGMENT_FRAMES, 1, height, width], &each.repeat(SEGMENT_FRAMES));
        let attributes = [
            ("kernel_shape", [height, width].into()),
            ("strides", along(self.stride).into()),
            ("group", (SEGMENT_FRAMES as i64).into()),
        ];
        let value = g.op("Conv", &[&source, &kernels], &attributes);
        self.done.push((source, weights, value.clone()));
        value
    }
}

/// Equal but for rounding: angles whose sines are equal have sines that differ in the last place.
fn same(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9)
}

/// One row of the temporal product: the filter that begins at frame `start`, over parts and frames.
fn temporal_row(filter: &Filter, start: usize) -> Vec<f32> {
    let mut row = vec![0.0; PARTS * SEGMENT_FRAMES];
    for (tap, (even, odd)) in filter.on_even.iter().zip(&filter.on_odd).enumerate() {
        for (part, weight) in [*even, *odd, filter.constant].into_iter().enumerate() {
            row[part * SEGMENT_FRAMES + start + tap] = weight as f32;
        }
    }
    row
}

/// Where the energies of an octave are sampled.
struct Samples {
    /// Pixels of the octave between samples, and from the corner to the first one.
    stride: usize,
    first: usize,
    rows: usize,
    cols: usize,
}

impl V1Params {
    /// What makes these parameters impossible, if anything.
    pub fn problem(&self) -> Option<String> {
        let smallest = self.cell.max(1 << self.octaves);
        let (width, height) = (self.width, self.height);
        if width < smallest || height < smallest {
            return Some(format!(
                "an analysed picture of {width} x {height} px holds no cell of {smallest} px"
            ));
        }
        let coarsest = self.spacing_at(self.octaves.saturating_sub(1));
        let sampled =
            self.spacing > 0 && self.spacing.is_power_of_two() && self.cell.is_multiple_of(coarsest);
        if !sampled || self.octaves == 0 || self.step == 0 {
            return Some(format!("cells of {} px cannot be sampled every {coarsest} px", self.cell));
        }
        if self.taps.is_multiple_of(2) || self.kernel.is_multiple_of(2) || self.taps > SEGMENT_FRAMES {
            return Some("kernels and taps are odd, and fit into a segment".into());
        }
        None
    }

    /// Regions of the features.
    pub fn grid(&self) -> Grid {
        match self.whole_frame {
            true => Grid::WHOLE,
            false => Grid { rows: self.height / self.cell, cols: self.width / self.cell },
        }
    }

    /// Energies of one orientation on one octave.
    fn energies(&self) -> usize {
        self.omegas.iter().map(|&omega| if omega == 0.0 { 1 } else { 2 }).sum()
    }

    /// First frames of the sampled temporal filters.
    fn steps(&self) -> impl Iterator<Item = usize> {
        (0..=SEGMENT_FRAMES - self.taps).step_by(self.step)
    }

    /// Pixels of the analysed picture between samples of `octave`.
    fn spacing_at(&self, octave: usize) -> usize {
        self.spacing.max(1 << octave)
    }

    fn sampling(&self, octave: usize) -> Samples {
        let stride = self.spacing_at(octave) >> octave;
        let samples = |pixels: usize| ((pixels >> octave) - 1) / stride + 1;
        Samples { stride, first: stride / 2, rows: samples(self.height), cols: samples(self.width) }
    }
}

impl Bank {
    /// Energies of one octave.
    fn channels(&self) -> usize {
        self.orientations.iter().map(|o| o.energies.len()).sum()
    }
}

fn manifest(params: &V1Params) -> Manifest {
    let grid = params.grid();
    let V1Params { width, height, fps, cell, .. } = params;
    let (regions, covers) = match params.whole_frame {
        true => ("whole".to_string(), Covers::default()),
        false => {
            let share = |cells: usize, pixels: usize| (cells * cell) as f64 / pixels as f64;
            let covers = Covers { width: share(grid.cols, *width), height: share(grid.rows, *height) };
            (format!("{cell}px"), covers)
        }
    };
    let channels = channel_names(params);
    Manifest {
        format: MANIFEST_FORMAT,
        name: "v1".into(),
        version: format!("{VERSION}-{width}x{height}@{fps}-{regions}"),
        licence: env!("CARGO_PKG_LICENSE").into(),
        provenance: "computed from the formulas of the Gabor filters; nothing in it was learned".into(),
        spec: ModelSpec::Extractor(ExtractorSpec {
            frame: FrameSpec {
                width: *width as u32,
                height: *height as u32,
                format: PixelFormat::Gray8,
                fps: *fps,
            },
            frames: SEGMENT_FRAMES,
            grid,
            covers,
            dims: channels.len(),
            channels,
        }),
    }
}

/// One name a dimension: the wavelength, and the heading (clockwise from right) and speed that it prefers.
fn channel_names(params: &V1Params) -> Vec<String> {
    let bank = Bank::new(params);
    let mut names = Vec::new();
    for octave in 0..params.octaves {
        let wavelength = params.wavelength * f64::from(1 << octave);
        for o in &bank.orientations {
            let degrees = o.angle.to_degrees();
            for e in &o.energies {
                let heading = if e.forward { degrees } else { degrees + 180.0 };
                let speed = e.omega * wavelength / std::f64::consts::TAU;
                names.push(match e.omega == 0.0 {
                    true => format!("{wavelength} px, {degrees:.0} deg, still"),
                    false => format!("{wavelength} px, heading {heading:.0} deg at {speed} px/frame"),
                });
            }
        }
    }
    names
}
