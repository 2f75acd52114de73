//! Learning in place: one detector at a time, in a low-priority process of its own.
//!
//! A process rather than a thread: its priority is its own, its memory goes back to the machine when it ends,
//! and nothing that happens in it can take the watching down.

use super::board::Board;
use super::numbered::Numbered;
use super::pulse::Pulse;
use super::scoring::{Arm, Armed};
use super::stop::Stop;
use super::trial::try_model;
use crate::alert::ModelRef;
use crate::api::LearningState;
use crate::base::{CameraName, Clock, DetectorName, Timestamp};
use crate::config::{Learning, Method};
use crate::infer::Manifest;
use crate::score::{OnnxScorer, Scorer};
use crate::telemetry::DetectorMetrics;
use crate::threshold::Threshold;
use crate::train::Regions;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Niceness of the learning process: watching comes first.
const NICE: &str = "15";
/// What a process that needs no secrets sees of the environment.
pub(super) const KEPT: [&str; 8] =
    ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "RUST_BACKTRACE", "SIGMAWATCH_LOG"];

/// What learning needs to know of a detector.
pub struct Pupil {
    pub camera: CameraName,
    pub detector: DetectorName,
    /// The feature ring to learn from.
    pub ring: PathBuf,
    /// The model in force.
    pub model: PathBuf,
    /// How it learns; `None` for a model file that the configuration names: never replaced.
    pub in_place: Option<Method>,
    pub extractor: Manifest,
    /// Frames between the starts of consecutive segments.
    pub stride: usize,
    /// Of the threshold.
    pub k: f64,
    pub learning: Learning,
    /// Regions that count for nothing, row by row.
    pub masked: Vec<usize>,
}

/// Who learns. One that is taken off while it learns is not waited for: its process ends.
#[derive(Default)]
pub struct Pupils(Mutex<Numbered<Listed>>);

/// A pupil among others.
struct Listed {
    pupil: Arc<Pupil>,
    metrics: DetectorMetrics,
    /// When it came, or learned last.
    since: Duration,
}

impl Pupils {
    /// `now` is monotonic.
    pub fn join(&self, detector: usize, pupil: Pupil, metrics: DetectorMetrics, now: Duration) {
        self.list().insert(detector, Listed { pupil: Arc::new(pupil), metrics, since: now });
    }

    pub fn leave(&self, detector: usize) {
        self.list().remove(detector);
    }

    fn list(&self) -> MutexGuard<'_, Numbered<Listed>> {
        self.0.lock().expect("nothing panics while the list is held")
    }
}

/// The supervisor of all learning.
pub struct Supervisor {
    pub pupils: Arc<Pupils>,
    /// Detectors to learn: from the desk (enough seen) and from the API (asked).
    pub asked: Receiver<usize>,
    pub arms: Sender<Arm>,
    pub board: Arc<Board>,
    pub clock: Arc<dyn Clock>,
    pub pulse: Pulse,
    pub stop: Stop,
    /// ONNX Runtime's library, for the learning process.
    pub library: PathBuf,
}

/// A line of `sigmawatch learn --json`.
#[derive(Debug, Deserialize)]
struct Line {
    progress: Option<f64>,
    step: Option<String>,
    error: Option<String>,
}

impl Supervisor {
    /// Learns whatever is asked, one detector after the other, until the stop.
    pub fn run(&self) {
        while !self.stop.requested() {
            self.pulse.beat();
            let detector = match self.asked.recv_timeout(Duration::from_millis(500)) {
                Ok(detector) => detector,
                Err(RecvTimeoutError::Timeout) => match self.due() {
                    Some(detector) => detector,
                    None => continue,
                },
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // It may have gone since it was asked for.
            let Some(pupil) = self.pupils.list().get(detector).map(|listed| listed.pupil.clone()) else {
                continue;
            };
            self.learn(detector, &pupil);
            if let Some(listed) = self.pupils.list().get_mut(detector) {
                listed.since = self.clock.monotonic();
            }
        }
    }

    /// A detector whose model is old enough to be learned again.
    fn due(&self) -> Option<usize> {
        let now = self.clock.monotonic();
        let pupils = self.pupils.list();
        let due = |(detector, listed): &(usize, &Listed)| {
            let old = |every: Duration| now.saturating_sub(listed.since) >= every;
            listed.pupil.learning.again_every.is_some_and(old)
                && self.board.of(*detector, |watch| watch.learning.state == LearningState::Armed)
        };
        pupils.iter().find(due).map(|(detector, _)| detector)
    }

    /// The detector has gone.
    fn gone(&self, detector: usize) -> bool {
        self.pupils.list().get(detector).is_none()
    }

    fn learn(&self, detector: usize, pupil: &Pupil) {
        let Some(method) = pupil.in_place else { return };
        self.board.of(detector, |watch| {
            watch.queue_learning();
            watch.learning.step = "learning".into();
        });
        self.publish(detector);
        tracing::info!(camera = %pupil.camera, detector = %pupil.detector, "learning from {}", pupil.ring.display());
        let began = self.clock.monotonic();
        let outcome = self.train(detector, pupil, method).and_then(|candidate| {
            let armed = load(&candidate, pupil)?;
            if self.gone(detector) {
                return Err("the camera has gone".into());
            }
            std::fs::rename(&candidate, &pupil.model)
                .map_err(|error| format!("cannot put the new model at {}: {error}", pupil.model.display()))?;
            Ok(armed)
        });
        self.board.of(detector, |watch| watch.training = false);
        match outcome {
            Ok(armed) => {
                let took = self.clock.monotonic().saturating_sub(began);
                tracing::info!(
                    camera = %pupil.camera, detector = %pupil.detector, model = %&armed.model.sha256[..12], limit = armed.threshold.limit(),
                    "armed after {:.0} s of learning", took.as_secs_f64()
                );
                self.arm(detector, armed, self.clock.now());
            }
            Err(_) if self.stop.requested() || self.gone(detector) => {}
            Err(problem) => {
                tracing::warn!(camera = %pupil.camera, detector = %pupil.detector, "learning failed: {problem}");
                self.board.of(detector, |watch| {
                    // The old model, if there is one, goes on; without one, the detector keeps watching.
                    watch.learning.state = match watch.learning.model_sha256 {
                        Some(_) => LearningState::Armed,
                        None => LearningState::Learning,
                    };
                    watch.learning.step = format!("learning failed: {problem}");
                    watch.learning.progress = 0.0;
                });
                self.publish(detector);
            }
        }
    }

    /// Runs the learning process; gives the file it wrote.
    fn train(&self, detector: usize, pupil: &Pupil, method: Method) -> Result<PathBuf, String> {
        let folder = pupil.model.parent().ok_or("the model file has no folder")?;
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
        let candidate = folder.join(format!("{}.candidate", pupil.detector));
        let manifest = serde_json::to_string(&pupil.extractor)
            .map_err(|error| format!("cannot describe the extractor: {error}"))?;
        let program = std::env::current_exe().map_err(|error| format!("cannot find the program: {error}"))?;
        let mut command = Command::new(program);
        command.arg("learn");
        if method == Method::DiffusionPublished {
            command.args(["--start", &pupil.learning.start.to_string()]);
            command.args(["--sampler", pupil.learning.sampler.name()]);
        }
        let mut child = command
            .args(["--mask", &Regions(pupil.masked.clone()).to_string()])
            .args(["--json", "--nice", NICE, "--scorer", method.name(), "--features"])
            .arg(&pupil.ring)
            .args(["--manifest", &manifest, "--stride", &pupil.stride.to_string(), "--out"])
            .arg(&candidate)
            // The environment may hold cameras' passwords, and learning needs none.
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| KEPT.iter().any(|kept| name == kept)))
            .env("SIGMAWATCH_ORT_LIB", &self.library)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start the learning process: {error}"))?;
        let result = self.follow(detector, &mut child);
        if result.is_err() {
            // Harmless when it has already ended by itself.
            let _ = child.kill();
        }
        let status =
            child.wait().map_err(|error| format!("cannot wait for the learning process: {error}"))?;
        result?;
        if status.success() {
            Ok(candidate)
        } else {
            Err(format!("the learning process ended with {status}"))
        }
    }

    /// Shows the process's progress on the board until it closes its output.
    fn follow(&self, detector: usize, child: &mut Child) -> Result<(), String> {
        let (sender, lines) = bounded::<String>(16);
        let stdout = child.stdout.take().ok_or("the learning process has no output")?;
        let mut stderr = child.stderr.take().ok_or("the learning process has no error output")?;
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let complaints = std::thread::spawn(move || {
            let mut text = String::new();
            // Bounded: a process that floods its error output is cut off, not stored.
            let _ = (&mut stderr).take(16 * 1024).read_to_string(&mut text);
            text
        });
        let mut failed = None;
        loop {
            self.pulse.beat();
            if self.stop.requested() || self.gone(detector) {
                return Err("stopped".into());
            }
            let line = match lines.recv_timeout(Duration::from_millis(500)) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let Ok(line) = serde_json::from_str::<Line>(&line) else { continue };
            failed = failed.or(line.error);
            if let (Some(progress), Some(step)) = (line.progress, line.step) {
                self.board.of(detector, |watch| {
                    watch.learning.progress = progress;
                    watch.learning.step = step;
                });
            }
        }
        let _ = reader.join();
        let complaints = complaints.join().unwrap_or_default();
        match failed {
            Some(error) => Err(error),
            None if complaints.contains("error:") => Err(complaints.trim().to_owned()),
            None => Ok(()),
        }
    }

    fn arm(&self, detector: usize, armed: Armed, learned_at: Timestamp) {
        self.board.of(detector, |watch| watch.arm(&armed, learned_at));
        self.publish(detector);
        // The lane has room for every detector; a scoring stage that is gone means the daemon stops.
        let _ = self.arms.send(Arm { detector, armed });
    }

    fn publish(&self, detector: usize) {
        let state = self.board.of(detector, |watch| watch.learning.state);
        if let Some(listed) = self.pupils.list().get(detector) {
            listed.metrics.learning(state.into());
        }
    }
}

/// The model that a detector has already, and when it was made; `None`: it is to learn one.
///
/// # Errors
/// When a model file that the configuration names cannot be used. `tried`: those that have been tried already.
pub fn on_disk(pupil: &Pupil, tried: &mut BTreeSet<PathBuf>) -> Result<Option<(Armed, Timestamp)>, String> {
    if pupil.in_place.is_none() && tried.insert(pupil.model.clone()) {
        try_model(&pupil.model).map_err(|error| error.to_string())?;
    }
    if pupil.in_place.is_some() && !pupil.model.exists() {
        return Ok(None);
    }
    match load(&pupil.model, pupil) {
        Ok(armed) => Ok(Some((armed, modified(&pupil.model)))),
        Err(problem) if pupil.in_place.is_some() => {
            tracing::warn!(camera = %pupil.camera, detector = %pupil.detector, "learning anew: {problem}");
            Ok(None)
        }
        Err(problem) => Err(problem),
    }
}

/// The model of a detector that learns in place, where there is another one than that of `made`: it may have been learned
/// while a change was prepared.
pub fn newer(pupil: &Pupil, made: Option<Timestamp>) -> Option<(Armed, Timestamp)> {
    let now = pupil.model.exists().then(|| modified(&pupil.model));
    let newer = pupil.in_place.is_some() && now.is_some() && now != made;
    // One that does not fit has been told of, and is learned anew.
    if newer { on_disk(pupil, &mut BTreeSet::new()).ok().flatten() } else { None }
}

/// Loads a detector's scorer and refuses one that was learned from other features, or in another way than the one
/// that the detector learns in.
fn load(file: &Path, pupil: &Pupil) -> Result<Armed, String> {
    let scorer = OnnxScorer::load(file, &pupil.extractor).map_err(|error| error.to_string())?;
    let name = file.display().to_string();
    scorer.manifest().check_stride(&name, pupil.stride).map_err(|error| error.to_string())?;
    let learned_by = &scorer.manifest().name;
    if let Some(method) = pupil.in_place.filter(|method| method.name() != learned_by) {
        return Err(format!("{}: was learned by {learned_by}, and {method} is configured", file.display()));
    }
    if pupil.in_place.is_some() {
        learned_alike(&scorer.spec().training["config"], pupil)
            .map_err(|difference| format!("{}: {difference}", file.display()))?;
    }
    let calibration = &scorer.spec().calibration;
    let threshold = Threshold::of(calibration, pupil.k);
    let method = format!("{}+{}", pupil.extractor.name, scorer.manifest().name);
    let model = ModelRef { name: scorer.manifest().id(), sha256: scorer.sha256().to_owned() };
    Ok(Armed { scorer: Box::new(scorer), method, model, threshold })
}

/// Refuses what was learned from other regions, or for another way back, than is configured now.
fn learned_alike(how: &serde_json::Value, pupil: &Pupil) -> Result<(), String> {
    let masked = how["masked"].as_array().map_or(&[][..], Vec::as_slice);
    if !masked.iter().eq(pupil.masked.iter()) {
        return Err("was learned with other masks than are configured".into());
    }
    let Learning { start, sampler, .. } = pupil.learning;
    let found = &how["published"];
    if pupil.in_place == Some(Method::DiffusionPublished)
        && (found["start"] != start || found["sampler"] != sampler.name())
    {
        let (then, by) = (&found["start"], &found["sampler"]);
        return Err(format!("starts at {then} by {by}, and {start} by {sampler} is configured"));
    }
    Ok(())
}

/// When a model file was written; now, where the file system does not say.
fn modified(file: &Path) -> Timestamp {
    let modified = file.metadata().and_then(|meta| meta.modified()).ok();
    modified.and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_else(Timestamp::now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sampler;
    use crate::features::Features;
    use crate::infer::{Grid, ModelSpec};
    use crate::train::{Flow, LearnConfig, Sample, TrainingSet, learn};

    /// The toy of the tests, with one region.
    fn extractor() -> Manifest {
        let mut manifest = crate::infer::extractor_manifest_for_tests();
        if let ModelSpec::Extractor(spec) = &mut manifest.spec {
            spec.grid = Grid::WHOLE;
        }
        manifest
    }

    /// Learns a toy camera's life in the way told, and gives the file.
    fn learned(dir: &Path, config: &LearnConfig) -> PathBuf {
        crate::infer::init_for_tests();
        let sample = |i: usize| {
            let values = vec![(i as f32).sin(), (0.7 * i as f32).cos()];
            Sample { time: i as f64, run: i as u64, features: Features { regions: 1, dims: 2, values } }
        };
        let set = TrainingSet {
            extractor: "toy 1".into(),
            grid: Grid::WHOLE,
            sampling: None,
            channels: vec![],
            wall_clock: false,
            samples: (0..60).map(sample).collect(),
        };
        let learned = learn(set, config, &mut |_| Flow::Continue).expect("learns");
        let model = dir.join("model.onnx");
        std::fs::write(&model, learned.bytes).expect("written");
        model
    }

    /// What the supervisor says of the file, where this is configured.
    fn loaded(model: &Path, in_place: Option<Method>, start: u8) -> Result<String, String> {
        let learning = Learning {
            watch_for: Duration::from_secs(600),
            again_every: None,
            start,
            sampler: Sampler::Lms4,
        };
        let pupil = Pupil {
            camera: "gate".into(),
            detector: "main".into(),
            ring: model.with_file_name("ring"),
            model: model.to_owned(),
            in_place,
            extractor: extractor(),
            stride: 4,
            k: 3.0,
            learning,
            masked: vec![],
        };
        load(model, &pupil).map(|armed| armed.method)
    }

    /// A model that was learned by another method than the configured one is not armed, but learned anew.
    #[test]
    fn a_model_of_another_method_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let model = learned(dir.path(), &LearnConfig::of(Method::Mahalanobis));
        let refusal = loaded(&model, Some(Method::Knn), 6).expect_err("refused");
        assert!(
            refusal.ends_with("model.onnx: was learned by mahalanobis, and knn is configured"),
            "{refusal}"
        );
        assert_eq!(loaded(&model, Some(Method::Mahalanobis), 4), Ok("toy+mahalanobis".into()));
        assert_eq!(loaded(&model, None, 6), Ok("toy+mahalanobis".into()), "a file says itself what it is");
    }

    #[test]
    fn a_published_diffusion_that_starts_elsewhere_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let config = LearnConfig { steps: 3, ..LearnConfig::of(Method::DiffusionPublished) };
        let model = learned(dir.path(), &config);
        let in_place = Some(Method::DiffusionPublished);
        assert_eq!(loaded(&model, in_place, 6), Ok("toy+diffusion-published".into()));
        let refusal = loaded(&model, in_place, 4).expect_err("refused");
        assert!(
            refusal.ends_with(r#"model.onnx: starts at 6 by "lms4", and 4 by lms4 is configured"#),
            "{refusal}"
        );
        assert_eq!(loaded(&model, None, 4), Ok("toy+diffusion-published".into()));
    }
}
