//! `make figures`: accuracy on footage, and the time from a segment's last frame to its alert on the wire.

mod support;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use support::report::{Goal, Report};
use support::{clip, machine, place};

const SEEDS: u32 = 3;
const CAMERAS: usize = 8;
/// Alerts whose latency is measured.
const ALERTS: usize = 120;

fn main() -> ExitCode {
    let mut report = Report::new("figures");
    let done = latency(&mut report).and_then(|()| accuracy(&mut report));
    if let Err(error) = done {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    report.finish()
}

/// Ped2: learned on its normal clips, without a label; a figure for each seed and the worst of them.
fn accuracy(report: &mut Report) -> Result<()> {
    let dataset = place::root().join("../shared/data/ped2");
    if !dataset.exists() {
        bail!("{} is not there: accuracy is measured on it", dataset.display());
    }
    let (mut worst, mut slowest) = (f64::INFINITY, 0.0f64);
    for seed in 0..SEEDS {
        let begun = Instant::now();
        let found = eval(&dataset, &["--seed", &seed.to_string()])?;
        slowest = slowest.max(begun.elapsed().as_secs_f64());
        let number = |key: &str| found[key].as_f64().with_context(|| format!("no {key}"));
        worst = worst.min(number("frame_auc_micro")?);
        for (key, unit) in [
            ("frame_auc_micro", "AUC"),
            ("frame_auc_macro", "AUC"),
            ("eer", "share"),
            ("average_precision", "share"),
            ("region_hit_rate", "share"),
            ("false_alarms_per_hour", "1/h"),
            ("detection_delay_seconds", "s"),
            ("cpu_seconds_per_video_second", "s/s"),
            ("learn_seconds", "s"),
        ] {
            report.add(format!("Ped2, seed {seed}: {key}"), number(key)?, unit, None);
        }
    }
    report.add("Ped2: frame AUC (micro), worst seed", worst, "AUC", Some(Goal::AtLeast(0.95)));
    report.add("Ped2: learning and scoring, slowest seed", slowest, "s", Some(Goal::AtMost(180.0)));
    let whole = eval(&dataset, &["--whole-frame"])?["frame_auc_micro"].as_f64().context("no AUC")?;
    report.add("Ped2: frame AUC (micro), whole-frame features", whole, "AUC", None);
    Ok(())
}

fn eval(dataset: &std::path::Path, more: &[&str]) -> Result<Value> {
    let output = Command::new(place::PROGRAM).arg("eval").arg(dataset).arg("--json").args(more).output()?;
    if !output.status.success() {
        bail!("eval: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Cameras that alert often (k = 0, one segment of one, short events), and a client of the event stream that
/// compares the arrival of the segment's last frame with its own clock: all are on this machine.
fn latency(report: &mut Report) -> Result<()> {
    let clip = clip::plaza(640, 360, 25, Duration::from_secs(120))?;
    let model = place::learn(&clip, "diffusion")?;
    let camera = |number: usize| {
        format!(
            "[[camera]]\nname = \"c{number}\"\nsource = \"file\"\nlocation = {clip:?}\nreal_time = true\n\
             detector.scorer = {model:?}\ndetector.k = 0.0\ndetector.open_n = 1\ndetector.open_m = 1\n\
             detector.close_after = \"100ms\"\n"
        )
    };
    let daemon = machine::Daemon::start(&(0..CAMERAS).map(camera).collect::<String>())?;
    let mut stream = TcpStream::connect(&daemon.address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "GET /api/stream HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n",
        daemon.address
    )?;
    let (mut delays, mut new) = (vec![], false);
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if let Some(topic) = line.strip_prefix("event:") {
            new = topic.trim() == "alert.new";
        } else if let Some(data) = line.strip_prefix("data:").filter(|_| new) {
            let event: Value = serde_json::from_str(data)?;
            let last: Timestamp = event["last_time"].as_str().context("no last_time")?.parse()?;
            delays.push(Timestamp::now().duration_since(last).as_secs_f64());
            new = false;
        }
        if delays.len() == ALERTS {
            break;
        }
    }
    let cameras = daemon.get("/api/cameras")?;
    let live =
        cameras.as_array().context("no cameras")?.iter().filter(|camera| camera["state"] == "live").count();
    report.add(
        format!("{CAMERAS} cameras: live at the end"),
        live as f64,
        "cameras",
        Some(Goal::AtLeast(CAMERAS as f64)),
    );
    let memory = resident(daemon.running.id())?;
    report.add(format!("{CAMERAS} cameras: resident memory"), memory, "MiB", None);
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| delays.get((delays.len() as f64 * share) as usize).copied();
    report.add(format!("{CAMERAS} cameras: alerts measured"), delays.len() as f64, "alerts", None);
    let median = at(0.5).context("no alert came")?;
    report.add(
        format!("{CAMERAS} cameras: last frame to alert on the wire, median"),
        median * 1000.0,
        "ms",
        None,
    );
    let p95 = at(0.95).context("no alert came")? * 1000.0;
    let goal = Some(Goal::AtMost(150.0));
    report.add(format!("{CAMERAS} cameras: last frame to alert on the wire, p95"), p95, "ms", goal);
    Ok(())
}

/// Resident memory of a process in MiB.
fn resident(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
