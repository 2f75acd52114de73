//! The shipped bank without ONNX Runtime: its two halves in the processor's vector instructions.
//!
//! A general runtime keeps whole tensors between its operators, and with many cameras these lie in no cache. Here a
//! frame is filtered line by line and the energies are pooled as they come, so that each number is read once. The
//! results are those of the graphs (`graph.rs`, `spatial.rs`, `temporal.rs`) but for rounding; tests compare them.

mod features;
mod fold;
mod lines;
mod spatial;
mod temporal;

use crate::features::v1::bank::{Bank, ORIENTATIONS, SPACING, V1Params};
use pulp::Arch;
use spatial::Spatial;
use temporal::Temporal;

/// Numbers in the widest vector.
const LANES: usize = 8;
/// Spatial factors of all orientations, even and odd, and the constant.
const MAPS: usize = 2 * ORIENTATIONS + 1;
/// Energies of an orientation: still, and two speeds forward and backward.
const ENERGIES: usize = 5;

/// Where the numbers of one octave lie. A band is the lines of samples that make a row of regions; of each band come
/// map after map, of each map its lines, of each line `pitch` numbers.
#[derive(Debug, Clone)]
struct Octave {
    /// Of its picture, pixels.
    width: usize,
    height: usize,
    /// Samples of a line, and the same filled up to whole vectors.
    cols: usize,
    pitch: usize,
    bands: usize,
    /// Lines of a band.
    side: usize,
    /// Among the numbers of a frame.
    begin: usize,
}

impl Octave {
    fn band(&self) -> usize {
        MAPS * self.side * self.pitch
    }
}

/// The bank for one size of picture.
#[derive(Debug)]
pub struct Vectors {
    arch: Arch,
    octaves: Vec<Octave>,
    spatial: Spatial,
    temporal: Temporal,
}

/// What is written on the way; kept to save the allocations.
#[derive(Debug, Default)]
pub struct Scratch {
    lines: lines::Scratch,
    filtered: Vec<f32>,
    sums: Vec<f32>,
}

impl Vectors {
    /// `None` for another bank than the shipped one, and on processors whose vectors are not known (x86 without AVX2).
    pub fn new(params: &V1Params, bank: &Bank) -> Option<Self> {
        let shipped = V1Params::new(params.width, params.height, params.fps, params.whole_frame);
        let arch = Arch::new();
        if *params != shipped || matches!(arch, Arch::Scalar) {
            return None;
        }
        let mut begin = 0;
        let octaves: Vec<Octave> = (0..params.octaves)
            .map(|octave| {
                let samples = params.sampling(octave);
                // One region is the mean of everything; cells leave out what no whole cell holds.
                let side = if params.whole_frame { 1 } else { params.cell / (SPACING << octave) };
                let bands = if params.whole_frame { samples.rows } else { params.grid().rows };
                let pitch = samples.cols.next_multiple_of(LANES);
                let (width, height) = (params.width >> octave, params.height >> octave);
                let octave = Octave { width, height, cols: samples.cols, pitch, bands, side, begin };
                begin += octave.bands * octave.band();
                octave
            })
            .collect();
        Some(Self {
            arch,
            octaves,
            spatial: Spatial::new(params, bank),
            temporal: Temporal::new(params, bank),
        })
    }

    /// Numbers that a frame's responses take.
    fn numbers(&self) -> usize {
        self.octaves.iter().map(|octave| octave.bands * octave.band()).sum()
    }

    /// What the spatial half answers to a frame, `height * width` bytes; in `to`, whatever lies there.
    pub fn responses(&self, frame: &[u8], mut to: Vec<f32>, scratch: &mut Scratch) -> Vec<f32> {
        to.resize(self.numbers(), 0.0);
        let Self { arch, octaves, spatial, .. } = self;
        arch.dispatch(spatial::Run { octaves, spatial, frame, scratch, to: &mut to });
        to
    }

    /// The energies `[dims, regions]` round the moment in the middle of the [`TAPS`] frames whose responses these are.
    pub fn energies(&self, frames: &[&[f32]], scratch: &mut Scratch) -> Vec<f32> {
        let frames = frames.try_into().expect("a frame for every tap");
        let mut to = vec![0.0; self.temporal.dims() * self.temporal.regions];
        let Self { arch, octaves, temporal, .. } = self;
        arch.dispatch(temporal::Run { octaves, temporal, frames, scratch, to: &mut to });
        to
    }
}

/// Features `[regions, dims]`, from the sums `[dims, regions]` of the energies round so many moments.
pub fn features(mut sums: Vec<f32>, regions: usize, moments: usize, epsilon: f64) -> Vec<f32> {
    let mut to = vec![0.0; sums.len()];
    let (share, epsilon) = (1.0 / moments as f32, epsilon as f32);
    Arch::new().dispatch(features::Run { sums: &mut sums, share, epsilon, regions, to: &mut to });
    to
}
