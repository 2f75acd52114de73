//! `sigmawatch check`: every mistake of a configuration at once.

use super::probe::{self, Probe};
use super::{BAD_CONFIG, FAILURE, out, out_json};
use crate::api::{self, ServeError};
use crate::config::{self, Detector, Extractor, Invalid, Loaded, Problem, Provider, Scorer};
use crate::daemon;
use crate::features::ExtractorModel;
use crate::features::v1::{self, V1Params};
use crate::infer::{self, InferError, Manifest};
use anyhow::Result;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Say everything that is wrong with a configuration.
///
/// Reads the configuration as the daemon would, and reports every mistake at once with file, line, key,
/// allowed values and remedy. The models that it names are opened, to see that they are models and fit each
/// other. Nothing is started and nothing is written. With --probe it also connects to every camera, watches it for
/// some seconds, and reports what it sends.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sigmawatch check --config mine.toml
  sigmawatch check --config mine.toml --json | jq '.problems[].message'
  sigmawatch check --config mine.toml --probe

Exit codes: 0 good (perhaps with warnings), 1 a camera cannot be watched (--probe), 78 bad.")]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "config.toml")]
    config: PathBuf,
    /// Answer in JSON: {ok, problems, warnings, config}, the configuration without its secrets
    #[arg(long)]
    json: bool,
    /// Connect to each camera too, and say what it sends and what is wrong; JSON: `probes`
    #[arg(long)]
    probe: bool,
}

/// # Errors
/// [`config::Invalid`] when the configuration is bad.
pub fn run(args: &Args) -> Result<ExitCode> {
    let loaded = load(&args.config);
    if args.json {
        return match loaded {
            Ok(good) => {
                let probes = args.probe.then(|| probe::all(&good.config, |_| ()));
                let ok = probes.iter().flatten().all(Probe::is_good);
                let config = good.config.redacted();
                let mut answer =
                    json!({"ok": ok, "problems": [], "warnings": good.warnings, "config": config});
                if let Some(probes) = probes {
                    answer["probes"] = serde_json::to_value(probes)?;
                }
                out_json(&answer)?;
                Ok(code(ok))
            }
            Err(bad) => {
                out_json(&json!({"ok": false, "problems": bad.problems, "warnings": bad.warnings}))?;
                Ok(ExitCode::from(BAD_CONFIG))
            }
        };
    }
    let warn = |warnings: &[Problem]| {
        // Where standard error is gone, warnings are the least of it.
        warnings.iter().for_each(|warning| drop(writeln!(std::io::stderr(), "warning: {warning}")));
    };
    match loaded {
        Ok(good) => {
            warn(&good.warnings);
            let cameras: Vec<&str> = good.config.cameras.iter().map(|camera| &*camera.name).collect();
            let (count, names) = (cameras.len(), cameras.join(", "));
            let noun = if count == 1 { "camera" } else { "cameras" };
            out(format!("{}: good, {count} {noun} ({names})", args.config.display()))?;
            let mut said = Ok(());
            let probes = match args.probe {
                true => probe::all(&good.config, |probe| {
                    if said.is_ok() {
                        said = out(probe);
                    }
                }),
                false => vec![],
            };
            said?;
            Ok(code(probes.iter().all(Probe::is_good)))
        }
        Err(bad) => {
            warn(&bad.warnings);
            Err(bad.into())
        }
    }
}

fn code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) }
}

/// Reads a configuration, and opens the models that it names.
///
/// # Errors
/// Every mistake.
pub fn load(path: &Path) -> Result<Loaded, Invalid> {
    let loaded = config::load(path)?;
    let mut problems = model_problems(&loaded);
    if let Err(ServeError { place, problem, remedy }) = api::tls(&loaded.config.http) {
        problems.push(loaded.problem(&place, problem, remedy));
    }
    match problems.is_empty() {
        true => Ok(loaded),
        false => Err(Invalid { problems, warnings: loaded.warnings }),
    }
}

fn model_problems(loaded: &Loaded) -> Vec<Problem> {
    let library = &loaded.config.runtime.onnxruntime;
    if let Err(error) = infer::init(library) {
        return vec![problem(loaded, "runtime.onnxruntime", error)];
    }
    let mut problems: Vec<Problem> = Vec::new();
    for camera in &loaded.config.cameras {
        for detector in &camera.detectors {
            let of = match &camera.detectors[..] {
                [_] => format!("camera.{}.detector", camera.name),
                _ => format!("camera.{}.detector.{}", camera.name, detector.name),
            };
            problems.extend(match extractor(detector) {
                _ if let Err(error) = provided(detector) => {
                    Some(problem(loaded, &format!("{of}.provider"), error))
                }
                Err(error) => Some(problem(loaded, &format!("{of}.extractor"), error)),
                Ok(extractor) => {
                    let misfit = fit(detector, &extractor).err();
                    misfit.map(|error| problem(loaded, &format!("{of}.scorer"), error))
                }
            });
        }
    }
    problems
}

fn problem(loaded: &Loaded, key: &str, error: InferError) -> Problem {
    loaded.problem(key, format!("{}: {}", error.model, error.problem), error.remedy)
}

/// Whether the detector's extractor runs where it is told to; on the CPU that is seen from its file.
fn provided(detector: &Detector) -> Result<(), InferError> {
    match detector.provider {
        Provider::Cpu => Ok(()),
        provider => ExtractorModel::prepare_on(provider, &detector.extractor).map(drop),
    }
}

/// What the detector's extractor says of itself.
fn extractor(detector: &Detector) -> Result<Manifest, InferError> {
    match &detector.extractor {
        Extractor::V1 { width, height, fps, whole_frame } => {
            let params = V1Params::new(*width as usize, *height as usize, *fps, *whole_frame);
            match params.problem() {
                Some(problem) => Err(InferError::new("v1", problem, "choose a larger width and height")),
                None => Ok(v1::build(&params).0),
            }
        }
        Extractor::File(path) => {
            daemon::try_model(path)?;
            let (manifest, _) = infer::describe(path)?;
            manifest.extractor(&path.display().to_string())?;
            Ok(manifest)
        }
    }
}

/// Whether a scorer file was learned from this extractor, and fits the stride.
fn fit(detector: &Detector, extractor: &Manifest) -> Result<(), InferError> {
    match &detector.scorer {
        Scorer::Learned(_) => Ok(()),
        Scorer::File(path) => {
            daemon::try_model(path)?;
            let (scorer, model) = (infer::describe(path)?.0, path.display().to_string());
            scorer.check_learned_from(&model, extractor)?;
            scorer.check_stride(&model, detector.stride)
        }
    }
}
