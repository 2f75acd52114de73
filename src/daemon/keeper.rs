//! The keeper: writes what the store would not take at once, mends the store, and removes what is too old or too much.

use super::pulse::Pulse;
use crate::alert::Change;
use crate::api::Bus;
use crate::base::Clock;
use crate::store::{Limits, Store};
use crate::telemetry::{Delivery, Metrics};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The store, and the room on its disk, are looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Old events, pictures and scores are removed this often ...
const RETAIN_EVERY: Duration = Duration::from_secs(600);
/// ... and so often while the disk lacks room.
const RETAIN_PRESSED: Duration = Duration::from_secs(10);
/// When the daemon stops, what waits is tried for no longer than this.
const LAST_TRIES: Duration = Duration::from_secs(3);

/// The thread itself.
pub struct Keeper {
    pub store: Arc<Store>,
    pub bus: Arc<Bus>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    pub pulse: Pulse,
    pub told: Arc<KeeperTold>,
}

/// What others tell the keeper.
pub struct KeeperTold {
    /// What is kept.
    pub limits: Mutex<Limits>,
    /// By a wall clock that may be wrong nothing is too old.
    pub suspect: AtomicBool,
    /// Nothing more will have to be written.
    pub over: AtomicBool,
}

impl KeeperTold {
    pub fn new(limits: Limits) -> Self {
        Self { limits: Mutex::new(limits), suspect: AtomicBool::default(), over: AtomicBool::default() }
    }

    fn limits(&self) -> Limits {
        *self.limits.lock().expect("nothing panics while it is held")
    }
}

impl Keeper {
    /// Works until it is told that all is over, and then until nothing waits.
    pub fn run(self) {
        let (mut retained, mut over_since) = (None::<Duration>, None::<Duration>);
        loop {
            self.pulse.beat();
            let over = self.told.over.load(Ordering::Relaxed);
            if let Err(error) = self.store.mend() {
                tracing::error!("the damaged database cannot be put aside: {error}");
            }
            self.catch_up();
            let now = self.clock.monotonic();
            let waits = self.say();
            if over {
                let since = *over_since.get_or_insert(now);
                if !waits {
                    return;
                }
                if now.saturating_sub(since) >= LAST_TRIES {
                    let health = self.store.health();
                    tracing::error!(
                        "{} changes of alerts are lost: the store did not take them",
                        health.waiting
                    );
                    return;
                }
            } else {
                let pressed = self.store.free_bytes().is_some_and(|free| free < self.told.limits().min_free);
                let every = if pressed { RETAIN_PRESSED } else { RETAIN_EVERY };
                if retained.is_none_or(|before| now.saturating_sub(before) >= every) {
                    self.retain();
                    retained = Some(now);
                }
            }
            self.store.wait_for_backlog(LOOK_EVERY);
        }
    }

    /// Writes what waits, as far as the store takes it, and tells that it is kept.
    fn catch_up(&self) {
        loop {
            match self.store.catch_up() {
                Ok(Some(event)) => {
                    self.metrics.delivery("store", Delivery::Ok, 1);
                    // Whoever judges writes past the queue only once this has gone from it: nothing newer is told before.
                    let _in_order = self.store.in_order();
                    if self.store.caught_up(&event) {
                        let change = if event.end_time.is_some() { Change::End } else { Change::Update };
                        self.bus.alert(change, &event);
                    }
                }
                Ok(None) => break,
                // The store has said so.
                Err(_) => return,
            }
        }
        // The store says where it fails.
        let _ = self.store.catch_up_scores();
    }

    /// How the store fares, in metrics; whether something waits.
    fn say(&self) -> bool {
        let health = self.store.health();
        self.metrics.store_health(health.trouble.is_none(), health.waiting, health.dropped);
        health.trouble.is_some()
    }

    fn retain(&self) {
        let limits = self.told.limits();
        let limits = match self.told.suspect.load(Ordering::Relaxed) {
            true => Limits { keep: Duration::MAX, keep_reviewed: Duration::MAX, ..limits },
            false => limits,
        };
        match self.store.retain(&limits) {
            Ok((removed, kept)) => {
                self.metrics.kept(kept.database, kept.pictures, kept.clips, kept.galleries);
                self.metrics.removed(removed.age, removed.size, removed.clips);
                if removed.clips > 0 {
                    tracing::warn!("{} clips were removed for want of room", removed.clips);
                }
            }
            Err(error) => tracing::warn!("cannot remove what is too old or too much: {error}"),
        }
    }
}
