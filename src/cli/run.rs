//! `sigmawatch run`: the daemon.

use super::check;
use crate::daemon::{self, Again, Asked, Stop};
use crate::telemetry::{LogFormat, init_log};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::ExitCode;

/// ONNX Runtime's loader talks about itself at `info`.
const LOG_FILTER: &str = "info,ort=warn";

/// Watch the cameras of a configuration until stopped.
///
/// Learns each camera's normal life in place, arms itself, and serves the page, the API and the metrics at
/// the address it prints. SIGTERM or Ctrl-C stops it cleanly; a second one ends it at once. SIGHUP has it read the
/// configuration again: what has changed is changed, and cameras that have not do not notice.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sigmawatch run                           the demo camera of the shipped config.toml
  sigmawatch run --config mine.toml --json the log as JSON lines

SIGMAWATCH_LOG sets what is logged, for example SIGMAWATCH_LOG=debug.
Exit codes: 0 stopped as asked, 1 could not start, 78 bad configuration.")]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "config.toml")]
    config: PathBuf,
    /// Log JSON lines instead of text
    #[arg(long)]
    json: bool,
}

/// # Errors
/// [`config::Invalid`](crate::config::Invalid) when the configuration, or a model that it names, is bad;
/// otherwise why the daemon could not start.
pub fn run(args: &Args) -> Result<ExitCode> {
    let format = if args.json { LogFormat::Json } else { LogFormat::Text };
    let loaded = check::load(&args.config)?;
    init_log(format, LOG_FILTER)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let stop = Stop::default();
    stop.on_signals().context("cannot listen for signals")?;
    let again = Again::default();
    again.on_signal().context("cannot listen for SIGHUP")?;
    let cameras = loaded.config.cameras.len();
    let scheme = if loaded.config.http.tls.is_some() { "https" } else { "http" };
    let file = args.config.clone();
    let asked = Asked { stop, again, load: Box::new(move || check::load(&file)) };
    daemon::run(&loaded.config, asked, |address| {
        let noun = if cameras == 1 { "camera" } else { "cameras" };
        tracing::info!("watching {cameras} {noun}; open {scheme}://{address}/");
    })?;
    Ok(ExitCode::SUCCESS)
}
