//! `sigmawatch decode`: the process that decodes one camera which is isolated; the daemon starts it, nobody else.

use crate::frame;
use crate::telemetry::{LogFormat, init_log};
use anyhow::{Context, Result};
use std::process::ExitCode;

/// Decode what standard input asks for: started by the daemon for each camera with `isolate = true`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which camera it is, for those who list processes
    #[arg(long, value_name = "CAMERA")]
    of: Option<String>,
    /// Log JSON lines instead of text
    #[arg(long)]
    json: bool,
}

/// # Errors
/// What comes by standard input is not from the daemon, or the daemon has gone.
pub fn run(args: &Args) -> Result<ExitCode> {
    init_log(if args.json { LogFormat::Json } else { LogFormat::Text }, "warn")?;
    let context = || {
        let of = args.of.as_deref().unwrap_or("a camera");
        format!("cannot decode {of} for the daemon (only `sigmawatch run` starts this command)")
    };
    frame::decode().with_context(context)?;
    Ok(ExitCode::SUCCESS)
}
