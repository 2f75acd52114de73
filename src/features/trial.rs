//! A first run of an extractor that was made just now.

use super::ExtractorModel;
use crate::base::Timestamp;
use crate::frame::Stamp;
use crate::infer::InferError;
use crate::segment::{SEGMENT_FRAMES, Segment};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Opens `model` as the daemon would, and runs one segment of seeded noise through it: the mean of its features, and
/// how long that took on one thread.
///
/// # Errors
/// Where the model does not run, or gives numbers that are not finite.
pub fn trial(model: &ExtractorModel) -> Result<(f32, Duration), InferError> {
    let mut extractor = model.open()?;
    let zero = Duration::ZERO;
    let stamp = Stamp { seq: 0, pts: zero, wall: Timestamp::UNIX_EPOCH, received: zero };
    let frames = noise(model.spec().frame.frame_bytes());
    let segment = Segment { index: 0, run: 0, start: stamp, end: stamp, frames };
    let began = Instant::now();
    let features = extractor.extract(&[&segment])?.remove(0).values;
    let took = began.elapsed();
    if features.iter().all(|f| f.is_finite()) {
        return Ok((features.iter().sum::<f32>() / features.len() as f32, took));
    }
    let problem = "its features of a segment of noise are not finite";
    Err(InferError::new(
        model.manifest().id(),
        problem,
        "name other weights, or scale the pictures as they need it",
    ))
}

/// The frames of a segment of uniform noise, the same every time (SplitMix64).
fn noise(bytes: usize) -> Vec<Arc<[u8]>> {
    let mut state = 0u64;
    let mut byte = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb).to_be_bytes()[0]
    };
    (0..SEGMENT_FRAMES).map(|_| (0..bytes).map(|_| byte()).collect()).collect()
}
