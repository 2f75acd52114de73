//! Learning RTFM from clips that are labelled as wholes: the whole course, from features to a calibrated file.

mod bags;
mod gradients;
mod loss;
mod steps;
#[cfg(test)]
mod tests;

use super::descent::{Recipe, descend_by};
use super::learn::{calibrate_on, manifest, uncalibrated};
use super::method::Say;
use super::normal::normal;
use super::optim::Optimiser;
use super::{Clip, Flow, LEAST_CLIPS, LabelledSet, LearnConfig, LearnError, Learned, Progress, Report};
use crate::features::Features;
use crate::infer::{Calibration, ModelSpec, ScorerSpec, Session};
use crate::score::rtfm::{Rtfm, RtfmModel};
use crate::score::{OnnxScorer, Scorer};
use bags::{Bag, Batch, resampled};
use gradients::{Masks, gradients};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Added to each gradient for each weight: that of the authors' code (their paper says a tenth).
const WEIGHT_DECAY: f32 = 0.005;
/// Segments that attention reaches back at most ...
const MOST_REACH: f32 = 300.0;
/// ... and that a clip is learned from: a longer one is averaged down to as many.
const MOST_STEPS: usize = 200;
/// Each part of the clips is left out once, so that its normal clips calibrate.
const PARTS: usize = 3;
/// Share of the progress after each training.
const EACH: f64 = 0.98 / (PARTS + 1) as f64;

/// Learns from labelled clips. The same set and config give the same bytes.
///
/// Three times without a part of the clips, whose normal ones are then scored; those scores give mu and sigma. Then from
/// all of them: labels are people's, so nothing is dropped as suspicious. ONNX Runtime must have been loaded
/// ([`crate::infer::init`]). `progress` is told how far it is, and says whether to go on.
pub fn learn_labelled(
    set: &LabelledSet,
    config: &LearnConfig,
    progress: &mut dyn FnMut(Progress) -> Flow,
) -> Result<Learned, LearnError> {
    let clips: Vec<&Clip> = set.clips.iter().filter(|clip| !clip.segments.is_empty()).collect();
    let dims = check(set, &clips)?;
    let mut say = |share: f64, step: &'static str| match progress(Progress { progress: share, step }) {
        Flow::Continue => Ok(()),
        Flow::Cancel => Err(LearnError::Cancelled),
    };
    let course = Course { set, dims, config };
    let mut scores = Vec::new();
    let part_of = parts(&clips);
    for part in 0..PARTS {
        let taught: Vec<&Clip> = those(&clips, |i| part_of[i] != part);
        let (model, _) = course.train(&taught, &mut |share| {
            say(EACH * (part as f64 + share), "training without a part of the clips")
        })?;
        let bytes = model.to_onnx(&course.manifest(&model, uncalibrated(), serde_json::Value::Null));
        for clip in those(&clips, |i| part_of[i] == part && !clips[i].unusual) {
            let mut scorer = OnnxScorer::new(Session::from_bytes("the model in training", &bytes)?)?;
            let found = scorer.score_run(&clip.segments.iter().collect::<Vec<_>>())?;
            scores.extend(found.iter().map(|score| score.value));
        }
    }
    let (model, loss) =
        course.train(&clips, &mut |share| say(EACH * (PARTS as f64 + share), "training on all clips"))?;
    let calibration = calibrate_on(scores);
    let segments: usize = clips.iter().map(|clip| clip.segments.len()).sum();
    let apart = set.sampling.as_ref().map_or(0.0, |s| s.stride as f64 / s.frame.fps);
    let report = Report {
        segments,
        seconds: segments as f64 * apart,
        learned_from: segments,
        dropped: 0,
        calibrated_on: calibration.scores.len(),
        parameters: model.network.parameters(),
        loss: Some(loss),
        mu: calibration.mu,
        sigma: calibration.sigma,
        config: config.clone(),
    };
    let facts = serde_json::to_value(&report).expect("a report has only string keys");
    let mut manifest = course.manifest(&model, calibration, facts);
    if let ModelSpec::Scorer(spec) = &mut manifest.spec {
        let calm = clips.iter().filter(|clip| !clip.unusual);
        spec.normal = normal(&calm.flat_map(|clip| &clip.segments).collect::<Vec<_>>());
    }
    let bytes = model.to_onnx(&manifest);
    say(1.0, "done")?;
    Ok(Learned { bytes, manifest, report })
}

/// Numbers a region, where the clips can be learned from at all.
fn check(set: &LabelledSet, clips: &[&Clip]) -> Result<usize, LearnError> {
    let unusual = clips.iter().filter(|clip| clip.unusual).count();
    let normal = clips.len() - unusual;
    if normal < LEAST_CLIPS || unusual < LEAST_CLIPS {
        return Err(LearnError::TooFewClips { normal, unusual });
    }
    let dims = clips[0].segments[0].dims;
    let expected = set.grid.regions() * dims;
    for (segment, features) in clips.iter().flat_map(|clip| &clip.segments).enumerate() {
        let Features { regions, dims: d, values } = features;
        if *regions != set.grid.regions() || *d != dims || values.len() != expected || dims == 0 {
            return Err(LearnError::Mixed { segment, found: values.len(), expected });
        }
        if values.iter().any(|v| !v.is_finite()) {
            return Err(LearnError::NotFinite { segment, time: 0.0 });
        }
    }
    Ok(dims)
}

/// The part of each clip: clips of each label are cut into [`PARTS`] blocks of neighbours.
fn parts(clips: &[&Clip]) -> Vec<usize> {
    let of = |unusual: bool| clips.iter().filter(|clip| clip.unusual == unusual).count();
    let (totals, mut seen) = ([of(false), of(true)], [0, 0]);
    let mut part = |clip: &&Clip| {
        let label = usize::from(clip.unusual);
        seen[label] += 1;
        (seen[label] - 1) * PARTS / totals[label]
    };
    clips.iter().map(&mut part).collect()
}

fn those<'a>(clips: &[&'a Clip], wanted: impl Fn(usize) -> bool) -> Vec<&'a Clip> {
    (0..clips.len()).filter(|i| wanted(*i)).map(|i| clips[i]).collect()
}

/// What every training of one course shares.
struct Course<'a> {
    set: &'a LabelledSet,
    dims: usize,
    config: &'a LearnConfig,
}

impl Course<'_> {
    fn manifest(
        &self,
        model: &RtfmModel,
        calibration: Calibration,
        training: serde_json::Value,
    ) -> crate::infer::Manifest {
        let LabelledSet { extractor, grid, sampling, clips } = self.set;
        let spec = ScorerSpec {
            extractor: extractor.clone(),
            sampling: sampling.clone(),
            grid: *grid,
            dims: self.dims,
            state: model.state(),
            calibration,
            factors: vec![],
            normal: None,
            training,
        };
        manifest(self.config.method, clips.iter().map(|clip| clip.segments.len()).sum(), spec)
    }

    /// Trains anew; gives the model and its loss.
    fn train(&self, clips: &[&Clip], say: &mut Say) -> Result<(RtfmModel, f64), LearnError> {
        let config = self.config;
        let longest = clips.iter().map(|clip| clip.segments.len()).max().unwrap_or(1);
        // Of what lies further back than any clip was long, nothing was learned.
        let reach = MOST_REACH.min(longest as f32);
        let network = Rtfm::new(self.dims, &mut StdRng::seed_from_u64(config.seed));
        let mut model = RtfmModel {
            grid: self.set.grid,
            centre: vec![0.0; self.dims],
            scale: vec![1.0; self.dims],
            network,
            decay: (-1.0 / reach).exp(),
        };
        standardise(&mut model, clips)?;
        let bag = |clip: &&Clip| {
            let vectors: Vec<f32> = clip.segments.iter().flat_map(|f| model.taken(&f.values)).collect();
            let long = clip.segments.len() > MOST_STEPS;
            let vectors = if long { resampled(&vectors, self.dims, MOST_STEPS) } else { vectors };
            Bag { unusual: clip.unusual, width: self.dims, vectors }
        };
        let (unusual, normal): (Vec<Bag>, Vec<Bag>) = clips.iter().map(bag).partition(|bag| bag.unusual);
        let decay = model.decay;
        let pass = |network: &Rtfm, _: usize, rng: &mut StdRng| {
            let batch = Batch::drawn(&normal, &unusual, pairs(config), rng);
            let masks = Masks::drawn(network, batch.x.nrows(), rng);
            gradients(network, &batch, &masks, decay)
        };
        let recipe =
            Recipe { seed: config.seed, steps: config.steps, batch: config.batch, rate: config.rate };
        let mut refused = None;
        let found = descend_by(
            Optimiser::Plain { decay: WEIGHT_DECAY },
            model.network.clone(),
            Rtfm::layers,
            &recipe,
            &pass,
            &mut |step| {
                refused = say(step as f64 / recipe.steps as f64).err();
                refused.is_none()
            },
        );
        let (network, loss) = found.ok_or_else(|| refused.unwrap_or(LearnError::Cancelled))?;
        model.network = network;
        Ok((model, loss))
    }
}

/// Pairs of a normal and an unusual clip that one shard of a step takes.
fn pairs(config: &LearnConfig) -> usize {
    let shard = Recipe { seed: 0, steps: 0, batch: config.batch, rate: 0.0 }.shard();
    (shard / 2).max(1)
}

/// Mean and deviation of the pooled features over all segments. The authors take features as they come, of one extractor
/// and one scale; ours come from any.
fn standardise(model: &mut RtfmModel, clips: &[&Clip]) -> Result<(), LearnError> {
    let dims = model.centre.len();
    let pooled: Vec<Vec<f32>> =
        clips.iter().flat_map(|clip| &clip.segments).map(|f| model.pooled(&f.values)).collect();
    let n = pooled.len() as f64;
    let mut varies = false;
    for d in 0..dims {
        let mean = pooled.iter().map(|x| f64::from(x[d])).sum::<f64>() / n;
        let variance = pooled.iter().map(|x| (f64::from(x[d]) - mean).powi(2)).sum::<f64>() / n;
        let there = variance > 1e-12 * (1.0 + mean * mean);
        model.centre[d] = mean as f32;
        model.scale[d] = if there { variance.sqrt().recip() as f32 } else { 0.0 };
        varies |= there;
    }
    if varies { Ok(()) } else { Err(LearnError::Constant) }
}
