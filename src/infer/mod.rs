//! The ONNX room: writing graphs, describing models, running sessions. The only importer of `ort`.

mod manifest;

pub use manifest::{
    Calibration, Covers, ExtractorSpec, Grid, MANIFEST_FORMAT, MANIFEST_KEY, Manifest, ModelSpec, ScorerSpec,
};

/// Why a model cannot be loaded or run; says which file, what is wrong and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{model}: {problem} ({remedy})")]
pub struct InferError {
    /// File or name of the model (or of the ONNX Runtime library).
    pub model: String,
    pub problem: String,
    pub remedy: String,
}
