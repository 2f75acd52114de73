//! How the daemon's states are labelled in the metrics.

use crate::alert::{Quiet, Severity};
use crate::api::{LearningState, LinkState};
use crate::frame::SourceErrorKind;
use crate::segment::PictureState;
use crate::telemetry::{Learning, Level, Link, ReconnectReason, Sight, Silence};

impl From<Severity> for Level {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Low => Level::Low,
            Severity::Medium => Level::Medium,
            Severity::High => Level::High,
        }
    }
}

impl From<Quiet> for Silence {
    fn from(quiet: Quiet) -> Self {
        match quiet {
            Quiet::CoolDown => Silence::CoolDown,
            Quiet::RateCap => Silence::RateCap,
        }
    }
}

/// `None`: a good picture.
pub fn sight(state: PictureState) -> Option<Sight> {
    match state {
        PictureState::Healthy => None,
        PictureState::Frozen => Some(Sight::Frozen),
        PictureState::Black => Some(Sight::Black),
        PictureState::Covered => Some(Sight::Covered),
        PictureState::Blurred => Some(Sight::Blurred),
        PictureState::Moved => Some(Sight::Moved),
        PictureState::Damaged => Some(Sight::Damaged),
    }
}

impl From<LearningState> for Learning {
    fn from(state: LearningState) -> Self {
        match state {
            LearningState::Learning => Learning::Learning,
            LearningState::Armed => Learning::Armed,
            LearningState::Relearning => Learning::Relearning,
        }
    }
}

impl From<LinkState> for Link {
    fn from(state: LinkState) -> Self {
        match state {
            LinkState::Connecting => Link::Connecting,
            LinkState::Live => Link::Live,
            LinkState::Stalled => Link::Stalled,
            LinkState::Lost => Link::Lost,
            LinkState::BackingOff => Link::BackingOff,
            LinkState::Disabled => Link::Disabled,
            LinkState::Finished => Link::Finished,
        }
    }
}

impl From<SourceErrorKind> for ReconnectReason {
    fn from(kind: SourceErrorKind) -> Self {
        match kind {
            SourceErrorKind::Unauthorized => ReconnectReason::Unauthorized,
            SourceErrorKind::Unreachable => ReconnectReason::Unreachable,
            SourceErrorKind::NotFound => ReconnectReason::NotFound,
            SourceErrorKind::NoVideo => ReconnectReason::NoVideo,
            SourceErrorKind::Broken => ReconnectReason::Broken,
            SourceErrorKind::Stalled => ReconnectReason::Stalled,
            SourceErrorKind::Setup => ReconnectReason::Setup,
        }
    }
}
