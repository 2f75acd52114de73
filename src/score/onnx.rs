//! A scorer from a model file, run by ONNX Runtime.

use super::{Score, Scorer, Seen};
use crate::features::Features;
use crate::infer::{InferError, Manifest, ScorerSpec, Session, StateSpec, TensorIn, TensorOut};
use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

/// Segments scored at once; more would only cost memory.
const BATCH: usize = 16;

/// A scorer's run on a batch is stopped after this where others wait for it.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Any model file that describes itself as a scorer.
#[derive(Debug)]
pub struct OnnxScorer {
    session: Session,
    spec: ScorerSpec,
    /// The batch's state, tensor by tensor.
    state: Vec<Vec<f32>>,
}

impl OnnxScorer {
    /// Loads a scorer file, whose runs are stopped after [`DEADLINE`]; `extractor` describes where the features will
    /// come from. Refuses a scorer that was learned from another extractor, grid or number of dimensions.
    pub fn load(path: &Path, extractor: &Manifest) -> Result<Self, InferError> {
        let session = Session::load(path)?.within(DEADLINE);
        session.manifest().check_learned_from(session.model(), extractor)?;
        Self::new(session)
    }

    /// A scorer from a session whose features are known to fit.
    pub fn new(session: Session) -> Result<Self, InferError> {
        let spec = session.manifest().scorer(session.model())?.clone();
        let state = vec![Vec::new(); spec.state.len()];
        Ok(Self { session, spec, state })
    }

    /// Scores two segments of features that mean nothing: whether it runs, and gives what its manifest says.
    pub fn trial(&mut self) -> Result<(), InferError> {
        let (regions, dims) = (self.spec.grid.regions(), self.spec.dims);
        let values = (0..regions * dims).map(|i| (i * 7919 % 1000) as f32 / 1000.0).collect();
        let features = Features { regions, dims, values };
        let mut memories = [self.begin(), self.begin()];
        let mut seen: Vec<Seen> =
            memories.iter_mut().map(|memory| Seen { features: &features, memory }).collect();
        self.score(&mut seen).map(drop)
    }

    pub fn manifest(&self) -> &Manifest {
        self.session.manifest()
    }

    /// Of the model file, lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        self.session.sha256()
    }

    fn score_batch(&mut self, batch: &mut [Seen<'_>]) -> Result<Vec<Score>, InferError> {
        let (regions, dims) = (self.spec.grid.regions(), self.spec.dims);
        self.state.iter_mut().for_each(Vec::clear);
        for Seen { features: f, memory } in &*batch {
            if f.regions != regions || f.dims != dims || f.values.len() != regions * dims {
                return Err(self.problem(format!(
                    "it takes {regions} regions of {dims} numbers, and the features have {} of {} ({} numbers)",
                    f.regions,
                    f.dims,
                    f.values.len()
                )));
            }
            let sizes = self.spec.state.iter().map(StateSpec::size);
            if !memory.state.iter().map(Vec::len).eq(sizes) {
                return Err(self.problem("what is remembered of the stream is another model's".into()));
            }
            self.state.iter_mut().zip(&memory.state).for_each(|(all, one)| all.extend_from_slice(one));
        }
        let n = batch.len();
        let shapes: Vec<Vec<usize>> = std::iter::once([regions, dims].as_slice())
            .chain(self.spec.state.iter().map(|s| s.shape.as_slice()))
            .map(|shape| [&[n], shape].concat())
            .collect();
        // Nearly always it is one, which needs no copy.
        let features: Cow<[f32]> = match &*batch {
            [one] => Cow::Borrowed(&one.features.values),
            many => many.iter().flat_map(|one| &one.features.values).copied().collect(),
        };
        let data = std::iter::once(&*features).chain(self.state.iter().map(Vec::as_slice));
        let inputs: Vec<TensorIn> =
            shapes.iter().zip(data).map(|(dims, data)| TensorIn::F32 { dims, data }).collect();
        let outputs = self.session.run_remembering(&inputs)?;
        let scores = self.output(&outputs, "score", n)?;
        let maps = self.output(&outputs, "regions", n * regions)?;
        for (tensor, spec) in self.spec.state.iter().enumerate() {
            let next = self.output(&outputs, &spec.next(), n * spec.size())?;
            for (Seen { memory, .. }, next) in batch.iter_mut().zip(next.chunks_exact(spec.size())) {
                memory.state[tensor].copy_from_slice(next);
            }
        }
        for Seen { memory, .. } in batch {
            // One segment that is not finite must not spoil every score after it.
            if memory.state.iter().flatten().any(|v| !v.is_finite()) {
                **memory = self.begin();
            }
        }
        let factors = self.spec.factors.len();
        let contributions = match factors {
            0 => &[],
            _ => self.output(&outputs, "factors", n * factors)?,
        };
        let score = |i: usize| Score {
            value: scores[i],
            regions: maps[i * regions..][..regions].to_vec(),
            factors: contributions[i * factors..][..factors].to_vec(),
        };
        Ok((0..n).map(score).collect())
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

    fn score(&mut self, batch: &mut [Seen<'_>]) -> Result<Vec<Score>, InferError> {
        let mut scores = Vec::with_capacity(batch.len());
        for batch in batch.chunks_mut(BATCH) {
            scores.extend(self.score_batch(batch)?);
        }
        Ok(scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Features;
    use crate::infer::{Dim, Graph, ModelSpec};
    use crate::score::Memory;

    /// Scores the sum of all features of a stream so far.
    fn adder() -> OnnxScorer {
        crate::infer::init_for_tests();
        let mut manifest = crate::infer::scorer_manifest_for_tests();
        if let ModelSpec::Scorer(spec) = &mut manifest.spec {
            spec.state = vec![StateSpec { name: "sum".into(), shape: vec![6] }];
        }
        let n = Dim::Symbol("segments");
        let mut g = Graph::new("adder");
        let x = g.input_f32("features", &[n, Dim::Fixed(6), Dim::Fixed(2)]);
        let sum = g.input_f32("sum", &[n, Dim::Fixed(6)]);
        let last = g.ints(&[2]);
        let now = g.op("ReduceSum", &[&x, &last], &[("keepdims", 0.into())]);
        let sum = g.op("Add", &[&sum, &now], &[]);
        let score = g.op("ReduceMax", &[&sum], &[("axes", [1i64].into()), ("keepdims", 0.into())]);
        g.output_f32("score", &score, &[n]);
        g.output_f32("regions", &sum, &[n, Dim::Fixed(6)]);
        g.output_f32("sum_next", &sum, &[n, Dim::Fixed(6)]);
        let session = Session::from_bytes("adder", &g.finish(&manifest)).expect("loads");
        OnnxScorer::new(session).expect("a scorer")
    }

    fn features(value: f32) -> Features {
        Features { regions: 6, dims: 2, values: vec![value; 12] }
    }

    #[test]
    fn every_stream_is_remembered_by_itself() {
        let mut scorer = adder();
        assert!(scorer.remembers());
        let [one, ten] = [features(0.5), features(5.0)];
        let (mut a, mut b) = (scorer.begin(), scorer.begin());
        for step in 1..=3 {
            let batch =
                &mut [Seen { features: &one, memory: &mut a }, Seen { features: &ten, memory: &mut b }];
            let found = scorer.score(batch).expect("scores");
            assert_eq!([found[0].value, found[1].value], [step as f32, 10.0 * step as f32]);
        }
        let run: Vec<f32> =
            scorer.score_run(&[&one, &ten, &one]).expect("scores").iter().map(|s| s.value).collect();
        assert_eq!(run, [1.0, 11.0, 12.0], "and begins anew");
    }

    #[test]
    fn one_bad_segment_does_not_spoil_the_next_ones() {
        let mut scorer = adder();
        let (bad, good) = (features(f32::NAN), features(0.5));
        let found = scorer.score_run(&[&good, &bad, &good]).expect("scores");
        assert!(!found[1].is_finite());
        assert_eq!(found[2].value, 1.0);
    }

    #[test]
    fn the_memory_of_another_model_is_refused() {
        let error = adder().score(&mut [Seen { features: &features(1.0), memory: &mut Memory::default() }]);
        assert!(error.expect_err("refused").to_string().contains("is another model's"));
    }
}
