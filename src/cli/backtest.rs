//! `sigmawatch backtest`: the alarms that other settings would have raised, over kept scores or recordings.

use super::recordings::{Machinery, find, progress_bar, take_all};
use super::score::extractor_of;
use super::{init_onnxruntime, named_camera, out, out_json};
use crate::api::{BacktestBody, Subject, Table, over_store};
use crate::base::{CameraName, DetectorName, SystemClock, Timestamp};
use crate::config::{self, Budget, Config, FUSED, Fusion, Provider};
use crate::infer::{self, Session};
use crate::score::OnnxScorer;
use crate::store::{Layout, Store};
use crate::threshold::{DEFAULT_K, DayParts, History, Judging, Row, Rule, Threshold};
use anyhow::{Context, Result, ensure};
use jiff::tz::TimeZone;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// Say which alarms other settings would have raised.
///
/// Reads the scores that a daemon keeps of a camera, whether it runs or not, and tries every combination of the
/// limits and debounces asked for: how many alarms there would have been, and which of the events that somebody
/// reviewed would be missed or gone. Nothing is decoded again and nothing is changed. What is not asked for is tried
/// with what is in force and a useful spread.
///
/// Or scores recordings with a learned model, and tries the same over them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sigmawatch backtest --camera gate                         the last week, with a spread of settings
  sigmawatch backtest --camera gate --k 3,4,5 --debounce 2/3,3/5 --after 2026-11-15T00:00:00Z
  sigmawatch backtest --camera gate --budget 1/hour,1/day --json
  sigmawatch backtest --recording night.mp4 --model gate.onnx

The limit of a budget is found from the same scores that it is tried over, without incidents (events reviewed as
true alarms, and those of medium and high severity not reviewed as false ones).")]
pub struct Args {
    /// The configuration file of the daemon
    #[arg(long, value_name = "FILE", default_value = "config.toml")]
    config: PathBuf,
    /// The camera whose scores are read
    #[arg(long, value_name = "NAME", required_unless_present = "recording")]
    camera: Option<String>,
    /// Which of its detectors, or `fused` [default: the first that opens events]
    #[arg(long, value_name = "NAME")]
    detector: Option<String>,
    /// Scores from then on, as 2026-11-15T00:00:00Z [default: a week earlier, but not before the model was learned]
    #[arg(long, value_name = "TIME")]
    after: Option<Timestamp>,
    /// Scores until then [default: now]
    #[arg(long, value_name = "TIME")]
    before: Option<Timestamp>,
    /// Limits mu + k sigma, separated by commas
    #[arg(long, value_name = "K", value_delimiter = ',')]
    k: Option<Vec<f64>>,
    /// Limits that keep a budget: N/hour, N/day or N/week, separated by commas
    #[arg(long, value_name = "N/SPAN", value_delimiter = ',', value_parser = Budget::try_from_text)]
    budget: Option<Vec<Budget>>,
    /// An alarm opens when N of M segments are above the limit; separated by commas
    #[arg(long, value_name = "N/M", value_delimiter = ',', value_parser = opening)]
    debounce: Option<Vec<[usize; 2]>>,
    /// Recordings, or folders of them, instead of a camera's scores
    #[arg(long, value_name = "VIDEO", num_args = 1.., requires = "model",
          conflicts_with_all = ["camera", "detector", "after", "before"])]
    recording: Vec<PathBuf>,
    /// The model file that scores them
    #[arg(long, value_name = "FILE", requires = "recording")]
    model: Option<PathBuf>,
    /// The extractor's model file, where the model was learned from another one than the built-in
    #[arg(long, value_name = "FILE", requires = "recording")]
    extractor: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machinery: Machinery,
}

/// Reads `N/M`.
fn opening(text: &str) -> Result<[usize; 2], String> {
    let numbers = text.split_once('/').and_then(|(n, m)| Some([n.parse().ok()?, m.parse().ok()?]));
    numbers.ok_or_else(|| format!("`{text}` is no debounce such as 2/3: two of the last three segments"))
}

/// # Errors
/// When there is nothing to try, or it cannot be read.
pub fn run(args: &Args) -> Result<ExitCode> {
    let body = BacktestBody {
        detector: args.detector.clone(),
        after: args.after,
        before: args.before,
        k: args.k.clone(),
        budget: args.budget.clone(),
        debounce: args.debounce.clone(),
    };
    match &args.model {
        Some(model) => of_recordings(args, model, &body)?,
        None => of_store(args, &body)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn of_store(args: &Args, body: &BacktestBody) -> Result<()> {
    let config = config::load(&args.config)?.config;
    let camera = args.camera.as_deref().context("--camera is missing")?;
    let (camera, detector, subject) = in_force(&config, &args.config, camera, args.detector.as_deref())?;
    let clock = Arc::new(SystemClock::default());
    let store = Store::read_only(&config.store.dir, clock)?;
    let found = over_store(&store, (&camera, &detector), &subject, body, Timestamp::now())?;
    if args.json {
        return out_json(&found);
    }
    let (after, before) = (found.after, found.before);
    out(format_args!("{camera}, detector {detector}: {after:.0} to {before:.0}"))?;
    print(&found.table, found.took_ms)
}

/// The detector that is meant, and what its configuration and its model say.
fn in_force(
    config: &Config,
    file: &Path,
    camera: &str,
    detector: Option<&str>,
) -> Result<(CameraName, DetectorName, Subject)> {
    let camera = named_camera(config, file, camera)?;
    let fused = camera.fusion != Fusion::None;
    let usual = if fused { FUSED } else { &camera.detectors[0].name };
    let wanted = detector.unwrap_or(usual);
    // A fused verdict is judged as its first member is.
    let first = Some(&camera.detectors[0]).filter(|_| fused && wanted == FUSED);
    let found =
        first.or_else(|| camera.detectors.iter().find(|d| *d.name == *wanted)).with_context(|| {
            let names = camera.detectors.iter().map(|d| &*d.name).chain(fused.then_some(FUSED));
            let names = names.collect::<Vec<_>>().join(", ");
            format!("{}: {} has no detector {wanted} (there are: {names})", file.display(), camera.name)
        })?;
    let config::Threshold { k, budget, .. } = found.threshold;
    let (plain, learned_at) = match first {
        Some(_) => (Threshold::plain(0.0, 1.0, k), None),
        None => {
            let learned = Layout::new(&config.store.dir).model(&camera.name, &found.name);
            let model = match &found.scorer {
                config::Scorer::File(file) => file.clone(),
                config::Scorer::Learned(_) => learned,
            };
            ensure!(
                model.exists(),
                "{}: camera {} has no model yet, and so no threshold (let it watch until it is armed)",
                model.display(),
                camera.name
            );
            infer::init(&config.runtime.onnxruntime)?;
            let (manifest, _) = infer::describe(&model)?;
            let spec = manifest.scorer(&model.display().to_string())?;
            (Threshold::of(&spec.calibration, k), modified(&model))
        }
    };
    let subject = Subject {
        judging: Judging::of(&found.threshold, &config.runtime.timezone),
        threshold: Threshold { budget, ..plain },
        rhythm: None,
        learned_at,
        limit_of_scores: budget.is_some(),
    };
    Ok((camera.name.clone(), wanted.into(), subject))
}

/// When a file was written; `None` where the disk does not say.
fn modified(file: &Path) -> Option<Timestamp> {
    Timestamp::try_from(file.metadata().ok()?.modified().ok()?).ok()
}

/// What is said of recordings.
#[derive(Debug, Serialize)]
struct OfRecordings {
    recordings: Vec<PathBuf>,
    model: PathBuf,
    #[serde(flatten)]
    table: Table,
    /// Trying, without decoding and scoring, milliseconds.
    took_ms: u64,
}

fn of_recordings(args: &Args, model: &Path, body: &BacktestBody) -> Result<()> {
    init_onnxruntime()?;
    let session = Session::load(model)?;
    let spec = session.manifest().scorer(session.model())?.clone();
    let (extractor, stride) = extractor_of(model, &spec, args.extractor.as_deref(), Provider::Cpu)?;
    session.manifest().check_learned_from(session.model(), extractor.manifest())?;
    let mut scorer = OnnxScorer::new(session)?;
    let paths = find(&args.recording)?;
    let bar = progress_bar("scoring");
    let recordings = take_all(&paths, &extractor, stride, &args.machinery, &bar)?;
    bar.finish_and_clear();
    let rule = Rule::default();
    // One after the other, and each run so far from the next that no alarm goes over both.
    let apart = 2.0 * rule.close_after.as_secs_f64();
    let (mut history, mut begun) = (History::default(), 0.0);
    for recording in &recordings {
        let scores = recording.scored(&mut scorer)?;
        let segments: Vec<_> = recording.segments.iter().zip(&scores).collect();
        for run in segments.chunk_by(|(a, _), (b, _)| a.run == b.run) {
            let first = run.first().map_or(0.0, |(taken, _)| taken.end);
            let mut last = begun;
            for (taken, score) in run {
                last = begun + taken.end - first;
                let kept = history.push((last * 1e6).round() as i64, score.value);
                ensure!(kept, "{}: more than 49 days of recordings at once", recording.path.display());
            }
            begun = last + apart;
        }
    }
    ensure!(!history.is_empty(), "the recordings hold no segment: each needs 16 frames at least");
    let day = DayParts::new(config::Baseline::One, TimeZone::UTC);
    let subject = Subject {
        judging: Judging { rule, hysteresis: 0.0, day },
        threshold: Threshold::of(&spec.calibration, DEFAULT_K),
        rhythm: None,
        learned_at: None,
        limit_of_scores: false,
    };
    let began = Instant::now();
    let table = subject.table(&history, None, &[], &[], body)?;
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    if args.json {
        return out_json(&OfRecordings { recordings: paths, model: model.to_owned(), table, took_ms });
    }
    let noun = if paths.len() == 1 { "recording" } else { "recordings" };
    out(format_args!("{} {noun}, by {}", paths.len(), model.display()))?;
    print(&table, took_ms)
}

fn print(table: &Table, took_ms: u64) -> Result<()> {
    let Table { hours, segments, true_alarms, false_alarms, in_force, rows, notes } = table;
    out(format_args!("{hours:.1} hours of {segments} scores, tried in {took_ms} ms"))?;
    out(format_args!("reviewed: {true_alarms} true alarms, {false_alarms} false ones"))?;
    out("")?;
    out(format_args!(
        "{:<10} {:>9} {:>8} {:>7} {:>8} {:>9} {:>12} {:>12}",
        "setting", "limit", "k", "opens", "alarms", "a day", "true missed", "false gone"
    ))?;
    line("in force", in_force)?;
    for row in rows {
        let setting = match (row.budget, row.k) {
            (Some(budget), _) => format!("{budget}{}", if row.extrapolated { " *" } else { "" }),
            (None, Some(k)) => format!("k {k}"),
            (None, None) => "k".into(),
        };
        line(&setting, row)?;
    }
    if rows.iter().any(|row| row.extrapolated) {
        out("* so rare an alarm was not seen often enough: the limit rests on the shape of the tail")?;
    }
    for note in notes {
        out(format_args!("note: {note}"))?;
    }
    for (name, row) in
        [("in force".to_owned(), in_force)].into_iter().chain(rows.iter().map(|r| (named(r), r)))
    {
        if !row.true_missed.is_empty() {
            out(format_args!("true alarms that {name} would have missed: {}", row.true_missed.join(" ")))?;
        }
    }
    Ok(())
}

fn line(setting: &str, row: &Row) -> Result<()> {
    let Row { k, open: [n, m], threshold, alarms, alarms_per_day, .. } = row;
    let k = k.map_or_else(|| "-".to_owned(), |k| format!("{k:.2}"));
    let of = |gone: &[String], kept: usize| format!("{} of {}", gone.len(), gone.len() + kept);
    let (missed, gone) = (of(&row.true_missed, row.true_kept), of(&row.false_gone, row.false_kept));
    let opens = format!("{n}/{m}");
    out(format_args!(
        "{setting:<10} {threshold:>9.4} {k:>8} {opens:>7} {alarms:>8} {alarms_per_day:>9.2} {missed:>12} {gone:>12}"
    ))
}

/// A setting in words.
fn named(row: &Row) -> String {
    let [n, m] = row.open;
    match (row.budget, row.k) {
        (Some(budget), _) => format!("{budget} with {n}/{m}"),
        (None, k) => format!("k {} with {n}/{m}", k.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debounces_are_read() {
        assert_eq!(opening("2/3"), Ok([2, 3]));
        for wrong in ["", "2", "2/", "a/b", "2/3/4", "-1/2"] {
            assert!(opening(wrong).expect_err("none").contains("2/3"), "{wrong}");
        }
    }
}
