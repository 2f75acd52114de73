//! Pictures of alerts: drawn after them, and with them what normal life was most like.

use super::decide::Desk;
use super::why::Witness;
use crate::alert::{Change, Event, Map, snapshot};
use crate::telemetry::Stage;
use std::time::{Duration, Instant};

/// Pixels across an event's picture.
const SNAPSHOT_WIDTH: u32 = crate::frame::HELD_WIDTH;

/// A picture still to be drawn for an event.
pub struct Drawing {
    pub detector: usize,
    pub event: Event,
    pub witness: Witness,
    /// Presentation time of what the picture shows.
    pub at: Duration,
    /// The event as it is has been told already.
    pub told: bool,
    /// Scores that it may still wait for: what it shows is not to be had for long.
    pub patience: usize,
}

impl Desk {
    /// Draws what has waited for a score of every other detector.
    pub(super) fn draw_what_is_due(&mut self) {
        self.drawings.iter_mut().for_each(|drawing| drawing.patience -= 1);
        while self.drawings.front().is_some_and(|drawing| drawing.patience == 0) {
            let drawing = self.drawings.pop_front();
            drawing.map(|drawing| self.draw(drawing));
        }
    }

    /// Draws what waits for a detector; gives the event as it then is.
    pub(super) fn draw_for(&mut self, detector: usize) -> Option<Event> {
        let waiting = self.drawings.iter().position(|drawing| drawing.detector == detector)?;
        self.drawings.remove(waiting).map(|drawing| self.draw(drawing))
    }

    pub(super) fn draw(&mut self, drawing: Drawing) -> Event {
        let Drawing { detector, mut event, witness, at, told, .. } = drawing;
        let drawn = self.picture(detector, &event, at);
        event.has_snapshot |= drawn;
        self.find_similar(detector, &mut event, &witness);
        let alike = event.why.as_ref().is_some_and(|why| !why.similar.is_empty());
        if drawn || alike || !told {
            self.keep_and_tell(Change::Update, &event);
        }
        event
    }

    /// Writes the picture of an event's map; whether there is one now.
    fn picture(&mut self, detector: usize, event: &Event, at: Duration) -> bool {
        let began = Instant::now();
        let taken = self.board.with(self.seats[detector].camera, |facts| facts.pictures.clone());
        let Some(picture) = taken.and_then(|pictures| pictures.at(at, SNAPSHOT_WIDTH)) else {
            return false;
        };
        let map = Map {
            grid: event.grid,
            covers: event.covers,
            regions: &event.regions,
            threshold: event.threshold as f32,
        };
        let written = snapshot(&picture, &map).map_err(|error| error.to_string()).and_then(|drawn| {
            self.store.put_snapshot(&event.id, &drawn.full, &drawn.thumbnail).map_err(|e| e.to_string())
        });
        self.metrics.stage(Stage::Snapshot, began.elapsed());
        match written {
            Ok(()) => {
                let tracker = self.seats[detector].tracker.as_mut();
                tracker.into_iter().for_each(|tracker| tracker.has_snapshot(&event.id));
            }
            Err(ref problem) => tracing::warn!(event = %event.id, "no picture for this alert: {problem}"),
        }
        written.is_ok()
    }
}
