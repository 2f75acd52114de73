//! `sigmawatch learn`: learns a scorer from recordings, or from what a camera's daemon has kept.

use super::labelled::{self, LAYOUT, labelled_set};
use super::recordings::{Machinery, Recording, Taking, find, progress_bar, take_all};
use super::{init_onnxruntime, named_camera, one_of, reviewed};
use crate::base::write_atomically;
use crate::config::{self, Config, Method};
use crate::features::ExtractorModel;
use crate::infer::{Manifest, Sampling};
use crate::score::diffusion::{Embedding, Sampler};
use crate::segment::learning_stride;
use crate::store::{FeatureRing, Layout, RingRecord};
use crate::threshold::Rule;
use crate::train::{
    self, Flow, LabelledSet, LearnConfig, LearnError, Learned, Progress, Published, Regions, Report, Sample,
    TrainingSet,
};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Learn what is normal, and write it as a model file
///
/// From recordings (`--from`), from what a running camera's daemon has kept (`--camera` and `--config`), or
/// from such a feature file itself (`--features`). Nothing needs labels: the few most suspicious segments
/// are dropped, and the threshold is calibrated on time that was left out. Only `--scorer rtfm` learns from
/// labels: `--from DIR`, with clips in `DIR/normal/` and in other folders, `DIR/fight/`, say; or `--reviewed`, from the
/// clips of the events that people reviewed; or both.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)))]
pub struct Args {
    /// Recordings, or folders of them
    #[arg(long, value_name = "PATH", num_args = 1.., group = "what")]
    from: Vec<PathBuf>,
    /// A camera of the configuration
    #[arg(long, value_name = "NAME", group = "what", requires = "config", conflicts_with = "from")]
    camera: Option<String>,
    /// Which of the camera's detectors, where it has several
    #[arg(long, value_name = "NAME", requires = "camera")]
    detector: Option<String>,
    /// A feature file that the daemon keeps
    #[arg(long, value_name = "FILE", group = "what", conflicts_with_all = ["from", "camera"])]
    features: Option<PathBuf>,
    /// Events that people called true or false alarms, of all cameras or of `--camera`: for `--scorer rtfm`
    #[arg(long, group = "what", requires = "config", conflicts_with = "features")]
    reviewed: bool,
    /// What the extractor says of itself, as JSON, for `--features` from one that is not at hand
    #[arg(long, value_name = "JSON", requires = "features")]
    manifest: Option<String>,
    /// The configuration, for `--camera` and `--reviewed`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The model file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Lower this program's priority by so much (19 is the lowest)
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=19))]
    nice: u8,
    /// Print progress and the result as lines of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    learning: Learning,
    #[command(flatten)]
    taking: Taking,
    #[command(flatten)]
    machinery: Machinery,
}

/// How to learn: what `learn` and `eval` share.
#[derive(Debug, Clone, clap::Args)]
pub struct Learning {
    /// What to learn; docs/ref/models.md compares them
    #[arg(long, value_name = "NAME", default_value = Method::default().name(), value_parser = one_of::<Method>())]
    pub scorer: Method,
    /// Seed of the training: the same seed and features give the same file
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Regions that count for nothing, row by row from 0: numbers and ranges, such as 0-14,30
    #[arg(long, value_name = "REGIONS", default_value = "", hide_default_value = true)]
    mask: Regions,
    /// Steps of the training, for scorers that are networks [default: 500; beta-vae: 1500; rtfm: 100]
    #[arg(long)]
    steps: Option<usize>,
    /// Of `beta-vae`: weight of the latents' divergence; larger ones hold fewer and more separate factors
    #[arg(long, default_value_t = LearnConfig::default().beta)]
    beta: f64,
    /// Of `beta-vae`: hold the latents' divergence at so many nats instead
    #[arg(long, value_name = "NATS", conflicts_with = "beta")]
    capacity: Option<f64>,
    /// Of the two `diffusion`: mean of the logarithm of the training's noise
    #[arg(long, value_name = "MEAN", default_value_t = LearnConfig::default().noise.0, allow_negative_numbers = true,
        value_parser = number(-10.0, 5.0))]
    p_mean: f64,
    /// Of the two `diffusion`: its deviation
    #[arg(long, value_name = "DEVIATION", default_value_t = LearnConfig::default().noise.1, value_parser = number(0.1, 5.0))]
    p_std: f64,
    #[command(flatten)]
    published: PublishedArgs,
}

/// Of `diffusion-published`: how the noise is taken away again.
#[derive(Debug, Clone, Copy, clap::Args)]
struct PublishedArgs {
    /// Of `diffusion-published`: noise levels, from exp(MEAN + 5 DEVIATION) down to exp(MEAN - 5 DEVIATION)
    #[arg(long, value_name = "N", default_value_t = Published::default().levels as u8,
        value_parser = clap::value_parser!(u8).range(1..=100))]
    levels: u8,
    /// Of `diffusion-published`: the level to start from, counted from 0; one step is left from the last
    #[arg(long, value_name = "T", default_value_t = Published::default().start as u8)]
    start: u8,
    /// Of `diffusion-published`: how the differential equation is solved
    #[arg(long, value_name = "NAME", default_value = Published::default().sampler.name(),
        value_parser = one_of::<Sampler>())]
    sampler: Sampler,
    /// Of `diffusion-published`: how the network is told the noise level
    #[arg(long, value_name = "NAME", default_value = Published::default().embedding.name(),
        value_parser = one_of::<Embedding>())]
    embedding: Embedding,
}

/// A number within these limits.
fn number(least: f64, most: f64) -> impl Fn(&str) -> Result<f64, String> + Clone {
    move |text| match text.parse::<f64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("a number from {least} to {most} is wanted")),
    }
}

impl Learning {
    pub fn config(&self) -> Result<LearnConfig> {
        let Self { scorer, seed, steps, beta, capacity, p_mean, p_std, published, mask: Regions(masked) } =
            self.clone();
        let PublishedArgs { levels, start, sampler, embedding } = published;
        ensure!(start < levels, "--start {start}: with {levels} noise levels, it is 0 to {}", levels - 1);
        let published = Published { levels: levels.into(), start: start.into(), sampler, embedding };
        let usual = LearnConfig::of(scorer);
        let steps = steps.unwrap_or(usual.steps);
        Ok(LearnConfig { seed, steps, beta, capacity, noise: (p_mean, p_std), published, masked, ..usual })
    }
}

/// The last line of `--json`.
#[derive(Debug, Serialize)]
struct Done<'a> {
    out: &'a Path,
    sha256: String,
    report: &'a Report,
}

/// # Errors
/// When there is nothing to learn from, too little of it, or the file cannot be written.
pub fn run(args: &Args) -> Result<ExitCode> {
    if args.nice > 0 {
        // Lowering is always allowed; it changes how learning competes, not what is learned.
        rustix::process::nice(i32::from(args.nice)).context("cannot lower the priority")?;
    }
    let config = args.learning.config()?;
    let lesson = lesson(args)?;
    let learned = match args.json {
        true => lesson.learned(&config, &mut |progress| match say(&progress) {
            Ok(()) => Flow::Continue,
            // Whoever started this has gone away.
            Err(_) => Flow::Cancel,
        })?,
        false => progress_shown("learning", |on| Ok(lesson.learned(&config, on)?))?,
    };
    write_atomically(&args.out, &learned.bytes)
        .with_context(|| format!("cannot write {} (see that its folder exists)", args.out.display()))?;
    let sha256 = crate::infer::sha256_hex(&learned.bytes);
    match args.json {
        true => {
            say(&serde_json::json!({ "done": Done { out: &args.out, sha256, report: &learned.report } }))?
        }
        false => print(&args.out, &learned, args.taking.stride())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What is learned from.
enum Lesson {
    Life(TrainingSet),
    Labelled(LabelledSet),
}

impl Lesson {
    fn learned(
        self,
        config: &LearnConfig,
        on: &mut dyn FnMut(Progress) -> Flow,
    ) -> Result<Learned, LearnError> {
        match self {
            Lesson::Life(set) => train::learn(set, config, on),
            Lesson::Labelled(set) => train::learn_labelled(&set, config, on),
        }
    }
}

fn lesson(args: &Args) -> Result<Lesson> {
    let method = args.learning.scorer;
    if method.needs_labels() {
        ensure!(
            !args.from.is_empty() || args.reviewed,
            "{method} learns from labelled clips: give --from DIR ({LAYOUT}), or --reviewed"
        );
        return Ok(Lesson::Labelled(of_labelled(args)?));
    }
    ensure!(!args.reviewed, "{method} learns without labels: --reviewed is for --scorer rtfm");
    Ok(Lesson::Life(match (&args.camera, &args.features) {
        (Some(_), _) => of_camera(args)?,
        (None, Some(file)) => {
            init_onnxruntime()?;
            let extractor = match &args.manifest {
                Some(json) => Manifest::parse("--manifest", json)?,
                None => args.taking.extractor()?.manifest().clone(),
            };
            of_ring(file, &extractor, learning_stride(args.taking.stride()))?
        }
        (None, None) => of_recordings(args)?,
    }))
}

/// Clips in labelled folders, and of reviewed events. All segments are learned from, as close as they will be when they
/// are scored: the method looks at their order.
fn of_labelled(args: &Args) -> Result<LabelledSet> {
    let folders = args.from.iter().map(|dir| labelled::open(dir)).collect::<Result<Vec<_>>>()?.concat();
    let mut clips: Vec<(bool, PathBuf)> =
        folders.into_iter().flat_map(|f| f.clips.into_iter().map(move |clip| (f.unusual, clip))).collect();
    let mut of_detector = None;
    if args.reviewed {
        let config = loaded(args)?;
        clips.extend(reviewed::clips(&config, args.camera.as_deref())?);
        if args.camera.is_some() {
            let (_, detector) = chosen(args, &config)?;
            of_detector = Some((detector.extractor.clone(), detector.stride));
        }
    }
    let (labels, paths): (Vec<bool>, Vec<PathBuf>) = clips.into_iter().unzip();
    init_onnxruntime()?;
    // Of the camera that is named, as it watches.
    let (extractor, stride) = match of_detector {
        Some((extractor, stride)) => (ExtractorModel::prepare(&extractor)?, stride),
        None => (args.taking.extractor()?, args.taking.stride()),
    };
    let recordings = taken(args, &paths, &extractor, stride)?;
    Ok(labelled_set(&extractor, stride, labels.into_iter().zip(&recordings)))
}

/// Runs `work` with a progress bar for its progress.
pub fn progress_shown<T>(
    what: &'static str,
    work: impl FnOnce(&mut dyn FnMut(Progress) -> Flow) -> Result<T>,
) -> Result<T> {
    let bar = progress_bar(what);
    bar.set_length(100);
    let result = work(&mut |progress| {
        bar.set_position((100.0 * progress.progress) as u64);
        bar.set_message(progress.step);
        Flow::Continue
    });
    bar.finish_and_clear();
    result
}

/// A line of JSON on standard output, at once.
fn say(value: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

fn print(out: &Path, learned: &Learned, stride: usize) -> Result<()> {
    let r = &learned.report;
    super::out(format_args!(
        "{}: learned from {} segments ({} dropped), calibrated on {} others: mu {:.4}, sigma {:.4}",
        out.display(),
        r.learned_from,
        r.dropped,
        r.calibrated_on,
        r.mu,
        r.sigma
    ))?;
    let outlook = super::outlook(&learned.manifest, stride, &Rule::default(), None);
    super::out(format_args!("budget: {}", outlook.promise.text))
}

fn of_recordings(args: &Args) -> Result<TrainingSet> {
    let paths = find(&args.from)?;
    init_onnxruntime()?;
    let extractor = args.taking.extractor()?;
    let stride = learning_stride(args.taking.stride());
    let recordings = taken(args, &paths, &extractor, stride)?;
    training_set(extractor.manifest(), stride, samples(recordings))
}

fn taken(
    args: &Args,
    paths: &[PathBuf],
    extractor: &ExtractorModel,
    stride: usize,
) -> Result<Vec<Recording>> {
    let bar = progress_bar("taking features");
    if args.json {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let recordings = take_all(paths, extractor, stride, &args.machinery, &bar)?;
    bar.finish_and_clear();
    Ok(recordings)
}

fn loaded(args: &Args) -> Result<Config> {
    Ok(config::load(args.config.as_ref().context("--config is missing")?)?.config)
}

/// The camera and the detector that are named.
fn chosen<'a>(args: &Args, config: &'a Config) -> Result<(&'a config::Camera, &'a config::Detector)> {
    let name = args.camera.as_deref().context("--camera is missing")?;
    let file = args.config.as_deref().unwrap_or(Path::new(""));
    let camera = named_camera(config, file, name)?;
    let named = |d: &&config::Detector| args.detector.as_deref().is_none_or(|name| *d.name == *name);
    let detector = camera.detectors.iter().find(named).with_context(|| {
        let names: Vec<&str> = camera.detectors.iter().map(|d| &*d.name).collect();
        let file = file.display();
        format!("{file}: {name} has no such detector (there are: {})", names.join(", "))
    })?;
    Ok((camera, detector))
}

/// What the daemon of `--config` has kept of the camera.
fn of_camera(args: &Args) -> Result<TrainingSet> {
    let config = loaded(args)?;
    let (camera, detector) = chosen(args, &config)?;
    crate::infer::init(&config.runtime.onnxruntime)?;
    let extractor = ExtractorModel::prepare(&detector.extractor)?;
    let ring = Layout::new(&config.store.dir).ring(&camera.name, extractor.manifest(), detector.stride);
    of_ring(&ring, extractor.manifest(), learning_stride(detector.stride))
}

/// What is in a feature file that `extractor` gave.
fn of_ring(path: &Path, extractor: &Manifest, stride: usize) -> Result<TrainingSet> {
    let (spec, records) = FeatureRing::read(path)?;
    let (id, regions) = (extractor.id(), extractor.extractor("--manifest")?.grid.regions());
    ensure!(
        spec.extractor == id && spec.regions == regions,
        "{}: holds {} regions by the extractor {:?}, and {id:?} gives {regions} (name the extractor that was used)",
        path.display(),
        spec.regions,
        spec.extractor
    );
    let sample = |r: RingRecord| Sample { time: r.time_seconds, run: r.run, features: r.features };
    let set = training_set(extractor, stride, records.into_iter().map(sample).collect())?;
    Ok(TrainingSet { wall_clock: true, ..set })
}

/// The samples, with what the extractor says of itself.
pub fn training_set(extractor: &Manifest, stride: usize, samples: Vec<Sample>) -> Result<TrainingSet> {
    let spec = extractor.extractor(&extractor.name)?;
    Ok(TrainingSet {
        extractor: extractor.id(),
        grid: spec.grid,
        sampling: Some(Sampling { frame: spec.frame.clone(), stride }),
        channels: spec.channels.clone(),
        wall_clock: false,
        samples,
    })
}

/// Samples of several recordings, one after the other in time and each a run (or several) of its own.
pub fn samples(recordings: Vec<Recording>) -> Vec<Sample> {
    let (mut samples, mut begun, mut runs): (Vec<Sample>, f64, u64) = (Vec::new(), 0.0, 0);
    for recording in recordings {
        let first_run = recording.segments.first().map_or(0, |s| s.run);
        let (mut end, mut last_run) = (0.0f64, 0);
        for taken in recording.segments {
            end = end.max(taken.end);
            last_run = taken.run - first_run;
            samples.push(Sample { time: begun + taken.end, run: runs + last_run, features: taken.features });
        }
        begun += end;
        runs += last_run + 1;
    }
    samples
}
