//! The whole course of learning, from features to a calibrated model file.

use super::method::{self, Say, Task, Trained};
use super::normal::normal;
use super::signals::Signals;
use super::split::{BLOCKS, Split, splits};
use super::{Flow, LEAST_SEGMENTS, LearnConfig, LearnError, Learned, Progress, Report, Sample, TrainingSet};
use crate::config::Method;
use crate::features::Features;
use crate::infer::{Calibration, FactorSpec, MANIFEST_FORMAT, Manifest, ModelSpec, ScorerSpec, Session};
use crate::score::{OnnxScorer, Scorer};
use crate::segment::SEGMENT_FRAMES;

/// Seconds within which segments may share frames, where the frame rate is not known.
const GUARD_SECONDS: f64 = 2.0;
/// Threads that score.
const THREADS: usize = 2;

/// Shares of the progress: where training begins and ends each time.
const FIRST: (f64, f64) = (0.02, 0.73);
const SECOND: (f64, f64) = (0.75, 0.99);

/// Learns a scorer from one camera's features. The same set and config give the same bytes.
///
/// ONNX Runtime must have been loaded ([`crate::infer::init`]). `progress` is told how far it is, and says
/// whether to go on.
pub fn learn(
    mut set: TrainingSet,
    config: &LearnConfig,
    progress: &mut dyn FnMut(Progress) -> Flow,
) -> Result<Learned, LearnError> {
    let dims = check(&set, &config.masked)?;
    set.samples.sort_by(|a, b| a.time.total_cmp(&b.time));
    let mut say = |share: f64, step: &'static str| match progress(Progress { progress: share, step }) {
        Flow::Continue => Ok(()),
        Flow::Cancel => Err(LearnError::Cancelled),
    };
    say(0.0, "whitening the features")?;
    let guard = set.sampling.as_ref().map_or(GUARD_SECONDS, |s| 1.25 * SEGMENT_FRAMES as f64 / s.frame.fps);
    let parts = splits(&set.samples, guard);
    if parts.iter().any(|p| p.learn.len() < LEAST_SEGMENTS / 2 || p.left_out.is_empty()) {
        return Err(LearnError::TooLittle { found: set.samples.len() });
    }

    let trainer = Trainer { set: &set, dims, config };
    let mut scores = vec![0.0; set.samples.len()];
    for (block, part) in parts.iter().enumerate() {
        let model = without(&trainer, part, &mut |share| {
            let share = (block as f64 + share) / BLOCKS as f64;
            say(FIRST.0 + share * (FIRST.1 - FIRST.0), "training without a block of time")
        })?;
        for (i, score) in part.left_out.iter().zip(score(&model, &pick(&set, &part.left_out))?) {
            scores[*i] = score;
        }
    }
    say(FIRST.1, "dropping the most suspicious segments")?;
    let kept = least_suspicious(&scores, config.drop);
    let last = trainer.train(&pick(&set, &kept), &mut |share| {
        say(SECOND.0 + share * (SECOND.1 - SECOND.0), "training on what is left")
    })?;
    let mut calibration = calibrate_on(kept.iter().map(|i| scores[*i]).collect());
    let begun = set.samples[0].time;
    // To the millisecond: anything finer is noise of the sum.
    let after = |time: f64| ((time - begun) * 1000.0).round() / 1000.0;
    calibration.course = set.samples.iter().zip(&scores).map(|(s, score)| (after(s.time), *score)).collect();
    let report = Report {
        segments: set.samples.len(),
        seconds: set.samples[set.samples.len() - 1].time - set.samples[0].time,
        learned_from: kept.len(),
        dropped: set.samples.len() - kept.len(),
        calibrated_on: calibration.scores.len(),
        parameters: last.parameters,
        loss: last.loss,
        mu: calibration.mu,
        sigma: calibration.sigma,
        config: config.clone(),
    };
    let facts = serde_json::to_value(&report).expect("a report has only string keys");
    let mut manifest = trainer.manifest(calibration, facts);
    if let ModelSpec::Scorer(spec) = &mut manifest.spec {
        let kept = pick(&set, &kept);
        spec.factors = trainer.factors(&kept, &last)?;
        spec.normal = normal(&kept.iter().map(|sample| &sample.features).collect::<Vec<_>>());
    }
    let bytes = last.model.to_onnx(&manifest);
    say(1.0, "done")?;
    Ok(Learned { bytes, manifest, report })
}

/// Numbers a region, where the set can be learned from at all.
fn check(set: &TrainingSet, masked: &[usize]) -> Result<usize, LearnError> {
    let found = set.samples.len();
    if found < LEAST_SEGMENTS {
        return Err(LearnError::TooLittle { found });
    }
    let regions = set.grid.regions();
    if masked.len() >= regions || masked.iter().any(|region| *region >= regions) {
        return Err(LearnError::Masked { masked: masked.len(), regions });
    }
    let dims = set.samples[0].features.dims;
    let expected = set.grid.regions() * dims;
    for (segment, sample) in set.samples.iter().enumerate() {
        let Features { regions, dims: d, values } = &sample.features;
        if *regions != set.grid.regions() || *d != dims || values.len() != expected || dims == 0 {
            return Err(LearnError::Mixed { segment, found: values.len(), expected });
        }
        if values.iter().any(|v| !v.is_finite()) {
            return Err(LearnError::NotFinite { segment, time: sample.time });
        }
    }
    Ok(dims)
}

pub(super) fn uncalibrated() -> Calibration {
    Calibration { mu: 0.0, sigma: 0.0, scores: Vec::new(), course: Vec::new() }
}

fn pick<'a>(set: &'a TrainingSet, indices: &[usize]) -> Vec<&'a Sample> {
    indices.iter().map(|i| &set.samples[*i]).collect()
}

/// A model, as a file's bytes, that has never seen the block of time that `part` leaves out.
fn without(trainer: &Trainer, part: &Split, progress: &mut Say) -> Result<Vec<u8>, LearnError> {
    let trained = trainer.train(&pick(trainer.set, &part.learn), progress)?;
    Ok(trained.model.to_onnx(&trainer.manifest(uncalibrated(), serde_json::Value::Null)))
}

/// Indices of all but the share `drop` with the highest scores, in their order.
fn least_suspicious(scores: &[f32], drop: f64) -> Vec<usize> {
    let mut ranked: Vec<f32> = scores.to_vec();
    ranked.sort_by(f32::total_cmp);
    let keep = scores.len() - (scores.len() as f64 * drop) as usize;
    let limit = ranked[keep - 1];
    (0..scores.len()).filter(|i| scores[*i] <= limit).collect()
}

/// Mean and standard deviation of the scores.
pub(super) fn calibrate_on(scores: Vec<f32>) -> Calibration {
    let n = scores.len() as f64;
    let mu = scores.iter().map(|s| f64::from(*s)).sum::<f64>() / n;
    let variance = scores.iter().map(|s| (f64::from(*s) - mu).powi(2)).sum::<f64>() / (n - 1.0);
    Calibration { mu, sigma: variance.sqrt(), scores, course: Vec::new() }
}

/// Scores of samples by a model file's bytes, in order; by ONNX Runtime as in the daemon.
fn score(model: &[u8], samples: &[&Sample]) -> Result<Vec<f32>, LearnError> {
    let part = samples.len().div_ceil(THREADS);
    let run = |samples: &[&Sample]| -> Result<Vec<f32>, LearnError> {
        let mut scorer = OnnxScorer::new(Session::from_bytes("the model in training", model)?)?;
        let features: Vec<&Features> = samples.iter().map(|s| &s.features).collect();
        Ok(scorer.score_run(&features)?.iter().map(|s| s.value).collect())
    };
    let parts = std::thread::scope(|scope| {
        let threads: Vec<_> = samples.chunks(part).map(|c| scope.spawn(move || run(c))).collect();
        threads.into_iter().map(|t| t.join().expect("scoring does not panic")).collect::<Vec<_>>()
    });
    let mut scores = Vec::with_capacity(samples.len());
    for part in parts {
        scores.extend(part?);
    }
    Ok(scores)
}

struct Trainer<'a> {
    set: &'a TrainingSet,
    dims: usize,
    config: &'a LearnConfig,
}

impl Trainer<'_> {
    /// Trains anew.
    fn train(&self, samples: &[&Sample], say: &mut Say) -> Result<Trained, LearnError> {
        self.on(samples, |task| method::train(task, say))
    }

    /// What there is to say of a model's factors.
    fn factors(&self, samples: &[&Sample], trained: &Trained) -> Result<Vec<FactorSpec>, LearnError> {
        let signals = Signals::new(self.set);
        self.on(samples, |task| trained.model.factors(task, &signals))
    }

    fn on<T>(&self, samples: &[&Sample], work: impl FnOnce(&Task) -> T) -> T {
        let Trainer { set, dims, config } = *self;
        let manifest = &self.manifest(uncalibrated(), serde_json::Value::Null);
        work(&Task { samples, grid: set.grid, dims, config, manifest })
    }

    fn manifest(&self, calibration: Calibration, training: serde_json::Value) -> Manifest {
        let spec = ScorerSpec {
            extractor: self.set.extractor.clone(),
            sampling: self.set.sampling.clone(),
            grid: self.set.grid,
            dims: self.dims,
            state: vec![],
            calibration,
            factors: vec![],
            normal: None,
            training,
        };
        manifest(self.config.method, self.set.samples.len(), spec)
    }
}

/// What the file of a scorer says of itself that was learned from so many segments.
pub(super) fn manifest(method: Method, segments: usize, spec: ScorerSpec) -> Manifest {
    Manifest {
        format: MANIFEST_FORMAT,
        name: method.name().into(),
        version: "1".into(),
        licence: "LicenseRef-learned-in-place".into(),
        provenance: format!(
            "learned in place from {segments} segments by {} {}",
            env!("CARGO_PKG_NAME"),
            env!("CARGO_PKG_VERSION")
        ),
        spec: ModelSpec::Scorer(spec),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{by, training_set};
    use super::*;
    use crate::config::Method;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// Whatever happens in a block that is left out, the model that calibrates it is the same.
    #[test]
    fn calibration_is_on_time_that_the_model_never_saw() {
        crate::infer::init_for_tests();
        let plain = training_set(160);
        let parts = splits(&plain.samples, GUARD_SECONDS);
        for (method, part) in Method::in_place().flat_map(|m| parts.iter().map(move |p| (m, p))) {
            let config = LearnConfig { steps: 10, ..by(method) };
            let model = |set: &TrainingSet| {
                let trainer = Trainer { set, dims: set.samples[0].features.dims, config: &config };
                without(&trainer, part, &mut |_| Ok(())).expect("learns")
            };
            let mut changed = training_set(160);
            let mut rng = StdRng::seed_from_u64(5);
            for i in &part.left_out {
                changed.samples[*i].features.values.iter_mut().for_each(|v| *v *= rng.random_range(1.0..3.0));
            }
            let (before, after) = (model(&plain), model(&changed));
            assert_eq!(before, after, "{method}");
            let mean = |set: &TrainingSet| {
                let scores = score(&before, &pick(set, &part.left_out)).expect("scores");
                scores.iter().sum::<f32>() / scores.len() as f32
            };
            assert!(mean(&changed) > mean(&plain) + 0.1, "{method}: and it does see what changed");
        }
    }
}
