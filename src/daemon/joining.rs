//! Cameras that come to the desk, and those that go: nothing of theirs is left open.

use super::change::{DeskChange, Joining};
use super::decide::Desk;
use crate::alert::Tracker;

impl Desk {
    /// Ends what is open of the cameras that go, and takes up those that come. Others notice nothing.
    pub(super) fn change(&mut self, change: DeskChange) {
        let DeskChange { leave, join, done } = change;
        for camera in leave {
            let own: Vec<usize> = self
                .seats
                .iter()
                .filter(|(_, seat)| seat.camera == camera)
                .map(|(number, _)| number)
                .collect();
            own.iter().for_each(|detector| self.end(*detector));
            self.memories.retain(|memory| !memory.detectors.iter().any(|detector| own.contains(detector)));
            self.fusings.retain(|fusing| !own.contains(&fusing.detector));
            self.seats.retain(|seat| seat.camera != camera);
        }
        // What was told of is on disk when somebody hears that it is done.
        self.write_timeline();
        for Joining { seats, memories, fusing } in join {
            self.seats.extend(seats);
            self.memories.extend(memories);
            self.fusings.extend(fusing);
        }
        // Who asked may have given up waiting.
        done.map(|done| done.send(()));
    }

    /// Ends the event that is open, if one is, and draws what is still to be drawn.
    pub(super) fn end(&mut self, detector: usize) {
        if let Some(report) = self.seats[detector].tracker.as_mut().and_then(Tracker::finish) {
            self.publish(detector, report, None);
        }
        self.draw_for(detector);
    }
}
