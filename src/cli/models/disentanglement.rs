//! `sigmawatch models disentanglement`: do the factors of a beta-VAE stand for what varies? On drawn shapes.

use crate::cli::learn::progress_shown;
use crate::cli::{out, out_json};
use crate::train::{FACTORS, ShapesConfig, shapes};
use anyhow::Result;
use std::process::ExitCode;

/// Arguments of `models disentanglement`.
#[derive(Debug, clap::Args)]
pub struct Disentanglement {
    /// Seed of the pictures and of the training
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Weights of the latents' divergence to try
    #[arg(long = "beta", value_name = "BETA", num_args = 1.., default_values_t = ShapesConfig::default().betas)]
    betas: Vec<f64>,
    /// Steps of each training
    #[arg(long, default_value_t = ShapesConfig::default().steps)]
    steps: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// # Errors
/// Where the output is gone.
pub fn run(args: &Disentanglement) -> Result<ExitCode> {
    let Disentanglement { seed, steps, .. } = *args;
    let config = ShapesConfig { seed, steps, betas: args.betas.clone(), ..ShapesConfig::default() };
    let found = progress_shown("disentanglement", |on| Ok(shapes(&config, on)?))?;
    if args.json {
        out_json(&serde_json::json!({ "config": config, "codes": found }))?;
        return Ok(ExitCode::SUCCESS);
    }
    out(format_args!(
        "Which of {} was held fixed, as a linear classifier tells from a code:",
        FACTORS.join(", ")
    ))?;
    for row in found {
        out(format_args!("{:28} {:2} numbers  {:.3}", row.code, row.numbers, row.accuracy))?;
    }
    Ok(ExitCode::SUCCESS)
}
