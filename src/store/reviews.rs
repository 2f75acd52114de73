//! What people made of events: kept beside them, so that no later change of an event undoes it.

use super::database::Durable;
use super::events::{EVENT, decode};
use super::{Store, StoreError};
use crate::alert::{Event, Label, Review};
use crate::base::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

impl Store {
    /// Notes what `by` made of event `id`, in place of what was noted before; no label and no note takes it
    /// back. Gives the event as it now is, or `None` where there is none. On disk when this returns.
    pub fn review(
        &self,
        id: &str,
        label: Option<Label>,
        note: &str,
        by: Option<&str>,
    ) -> Result<Option<Event>, StoreError> {
        let now = self.clock.now().as_microsecond();
        self.database.write(Durable::PowerLoss, |t| {
            // Whoever comes back to the stream is told of it as of any other change.
            let there = t
                .prepare_cached("UPDATE events SET changed_us = ?2 WHERE id = ?1")?
                .execute(params![id, now])?;
            if there == 0 {
                return Ok(None);
            }
            if label.is_none() && note.is_empty() {
                t.execute("DELETE FROM reviews WHERE event = ?1", [id])?;
            } else {
                t.prepare_cached(
                    "INSERT OR REPLACE INTO reviews (event, label, note, time_us, by_whom)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![id, label.map(Label::name), note, now, by])?;
            }
            t.prepare_cached(&format!("{EVENT} WHERE id = ?1"))?.query_row([id], decode).optional()
        })
    }
}

/// The review in the columns from `first` on: label, note, time, by whom. `None` where no note is (an outer join).
pub(super) fn decode_review(row: &Row, first: usize) -> rusqlite::Result<Option<Review>> {
    let Some(note) = row.get::<_, Option<String>>(first + 1)? else { return Ok(None) };
    let label: Option<String> = row.get(first)?;
    Ok(Some(Review {
        label: label.as_deref().and_then(Label::named),
        note,
        time: Timestamp::from_microsecond(row.get(first + 2)?).unwrap_or(Timestamp::UNIX_EPOCH),
        by: row.get(first + 3)?,
    }))
}
