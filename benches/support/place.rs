//! Where things lie, and models learned for a measurement.

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program under measurement, in the profile of the benchmarks.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_sigmawatch");

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Learns a model from `clip` by `method`, once for all runs of this build of the program.
pub fn learn(clip: &Path, method: &str) -> Result<PathBuf> {
    let model = clip.with_extension(format!("{method}.onnx"));
    let made = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    if made(&model) > made(Path::new(PROGRAM)) && made(&model) > made(clip) {
        return Ok(model);
    }
    eprintln!("learning {}", model.display());
    let status = Command::new(PROGRAM)
        .args(["learn", "--scorer", method, "--from"])
        .arg(clip)
        .arg("--out")
        .arg(&model)
        .status()?;
    if !status.success() {
        bail!("cannot learn from {}", clip.display());
    }
    Ok(model)
}
