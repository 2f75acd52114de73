//! `sigmawatch models convert`: an extractor from a checkpoint of the user's, and a first run of it.

use super::super::{init_onnxruntime, out};
use super::{frames_a_second, write};
use crate::features::nets::{self, Layout, Net, Normalisation, Options};
use crate::features::{ExtractorModel, trial};
use crate::weights::read_file;
use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Convert {
    /// The network that the weights are of
    #[arg(value_name = "NETWORK", value_parser = one_of(Net::ALL, Net::name))]
    net: Net,
    /// The weights: a PyTorch checkpoint (.pth, .pt) or a safetensors file; nothing in it is run
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The file to write; an old one is replaced [default: NETWORK.onnx]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Whose code the weights were trained with [default: as the names of the tensors say]
    #[arg(long, value_parser = one_of(Layout::ALL, Layout::name))]
    layout: Option<Layout>,
    /// How the pictures of the training were scaled [default: as was usual for the layout; docs/ref/models.md]
    #[arg(long, value_parser = one_of(Normalisation::ALL, Normalisation::name))]
    normalisation: Option<Normalisation>,
    /// Analysed frames a second, 1 to 60 [default: the rate of the training]
    #[arg(long, value_parser = frames_a_second)]
    fps: Option<f64>,
    /// One vector for the whole frame instead of one a region
    #[arg(long)]
    whole_frame: bool,
    /// The licence of the weights, an SPDX expression, for the file's description of itself
    #[arg(long, value_name = "SPDX")]
    licence: Option<String>,
}

/// Reads one of `all` by its name.
fn one_of<T, const N: usize>(all: [T; N], name: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.map(name))
        .map(move |said| all.into_iter().find(|&one| name(one) == said).expect("clap has checked it"))
}

/// # Errors
/// Where the file is not a checkpoint of the network, or the model does not run.
pub fn run(convert: &Convert) -> Result<ExitCode> {
    init_onnxruntime()?;
    let checkpoint = read_file(&convert.from)?;
    let options = Options {
        layout: convert.layout,
        normalisation: convert.normalisation,
        fps: convert.fps,
        whole_frame: convert.whole_frame,
        licence: convert.licence.clone(),
    };
    let file = convert.from.display().to_string();
    let (manifest, bytes) = nets::build(&file, &checkpoint, convert.net, &options)?;
    let model = ExtractorModel::check(manifest.id(), bytes)?;
    let (_, took) = trial(&model)?;
    let target = convert.out.clone().unwrap_or_else(|| format!("{}.onnx", convert.net.name()).into());
    write(&target, &manifest, model.bytes())?;
    out(format!("  licence     {}", manifest.licence))?;
    out(format!("  provenance  {}", manifest.provenance))?;
    out(format!("  checked     a segment took {} ms on one thread", took.as_millis()))?;
    Ok(ExitCode::SUCCESS)
}
