//! What the measurements share.

pub mod clip;
pub mod machine;
pub mod place;
pub mod report;
