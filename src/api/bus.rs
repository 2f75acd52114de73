//! News from the daemon to every client of the event stream. Publishing never waits for a client.

use super::CameraStatus;
use super::dto::{CameraDto, EventDto, ScoreDto};
use crate::alert::{Change, Event};
use crate::base::{CameraName, Clock, Timestamp};
use crate::store::ScoreRow;
use axum::body::Bytes;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::broadcast;

/// Messages that a client may fall behind before it is cut off.
const LIVE_MESSAGES: usize = 1024;
/// Changes of alerts kept for clients that come back; older ones are looked up in the store.
const KEPT_ALERTS: usize = 256;

/// What a message is about; the `event:` of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    AlertNew,
    AlertUpdate,
    AlertEnd,
    CameraState,
    Score,
}

impl Topic {
    pub fn name(self) -> &'static str {
        match self {
            Topic::AlertNew => "alert.new",
            Topic::AlertUpdate => "alert.update",
            Topic::AlertEnd => "alert.end",
            Topic::CameraState => "camera.state",
            Topic::Score => "score",
        }
    }
}

impl From<Change> for Topic {
    fn from(change: Change) -> Self {
        match change {
            Change::New => Topic::AlertNew,
            Change::Update => Topic::AlertUpdate,
            Change::End => Topic::AlertEnd,
        }
    }
}

/// One message, ready to be sent to any number of clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Grows from message to message and from life to life of the daemon: at least the microseconds since
    /// 1970 at which it was published.
    pub id: i64,
    pub topic: Topic,
    /// The camera that it is about: told only to those who see it.
    pub camera: CameraName,
    /// As it is sent, the same to everybody: made once, however many there are.
    pub wire: Bytes,
}

impl Message {
    pub fn new(id: i64, topic: Topic, camera: CameraName, data: &impl Serialize) -> Self {
        let data = serde_json::to_string(data).expect("wire shapes are plain data");
        // JSON has no line breaks outside of strings, and escapes those inside.
        let wire = format!("id: {id}\nevent: {}\ndata: {data}\n\n", topic.name());
        Self { id, topic, camera, wire: wire.into() }
    }
}

/// Alerts that a returning client has not seen.
#[derive(Debug, Clone, PartialEq)]
pub enum Missed {
    /// These, oldest first.
    Kept(Vec<Arc<Message>>),
    /// Too long ago, or in an earlier life: the events that changed since then are in the store. `up_to` is
    /// the id up to which the client is informed once it has them.
    InStore { since: Timestamp, up_to: i64 },
}

/// Where the daemon tells its news.
pub struct Bus {
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
    live: broadcast::Sender<Arc<Message>>,
}

struct Kept {
    last_id: i64,
    /// Every change of an alert after this id is in `alerts`.
    complete_after: i64,
    alerts: VecDeque<Arc<Message>>,
}

impl Bus {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let born = clock.now().as_microsecond();
        let kept = Kept { last_id: born, complete_after: born, alerts: VecDeque::with_capacity(KEPT_ALERTS) };
        Self { clock, kept: Mutex::new(kept), live: broadcast::Sender::new(LIVE_MESSAGES) }
    }

    /// An alert changed. Gives whether any client is there to be told.
    pub fn alert(&self, change: Change, event: &Event) -> bool {
        self.publish(change.into(), &event.camera, &EventDto::brief(event, change))
    }

    /// An alert changed, and that is not on disk yet.
    pub fn alert_unkept(&self, change: Change, event: &Event) -> bool {
        let dto = EventDto { stored: false, ..EventDto::brief(event, change) };
        self.publish(change.into(), &event.camera, &dto)
    }

    /// A camera's state changed.
    pub fn camera(&self, status: &CameraStatus) {
        self.publish(Topic::CameraState, &status.name, &CameraDto::from(status));
    }

    /// A segment was scored, which may be `damaged`; normal life gives as much with `probability`.
    pub fn score(&self, row: &ScoreRow, probability: f64, damaged: bool) {
        let dto = ScoreDto {
            camera: row.camera.clone(),
            detector: row.detector.clone(),
            time: row.time,
            score: f64::from(row.score),
            threshold: row.threshold,
            probability,
            damaged,
        };
        self.publish(Topic::Score, &row.camera, &dto);
    }

    /// A receiver of everything from now on; with `last_seen`, also the alerts after that message.
    pub fn subscribe(&self, last_seen: Option<i64>) -> (Missed, broadcast::Receiver<Arc<Message>>) {
        // Publishing holds the same lock, so nothing falls between what is kept and what is live.
        let kept = self.kept();
        let missed = match last_seen {
            None => Missed::Kept(Vec::new()),
            Some(id) if id < kept.complete_after => Missed::InStore {
                since: Timestamp::from_microsecond(id).unwrap_or(Timestamp::UNIX_EPOCH),
                up_to: kept.last_id,
            },
            Some(id) => Missed::Kept(kept.alerts.iter().filter(|m| m.id > id).cloned().collect()),
        };
        (missed, self.live.subscribe())
    }

    fn publish(&self, topic: Topic, camera: &CameraName, data: &impl Serialize) -> bool {
        let is_alert = matches!(topic, Topic::AlertNew | Topic::AlertUpdate | Topic::AlertEnd);
        if !is_alert && self.live.receiver_count() == 0 {
            return false;
        }
        let mut kept = self.kept();
        kept.last_id = self.clock.now().as_microsecond().max(kept.last_id + 1);
        let message = Arc::new(Message::new(kept.last_id, topic, camera.clone(), data));
        if is_alert {
            if kept.alerts.len() == KEPT_ALERTS
                && let Some(oldest) = kept.alerts.pop_front()
            {
                kept.complete_after = oldest.id;
            }
            kept.alerts.push_back(message.clone());
        }
        // An error only says that no client is there.
        self.live.send(message).is_ok()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics while it is held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SimClock;
    use std::time::Duration;

    fn score(bus: &Bus) {
        let (camera, detector) = ("gate".into(), "main".into());
        let row = ScoreRow { camera, detector, time: Timestamp::UNIX_EPOCH, score: 1.0, threshold: 3.0 };
        bus.score(&row, 0.2, false);
    }

    fn alert(bus: &Bus, n: usize) {
        bus.publish(Topic::AlertNew, &"gate".into(), &n);
    }

    fn data(message: &Message) -> String {
        let wire = std::str::from_utf8(&message.wire).expect("text");
        wire.split_once("data: ").expect("data").1.trim_end().to_owned()
    }

    fn kept(missed: Missed) -> Vec<String> {
        match missed {
            Missed::Kept(messages) => messages.iter().map(|m| data(m)).collect(),
            Missed::InStore { .. } => panic!("expected kept messages"),
        }
    }

    #[test]
    fn ids_grow_even_when_the_clock_stands_still_or_goes_back() {
        let clock = Arc::new(SimClock::new(Timestamp::from_second(1000).expect("in range")));
        let bus = Bus::new(clock.clone());
        let (_, mut live) = bus.subscribe(None);
        score(&bus);
        score(&bus);
        clock.advance(Duration::from_secs(1));
        score(&bus);
        let ids: Vec<_> = std::iter::from_fn(|| live.try_recv().ok()).map(|m| m.id).collect();
        assert_eq!(ids, [1_000_000_001, 1_000_000_002, 1_001_000_000]);
    }

    #[test]
    fn a_client_that_comes_back_gets_the_alerts_it_missed_and_no_scores() {
        let bus = Bus::new(Arc::new(SimClock::new(Timestamp::from_second(1000).expect("in range"))));
        let (_, mut live) = bus.subscribe(None);
        alert(&bus, 1);
        let seen = live.try_recv().expect("live").id;
        alert(&bus, 2);
        score(&bus);
        alert(&bus, 3);
        assert_eq!(kept(bus.subscribe(Some(seen)).0), ["2", "3"]);
        assert!(kept(bus.subscribe(None).0).is_empty());
    }

    #[test]
    fn what_is_kept_no_more_is_in_the_store() {
        let bus = Bus::new(Arc::new(SimClock::new(Timestamp::from_second(1000).expect("in range"))));
        let earlier_life = 999_000_000;
        let since = Timestamp::from_second(999).expect("in range");
        assert_eq!(bus.subscribe(Some(earlier_life)).0, Missed::InStore { since, up_to: 1_000_000_000 });
        (0..KEPT_ALERTS + 1).for_each(|n| alert(&bus, n));
        assert!(matches!(bus.subscribe(Some(1_000_000_000)).0, Missed::InStore { .. }));
        assert_eq!(kept(bus.subscribe(Some(1_000_000_001)).0).len(), KEPT_ALERTS);
    }

    #[test]
    fn a_client_that_does_not_read_neither_blocks_nor_grows() {
        let bus = Bus::new(Arc::new(SimClock::new(Timestamp::UNIX_EPOCH)));
        let (_, mut live) = bus.subscribe(None);
        (0..LIVE_MESSAGES + 7).for_each(|_| score(&bus));
        assert!(matches!(live.try_recv(), Err(broadcast::error::TryRecvError::Lagged(7))));
    }
}
