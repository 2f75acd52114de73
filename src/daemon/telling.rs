//! Tells the outbox of cameras that change their state, once it has lasted; and sweeps the outbox.

use super::board::Board;
use super::numbered::Numbered;
use super::stop::Stop;
use crate::api::{CameraState, CameraStatus, LearningState, LinkState, announce_camera};
use crate::base::{CameraName, Clock, Timestamp};
use crate::segment::PictureState;
use crate::sink::Posts;
use crate::store::{Store, StoreError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Cameras are looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The outbox is swept this often.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The thread itself.
pub struct Telling {
    pub board: Arc<Board>,
    pub store: Arc<Store>,
    pub posts: Arc<Posts>,
    pub clock: Arc<dyn Clock>,
    pub stop: Stop,
    pub holds: Arc<Holds>,
}

/// Of each camera, by its number, what was told of it.
pub type Holds = Mutex<Numbered<Hold>>;

/// What is known of a camera's state, and what was told of it. Pure: times are the caller's.
pub struct Hold {
    camera: CameraName,
    /// A state must last this long.
    hold: Duration,
    told: Option<String>,
    /// The state it is in, and since when, by the monotonic clock and by the wall's.
    now: Option<(CameraState, Duration, Timestamp)>,
}

/// Something to tell.
#[derive(Debug, PartialEq)]
pub struct Lasting {
    pub previous: Option<String>,
    pub state: CameraState,
    pub since: Timestamp,
}

impl Hold {
    /// `told`: what was told last, perhaps in an earlier life.
    pub fn new(camera: CameraName, hold: Duration, told: Option<String>) -> Self {
        Self { camera, hold, told, now: None }
    }

    pub fn observe(&mut self, state: CameraState, now: Duration, wall: Timestamp) -> Option<Lasting> {
        let away = |state| matches!(state, CameraState::Offline | CameraState::Frozen);
        let (since, since_wall) = match self.now {
            // A camera that is away is tried again and again, and may fail now this way, now that.
            Some((before, since, since_wall)) if before == state || away(before) && away(state) => {
                (since, since_wall)
            }
            _ => (now, wall),
        };
        self.now = Some((state, since, since_wall));
        let same =
            |told: &String| told == state.name() || away(state) && CameraState::named(told).is_some_and(away);
        if now.saturating_sub(since) < self.hold || self.told.as_ref().is_some_and(same) {
            return None;
        }
        let previous = self.told.replace(state.name().to_owned());
        Some(Lasting { previous, state, since: since_wall })
    }

    /// What was to be told could not be kept: it is tried again.
    fn untold(&mut self, previous: Option<String>) {
        self.told = previous;
    }
}

/// A camera's state in a word.
fn state_of(status: &CameraStatus, silent: bool) -> CameraState {
    match status.link {
        LinkState::Finished => CameraState::Finished,
        LinkState::Stalled => CameraState::Frozen,
        LinkState::Disabled => CameraState::Disabled,
        LinkState::Connecting | LinkState::Lost | LinkState::BackingOff if silent => CameraState::Frozen,
        LinkState::Connecting | LinkState::Lost | LinkState::BackingOff => CameraState::Offline,
        LinkState::Live if status.picture.state == PictureState::Frozen => CameraState::Frozen,
        LinkState::Live if !status.healthy => CameraState::Problem,
        LinkState::Live => {
            let watches = |d: &crate::api::DetectorStatus| d.learning.state != LearningState::Learning;
            let armed = status.detectors.iter().filter(|d| d.alerts).all(watches);
            if armed { CameraState::Armed } else { CameraState::Learning }
        }
    }
}

impl Telling {
    /// Works until the stop.
    pub fn run(self) {
        let mut swept = self.clock.monotonic();
        while !self.stop.requested() {
            for camera in self.board.numbers() {
                if let Err(error) = self.look(camera) {
                    tracing::error!("cannot keep that a camera changed its state: {error}");
                }
            }
            let now = self.clock.monotonic();
            if now.saturating_sub(swept) >= SWEEP_EVERY {
                swept = now;
                if let Err(error) = self.posts.sweep() {
                    tracing::warn!("cannot sweep the outbox: {error}");
                }
            }
            self.clock.sleep(LOOK_EVERY);
        }
    }

    fn look(&self, camera: usize) -> Result<(), StoreError> {
        if self.store.health().trouble.is_some() {
            // It is looked at again as soon as it can be told.
            return Ok(());
        }
        let silent = self.board.with(camera, |facts| facts.standing.is_silent());
        let mut holds = self.holds.lock().expect("nothing panics while it is held");
        // Looked at while it is held: who takes a camera off may be sure that nothing more is told of it.
        let (Some(status), Some(hold)) = (self.board.status(camera), holds.get_mut(camera)) else {
            return Ok(());
        };
        let now = (self.clock.monotonic(), self.clock.now());
        let Some(lasting) = hold.observe(state_of(&status, silent), now.0, now.1) else { return Ok(()) };
        let Lasting { previous, state, since } = lasting;
        // The time makes it one of a kind: a camera changes its state once in a microsecond at most.
        let about = format!("{}.{}", hold.camera, since.as_microsecond());
        let problem = status.problem.as_deref();
        let same = status.link == LinkState::Live;
        let said = announce_camera(about, &hold.camera, previous.as_deref(), state, since, problem, same);
        let kept = self.store.tell_camera_state(state.name(), &said);
        if kept.is_err() {
            hold.untold(previous);
        }
        kept
    }
}

/// Tells the outbox of a camera that is watched no more.
pub fn tell_removed(store: &Store, clock: &dyn Clock, hold: Hold) {
    let Hold { camera, told, .. } = hold;
    let (since, state) = (clock.now(), CameraState::Removed);
    let about = format!("{camera}.{}", since.as_microsecond());
    let said = announce_camera(about, &camera, told.as_deref(), state, since, None, false);
    if let Err(error) = store.tell_camera_state(state.name(), &said) {
        tracing::error!(%camera, "cannot keep that it was removed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(told: Option<&str>) -> Hold {
        Hold::new("gate".into(), Duration::from_secs(10), told.map(Into::into))
    }

    /// Observes one state a second, and gives the second and the state of all that was told.
    fn play(hold: &mut Hold, states: &[(CameraState, usize)]) -> Vec<(usize, &'static str)> {
        let seconds = states.iter().flat_map(|(state, times)| std::iter::repeat_n(*state, *times));
        let mut told = vec![];
        for (second, state) in seconds.enumerate() {
            let wall = Timestamp::from_second(second as i64).expect("in range");
            let lasting = hold.observe(state, Duration::from_secs(second as u64), wall);
            told.extend(lasting.map(|lasting| (second, lasting.state.name())));
        }
        told
    }

    #[test]
    fn a_blip_is_not_told_and_what_lasts_is_told_once() {
        use CameraState::{Armed, Offline};
        let mut gate = hold(Some("armed"));
        let told = play(&mut gate, &[(Armed, 20), (Offline, 9), (Armed, 20), (Offline, 30), (Armed, 30)]);
        assert_eq!(told, [(59, "offline"), (89, "armed")]);
    }

    #[test]
    fn a_camera_that_fails_now_this_way_now_that_is_away_all_the_time() {
        use CameraState::{Armed, Frozen, Offline};
        let mut gate = hold(Some("armed"));
        let failing: Vec<_> = (0..20).flat_map(|_| [(Frozen, 1), (Offline, 2)]).collect();
        let told = play(&mut gate, &[vec![(Armed, 5)], failing].concat());
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, 15);
    }

    #[test]
    fn a_restart_tells_nothing_that_was_told_before() {
        use CameraState::{Armed, Learning, Offline};
        let mut gate = hold(Some("armed"));
        assert_eq!(play(&mut gate, &[(Offline, 3), (Learning, 1), (Armed, 60)]), []);
        let mut fresh = hold(None);
        assert_eq!(
            play(&mut fresh, &[(Offline, 3), (Learning, 60), (Armed, 60)]),
            [(13, "learning"), (73, "armed")]
        );
    }
}
