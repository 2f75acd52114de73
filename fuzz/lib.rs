//! What the fuzzing targets share.

pub mod attempts;
#[path = "../tests/it/desk.rs"]
pub mod desk;
