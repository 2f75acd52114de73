//! `sigmawatch check`: every mistake of a configuration at once.

use super::{BAD_CONFIG, out, out_json};
use crate::config;
use anyhow::Result;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Say everything that is wrong with a configuration.
///
/// Reads the configuration as the daemon would, and reports every mistake at once with file, line, key,
/// allowed values and remedy. Nothing is started and nothing is written.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sigmawatch check --config mine.toml
  sigmawatch check --config mine.toml --json | jq '.problems[].message'

Exit codes: 0 good (perhaps with warnings), 78 bad.")]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "config.toml")]
    config: PathBuf,
    /// Answer in JSON: {ok, problems, warnings, config}, the configuration without its secrets
    #[arg(long)]
    json: bool,
}

/// # Errors
/// [`config::Invalid`] when the configuration is bad.
pub fn run(args: &Args) -> Result<ExitCode> {
    let loaded = config::load(&args.config);
    if args.json {
        return match loaded {
            Ok(good) => {
                let config = good.config.redacted();
                out_json(&json!({"ok": true, "problems": [], "warnings": good.warnings, "config": config}))?;
                Ok(ExitCode::SUCCESS)
            }
            Err(bad) => {
                out_json(&json!({"ok": false, "problems": bad.problems, "warnings": bad.warnings}))?;
                Ok(ExitCode::from(BAD_CONFIG))
            }
        };
    }
    let warn = |warnings: &[config::Problem]| warnings.iter().try_for_each(|w| out(format!("warning: {w}")));
    match loaded {
        Ok(good) => {
            warn(&good.warnings)?;
            let cameras: Vec<&str> = good.config.cameras.iter().map(|camera| &*camera.name).collect();
            let (count, names) = (cameras.len(), cameras.join(", "));
            let noun = if count == 1 { "camera" } else { "cameras" };
            out(format!("{}: good, {count} {noun} ({names})", args.config.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(bad) => {
            warn(&bad.warnings)?;
            Err(bad.into())
        }
    }
}
