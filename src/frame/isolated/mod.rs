//! A camera that is decoded in a process of its own: what its pictures do to a decoder, they do to that process only.
//!
//! One process for each connection. It is the program itself, told what to open by its standard input; frames, packets
//! and pictures come back by its standard output. It ends with its connection or with the daemon, whichever is first,
//! and is killed where it does not.

mod stream;
mod wire;
mod worker;

pub use worker::decode;

use super::gst::GstSource;
use super::{FrameSpec, PacketKeep, Source, SourceError, SourceErrorKind, Stream};
use crate::base::Clock;
use crate::{config, telemetry};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// What the process sees of the environment, which may hold other cameras' passwords: these, and what begins so.
const KEPT: [&str; 8] =
    ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"];
const KEPT_FROM: [&str; 3] = ["GST_", "LIBVA_", "SSL_CERT_"];

/// Counts that go on over every stream.
#[derive(Debug, Default)]
struct Counters {
    /// Next frame, the same for every view: numbers are only never reused.
    seq: AtomicU64,
    run: AtomicU64,
    keys: AtomicU64,
}

/// A camera whose every connection is a process.
pub(super) struct IsolatedSource {
    config: config::Gst,
    pipelines: PathBuf,
    /// Answers what needs no connection, and has refused a description that is wrong.
    here: GstSource,
    keep: Option<PacketKeep>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
}

impl IsolatedSource {
    /// As [`GstSource::new`].
    pub(super) fn new(
        config: &config::Gst,
        pipelines: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SourceError> {
        let here = GstSource::new(config, pipelines, clock.clone())?;
        let (config, pipelines) = (config.clone(), pipelines.to_owned());
        Ok(Self { config, pipelines, here, keep: None, clock, counters: Arc::default() })
    }
}

impl Source for IsolatedSource {
    fn open(&mut self, views: &[FrameSpec]) -> Result<Box<dyn Stream>, SourceError> {
        let child = spawn(&self.describe()).map_err(|error| SourceError {
            kind: SourceErrorKind::Setup,
            message: format!("no process can be started to decode it: {error}"),
            remedy: "see how many processes may run (TasksMax=), or set `isolate = false`".into(),
        })?;
        let ask = wire::Ask::Open {
            camera: wire::Camera::of(&self.config),
            pipelines: self.pipelines.clone(),
            views: views.to_vec(),
            keep: self.keep,
        };
        let (clock, counters) = (self.clock.clone(), self.counters.clone());
        Ok(Box::new(stream::IsolatedStream::follow(child, &ask, views, self.keep, clock, counters)))
    }

    fn is_live(&self) -> bool {
        self.here.is_live()
    }

    fn keep_packets(&mut self, keep: PacketKeep) {
        self.keep = Some(keep);
    }

    fn answers(&self) -> Option<bool> {
        self.here.answers()
    }

    fn reach(&self) -> Result<(), SourceError> {
        self.here.reach()
    }

    fn describe(&self) -> String {
        self.here.describe()
    }
}

/// Starts the process, which waits for what it is to open; `name` tells people which camera it is of.
fn spawn(name: &str) -> std::io::Result<Child> {
    let kept = |name: &std::ffi::OsStr| {
        let name = name.to_string_lossy();
        KEPT.contains(&&*name) || KEPT_FROM.iter().any(|from| name.starts_with(from))
    };
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["decode", "--of", name])
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| kept(name)));
    if let Some((format, filter)) = telemetry::log_settings() {
        command.args((format == telemetry::LogFormat::Json).then_some("--json"));
        command.env(telemetry::LOG_VARIABLE, filter);
    }
    // Few threads that allocate much: more arenas would only hold memory.
    command.env("MALLOC_ARENA_MAX", "2");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
}
