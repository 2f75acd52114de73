//! `sigmawatch score`: scores recordings with a learned model, one line a segment.

mod plot;

use super::recordings::{Machinery, Recording, Taken, progress_bar, take_all};
use super::{init_onnxruntime, out};
use crate::alert::strangest;
use crate::config::{self, Provider};
use crate::features::ExtractorModel;
use crate::infer::{ScorerSpec, Session};
use crate::score::{Channels, Moved, OnnxScorer, Reason, Score, moved, reasons};
use crate::threshold::{DEFAULT_K, Threshold, Verdict};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Regions named on a line.
const TOP_REGIONS: usize = 3;

/// Score recordings with a learned model, one line a segment
///
/// A line says when the segment was, its score against the threshold mu + k sigma, and its strangest regions
/// as row,column from the top left. Everything needed is in the model file: how frames and segments are
/// taken, and the calibration.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file, made by `sigmawatch learn` or by the daemon
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Recordings
    #[arg(value_name = "VIDEO", required = true)]
    videos: Vec<PathBuf>,
    /// Write the lines as JSON into this file instead of printing them
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Draw scores and threshold over time into this PNG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print the lines as JSON
    #[arg(long)]
    json: bool,
    /// The threshold is mu + k sigma
    #[arg(long, default_value_t = DEFAULT_K)]
    k: f64,
    /// The extractor's model file, where the model was learned from another one than the built-in
    #[arg(long, value_name = "FILE")]
    extractor: Option<PathBuf>,
    /// What computes the extractor; all but cpu need another ONNX Runtime library (SIGMAWATCH_ORT_LIB)
    #[arg(long, value_name = "NAME", default_value = Provider::default().name(), value_parser = super::one_of::<Provider>())]
    provider: Provider,
    #[command(flatten)]
    machinery: Machinery,
}

/// What is said of one segment.
#[derive(Debug, Serialize)]
struct Line<'a> {
    video: &'a Path,
    segment: usize,
    /// Seconds from the beginning of the recording, first and last frame.
    start: f64,
    end: f64,
    first_frame: u64,
    last_frame: u64,
    score: f32,
    threshold: f64,
    unusual: bool,
    /// Strangest first, as (row, column).
    top_regions: Vec<(usize, usize)>,
    /// What moved most in the strangest of them, where the model explains its scores.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    factors: Vec<String>,
    /// Of unusual ones: which features of the strangest regions are not as in normal life, where the model says what
    /// that is like.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    features: Vec<String>,
}

/// # Errors
/// When the model does not fit, a recording cannot be read, or a file cannot be written.
pub fn run(args: &Args) -> Result<ExitCode> {
    init_onnxruntime()?;
    let session = Session::load(&args.model)?;
    let spec = session.manifest().scorer(session.model())?.clone();
    let (extractor, stride) = extractor_of(&args.model, &spec, args.extractor.as_deref(), args.provider)?;
    session.manifest().check_learned_from(session.model(), extractor.manifest())?;
    let mut scorer = OnnxScorer::new(session)?;
    let threshold = Threshold::of(&spec.calibration, args.k);
    let normal = spec.normal.as_ref().and_then(|normal| normal.decoded(spec.grid.regions(), spec.dims));
    let channels = Channels::of(&extractor.spec().channels);
    let explain = |taken: &Taken, score: &Score| -> Vec<String> {
        let regions = strangest(&score.regions, threshold.limit() as f32);
        let found = normal.as_ref().map(|normal| moved(&taken.features, &regions, normal, &channels));
        found.iter().flatten().map(Moved::to_string).collect()
    };

    let bar = progress_bar("scoring");
    let recordings = take_all(&args.videos, &extractor, stride, &args.machinery, &bar)?;
    bar.finish_and_clear();
    let mut written = String::new();
    let mut curves = Vec::new();
    for recording in &recordings {
        let scores = recording.scored(&mut scorer)?;
        for line in lines(recording, &scores, &threshold, &spec, &explain) {
            match (&args.out, args.json) {
                (Some(_), _) => writeln!(written, "{}", serde_json::to_string(&line)?)?,
                (None, true) => out(serde_json::to_string(&line)?)?,
                (None, false) => out(in_words(&line))?,
            }
        }
        let points = recording.segments.iter().zip(&scores).map(|(taken, score)| (taken.end, score.value));
        curves.push(plot::Curve { name: name(&recording.path), points: points.collect() });
    }
    if let Some(file) = &args.out {
        std::fs::write(file, &written).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(file) = &args.plot {
        let picture = plot::draw(&curves, threshold.limit());
        let format = image::ImageFormat::Png;
        picture.save_with_format(file, format).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The extractor that the scorer `model` was learned from (`file`, where it is not the built-in one), and the stride of
/// its segments.
pub fn extractor_of(
    model: &Path,
    spec: &ScorerSpec,
    file: Option<&Path>,
    provider: Provider,
) -> Result<(ExtractorModel, usize)> {
    let model = model.display();
    let Some(sampling) = &spec.sampling else {
        bail!("{model}: does not say how its segments were taken (learn again with this version)");
    };
    let extractor = match (file, spec.extractor.split_once(' ')) {
        (Some(file), _) => config::Extractor::File(file.to_owned()),
        (None, Some(("v1", _))) => config::Extractor::V1 {
            width: sampling.frame.width,
            height: sampling.frame.height,
            fps: sampling.frame.fps,
            whole_frame: spec.grid.regions() == 1,
        },
        (None, _) => bail!("{model}: was learned from {:?} (name that file as --extractor)", spec.extractor),
    };
    Ok((ExtractorModel::prepare_on(provider, &extractor)?, sampling.stride))
}

fn lines<'a>(
    recording: &'a Recording,
    scores: &'a [Score],
    threshold: &'a Threshold,
    spec: &'a ScorerSpec,
    explain: &'a dyn Fn(&Taken, &Score) -> Vec<String>,
) -> impl Iterator<Item = Line<'a>> {
    recording.segments.iter().zip(scores).enumerate().map(|(segment, (taken, score))| Line {
        video: &recording.path,
        segment,
        start: taken.start,
        end: taken.end,
        first_frame: taken.first_frame,
        last_frame: taken.last_frame,
        score: score.value,
        threshold: threshold.limit(),
        unusual: threshold.judge(score.value) == Verdict::Unusual,
        top_regions: score.top_regions(spec.grid, TOP_REGIONS),
        factors: reasons(score, &spec.factors).iter().map(Reason::to_string).collect(),
        features: match threshold.judge(score.value) {
            Verdict::Unusual => explain(taken, score),
            _ => vec![],
        },
    })
}

fn in_words(line: &Line<'_>) -> String {
    let top: Vec<String> = line.top_regions.iter().map(|(row, col)| format!("{row},{col}")).collect();
    format!(
        "{} {:8.2} to {:8.2} s  score {:8.4} of {:.4} {} at {}{}",
        name(line.video),
        line.start,
        line.end,
        line.score,
        line.threshold,
        if line.unusual { "UNUSUAL" } else { "normal " },
        top.join(" "),
        line.features.first().map_or_else(String::new, |feature| format!("  {feature}"))
    )
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}
