//! The first run of a foreign model: in a process of its own, where what is wrong with the file harms nobody.

use super::learning::KEPT;
use crate::infer::InferError;
use serde::Deserialize;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Loading a model and running it once may take so long ...
const PATIENCE: Duration = Duration::from_secs(60);
/// ... and so much address space, MiB, the library and its threads included, and so many times the file's size beside.
const MEMORY: u64 = 4096;
const TIMES: u64 = 4;
/// Room for what the process says.
const SAID: u64 = 64 << 10;

/// What `sigmawatch models try --json` says.
#[derive(Debug, Deserialize)]
struct Answer {
    problem: Option<String>,
    remedy: Option<String>,
}

/// Tries a model within a minute, in 4 GiB and four times its file's size, as [`try_model_within`] does.
///
/// # Errors
/// Why the model cannot be used.
pub fn try_model(file: &Path) -> Result<(), InferError> {
    try_model_within(file, None, PATIENCE)
}

/// Has another process load the model `file` and run it once: one that crashes, needs more memory than `memory` MiB
/// or does not end within `patience` is refused like one that does not fit.
///
/// # Errors
/// Why the model cannot be used.
pub fn try_model_within(file: &Path, memory: Option<u64>, patience: Duration) -> Result<(), InferError> {
    let refuse =
        |problem: String, remedy: &str| Err(InferError::new(file.display().to_string(), problem, remedy));
    let size = file.metadata().map_or(0, |meta| meta.len() >> 20);
    let memory = memory.unwrap_or(MEMORY + TIMES * size);
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            return refuse(format!("cannot be tried: {error}"), "see that the program's file is there");
        }
    };
    let mut command = Command::new(program);
    command
        .args(["models", "try", "--json", "--here", "--memory", &memory.to_string()])
        .arg(file)
        .env_clear();
    command.envs(std::env::vars_os().filter(|(name, _)| KEPT.iter().any(|kept| name == kept)));
    if let Some(library) = crate::infer::library() {
        command.env("SIGMAWATCH_ORT_LIB", library);
    }
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return refuse(format!("cannot be tried: {error}"), "see how many processes may run"),
    };
    let Some(status) = wait(&mut child, patience) else {
        return refuse(
            format!("does not load and run within {} s", patience.as_secs()),
            "take a smaller model, or look for an endless loop in its graph",
        );
    };
    let mut said = String::new();
    // What it said may be cut off where it crashed.
    let _ = child.stdout.take().map(|out| out.take(SAID).read_to_string(&mut said));
    match (status.success(), serde_json::from_str::<Answer>(&said)) {
        (true, Ok(_)) => Ok(()),
        (_, Ok(Answer { problem: Some(problem), remedy })) => {
            refuse(problem, remedy.as_deref().unwrap_or("check the file with `sigmawatch models describe`"))
        }
        _ => refuse(
            format!("took the process that tried it down, which had {memory} MiB ({status})"),
            "export it anew, or take a smaller model",
        ),
    }
}

/// Waits for the end of a process; `None`: it had to be ended.
fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    while began.elapsed() < patience {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            Err(_) => break,
        }
    }
    // Harmless when it has ended just now.
    let _ = child.kill();
    let _ = child.wait();
    None
}
