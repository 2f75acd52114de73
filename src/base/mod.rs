//! What every room may use: the clock, names, closed sets of named things, whole files.

mod choice;
mod clock;
mod file;
mod name;
mod rate;

pub use choice::Choice;
pub(crate) use choice::choices;
pub use clock::{Clock, SimClock, SystemClock};
pub use file::write_atomically;
pub use jiff::Timestamp;
pub use name::{CameraName, DetectorName};
pub use rate::{Per, Rate};
