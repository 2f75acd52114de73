//! The scoring stage: one thread owns every camera's scorer and runs one batch a model.

use super::extract::Extracted;
use super::lane::{LaneSender, Received, receive};
use super::pulse::Pulse;
use crate::alert::ModelRef;
use crate::features::Features;
use crate::infer::InferError;
use crate::score::{Memory, Score, Scorer, Seen};
use crate::segment::Segment;
use crate::telemetry::{Metrics, Stage};
use crossbeam_channel::Receiver;
use std::sync::Arc;
use std::time::Instant;

/// Segments scored together at most: beyond this a batch only adds delay.
const BATCH: usize = 32;

/// A scorer and the name of the file it came from.
pub struct Armed {
    pub scorer: Box<dyn Scorer>,
    /// For people, for example `v1+diffusion`.
    pub method: String,
    pub model: ModelRef,
    /// Of the threshold: from the scorer's calibration and the camera's k.
    pub threshold: crate::threshold::Threshold,
}

/// The threshold and model that a score was made under; shared by all scores of that model.
pub struct Arming {
    pub model: ModelRef,
    pub threshold: crate::threshold::Threshold,
    pub method: String,
    pub grid: crate::infer::Grid,
}

/// What goes on to the desk: features always, a score once the camera is armed.
pub struct Scored {
    pub camera: usize,
    pub segment: Segment,
    pub features: Result<Features, InferError>,
    pub score: Option<Judged>,
}

/// A score, or why there is none, and what it was made under.
pub type Judged = (Result<Score, InferError>, Arc<Arming>);

/// A camera's new scorer; it serves from the next segment on.
pub struct Arm {
    pub camera: usize,
    pub armed: Armed,
}

/// A model in use, and the cameras that use it.
struct Model {
    scorer: Box<dyn Scorer>,
    arming: Arc<Arming>,
    /// Of the camera's own stream, whichever camera's copy of the scorer runs the batch.
    memory: Memory,
    /// The unbroken run that it is of.
    run: Option<u64>,
}

/// Scores until the lane closes. Cameras that share a model file share its batch.
pub fn work(
    lane: &Receiver<Extracted>,
    arms: &Receiver<Arm>,
    cameras: usize,
    next: &LaneSender<Scored>,
    metrics: &Metrics,
    pulse: &Pulse,
) {
    let mut models: Vec<Option<Model>> = (0..cameras).map(|_| None).collect();
    loop {
        pulse.beat();
        let first = match receive(lane) {
            Received::Message(first) => first,
            Received::Nothing => {
                arm(&mut models, arms);
                continue;
            }
            Received::Closed => return,
        };
        arm(&mut models, arms);
        let mut batch = vec![first];
        batch.extend(lane.try_iter().take(BATCH - 1));
        let began = Instant::now();
        let scored = score(&mut models, batch);
        metrics.stage(Stage::Score, began.elapsed());
        for scored in scored {
            if !next.send(scored, &|| pulse.beat()) {
                return;
            }
        }
    }
}

fn arm(models: &mut [Option<Model>], arms: &Receiver<Arm>) {
    for Arm { camera, armed } in arms.try_iter() {
        let spec = armed.scorer.spec();
        let arming = Arc::new(Arming {
            model: armed.model,
            threshold: armed.threshold,
            method: armed.method,
            grid: spec.grid,
        });
        let memory = armed.scorer.begin();
        models[camera] = Some(Model { scorer: armed.scorer, arming, memory, run: None });
    }
}

/// Scores a batch, one run for each distinct model, and gives it back in its own order.
fn score(models: &mut [Option<Model>], batch: Vec<Extracted>) -> Vec<Scored> {
    let mut scores: Vec<Option<Judged>> = batch.iter().map(|_| None).collect();
    let model_of = |models: &[Option<Model>], extracted: &Extracted| -> Option<String> {
        extracted.features.as_ref().ok()?;
        models[extracted.camera].as_ref().map(|model| model.arming.model.sha256.clone())
    };
    let keys: Vec<Option<String>> = batch.iter().map(|extracted| model_of(models, extracted)).collect();
    for at in 0..batch.len() {
        let Some(key) = &keys[at] else { continue };
        if scores[at].is_some() {
            continue;
        }
        // Everything in the batch that the same model file scores.
        let together: Vec<usize> =
            (at..batch.len()).filter(|other| keys[*other].as_ref() == Some(key)).collect();
        for wave in waves(models, &batch, together) {
            let results = score_wave(models, &batch, &wave);
            for (member, result) in wave.into_iter().zip(results) {
                // Each camera has its own k, so its own arming, even where the model is shared.
                let arming =
                    models[batch[member].camera].as_ref().expect("a key means a model").arming.clone();
                scores[member] = Some((result, arming));
            }
        }
    }
    let scored = |(extracted, score): (Extracted, _)| Scored {
        camera: extracted.camera,
        segment: extracted.segment,
        features: extracted.features,
        score,
    };
    batch.into_iter().zip(scores).map(scored).collect()
}

/// What can be scored at once: everything, unless the model remembers. Then a camera's segments wait for each
/// other, since each needs what the one before it left.
fn waves(models: &[Option<Model>], batch: &[Extracted], members: Vec<usize>) -> Vec<Vec<usize>> {
    let model = models[batch[members[0]].camera].as_ref().expect("a key means a model");
    if !model.scorer.remembers() {
        return vec![members];
    }
    let mut waves: Vec<Vec<usize>> = Vec::new();
    for (i, member) in members.iter().enumerate() {
        let camera = batch[*member].camera;
        let before = members[..i].iter().filter(|other| batch[**other].camera == camera).count();
        match waves.get_mut(before) {
            Some(wave) => wave.push(*member),
            None => waves.push(vec![*member]),
        }
    }
    waves
}

/// One run of the model that all members share.
fn score_wave(
    models: &mut [Option<Model>],
    batch: &[Extracted],
    wave: &[usize],
) -> Vec<Result<Score, InferError>> {
    let mut memories: Vec<Memory> = wave.iter().map(|member| recall(models, &batch[*member])).collect();
    let features: Vec<&Features> =
        wave.iter().filter_map(|member| batch[*member].features.as_ref().ok()).collect();
    let mut seen: Vec<Seen> =
        features.into_iter().zip(&mut memories).map(|(features, memory)| Seen { features, memory }).collect();
    let model = models[batch[wave[0]].camera].as_mut().expect("a key means a model");
    let results = match model.scorer.score(&mut seen) {
        Ok(scores) => scores.into_iter().map(Ok).collect(),
        Err(error) => wave.iter().map(|_| Err(error.clone())).collect(),
    };
    for (member, memory) in wave.iter().zip(memories) {
        let Extracted { camera, segment, .. } = &batch[*member];
        let model = models[*camera].as_mut().expect("a key means a model");
        (model.memory, model.run) = (memory, Some(segment.run));
    }
    results
}

/// What is remembered of the stream that a segment is of: nothing at the beginning of a run.
fn recall(models: &mut [Option<Model>], of: &Extracted) -> Memory {
    let model = models[of.camera].as_mut().expect("a key means a model");
    match model.run == Some(of.segment.run) {
        true => std::mem::take(&mut model.memory),
        false => model.scorer.begin(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Stamp;
    use crate::infer::{ModelSpec, ScorerSpec, StateSpec, scorer_manifest_for_tests};
    use std::time::Duration;

    /// Scores how many segments of the stream it has seen, and in a run of the model with how many others.
    struct Counter(ScorerSpec);

    impl Scorer for Counter {
        fn spec(&self) -> &ScorerSpec {
            &self.0
        }

        fn score(&mut self, batch: &mut [Seen<'_>]) -> Result<Vec<Score>, InferError> {
            let together = batch.len() as f32;
            let count = |seen: &mut Seen| {
                let count = seen.memory.state.first_mut().map_or(0.0, |count| {
                    count[0] += 1.0;
                    count[0]
                });
                Score { value: count, regions: vec![together], factors: vec![] }
            };
            Ok(batch.iter_mut().map(count).collect())
        }
    }

    fn armed(cameras: usize, state: Vec<StateSpec>) -> Vec<Option<Model>> {
        let mut models: Vec<Option<Model>> = (0..cameras).map(|_| None).collect();
        let (arms, coming) = crossbeam_channel::unbounded();
        for camera in 0..cameras {
            let ModelSpec::Scorer(spec) = scorer_manifest_for_tests().spec else {
                unreachable!("a scorer's")
            };
            let armed = Armed {
                scorer: Box::new(Counter(ScorerSpec { state: state.clone(), ..spec })),
                method: "toy".into(),
                model: ModelRef { name: "toy".into(), sha256: "one file".into() },
                threshold: crate::threshold::Threshold { mu: 0.0, sigma: 1.0, k: 3.0 },
            };
            arms.send(Arm { camera, armed }).expect("the receiver lives");
        }
        arm(&mut models, &coming);
        models
    }

    fn extracted((camera, run): (usize, u64)) -> Extracted {
        let at = Stamp {
            seq: 0,
            pts: Duration::ZERO,
            wall: jiff::Timestamp::UNIX_EPOCH,
            received: Duration::ZERO,
        };
        let segment = Segment { index: 0, run, start: at, end: at, frames: vec![] };
        Extracted { camera, segment, features: Ok(Features { regions: 1, dims: 1, values: vec![0.0] }) }
    }

    /// Count and company of each segment, given as camera and run.
    fn scored(models: &mut [Option<Model>], batch: &[(usize, u64)]) -> Vec<(f32, f32)> {
        let scored = score(models, batch.iter().copied().map(extracted).collect());
        let found = |s: Scored| s.score.and_then(|(score, _)| score.ok()).expect("a score");
        scored.into_iter().map(found).map(|s| (s.value, s.regions[0])).collect()
    }

    #[test]
    fn each_camera_is_remembered_until_its_run_ends() {
        let mut models = armed(2, vec![StateSpec { name: "count".into(), shape: vec![1] }]);
        let first = scored(&mut models, &[(0, 7), (1, 3), (0, 7), (0, 7)]);
        assert_eq!(first, [(1.0, 2.0), (1.0, 2.0), (2.0, 1.0), (3.0, 1.0)]);
        let second = scored(&mut models, &[(0, 8), (1, 3)]);
        assert_eq!(second, [(1.0, 2.0), (2.0, 2.0)]);
    }

    #[test]
    fn what_does_not_remember_runs_in_one_batch() {
        let mut models = armed(2, vec![]);
        assert_eq!(scored(&mut models, &[(0, 7), (1, 3), (0, 7)]), [(0.0, 3.0); 3]);
    }
}
