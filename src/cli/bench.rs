//! `sigmawatch bench`: how many cameras this machine carries, measured on it.

mod clip;
mod decoding;
mod fit;
mod machine;
mod scrape;
mod step;

use super::{named_camera, onnxruntime_library, out};
use crate::base::write_atomically;
use crate::cli::recordings::pipelines_folder;
use crate::config;
use crate::daemon::Stop;
use anyhow::{Context, Result, bail, ensure};
use clip::{About, Clip};
use fit::{Line, Outcome};
use machine::Setting;
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use step::Step;

/// Numbers of cameras that are tried, each smaller than the last, to find one that is carried.
const TRIES: usize = 4;
/// Share of the processor that cameras may use: the rest is for the page, for learning and for bad days.
const USED: f64 = 0.8;
/// What a recording that is made here is like: long enough to learn from.
const MADE: Duration = Duration::from_secs(30);
/// Steps with more cameras than this are never tried only to look whether a figure holds.
const AHEAD: f64 = 2.0;

/// Measure how many cameras this machine carries.
///
/// Starts the daemon on a temporary folder with 1, 2, 4 ... cameras that replay one recording from memory at its own
/// pace, as live cameras, each watched by a denoiser on V1 features, until the machine is too slow for them, and one
/// step further. Reads what that costs, fits a line, and says how many cameras fit. A recording of your own camera
/// (`--clip`, or `--camera` to make one) is the best measure; without one the demo plaza is encoded.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sigmawatch bench                                      small substreams, 640x360 at 25 frames a second
  sigmawatch bench --size 1920x1080 --fps 12.5          larger ones
  sigmawatch bench --camera gate --config mine.toml     half a minute of a camera of yours
  sigmawatch bench --clip gate.mp4 --cameras 8,16,32

Nothing else should run meanwhile. docs/ref/capacity.md says what the figures mean, and what to do for more.")]
pub struct Args {
    /// Replay this recording (H.264 or H.265; its first minute)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["camera", "size", "fps"])]
    clip: Option<PathBuf>,
    /// Record half a minute of this camera of the configuration, and replay that
    #[arg(long, value_name = "NAME", conflicts_with_all = ["size", "fps"])]
    camera: Option<String>,
    /// The configuration file, for --camera
    #[arg(long, value_name = "FILE", default_value = "config.toml")]
    config: PathBuf,
    /// Pixels of the recording that is made here
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "640x360", value_parser = size)]
    size: (u32, u32),
    /// Frames a second of the recording that is made here, 1 to 60
    #[arg(long, default_value = "25", value_parser = rate)]
    fps: f64,
    /// Numbers of cameras to try, separated by commas
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,2,4,8,16,32,64,128",
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    cameras: Vec<u16>,
    /// How long each number is measured, 3 to 300
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u16).range(3..=300))]
    seconds: u16,
    /// Frames between the starts of segments
    #[arg(long, value_name = "FRAMES", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    stride: u8,
    /// Write all figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Folder of the GStreamer descriptions [default: pipelines, else /etc/sigmawatch/pipelines]
    #[arg(long, value_name = "DIR")]
    pipelines: Option<PathBuf>,
}

/// Even numbers of pixels, such as `640x360`.
fn size(text: &str) -> Result<(u32, u32), String> {
    let side = |text: &str| text.parse().ok().filter(|side| (64..=4096).contains(side) && side % 2 == 0);
    let sides = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
    sides.ok_or_else(|| "two even numbers from 64 to 4096 are wanted, such as 640x360".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (1.0..=60.0).contains(rate));
    rate.ok_or_else(|| "a number from 1 to 60 is wanted".into())
}

/// All that was found out.
#[derive(Debug, Serialize)]
struct Report {
    clip: About,
    /// What analyses it.
    detector: String,
    stride: u8,
    /// Of this machine, as far as this program may use them.
    cores: usize,
    steps: Vec<Step>,
    /// CPU cores, and MiB of memory, as lines over the number of cameras; those that the machine is too slow for are
    /// left out.
    cores_line: Line,
    memory_line: Line,
    /// CPU cores of a camera that is only decoded and scaled.
    decoding_cores: f64,
    outcome: Outcome,
    /// How long it took, seconds.
    took: f64,
}

/// # Errors
/// Where there is nothing to replay, the daemon does not start, or it was interrupted.
pub fn run(args: &Args) -> Result<ExitCode> {
    let began = Instant::now();
    let stop = Stop::default();
    stop.on_signals().context("cannot listen for signals")?;
    let mut numbers: Vec<usize> = args.cameras.iter().copied().map(usize::from).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let window = Duration::from_secs(args.seconds.into());
    let folder = tempfile::Builder::new().prefix("sigmawatch-bench-").tempdir();
    let folder = folder.context("no temporary folder (set TMPDIR to a folder on a disk with room)")?;
    // The daemon's configuration is in a folder of its own.
    let onnxruntime = std::path::absolute(onnxruntime_library())?;
    let pipelines = pipelines_folder(args.pipelines.clone());
    let clip = clip(args, folder.path(), &pipelines, &stop)?;
    let replay = clip.replayed(folder.path(), step::length(window))?;
    let about = clip.about;
    say(&format!("{about}; learning what is normal in it"));
    let model = machine::learn(&clip.file, &pipelines, &onnxruntime, &stop)?;
    let setting = Setting {
        folder: folder.path().to_owned(),
        pipelines: machine::descriptions(folder.path())?,
        onnxruntime,
        model,
        replay: replay.path().to_owned(),
        stride: args.stride,
        analysed: about.analysed_fps,
        kept_bytes: about.held(),
        stop,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut steps = measured(&setting, &numbers, window)?;
    let good: Vec<&Step> = steps.iter().filter(|step| step.trouble.is_none()).collect();
    let largest = good.last().map_or(1, |step| step.cameras);
    let line = |of: fn(&Step) -> f64| {
        fit::line(&good.iter().map(|step| (step.cameras as f64, of(step))).collect::<Vec<_>>())
    };
    let (cores_line, memory_line) = (line(|step| step.cores), line(|step| step.memory_mib));
    let mut outcome = fit::outcome(cores_line, cores as f64 * USED, &steps);
    if outcome.cameras > 0 && outcome.cameras as f64 <= AHEAD * largest as f64 {
        look_whether_it_holds(&setting, &mut outcome, window, &mut steps)?;
    }
    say(&format!("{largest} of them, only decoded and scaled"));
    let decoding_cores = decoding::cores(&setting, largest, window)? / largest as f64;
    drop(replay);
    let report = Report {
        clip: about,
        detector: "v1+diffusion".into(),
        stride: args.stride,
        cores,
        steps,
        cores_line,
        memory_line,
        decoding_cores,
        outcome,
        took: began.elapsed().as_secs_f64(),
    };
    out(text(&report))?;
    if let Some(file) = &args.json {
        let json = serde_json::to_vec_pretty(&report)?;
        write_atomically(file, &json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is replayed: what was asked for, or the plaza.
fn clip(args: &Args, folder: &Path, pipelines: &Path, stop: &Stop) -> Result<Clip> {
    if let Some(file) = &args.clip {
        ensure!(file.is_file(), "{}: there is no such file (give a recording)", file.display());
        return clip::of_file(file, format!("{}", file.display()), folder, pipelines, stop);
    }
    if let Some(name) = &args.camera {
        let loaded = config::load(&args.config)?;
        let camera = named_camera(&loaded.config, &args.config, name)?;
        say(&format!("recording camera {name} for {} s", clip::WATCHED.as_secs()));
        return clip::of_camera(camera, folder, &loaded.config.runtime.pipelines, stop);
    }
    let (width, height) = args.size;
    say(&format!("making a recording of {width}x{height} pixels at {} frames a second", args.fps));
    clip::made(args.size, args.fps, MADE, folder, pipelines, stop)
}

/// Each number of cameras, until one is too many, and the next.
fn measured(setting: &Setting, numbers: &[usize], window: Duration) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for cameras in numbers {
        let step = step::measure(setting, *cameras, false, window)?;
        say(&step.line());
        let before = steps.last().is_some_and(|step: &Step| step.trouble.is_some());
        let now = step.trouble.is_some();
        steps.push(step);
        if before && now {
            break;
        }
    }
    Ok(steps)
}

/// Measures what the line promises, and less where that is not so, a few times.
fn look_whether_it_holds(
    setting: &Setting,
    outcome: &mut Outcome,
    window: Duration,
    steps: &mut Vec<Step>,
) -> Result<()> {
    for _ in 0..TRIES {
        say(&format!("looking whether {} cameras are carried, one of them alerting", outcome.cameras));
        let step = step::measure(setting, outcome.cameras, true, window)?;
        say(&step.line());
        let good = step.trouble.is_none();
        (outcome.measured, outcome.latency_p99_ms) = (good, step.latency_p99_ms);
        outcome.alert_latency_p99_ms = step.alert_latency_p99_ms;
        steps.push(step);
        if good {
            break;
        }
        outcome.cameras = (outcome.cameras * 7 / 8).max(1);
    }
    steps.sort_by_key(|step| step.cameras);
    Ok(())
}

/// The table and what follows from it.
fn text(report: &Report) -> String {
    let Report { clip, detector, stride, cores, steps, cores_line, memory_line, outcome, .. } = report;
    // From one number alone the base cannot be told from the cameras.
    let told_apart = steps.iter().filter(|step| step.trouble.is_none()).count() > 1;
    let noun = if *cores == 1 { "core" } else { "cores" };
    let mut text = format!("{clip}; {detector}, stride {stride}; {cores} {noun}\n\n{}\n", step::HEAD);
    steps.iter().for_each(|step| text.push_str(&format!("{}\n", step.row())));
    if told_apart {
        text.push_str(&format!(
            "\nA camera costs {:.4} cores and {:.1} MiB, beside {:.3} cores and {:.0} MiB for them all. Only decoded and \
             scaled it costs {:.4} cores.\n",
            cores_line.each, memory_line.each, cores_line.base, memory_line.base, report.decoding_cores
        ));
    }
    for step in steps.iter().filter(|step| step.trouble.is_some()) {
        text.push_str(&format!("{} cameras are too many: {}.\n", step.cameras, step.beyond()));
    }
    let busiest = steps.iter().map(|step| step.others_cores).fold(0.0, f64::max);
    if busiest > 0.1 * *cores as f64 {
        text.push_str(&format!(
            "Other programs used up to {busiest:.1} cores meanwhile: run it again on a quiet machine for its own figure.\n"
        ));
    }
    let fps = format!("{:.2}", clip.fps);
    let fps = fps.trim_end_matches('0').trim_end_matches('.');
    let of = format!("cameras of {}x{} at {fps} frames a second", clip.width, clip.height);
    let used = format!("({cores} {noun}, {:.0} % used)", 100.0 * USED);
    if outcome.cameras == 0 {
        let fewest = steps.first().map_or(1, |step| step.cameras);
        let text = text + &format!("This machine does not carry {fewest} {of} {used}");
        return text
            + if fewest > 1 {
                ": give --cameras with smaller numbers."
            } else {
                ": take smaller or slower streams."
            };
    }
    text.push_str(&format!("This machine carries about {} {of} {used}", outcome.cameras));
    if told_apart {
        text.push_str(&format!("; memory {:.1} MiB a camera", memory_line.each));
    }
    match (outcome.measured, outcome.latency_p99_ms) {
        (true, Some(latency)) => text.push_str(&format!("; alert latency p99 {latency:.0} ms.")),
        (false, Some(_)) => text.push_str(", as far as can be told: somewhat more were too many."),
        _ => text.push_str(". That is reckoned from fewer; give --cameras with larger numbers to see it."),
    }
    text
}

/// Waits, unless it is to stop.
fn pause(time: Duration, stop: &Stop) -> Result<()> {
    let until = Instant::now() + time;
    loop {
        go_on(stop)?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}

fn go_on(stop: &Stop) -> Result<()> {
    if stop.requested() {
        bail!("interrupted (nothing was kept; start it again)");
    }
    Ok(())
}

/// Tells how far it is.
fn say(what: &str) {
    // Where standard error is gone, nobody wants to know.
    let _ = writeln!(std::io::stderr(), "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_are_checked() {
        assert_eq!(size("640x360"), Ok((640, 360)));
        for wrong in ["640", "641x360", "640x32", "x", "640x360x2", "-2x64"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(rate("12.5"), Ok(12.5));
        for wrong in ["0", "61", "nan", "fast"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
