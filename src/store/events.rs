//! Events in the database: written at each change, read newest first in pages.

use super::clips::decode_clip;
use super::damage::text;
use super::database::Durable;
use super::outbox::{Announcement, post};
use super::reviews::decode_review;
use super::{Store, StoreError};
use crate::alert::{Clip, Event, Label, Review};
use crate::base::{CameraName, Timestamp};
use rusqlite::types::{FromSqlError, Value};
use rusqlite::{OptionalExtension, Row, Transaction, params, params_from_iter};

/// Events with what is kept beside them; conditions follow. [`decode`] reads it.
pub(super) const EVENT: &str = "SELECT events.body, label, note, time_us, by_whom, clips.body, events.id
     FROM events LEFT JOIN reviews ON reviews.event = events.id LEFT JOIN clips ON clips.event = events.id";

/// What is kept beside an event, whatever becomes of the event itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Beside {
    pub review: Option<Review>,
    pub clip: Option<Clip>,
}

/// Which events are wanted. The default is all of them.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Empty: every camera.
    pub cameras: Vec<CameraName>,
    /// That had not ended by then.
    pub after: Option<Timestamp>,
    /// That had begun by then.
    pub before: Option<Timestamp>,
    /// Bounds of the highest score, both inclusive.
    pub min_score: Option<f64>,
    pub max_score: Option<f64>,
    /// Only those that are open, or only those that are over.
    pub in_progress: Option<bool>,
    /// Only those that somebody reviewed, or only those that nobody did.
    pub reviewed: Option<bool>,
    /// Only those that were labelled so.
    pub label: Option<Label>,
    /// Only events older than this id: the [`EventPage::next`] of the page before.
    pub cursor: Option<String>,
}

/// Some events, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    pub events: Vec<Event>,
    /// Cursor of the next page; `None` at the end.
    pub next: Option<String>,
}

impl Store {
    /// Writes an event as it now is, without touching what is kept beside it, which it gives. On disk when this returns.
    pub fn put_event(&self, event: &Event) -> Result<Beside, StoreError> {
        self.announce_event(event, None)
    }

    /// [`Self::put_event`], and in the same transaction what is to be told of it.
    pub fn announce_event(&self, event: &Event, said: Option<&Announcement>) -> Result<Beside, StoreError> {
        let now = self.clock.now().as_microsecond();
        let (beside, seq) = self.database.write(Durable::PowerLoss, |t| {
            let beside = write(t, now, event)?;
            Ok((beside, said.map(|said| post(t, now, said)).transpose()?))
        })?;
        self.ring(seq);
        Ok(beside)
    }

    pub fn event(&self, id: &str) -> Result<Option<Event>, StoreError> {
        self.database
            .read(|c| c.prepare_cached(&format!("{EVENT} WHERE id = ?1"))?.query_row([id], decode).optional())
    }

    /// Whether there is such an event, readable or not.
    pub(super) fn has_event(&self, id: &str) -> Result<bool, StoreError> {
        self.database.read(|c| c.prepare_cached("SELECT 1 FROM events WHERE id = ?1")?.exists([id]))
    }

    /// At most `limit` events that pass the filter, newest first.
    pub fn events(&self, filter: &EventFilter, limit: usize) -> Result<EventPage, StoreError> {
        let mut conditions = vec!["1".to_owned()];
        let mut values: Vec<Value> = Vec::new();
        let mut and = |condition: &str, value: Value| {
            values.push(value);
            conditions.push(condition.replace('?', &format!("?{}", values.len())));
        };
        if let Some(t) = filter.after {
            and("(end_us IS NULL OR end_us >= ?)", t.as_microsecond().into());
        }
        if let Some(t) = filter.before {
            and("start_us <= ?", t.as_microsecond().into());
        }
        if let Some(score) = filter.min_score {
            and("top_score >= ?", score.into());
        }
        if let Some(score) = filter.max_score {
            and("top_score <= ?", score.into());
        }
        if let Some(label) = filter.label {
            and("reviews.label = ?", label.name().to_owned().into());
        }
        if let Some(cursor) = &filter.cursor {
            and("id < ?", cursor.clone().into());
        }
        match filter.in_progress {
            Some(true) => conditions.push("end_us IS NULL".into()),
            Some(false) => conditions.push("end_us IS NOT NULL".into()),
            None => {}
        }
        match filter.reviewed {
            Some(true) => conditions.push("reviews.event IS NOT NULL".into()),
            Some(false) => conditions.push("reviews.event IS NULL".into()),
            None => {}
        }
        if !filter.cameras.is_empty() {
            let first = values.len() + 1;
            values.extend(filter.cameras.iter().map(|c| Value::from(c.to_string())));
            let places: Vec<_> = (first..=values.len()).map(|n| format!("?{n}")).collect();
            conditions.push(format!("camera IN ({})", places.join(", ")));
        }
        // One more than asked for says whether there is a next page.
        let sql = format!("{EVENT} WHERE {} ORDER BY id DESC LIMIT {}", conditions.join(" AND "), limit + 1);
        let mut events = self.database.read(|c| {
            c.prepare_cached(&sql)?
                .query_map(params_from_iter(values), |row| {
                    Ok((row.get::<_, String>(6)?, self.readable(row)?))
                })?
                .collect::<rusqlite::Result<Vec<(String, Option<Event>)>>>()
        })?;
        let more = events.len() > limit;
        events.truncate(limit);
        let next = if more { events.last().map(|(id, _)| id.clone()) } else { None };
        Ok(EventPage { events: events.into_iter().filter_map(|(_, event)| event).collect(), next })
    }

    /// Every event that passes the filter, newest first.
    pub fn all_events(&self, mut filter: EventFilter) -> Result<Vec<Event>, StoreError> {
        /// Read together, so that no reader is held up by another for long.
        const AT_ONCE: usize = 500;
        let mut found = vec![];
        loop {
            let page = self.events(&filter, AT_ONCE)?;
            found.extend(page.events);
            match page.next {
                Some(next) => filter.cursor = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// At most `limit` events written at `since` or later, in the order of their last change.
    pub fn events_changed_since(&self, since: Timestamp, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.database.read(|c| {
            c.prepare_cached(&format!("{EVENT} WHERE changed_us >= ?1 ORDER BY changed_us, id LIMIT ?2"))?
                .query_map(params![since.as_microsecond(), limit as i64], |row| self.readable(row))?
                .filter_map(Result::transpose)
                .collect()
        })
    }

    /// Ends the events that the daemon's last life left open, at the time they were last seen, and tells what `said`
    /// makes of each. Gives them.
    pub fn close_open_events(
        &self,
        said: impl Fn(&Event) -> Option<Announcement>,
    ) -> Result<Vec<Event>, StoreError> {
        let open = EventFilter { in_progress: Some(true), ..EventFilter::default() };
        let mut events = self.events(&open, i32::MAX as usize)?.events;
        for event in &mut events {
            event.end_time = Some(event.last_time);
            self.announce_event(event, said(event).as_ref())?;
        }
        Ok(events)
    }

    /// As [`decode`]; `None` for a row whose text a damaged disk has changed, which is said and left out.
    fn readable(&self, row: &Row) -> rusqlite::Result<Option<Event>> {
        match decode(row) {
            Ok(event) => Ok(Some(event)),
            Err(error @ rusqlite::Error::SqliteFailure(..)) => Err(error),
            Err(error) => {
                let (id, _) = text(row, 6)?;
                self.damage.say(format!("event {id}, which is left out: {error}"));
                Ok(None)
            }
        }
    }
}

/// Writes an event but for what is kept beside it, and gives that.
fn write(t: &Transaction, now_us: i64, event: &Event) -> rusqlite::Result<Beside> {
    let bare = Event { review: None, clip: None, ..event.clone() };
    t.prepare_cached(
        "INSERT INTO events (id, camera, start_us, end_us, top_score, changed_us, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO UPDATE SET start_us = excluded.start_us, end_us = excluded.end_us,
             top_score = excluded.top_score, changed_us = excluded.changed_us, body = excluded.body",
    )?
    .execute(params![
        event.id,
        &*event.camera,
        event.start_time.as_microsecond(),
        event.end_time.map(Timestamp::as_microsecond),
        f64::from(event.top_score),
        now_us,
        serde_json::to_string(&bare).expect("an event is plain data")
    ])?;
    let kept = t.prepare_cached(&format!("{EVENT} WHERE id = ?1"))?.query_row([&event.id], decode);
    match kept {
        Ok(kept) => Ok(Beside { review: kept.review, clip: kept.clip }),
        Err(error @ rusqlite::Error::SqliteFailure(..)) => Err(error),
        // What lies beside it is damaged, which is said when it is listed: no alert is to wait for that.
        Err(_) => Ok(Beside::default()),
    }
}

pub(super) fn decode(row: &Row) -> rusqlite::Result<Event> {
    let body: String = row.get(0)?;
    let event: Event = serde_json::from_str(&body).map_err(FromSqlError::other)?;
    Ok(Event { review: decode_review(row, 1)?, clip: decode_clip(row, 5)?, ..event })
}
