//! V1 energy as one ONNX graph that describes itself: both halves of the bank over a whole segment.
//!
//! This is the model that is exported and that others may run. The program itself runs the two halves apart
//! (`parts.rs`), which comes to the same and filters each frame once.

use super::bank::{Bank, V1Params};
use super::spatial::{self, PARTS};
use super::temporal::{self, moments};
use crate::frame::{FrameSpec, PixelFormat};
use crate::infer::{Covers, Dim, ExtractorSpec, Graph, Grid, MANIFEST_FORMAT, Manifest, ModelSpec, Value};
use crate::segment::SEGMENT_FRAMES;

/// Version of the arithmetic: features of another version are not comparable.
const VERSION: &str = "3";

/// Writes the extractor.
///
/// # Panics
/// If [`V1Params::problem`] finds one.
pub fn build(params: &V1Params) -> (Manifest, Vec<u8>) {
    assert_eq!(params.problem(), None, "parameters are checked before a graph is written");
    let manifest = manifest(params);
    let bank = Bank::new(params);
    let (segments, frames) = (Dim::Symbol("segments"), Dim::Fixed(SEGMENT_FRAMES));
    let mut g = Graph::new("v1");
    let frame = [params.height, params.width, 1].map(Dim::Fixed);
    let bytes = g.input_u8("frames", &[&[segments, frames], frame.as_slice()].concat());
    let responses = spatial::responses(&mut g, params, &bank, &bytes);
    let responses = at_moments(&mut g, params, &bank, &responses);
    let energies = temporal::energies(&mut g, params, &bank, &responses);
    let (dims, regions) = (bank.channels() * params.octaves, params.grid().regions());
    let energies = g.reshape(&energies, &[-1, moments(params).count() as i64, dims as i64, regions as i64]);
    let over_moments = g.ints(&[1]);
    let sums = g.op("ReduceSum", &[&energies, &over_moments], &[("keepdims", 0.into())]);
    let features = temporal::features(&mut g, params, &sums);
    g.output_f32("features", &features, &[segments, Dim::Fixed(regions), Dim::Fixed(dims)]);
    let bytes = g.finish(&manifest);
    (manifest, bytes)
}

/// The responses `[segments * 16, maps, samples]`, laid out for every moment of every segment as the temporal half takes
/// them: `[moments, orientations, rows, samples]`.
pub fn at_moments(g: &mut Graph, params: &V1Params, bank: &Bank, responses: &Value) -> Value {
    let (maps, samples) = (bank.maps() as i64, params.samples() as i64);
    let (taps, orientations) = (params.taps as i64, bank.orientations.len() as i64);
    let by_frame = g.reshape(responses, &[-1, SEGMENT_FRAMES as i64, maps, samples]);
    let frames: Vec<i64> =
        moments(params).flat_map(|start| start..start + params.taps).map(|frame| frame as i64).collect();
    let frames = g.ints(&frames);
    let taken = g.op("Gather", &[&by_frame, &frames], &[("axis", 1.into())]);
    let taken = g.reshape(&taken, &[-1, taps, maps, samples]);
    let by_map = g.op("Transpose", &[&taken], &[("perm", [0usize, 2, 1, 3].into())]);
    let sizes = g.ints(&[maps - 1, 1]);
    let parts = g.ops("Split", &[&by_map, &sizes], 2, &[("axis", 1.into())]);
    let responses = g.reshape(&parts[0], &[-1, orientations, PARTS as i64 * taps, samples]);
    let over_taps = g.ints(&[2]);
    let constant = g.op("ReduceSum", &[&parts[1], &over_taps], &[("keepdims", 1.into())]);
    let each = g.ints(&[1, orientations, 1, 1]);
    let constants = g.op("Expand", &[&constant, &each], &[]);
    g.op("Concat", &[&responses, &constants], &[("axis", 2.into())])
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
        let coarsest = self.spacing << self.octaves.saturating_sub(1);
        if coarsest == 0 || !self.cell.is_multiple_of(coarsest) || self.octaves == 0 || self.step == 0 {
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
}

impl Bank {
    /// Energies of one octave.
    pub fn channels(&self) -> usize {
        self.orientations.iter().map(|o| o.energies.len()).sum()
    }
}

pub fn manifest(params: &V1Params) -> Manifest {
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
