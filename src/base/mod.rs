//! What every room may use: the clock, the names of things, whole files.

mod clock;
mod file;
mod name;

pub use clock::{Clock, SimClock, SystemClock};
pub use file::write_atomically;
pub use jiff::Timestamp;
pub use name::{CameraName, DetectorName};
