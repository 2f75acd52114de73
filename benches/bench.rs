//! `make bench`: what the whole path costs beside decoding and scaling alone, in one run.
//!
//! A 1080p H.264 recording at 25 frames a second is played in real time, analysed at 10 frames a second: once
//! only decoded, thinned and scaled (this program runs itself for it), once by the armed daemon. The CPU time
//! of both processes is read over windows of the same length, turn and turn about.

mod support;

use anyhow::{Context, Result, bail};
use sigmawatch::frame::{FrameSpec, Next, PixelFormat, open_source};
use sigmawatch::{base::SystemClock, config};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use support::report::{Goal, Report};
use support::{clip, machine};

const WINDOW: Duration = Duration::from_secs(15);
const ROUNDS: usize = 3;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--only-decode") {
        return match only_decode(&args[at + 1]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        };
    }
    match measure() {
        Ok(report) => report.finish(),
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

fn measure() -> Result<Report> {
    let clip = clip::plaza(1920, 1080, 25, Duration::from_secs(30))?;
    let model = machine::learn(&clip)?;
    let (mut decode, mut whole, mut rates) = (vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        decode.push(cpu_of_decoding(&clip, WINDOW)?);
        let (cpu, segments) = cpu_of_daemon(&clip, &model, WINDOW)?;
        whole.push(cpu);
        rates.push(segments);
    }
    let ratios: Vec<f64> = decode.iter().zip(&whole).map(|(decode, whole)| whole / decode).collect();
    let mut report = Report::new("bench");
    report.add("decode and scale alone, CPU seconds a camera-second", median(&decode), "s/s", None);
    report.add("whole path, CPU seconds a camera-second", median(&whole), "s/s", None);
    // That the daemon has done its work: 10 frames a second and a segment every `stride` of them.
    let bank = config::Extractor::V1 { width: 360, height: 240, fps: 10.0, whole_frame: false };
    let expected = 10.0 / bank.usual_stride() as f64;
    report.add("segments scored a second", median(&rates), "1/s", Some(Goal::AtLeast(0.95 * expected)));
    report.add(
        "whole path against decode and scale, 1080p25 analysed at 10 fps",
        median(&ratios),
        "ratio",
        Some(Goal::AtMost(1.3)),
    );
    Ok(report)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// CPU seconds a process has used so far, all threads, user and system.
fn cpu(process: &machine::Running) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id()))?;
    let after_name = stat.rsplit_once(')').context("no process name in /proc/PID/stat")?.1;
    let field = |at: usize| -> Result<f64> {
        Ok(after_name.split_whitespace().nth(at).context("short /proc/PID/stat")?.parse()?)
    };
    // Fields 14 and 15, in ticks; Linux shows a hundred of them a second.
    Ok((field(11)? + field(12)?) / 100.0)
}

/// CPU seconds a second over `window`.
fn cpu_share(process: &machine::Running, window: Duration) -> Result<f64> {
    let before = cpu(process)?;
    std::thread::sleep(window);
    Ok((cpu(process)? - before) / window.as_secs_f64())
}

/// Whole path: an armed daemon that plays `clip` in real time. CPU seconds and segments a second.
fn cpu_of_daemon(clip: &Path, model: &Path, window: Duration) -> Result<(f64, f64)> {
    let daemon = machine::Daemon::start(&format!(
        "[[camera]]\nname = \"clip\"\nsource = \"file\"\nlocation = {clip:?}\n\
         real_time = true\ndetector.scorer = {model:?}\n"
    ))?;
    wait_for_scores(&daemon)?;
    let segments = || -> Result<f64> {
        daemon.get("/api/cameras/clip")?["detectors"][0]["segments"].as_f64().context("no count of segments")
    };
    let before = segments()?;
    let share = cpu_share(&daemon.running, window)?;
    Ok((share, (segments()? - before) / window.as_secs_f64()))
}

fn wait_for_scores(daemon: &machine::Daemon) -> Result<()> {
    for _ in 0..100 {
        if daemon.get("/api/cameras/clip")?["detectors"][0]["score"].is_number() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("no score within 10 s")
}

/// The limit: this program, only taking the same frames from the same room.
fn cpu_of_decoding(clip: &Path, window: Duration) -> Result<f64> {
    let child = Command::new(std::env::current_exe()?)
        .arg("--only-decode")
        .arg(clip)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let running = machine::Running::new(child);
    // As long as the daemon takes until its first score, so that both are measured on the same pictures.
    std::thread::sleep(Duration::from_secs(2));
    cpu_share(&running, window)
}

/// Takes the frames of `clip` in real time and throws them away.
fn only_decode(clip: &str) -> Result<()> {
    let source = config::Source::Gst(config::Gst {
        pipeline: "file".into(),
        location: clip.into(),
        user: None,
        password: None,
        ca: None,
        transport: config::Transport::Tcp,
        live: false,
        real_time: true,
        isolate: false,
    });
    let clock = std::sync::Arc::new(SystemClock::default());
    let mut source = open_source(&source, &machine::root().join("pipelines"), clock)?;
    let spec = FrameSpec { width: 360, height: 240, format: PixelFormat::Gray8, fps: 10.0 };
    let mut stream = source.open(&[spec])?;
    while !matches!(stream.next(Duration::from_secs(5))?, Next::End) {}
    Ok(())
}
