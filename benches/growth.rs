//! `make growth`: what more and more cameras cost on this machine, up to too many, by `sigmawatch bench`.
//!
//! Small streams of 640x360 at 12.5 and 25 frames a second, and large ones; writes `target/growth.json`, and with
//! UPDATE_DOCS=1 table and plot into docs/ref/capacity.md. A goal that is missed is said, and fails it. GROWTH=FILE takes
//! what such a file says instead of measuring.

mod growth {
    pub mod plot;
}

use anyhow::{Context, Result, ensure};
use growth::plot;
use serde_json::{Map, Value};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Size, frames a second, numbers of cameras, and goals: share of decoding alone, MiB a camera.
const RUNS: [(&str, &str, &str, f64, f64); 3] = [
    ("640x360", "12.5", "1,2,4,8,16,32,64,128", 0.7, 10.0),
    ("640x360", "25", "1,2,4,8,16,32,64,128", 0.7, 10.0),
    ("1920x1080", "25", "1,2,4,8,16,32", 0.85, 25.0),
];
/// Milliseconds, p99, with as many cameras as it is said to carry.
const LATENCY: f64 = 250.0;

fn main() -> ExitCode {
    match measure() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Measures, writes, and says whether all goals are reached.
fn measure() -> Result<bool> {
    let seconds = std::env::var("SECONDS_EACH").unwrap_or_else(|_| "20".into());
    let measured = std::env::var_os("GROWTH").map(std::fs::read).transpose().context("GROWTH")?;
    let measured: Option<Value> = measured.map(|text| serde_json::from_slice(&text)).transpose()?;
    let (mut all, mut goals) = (Map::new(), String::new());
    let mut reached = true;
    for (size, fps, cameras, share, memory) in RUNS {
        let name = format!("{size} at {fps}");
        println!("\n{name} frames a second");
        let report = match measured.as_ref().map(|all| &all[&name]) {
            Some(Value::Null) => continue,
            Some(report) => report.clone(),
            None => one(size, fps, cameras, &seconds)?,
        };
        let number = |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let decoding = number("/decoding_cores") / number("/cores_line/each");
        // Of alerts, where there were enough; it is that of all verdicts and the writing to disk.
        let latency = match number("/outcome/alert_latency_p99_ms") {
            alerts if alerts.is_finite() => alerts,
            _ => number("/outcome/latency_p99_ms"),
        };
        for (what, figure, good, goal) in [
            (
                "CPU of decoding and scaling alone, against all",
                decoding,
                decoding >= share,
                format!(">= {share}"),
            ),
            (
                "MiB for a further camera",
                number("/memory_line/each"),
                number("/memory_line/each") <= memory,
                format!("<= {memory}"),
            ),
            (
                "latency p99 with as many as it carries, ms",
                latency,
                latency <= LATENCY,
                format!("<= {LATENCY}"),
            ),
        ] {
            reached &= good;
            let verdict = match figure.is_finite() {
                false => "not measured",
                true if good => "pass",
                true => "MISSED",
            };
            println!("  {what:<52} {figure:>8.3}  {goal:<8} {verdict}");
            writeln!(goals, "| {name}: {what} | {figure:.3} | {goal} | {verdict} |")?;
        }
        all.insert(name, report);
    }
    let file = root().join("target/growth.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&all)?).context("target/growth.json")?;
    println!("written to target/growth.json");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        document(&all, &goals)?;
    }
    Ok(reached)
}

/// One run of the program.
fn one(size: &str, fps: &str, cameras: &str, seconds: &str) -> Result<Value> {
    let json: PathBuf = root().join("target/growth-one.json");
    let status = Command::new(env!("CARGO_BIN_EXE_sigmawatch"))
        .current_dir(root())
        .args(["bench", "--size", size, "--fps", fps, "--cameras", cameras, "--seconds", seconds, "--json"])
        .arg(&json)
        .status()?;
    ensure!(status.success(), "sigmawatch bench: {status}");
    let report = serde_json::from_slice(&std::fs::read(&json)?)?;
    std::fs::remove_file(&json)?;
    Ok(report)
}

/// Puts tables and plot into docs/ref/capacity.md.
fn document(all: &Map<String, Value>, goals: &str) -> Result<()> {
    let mut made = String::new();
    for (name, report) in all {
        let line = |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let steps = report["steps"].as_array().into_iter().flatten();
        let others = steps.filter_map(|step| step["others_cores"].as_f64()).fold(0.0, f64::max);
        writeln!(
            made,
            "{name} frames a second ({:.2} Mbit/s), {} cores: `cores = {:.3} + {:.4} * cameras`, `MiB = {:.0} + {:.1} * \
             cameras`; decoding and scaling alone {:.4} cores a camera. By the formula {:.0} cameras use 80 %; {} \
             {}, while other programs used up to {:.1} cores.\n",
            line("/clip/mbit_per_second"),
            line("/cores"),
            line("/cores_line/base"),
            line("/cores_line/each"),
            line("/memory_line/base"),
            line("/memory_line/each"),
            line("/decoding_cores"),
            ((0.8 * line("/cores") - line("/cores_line/base")) / line("/cores_line/each")).floor(),
            line("/outcome/cameras"),
            if report["outcome"]["measured"] == true { "were carried" } else { "were not tried" },
            others,
        )?;
        made.push_str("| cameras | cores | MiB | latency p50, ms | p99, ms | of alerts, ms | segments/s | dropped | frames | key frames only | least served |\n");
        made.push_str("|---|---|---|---|---|---|---|---|---|---|---|\n");
        for step in report["steps"].as_array().into_iter().flatten() {
            let of = |key: &str| step[key].as_f64().unwrap_or(f64::NAN);
            let ms = |key: &str| step[key].as_f64().map_or(String::new(), |ms| format!("{ms:.0}"));
            writeln!(
                made,
                "| {} | {:.3} | {:.0} | {} | {} | {} | {:.1} | {:.1} % | {:.1} % | {} | {:.0} % |",
                of("cameras"),
                of("cores"),
                of("memory_mib"),
                ms("latency_p50_ms"),
                ms("latency_p99_ms"),
                ms("alert_latency_p99_ms"),
                of("scored_per_second"),
                100.0 * of("dropped"),
                100.0 * of("frames"),
                of("keyframes_only"),
                100.0 * of("least_served")
            )?;
        }
        made.push('\n');
    }
    write!(made, "| goal | figure | | |\n|---|---|---|---|\n{goals}")?;
    std::fs::write(root().join("docs/images/capacity.svg"), plot::svg(all)).context("capacity.svg")?;
    let page = root().join("docs/ref/capacity.md");
    let text = std::fs::read_to_string(&page)?;
    let (before, rest) = text.split_once("<!-- growth -->\n").context("no mark in capacity.md")?;
    let (_, after) = rest.split_once("<!-- end -->").context("no end of the tables in capacity.md")?;
    std::fs::write(&page, format!("{before}<!-- growth -->\n{made}<!-- end -->{after}"))?;
    println!("written to docs/ref/capacity.md");
    Ok(())
}
