//! Cameras that come and go, told to the stages through the lanes that they read, behind what was in them.

use super::decide::{Memory, Seat};
use super::extract::Extracted;
use super::fusing::Fusing;
use super::scoring::{Arm, Scored};
use crossbeam_channel::Sender;

/// What the scoring stage reads.
pub enum Featured {
    Segment(Box<Extracted>),
    Change(Box<Change>),
}

/// What the desk reads.
pub enum Told {
    Scored(Box<Scored>),
    Change(Box<DeskChange>),
}

/// To the scoring stage, which hands its second half on. Who goes, goes before others come.
#[derive(Default)]
pub struct Change {
    /// Feeds that go, with the models of their detectors.
    pub leave: Vec<usize>,
    /// Feeds that come, with their detectors.
    pub join: Vec<(usize, Vec<usize>)>,
    /// Detectors of these that have a model already.
    pub arm: Vec<Arm>,
    pub desk: DeskChange,
}

/// To the desk.
#[derive(Default)]
pub struct DeskChange {
    /// Cameras that go: what is open of them is ended and stored.
    pub leave: Vec<usize>,
    pub join: Vec<Joining>,
    /// Hears when all of it is done.
    pub done: Option<Sender<()>>,
}

/// What the desk is to keep of a camera that comes.
pub struct Joining {
    pub seats: Vec<(usize, Seat)>,
    pub memories: Vec<(usize, Memory)>,
    pub fusing: Option<Fusing>,
}
