//! What the daemon tells its operators' machines: every metric, and the log.

mod log;
mod metrics;

pub use log::{LogError, LogFormat, init_log};
pub use metrics::{
    CameraMetrics, ClipResult, Delivery, DetectorMetrics, DropReason, Learning, Level, Link, Metrics, Queue,
    QueueMetrics, ReconnectReason, Silence, SkipReason, Stage,
};
