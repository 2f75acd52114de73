//! The k-diffusion denoiser as a scorer: how badly a noised feature vector finds back to what it was.
//!
//! Tur et al., "Exploring Diffusion Models for Unsupervised Video Anomaly Detection" (ICIP 2023), on Karras
//! et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022). Pure arithmetic: the
//! weights come from `train`, and ONNX Runtime does the running.
//!
//! The authors score one vector of the whole picture; here that is the case of one region.

mod draws;
mod film;
mod graph;
mod network;
mod precondition;
mod sampler;
mod schedule;

pub use crate::config::Sampler;
pub use draws::opposed;
pub use film::{Conditioning, Embedding, Modulation, noise_embedding};
pub use graph::Denoiser;
pub use network::{Network, Widths};
pub use precondition::Scalings;
pub use sampler::{Plan, Point, Stage};
pub use schedule::{ends, karras, start_at};
