//! What every room may use: the clock, waits between attempts, names, closed sets of named things, whole files, templates.

mod backoff;
mod choice;
mod clock;
mod file;
mod name;
mod polygon;
mod rate;
mod schema;
mod template;
mod wall;

pub use backoff::Backoff;
pub use choice::Choice;
pub(crate) use choice::choices;
pub use clock::{Clock, SimClock, SystemClock};
pub use file::write_atomically;
pub use jiff::Timestamp;
pub use name::{CameraName, DetectorName};
pub use polygon::Polygon;
pub use rate::{Per, Rate};
pub(crate) use schema::inline_schema;
pub use template::Template;
pub use wall::WallWatch;
