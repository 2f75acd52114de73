//! ONNX Runtime itself: the library, its environment, and graphs that run; the only file that creates sessions.

use super::InferError;
use super::breaker::Breaker;
use super::provider::Room;
use super::{provider, watchdog};
use crate::config::Provider;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{RunOptions, SessionInputValue};
use ort::value::TensorRef;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// What helps against runs that take too long.
const TOO_SLOW: &str = "lighten the machine's load, or take a smaller model";

/// The process has one environment; it lives as long as the process does.
static ENVIRONMENT: Mutex<Option<Loaded>> = Mutex::new(None);

/// The library in use.
#[derive(Clone)]
struct Loaded {
    environment: Environment,
    /// Where it lies, links followed: the name of the file shows its version.
    library: PathBuf,
}

/// Loads the ONNX Runtime library `lib`. Only the first success counts; later calls find it loaded.
pub fn init(lib: &Path) -> Result<(), InferError> {
    let mut environment = ENVIRONMENT.lock().expect("no panic while it is held");
    if environment.is_some() {
        return Ok(());
    }
    let library = locate(lib)?;
    let builder = ort::init_from(&library).map_err(|e| library_error(lib, load_problem(&e)))?;
    let built = builder.with_name("sigmawatch").with_telemetry(false).build();
    let built = built.map_err(|e| library_error(lib, format!("does not start: {e}")))?;
    // Below warnings it reports every node of every graph.
    built.set_log_level(LogLevel::Warning);
    *environment = Some(Loaded { environment: built, library });
    Ok(())
}

/// The library in use; `model` wants it.
fn loaded(model: &str) -> Result<Loaded, InferError> {
    ENVIRONMENT.lock().expect("no panic while it is held").clone().ok_or_else(|| {
        InferError::new(model, "ONNX Runtime has not been loaded", "call `infer::init` before any model")
    })
}

/// Where the library in use lies; `None` before [`init`].
pub fn library() -> Option<PathBuf> {
    ENVIRONMENT.lock().expect("no panic while it is held").as_ref().map(|loaded| loaded.library.clone())
}

/// Whether the library in use has `provider`.
///
/// # Errors
/// Where it has not: names the library, and what to install.
pub fn require(provider: Provider) -> Result<(), InferError> {
    provider::require(provider, &loaded(provider.name())?.library)
}

fn library_error(lib: &Path, problem: String) -> InferError {
    let remedy = "`make run` and `make test` fetch the right library; or point `runtime.onnxruntime` to one";
    InferError::new(lib.display().to_string(), problem, remedy)
}

/// The library's absolute path: a plain name would be searched for in the system's folders.
fn locate(lib: &Path) -> Result<PathBuf, InferError> {
    match lib.canonicalize() {
        Ok(absolute) if absolute.is_file() => Ok(absolute),
        _ => Err(library_error(lib, "the ONNX Runtime library is not there".into())),
    }
}

fn load_problem(error: &ort::LoadDynamicError) -> String {
    match error {
        ort::LoadDynamicError::Dlopen { error, .. } => format!("is no loadable library: {error}"),
        ort::LoadDynamicError::BadVersion { version_str, .. } => {
            format!("is ONNX Runtime {version_str}, and at least 1.{} is needed", ort::MINOR_VERSION)
        }
        ort::LoadDynamicError::MissingApi { .. } | ort::LoadDynamicError::InvalidVersionString => {
            "is a library, but not ONNX Runtime".into()
        }
    }
}

/// A tensor that goes in, borrowed: `data` in row-major order of `dims`.
#[derive(Debug, Clone, Copy)]
pub enum TensorIn<'a> {
    U8 { dims: &'a [usize], data: &'a [u8] },
    F32 { dims: &'a [usize], data: &'a [f32] },
}

impl<'a> TensorIn<'a> {
    fn value(&self) -> ort::Result<SessionInputValue<'a>> {
        Ok(match *self {
            TensorIn::U8 { dims, data } => TensorRef::from_array_view((dims, data))?.into(),
            TensorIn::F32 { dims, data } => TensorRef::from_array_view((dims, data))?.into(),
        })
    }
}

/// A tensor that came out.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorOut {
    pub name: String,
    pub dims: Vec<usize>,
    /// Row-major.
    pub data: Vec<f32>,
}

/// A graph in memory, run by one thread: give every worker one of its own.
#[derive(Debug)]
pub struct Runner {
    pub(super) inner: ort::session::Session,
    /// File or name, for messages.
    pub(super) model: String,
    /// No run may take longer, where that is set.
    deadline: Option<Duration>,
    breaker: Breaker,
}

impl Runner {
    /// Loads a graph that this program wrote itself, which needs no manifest; `model` names it in messages.
    pub fn own(model: &str, bytes: &[u8]) -> Result<Self, InferError> {
        Self::own_on(Provider::Cpu, model, bytes)
    }

    /// Loads a graph as [`Runner::own`] does, to be run by `provider`.
    pub fn own_on(provider: Provider, model: &str, bytes: &[u8]) -> Result<Self, InferError> {
        Self::load(provider, Room::Kept, model, bytes, |error| {
            InferError::new(model, error, "this is a fault of the program")
        })
    }

    /// Loads any graph; `refuse` makes the error of ONNX Runtime's words.
    pub(super) fn load(
        provider: Provider,
        room: Room,
        model: &str,
        bytes: &[u8],
        refuse: impl Fn(String) -> InferError,
    ) -> Result<Self, InferError> {
        let Loaded { environment, library } = loaded(model)?;
        provider::require(provider, &library)?;
        let inner = options(&environment)
            .and_then(|builder| provider::put_on(builder, provider, room))
            .and_then(|mut builder| builder.commit_from_memory(bytes))
            .map_err(|e| match provider {
                Provider::Cpu => refuse(e.to_string()),
                _ => provider::refused(model, provider, &e.to_string()),
            })?;
        Ok(Self { inner, model: model.into(), deadline: None, breaker: Breaker::default() })
    }

    /// From now on no run takes longer than `deadline` and an operator: it is stopped, and a model that has to be
    /// stopped time and again is left alone for more and more runs.
    pub(super) fn limit(&mut self, deadline: Duration) {
        self.deadline = Some(deadline);
    }

    /// Runs the graph on its inputs, given in the order of the graph; so come the outputs.
    pub fn run(&mut self, inputs: &[TensorIn<'_>]) -> Result<Vec<TensorOut>, InferError> {
        if let Some(deadline) = self.deadline {
            return self.run_within(inputs, deadline);
        }
        let options = RunOptions::new().map_err(|e| self.failed(&e.to_string()))?;
        self.run_with(inputs, &options).map_err(|e| self.failed(&e))
    }

    fn run_within(
        &mut self,
        inputs: &[TensorIn<'_>],
        deadline: Duration,
    ) -> Result<Vec<TensorOut>, InferError> {
        self.breaker.admits().map_err(|stopped| {
            let problem = format!(
                "{stopped} runs in a row took longer than {} ms and were stopped; it is tried again from time to time",
                deadline.as_millis()
            );
            InferError::new(&self.model, problem, TOO_SLOW)
        })?;
        let watched = watchdog::watch(RunOptions::new().map_err(|e| self.failed(&e.to_string()))?, deadline);
        let result = self.run_with(inputs, watched.options());
        let expired = watched.was_stopped();
        self.breaker.ran(expired && result.is_err());
        result.map_err(|problem| match expired {
            true => InferError::new(
                &self.model,
                format!("a run took longer than {} ms and was stopped", deadline.as_millis()),
                TOO_SLOW,
            ),
            false => self.failed(&problem),
        })
    }

    fn run_with(&mut self, inputs: &[TensorIn<'_>], options: &RunOptions) -> Result<Vec<TensorOut>, String> {
        let values = inputs.iter().map(TensorIn::value).collect::<ort::Result<Vec<_>>>();
        let values = values.map_err(|e| e.to_string())?;
        let outputs = self.inner.run_with_options(values.as_slice(), options).map_err(|e| e.to_string())?;
        outputs
            .iter()
            .map(|(name, value)| {
                let (shape, data) = value.try_extract_tensor::<f32>().map_err(|e| e.to_string())?;
                let dims = shape.iter().map(|&d| d as usize).collect();
                Ok(TensorOut { name: name.into(), dims, data: data.to_vec() })
            })
            .collect()
    }

    fn failed(&self, problem: &str) -> InferError {
        InferError::new(
            &self.model,
            format!("it cannot be run: {problem}"),
            "check the file with `sigmawatch models`",
        )
    }
}

/// One thread, no spinning: sessions side by side use the cores better than one session with threads.
fn options(environment: &Environment) -> ort::Result<SessionBuilder> {
    let builder = ort::session::Session::builder(environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_optimization_level(GraphOptimizationLevel::All)?;
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_library_is_said() {
        let path = Path::new("old.so").to_path_buf();
        let too_old = ort::LoadDynamicError::BadVersion { version_str: "1.10.0".into(), path: path.clone() };
        assert_eq!(load_problem(&too_old), "is ONNX Runtime 1.10.0, and at least 1.24 is needed");
        let other = ort::LoadDynamicError::MissingApi { path };
        assert_eq!(load_problem(&other), "is a library, but not ONNX Runtime");
        let missing = locate(Path::new("no/such.so")).expect_err("refused").to_string();
        assert!(
            missing.contains("no/such.so: the ONNX Runtime library is not there (`make run`"),
            "{missing}"
        );
    }
}
