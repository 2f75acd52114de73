//! A first run of an extractor that was made just now.

use super::ExtractorModel;
use crate::infer::{InferError, Session, TensorIn};
use std::time::{Duration, Instant};

/// Opens `model` and runs one segment of seeded noise through it: the mean of its features, and how long that took on
/// one thread. There is no deadline: the machine may be busy now, and idle when it counts.
///
/// # Errors
/// Where the model does not run, or gives numbers that are not finite.
pub fn trial(model: &ExtractorModel) -> Result<(f32, Duration), InferError> {
    let name = model.manifest().id();
    let mut session = Session::from_bytes(&name, model.bytes())?;
    let spec = model.spec();
    let (frame, channels) = (&spec.frame, spec.frame.format.bytes_per_pixel());
    let dims = [1, spec.frames, frame.height as usize, frame.width as usize, channels];
    let noise = noise(dims.iter().product());
    let began = Instant::now();
    let outputs = session.run(TensorIn::U8 { dims: &dims, data: &noise })?;
    let took = began.elapsed();
    let refuse = |problem: &str, remedy: &str| Err(InferError::new(&name, problem, remedy));
    match outputs.iter().find(|output| output.name == "features") {
        Some(features) if features.data.iter().all(|f| f.is_finite()) => {
            Ok((features.data.iter().sum::<f32>() / features.data.len() as f32, took))
        }
        Some(_) => refuse(
            "its features of a segment of noise are not finite",
            "name other weights, or scale the pictures as these need it",
        ),
        None => refuse("it gave no `features`", "this is a fault of the program"),
    }
}

/// Uniform noise, the same every time (SplitMix64).
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0u64;
    let mut byte = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb).to_be_bytes()[0]
    };
    (0..bytes).map(|_| byte()).collect()
}
