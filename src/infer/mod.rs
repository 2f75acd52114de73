//! The ONNX room: writing graphs, describing models, running sessions. The only importer of `ort`.

mod breaker;
mod first_layer;
mod graph;
mod manifest;
mod normal;
mod provider;
mod runtime;
mod session;
mod watchdog;

pub use first_layer::{Convolution, first_convolution};
pub use graph::{Attr, Dim, Graph, Value};
pub use manifest::{
    Calibration, Correlation, Covers, ExtractorSpec, FactorSpec, Grid, MANIFEST_FORMAT, MANIFEST_KEY,
    Manifest, ModelSpec, Sampling, ScorerSpec, StateSpec,
};
pub use normal::{Normal, NormalSpec};
pub use runtime::{Runner, TensorIn, TensorOut, init, library, require};
pub use session::{Session, describe, read_model, sha256_hex};

/// Why a model cannot be loaded or run; says which file, what is wrong and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{model}: {problem} ({remedy})")]
pub struct InferError {
    /// File or name of the model (or of the ONNX Runtime library).
    pub model: String,
    pub problem: String,
    pub remedy: String,
}

impl InferError {
    pub fn new(model: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { model: model.into(), problem: problem.into(), remedy: remedy.into() }
    }
}

#[cfg(test)]
pub(crate) use manifest::tests::{
    extractor_manifest as extractor_manifest_for_tests, scorer_manifest as scorer_manifest_for_tests,
};

/// Loads the ONNX Runtime library for unit tests: `SIGMAWATCH_ORT_LIB`, else the one that `make` fetches.
#[cfg(test)]
pub(crate) fn init_for_tests() {
    init(&library_for_tests()).expect("ONNX Runtime for the tests: `make test` fetches it");
}

#[cfg(test)]
pub(crate) fn library_for_tests() -> std::path::PathBuf {
    std::env::var_os("SIGMAWATCH_ORT_LIB").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/libonnxruntime.so"),
        std::path::PathBuf::from,
    )
}
