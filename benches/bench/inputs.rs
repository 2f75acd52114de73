//! What is watched: recordings as cameras send them, and a daemon that watches them.

use crate::support::{clip, machine::Daemon, place};
use anyhow::{Result, bail};
use serde_json::Value;
use sigmawatch::base::SystemClock;
use sigmawatch::config::{self, Gst, Source, Transport};
use sigmawatch::frame::{FrameSpec, Next, PixelFormat, Stream, open_source};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How every camera is analysed: as the configuration has it where nothing is said.
pub const BANK: config::Extractor =
    config::Extractor::V1 { width: 360, height: 240, fps: 10.0, whole_frame: false };
pub const FPS: f64 = 10.0;
/// What is waited for must come within this.
pub const PATIENCE: Duration = Duration::from_secs(60);
const LENGTH: Duration = Duration::from_secs(60);

/// The pictures that the bank takes.
pub fn analysed() -> FrameSpec {
    FrameSpec { width: 360, height: 240, format: PixelFormat::Gray8, fps: FPS }
}

/// The plaza with a sensor's noise, 25 frames a second.
pub fn plaza(width: u32, height: u32) -> Result<PathBuf> {
    clip::plaza(width, height, 25, LENGTH)
}

/// Ped2's first normal clips, one after the other, at their own size and rate; `None`, and a word, without them.
pub fn ped2() -> Result<Option<PathBuf>> {
    let folder = place::root().join("../shared/data/ped2/train");
    if !folder.exists() {
        eprintln!("skipped: Ped2 is not at {}", folder.display());
        return Ok(None);
    }
    let clip = clip::made("ped2-360x240-10", |to| {
        let spec = analysed();
        let mut frames = vec![];
        for number in 1.. {
            let mut stream = open(&folder.join(format!("{number:02}.mp4")), &spec, false)?;
            while let Next::Frame(frame) = stream.next(PATIENCE)? {
                frames.push(Ok(frame.pixels));
            }
            if frames.len() as f64 >= LENGTH.as_secs_f64() * FPS {
                break;
            }
        }
        // It has its own noise.
        clip::encode(to, &spec, (spec.width, spec.height), 0.0, frames.into_iter())
    })?;
    Ok(Some(clip))
}

/// Bits of a recording of this size and rate for each of its pixels.
pub fn bits_per_pixel(clip: &Path, pixels: u32, fps: f64, seconds: f64) -> Result<f64> {
    let bits = std::fs::metadata(clip)?.len() as f64 * 8.0;
    Ok(bits / (f64::from(pixels) * fps * seconds))
}

/// A recording, in real time or as fast as it is taken.
pub fn open(clip: &Path, spec: &FrameSpec, real_time: bool) -> Result<Box<dyn Stream>> {
    let source = Source::Gst(Gst {
        pipeline: "file".into(),
        location: clip.display().to_string(),
        user: None,
        password: None,
        ca: None,
        transport: Transport::Tcp,
        live: false,
        real_time,
        isolate: false,
    });
    let clock = Arc::new(SystemClock::default());
    let mut source = open_source(&source, &place::root().join("pipelines"), clock)?;
    Ok(source.open(std::slice::from_ref(spec))?)
}

/// An armed daemon that plays `clip` in real time as so many cameras, once all of them are scored.
pub fn watch(clip: &Path, model: &Path, cameras: usize) -> Result<Daemon> {
    let mut text = String::new();
    for number in 0..cameras {
        writeln!(
            text,
            "[[camera]]\nname = \"c{number}\"\nsource = \"file\"\nlocation = {clip:?}\nreal_time = true\n\
             detector.scorer = {model:?}"
        )?;
    }
    let daemon = Daemon::start(&text)?;
    wait_for(&daemon, "a score of every camera", |cameras| {
        cameras.iter().all(|camera| camera["detectors"][0]["score"].is_number())
    })?;
    Ok(daemon)
}

/// Waits until this holds of what the API says of the cameras.
pub fn wait_for(daemon: &Daemon, what: &str, holds: impl Fn(&[Value]) -> bool) -> Result<()> {
    wait_long_for(daemon, what, PATIENCE, holds)
}

/// The same, for what takes longer.
pub fn wait_long_for(
    daemon: &Daemon,
    what: &str,
    patience: Duration,
    holds: impl Fn(&[Value]) -> bool,
) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < patience {
        let cameras = daemon.get("/api/cameras")?;
        if cameras.as_array().is_some_and(|cameras| holds(cameras)) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("no {what} within {} s", patience.as_secs())
}

/// Segments that all cameras' detectors were given so far.
pub fn segments(daemon: &Daemon) -> Result<f64> {
    let cameras = daemon.get("/api/cameras")?;
    let of = |camera: &Value| camera["detectors"][0]["segments"].as_f64().unwrap_or(0.0);
    Ok(cameras.as_array().into_iter().flatten().map(of).sum())
}
