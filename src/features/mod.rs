//! Segment -> Features: one vector for each region of the picture.

pub mod i3d;
pub mod kernels;
pub mod nets;
mod onnx;
mod trial;
pub mod v1;

pub use onnx::{DEADLINE, ExtractorModel, OnnxExtractor};
pub use trial::trial;

use crate::infer::ExtractorSpec;
use crate::segment::Segment;

/// What an extractor saw in one segment: `regions` vectors of `dims` numbers, region by region.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    pub regions: usize,
    pub dims: usize,
    /// `regions * dims` numbers.
    pub values: Vec<f32>,
}

/// Turns segments into features. One instance belongs to one thread.
pub trait Extractor: Send {
    fn spec(&self) -> &ExtractorSpec;
    /// One result a segment, in order.
    fn extract(&mut self, segments: &[&Segment]) -> Result<Vec<Features>, crate::infer::InferError>;
}
