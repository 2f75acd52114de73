//! Reading a configuration from disk: the only part of this room that touches the world.

use super::check::{Surroundings, check};
use super::problem::{Invalid, Problem, Report};
use super::{Config, raw};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// A configuration file is a few kilobytes; one of this size is a mistake, and parsing it costs.
const LARGEST: u64 = 1 << 20;

/// A good configuration, and what is odd about it.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Problem>,
    file: String,
    /// Line and column of every key that the file gives.
    places: BTreeMap<String, (usize, usize)>,
}

impl Loaded {
    /// A mistake that only shows once the things that the configuration names are opened (a model of
    /// another grid, say). `key` is the full name, such as `camera.plaza.detector.scorer`.
    pub fn problem(&self, key: &str, message: impl Into<String>, remedy: impl Into<String>) -> Problem {
        let (line, column) = self.places.get(key).copied().unwrap_or_default();
        Problem { file: self.file.clone(), line, column, ..Problem::new(key, message, remedy) }
    }
}

/// Reads and checks the file at `path` with this process's environment.
///
/// # Errors
/// Every mistake in it.
pub fn load(path: &Path) -> Result<Loaded, Invalid> {
    let env = |name: &str| std::env::var(name).ok();
    load_with(path, &env)
}

/// [`load`] with an environment of the caller's.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Invalid> {
    let file = path.display().to_string();
    let text = read(path).map_err(|problem| {
        let mut report = Report::new(&file, "");
        report.problem(None, *problem);
        Invalid { problems: report.problems, warnings: Vec::new() }
    })?;
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let around = Surroundings { dir, env, world_readable: world_readable(path) };
    load_text(&file, &text, &around)
}

/// Checks `text`, which `file` names in messages.
///
/// # Errors
/// As [`load`].
pub fn load_text(file: &str, text: &str, around: &Surroundings) -> Result<Loaded, Invalid> {
    let mut report = Report::new(file, text);
    let raw = raw::read(text, &mut report);
    // What a broken file leaves out proves nothing, so rules over several keys wait until it is TOML.
    let config = (!raw.broken).then(|| check(&raw, around, &mut report));
    let places = raw.places().map(|(key, at)| (key, report.place(at))).collect();
    let Report { mut problems, mut warnings, .. } = report;
    problems.sort_by_key(|p| (p.line, p.column));
    warnings.sort_by_key(|p| (p.line, p.column));
    // A mistake in [detector] is found again in every camera that takes it from there.
    problems.dedup();
    warnings.dedup();
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config, warnings, file: file.into(), places }),
        _ => Err(Invalid { problems, warnings }),
    }
}

fn read(path: &Path) -> Result<String, Box<Problem>> {
    let whole = |message: String, remedy: &str| Box::new(Problem::new("", message, remedy));
    let remedy = "name a readable file with --config; the shipped config.toml is a start";
    let file =
        std::fs::File::open(path).map_err(|error| whole(format!("cannot be opened: {error}"), remedy))?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| whole(format!("cannot be read: {error}"), remedy))?;
    if bytes.len() as u64 > LARGEST {
        return Err(whole("larger than 1 MiB: this is no configuration".into(), remedy));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|b| *b == b'\n').count();
        whole(format!("line {line} is not UTF-8 text"), "save it as UTF-8")
    })
}

fn world_readable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}
