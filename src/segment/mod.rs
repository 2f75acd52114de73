//! Frame -> Segment: exactly 16 frames of one unbroken run.

mod cells;
mod damage;
mod media_clock;
mod picture;
mod scene;
mod segmenter;

pub use damage::DamageWatch;
pub use media_clock::MediaClock;
pub use picture::{Look, PictureState, PictureWatch};
pub use scene::{SceneChange, SceneWatch};
pub use segmenter::Segmenter;

use crate::frame::Stamp;
use std::sync::Arc;

/// Frames in a segment, as in the method's papers.
pub const SEGMENT_FRAMES: usize = 16;

/// Segments that are learned from start at least so many frames apart: nearer ones are much alike, and only
/// cost memory and time.
const LEARNING_STRIDE: usize = 4;

/// The stride of the segments that are learned from, where those that are watched have `stride`.
pub fn learning_stride(stride: usize) -> usize {
    stride * LEARNING_STRIDE.div_ceil(stride)
}

/// What the extractors look at.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Counts the segments of a camera.
    pub index: u64,
    pub run: u64,
    /// First and last frame.
    pub start: Stamp,
    pub end: Stamp,
    /// The whole picture changed meanwhile ([`SceneWatch`]): its score says nothing about the scene.
    pub unsettled: bool,
    /// A frame of it was made of damaged or incomplete data ([`crate::frame::Frame::damaged`]): what its score says may
    /// be about that.
    pub damaged: bool,
    /// `SEGMENT_FRAMES` pictures, oldest first.
    pub frames: Vec<Arc<[u8]>>,
}
