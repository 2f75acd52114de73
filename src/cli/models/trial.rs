//! `sigmawatch models try`: a model file's first run, in bounds of memory and time.

use super::super::{init_onnxruntime, out, out_json};
use crate::daemon;
use crate::features::{self, ExtractorModel};
use crate::infer::{self, InferError, ModelSpec};
use crate::score::OnnxScorer;
use anyhow::{Context, Result};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct Try {
    /// The model
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Memory that it may need, MiB of address space; without it what the daemon allows
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// Time that it may take, seconds
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Try it in this very process, without a limit of time
    #[arg(long, hide = true)]
    here: bool,
    /// Answer in JSON: {file, ok, problem, remedy}
    #[arg(long)]
    json: bool,
}

/// # Errors
/// Where the answer cannot be written; a model that fails is an answer.
pub fn run(attempt: &Try) -> Result<ExitCode> {
    let found = match attempt.here {
        true => here(attempt)?,
        false => {
            init_onnxruntime()?;
            daemon::try_model_within(&attempt.file, attempt.memory, Duration::from_secs(attempt.seconds))
        }
    };
    if attempt.json {
        let problem = found.as_ref().err();
        out_json(&json!({
            "file": attempt.file,
            "ok": found.is_ok(),
            "problem": problem.map(|error| &error.problem),
            "remedy": problem.map(|error| &error.remedy),
        }))?;
    } else {
        match &found {
            Ok(()) => out(format!("{}: loads and runs", attempt.file.display()))?,
            Err(error) => return Err(error.clone().into()),
        }
    }
    Ok(if found.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn here(attempt: &Try) -> Result<Result<(), InferError>> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if let Some(mib) = attempt.memory {
        let bytes = Some(mib << 20);
        setrlimit(Resource::As, Rlimit { current: bytes, maximum: bytes })
            .context("cannot limit the memory")?;
    }
    init_onnxruntime()?;
    let name = attempt.file.display().to_string();
    let (manifest, _) = match infer::describe(&attempt.file) {
        Ok(found) => found,
        Err(error) => return Ok(Err(error)),
    };
    Ok(match &manifest.spec {
        ModelSpec::Extractor(_) => infer::read_model(&attempt.file)
            .and_then(|bytes| ExtractorModel::check(name, bytes))
            .and_then(|model| features::trial(&model))
            .map(drop),
        ModelSpec::Scorer(_) => infer::Session::load(&attempt.file)
            .and_then(OnnxScorer::new)
            .and_then(|mut scorer| scorer.trial()),
    })
}
