//! What is known of an event's clip.

use crate::base::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A clip that is on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    /// Arrival of its first picture.
    pub start: Timestamp,
    pub seconds: f64,
    /// Of the file.
    pub bytes: u64,
    /// `H.264` or `H.265`.
    pub codec: String,
    /// It was encoded here, from a camera that sends neither; otherwise it is the camera's own video.
    pub encoded_here: bool,
    /// What is not in it; empty where it is all there.
    pub lacks: Vec<Lack>,
}

/// A part of a clip that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// It begins later than asked for: the camera had just connected, or the memory did not reach back so far.
    Beginning,
    /// Something is left out: the camera was away, or the disk too slow.
    Middle,
    /// It ends sooner: the event was longer than a clip may be, or the camera was lost.
    End,
}
