//! A scorer from a model file, run by ONNX Runtime.

use super::{Score, Scorer};
use crate::features::Features;
use crate::infer::{InferError, Manifest, ScorerSpec, Session, TensorIn, TensorOut};
use std::path::Path;

/// Segments scored at once; more would only cost memory.
const BATCH: usize = 16;

/// Any model file that describes itself as a scorer.
#[derive(Debug)]
pub struct OnnxScorer {
    session: Session,
    spec: ScorerSpec,
    /// The batch's features, one after the other.
    input: Vec<f32>,
}

impl OnnxScorer {
    /// Loads a scorer file; `extractor` describes where the features will come from. Refuses a scorer that
    /// was learned from another extractor, grid or number of dimensions.
    pub fn load(path: &Path, extractor: &Manifest) -> Result<Self, InferError> {
        let session = Session::load(path)?;
        session.manifest().check_learned_from(session.model(), extractor)?;
        Self::new(session)
    }

    /// A scorer from a session whose features are known to fit.
    pub fn new(session: Session) -> Result<Self, InferError> {
        let spec = session.manifest().scorer(session.model())?.clone();
        Ok(Self { session, spec, input: Vec::new() })
    }

    pub fn manifest(&self) -> &Manifest {
        self.session.manifest()
    }

    /// Of the model file, lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        self.session.sha256()
    }

    fn score_batch(&mut self, features: &[&Features]) -> Result<Vec<Score>, InferError> {
        let (regions, dims) = (self.spec.grid.regions(), self.spec.dims);
        self.input.clear();
        for f in features {
            if f.regions != regions || f.dims != dims || f.values.len() != regions * dims {
                return Err(self.problem(format!(
                    "it takes {regions} regions of {dims} numbers, and the features have {} of {} ({} numbers)",
                    f.regions,
                    f.dims,
                    f.values.len()
                )));
            }
            self.input.extend_from_slice(&f.values);
        }
        let shape = [features.len(), regions, dims];
        let outputs = self.session.run(TensorIn::F32 { dims: &shape, data: &self.input })?;
        let scores = self.output(&outputs, "score", features.len())?;
        let maps = self.output(&outputs, "regions", features.len() * regions)?;
        Ok(scores
            .iter()
            .zip(maps.chunks_exact(regions))
            .map(|(value, map)| Score { value: *value, regions: map.to_vec() })
            .collect())
    }

    fn output<'a>(&self, outputs: &'a [TensorOut], name: &str, size: usize) -> Result<&'a [f32], InferError> {
        let found = outputs.iter().find(|o| o.name == name).map(|o| o.data.as_slice());
        found
            .filter(|data| data.len() == size)
            .ok_or_else(|| self.problem(format!("its output `{name}` does not hold {size} numbers")))
    }

    fn problem(&self, problem: String) -> InferError {
        InferError::new(self.session.model(), problem, "learn again with the extractor that is in use")
    }
}

impl Scorer for OnnxScorer {
    fn spec(&self) -> &ScorerSpec {
        &self.spec
    }

    fn score(&mut self, features: &[&Features]) -> Result<Vec<Score>, InferError> {
        let mut scores = Vec::with_capacity(features.len());
        for batch in features.chunks(BATCH) {
            scores.extend(self.score_batch(batch)?);
        }
        Ok(scores)
    }
}
