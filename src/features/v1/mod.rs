//! V1 energy: motion and texture as the first visual cortex measures them, without a single learned weight.

mod bank;
mod graph;
#[cfg(test)]
mod reference;

pub use bank::V1Params;
pub use graph::build;
