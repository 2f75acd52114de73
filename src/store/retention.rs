//! What goes when there is too much: by age, by size, and for the sake of the disk.

use super::database::Durable;
use super::fold::{HOUR_US, MINUTE_US};
use super::{Store, StoreError, files};
use crate::base::Timestamp;
use rusqlite::params;
use std::path::Path;
use std::time::Duration;

/// Nothing younger than this is removed for its size.
const NEVER_YOUNGER: Duration = Duration::from_secs(3600);
/// Hours that are removed for their size in one go; the rest waits for the next.
const HOURS_AT_ONCE: usize = 48;
/// Clips that are removed in one go.
const CLIPS_AT_ONCE: usize = 20;
/// Events that are removed in one transaction: an alert waits no longer than for these.
const EVENTS_AT_ONCE: usize = 200;
/// Pages of the database that are given back to the disk at a time.
const PAGES_AT_ONCE: u32 = 4096;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Scores, and events that nobody reviewed, live so long ...
    pub keep: Duration,
    /// ... and reviewed ones so long.
    pub keep_reviewed: Duration,
    /// Bytes of the database, the pictures and the clips together.
    pub max_size: u64,
    /// Bytes that shall stay free on their disk.
    pub min_free: u64,
}

/// Bytes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// In use within the database, and its write-ahead log.
    pub database: u64,
    pub pictures: u64,
    pub clips: u64,
    /// Pictures of normal life: bounded by themselves, and not counted against [`Limits::max_size`].
    pub galleries: u64,
}

/// Events that went, by why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    pub age: usize,
    pub size: usize,
    /// Clips that went before their events, for want of room.
    pub clips: usize,
}

impl Kept {
    fn bytes(&self) -> u64 {
        self.database + self.pictures + self.clips
    }
}

impl Limits {
    /// Bytes too many.
    fn excess(&self, kept: Kept, free: u64) -> u64 {
        let size = kept.bytes();
        size.saturating_sub(self.max_size).max(self.missing(free))
    }

    /// Bytes that the disk lacks.
    fn missing(&self, free: u64) -> u64 {
        self.min_free.saturating_sub(free)
    }
}

impl Store {
    /// Removes what is too old, then what is too much: clips first, the oldest of events that nobody reviewed before
    /// others; then the oldest hours, scores and events that nobody reviewed before any reviewed one. Never an open event,
    /// and nothing of the last hour but clips where the disk is short of room. Gives what went and what is left.
    pub fn retain(&self, limits: &Limits) -> Result<(Removed, Kept), StoreError> {
        let ago = |time: Duration| self.clock.now().checked_sub(time).unwrap_or(Timestamp::MIN);
        let (old, young) = (ago(limits.keep), ago(NEVER_YOUNGER).as_microsecond());
        // Packed scores go by whole minutes.
        let young = young - young.rem_euclid(MINUTE_US);
        let mut removed = Removed::default();
        self.remove_scores(old)?;
        removed.age += self.remove_events(old.as_microsecond(), false)?;
        let age = limits.keep_reviewed.max(limits.keep);
        removed.age += self.remove_events(ago(age).as_microsecond(), true)?;
        let (mut kept, mut free) = self.room()?;
        while limits.excess(kept, free) > 0 {
            let shed = self.shed_clips(if limits.missing(free) > 0 { i64::MAX } else { young })?;
            if shed == 0 {
                break;
            }
            removed.clips += shed;
            (kept, free) = self.room()?;
        }
        let mut hours = 0;
        for reviewed in [false, true] {
            while limits.excess(kept, free) > 0 && hours < HOURS_AT_ONCE {
                let Some(oldest) = self.oldest(reviewed)?.filter(|oldest| *oldest < young) else { break };
                let cut = (oldest + HOUR_US).min(young);
                hours += 1;
                if !reviewed {
                    self.remove_scores(Timestamp::from_microsecond(cut).unwrap_or(Timestamp::MIN))?;
                }
                removed.size += self.remove_events(cut, reviewed)?;
                (kept, free) = self.room()?;
            }
        }
        if limits.excess(kept, free) > 0 && hours < HOURS_AT_ONCE {
            tracing::warn!(
                "the store keeps {} MiB and the disk has {} MiB free, against store.max_size and store.min_free: \
                 there is nothing left to remove (free some space, or allow more)",
                kept.bytes() >> 20,
                free >> 20
            );
        }
        self.database.give_back(PAGES_AT_ONCE)?;
        Ok((removed, kept))
    }

    /// Removes some clips of events that ended before `before`; gives how many.
    fn shed_clips(&self, before: i64) -> Result<usize, StoreError> {
        let ids: Vec<String> = self.database.read(|c| {
            c.prepare_cached(
                "SELECT event FROM clips JOIN events ON events.id = event WHERE end_us < ?1
                 ORDER BY event IN (SELECT event FROM reviews), end_us LIMIT ?2",
            )?
            .query_map(params![before, CLIPS_AT_ONCE as i64], |row| row.get(0))?
            .collect()
        })?;
        // File first, unlike elsewhere: on a full disk there is no room to write that a row goes until a file has gone.
        for clip in ids.iter().filter_map(|id| self.layout.clip(id)) {
            files::remove_if_there(&clip)?;
        }
        let now = self.clock.now().as_microsecond();
        self.database.write(Durable::PowerLoss, |t| {
            for id in &ids {
                t.prepare_cached("DELETE FROM clips WHERE event = ?1")?.execute([id])?;
                t.prepare_cached("UPDATE events SET changed_us = ?2 WHERE id = ?1")?
                    .execute(params![id, now])?;
            }
            Ok(())
        })?;
        Ok(ids.len())
    }

    /// When the oldest thing was that may go, microseconds since 1970: a score or an event that nobody reviewed, or a
    /// reviewed event.
    fn oldest(&self, reviewed: bool) -> Result<Option<i64>, StoreError> {
        self.database.read(|c| {
            let event: Option<i64> = c
                .prepare_cached(
                    "SELECT min(end_us) FROM events WHERE (id IN (SELECT event FROM reviews)) = ?1",
                )?
                .query_row([reviewed], |row| row.get(0))?;
            let score: Option<i64> = c
                .prepare_cached(
                    "SELECT min(at) FROM (
                       SELECT (SELECT min(time_us) FROM recent_scores WHERE detector = id) AS at FROM detectors
                       UNION ALL SELECT (SELECT min(start) * 60000000 FROM score_extremes
                                         WHERE detector = id AND minutes = 1) FROM detectors)",
                )?
                .query_row([], |row| row.get(0))?;
            Ok(event.into_iter().chain(score.filter(|_| !reviewed)).min())
        })
    }

    /// Removes events, reviewed or not, that ended before `before`, with their pictures; gives how many.
    fn remove_events(&self, before: i64, reviewed: bool) -> Result<usize, StoreError> {
        let mut removed = 0;
        loop {
            let gone: Vec<String> = self.database.write(Durable::PowerLoss, |t| {
                t.prepare_cached(
                    "DELETE FROM events WHERE id IN (
                       SELECT id FROM events WHERE end_us < ?1 AND (id IN (SELECT event FROM reviews)) = ?2
                       ORDER BY end_us LIMIT ?3) RETURNING id",
                )?
                .query_map(params![before, reviewed, EVENTS_AT_ONCE as i64], |row| row.get(0))?
                .collect()
            })?;
            // Rows first: a picture without its row is swept at the next start, a row without its picture lies.
            for id in &gone {
                let (large, small) = self.snapshot_paths(id)?;
                files::remove_if_there(&large)?;
                files::remove_if_there(&small)?;
                self.put_similar(id, &[])?;
                self.layout.clip(id).map_or(Ok(()), |clip| files::remove_if_there(&clip))?;
            }
            removed += gone.len();
            if gone.len() < EVENTS_AT_ONCE {
                return Ok(removed);
            }
        }
    }

    /// What is kept, and bytes free on its disk.
    fn room(&self) -> Result<(Kept, u64), StoreError> {
        let clips: i64 = self
            .database
            .read(|c| c.query_row("SELECT coalesce(sum(bytes), 0) FROM clips", [], |row| row.get(0)))?;
        let (database, pictures) = (self.database.bytes()?, bytes_in(&self.layout.snapshots())?);
        let galleries = self.layout.gallery_bytes();
        let kept = Kept { database, pictures, clips: clips.unsigned_abs(), galleries };
        // Where that cannot be found out, the disk is taken to have room.
        Ok((kept, self.free_bytes().unwrap_or(u64::MAX)))
    }
}

/// Bytes of a folder's files.
fn bytes_in(dir: &Path) -> Result<u64, StoreError> {
    let entries = std::fs::read_dir(dir).map_err(|e| StoreError::io(dir, &e))?;
    // One that goes meanwhile weighs nothing.
    Ok(entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|m| m.len()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SimClock;
    use std::sync::Arc;

    #[test]
    fn the_file_shrinks_as_its_pages_empty() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(dir.path(), Arc::new(SimClock::new(Timestamp::UNIX_EPOCH))).expect("opened");
        let filled = "CREATE TABLE filler (body BLOB);
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
            INSERT INTO filler SELECT zeroblob(4000) FROM n";
        let run = |sql| store.database.write(Durable::ProcessEnd, |t| t.execute_batch(sql)).expect("written");
        let pages = || -> i64 {
            let count = |c: &rusqlite::Connection| c.pragma_query_value(None, "page_count", |row| row.get(0));
            store.database.read(count).expect("asked")
        };
        let empty = pages();
        run(filled);
        assert!(pages() >= empty + 500);
        run("DROP TABLE filler");
        assert!(pages() >= empty + 500, "the pages are empty and still there");
        store.database.give_back(PAGES_AT_ONCE).expect("given back");
        assert!(pages() < empty + 10, "{} of {empty}", pages());
    }

    #[test]
    fn too_much_is_what_is_over_the_size_or_missing_from_the_disk() {
        let hour = Duration::from_secs(3600);
        let limits = Limits { keep: hour, keep_reviewed: hour, max_size: 100, min_free: 50 };
        let kept = Kept { database: 60, pictures: 50, clips: 10, galleries: 99 };
        assert_eq!(limits.excess(kept, 1000), 20);
        assert_eq!(limits.excess(kept, 10), 40);
        assert_eq!(limits.excess(Kept { pictures: 0, ..kept }, 50), 0);
    }
}
