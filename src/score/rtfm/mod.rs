//! RTFM: weakly supervised scores, learned from clips that are labelled as wholes.
//!
//! Tian et al., "Weakly-supervised Video Anomaly Detection with Robust Temporal Feature Magnitude Learning", ICCV 2021.
//! The layers and widths are those of the authors' code; what is made causal is said at each.

mod graph;
mod network;
#[cfg(test)]
mod reference;

pub use graph::{CLIP, RtfmModel};
pub use network::{CONV_TAPS, DILATIONS, Rtfm};
#[cfg(test)]
pub(crate) use reference::{Padding, logits};
