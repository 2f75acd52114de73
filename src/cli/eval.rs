//! `sigmawatch eval`: learns on a dataset's normal recordings, and measures on its test recordings.

mod clips;
mod dataset;
mod figures;
mod masks;

use super::labelled;
use super::learn::{Learning, progress_shown, samples, training_set};
use super::recordings::{Machinery, Recording, Taking, cpu_time, progress_bar, take_all};
use crate::config::{Budget, Method};
use crate::features::ExtractorModel;
use crate::infer::Session;
use crate::score::OnnxScorer;
use crate::score::metrics::thresholded_auc;
use crate::segment::learning_stride;
use crate::threshold::{DEFAULT_K, Rule, Threshold};
use crate::train;
use anyhow::{Result, bail, ensure};
use dataset::{Dataset, TestClip};
use figures::{Detection, Figures, Scored, ScoredClip, figures};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Learn on a dataset's normal recordings, score its test recordings, and print figures
///
/// DIR holds `train/` with recordings of normal life, and `test/` with recordings, `labels.json` (name ->
/// frames and half-open spans of anomalous frames) and masks (`NAME.masks.npz`) if there are any. Scores are
/// causal: a frame has the score of the last segment that had ended by then. Labels touch nothing but the
/// figures.
///
/// Or DIR holds clips labelled by their folders, `normal/` and others (`fight/`, say). Then each fold of clips
/// is scored by what was learned from the other folds: from their normal clips, or, by `rtfm`, from all.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The dataset's folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The threshold is mu + k sigma
    #[arg(long, default_value_t = DEFAULT_K)]
    k: f64,
    /// The threshold is the one that keeps this budget instead: N/hour, N/day or N/week
    #[arg(long, value_name = "N/SPAN", value_parser = Budget::try_from_text, conflicts_with = "k")]
    budget: Option<Budget>,
    /// Folds of a dataset of labelled clips
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=100))]
    folds: u8,
    /// Keep clips that are neighbours in name, and so often of one scene, in one fold, instead of drawing folds at
    /// random: the figures are then of scenes that were not learned from
    #[arg(long)]
    neighbours_together: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    learning: Learning,
    #[command(flatten)]
    taking: Taking,
    #[command(flatten)]
    machinery: Machinery,
}

impl Args {
    fn folds(&self) -> usize {
        usize::from(self.folds)
    }
}

/// Everything that is printed.
#[derive(Debug, Serialize)]
struct Evaluation {
    extractor: String,
    scorer: Method,
    #[serde(flatten)]
    figures: Figures,
    /// What the method's authors call AUC ([`crate::score::metrics::thresholded_auc`]), over the frames.
    thresholded_auc: Option<f64>,
    /// Decoding, features and scores of the test recordings.
    cpu_seconds_per_video_second: f64,
    /// Wall time from the first training recording to the finished model.
    learn_seconds: f64,
    seed: u64,
    stride: usize,
    regions: usize,
    /// As given, or what the budget's limit comes to.
    k: f64,
    mu: f64,
    sigma: f64,
    limit: f64,
    budget: Option<Budget>,
    /// Of the budget: false alarms an hour, with 90 % certainty.
    expected_per_hour: Option<[f64; 2]>,
    /// What the normal recordings suffice for.
    promise: String,
    train_segments: usize,
    test_segments: usize,
}

/// # Errors
/// When the dataset is not laid out as wanted, or a recording or the learning fails.
pub fn run(args: &Args) -> Result<ExitCode> {
    // What cannot be is said before anything is decoded.
    args.learning.config()?;
    if labelled::is_here(&args.dir) {
        ensure!(
            args.budget.is_none(),
            "{}: labelled clips have no alarms an hour, and so no budget (leave --budget out)",
            args.dir.display()
        );
        clips::run(args)?;
        return Ok(ExitCode::SUCCESS);
    }
    let method = args.learning.scorer;
    ensure!(
        !method.needs_labels(),
        "{}: {method} learns from labelled clips, and only the test recordings are labelled here ({})",
        args.dir.display(),
        labelled::LAYOUT
    );
    let set = dataset::open(&args.dir)?;
    super::init_onnxruntime()?;
    let extractor = args.taking.extractor()?;
    let spec = extractor.spec();
    let (learned, learn_seconds) = learn(args, &set, &extractor)?;
    let paths: Vec<PathBuf> = set.test.iter().map(|t| t.path.clone()).collect();
    let bar = progress_bar("scoring the test recordings");
    let recordings = take_all(&paths, &extractor, args.taking.stride(), &args.machinery, &bar)?;
    bar.finish_and_clear();
    let cpu = cpu_time();
    let mut scorer = OnnxScorer::new(Session::from_bytes("the learned model", &learned.bytes)?)?;
    let clips = set
        .test
        .iter()
        .zip(&recordings)
        .map(|(clip, recording)| score(clip, recording, spec.frame.fps, &mut scorer))
        .collect::<Result<Vec<_>>>()?;
    let taken: f64 = recordings.iter().map(|r| r.cpu_seconds).sum();
    let cpu = taken + (cpu_time() - cpu).as_secs_f64();
    let rate = rate(&recordings).unwrap_or(spec.frame.fps);

    let (rule, plain) = (Rule::default(), Threshold::plain(learned.report.mu, learned.report.sigma, args.k));
    let outlook = super::outlook(&learned.manifest, args.taking.stride(), &rule, args.budget);
    let threshold = match (args.budget, outlook.asked) {
        (None, _) => plain,
        (Some(budget), Some(point)) => plain.keeping(budget, point.limit),
        (Some(_), None) => bail!(
            "{}: no limit can be found for a budget: {} (give more normal recordings, or --k)",
            args.dir.display(),
            outlook.promise.text
        ),
    };
    let detection = Detection { threshold, rule, fps: rate, grid: spec.grid, covers: spec.covers };
    let seconds = recordings.iter().map(|r| r.frames as f64).sum::<f64>() / rate;
    let (scores, labels) = figures::causal_scores(&clips);
    let evaluation = Evaluation {
        extractor: extractor.manifest().name.clone(),
        scorer: args.learning.scorer,
        figures: figures(&clips, &detection),
        thresholded_auc: thresholded_auc(&scores, &labels),
        cpu_seconds_per_video_second: cpu / seconds,
        learn_seconds,
        seed: args.learning.seed,
        stride: args.taking.stride(),
        regions: spec.grid.regions(),
        k: threshold.k,
        limit: threshold.limit(),
        budget: threshold.budget,
        expected_per_hour: outlook.asked.map(|point| [point.low, point.high]),
        promise: outlook.promise.text,
        mu: learned.report.mu,
        sigma: learned.report.sigma,
        train_segments: learned.report.segments,
        test_segments: clips.iter().map(|c| c.segments.len()).sum(),
    };
    match args.json {
        true => super::out_json(&evaluation)?,
        false => print(&evaluation)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A model, and the seconds that its features and its learning took.
fn learn(args: &Args, set: &Dataset, extractor: &ExtractorModel) -> Result<(train::Learned, f64)> {
    let bar = progress_bar("features of the train recordings");
    let stride = learning_stride(args.taking.stride());
    let recordings = take_all(&set.train, extractor, stride, &args.machinery, &bar)?;
    bar.finish_and_clear();
    let taken: f64 = recordings.iter().map(|r| r.wall_seconds).sum();
    let begun = Instant::now();
    let training = training_set(extractor.manifest(), stride, samples(recordings))?;
    let config = args.learning.config()?;
    let learned = progress_shown("learning", |on| Ok(train::learn(training, &config, on)?))?;
    Ok((learned, taken + begun.elapsed().as_secs_f64()))
}

fn score<'a>(
    clip: &'a TestClip,
    recording: &Recording,
    fps: f64,
    scorer: &mut OnnxScorer,
) -> Result<ScoredClip<'a>> {
    ensure!(
        recording.frames == clip.frames as u64,
        "{}: {} frames were analysed at {fps} a second, and labels.json has {} (give --fps as the recordings \
         have it)",
        recording.path.display(),
        recording.frames,
        clip.frames
    );
    let scores = recording.scored(scorer)?;
    let segments = recording.segments.iter().zip(scores).map(|(taken, score)| Scored {
        first_frame: taken.first_frame as usize,
        last_frame: taken.last_frame as usize,
        score,
    });
    Ok(ScoredClip { clip, segments: segments.collect() })
}

/// Analysed frames a second: as the extractor wants them, or fewer where the recordings have fewer.
fn rate(recordings: &[Recording]) -> Option<f64> {
    let first = recordings.iter().find_map(|r| r.segments.first())?;
    let (frames, seconds) = (first.last_frame - first.first_frame, first.end - first.start);
    (seconds > 0.0).then(|| frames as f64 / seconds)
}

/// Said beside [`thresholded_auc`] wherever a person reads it.
const THRESHOLDED_NOTE: &str = "(as the diffusion paper counts: balanced accuracy of scores thresholded a block at a \
                                time, at the best k on the test labels; no area, and no measure of this program)";

fn threshold(e: &Evaluation) -> String {
    let plain = format!("{:.4} (k = {:.2})", e.limit, e.k);
    match (e.budget, e.expected_per_hour) {
        (Some(budget), Some([low, high])) => {
            format!("{plain}, for {budget}: {low:.2} to {high:.2} false alarms an hour expected")
        }
        _ => plain,
    }
}

fn print(e: &Evaluation) -> Result<()> {
    let share = |v: Option<f64>| v.map_or("-".into(), |v| format!("{v:.4}"));
    let f = &e.figures;
    for (name, value) in [
        ("extractor", e.extractor.clone()),
        ("scorer", e.scorer.to_string()),
        ("frame AUC, micro", share(f.frame_auc_micro)),
        ("frame AUC, macro", share(f.frame_auc_macro)),
        ("equal error rate", share(f.eer)),
        ("average precision", share(f.average_precision)),
        ("thresholded \"AUC\"", share(e.thresholded_auc)),
        ("", THRESHOLDED_NOTE.into()),
        ("region hit rate", share(f.region_hit_rate)),
        ("threshold", threshold(e)),
        ("promise", e.promise.clone()),
        ("false alarms an hour", f.false_alarms_per_hour.map_or("-".into(), |v| format!("{v:.1}"))),
        ("detection delay, s", f.detection_delay_seconds.map_or("-".into(), |v| format!("{v:.2}"))),
        ("missed spans", format!("{} of {}", f.missed_spans, f.labelled_spans)),
        ("CPU s a video s", format!("{:.3}", e.cpu_seconds_per_video_second)),
        ("learning, s", format!("{:.1}", e.learn_seconds)),
        ("seed", e.seed.to_string()),
    ] {
        super::out(format_args!("{name:22} {value}"))?;
    }
    Ok(())
}
