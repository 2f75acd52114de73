//! What could not be written yet: kept in memory, bounded, in its order, until the store takes it.

use super::outbox::Announcement;
use super::{Beside, ScoreRow, Store, StoreError};
use crate::alert::{Change, Event};
use crate::base::Timestamp;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Changes of alerts that wait at most. **When full, the oldest update goes, else the oldest change**, and is counted.
pub const MOST_CHANGES: usize = 1000;
/// Scores that wait at most. **When full, the oldest go**, and are counted.
pub const MOST_SCORES: usize = 100_000;
/// Scores that are written at a time.
const SCORES_AT_ONCE: usize = 5000;

/// A change of an alert that was told and is not on disk.
#[derive(Debug, Clone)]
struct Unkept {
    change: Change,
    event: Event,
    said: Option<Announcement>,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: VecDeque<Unkept>,
    scores: VecDeque<ScoreRow>,
    dropped: u64,
    dropped_scores: u64,
    /// Why nothing can be written, and since when.
    trouble: Option<(String, Timestamp)>,
}

/// How the store takes what is written to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// Why nothing can be written, and since when; `None` while all is well.
    pub trouble: Option<(String, Timestamp)>,
    /// Changes of alerts that are told and not on disk yet.
    pub waiting: usize,
    /// Changes of alerts, and scores, that were given up because too many waited; since the start.
    pub dropped: u64,
    pub dropped_scores: u64,
}

/// What waits. Written by the one who judges and by the one who writes it after all.
#[derive(Default)]
pub(super) struct Backlog {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

impl Backlog {
    fn hold(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics while it is held")
    }
}

impl Waiting {
    fn push(&mut self, unkept: Unkept) {
        // The one in front may be being written: it stays as it is.
        let same = |of: &Unkept| of.change == Change::Update && of.event.id == unkept.event.id;
        if unkept.change == Change::Update
            && let Some(before) = self.changes.iter_mut().skip(1).rfind(|of| same(of))
        {
            *before = unkept;
            return;
        }
        if self.changes.len() >= MOST_CHANGES {
            let update = (self.changes.iter().skip(1)).position(|of| of.change == Change::Update);
            self.changes.remove(update.unwrap_or(0) + 1);
            self.dropped += 1;
        }
        self.changes.push_back(unkept);
    }

    fn push_scores(&mut self, rows: &[ScoreRow]) {
        self.scores.extend(rows.iter().cloned());
        let over = self.scores.len().saturating_sub(MOST_SCORES);
        self.scores.drain(..over);
        self.dropped_scores += over as u64;
    }
}

impl Store {
    /// Writes a change of an event with what is to be told of it, behind everything that waits; `None` where it has to
    /// wait, too. To be called with [`Store::in_order`] held.
    pub fn keep(&self, change: Change, event: &Event, said: Option<Announcement>) -> Option<Beside> {
        let waits = !self.backlog.hold().changes.is_empty();
        let kept = match waits {
            true => None,
            false => self.announce_event(event, said.as_ref()).map_err(|error| self.note(&error)).ok(),
        };
        if kept.is_none() {
            self.backlog.hold().push(Unkept { change, event: event.clone(), said });
            self.backlog.more.notify_all();
        }
        kept
    }

    /// Writes scores, behind those that wait.
    pub fn keep_scores(&self, rows: &[ScoreRow]) {
        let waits = {
            let waiting = self.backlog.hold();
            waiting.trouble.is_some() || !waiting.scores.is_empty()
        };
        if waits || self.put_scores(rows).map_err(|error| self.note(&error)).is_err() {
            self.backlog.hold().push_scores(rows);
        }
    }

    /// Waits until something has to wait, `time` at most.
    pub fn wait_for_backlog(&self, time: Duration) {
        let waiting = self.backlog.hold();
        // Gone within the time or not: there is a look in either case.
        drop(self.backlog.more.wait_timeout(waiting, time));
    }

    /// Tries to write the oldest change that waits; [`Store::caught_up`] follows. `None`: nothing waits.
    ///
    /// # Errors
    /// When it has to wait longer; [`Store::health`] says so, too.
    pub fn catch_up(&self) -> Result<Option<Event>, StoreError> {
        let Some(oldest) = self.backlog.hold().changes.front().cloned() else { return Ok(None) };
        let kept = self.announce_event(&oldest.event, oldest.said.as_ref());
        let Beside { review, clip } = kept.inspect_err(|error| self.note(error))?;
        Ok(Some(Event { review, clip, ..oldest.event }))
    }

    /// What [`Store::catch_up`] wrote waits no more; whether nothing newer of it does, so that it may be told as it is.
    /// To be called with [`Store::in_order`] held.
    pub fn caught_up(&self, event: &Event) -> bool {
        let mut waiting = self.backlog.hold();
        waiting.changes.pop_front();
        waiting.changes.iter().all(|of| of.event.id != event.id)
    }

    /// Writes the scores that wait; when nothing waits any more, all is well again.
    ///
    /// # Errors
    /// When they have to wait longer.
    pub fn catch_up_scores(&self) -> Result<(), StoreError> {
        loop {
            let (rows, dropped): (Vec<ScoreRow>, u64) = {
                let waiting = self.backlog.hold();
                (waiting.scores.iter().take(SCORES_AT_ONCE).cloned().collect(), waiting.dropped_scores)
            };
            if rows.is_empty() {
                break;
            }
            self.put_scores(&rows).inspect_err(|error| self.note(error))?;
            let mut waiting = self.backlog.hold();
            // Those that were dropped meanwhile were among them.
            let gone = (waiting.dropped_scores - dropped) as usize;
            waiting.scores.drain(..rows.len().saturating_sub(gone));
        }
        let mut waiting = self.backlog.hold();
        if waiting.changes.is_empty() && waiting.scores.is_empty() && waiting.trouble.take().is_some() {
            tracing::info!("the store takes everything again: nothing waits any more");
        }
        Ok(())
    }

    /// How the store takes what is written to it.
    pub fn health(&self) -> StoreHealth {
        let waiting = self.backlog.hold();
        StoreHealth {
            trouble: waiting.trouble.clone(),
            waiting: waiting.changes.len(),
            dropped: waiting.dropped,
            dropped_scores: waiting.dropped_scores,
        }
    }

    /// Says that something cannot be written, once until all is well again.
    pub(super) fn note(&self, error: &StoreError) {
        let mut waiting = self.backlog.hold();
        let since = match waiting.trouble.take() {
            Some((_, since)) => since,
            None => {
                tracing::error!(
                    "the store cannot be written; alerts are told all the same, and wait: {error}"
                );
                self.clock.now()
            }
        };
        waiting.trouble = Some((error.to_string(), since));
    }
}
