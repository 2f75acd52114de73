//! Cameras and files that GStreamer plays, each by a description file that may be the integrator's own.

mod ahead;
mod compressed;
mod damage;
mod description;
mod encoder;
mod error;
mod film;
mod keyframes;
mod limits;
mod log;
mod mux;
mod order;
mod picture;
mod preflight;
mod stream;
mod taker;
mod tls;

pub use encoder::{Encoder, WIDTH as ENCODED_WIDTH};
pub(super) use film::{Film, film};
pub use mux::{Sample, mux};

use super::{FrameSpec, PacketKeep, Source, SourceError, SourceErrorKind, Stream, knock};
use crate::base::Clock;
use crate::config;
use description::Description;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts that go on over every stream a source opens.
#[derive(Debug, Default)]
struct Counters {
    /// The next frame of each view.
    seq: Mutex<Vec<u64>>,
    run: AtomicU64,
    /// Key frames that decoders were given.
    keys: AtomicU64,
}

impl Counters {
    /// Number of a view's next frame.
    fn next_seq(&self, view: usize) -> u64 {
        let mut seq = self.seq.lock().unwrap_or_else(PoisonError::into_inner);
        if seq.len() <= view {
            seq.resize(view + 1, 0);
        }
        seq[view] += 1;
        seq[view] - 1
    }
}

/// A source that GStreamer plays.
pub(super) struct GstSource {
    config: config::Gst,
    description: Description,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    keep: Option<PacketKeep>,
}

impl GstSource {
    /// Reads `<pipelines>/<config.pipeline>.pipeline` and tries that it makes a pipeline with the elements
    /// that are set by name; touches no camera.
    pub(super) fn new(
        config: &config::Gst,
        pipelines: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SourceError> {
        log::keep_secret(config);
        log::init().map_err(|e| SourceError {
            kind: SourceErrorKind::Setup,
            message: format!("GStreamer does not start: {e}"),
            remedy: "install libgstreamer1.0-0 and gstreamer1.0-plugins-base".into(),
        })?;
        let description = Description::read(pipelines, &config.pipeline)?;
        description.build(1)?;
        Ok(Self { config: config.clone(), description, clock, counters: Arc::default(), keep: None })
    }
}

impl Source for GstSource {
    fn open(&mut self, views: &[FrameSpec]) -> Result<Box<dyn Stream>, SourceError> {
        let elements = self.description.build(views.len())?;
        if let Some(source) = &elements.source {
            preflight::check(source, &self.config.location)?;
        }
        let stream = stream::GstStream::play(
            elements,
            &self.config,
            views,
            self.keep,
            Arc::clone(&self.clock),
            Arc::clone(&self.counters),
        )?;
        Ok(Box::new(stream))
    }

    fn is_live(&self) -> bool {
        self.config.live
    }

    fn keep_packets(&mut self, keep: PacketKeep) {
        self.keep = Some(keep);
    }

    fn answers(&self) -> Option<bool> {
        knock::answers(&self.config.location)
    }

    fn reach(&self) -> Result<(), SourceError> {
        knock::reach(&self.config.location).map_err(|e| error::unreachable(&e.to_string(), &self.config))
    }

    fn describe(&self) -> String {
        error::redact(&self.config.location, &self.config)
    }
}
