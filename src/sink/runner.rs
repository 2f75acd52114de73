//! A sink's thread: reads the outbox from its cursor, hands it over, waits, gives up what cannot be delivered.

use super::{Deliver, Delivered, Known, Parts, Then, wants};
use crate::base::{Backoff, Clock};
use crate::config;
use crate::store::{Letter, Store, StoreError};
use crate::telemetry::{Delivery, Metrics};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Waits after failures in a row, from ... to.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A letter that is refused so many times goes to the dead letters.
pub(super) const ATTEMPTS: u32 = 3;
/// Longest rest without looking at the stop flag.
const LOOK: Duration = Duration::from_millis(100);

pub(super) struct Runner {
    name: String,
    wants: config::Wants,
    give_up_after: Duration,
    to: Box<dyn Deliver>,
    known: Arc<Mutex<Known>>,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    /// Number of the last letter that is done with.
    passed: i64,
    /// `passed` is from the store: another thread may have worked for this sink until now.
    begun: bool,
    /// Times that the letter after it was refused.
    refused: u32,
    backoff: Backoff,
}

/// What is to be done next.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    GoOn,
    /// Nothing, until there is a letter.
    Idle,
    Wait(Duration),
}

impl Runner {
    pub(super) fn new(
        sink: &config::Sink,
        to: Box<dyn Deliver>,
        known: Arc<Mutex<Known>>,
        parts: &Parts,
    ) -> Self {
        let Parts { store, metrics, clock, .. } = parts.clone();
        Self {
            name: sink.name.clone(),
            wants: sink.wants.clone(),
            give_up_after: sink.give_up_after,
            to,
            known,
            store,
            metrics,
            clock,
            passed: 0,
            begun: false,
            refused: 0,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT, rand::random()),
        }
    }

    /// Works until `stop`, and then until nothing more can be delivered at once.
    pub(super) fn run(mut self, stop: &AtomicBool) {
        loop {
            let step = self.step().unwrap_or_else(|error| {
                tracing::error!(sink = %self.name, "cannot read the outbox: {error}");
                Step::Wait(self.backoff.failed())
            });
            let (until, wakes) = match step {
                Step::GoOn => continue,
                Step::Idle => (Duration::MAX, true),
                Step::Wait(wait) => (self.clock.monotonic() + wait, false),
            };
            // Dead letters that are to be tried again ring no bell: looked for once a second.
            let look_again = self.clock.monotonic() + Duration::from_secs(1);
            while self.clock.monotonic() < until.min(if wakes { look_again } else { until }) {
                if stop.load(Ordering::Relaxed) {
                    return self.to.close();
                }
                let slice = until.saturating_sub(self.clock.monotonic()).min(LOOK);
                if wakes && self.store.wait_for_letter(self.passed, Duration::ZERO) {
                    break;
                }
                if !self.to.rest(slice) {
                    match wakes {
                        true => drop(self.store.wait_for_letter(self.passed, slice)),
                        false => self.clock.sleep(slice),
                    }
                }
            }
        }
    }

    /// Delivers a page.
    pub(super) fn step(&mut self) -> Result<Step, StoreError> {
        if !self.begun {
            (self.passed, self.begun) = (self.store.passed(&self.name)?, true);
        }
        let mut page = self.store.letters_after(self.passed, self.to.page())?;
        if let Some(head) = page.first()
            && let Some(why) = &head.damaged
        {
            self.bury(head, why)?;
            return Ok(Step::GoOn);
        }
        // What lies behind a damaged one is for the next time.
        page.truncate(page.iter().position(|letter| letter.damaged.is_some()).unwrap_or(page.len()));
        let Some(last) = page.last().map(|letter| letter.seq) else { return self.raise_the_dead() };
        let wanted: Vec<&Letter> = page.iter().filter(|letter| wants(&self.wants, letter)).collect();
        if wanted.is_empty() {
            return self.pass(last).map(|()| Step::GoOn);
        }
        let Delivered { taken, then } = self.to.deliver(&wanted);
        self.took(taken);
        let Some(head) = wanted.get(taken) else {
            self.pass(last)?;
            self.well();
            return Ok(Step::GoOn);
        };
        // What lies before the one that was not taken is done with.
        self.pass(head.seq - 1)?;
        if taken > 0 {
            self.refused = 0;
        }
        match then {
            Then::Done => Ok(Step::GoOn),
            Then::NotBefore(wait) => {
                self.well();
                Ok(Step::Wait(wait))
            }
            Then::Later(why) => {
                let wait = self.failed(&why, taken);
                let age = self.clock.now().duration_since(head.time);
                if age.as_secs_f64() >= self.give_up_after.as_secs_f64() {
                    self.bury(head, &why)?;
                }
                Ok(Step::Wait(wait))
            }
            Then::Refused(why) => {
                let wait = self.failed(&why, taken);
                self.refused += 1;
                if self.refused < ATTEMPTS {
                    return Ok(Step::Wait(wait));
                }
                self.bury(head, &why)?;
                // The sink speaks: the next letter need not wait.
                self.backoff.reset();
                Ok(Step::GoOn)
            }
        }
    }

    /// Tries the dead letters that somebody asked for, once.
    fn raise_the_dead(&mut self) -> Result<Step, StoreError> {
        for dead in self.store.dead_letters(&self.name, true)? {
            if let Some(why) = &dead.letter.damaged {
                self.store.bury(&self.name, &dead.letter, why)?;
                continue;
            }
            match self.to.deliver(&[&dead.letter]) {
                Delivered { taken: 1.., .. } => {
                    self.took(1);
                    self.well();
                    self.store.revive(&self.name, dead.letter.seq)?;
                }
                Delivered { then: Then::NotBefore(wait), .. } => return Ok(Step::Wait(wait)),
                Delivered { then: Then::Later(why) | Then::Refused(why), .. } => {
                    let wait = self.failed(&why, 0);
                    self.store.bury(&self.name, &dead.letter, &why)?;
                    return Ok(Step::Wait(wait));
                }
                Delivered { then: Then::Done, .. } => {}
            }
        }
        match self.to.greet() {
            Ok(()) => {
                self.well();
                Ok(Step::Idle)
            }
            Err(why) => Ok(Step::Wait(self.failed(&why, 0))),
        }
    }

    fn pass(&mut self, seq: i64) -> Result<(), StoreError> {
        if seq > self.passed {
            self.store.pass(&self.name, seq)?;
            self.passed = seq;
        }
        Ok(())
    }

    fn bury(&mut self, letter: &Letter, why: &str) -> Result<(), StoreError> {
        self.store.bury(&self.name, letter, why)?;
        tracing::error!(sink = %self.name, delivery = %letter.delivery(), "given up: {why}");
        self.metrics.delivery(&self.name, Delivery::Dead, 1);
        (self.passed, self.refused) = (letter.seq, 0);
        Ok(())
    }

    fn took(&mut self, letters: usize) {
        if letters > 0 {
            self.metrics.delivery(&self.name, Delivery::Ok, letters as u64);
            self.known().delivered += letters as u64;
        }
    }

    fn well(&mut self) {
        self.backoff.reset();
        self.refused = 0;
        if self.known().failing_since.take().is_some() {
            tracing::info!(sink = %self.name, "delivers again");
        }
    }

    /// Gives how long to wait.
    fn failed(&mut self, why: &str, taken: usize) -> Duration {
        self.metrics.delivery(&self.name, Delivery::Failed, 1);
        if taken > 0 {
            self.backoff.reset();
        }
        let now = self.clock.now();
        let mut known = self.known();
        let first = known.failing_since.is_none() || known.last_error.as_deref() != Some(why);
        known.failing_since.get_or_insert(now);
        known.last_error = Some(why.to_owned());
        drop(known);
        if first {
            tracing::warn!(sink = %self.name, "cannot deliver: {why}");
        }
        self.backoff.failed()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().expect("nothing panics while it is held")
    }
}
