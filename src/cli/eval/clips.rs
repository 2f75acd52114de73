//! Evaluation on labelled clips: folders of `normal/` clips and of others, k-fold by clip.

use super::Args;
use crate::cli::learn::{progress_shown, samples, training_set};
use crate::cli::recordings::{Recording, find, progress_bar, take_all};
use crate::config::Method;
use crate::features::ExtractorModel;
use crate::infer::Session;
use crate::score::OnnxScorer;
use crate::score::metrics::{average_precision, equal_error_rate, roc_auc, thresholded_auc};
use crate::segment::learning_stride;
use crate::train;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

const NORMAL: &str = "normal";
const LAYOUT: &str =
    "wanted: DIR/normal/*.mp4, and one or more other folders of clips, for example DIR/fight/*.mp4";

/// A clip and its label.
#[derive(Debug, Clone, PartialEq)]
struct Clip {
    path: PathBuf,
    unusual: bool,
    /// The fold in which it is tested.
    fold: usize,
}

/// Everything that is printed.
#[derive(Debug, Serialize)]
pub struct ClipEvaluation {
    extractor: String,
    scorer: Method,
    /// ROC area over the clips of a fold, mean and deviation over the folds. A clip's score is that of its
    /// highest segment.
    clip_auc: f64,
    clip_auc_deviation: f64,
    clip_auc_folds: Vec<f64>,
    /// Over all clips, each scored in the fold that did not learn from it.
    eer: Option<f64>,
    average_precision: Option<f64>,
    /// Shares of the unusual and of the normal clips above mu + k sigma.
    recall: f64,
    false_alarm_rate: f64,
    /// What the method's authors call AUC; see [`thresholded_auc`].
    thresholded_auc: Option<f64>,
    /// Wall time, all folds together.
    learn_seconds: f64,
    folds: usize,
    clips: usize,
    /// Clips that are shorter than a segment, and so have no score.
    too_short: usize,
    seed: u64,
    stride: usize,
    k: f64,
}

/// Whether `dir` is laid out as labelled clips.
pub fn is_here(dir: &Path) -> bool {
    dir.join(NORMAL).is_dir()
}

/// Learns in each fold from the normal clips of the others, and scores the clips of the fold.
pub fn run(args: &Args) -> Result<()> {
    let clips = open(&args.dir, args.folds())?;
    crate::cli::init_onnxruntime()?;
    let extractor = args.taking.extractor()?;
    let paths: Vec<PathBuf> = clips.iter().map(|clip| clip.path.clone()).collect();
    let bar = progress_bar("features of the clips");
    let stride = args.taking.stride();
    let recordings = take_all(&paths, &extractor, stride, &args.machinery, &bar)?;
    bar.finish_and_clear();
    let begun = Instant::now();
    let mut scored = Vec::new();
    for fold in 0..args.folds() {
        let taught = clips.iter().zip(&recordings).filter(|(clip, _)| clip.fold != fold && !clip.unusual);
        let learned = learn(args, &extractor, taught.map(|(_, recording)| recording).collect())?;
        let mut scorer = OnnxScorer::new(Session::from_bytes("the learned model", &learned.bytes)?)?;
        let limit = (learned.report.mu + args.k * learned.report.sigma) as f32;
        for (clip, recording) in clips.iter().zip(&recordings).filter(|(clip, _)| clip.fold == fold) {
            if let Some(score) = highest(recording, &mut scorer)? {
                scored.push(ScoredClip { fold, unusual: clip.unusual, score, alarmed: score > limit });
            }
        }
    }
    let evaluation = evaluation(args, &extractor, &scored, clips.len(), begun.elapsed().as_secs_f64())?;
    match args.json {
        true => crate::cli::out_json(&evaluation),
        false => print(&evaluation),
    }
}

fn open(dir: &Path, folds: usize) -> Result<Vec<Clip>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("{}: cannot be read", dir.display()))?;
    let mut folders: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    folders.retain(|folder| folder.is_dir());
    folders.sort();
    let mut clips = Vec::new();
    for folder in &folders {
        let unusual = folder.file_name().is_some_and(|name| name != NORMAL);
        let found = find(std::slice::from_ref(folder))?;
        ensure!(
            found.len() >= folds,
            "{}: {} clips cannot be divided into {folds} folds (give fewer --folds, or more clips)",
            folder.display(),
            found.len()
        );
        // Neighbours in name are often of one scene: they go into one fold, so that no scene is in both.
        let fold = |i: usize| i * folds / found.len();
        clips.extend(found.iter().enumerate().map(|(i, path)| Clip {
            path: path.clone(),
            unusual,
            fold: fold(i),
        }));
    }
    ensure!(
        clips.iter().any(|clip| clip.unusual),
        "{}: there are no unusual clips ({LAYOUT})",
        dir.display()
    );
    Ok(clips)
}

fn learn(args: &Args, extractor: &ExtractorModel, recordings: Vec<&Recording>) -> Result<train::Learned> {
    let stride = learning_stride(args.taking.stride());
    let far_apart = |recording: &Recording| {
        let mut kept = recording.clone();
        kept.segments.retain(|taken| taken.first_frame.is_multiple_of(stride as u64));
        kept
    };
    let samples = samples(recordings.into_iter().map(far_apart).collect());
    let training = training_set(extractor.manifest(), stride, samples)?;
    progress_shown("learning", |on| Ok(train::learn(training, &args.learning.config()?, on)?))
}

/// The score of a clip's highest segment, if it has one.
fn highest(recording: &Recording, scorer: &mut OnnxScorer) -> Result<Option<f32>> {
    Ok(recording.scored(scorer)?.iter().map(|score| score.value).reduce(f32::max))
}

/// A clip's score in its fold.
#[derive(Debug, Clone)]
struct ScoredClip {
    fold: usize,
    unusual: bool,
    score: f32,
    alarmed: bool,
}

fn evaluation(
    args: &Args,
    extractor: &ExtractorModel,
    scored: &[ScoredClip],
    clips: usize,
    learn_seconds: f64,
) -> Result<ClipEvaluation> {
    let columns = |of: &mut dyn Iterator<Item = &ScoredClip>| -> (Vec<f32>, Vec<bool>) {
        of.map(|clip| (clip.score, clip.unusual)).unzip()
    };
    let area = |fold: usize| {
        let (scores, labels) = columns(&mut scored.iter().filter(|clip| clip.fold == fold));
        roc_auc(&scores, &labels)
            .with_context(|| format!("fold {fold} has not both kinds of clips with finite scores"))
    };
    let areas = (0..args.folds()).map(area).collect::<Result<Vec<f64>>>()?;
    let mean = areas.iter().sum::<f64>() / areas.len() as f64;
    let variance = areas.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / (areas.len() - 1).max(1) as f64;
    let share = |unusual: bool| {
        let of: Vec<bool> = scored.iter().filter(|c| c.unusual == unusual).map(|c| c.alarmed).collect();
        of.iter().filter(|alarmed| **alarmed).count() as f64 / of.len() as f64
    };
    let (scores, labels) = columns(&mut scored.iter());
    Ok(ClipEvaluation {
        extractor: extractor.manifest().name.clone(),
        scorer: args.learning.scorer,
        clip_auc: mean,
        clip_auc_deviation: variance.sqrt(),
        clip_auc_folds: areas,
        eer: equal_error_rate(&scores, &labels),
        average_precision: average_precision(&scores, &labels),
        recall: share(true),
        false_alarm_rate: share(false),
        thresholded_auc: thresholded_auc(&scores, &labels),
        learn_seconds,
        folds: args.folds(),
        clips: scored.len(),
        too_short: clips - scored.len(),
        seed: args.learning.seed,
        stride: args.taking.stride(),
        k: args.k,
    })
}

fn print(e: &ClipEvaluation) -> Result<()> {
    let share = |v: Option<f64>| v.map_or("-".into(), |v| format!("{v:.4}"));
    for (name, value) in [
        ("extractor", e.extractor.clone()),
        ("scorer", e.scorer.to_string()),
        ("clip AUC", format!("{:.4} +- {:.4} over {} folds", e.clip_auc, e.clip_auc_deviation, e.folds)),
        ("equal error rate", share(e.eer)),
        ("average precision", share(e.average_precision)),
        ("recall at mu + k sigma", format!("{:.4}", e.recall)),
        ("false alarm rate there", format!("{:.4}", e.false_alarm_rate)),
        ("thresholded \"AUC\"", share(e.thresholded_auc)),
        ("", super::THRESHOLDED_NOTE.into()),
        ("clips", format!("{} ({} more are shorter than a segment)", e.clips, e.too_short)),
        ("learning, s", format!("{:.1}", e.learn_seconds)),
        ("seed", e.seed.to_string()),
    ] {
        crate::cli::out(format_args!("{name:22} {value}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn laid_out(folders: &[(&str, usize)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (folder, clips) in folders {
            fs::create_dir(dir.path().join(folder)).expect("a folder");
            for clip in 0..*clips {
                fs::write(dir.path().join(folder).join(format!("{clip:02}.mp4")), b"").expect("a file");
            }
        }
        dir
    }

    #[test]
    fn clips_are_divided_by_label_and_fold() {
        let dir = laid_out(&[("normal", 4), ("fight", 5), ("robbery", 2)]);
        assert!(is_here(dir.path()));
        let clips = open(dir.path(), 2).expect("as wanted");
        let count = |unusual, fold| clips.iter().filter(|c| c.unusual == unusual && c.fold == fold).count();
        assert_eq!([count(false, 0), count(false, 1), count(true, 0), count(true, 1)], [2, 2, 4, 3]);
    }

    #[test]
    fn what_is_odd_about_a_layout_is_said() {
        let dir = laid_out(&[("normal", 3)]);
        assert!(
            open(dir.path(), 2).expect_err("no label").to_string().contains("there are no unusual clips")
        );
        let few = open(dir.path(), 5).expect_err("too few").to_string();
        assert!(few.contains("3 clips cannot be divided into 5 folds"), "{few}");
        assert!(!is_here(laid_out(&[("train", 1)]).path()));
    }
}
