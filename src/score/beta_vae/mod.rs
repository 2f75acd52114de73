//! The beta-VAE as a scorer: how badly a vector is rebuilt from few latents, and how far off these lie.
//!
//! Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework" (ICLR
//! 2017). Reconstruction and divergence are kept apart to the end: the one rises where a vector is unlike all
//! that was seen, the other where it is like it but extreme, and each says which latents moved.

mod disentanglement;
mod graph;
mod network;

pub use disentanglement::{Draws, disentanglement};
pub use graph::{BetaVae, Standard};
pub use network::{MOST_LOG_VARIANCE, Vae};
