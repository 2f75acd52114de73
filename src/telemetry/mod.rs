//! What the daemon tells its operators' machines: every metric, and the log.

mod forget;
mod handles;
mod labels;
mod log;
mod metrics;

pub use handles::{CameraMetrics, DetectorMetrics};
pub use labels::{
    ClipResult, Delivery, DropReason, Learning, Level, Link, Queue, ReconnectReason, Sight, Silence,
    SkipReason, Stage,
};
pub use log::{LOG_VARIABLE, LogError, LogFormat, init_log, log_settings};
pub use metrics::{Metrics, QueueMetrics};
