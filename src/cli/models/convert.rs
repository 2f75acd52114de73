//! `sigmawatch models convert`: an extractor from a checkpoint of the user's, and a first run of it.

use super::super::recordings::{find, pipelines_folder, sample};
use super::super::{init_onnxruntime, one_of, out};
use super::{frames_a_second, write};
use crate::features::nets::{self, Layout, Net, Normalisation, Options};
use crate::features::{ExtractorModel, trial};
use crate::infer::{Session, TensorIn};
use crate::weights::read_file;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
pub struct Convert {
    /// The network that the weights are of
    #[arg(value_name = "NETWORK", value_parser = one_of::<Net>())]
    net: Net,
    /// The weights: a PyTorch checkpoint (.pth, .pt) or a safetensors file; nothing in it is run
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The file to write; an old one is replaced [default: NETWORK.onnx]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Whose code the weights were trained with [default: as the names of the tensors say]
    #[arg(long, value_parser = one_of::<Layout>())]
    layout: Option<Layout>,
    /// How the pictures of the training were scaled [default: as was usual for the layout; docs/ref/models.md]
    #[arg(long, value_parser = one_of::<Normalisation>())]
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
    /// Linear layers in 8-bit integers, with ranges from --calibrate: about twice as fast for a transformer, on a
    /// CPU with VNNI; says what it costs in accuracy
    #[arg(long, requires = "calibrate")]
    int8: bool,
    /// Recordings, or folders of them, of what the cameras see: half of what is taken calibrates, half judges
    #[arg(long, value_name = "PATH", num_args = 1.., requires = "int8")]
    calibrate: Vec<PathBuf>,
    /// Folder of the GStreamer descriptions [default: pipelines, else /etc/sigmawatch/pipelines]
    #[arg(long, value_name = "DIR", requires = "calibrate")]
    pipelines: Option<PathBuf>,
}

/// Segments of the recordings that calibration takes at most, and judgement too.
const SEGMENTS: usize = 16;

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
    let (mut manifest, bytes) = nets::build(&file, &checkpoint, convert.net, &options)?;
    let mut model = ExtractorModel::check(manifest.id(), bytes)?;
    let (_, mut took) = trial(&model)?;
    let mut cost = None;
    if convert.int8 {
        let paths = find(&convert.calibrate)?;
        let most = (2 * SEGMENTS).div_ceil(paths.len());
        let pipelines = pipelines_folder(convert.pipelines.clone());
        let segments = sample(&paths, &model.spec().frame, most, &pipelines)?;
        let (calibrating, judging) = halves(segments);
        if judging.is_empty() {
            bail!("--calibrate: the recordings have fewer than two segments (name longer ones)");
        }
        let float = model;
        let (whole, bytes) = nets::build_int8(&file, &checkpoint, convert.net, &options, &calibrating)?;
        model = ExtractorModel::check(whole.id(), bytes)?;
        let (alike, [before, after]) = compare(&float, &model, &judging)?;
        if after >= before {
            let (before, after) = (before.as_millis(), after.as_millis());
            bail!(
                "8-bit integers do not pay on this machine: a segment took {after} ms, and {before} ms in floats \
                   (leave --int8 out)"
            );
        }
        (manifest, took) = (whole, after);
        let (mean, least, count) = (alike.0, alike.1, judging.len());
        let before = before.as_millis();
        cost = Some(format!(
            "{before} ms in floats; cosine to those features {mean:.4}, least {least:.4} of {count}"
        ));
    }
    let target = convert.out.clone().unwrap_or_else(|| format!("{}.onnx", convert.net.name()).into());
    write(&target, &manifest, model.bytes())?;
    out(format!("  licence     {}", manifest.licence))?;
    out(format!("  provenance  {}", manifest.provenance))?;
    out(format!("  checked     a segment took {} ms on one thread", took.as_millis()))?;
    if let Some(cost) = cost {
        out(format!("  8 bits      {cost} segments that did not calibrate"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// By turns: neighbours in time are alike, and both halves see all recordings.
fn halves(segments: Vec<Vec<u8>>) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut even, mut odd) = (Vec::new(), Vec::new());
    for (number, segment) in segments.into_iter().enumerate() {
        if number % 2 == 0 { even.push(segment) } else { odd.push(segment) }
    }
    (even, odd)
}

/// Mean and least cosine between the features of two extractors, and the time that a segment takes each at best.
fn compare(
    a: &ExtractorModel,
    b: &ExtractorModel,
    segments: &[Vec<u8>],
) -> Result<((f64, f64), [Duration; 2])> {
    let frame = &a.spec().frame;
    let dims =
        [1, a.spec().frames, frame.height as usize, frame.width as usize, frame.format.bytes_per_pixel()];
    let mut best = [Duration::MAX; 2];
    let mut features = [Vec::new(), Vec::new()];
    for ((model, best), features) in [a, b].into_iter().zip(&mut best).zip(&mut features) {
        let mut session = Session::from_bytes(&model.manifest().id(), model.bytes())?;
        for data in segments {
            let began = Instant::now();
            let outputs = session.run(TensorIn::U8 { dims: &dims, data })?;
            *best = began.elapsed().min(*best);
            let output = outputs.into_iter().find(|output| output.name == "features");
            features.push(output.context("the extractor gave no features")?.data);
        }
    }
    let [one, other] = &features;
    let cosines: Vec<f64> = one.iter().zip(other).map(|(a, b)| cosine(a, b)).collect();
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    Ok(((mean, cosines.into_iter().fold(1.0, f64::min)), best))
}

/// The cosine of the angle between two vectors.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
