//! The command line: run | check | learn | score | eval | backtest | bench | models | user.
//!
//! A subcommand is a file here with `pub struct Args` and `pub fn run(&Args) -> anyhow::Result<ExitCode>`,
//! a line in [`Command`] and a line in [`dispatch`]. Output goes through [`out`], so that a reader who has
//! read enough (`| head`) ends the program quietly; errors are returned and printed once, here.

mod backtest;
mod bench;
mod check;
mod decode;
mod draw;
mod eval;
mod labelled;
mod learn;
mod recordings;
mod models;
mod probe;
mod reviewed;
mod run;
mod score;
mod user;

use crate::base::Choice;
use crate::config::{Budget, Camera, Config, Invalid};
use crate::infer::{self, InferError, Manifest, ModelSpec};
use crate::threshold::{Course, Outlook, Rule};
use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Something went wrong; standard error says what and what to do.
pub const FAILURE: u8 = 1;
/// The command line itself is wrong.
pub const USAGE: u8 = 2;
/// The configuration is bad (`EX_CONFIG` of sysexits.h); systemd does not restart after it.
pub const BAD_CONFIG: u8 = 78;

/// Watches cameras, learns each one's normal life in place, and says what is unusual, and where.
#[derive(Debug, Parser)]
#[command(
    name = "sigmawatch",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = AFTER_HELP
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  sigmawatch run --config config.toml      watch the cameras of a configuration
  sigmawatch check --config config.toml    say everything that is wrong with a configuration
  sigmawatch backtest --camera gate        say which alarms other settings would have raised
  sigmawatch bench                         say how many cameras this machine carries
  sigmawatch models describe gate.onnx     say what a model takes, gives and was learned from

Exit codes:
  0   done
  1   something went wrong; standard error says what, and what to do
  2   the command line is wrong
  78  the configuration is bad; every mistake is on standard error

`sigmawatch help COMMAND` says more about a command.";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Learn(learn::Args),
    Score(score::Args),
    Eval(eval::Args),
    Backtest(backtest::Args),
    Bench(bench::Args),
    Models(models::Args),
    User(user::Args),
    #[command(hide = true)]
    Decode(decode::Args),
}

fn dispatch(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Learn(args) => learn::run(args),
        Command::Score(args) => score::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Backtest(args) => backtest::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Models(args) => models::run(args),
        Command::User(args) => user::run(args),
        Command::Decode(args) => decode::run(args),
    }
}

/// Reads the command line, does what it says, and answers with the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version come this way too, for standard output and with code 0.
        Err(answer) => {
            let written = answer.print();
            return match answer.exit_code() {
                0 if written.is_ok() => ExitCode::SUCCESS,
                0 => ExitCode::from(FAILURE),
                _ => ExitCode::from(USAGE),
            };
        }
    };
    dispatch(&cli.command).unwrap_or_else(|error| explain(&error, &mut io::stderr()))
}

/// Prints an error once, and finds its exit code.
fn explain(error: &anyhow::Error, to: &mut dyn Write) -> ExitCode {
    let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(broken_pipe) {
        return ExitCode::SUCCESS;
    }
    // Where standard error is gone too there is nobody left to tell.
    let _ = writeln!(to, "error: {error:#}");
    match error.chain().any(|cause| cause.is::<Invalid>()) {
        true => ExitCode::from(BAD_CONFIG),
        false => ExitCode::from(FAILURE),
    }
}

/// Loads ONNX Runtime for a command that has no configuration: from `SIGMAWATCH_ORT_LIB`, or from where
/// `make` puts it (`runtime/` of the current folder or of the program's checkout, or beside an installed
/// program).
///
/// # Errors
/// Where it is not there, or does not load.
pub fn init_onnxruntime() -> Result<(), InferError> {
    infer::init(&onnxruntime_library())
}

/// Where that looks.
fn onnxruntime_library() -> PathBuf {
    if let Some(library) = std::env::var_os("SIGMAWATCH_ORT_LIB") {
        return library.into();
    }
    let here = PathBuf::from("runtime/libonnxruntime.so");
    let program = std::env::current_exe().unwrap_or_default();
    let beside = ["../runtime", "lib/sigmawatch"].iter().filter_map(|folder| {
        // .../target/release/sigmawatch or .../bin/sigmawatch
        Some(program.parent()?.parent()?.join(folder).join("libonnxruntime.so"))
    });
    let library = std::iter::once(here.clone()).chain(beside).find(|path| path.is_file());
    library.unwrap_or(here)
}

/// A camera of the configuration that was read from `file`.
///
/// # Errors
/// Where there is none of that name; says which there are.
pub fn named_camera<'a>(config: &'a Config, file: &Path, name: &str) -> Result<&'a Camera> {
    config.cameras.iter().find(|camera| *camera.name == *name).with_context(|| {
        let names: Vec<&str> = config.cameras.iter().map(|camera| &*camera.name).collect();
        format!("{}: there is no camera {name} (there are: {})", file.display(), names.join(", "))
    })
}

/// Writes a line (or several) to standard output.
///
/// # Errors
/// When it cannot be written; a closed pipe becomes a quiet end of the program.
pub fn out(text: impl std::fmt::Display) -> Result<()> {
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(())
}

/// Writes a value to standard output as indented JSON.
///
/// # Errors
/// As [`out`].
pub fn out_json(value: &impl serde::Serialize) -> Result<()> {
    out(serde_json::to_string_pretty(value)?)
}

/// What a scorer's calibration promises whoever watches with this stride; nothing, where it does not speak of time.
pub fn outlook(scorer: &Manifest, stride: usize, rule: &Rule, budget: Option<Budget>) -> Outlook {
    let course = match &scorer.spec {
        ModelSpec::Scorer(spec) => Course::of(&spec.calibration, spec.sampling.as_ref()),
        ModelSpec::Extractor(_) => None,
    };
    Outlook::of(&course.map_or(vec![], |course| course.blocks(*rule, stride)), rule, budget)
}

/// An argument that is one of a set, by its name.
fn one_of<T: Choice>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::NAMES).map(|name| T::named(&name).expect("clap has checked it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed_and_every_command_explains_itself() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            assert!(sub.get_about().is_some(), "{} has no description", sub.get_name());
            for arg in sub.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {} has no help", sub.get_name(), arg.get_id());
            }
        }
    }

    #[test]
    fn errors_are_printed_once_and_a_closed_pipe_is_silent() {
        let mut said = Vec::new();
        let failure = anyhow::anyhow!("cause (remedy)").context("place");
        assert_eq!(explain(&failure, &mut said), ExitCode::from(FAILURE));
        assert_eq!(String::from_utf8(said).expect("text"), "error: place: cause (remedy)\n");
        let mut said = Vec::new();
        let closed = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("writing");
        assert_eq!(explain(&closed, &mut said), ExitCode::SUCCESS);
        assert!(said.is_empty());
    }
}
