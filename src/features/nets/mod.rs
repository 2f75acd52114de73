//! Published networks whose weights the user brings, as extractors: R3D-18, ResNeXt-101, ViT-B/16 and its hybrid.

mod int8;
mod normalisation;
mod plan;
mod resnet3d;
mod resnet50;
mod vit;

pub use normalisation::Normalisation;

use crate::base::choices;
use crate::frame::{FrameSpec, PixelFormat};
use crate::infer::{
    Covers, ExtractorSpec, Grid, InferError, MANIFEST_FORMAT, Manifest, ModelSpec, sha256_hex,
};
use crate::segment::SEGMENT_FRAMES;
use crate::weights::{Tensors, read_checkpoint};
use int8::Linears;
use plan::{Body, Plan};
use resnet3d::ResNet3d;
use std::path::Path;
use vit::{Names, Vit};

/// Version of the arithmetic: features of another version are not comparable.
const VERSION: &str = "1";
/// Names and dimensions of tensors.
type Shapes = Vec<(String, Vec<usize>)>;

choices! {
    /// A network.
    pub enum Net {
        /// ResNet-18 in three dimensions (Tran et al. 2018; Hara et al. 2018).
        R3d18 = "r3d18",
        /// ResNeXt-101 in three dimensions (Hara et al. 2018).
        Resnext101 = "resnext101",
        /// The vision transformer of base size with patches of 16 pixels (Dosovitskiy et al. 2021).
        VitB16 = "vit-b16",
        /// The same behind three stages of a ResNet-50.
        R50VitB16 = "r50-vit-b16",
    }
}

choices! {
    /// Whose code a checkpoint was trained with.
    pub enum Layout {
        Torchvision = "torchvision",
        /// kenshohara/3D-ResNets-PyTorch.
        Hara = "hara",
        Timm = "timm",
    }
}

impl Layout {
    /// What `tensors` look like; what they are is checked later.
    fn of(net: Net, tensors: &Tensors) -> Self {
        let has = |wanted: &str| tensors.iter().any(|(name, _)| name == wanted);
        match net {
            Net::R3d18 if has("stem.0.weight") => Self::Torchvision,
            Net::R3d18 | Net::Resnext101 => Self::Hara,
            Net::VitB16 if has("conv_proj.weight") => Self::Torchvision,
            Net::VitB16 | Net::R50VitB16 => Self::Timm,
        }
    }
}

/// What the user chooses; `None` is what the file and the network suggest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    pub layout: Option<Layout>,
    pub normalisation: Option<Normalisation>,
    /// Analysed frames a second.
    pub fps: Option<f64>,
    /// One vector for the whole frame instead of one a region.
    pub whole_frame: bool,
    /// SPDX expression of the weights' licence.
    pub licence: Option<String>,
}

/// Writes the extractor `net` from the bytes of a checkpoint, which `file` names in messages.
///
/// Input: `frames` u8 `[segments, 16, side, side, 3]`, RGB. Output: `features` f32 `[segments, regions, dims]`: the
/// last map before pooling, mean over its time; or of a transformer the patches in squares of four, mean and
/// deviation over the frames 0, 5, 10 and 15. With `whole_frame` the published pool, or the class token.
///
/// # Errors
/// Where the checkpoint is not of `net`: says what does not fit.
pub fn build(
    file: &str,
    checkpoint: &[u8],
    net: Net,
    options: &Options,
) -> Result<(Manifest, Vec<u8>), InferError> {
    let mut tensors = read_checkpoint(file, checkpoint)?;
    let plan = plan(file, &mut tensors, net, options)?;
    let (graph, grid) = plan.graph(&tensors, Linears::Float);
    let manifest = manifest(file, checkpoint, &plan, grid, options);
    let model = graph.finish(&manifest);
    Ok((manifest, model))
}

/// Writes the extractor as [`build`] does, its linear layers in 8-bit integers. Their ranges are those of `segments`:
/// frames as the extractor takes them, one after the other.
///
/// # Errors
/// Where [`build`] has one, and for networks in three dimensions, which gain nothing.
pub fn build_int8(
    file: &str,
    checkpoint: &[u8],
    net: Net,
    options: &Options,
    segments: &[Vec<u8>],
) -> Result<(Manifest, Vec<u8>), InferError> {
    let mut tensors = read_checkpoint(file, checkpoint)?;
    let plan = plan(file, &mut tensors, net, options)?;
    if !plan.has_linears() || segments.is_empty() {
        let problem = "8-bit integers are for transformers, and want segments to calibrate with";
        return Err(InferError::new(file, problem, "leave --int8 out"));
    }
    let ranges = int8::ranges(plan.watched(&tensors), &plan.segment_dims(), segments)?;
    let (graph, grid) = plan.graph(&tensors, Linears::Int8(ranges.iter()));
    let mut manifest = manifest(file, checkpoint, &plan, grid, options);
    manifest.version = format!("{}-int8-{}", manifest.version, int8::digest(&ranges));
    let count = segments.len();
    manifest
        .provenance
        .push_str(&format!("; linear layers in 8-bit integers, calibrated with {count} segments"));
    let model = graph.finish(&manifest);
    Ok((manifest, model))
}

/// Chooses layout and scaling, and checks that `tensors` are exactly the network's.
fn plan(file: &str, tensors: &mut Tensors, net: Net, options: &Options) -> Result<Plan, InferError> {
    let layout = options.layout.unwrap_or_else(|| Layout::of(net, tensors));
    let counts = |name: &str| name.ends_with(".num_batches_tracked");
    let counted = tensors.iter().any(|(name, _)| counts(name));
    let (body, scaling) = match (net, layout) {
        (Net::R3d18, Layout::Torchvision) => {
            (Body::Video(ResNet3d::r3d18_torchvision()), Normalisation::TorchvisionVideo)
        }
        // Batch normalisation counts its batches since PyTorch 0.4.1 (July 2018).
        (Net::R3d18 | Net::Resnext101, Layout::Hara) => {
            let body = if net == Net::R3d18 { ResNet3d::r3d18_hara() } else { ResNet3d::resnext101() };
            (Body::Video(body), if counted { Normalisation::Hara } else { Normalisation::Hara2017 })
        }
        (Net::VitB16, Layout::Torchvision) => {
            // Names of torchvision before 0.13.
            tensors.rename(|name| {
                name.replace(".mlp.linear_1.", ".mlp.0.").replace(".mlp.linear_2.", ".mlp.3.")
            });
            (Body::Pictures(Vit::of(file, tensors, Names::Torchvision, false)?), Normalisation::Imagenet)
        }
        (Net::VitB16 | Net::R50VitB16, Layout::Timm) => {
            let vit = Vit::of(file, tensors, Names::Timm, net == Net::R50VitB16)?;
            (Body::Pictures(vit), Normalisation::Half)
        }
        _ => {
            let problem = format!("there is no {} in the layout {}", net.name(), layout.name());
            return Err(InferError::new(file, problem, "leave the layout to the file"));
        }
    };
    let heads = ["fc.", "head.", "heads.", "pre_logits."];
    tensors.leave_out(|name| counts(name) || heads.iter().any(|head| name.starts_with(head)));
    let plan = Plan {
        net,
        layout,
        normalisation: options.normalisation.unwrap_or(scaling),
        body,
        whole_frame: options.whole_frame,
    };
    tensors.check(&format!("{} in the layout {}", net.name(), layout.name()), &plan.tensors())?;
    Ok(plan)
}

fn manifest(file: &str, checkpoint: &[u8], plan: &Plan, grid: Grid, options: &Options) -> Manifest {
    let sha256 = sha256_hex(checkpoint);
    let (layout, scaling) = (plan.layout.name(), plan.normalisation.name());
    let name = Path::new(file).file_name().map_or(file.into(), |name| name.to_string_lossy());
    let licence = match &options.licence {
        Some(_) => "whose licence is as the user said",
        None => "whose licence is unknown to Sigmawatch",
    };
    let regions = if plan.whole_frame { "whole".into() } else { format!("{}x{}", grid.rows, grid.cols) };
    let side = plan.side() as u32;
    let fps = options.fps.unwrap_or(plan.fps());
    Manifest {
        format: MANIFEST_FORMAT,
        name: plan.net.name().into(),
        // Other weights, and another scaling, make other features.
        version: format!("{VERSION}-{}-{scaling}-{regions}", &sha256[..8]),
        licence: options.licence.clone().unwrap_or("NOASSERTION".into()),
        provenance: format!(
            "{}, no classifier; the user's file {name} (SHA-256 {sha256}) in the layout {layout}, scaled as {scaling}, \
             {licence}",
            plan.title()
        ),
        spec: ModelSpec::Extractor(ExtractorSpec {
            frame: FrameSpec { width: side, height: side, format: PixelFormat::Rgb8, fps },
            frames: SEGMENT_FRAMES,
            grid,
            covers: Covers::default(),
            dims: plan.dims(),
            channels: plan.channels(),
        }),
    }
}

#[cfg(test)]
mod parity;
