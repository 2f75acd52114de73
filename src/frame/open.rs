//! From a camera's configuration to its source.

use super::gst::GstSource;
use super::isolated::IsolatedSource;
use super::synthetic::Synthetic;
use super::{Source, SourceError};
use crate::base::Clock;
use crate::config;
use std::path::Path;
use std::sync::Arc;

/// Makes the source that a camera's configuration names, without reaching for the camera yet.
/// `pipelines` is the folder of the GStreamer descriptions.
pub fn open_source(
    source: &config::Source,
    pipelines: &Path,
    clock: Arc<dyn Clock>,
) -> Result<Box<dyn Source>, SourceError> {
    match source {
        // A file is not decoded faster than it is taken, which a lane between processes would not know.
        config::Source::Gst(gst) if gst.isolate && gst.live => {
            Ok(Box::new(IsolatedSource::new(gst, pipelines, clock)?))
        }
        config::Source::Gst(gst) => Ok(Box::new(GstSource::new(gst, pipelines, clock)?)),
        config::Source::Synthetic(synthetic) => Ok(Box::new(Synthetic::new(synthetic, clock))),
    }
}
