//! Clips: a file each, and what is known of it beside the events, so that no later change of an event undoes it.

use super::database::Durable;
use super::events::{EVENT, decode};
use super::{Layout, Store, StoreError, files};
use crate::alert::{Clip, Event};
use rusqlite::types::FromSqlError;
use rusqlite::{OptionalExtension, Row, params};
use std::fs::File;
use std::path::{Path, PathBuf};

/// What the files of unfinished clips end in.
const PART: &str = "part";
const SCRATCH: &str = "scratch";

/// The files of a clip that is being written. Unless [`Store::put_clip`] takes them, they are removed.
pub struct ClipFiles {
    event: String,
    part: PathBuf,
    scratch: PathBuf,
    whole: PathBuf,
}

impl ClipFiles {
    /// Where the clip is to be written ...
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// ... and a file for what is needed on the way.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }
}

impl Drop for ClipFiles {
    fn drop(&mut self) {
        for path in [&self.part, &self.scratch] {
            if let Err(error) = files::remove_if_there(path) {
                tracing::warn!("{error}");
            }
        }
    }
}

impl Layout {
    pub fn clips(&self) -> PathBuf {
        self.dir().join("clips")
    }

    /// The clip of event `id`; `None` where that is no event id.
    pub fn clip(&self, id: &str) -> Option<PathBuf> {
        self.snapshot(id).map(|_| self.clips().join(format!("{id}.mp4")))
    }
}

impl Store {
    /// An empty file of no name for the packets of a clip: it goes with its handle, whatever happens.
    pub fn clip_spool(&self) -> Result<File, StoreError> {
        let dir = self.layout().clips();
        tempfile::tempfile_in(&dir).map_err(|e| StoreError::io(&dir, &e))
    }

    /// The files to write the clip of event `id` with.
    pub fn clip_files(&self, id: &str) -> Result<ClipFiles, StoreError> {
        let dir = self.layout().clips();
        let whole = self.layout().clip(id).ok_or_else(|| {
            StoreError::new(&dir, format!("`{id}` is no event id"), "use an id the API gave")
        })?;
        let (part, scratch) = (whole.with_extension(PART), whole.with_extension(SCRATCH));
        Ok(ClipFiles { event: id.to_owned(), part, scratch, whole })
    }

    /// Takes a clip that has been written as its event's; its size is found here. Gives the event as it now is, or
    /// `None` (and keeps nothing) where there is none any more. On disk when this returns.
    pub fn put_clip(&self, files: ClipFiles, clip: Clip) -> Result<Option<Event>, StoreError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |e: std::io::Error| StoreError::io(&path, &e)
        };
        let dir = self.layout().clips();
        // File first: one without its row is swept at the next start, a row without its file would lie.
        let synced = File::open(&files.part).and_then(|file| {
            file.sync_all()?;
            file.metadata()
        });
        let bytes = synced.map_err(io(&files.part))?.len();
        std::fs::rename(&files.part, &files.whole).map_err(io(&files.whole))?;
        File::open(&dir).and_then(|dir| dir.sync_all()).map_err(io(&dir))?;
        let body = serde_json::to_string(&Clip { bytes, ..clip }).expect("a clip is plain data");
        let (id, now) = (&files.event, self.clock.now().as_microsecond());
        let event = self.database.write(Durable::PowerLoss, |t| {
            // Whoever comes back to the stream is told of it as of any other change.
            let there = t
                .prepare_cached("UPDATE events SET changed_us = ?2 WHERE id = ?1")?
                .execute(params![id, now])?;
            if there == 0 {
                return Ok(None);
            }
            t.prepare_cached("INSERT OR REPLACE INTO clips (event, bytes, body) VALUES (?1, ?2, ?3)")?
                .execute(params![id, bytes as i64, body])?;
            t.prepare_cached(&format!("{EVENT} WHERE id = ?1"))?.query_row([id], decode).optional()
        })?;
        if event.is_none() {
            files::remove_if_there(&files.whole)?;
        }
        Ok(event)
    }

    /// The clip of event `id`, to be read; `None` where there is none.
    pub fn open_clip(&self, id: &str) -> Result<Option<File>, StoreError> {
        let Some(path) = self.layout().clip(id) else { return Ok(None) };
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::io(&path, &e)),
        }
    }

    /// Bytes that are free for the daemon where clips lie; `None` where that cannot be found out.
    pub fn free_bytes(&self) -> Option<u64> {
        let found = rustix::fs::statvfs(self.layout().clips()).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Removes what is no event's clip: what a crash left half made, or without its row.
    pub(super) fn sweep_clips(&self) -> Result<(), StoreError> {
        let dir = self.layout().clips();
        let entries = std::fs::read_dir(&dir).map_err(|e| StoreError::io(&dir, &e))?;
        let mut swept = 0_usize;
        for entry in entries {
            let path = entry.map_err(|e| StoreError::io(&dir, &e))?.path();
            let id = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
            let known = self.layout().clip(id).is_some_and(|clip| clip == path)
                && self
                    .database
                    .read(|c| c.prepare_cached("SELECT 1 FROM clips WHERE event = ?1")?.exists([id]))?;
            if !known {
                files::remove_if_there(&path)?;
                swept += 1;
            }
        }
        if swept > 0 {
            tracing::info!(swept, "removed clips that are unfinished or belong to no event");
        }
        Ok(())
    }
}

/// The clip in a column, of an outer join.
pub(super) fn decode_clip(row: &Row, column: usize) -> rusqlite::Result<Option<Clip>> {
    let body: Option<String> = row.get(column)?;
    Ok(body.map(|body| serde_json::from_str(&body)).transpose().map_err(FromSqlError::other)?)
}
