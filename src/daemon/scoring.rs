//! The scoring stage: one thread owns every detector's scorer and runs one batch a model.

use super::change::{Change, Featured, Told};
use super::extract::Extracted;
use super::lane::{LaneSender, Received, receive};
use super::numbered::Numbered;
use super::pulse::Pulse;
use crate::alert::ModelRef;
use crate::features::Features;
use crate::infer::{FactorSpec, InferError, Normal};
use crate::score::{Memory, Score, Scorer, Seen};
use crate::segment::Segment;
use crate::telemetry::{Metrics, Stage};
use crate::threshold::{Course, Tail, Threshold};
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
    /// Of the threshold: from the scorer's calibration and the detector's k.
    pub threshold: Threshold,
}

/// What a score was made under; shared by all scores of that model.
pub struct Arming {
    pub model: ModelRef,
    pub threshold: Threshold,
    pub tail: Tail,
    /// What learning saw; `None` where the model does not say.
    pub course: Option<Course>,
    pub method: String,
    pub grid: crate::infer::Grid,
    /// What explains the scores.
    pub factors: Vec<FactorSpec>,
    /// What normal life's features are like, where the model says.
    pub normal: Option<Normal>,
}

/// What goes on to the desk: features always, and a score of each of the feed's detectors that is armed.
pub struct Scored {
    pub feed: usize,
    pub segment: Segment,
    pub features: Result<Features, InferError>,
    /// In the order of the feed's detectors.
    pub scores: Vec<Option<Judged>>,
}

/// A score, or why there is none, and what it was made under.
pub type Judged = (Result<Score, InferError>, Arc<Arming>);

/// A detector's new scorer; it serves from the next segment on.
pub struct Arm {
    pub detector: usize,
    pub armed: Armed,
}

/// The detectors of each feed.
type Feeds = Numbered<Vec<usize>>;

/// A detector's model in use.
struct Model {
    scorer: Box<dyn Scorer>,
    arming: Arc<Arming>,
    /// Of the detector's own stream, whichever detector's copy of the scorer runs the batch.
    memory: Memory,
    /// The unbroken run that it is of.
    run: Option<u64>,
}

/// Scores until the lane closes. Detectors that share a model file share its batch.
pub fn work(
    lane: &Receiver<Featured>,
    arms: &Receiver<Arm>,
    next: &LaneSender<Told>,
    metrics: &Metrics,
    pulse: &Pulse,
) {
    let (mut models, mut feeds): (Numbered<Model>, Feeds) = Default::default();
    loop {
        pulse.beat();
        let first = match receive(lane) {
            Received::Message(first) => first,
            Received::Nothing => {
                arm(&mut models, &feeds, arms.try_iter());
                continue;
            }
            Received::Closed => return,
        };
        arm(&mut models, &feeds, arms.try_iter());
        let (batch, change) = batch(first, lane);
        if !batch.is_empty() {
            let began = Instant::now();
            pulse.beat_until(crate::score::DEADLINE);
            let scored = score(&mut models, &feeds, batch);
            metrics.stage(Stage::Score, began.elapsed());
            for scored in scored {
                if !next.send(Told::Scored(Box::new(scored)), &|| pulse.beat()) {
                    return;
                }
            }
        }
        if let Some(change) = change {
            let Change { leave, join, arm: armed, desk } = *change;
            for detector in leave.into_iter().flat_map(|feed| feeds.remove(feed).unwrap_or_default()) {
                models.remove(detector);
            }
            feeds.extend(join);
            arm(&mut models, &feeds, armed);
            if !next.send(Told::Change(Box::new(desk)), &|| pulse.beat()) {
                return;
            }
        }
    }
}

/// What can be scored together, in the lane's order: nothing that lies behind a change.
fn batch(first: Featured, lane: &Receiver<Featured>) -> (Vec<Extracted>, Option<Box<Change>>) {
    let (mut batch, mut message) = (vec![], Some(first));
    loop {
        match message {
            Some(Featured::Segment(extracted)) => batch.push(*extracted),
            Some(Featured::Change(change)) => return (batch, Some(change)),
            None => return (batch, None),
        }
        message = if batch.len() < BATCH { lane.try_recv().ok() } else { None };
    }
}

/// Those that have gone meanwhile are armed no more.
fn arm(models: &mut Numbered<Model>, feeds: &Feeds, arms: impl IntoIterator<Item = Arm>) {
    for Arm { detector, armed } in arms {
        if !feeds.values().any(|detectors| detectors.contains(&detector)) {
            continue;
        }
        let spec = armed.scorer.spec();
        let arming = Arc::new(Arming {
            model: armed.model,
            threshold: armed.threshold,
            tail: Tail::of(&spec.calibration),
            course: Course::of(&spec.calibration, spec.sampling.as_ref()),
            method: armed.method,
            grid: spec.grid,
            factors: spec.factors.clone(),
            normal: spec.normal.as_ref().and_then(|normal| normal.decoded(spec.grid.regions(), spec.dims)),
        });
        let memory = armed.scorer.begin();
        models.insert(detector, Model { scorer: armed.scorer, arming, memory, run: None });
    }
}

/// One segment for one detector: its place in the batch and the detector's number.
#[derive(Clone, Copy)]
struct Job {
    at: usize,
    detector: usize,
}

/// Scores a batch, one run for each distinct model, and gives it back in its own order.
fn score(models: &mut Numbered<Model>, feeds: &Feeds, mut batch: Vec<Extracted>) -> Vec<Scored> {
    batch.retain(|extracted| feeds.get(extracted.feed).is_some());
    let mut groups: Vec<(String, Vec<Job>)> = vec![];
    for (at, extracted) in batch.iter().enumerate().filter(|(_, extracted)| extracted.features.is_ok()) {
        for &detector in &feeds[extracted.feed] {
            let Some(model) = models.get(detector) else { continue };
            let file = &model.arming.model.sha256;
            match groups.iter_mut().find(|(known, _)| known == file) {
                Some((_, jobs)) => jobs.push(Job { at, detector }),
                None => groups.push((file.clone(), vec![Job { at, detector }])),
            }
        }
    }
    let mut scores: Vec<Vec<Option<Judged>>> =
        batch.iter().map(|extracted| feeds[extracted.feed].iter().map(|_| None).collect()).collect();
    for (_, jobs) in groups {
        for wave in waves(models, jobs) {
            let results = score_wave(models, &batch, &wave);
            for (Job { at, detector }, result) in wave.into_iter().zip(results) {
                // Each detector has its own k, so its own arming, even where the model is shared.
                let arming = models[detector].arming.clone();
                let place = feeds[batch[at].feed].iter().position(|d| *d == detector);
                scores[at][place.expect("the job is of this feed")] = Some((result, arming));
            }
        }
    }
    let scored = |(extracted, scores): (Extracted, _)| Scored {
        feed: extracted.feed,
        segment: extracted.segment,
        features: extracted.features,
        scores,
    };
    batch.into_iter().zip(scores).map(scored).collect()
}

/// What can be scored at once: everything, unless the model remembers. Then a detector's segments wait for each
/// other, since each needs what the one before it left.
fn waves(models: &Numbered<Model>, jobs: Vec<Job>) -> Vec<Vec<Job>> {
    if !models[jobs[0].detector].scorer.remembers() {
        return vec![jobs];
    }
    let mut waves: Vec<Vec<Job>> = Vec::new();
    for (i, job) in jobs.iter().enumerate() {
        let before = jobs[..i].iter().filter(|other| other.detector == job.detector).count();
        match waves.get_mut(before) {
            Some(wave) => wave.push(*job),
            None => waves.push(vec![*job]),
        }
    }
    waves
}

/// One run of the model that all jobs share.
fn score_wave(
    models: &mut Numbered<Model>,
    batch: &[Extracted],
    wave: &[Job],
) -> Vec<Result<Score, InferError>> {
    let mut memories: Vec<Memory> = wave.iter().map(|job| recall(models, batch, *job)).collect();
    let features = wave.iter().filter_map(|job| batch[job.at].features.as_ref().ok());
    let mut seen: Vec<Seen> =
        features.zip(&mut memories).map(|(features, memory)| Seen { features, memory }).collect();
    let results = match models[wave[0].detector].scorer.score(&mut seen) {
        Ok(scores) => scores.into_iter().map(Ok).collect(),
        Err(error) => wave.iter().map(|_| Err(error.clone())).collect(),
    };
    for (job, memory) in wave.iter().zip(memories) {
        let model = &mut models[job.detector];
        (model.memory, model.run) = (memory, Some(batch[job.at].segment.run));
    }
    results
}

/// What is remembered of the stream that a segment is of: nothing at the beginning of a run.
fn recall(models: &mut Numbered<Model>, batch: &[Extracted], job: Job) -> Memory {
    let model = &mut models[job.detector];
    match model.run == Some(batch[job.at].segment.run) {
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

    fn toy(detector: usize, state: &[StateSpec]) -> Arm {
        let ModelSpec::Scorer(spec) = scorer_manifest_for_tests().spec else { unreachable!("a scorer's") };
        let armed = Armed {
            scorer: Box::new(Counter(ScorerSpec { state: state.to_vec(), ..spec })),
            method: "toy".into(),
            model: ModelRef { name: "toy".into(), sha256: "one file".into() },
            threshold: Threshold::plain(0.0, 1.0, 3.0),
        };
        Arm { detector, armed }
    }

    fn of(feeds: &[&[usize]]) -> Feeds {
        feeds.iter().map(|detectors| detectors.to_vec()).enumerate().collect()
    }

    fn armed(feeds: &Feeds, detectors: usize, state: Vec<StateSpec>) -> Numbered<Model> {
        let mut models = Numbered::default();
        arm(&mut models, feeds, (0..detectors).map(|detector| toy(detector, &state)));
        models
    }

    fn extracted((feed, run): (usize, u64)) -> Extracted {
        let at = Stamp {
            seq: 0,
            pts: Duration::ZERO,
            wall: jiff::Timestamp::UNIX_EPOCH,
            received: Duration::ZERO,
        };
        let segment =
            Segment { index: 0, run, start: at, end: at, unsettled: false, damaged: false, frames: vec![] };
        Extracted { feed, segment, features: Ok(Features { regions: 1, dims: 1, values: vec![0.0] }) }
    }

    /// Count and company of each score, the segments given as feed and run, the detectors of each feed by number.
    fn scored(models: &mut Numbered<Model>, feeds: &Feeds, batch: &[(usize, u64)]) -> Vec<(f32, f32)> {
        let scored = score(models, feeds, batch.iter().copied().map(extracted).collect());
        let found = |judged: Option<Judged>| judged.and_then(|(score, _)| score.ok()).expect("a score");
        let all = scored.into_iter().flat_map(|s| s.scores);
        all.map(found).map(|s| (s.value, s.regions[0])).collect()
    }

    #[test]
    fn each_detector_is_remembered_until_its_run_ends() {
        let feeds = of(&[&[0], &[1]]);
        let mut models = armed(&feeds, 2, vec![StateSpec { name: "count".into(), shape: vec![1] }]);
        let first = scored(&mut models, &feeds, &[(0, 7), (1, 3), (0, 7), (0, 7)]);
        assert_eq!(first, [(1.0, 2.0), (1.0, 2.0), (2.0, 1.0), (3.0, 1.0)]);
        let second = scored(&mut models, &feeds, &[(0, 8), (1, 3)]);
        assert_eq!(second, [(1.0, 2.0), (2.0, 2.0)]);
    }

    #[test]
    fn what_does_not_remember_runs_in_one_batch() {
        let feeds = of(&[&[0], &[1]]);
        let mut models = armed(&feeds, 2, vec![]);
        assert_eq!(scored(&mut models, &feeds, &[(0, 7), (1, 3), (0, 7)]), [(0.0, 3.0); 3]);
    }

    #[test]
    fn detectors_of_one_feed_score_the_same_segment() {
        // One file serves all three; the fourth detector is not armed yet.
        let feeds = of(&[&[0, 2], &[1, 3]]);
        let mut models = armed(&feeds, 3, vec![]);
        let batch = vec![extracted((0, 7)), extracted((1, 3))];
        let found = score(&mut models, &feeds, batch);
        let there = |s: &Scored| s.scores.iter().map(Option::is_some).collect::<Vec<_>>();
        assert_eq!((there(&found[0]), there(&found[1])), (vec![true, true], vec![true, false]));
        let (together, _) = found[0].scores[1].as_ref().expect("scored");
        assert_eq!(together.as_ref().expect("a score").regions, [3.0], "in one run");
    }

    /// What was in the lane before a change is scored under what was before it, what comes after finds the new ones, and
    /// what is late finds nobody.
    #[test]
    fn cameras_come_and_go_in_the_order_of_the_lane() {
        let metrics = Metrics::new();
        let pulses = super::super::pulse::Pulses::new(Arc::new(crate::base::SystemClock::default()));
        let (to_scoring, lane) = super::super::lane::lane(crate::telemetry::Queue::Features, 64, &metrics);
        let (to_desk, at_desk) = super::super::lane::lane(crate::telemetry::Queue::Scores, 64, &metrics);
        let (to_arms, arms) = crossbeam_channel::unbounded();
        let count = [StateSpec { name: "count".into(), shape: vec![1] }];
        let join = |feed, detector| Change {
            join: vec![(feed, vec![detector])],
            arm: vec![toy(detector, &count)],
            ..Default::default()
        };
        let send = |message| assert!(to_scoring.send(message, &|| {}));
        let segment = |feed, run| send(Featured::Segment(Box::new(extracted((feed, run)))));
        send(Featured::Change(Box::new(join(0, 10))));
        segment(0, 7);
        send(Featured::Change(Box::new(join(1, 11))));
        segment(0, 7);
        segment(1, 3);
        send(Featured::Change(Box::new(Change { leave: vec![0], ..Default::default() })));
        // Of a worker that was slow, and a model that was learned too late.
        segment(0, 7);
        to_arms.send(toy(10, &count)).expect("the receiver lives");
        segment(1, 3);
        drop(to_scoring);
        work(&lane, &arms, &to_desk, &metrics, &pulses.stage("scoring"));
        let told = |told| match told {
            Told::Change(_) => None,
            Told::Scored(scored) => {
                let Scored { feed, mut scores, .. } = *scored;
                let (score, _) = scores.remove(0).expect("armed");
                Some((feed, score.expect("a score").value))
            }
        };
        drop(to_desk);
        let told: Vec<_> = at_desk.iter().map(told).collect();
        let (a, b) = (Some((0, 1.0)), Some((0, 2.0)));
        assert_eq!(told, [None, a, None, b, Some((1, 1.0)), None, Some((1, 2.0))]);
    }
}
