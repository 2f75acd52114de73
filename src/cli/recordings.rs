//! Recordings as features: what `learn`, `score` and `eval` share.

mod cache;

use crate::base::SystemClock;
use crate::config::{self, Provider};
use crate::features::{Extractor, ExtractorModel, Features};
use crate::frame::{Frame, FrameSpec, Next, open_source};
use crate::infer::InferError;
use crate::score::{Score, Scorer};
use crate::segment::{SEGMENT_FRAMES, Segment, Segmenter};
use anyhow::{Context, Result, bail};
use cache::Cache;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Endings that are taken for recordings in a folder.
const ENDINGS: [&str; 9] = ["mp4", "mkv", "avi", "mov", "webm", "ts", "m4v", "mpg", "h264"];
/// A file that gives nothing for this long is stuck.
const STALL: Duration = Duration::from_secs(20);

/// Where the machinery lies, for commands that work without a configuration.
#[derive(Debug, Clone, clap::Args)]
pub struct Machinery {
    /// Folder of the GStreamer descriptions [default: pipelines, else /etc/sigmawatch/pipelines]
    #[arg(long, value_name = "DIR")]
    pipelines: Option<PathBuf>,
    /// Threads; each takes a recording at a time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// Keep features in this folder, and take them from there instead of from the recordings again
    #[arg(long, value_name = "DIR")]
    features_cache: Option<PathBuf>,
}

impl Machinery {
    fn pipelines(&self) -> PathBuf {
        pipelines_folder(self.pipelines.clone())
    }
}

/// The folder told, else `pipelines/` here or of the program's checkout, else the installed one.
pub fn pipelines_folder(told: Option<PathBuf>) -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let checkout = program.ancestors().nth(3).map(|root| root.join("pipelines"));
    let mut usual =
        ["pipelines".into()].into_iter().chain(checkout).chain(["/etc/sigmawatch/pipelines".into()]);
    let there = |path: &PathBuf| path.is_dir();
    told.or_else(|| usual.find(there)).unwrap_or_else(|| "pipelines".into())
}

/// How segments and features are taken.
#[derive(Debug, Clone, clap::Args)]
pub struct Taking {
    /// A model file that describes itself as an extractor [default: V1 energy, made by the program]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["width", "height", "fps", "whole_frame"])]
    extractor: Option<PathBuf>,
    /// Width of the analysed picture
    #[arg(long, value_name = "PIXELS", default_value_t = 360)]
    width: u32,
    /// Height of the analysed picture
    #[arg(long, value_name = "PIXELS", default_value_t = 240)]
    height: u32,
    /// Analysed frames a second
    #[arg(long, default_value_t = 10.0)]
    fps: f64,
    /// One feature vector for the whole picture instead of one a region
    #[arg(long)]
    whole_frame: bool,
    /// What computes the extractor; all but cpu need another ONNX Runtime library (SIGMAWATCH_ORT_LIB)
    #[arg(long, value_name = "NAME", default_value = Provider::default().name(), value_parser = super::one_of::<Provider>())]
    provider: Provider,
    /// Frames between the starts of consecutive segments [default: 2; of a model file 16]
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u8).range(1..=16))]
    stride: Option<u8>,
}

impl Taking {
    /// Makes or loads the extractor; ONNX Runtime must have been started.
    pub fn extractor(&self) -> Result<ExtractorModel, InferError> {
        ExtractorModel::prepare_on(self.provider, &self.wanted())
    }

    /// The extractor as a configuration would have it.
    fn wanted(&self) -> config::Extractor {
        let Self { width, height, fps, whole_frame, .. } = *self;
        match &self.extractor {
            Some(file) => config::Extractor::File(file.clone()),
            None => config::Extractor::V1 { width, height, fps, whole_frame },
        }
    }

    pub fn stride(&self) -> usize {
        self.stride.map_or_else(|| self.wanted().usual_stride(), usize::from)
    }
}

/// The features of one segment of a recording, and where it was.
#[derive(Debug, Clone)]
pub struct Taken {
    pub features: Features,
    pub run: u64,
    /// First and last analysed frame, counted from 0.
    pub first_frame: u64,
    pub last_frame: u64,
    /// Presentation times of those frames, seconds.
    pub start: f64,
    pub end: f64,
}

/// A recording, read to its end.
#[derive(Debug, Clone)]
pub struct Recording {
    pub path: PathBuf,
    /// Analysed frames.
    pub frames: u64,
    pub segments: Vec<Taken>,
    /// What decoding and features cost; of the first time, where they come from the cache. Recordings that are
    /// taken side by side share both evenly.
    pub cpu_seconds: f64,
    pub wall_seconds: f64,
}

impl Recording {
    /// One score a segment. What is remembered of the segments before ends where a run does.
    pub fn scored(&self, scorer: &mut impl Scorer) -> Result<Vec<Score>, InferError> {
        let mut scores = Vec::with_capacity(self.segments.len());
        for run in self.segments.chunk_by(|a, b| a.run == b.run) {
            scores.extend(scorer.score_run(&run.iter().map(|taken| &taken.features).collect::<Vec<_>>())?);
        }
        Ok(scores)
    }
}

/// Files as they are, folders as the recordings in them, sorted by name.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut inside: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        inside.retain(|p| {
            let ending = p.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
            ENDINGS.contains(&ending.as_str())
        });
        if inside.is_empty() {
            bail!(
                "{}: there is no recording in this folder (wanted: {})",
                path.display(),
                ENDINGS.join(", ")
            );
        }
        inside.sort();
        found.extend(inside);
    }
    Ok(found)
}

/// Takes the features of every recording, several at a time, in the order given.
pub fn take_all(
    paths: &[PathBuf],
    extractor: &ExtractorModel,
    stride: usize,
    machinery: &Machinery,
    bar: &ProgressBar,
) -> Result<Vec<Recording>> {
    bar.set_length(paths.len() as u64);
    let (next, pipelines) = (AtomicUsize::new(0), machinery.pipelines());
    let cache = machinery.features_cache.as_deref().map(Cache::open).transpose()?;
    let busy = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Recording)>> {
        let mut session = extractor.open()?;
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = paths.get(i) else { return Ok(done) };
            let kept = cache.as_ref().map(|cache| cache.file(path, extractor, stride)).transpose()?;
            if let Some(recording) = kept.as_ref().and_then(|file| cache::read(file, path)) {
                done.push((i, recording));
                bar.inc(1);
                continue;
            }
            busy.fetch_add(1, Ordering::Relaxed);
            let result = take(path, &mut *session, stride, &pipelines).and_then(|mut recording| {
                let beside = busy.load(Ordering::Relaxed) as f64;
                recording.cpu_seconds /= beside;
                recording.wall_seconds /= beside;
                kept.map(|file| cache::write(&file, &recording)).transpose()?;
                Ok(recording)
            });
            busy.fetch_sub(1, Ordering::Relaxed);
            match result {
                Ok(recording) => done.push((i, recording)),
                Err(error) => {
                    // The others need not go on for an answer that is not wanted any more.
                    next.store(paths.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
            bar.inc(1);
        }
    };
    let parts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..machinery.threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|t| t.join().expect("reading does not panic")).collect()
    });
    let mut all = Vec::with_capacity(paths.len());
    for part in parts {
        all.extend(part?);
    }
    all.sort_by_key(|(i, _)| *i);
    Ok(all.into_iter().map(|(_, recording)| recording).collect())
}

/// Reads one recording to its end, as fast as it can be decoded.
fn take(path: &Path, extractor: &mut dyn Extractor, stride: usize, pipelines: &Path) -> Result<Recording> {
    let (cpu, begun) = (cpu_time(), Instant::now());
    let mut recording =
        Recording { path: path.into(), frames: 0, segments: vec![], cpu_seconds: 0.0, wall_seconds: 0.0 };
    let spec = extractor.spec().frame.clone();
    let mut first = None;
    let mut segmenter = Segmenter::new(stride);
    each_frame(path, &spec, pipelines, &mut |frame| {
        let zero = *first.get_or_insert(frame.stamp.seq);
        recording.frames += 1;
        if let Some(segment) = segmenter.push(frame) {
            recording.segments.push(taken(&segment, zero, extractor)?);
        }
        Ok(())
    })?;
    recording.cpu_seconds = (cpu_time() - cpu).as_secs_f64();
    recording.wall_seconds = begun.elapsed().as_secs_f64();
    Ok(recording)
}

/// Whole segments of the recordings, `most` of each at most and evenly spread; the pixels of a segment as one list.
pub fn sample(paths: &[PathBuf], spec: &FrameSpec, most: usize, pipelines: &Path) -> Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for path in paths {
        let (mut kept, mut every, mut seen) = (Vec::new(), 1, 0usize);
        let mut segmenter = Segmenter::new(SEGMENT_FRAMES);
        each_frame(path, spec, pipelines, &mut |frame| {
            let Some(segment) = segmenter.push(frame) else { return Ok(()) };
            if seen.is_multiple_of(every) {
                kept.push(segment.frames.iter().flat_map(|frame| frame.iter().copied()).collect());
            }
            seen += 1;
            // Nobody knows how long the recording is: when there are too many, every other one goes.
            if kept.len() > most {
                let mut index = 0;
                kept.retain(|_: &Vec<u8>| (index % 2 == 0, index += 1).0);
                every *= 2;
            }
            Ok(())
        })?;
        all.extend(kept);
    }
    Ok(all)
}

fn taken(segment: &Segment, zero: u64, extractor: &mut dyn Extractor) -> Result<Taken> {
    let features = extractor.extract(&[segment])?.pop().context("the extractor gave nothing")?;
    Ok(Taken {
        features,
        run: segment.run,
        first_frame: segment.start.seq - zero,
        last_frame: segment.end.seq - zero,
        start: segment.start.pts.as_secs_f64(),
        end: segment.end.pts.as_secs_f64(),
    })
}

fn each_frame(
    path: &Path,
    spec: &FrameSpec,
    pipelines: &Path,
    on_frame: &mut dyn FnMut(Frame) -> Result<()>,
) -> Result<()> {
    let source = config::Source::Gst(config::Gst {
        pipeline: "file".into(),
        location: path.to_str().with_context(|| format!("{}: the name is not text", path.display()))?.into(),
        user: None,
        password: None,
        transport: config::Transport::Tcp,
        live: false,
        ca: None,
        real_time: false,
        isolate: false,
    });
    let place = || path.display().to_string();
    let clock = Arc::new(SystemClock::default());
    let mut source = open_source(&source, pipelines, clock).with_context(place)?;
    let mut stream = source.open(std::slice::from_ref(spec)).with_context(place)?;
    loop {
        match stream.next(STALL).with_context(place)? {
            Next::Frame(frame) => on_frame(frame)?,
            Next::End => return Ok(()),
            Next::Idle => bail!(
                "{}: no frame came for {} s (play the file elsewhere to see whether it is damaged)",
                path.display(),
                STALL.as_secs()
            ),
        }
    }
}

/// CPU time of this process and all its threads so far.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A progress bar on standard error; nothing where that is no terminal.
pub fn progress_bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{msg:32} {bar:30} {pos}/{len} {elapsed}")
        .expect("the template is well-formed");
    bar.set_style(style);
    bar.set_message(what);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_goes_on_while_working() {
        let before = cpu_time();
        let mut x = 1.0f64;
        while cpu_time() == before {
            x = (x + 1.0).sqrt();
        }
        assert!(x > 0.0 && cpu_time() > before);
    }
}
