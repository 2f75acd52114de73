//! What every room may use: the clock and the names of things.

mod clock;

pub use clock::{Clock, SimClock, SystemClock};
pub use jiff::Timestamp;

/// A camera's name as the configuration gives it: unique, `[a-z0-9_-]{1,64}`.
pub type CameraName = std::sync::Arc<str>;
