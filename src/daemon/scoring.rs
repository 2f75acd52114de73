//! The scoring stage: one thread owns every camera's scorer and runs one batch a model.

use super::extract::Extracted;
use super::lane::{LaneSender, Received, receive};
use super::pulse::Pulse;
use crate::alert::ModelRef;
use crate::features::Features;
use crate::infer::InferError;
use crate::score::{Score, Scorer};
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
        models[camera] = Some(Model { scorer: armed.scorer, arming });
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
        let features: Vec<&Features> =
            together.iter().filter_map(|member| batch[*member].features.as_ref().ok()).collect();
        let model = models[batch[at].camera].as_mut().expect("a key means a model");
        let results: Vec<Result<Score, InferError>> = match model.scorer.score(&features) {
            Ok(scores) => scores.into_iter().map(Ok).collect(),
            Err(error) => together.iter().map(|_| Err(error.clone())).collect(),
        };
        for (member, result) in together.into_iter().zip(results) {
            // Each camera has its own k, so its own arming, even where the model is shared.
            let arming = models[batch[member].camera].as_ref().expect("a key means a model").arming.clone();
            scores[member] = Some((result, arming));
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
