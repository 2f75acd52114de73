//! Proof of life: every stage beats, and the service manager is told only while all of them do.

use crate::base::Clock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A stage that has not beaten for this long is stuck. Half of the unit's `WatchdogSec`, so that one late
/// look still comes in time.
const STUCK_AFTER: Duration = Duration::from_secs(7);

/// The beats of all stages.
pub struct Pulses {
    clock: Arc<dyn Clock>,
    stages: Mutex<Vec<Arc<Stage>>>,
}

struct Stage {
    name: String,
    /// Monotonic milliseconds of the newest beat, or of a later moment until which none is due.
    beat: AtomicU64,
}

/// One stage's own pulse; beating is one atomic store. A stage that ends drops it and is no longer watched.
#[derive(Clone)]
pub struct Pulse {
    clock: Arc<dyn Clock>,
    stage: Arc<Stage>,
}

impl Pulses {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, stages: Mutex::default() }
    }

    pub fn stage(&self, name: impl Into<String>) -> Pulse {
        let stage = Arc::new(Stage { name: name.into(), beat: AtomicU64::new(0) });
        let pulse = Pulse { clock: self.clock.clone(), stage: stage.clone() };
        pulse.beat();
        self.stages.lock().expect("nothing panics while the list is held").push(stage);
        pulse
    }

    /// Names of the stages that are stuck; empty when all is well.
    pub fn stuck(&self) -> Vec<String> {
        let now = self.clock.monotonic();
        let mut stages = self.stages.lock().expect("nothing panics while the list is held");
        stages.retain(|stage| Arc::strong_count(stage) > 1);
        let late = |stage: &&Arc<Stage>| {
            now.saturating_sub(Duration::from_millis(stage.beat.load(Ordering::Relaxed))) > STUCK_AFTER
        };
        stages.iter().filter(late).map(|stage| stage.name.clone()).collect()
    }
}

impl Pulse {
    pub fn beat(&self) {
        self.beat_until(Duration::ZERO);
    }

    /// Announces that the next beat may be so far off: something begins that is stopped after that time.
    pub fn beat_until(&self, off: Duration) {
        self.stage.beat.store((self.clock.monotonic() + off).as_millis() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SimClock, Timestamp};

    #[test]
    fn a_silent_stage_is_named_and_an_ended_one_forgotten() {
        let clock = Arc::new(SimClock::new(Timestamp::UNIX_EPOCH));
        let pulses = Pulses::new(clock.clone());
        let (lively, silent, ended) = (pulses.stage("lively"), pulses.stage("silent"), pulses.stage("ended"));
        drop(ended);
        clock.advance(STUCK_AFTER);
        assert!(pulses.stuck().is_empty(), "exactly on time");
        lively.beat();
        clock.advance(Duration::from_millis(1));
        assert_eq!(pulses.stuck(), ["silent"]);
        silent.beat_until(Duration::from_secs(20));
        clock.advance(Duration::from_secs(20) + STUCK_AFTER);
        lively.beat();
        assert!(pulses.stuck().is_empty(), "it said that it would be long");
        clock.advance(Duration::from_millis(1));
        assert_eq!(pulses.stuck(), ["silent"]);
        silent.beat();
        assert!(pulses.stuck().is_empty());
    }
}
