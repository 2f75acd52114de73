//! What the measurements share.

pub mod clip;
pub mod machine;
pub mod report;
