//! What every room may use: the clock and the names of things.

mod clock;
mod name;

pub use clock::{Clock, SimClock, SystemClock};
pub use jiff::Timestamp;
pub use name::CameraName;
