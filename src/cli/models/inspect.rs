//! `sigmawatch models inspect`: draws an extractor's first layer, and describes its kernels as Gabor functions.

mod sheet;

use super::super::{init_onnxruntime, out, out_json};
use crate::base::write_atomically;
use crate::features::kernels::{self, Gabor, Kernel};
use crate::features::v1::{self, V1Params};
use crate::infer;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// A kernel of which so much is left unexplained is no Gabor function.
const FITS: f64 = 0.2;

#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// The extractor: a model file, or v1
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// Draw the kernels into this PNG file
    #[arg(long, value_name = "PICTURE")]
    out: Option<PathBuf>,
    /// Answer in JSON: {model, fps, kernels: [{name, frames, height, width, colour, colour_share, gabor}]}
    #[arg(long)]
    json: bool,
}

/// # Errors
/// Where the file is no extractor, has no first layer to show, or the picture cannot be written.
pub fn run(inspect: &Inspect) -> Result<ExitCode> {
    init_onnxruntime()?;
    let file = inspect.model.display().to_string();
    let (manifest, bytes) = match file.as_str() {
        "v1" => v1::build(&V1Params::new(360, 240, 10.0, false)),
        _ => {
            let bytes = infer::read_model(&inspect.model)?;
            (infer::Session::from_bytes(&file, &bytes)?.manifest().clone(), bytes)
        }
    };
    let fps = manifest.extractor(&file)?.frame.fps;
    let kernels: Vec<(Kernel, Option<Gabor>)> = kernels::of(&file, &manifest, &bytes)?
        .into_iter()
        .map(|kernel| {
            let gabor = kernels::fit(&kernel.volume);
            (kernel, gabor)
        })
        .collect();
    if let Some(picture) = &inspect.out {
        write_atomically(picture, &sheet::png(&sheet::draw(&kernels))?).with_context(|| {
            format!("{} cannot be written (name a file in a folder that exists)", picture.display())
        })?;
    }
    if inspect.json {
        let described: Vec<Value> =
            kernels.iter().map(|(kernel, gabor)| entry(kernel, *gabor, fps)).collect();
        out_json(&json!({"model": manifest.id(), "fps": fps, "kernels": described}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let first = &kernels.first().context("the first layer has no kernels")?.0;
    let (volume, channels) = (&first.volume, first.channels);
    out(format!(
        "{}: {} kernels, the first of {channels} x {} x {} x {} (channels, frames, height, width)",
        manifest.id(),
        kernels.len(),
        volume.frames,
        volume.height,
        volume.width
    ))?;
    out(
        "orientation: of the wave vector, clockwise from right; speed: along it; residual: energy unexplained",
    )?;
    out(HEADER)?;
    for (kernel, gabor) in &kernels {
        out(line(kernel, *gabor, fps))?;
    }
    let fitting = kernels.iter().filter(|(_, gabor)| gabor.is_some_and(|g| g.residual < FITS)).count();
    out(format!("{fitting} of {} leave less than {FITS} unexplained", kernels.len()))?;
    Ok(ExitCode::SUCCESS)
}

const HEADER: &str = "residual  orient  wavelength    omega    speed     speed   phase  sigma: along  across    time  \
                      colour  kernel\n              deg          px    rad/f     px/f      px/s     deg              px      px  \
                      frames   share";

fn line(kernel: &Kernel, gabor: Option<Gabor>, fps: f64) -> String {
    let Kernel { name, colour_share, .. } = kernel;
    let Some(g) = gabor else { return format!("{:>8}{:106}{name}", "zero", "") };
    // Edges and blobs have no wavelength.
    let number = |value: Option<f64>, digits: usize| match value {
        Some(value) => format!("{value:.digits$}"),
        None => "-".into(),
    };
    format!(
        "{:8.3}  {:6.1}  {:>10}  {:7.3}  {:>7}  {:>8}  {:6.0}  {:12.2}  {:6.2}  {:6.2}  {colour_share:6.2}  {name}",
        g.residual,
        g.orientation,
        number(g.wavelength, 2),
        g.omega,
        number(g.speed(), 2),
        number(g.speed().map(|speed| speed * fps), 1),
        g.phase.to_degrees(),
        g.sigma_along,
        g.sigma_across,
        g.sigma_t,
    )
}

fn entry(kernel: &Kernel, gabor: Option<Gabor>, fps: f64) -> Value {
    let gabor = gabor.map(|g| {
        json!({
            "residual": g.residual,
            "orientation_degrees": g.orientation,
            "wavelength_pixels": g.wavelength,
            "omega_radians_per_frame": g.omega,
            "frequency_hertz": g.omega * fps / std::f64::consts::TAU,
            "speed_pixels_per_frame": g.speed(),
            "speed_pixels_per_second": g.speed().map(|speed| speed * fps),
            "phase_degrees": g.phase.to_degrees(),
            "sigma_along_pixels": g.sigma_along,
            "sigma_across_pixels": g.sigma_across,
            "sigma_time_frames": g.sigma_t,
            "centre": g.centre,
        })
    });
    let volume = &kernel.volume;
    json!({
        "name": kernel.name,
        "frames": volume.frames,
        "height": volume.height,
        "width": volume.width,
        "colour": kernel.colour,
        "colour_share": kernel.colour_share,
        "gabor": gabor,
    })
}
