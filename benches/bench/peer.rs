//! The peer: a Python program with the same model files, in a virtual environment that `make bench` makes.

use crate::inputs::BANK;
use crate::support::place::{PROGRAM, root};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How far the peer's scores may be from the program's in the median, in standard deviations of normal life's: each scales
/// pictures by its own library. Where nothing is scaled (Ped2) they are the same.
pub const TOLERANCE: f64 = 0.25;

/// The Python of the peer's environment, and the bank as a file.
pub struct Peer {
    python: PathBuf,
    bank: PathBuf,
}

/// What the peer found in a recording.
pub struct Found {
    /// CPU seconds a second of video.
    pub cost: f64,
    pub scores: Scores,
}

/// Scores by the ends of their segments, in milliseconds of the video.
pub type Scores = BTreeMap<i64, f64>;

impl Peer {
    /// `None`, and a word, where there is no environment.
    pub fn new() -> Result<Option<Self>> {
        let python = root().join("target/peer/bin/python");
        if !python.exists() {
            eprintln!(
                "skipped: the peer has no Python in target/peer (`make bench` makes it; is there a network?)"
            );
            return Ok(None);
        }
        let bank = root().join("target/clips/v1.onnx");
        let exported = Command::new(PROGRAM).args(["models", "export", "v1", "--out"]).arg(&bank).output()?;
        ensure!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
        Ok(Some(Self { python, bank }))
    }

    /// Watches the first seconds of a recording.
    pub fn watch(&self, clip: &Path, model: &Path, seconds: f64) -> Result<Found> {
        let output = Command::new(&self.python)
            .arg(root().join("benches/peer/peer.py"))
            .arg("--json")
            .arg("--extractor")
            .arg(&self.bank)
            .arg("--scorer")
            .arg(model)
            .args(["--stride", &BANK.usual_stride().to_string(), "--seconds", &seconds.to_string()])
            .arg(clip)
            .output()?;
        ensure!(output.status.success(), "the peer: {}", String::from_utf8_lossy(&output.stderr));
        let lines = lines(&output.stdout)?;
        let (costs, scores) = lines.split_last().context("the peer said nothing")?;
        let number = |key: &str| costs[key].as_f64().with_context(|| format!("the peer gave no {key}"));
        Ok(Found { cost: number("cpu_seconds")? / number("video_seconds")?, scores: of(scores) })
    }
}

/// Scores of the program for a recording, and the standard deviation of normal life's.
pub fn scores_of_the_program(clip: &Path, model: &Path) -> Result<(Scores, f64)> {
    let run = |args: &[&str], file: &Path| -> Result<Vec<u8>> {
        let output = Command::new(PROGRAM).args(args).arg(file).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    };
    let model_path = model.to_str().context("odd path")?;
    let scores = lines(&run(&["score", "--json", "--model", model_path], clip)?)?;
    let told: Value = serde_json::from_slice(&run(&["models", "describe", "--json"], model)?)?;
    let sigma = told["manifest"]["spec"]["calibration"]["sigma"].as_f64().context("no sigma")?;
    Ok((of(&scores), sigma))
}

fn lines(text: &[u8]) -> Result<Vec<Value>> {
    let text = std::str::from_utf8(text)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn of(lines: &[Value]) -> Scores {
    let score =
        |line: &Value| Some(((line["end"].as_f64()? * 1000.0).round() as i64, line["score"].as_f64()?));
    lines.iter().filter_map(score).collect()
}
