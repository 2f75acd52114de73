//! Evaluation on labelled clips: folders of `normal/` clips and of others, k-fold by clip.

use super::Args;
use crate::cli::labelled::{self, labelled_set};
use crate::cli::learn::{progress_shown, samples, training_set};
use crate::cli::recordings::{Recording, progress_bar, take_all};
use crate::config::Method;
use crate::features::ExtractorModel;
use crate::infer::Session;
use crate::score::OnnxScorer;
use crate::score::metrics::{average_precision, equal_error_rate, roc_auc, thresholded_auc};
use crate::segment::learning_stride;
use crate::train;
use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

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
    neighbours_together: bool,
    clips: usize,
    /// Clips that are shorter than a segment, and so have no score.
    too_short: usize,
    seed: u64,
    stride: usize,
    k: f64,
}

/// Learns in each fold from the clips of the others, and scores the clips of the fold.
pub fn run(args: &Args) -> Result<()> {
    let clips = open(&args.dir, args.folds(), args.neighbours_together, args.learning.seed)?;
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
        let taught: Vec<_> = clips.iter().zip(&recordings).filter(|(clip, _)| clip.fold != fold).collect();
        let learned = learn(args, &extractor, &taught)?;
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

/// The folds of `clips` clips: blocks of neighbours, dealt out at random unless these are to stay together.
fn folds_of(clips: usize, folds: usize, together: bool, seed: u64) -> Vec<usize> {
    let mut fold: Vec<usize> = (0..clips).map(|i| i * folds / clips).collect();
    if !together {
        fold.shuffle(&mut StdRng::seed_from_u64(seed));
    }
    fold
}

fn open(dir: &Path, folds: usize, together: bool, seed: u64) -> Result<Vec<Clip>> {
    let mut clips = Vec::new();
    for folder in labelled::open(dir)? {
        let (found, unusual) = (folder.clips.len(), folder.unusual);
        ensure!(
            found >= folds,
            "{}: {found} clips cannot be divided into {folds} folds (give fewer --folds, or more clips)",
            folder.path.display()
        );
        let dealt = folds_of(found, folds, together, seed);
        clips.extend(folder.clips.into_iter().zip(dealt).map(|(path, fold)| Clip { path, unusual, fold }));
    }
    Ok(clips)
}

/// Learns from some of the clips: from all of them where the method takes labels, else from the normal ones.
fn learn(args: &Args, extractor: &ExtractorModel, taught: &[(&Clip, &Recording)]) -> Result<train::Learned> {
    let config = args.learning.config()?;
    let watched = args.taking.stride();
    if config.method.needs_labels() {
        let clips = taught.iter().map(|(clip, recording)| (clip.unusual, *recording));
        let set = labelled_set(extractor, watched, clips);
        return progress_shown("learning", |on| Ok(train::learn_labelled(&set, &config, on)?));
    }
    let stride = learning_stride(watched);
    let far_apart = |recording: &Recording| {
        let mut kept = recording.clone();
        kept.segments.retain(|taken| taken.first_frame.is_multiple_of(stride as u64));
        kept
    };
    let normal = taught.iter().filter(|(clip, _)| !clip.unusual).map(|(_, recording)| far_apart(recording));
    let training = training_set(extractor.manifest(), stride, samples(normal.collect()))?;
    progress_shown("learning", |on| Ok(train::learn(training, &config, on)?))
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
        neighbours_together: args.neighbours_together,
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
        ("folds", (if e.neighbours_together { "neighbours together" } else { "drawn at random" }).into()),
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
        let clips = open(dir.path(), 2, true, 0).expect("as wanted");
        let count = |unusual, fold| clips.iter().filter(|c| c.unusual == unusual && c.fold == fold).count();
        assert_eq!([count(false, 0), count(false, 1), count(true, 0), count(true, 1)], [2, 2, 4, 3]);
    }

    #[test]
    fn folds_are_dealt_by_the_seed_or_keep_neighbours_together() {
        assert_eq!(folds_of(7, 3, true, 0), [0, 0, 0, 1, 1, 2, 2]);
        let (one, other) = (folds_of(50, 5, false, 0), folds_of(50, 5, false, 1));
        assert_ne!(one, other);
        for folds in [one, other] {
            assert!((0..5).all(|fold| folds.iter().filter(|f| **f == fold).count() == 10));
            assert!(folds.windows(2).any(|f| f[0] > f[1]), "not in blocks");
        }
    }

    #[test]
    fn what_is_odd_about_a_layout_is_said() {
        let dir = laid_out(&[("normal", 3)]);
        assert!(
            open(dir.path(), 2, false, 0)
                .expect_err("no label")
                .to_string()
                .contains("there are no unusual clips")
        );
        let dir = laid_out(&[("normal", 3), ("fight", 6)]);
        let few = open(dir.path(), 5, false, 0).expect_err("too few").to_string();
        assert!(few.contains("3 clips cannot be divided into 5 folds"), "{few}");
        assert!(!labelled::is_here(laid_out(&[("train", 1)]).path()));
    }
}
