//! What sinks are told: the wire's own shapes, with a line for people.

use super::dto::EventDto;
use crate::alert::{Change, Event};
use crate::base::{CameraName, Timestamp, choices};
use crate::store::{Announcement, Subject};
use serde::Serialize;

choices! {
    /// What there is to know of a camera, in a word.
    pub enum CameraState {
        /// No pictures come.
        Offline = "offline",
        /// The connection stands, or stood, and pictures stopped coming, or it is the same one again and again.
        Frozen = "frozen",
        /// Pictures come, and the camera cannot alert yet.
        Learning = "learning",
        /// It watches.
        Armed = "armed",
        /// Pictures come, and they or their scores cannot be trusted: black, covered, blurred, a failed model.
        Problem = "problem",
        /// The configuration says that it is not to be watched.
        Disabled = "disabled",
        /// A recording that has been played to its end.
        Finished = "finished",
        /// The configuration has no such camera any more.
        Removed = "removed",
    }
}

/// A camera's change of state, as sinks are told.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct CameraSaid<'a> {
    camera: &'a CameraName,
    state: CameraState,
    /// Null where it is not known.
    previous: Option<&'a str>,
    /// When it began to be so.
    since: Timestamp,
    problem: Option<&'a str>,
    text: String,
}

/// An event, as sinks are told.
#[derive(Serialize)]
struct EventSaid {
    #[serde(flatten)]
    event: EventDto,
    text: String,
}

/// What sinks are told of an event. `None`: nobody is to hear of it.
pub fn announce_event(change: Change, event: &Event) -> Option<Announcement> {
    if event.quiet.is_some() {
        return None;
    }
    let (camera, score, limit) = (&event.camera, event.top_score, event.threshold);
    let severity = serde_json::to_value(event.severity).expect("a severity has a name");
    let severity = severity.as_str().unwrap_or_default();
    let text = match change {
        Change::New => {
            let moved = event.why.iter().flat_map(|why| &why.features).next();
            let moved = moved.map_or_else(String::new, |moved| format!("; {moved}"));
            format!("{camera}: something unusual ({severity}), score {score:.2}, limit {limit:.2}{moved}")
        }
        Change::Update => {
            format!("{camera}: still unusual ({severity}), highest score {score:.2}, limit {limit:.2}")
        }
        Change::End => {
            format!("{camera}: over; it was {severity}, highest score {score:.2}, limit {limit:.2}")
        }
    };
    let said = EventSaid { event: EventDto::brief(event, change), text };
    Some(Announcement {
        about: event.id.clone(),
        subject: change.into(),
        camera: camera.clone(),
        severity: Some(event.severity),
        body: serde_json::to_string(&said).expect("wire shapes are plain data"),
    })
}

/// What sinks are told of a camera that has been in another state since `since`. `about`: an id of this change;
/// `same_picture`: pictures come, and are all the same.
pub fn announce_camera(
    about: String,
    camera: &CameraName,
    previous: Option<&str>,
    state: CameraState,
    since: Timestamp,
    problem: Option<&str>,
    same_picture: bool,
) -> Announcement {
    let back = matches!(previous, Some("offline" | "frozen"));
    let what = match state {
        CameraState::Offline => "offline",
        CameraState::Frozen if same_picture => "frozen: it sends the same picture again and again",
        CameraState::Frozen => "frozen: it sends no pictures",
        CameraState::Learning if back => "back, and learning",
        CameraState::Learning => "learning",
        CameraState::Armed if back => "back",
        CameraState::Armed => "armed",
        CameraState::Problem => "there, but not to be trusted",
        CameraState::Disabled => "disabled: it is not watched",
        CameraState::Finished => "played to its end",
        CameraState::Removed => "no longer watched",
    };
    let text = match problem {
        Some(problem) => format!("{camera}: {what} ({problem})"),
        None => format!("{camera}: {what}"),
    };
    let said = CameraSaid { camera, state, previous, since, problem, text };
    Announcement {
        about,
        subject: Subject::CameraState,
        camera: camera.clone(),
        severity: None,
        body: serde_json::to_string(&said).expect("wire shapes are plain data"),
    }
}
