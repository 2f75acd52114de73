//! The score timeline: written a row a segment, packed minute by minute, read back as wide or close as a chart shows it.
//!
//! The newest minute or two are plain rows, so that a kill loses nothing that was written; [`super::fold`] packs what
//! is older and notes each minute's and each hour's extremes, from which a month is answered at once.

use super::database::Durable;
use super::fold::{HOUR_US, MINUTE_US, fold, place};
use super::packed::unpack;
use super::{Store, StoreError};
use crate::base::{CameraName, DetectorName, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Minutes of a detector that are packed in one go: a write of events waits no longer than for these.
const FOLD_AT_ONCE: usize = 64;
/// Scores may come this late and still be packed with their minute at once.
const LATE_US: i64 = 10_000_000;
/// Read in one go: plain scores, minutes' extremes, hours' extremes.
const SPANS_US: [i64; 3] = [6 * HOUR_US, 31 * 24 * HOUR_US, 3660 * 24 * HOUR_US];

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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct ScorePoint {
    pub time: Timestamp,
    /// The highest of its piece of time, with the threshold of that moment.
    pub score: f64,
    pub threshold: f64,
    /// The lowest of its piece of time; `None` where a point is one score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
}

/// Scores of some time as their extremes.
#[derive(Debug, Clone, Copy)]
struct Extremes {
    time_us: i64,
    high: f64,
    threshold: f64,
    low: f64,
}

/// How long the pieces of time between two moments must be for `points` of them, 2 or more, to be enough: whole
/// minutes or hours where that is close.
pub fn step_for(after: Timestamp, before: Timestamp, points: usize) -> Duration {
    // Pieces begin at whole multiples, so that one more may be touched than fit in.
    let least = (before.as_microsecond() - after.as_microsecond()) / (points as i64 - 1).max(1) + 1;
    let unit = [HOUR_US, MINUTE_US, 1_000_000].into_iter().find(|unit| 2 * least > *unit).unwrap_or(1000);
    Duration::from_micros(((least + unit - 1) / unit * unit).unsigned_abs())
}

impl Store {
    /// Writes scores in one transaction: hand over as many at a time as have come together. They survive
    /// the end of the process, and the last of them may not survive the loss of power. Gives how many were
    /// left out because they were not finite.
    pub fn put_scores(&self, rows: &[ScoreRow]) -> Result<usize, StoreError> {
        let finite = |r: &&ScoreRow| r.score.is_finite() && (r.threshold as f32).is_finite();
        self.database.write(Durable::ProcessEnd, |t| {
            let mut known =
                t.prepare_cached("INSERT OR IGNORE INTO detectors (camera, name) VALUES (?1, ?2)")?;
            let mut insert = t.prepare_cached(
                "INSERT OR REPLACE INTO recent_scores (detector, time_us, score, threshold)
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
        self.pack_what_is_over()?;
        Ok(rows.len() - rows.iter().filter(finite).count())
    }

    /// Packs minutes that are over, some of them at a time.
    fn pack_what_is_over(&self) -> Result<(), StoreError> {
        let minute = (self.clock.now().as_microsecond() - LATE_US).div_euclid(MINUTE_US);
        if self.packed_until.load(Ordering::Relaxed) >= minute {
            return Ok(());
        }
        let folded = self.database.write(Durable::ProcessEnd, |t| fold(t, minute, FOLD_AT_ONCE))?;
        if folded < FOLD_AT_ONCE {
            self.packed_until.store(minute, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Scores of a detector of `camera` with `after <= time < before`, oldest first, at most `limit` (the newest ones).
    ///
    /// With a `step`, time is cut into pieces of that length and each gives its highest score, at the time
    /// and with the threshold of that score, and its lowest: a peak is never thinned away. Steps of whole minutes or
    /// hours are quick however long the time is ([`step_for`]).
    pub fn scores(
        &self,
        camera: &str,
        detector: &str,
        after: Timestamp,
        before: Timestamp,
        step: Option<Duration>,
        limit: usize,
    ) -> Result<Vec<ScorePoint>, StoreError> {
        let Some((id, oldest, newest)) = self.extent(camera, detector)? else { return Ok(vec![]) };
        let step_us = step.map(|s| i64::try_from(s.as_micros()).unwrap_or(i64::MAX).max(1));
        let level = match step_us {
            Some(step) if step % HOUR_US == 0 => 2,
            Some(step) if step % MINUTE_US == 0 => 1,
            _ => 0,
        };
        let from = after.as_microsecond().max(oldest);
        let mut end = before.as_microsecond().min(newest + 1);
        // Newest first: where there are too many, the old ones need not be read.
        let mut pieces: Vec<(i64, Extremes)> = vec![];
        while end > from && pieces.len() <= limit {
            let begin = ((end - 1).div_euclid(SPANS_US[level]) * SPANS_US[level]).max(from);
            let mut found = vec![];
            self.database.read(|c| gather(c, id, level, (begin, end), &mut found))?;
            found.sort_by_key(|e| e.time_us);
            for e in found.into_iter().rev() {
                let piece = e.time_us.div_euclid(step_us.unwrap_or(1));
                match pieces.last_mut().filter(|(last, _)| *last == piece && step_us.is_some()) {
                    Some((_, known)) => {
                        let low = known.low.min(e.low);
                        *known = Extremes { low, ..if e.high >= known.high { e } else { *known } };
                    }
                    None => pieces.push((piece, e)),
                }
            }
            end = begin;
        }
        pieces.truncate(limit);
        let point = |(_, e): &(i64, Extremes)| ScorePoint {
            time: Timestamp::from_microsecond(e.time_us).unwrap_or(Timestamp::UNIX_EPOCH),
            score: e.high,
            threshold: e.threshold,
            low: step_us.map(|_| e.low),
        };
        Ok(pieces.iter().rev().map(point).collect())
    }

    /// Hands every score of a detector with `from <= time < to` to `see`, oldest first: time in microseconds since
    /// 1970, score, limit in force. Meant for whole weeks of them.
    pub fn timeline(
        &self,
        camera: &str,
        detector: &str,
        from: Timestamp,
        to: Timestamp,
        see: &mut dyn FnMut(i64, f32, f64),
    ) -> Result<(), StoreError> {
        let Some((id, oldest, newest)) = self.extent(camera, detector)? else { return Ok(()) };
        let (mut begin, to) = (from.as_microsecond().max(oldest), to.as_microsecond().min(newest + 1));
        let mut found = vec![];
        while begin < to {
            let end = ((begin.div_euclid(SPANS_US[0]) + 1) * SPANS_US[0]).min(to);
            found.clear();
            self.database.read(|c| plain(c, id, (begin, end), &mut found))?;
            found.sort_by_key(|e| e.time_us);
            found.iter().for_each(|e| see(e.time_us, e.high as f32, e.threshold));
            begin = end;
        }
        Ok(())
    }

    /// The time that a detector's scores are of, to the minute; `None` where none are kept.
    pub fn score_span(
        &self,
        camera: &str,
        detector: &str,
    ) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
        let at = |us: i64| Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(self.extent(camera, detector)?.map(|(_, first, last)| (at(first), at(last))))
    }

    /// A detector's number, and moments between which all its scores are; `None` where it has none.
    fn extent(&self, camera: &str, detector: &str) -> Result<Option<(i64, i64, i64)>, StoreError> {
        self.database.read(|c| {
            let id = c
                .prepare_cached("SELECT id FROM detectors WHERE camera = ?1 AND name = ?2")?
                .query_row([camera, detector], |row| row.get::<_, i64>(0))
                .optional()?;
            let Some(id) = id else { return Ok(None) };
            let both =
                |row: &rusqlite::Row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?));
            let (first, last) = c
                .prepare_cached(
                    "SELECT (SELECT min(start) FROM score_extremes WHERE detector = ?1 AND minutes = 1),
                            (SELECT max(start) FROM score_extremes WHERE detector = ?1 AND minutes = 1)",
                )?
                .query_row([id], both)?;
            let (oldest, newest) = c
                .prepare_cached(
                    "SELECT (SELECT min(time_us) FROM recent_scores WHERE detector = ?1),
                            (SELECT max(time_us) FROM recent_scores WHERE detector = ?1)",
                )?
                .query_row([id], both)?;
            let oldest = first.map(|minute| minute * MINUTE_US).into_iter().chain(oldest).min();
            let newest = last.map(|minute| (minute + 1) * MINUTE_US).into_iter().chain(newest).max();
            Ok(oldest.zip(newest).map(|(oldest, newest)| (id, oldest, newest)))
        })
    }

    /// Removes scores taken before `before`, by whole minutes where they are packed.
    pub(super) fn remove_scores(&self, before: Timestamp) -> Result<(), StoreError> {
        let before = before.as_microsecond();
        let (minute, hour) = (before.div_euclid(MINUTE_US), before.div_euclid(HOUR_US));
        self.database.write(Durable::ProcessEnd, |t| {
            let mut detectors = t.prepare_cached("SELECT id FROM detectors")?;
            let detectors: Vec<i64> =
                detectors.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            // By detector, so that each deletion is a range of the primary key.
            for id in detectors {
                t.execute("DELETE FROM recent_scores WHERE detector = ?1 AND time_us < ?2", [id, before])?;
                t.execute(
                    "DELETE FROM score_minutes WHERE place >= ?1 AND place < ?2",
                    [place(id, i64::MIN), place(id, minute)],
                )?;
                let old = "DELETE FROM score_extremes WHERE detector = ?1 AND minutes = ?2 AND start < ?3";
                t.execute(old, [id, 1, minute])?;
                t.execute(old, [id, 60, hour])?;
            }
            Ok(())
        })
    }
}

/// Extremes of a detector's scores in `from <= time < to`: from hours (level 2) and minutes (1) that lie wholly inside,
/// and single scores at the edges and where nothing is packed yet.
fn gather(
    c: &Connection,
    id: i64,
    level: usize,
    (from, to): (i64, i64),
    found: &mut Vec<Extremes>,
) -> rusqlite::Result<()> {
    // One state of the database: what is packed meanwhile is seen once.
    let t = c.unchecked_transaction()?;
    let fresh: Option<i64> = t
        .prepare_cached("SELECT min(time_us) FROM recent_scores WHERE detector = ?1")?
        .query_row([id], |row| row.get(0))?;
    let packed_until = fresh.map_or(to, |us| us.div_euclid(MINUTE_US) * MINUTE_US).clamp(from, to);
    descend(&t, id, level, (from, packed_until), found)?;
    plain(&t, id, (packed_until, to), found)
}

fn descend(
    c: &Connection,
    id: i64,
    level: usize,
    (from, to): (i64, i64),
    found: &mut Vec<Extremes>,
) -> rusqlite::Result<()> {
    if level == 0 || from >= to {
        return plain(c, id, (from, to), found);
    }
    let unit = if level == 2 { HOUR_US } else { MINUTE_US };
    let (first, last) = ((from + unit - 1).div_euclid(unit), to.div_euclid(unit));
    if first >= last {
        return descend(c, id, level - 1, (from, to), found);
    }
    descend(c, id, level - 1, (from, first * unit), found)?;
    let mut statement = c.prepare_cached(
        "SELECT high_ms, high, threshold, low FROM score_extremes
         WHERE detector = ?1 AND minutes = ?2 AND start >= ?3 AND start < ?4 ORDER BY start",
    )?;
    let mut rows = statement.query(params![id, unit / MINUTE_US, first, last])?;
    while let Some(row) = rows.next()? {
        let time_us = row.get::<_, i64>(0)? * 1000;
        found.push(Extremes { time_us, high: row.get(1)?, threshold: row.get(2)?, low: row.get(3)? });
    }
    descend(c, id, level - 1, (last * unit, to), found)
}

/// Single scores in `from <= time < to`, packed or not.
fn plain(c: &Connection, id: i64, (from, to): (i64, i64), found: &mut Vec<Extremes>) -> rusqlite::Result<()> {
    if from >= to {
        return Ok(());
    }
    let mut one = |time_us: i64, score: f64, threshold: f64| {
        if (from..to).contains(&time_us) {
            found.push(Extremes { time_us, high: score, threshold, low: score });
        }
    };
    let mut packed =
        c.prepare_cached("SELECT place, body FROM score_minutes WHERE place >= ?1 AND place <= ?2")?;
    let (first, last) = (from.div_euclid(MINUTE_US), (to - 1).div_euclid(MINUTE_US));
    let mut rows = packed.query([place(id, first), place(id, last)])?;
    let mut samples = vec![];
    while let Some(row) = rows.next()? {
        let minute = row.get::<_, i64>(0)? - place(id, 0);
        samples.clear();
        if unpack(row.get_ref(1)?.as_blob()?, &mut samples).is_none() {
            tracing::error!(minute, "a minute of the score timeline is damaged and left out");
            continue;
        }
        for s in &samples {
            let time_us = minute * MINUTE_US + i64::from(s.ms) * 1000;
            one(time_us, s.score.into(), s.threshold.into());
        }
    }
    let mut recent = c.prepare_cached(
        "SELECT time_us, score, threshold FROM recent_scores
         WHERE detector = ?1 AND time_us >= ?2 AND time_us < ?3 ORDER BY time_us",
    )?;
    let mut rows = recent.query([id, from, to])?;
    while let Some(row) = rows.next()? {
        one(row.get(0)?, row.get(1)?, row.get(2)?);
    }
    Ok(())
}
