//! The score timeline: one small row a segment, read back thinned out to what a chart can show.

use super::database::Durable;
use super::{Store, StoreError};
use crate::base::{CameraName, DetectorName, Timestamp};
use rusqlite::params;
use serde::Serialize;
use std::time::Duration;

/// The score of one segment. Only finite ones are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRow {
    pub camera: CameraName,
    pub detector: DetectorName,
    /// Arrival of the segment's last frame.
    pub time: Timestamp,
    pub score: f32,
    /// Limit in force.
    pub threshold: f64,
}

/// One point of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ScorePoint {
    pub time: Timestamp,
    pub score: f64,
    pub threshold: f64,
}

impl Store {
    /// Writes scores in one transaction: hand over as many at a time as have come together. They survive
    /// the end of the process, and the last of them may not survive the loss of power. Gives how many were
    /// left out because they were not finite.
    pub fn put_scores(&self, rows: &[ScoreRow]) -> Result<usize, StoreError> {
        let finite = |r: &&ScoreRow| r.score.is_finite() && r.threshold.is_finite();
        self.database.write(Durable::ProcessEnd, |t| {
            let mut known =
                t.prepare_cached("INSERT OR IGNORE INTO detectors (camera, name) VALUES (?1, ?2)")?;
            let mut insert = t.prepare_cached(
                "INSERT OR REPLACE INTO scores (detector, time_us, score, threshold)
                 VALUES ((SELECT id FROM detectors WHERE camera = ?1 AND name = ?2), ?3, ?4, ?5)",
            )?;
            for row in rows.iter().filter(finite) {
                known.execute([&*row.camera, &*row.detector])?;
                insert.execute(params![
                    &*row.camera,
                    &*row.detector,
                    row.time.as_microsecond(),
                    f64::from(row.score),
                    row.threshold
                ])?;
            }
            Ok(())
        })?;
        Ok(rows.len() - rows.iter().filter(finite).count())
    }

    /// Scores of a detector of `camera` with `after <= time < before`, oldest first, at most `limit` (the newest ones).
    ///
    /// With a `step`, time is cut into pieces of that length and each gives its highest score, at the time
    /// and with the threshold of that score: a peak is never thinned away.
    pub fn scores(
        &self,
        camera: &str,
        detector: &str,
        after: Timestamp,
        before: Timestamp,
        step: Option<Duration>,
        limit: usize,
    ) -> Result<Vec<ScorePoint>, StoreError> {
        let step_us = step.map_or(1, |s| i64::try_from(s.as_micros()).unwrap_or(i64::MAX).max(1));
        let mut points = self.database.read(|c| {
            // SQLite takes bare columns beside max() from the row that holds the maximum.
            c.prepare_cached(
                "SELECT time_us, max(score), threshold FROM scores
                 WHERE detector = (SELECT id FROM detectors WHERE camera = ?1 AND name = ?2)
                   AND time_us >= ?3 AND time_us < ?4
                 GROUP BY time_us / ?5 ORDER BY time_us / ?5 DESC LIMIT ?6",
            )?
            .query_map(
                params![
                    camera,
                    detector,
                    after.as_microsecond(),
                    before.as_microsecond(),
                    step_us,
                    limit as i64
                ],
                |row| {
                    let time = Timestamp::from_microsecond(row.get(0)?).unwrap_or(Timestamp::UNIX_EPOCH);
                    Ok(ScorePoint { time, score: row.get(1)?, threshold: row.get(2)? })
                },
            )?
            .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        points.reverse();
        Ok(points)
    }

    /// Hands every score of a detector with `from <= time < to` to `see`, oldest first: time in microseconds since
    /// 1970, score, limit in force. Meant for whole weeks of them. `see` must not use the store.
    pub fn timeline(
        &self,
        camera: &str,
        detector: &str,
        from: Timestamp,
        to: Timestamp,
        see: &mut dyn FnMut(i64, f32, f64),
    ) -> Result<(), StoreError> {
        self.database.read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT time_us, score, threshold FROM scores
                 WHERE detector = (SELECT id FROM detectors WHERE camera = ?1 AND name = ?2)
                   AND time_us >= ?3 AND time_us < ?4 ORDER BY time_us",
            )?;
            let mut rows =
                statement.query(params![camera, detector, from.as_microsecond(), to.as_microsecond()])?;
            while let Some(row) = rows.next()? {
                see(row.get(0)?, row.get::<_, f64>(1)? as f32, row.get(2)?);
            }
            Ok(())
        })
    }

    pub(super) fn remove_scores(&self, before: Timestamp) -> Result<(), StoreError> {
        self.database.write(Durable::ProcessEnd, |t| {
            // By detector, so that each deletion is a range of the primary key.
            t.execute(
                "DELETE FROM scores WHERE time_us < ?1 AND detector IN (SELECT id FROM detectors)",
                [before.as_microsecond()],
            )
            .map(drop)
        })
    }
}
