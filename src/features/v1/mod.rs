//! V1 energy: motion and texture as the first visual cortex measures them, without a single learned weight.

mod bank;
mod cells;
mod graph;
mod graphs;
mod parts;
#[cfg(test)]
mod reference;
mod spatial;
mod temporal;
mod vectors;

pub use bank::V1Params;
pub use cells::kernels;
pub use graph::build;
pub use parts::{Parts, PartsExtractor};
