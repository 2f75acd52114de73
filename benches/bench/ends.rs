//! From end to end: decoding and scaling alone, the bank alone, the armed daemon, the peer; turn and turn about.

use crate::alone::command;
use crate::inputs::{BANK, FPS, bits_per_pixel, ped2, plaza, segments, watch};
use crate::peer::{Found, Peer, TOLERANCE, scores_of_the_program};
use crate::plot::{Bars, draw};
use crate::support::machine::Running;
use crate::support::place;
use crate::support::report::{Goal, Report};
use crate::{cpu, median};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const WINDOW: Duration = Duration::from_secs(6);
/// So long after its first frame a process is measured: the daemon's first score comes 1.6 s after it.
const SETTLE: Duration = Duration::from_secs(2);
/// Of the video, for what is measured as fast as it goes: the bank, and the peer, which takes a camera a time.
const SECONDS: usize = 7;
const PEER_SECONDS: f64 = 20.0;

/// One recording, watched as so many cameras by one process.
struct Input {
    name: &'static str,
    clip: PathBuf,
    size: (u32, u32),
    fps: f64,
    cameras: usize,
    /// Cameras at saturation, of those that decoding alone would allow.
    goal: Option<f64>,
}

/// What one round found: CPU seconds a camera-second.
struct Round {
    decode: f64,
    extract: f64,
    daemon: f64,
    /// Segments a second and camera.
    rate: f64,
    peer: Option<Found>,
}

pub fn measure(report: &mut Report) -> Result<()> {
    let camera = |name, (width, height), cameras, goal| -> Result<Input> {
        Ok(Input { name, clip: plaza(width, height)?, size: (width, height), fps: 25.0, cameras, goal })
    };
    let mut inputs = vec![
        camera("640x360", (640, 360), 4, Some(0.7))?,
        camera("720p", (1280, 720), 4, None)?,
        camera("1080p", (1920, 1080), 3, Some(0.85))?,
    ];
    inputs.extend(ped2()?.map(|clip| Input {
        name: "Ped2",
        clip,
        size: (360, 240),
        fps: FPS,
        cameras: 4,
        goal: None,
    }));
    let (peer, mut bars) = (Peer::new()?, vec![]);
    for input in &inputs {
        bars.push(one(report, input, peer.as_ref())?);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        draw(&place::root().join("docs/ref/bench.svg"), &bars)?;
    }
    Ok(())
}

fn one(report: &mut Report, input: &Input, peer: Option<&Peer>) -> Result<Bars> {
    let Input { name, clip, size: (width, height), fps, cameras, goal } = input;
    let model = place::learn(clip, "diffusion")?;
    let rounds = (0..ROUNDS).map(|_| round(input, &model, peer)).collect::<Result<Vec<_>>>()?;
    let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
    let what = |what: &str| format!("{name}: {what}");
    let bits = bits_per_pixel(clip, width * height, *fps, 60.0)?;
    report.add(what("bits a pixel"), bits, "bit", None);
    report.add(what("decode and scale alone"), of(|r| r.decode), "CPU s/s", None);
    report.add(what("extractor alone"), of(|r| r.extract), "CPU s/s", None);
    report.add(what(&format!("whole path, {cameras} cameras")), of(|r| r.daemon), "CPU s/s", None);
    // That the daemon has done its work: a segment every `stride` frames.
    let expected = FPS / BANK.usual_stride() as f64;
    let rate = Some(Goal::AtLeast(0.95 * expected));
    report.add(what("segments scored a second and camera"), of(|r| r.rate), "1/s", rate);
    let ratio = of(|r| r.decode / r.daemon);
    report.add(what("cameras, of those that decoding allows"), ratio, "ratio", goal.map(Goal::AtLeast));
    let mut bars = Bars {
        name,
        decode: of(|r| r.decode),
        extract: of(|r| r.extract),
        daemon: of(|r| r.daemon),
        peer: None,
    };
    if let Some(found) = &rounds[0].peer {
        let cost = |round: &Round| round.peer.as_ref().map_or(f64::NAN, |found| found.cost);
        bars.peer = Some(median(rounds.iter().map(cost)));
        report.add(what("peer in Python"), bars.peer.unwrap_or(f64::NAN), "CPU s/s", None);
        let times = median(rounds.iter().map(|round| cost(round) / round.daemon));
        report.add(what("cameras, against the peer's"), times, "ratio", Some(Goal::AtLeast(3.0)));
        let most = median(rounds.iter().map(|round| cost(round) / round.decode));
        report.add(what("the same, if only decoding cost anything"), most, "ratio", None);
        let (middle, worst) = apart(found, clip, &model)?;
        let within = Some(Goal::AtMost(TOLERANCE));
        report.add(what("scores of peer and program apart, median"), middle, "sigma", within);
        report.add(what("scores of peer and program apart, at most"), worst, "sigma", None);
    }
    Ok(bars)
}

fn round(input: &Input, model: &Path, peer: Option<&Peer>) -> Result<Round> {
    let Input { clip, cameras, .. } = input;
    let decode = decoding(clip, *cameras)?;
    let extract = extraction(clip, *cameras)?;
    let (daemon, rate) = watching(clip, model, *cameras)?;
    let peer = peer.map(|peer| peer.watch(clip, model, PEER_SECONDS)).transpose()?;
    Ok(Round { decode, extract, daemon, rate, peer })
}

fn decoding(clip: &Path, cameras: usize) -> Result<f64> {
    let clip = clip.to_str().context("odd path")?;
    let mut child = command(&["decode", clip, &cameras.to_string()])?.spawn()?;
    let stdout = child.stdout.take().context("no output")?;
    let running = Running::new(child);
    let mut ready = String::new();
    BufReader::new(stdout).read_line(&mut ready)?;
    ensure!(ready.trim() == "ready", "decoding alone did not start");
    std::thread::sleep(SETTLE);
    Ok(cpu::share(running.id(), WINDOW)? / cameras as f64)
}

fn extraction(clip: &Path, cameras: usize) -> Result<f64> {
    let clip = clip.to_str().context("odd path")?;
    let output = command(&["extract", clip, &cameras.to_string(), &SECONDS.to_string()])?.output()?;
    ensure!(output.status.success(), "extraction alone: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// CPU seconds a camera-second, and segments a second and camera.
fn watching(clip: &Path, model: &Path, cameras: usize) -> Result<(f64, f64)> {
    let daemon = watch(clip, model, cameras)?;
    let (before, began) = (segments(&daemon)?, Instant::now());
    let share = cpu::share(daemon.running.id(), WINDOW)?;
    let rate = (segments(&daemon)? - before) / began.elapsed().as_secs_f64();
    Ok((share / cameras as f64, rate / cameras as f64))
}

/// How far the peer's scores are from the program's, in standard deviations of normal life's: median and worst.
fn apart(found: &Found, clip: &Path, model: &Path) -> Result<(f64, f64)> {
    let (scores, sigma) = scores_of_the_program(clip, model)?;
    // The model file says to take fewer segments than the daemon does.
    let pairs = scores.iter().filter_map(|(end, score)| Some((score, found.scores.get(end)?)));
    let apart: Vec<f64> = pairs.map(|(a, b)| (a - b).abs() / sigma).collect();
    ensure!(apart.len() > 10, "too few scores to compare: {}", apart.len());
    Ok((median(apart.iter().copied()), apart.iter().copied().fold(0.0, f64::max)))
}
