//! I3D: Inception inflated to three dimensions, trained on Kinetics-400, as an extractor.

mod network;
mod source;

pub use source::{checkpoint, fetch};

use super::{ExtractorModel, trial};
use crate::frame::{FrameSpec, PixelFormat};
use crate::infer::{
    Covers, Dim, ExtractorSpec, Graph, Grid, InferError, MANIFEST_FORMAT, Manifest, ModelSpec, sha256_hex,
};
use crate::segment::SEGMENT_FRAMES;
use crate::weights::read_pickle;
use std::time::Duration;

/// Version of the arithmetic: features of another version are not comparable.
const VERSION: &str = "1";
/// Side of the picture that the network was trained on, pixels.
const SIDE: usize = 224;
/// Kinetics' clips were decoded at 25 frames a second for the training (Carreira & Zisserman 2017, section 4):
/// at another rate, everything moves at another speed than the network has learned.
const FPS: f64 = 25.0;

/// Writes the extractor from the bytes of a checkpoint, which `file` names in messages.
///
/// Input: `frames` u8 `[segments, 16, 224, 224, 3]`, RGB. Output: `features` f32 `[segments, regions, 1024]`,
/// the last map before pooling: the mean over its two time steps on its grid of 7 x 7, or with `whole_frame`
/// also over the grid, which is the published average pool.
///
/// # Errors
/// Where the checkpoint is not I3D's: says what does not fit.
pub fn build(file: &str, checkpoint: &[u8], whole_frame: bool) -> Result<(Manifest, Vec<u8>), InferError> {
    let tensors = read_pickle(file, checkpoint)?;
    tensors.check("Inception-I3D with 400 classes", &network::tensors())?;
    let manifest = manifest(checkpoint, whole_frame);
    let mut g = Graph::new("i3d");
    let segments = Dim::Symbol("segments");
    let dims = [SEGMENT_FRAMES, SIDE, SIDE, 3].map(Dim::Fixed);
    let bytes = g.input_u8("frames", &[&[segments], dims.as_slice()].concat());
    let frames = g.op("Cast", &[&bytes], &[("to", 1.into())]);
    // Bytes 0 to 255 become -1 to 1.
    let (half, one) = (g.scalar(127.5), g.scalar(1.0));
    let frames = g.op("Div", &[&frames, &half], &[]);
    let frames = g.op("Sub", &[&frames, &one], &[]);
    let map = network::last_map(&mut g, &tensors, &frames);
    let grid = grid(whole_frame);
    let over = if whole_frame { vec![2, 3, 4] } else { vec![2] };
    let mean = g.op("ReduceMean", &[&map], &[("axes", over.into()), ("keepdims", 0.into())]);
    let by_region = g.reshape(&mean, &[-1, network::DIMS as i64, grid.regions() as i64]);
    let features = g.op("Transpose", &[&by_region], &[("perm", [0usize, 2, 1].into())]);
    g.output_f32("features", &features, &[segments, Dim::Fixed(grid.regions()), Dim::Fixed(network::DIMS)]);
    let model = g.finish(&manifest);
    Ok((manifest, model))
}

/// Runs one segment of seeded noise through `model`, made of `checkpoint`: how long that took, on one thread.
///
/// # Errors
/// Where the model does not run, gives numbers that are not finite, or, with the published weights, another
/// mean than it gave when this was written.
pub fn check(model: &ExtractorModel, checkpoint: &[u8]) -> Result<Duration, InferError> {
    let (mean, took) = trial(model)?;
    let known = source::known_mean(checkpoint).unwrap_or(mean);
    if (mean - known).abs() <= 1e-3 * known.abs() {
        return Ok(took);
    }
    let problem = format!("its features of a known segment have the mean {mean}, and {known} was expected");
    Err(InferError::new("i3d", problem, "use the ONNX Runtime that `make run` fetches"))
}

fn grid(whole_frame: bool) -> Grid {
    if whole_frame { Grid::WHOLE } else { Grid { rows: SIDE / 32, cols: SIDE / 32 } }
}

fn manifest(checkpoint: &[u8], whole_frame: bool) -> Manifest {
    let sha256 = sha256_hex(checkpoint);
    let regions = if whole_frame { "whole" } else { "7x7" };
    let (licence, provenance) = source::provenance(&sha256);
    Manifest {
        format: MANIFEST_FORMAT,
        name: "i3d".into(),
        // Other weights make other features.
        version: format!("{VERSION}-{}-{regions}", &sha256[..8]),
        licence,
        provenance,
        spec: ModelSpec::Extractor(ExtractorSpec {
            frame: FrameSpec { width: SIDE as u32, height: SIDE as u32, format: PixelFormat::Rgb8, fps: FPS },
            frames: SEGMENT_FRAMES,
            grid: grid(whole_frame),
            covers: Covers::default(),
            dims: network::DIMS,
            channels: network::channels(),
        }),
    }
}

#[cfg(test)]
mod parity;
