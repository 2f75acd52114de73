//! The outbox: what is to be told, on disk before anybody hears of it; how far each sink is; dead letters.

use super::damage::text;
use super::database::Durable;
use super::{Store, StoreError};
use crate::alert::{Change, Severity};
use crate::base::{CameraName, Timestamp, choices};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// Letters that the outbox holds at most: what is older is dropped, and counted for the sinks that wanted it.
pub const MOST_LETTERS: usize = 100_000;
/// Letters are dropped at this age.
pub const OLDEST_LETTER: Duration = Duration::from_secs(7 * 86_400);
/// Dead letters that are kept for each sink; the oldest are dropped.
pub const MOST_DEAD: usize = 1000;

choices! {
    /// What a letter is about.
    pub enum Subject {
        AlertNew = "alert.new",
        AlertUpdate = "alert.update",
        AlertEnd = "alert.end",
        CameraState = "camera.state",
    }
}

impl From<Change> for Subject {
    fn from(change: Change) -> Self {
        match change {
            Change::New => Self::AlertNew,
            Change::Update => Self::AlertUpdate,
            Change::End => Self::AlertEnd,
        }
    }
}

/// Something that is to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Announcement {
    /// Id of the event, or one of this change of a camera: the same however often it is delivered.
    pub about: String,
    pub subject: Subject,
    pub camera: CameraName,
    /// Of an alert.
    pub severity: Option<Severity>,
    /// A JSON object.
    pub body: String,
}

/// An announcement in the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// Grows by one from letter to letter, over all lives of the daemon.
    pub seq: i64,
    pub time: Timestamp,
    pub announcement: Announcement,
    /// What a damaged disk has changed of it, where that can be seen; `announcement` holds what can be read. Such a
    /// letter is not to be delivered.
    pub damaged: Option<String>,
}

impl Letter {
    /// The same in every delivery of this letter, and of no other.
    pub fn delivery(&self) -> String {
        format!("{}.{}", self.announcement.about, self.seq)
    }
}

/// A letter that its sink would not take.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    pub letter: Letter,
    pub died: Timestamp,
    pub why: String,
}

/// Wakes the sinks. Holds the number of the newest letter.
#[derive(Default)]
pub(super) struct Bell {
    newest: Mutex<i64>,
    rung: Condvar,
}

impl Bell {
    fn ring(&self, seq: i64) {
        let mut newest = self.newest.lock().expect("nothing panics while it is held");
        *newest = seq.max(*newest);
        self.rung.notify_all();
    }
}

/// Columns of a letter, in the order that [`letter`] reads them.
const COLUMNS: &str = "seq, time_us, about, subject, camera, severity, body";

impl Store {
    /// Puts a letter about no event into the outbox: `camera` is in another `state`.
    pub fn tell_camera_state(&self, state: &str, said: &Announcement) -> Result<(), StoreError> {
        let now = self.clock.now().as_microsecond();
        let seq = self.database.write(Durable::PowerLoss, |t| {
            t.prepare_cached("INSERT OR REPLACE INTO told_states (camera, state) VALUES (?1, ?2)")?
                .execute(params![&*said.camera, state])?;
            post(t, now, said)
        })?;
        self.bell.ring(seq);
        Ok(())
    }

    /// The state of each camera that was told last.
    pub fn told_states(&self) -> Result<BTreeMap<CameraName, String>, StoreError> {
        self.database.read(|c| {
            let mut query = c.prepare_cached("SELECT camera, state FROM told_states")?;
            // A state that was never told is another than the one the camera is in: that is told again.
            let rows = query.query_map([], |row| Ok((text(row, 0)?.0.into(), text(row, 1)?.0)))?;
            rows.collect()
        })
    }

    /// Number of the newest letter, and the names of the sinks that there are.
    pub(super) fn outbox_state(&self) -> (i64, Vec<String>) {
        let newest = *self.bell.newest.lock().expect("nothing panics while it is held");
        (newest, self.sinks.lock().expect("nothing panics while it is held").clone())
    }

    /// Letters of a fresh database come after number `seq`.
    pub(super) fn go_on_after(&self, seq: i64) -> Result<(), StoreError> {
        self.database.write(Durable::PowerLoss, |t| {
            t.execute("DELETE FROM sqlite_sequence WHERE name = 'outbox'", [])?;
            t.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', ?1)", [seq]).map(drop)
        })
    }

    /// Says which sinks there are. A new one begins with what comes from now on; one that is gone is forgotten
    /// with its dead letters. Where a damaged disk has changed how far one is, it is told again rather than not at all.
    pub fn set_sinks(&self, names: &[String]) -> Result<(), StoreError> {
        *self.sinks.lock().expect("nothing panics while it is held") = names.to_vec();
        let newest = self.database.write(Durable::PowerLoss, |t| {
            let newest: i64 = t
                .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'", [], |row| row.get(0))
                .optional()?
                .unwrap_or(0);
            let known: Vec<((String, bool), i64)> = t
                .prepare("SELECT name, passed FROM sinks")?
                .query_map([], |row| Ok((text(row, 0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            for ((gone, _), _) in known.iter().filter(|((name, whole), _)| *whole && !names.contains(name)) {
                t.execute("DELETE FROM sinks WHERE name = ?1", [gone])?;
                t.execute("DELETE FROM dead_letters WHERE sink = ?1", [gone])?;
            }
            // One whose name cannot be read is one of those that seem new.
            let nameless = known.iter().filter(|((_, whole), _)| !whole).map(|(_, passed)| *passed).min();
            if nameless.is_some() {
                self.damage.say("the name of a sink: it may be told some things twice".into());
                t.execute(
                    "DELETE FROM sinks WHERE name NOT IN (SELECT value FROM json_each(?1))",
                    [serde_json::to_string(names).expect("texts")],
                )?;
            }
            for name in names {
                t.execute(
                    "INSERT OR IGNORE INTO sinks (name, passed) VALUES (?1, ?2)",
                    params![name, nameless.map_or(newest, |passed| passed.min(newest))],
                )?;
            }
            if t.execute("UPDATE sinks SET passed = 0 WHERE passed NOT BETWEEN 0 AND ?1", [newest])? > 0 {
                self.damage.say("how far a sink is: it is told again what is left".into());
            }
            Ok(newest)
        })?;
        self.bell.ring(newest);
        Ok(())
    }

    /// Number of the last letter that `sink` is done with.
    pub fn passed(&self, sink: &str) -> Result<i64, StoreError> {
        self.database.read(|c| {
            c.prepare_cached("SELECT passed FROM sinks WHERE name = ?1")?.query_row([sink], |row| row.get(0))
        })
    }

    /// At most `limit` letters after number `seq`, oldest first.
    pub fn letters_after(&self, seq: i64, limit: usize) -> Result<Vec<Letter>, StoreError> {
        self.database.read(|c| {
            let sql = format!("SELECT {COLUMNS} FROM outbox WHERE seq > ?1 ORDER BY seq LIMIT ?2");
            c.prepare_cached(&sql)?.query_map(params![seq, limit as i64], letter)?.collect()
        })
    }

    /// How many letters come after number `seq`.
    pub fn count_after(&self, seq: i64) -> Result<u64, StoreError> {
        self.database
            .read(|c| c.prepare_cached("SELECT count(*) FROM outbox WHERE seq > ?1")?.query_row([seq], count))
    }

    /// Waits until there is a letter after number `seq`, `time` at most; whether there is.
    pub fn wait_for_letter(&self, seq: i64, time: Duration) -> bool {
        let newest = self.bell.newest.lock().expect("nothing panics while it is held");
        let waited = self.bell.rung.wait_timeout_while(newest, time, |newest| *newest <= seq);
        *waited.expect("nothing panics while it is held").0 > seq
    }

    /// `sink` is done with every letter up to `seq`. Survives the end of the process; a loss of power may bring
    /// letters twice, and loses none.
    pub fn pass(&self, sink: &str, seq: i64) -> Result<(), StoreError> {
        self.database.write(Durable::ProcessEnd, |t| advance(t, sink, seq))
    }

    /// `sink` is done with `letter`, which it would not take.
    pub fn bury(&self, sink: &str, letter: &Letter, why: &str) -> Result<(), StoreError> {
        let (said, now) = (&letter.announcement, self.clock.now().as_microsecond());
        self.database.write(Durable::PowerLoss, |t| {
            t.prepare_cached(
                "INSERT OR REPLACE INTO dead_letters
                 (sink, seq, time_us, about, subject, camera, severity, body, died_us, why, again)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0)",
            )?
            .execute(params![
                sink,
                letter.seq,
                letter.time.as_microsecond(),
                said.about,
                said.subject.name(),
                &*said.camera,
                said.severity.map(rank),
                said.body,
                now,
                why
            ])?;
            t.prepare_cached(
                "DELETE FROM dead_letters WHERE sink = ?1 AND seq <=
                 (SELECT seq FROM dead_letters WHERE sink = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![sink, MOST_DEAD as i64])?;
            advance(t, sink, letter.seq)
        })
    }

    /// The newest dead letters of `sink`, oldest first, [`MOST_DEAD`] at most; `again`: only those to be tried again.
    pub fn dead_letters(&self, sink: &str, again: bool) -> Result<Vec<DeadLetter>, StoreError> {
        self.database.read(|c| {
            let sql = format!(
                "SELECT {COLUMNS}, died_us, why FROM dead_letters WHERE sink = ?1 AND again >= ?2 ORDER BY seq"
            );
            let dead = |row: &Row| {
                let died = time(row.get(7)?).unwrap_or(Timestamp::UNIX_EPOCH);
                Ok(DeadLetter { letter: letter(row)?, died, why: text(row, 8)?.0 })
            };
            c.prepare_cached(&sql)?.query_map(params![sink, again], dead)?.collect()
        })
    }

    pub fn count_dead(&self, sink: &str) -> Result<u64, StoreError> {
        self.database.read(|c| {
            let mut query = c.prepare_cached("SELECT count(*) FROM dead_letters WHERE sink = ?1")?;
            query.query_row([sink], count)
        })
    }

    /// Has the dead letters of `sink` tried once more; gives their number.
    pub fn retry_dead(&self, sink: &str) -> Result<usize, StoreError> {
        self.database.write(Durable::PowerLoss, |t| {
            t.execute("UPDATE dead_letters SET again = 1 WHERE sink = ?1", [sink])
        })
    }

    /// A dead letter was delivered after all.
    pub fn revive(&self, sink: &str, seq: i64) -> Result<(), StoreError> {
        self.database.write(Durable::ProcessEnd, |t| {
            t.execute("DELETE FROM dead_letters WHERE sink = ?1 AND seq = ?2", params![sink, seq]).map(drop)
        })
    }

    /// Removes letters that every sink is done with, and those that are too many or too old; gives those of the
    /// latter that each sink was not done with.
    pub fn sweep_outbox(
        &self,
        most: usize,
        oldest: Duration,
    ) -> Result<Vec<(String, Vec<Letter>)>, StoreError> {
        /// Removed in one go: a sweep must not hold up an alert.
        const AT_ONCE: i64 = 1000;
        let before = self.clock.now().checked_sub(oldest).unwrap_or(Timestamp::MIN).as_microsecond();
        self.database.write(Durable::ProcessEnd, |t| {
            let too_many: i64 = t
                .query_row("SELECT seq FROM outbox ORDER BY seq DESC LIMIT 1 OFFSET ?1", [most as i64], |r| {
                    r.get(0)
                })
                .optional()?
                .unwrap_or(0);
            // Up to the first that is not: one whose time a damaged disk has changed takes no others with it.
            let young = "SELECT seq FROM outbox NOT INDEXED WHERE time_us >= ?1 ORDER BY seq LIMIT 1";
            let too_old: i64 = t.query_row(
                &format!("SELECT coalesce(({young}) - 1, (SELECT max(seq) FROM outbox), 0)"),
                [before],
                |r| r.get(0),
            )?;
            let first: i64 = t.query_row("SELECT coalesce(min(seq), 0) FROM outbox", [], |r| r.get(0))?;
            let cut = too_many.max(too_old).min(first + AT_ONCE - 1);
            let mut lost = Vec::new();
            let behind: Vec<(String, i64)> = t
                .prepare("SELECT name, passed FROM sinks WHERE passed < ?1")?
                .query_map([cut], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            for (sink, passed) in behind {
                let sql = format!("SELECT {COLUMNS} FROM outbox WHERE seq > ?1 AND seq <= ?2 ORDER BY seq");
                let mut missed = t.prepare_cached(&sql)?;
                let letters = missed.query_map(params![passed, cut], letter)?.collect::<Result<_, _>>()?;
                advance(t, &sink, cut)?;
                lost.push((sink, letters));
            }
            t.execute(
                "DELETE FROM outbox WHERE seq <= max(?1, coalesce((SELECT min(passed) FROM sinks),
                     (SELECT max(seq) FROM outbox)))",
                [cut],
            )?;
            Ok(lost)
        })
    }

    /// Tells the sinks of the letter that [`post`] wrote.
    pub(super) fn ring(&self, seq: Option<i64>) {
        seq.into_iter().for_each(|seq| self.bell.ring(seq));
    }
}

/// Writes a letter within the transaction of what it tells; gives its number. To be followed by [`Store::ring`].
pub(super) fn post(t: &Transaction, now_us: i64, said: &Announcement) -> rusqlite::Result<i64> {
    t.prepare_cached(
        "INSERT INTO outbox (time_us, about, subject, camera, severity, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        now_us,
        said.about,
        said.subject.name(),
        &*said.camera,
        said.severity.map(rank),
        said.body
    ])?;
    Ok(t.last_insert_rowid())
}

/// A cursor never goes back.
fn advance(t: &Transaction, sink: &str, seq: i64) -> rusqlite::Result<()> {
    t.prepare_cached("UPDATE sinks SET passed = max(passed, ?2) WHERE name = ?1")?
        .execute(params![sink, seq])
        .map(drop)
}

fn rank(severity: Severity) -> i64 {
    match severity {
        Severity::Low => 0,
        Severity::Medium => 1,
        Severity::High => 2,
    }
}

fn time(us: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(us).ok()
}

fn count(row: &Row) -> rusqlite::Result<u64> {
    row.get::<_, i64>(0).map(i64::unsigned_abs)
}

/// Reads as much as can be read. A subject that is none counts as a new alert: the one that nobody is to miss.
fn letter(row: &Row) -> rusqlite::Result<Letter> {
    let mut wrong = vec![];
    let mut see = |what: &'static str, whole: bool| {
        if !whole {
            wrong.push(what);
        }
    };
    let time = time(row.get(1)?);
    see("its time", time.is_some());
    let ((about, whole), (subject, _)) = (text(row, 2)?, text(row, 3)?);
    see("whom it is about", whole);
    let subject = Subject::named(&subject);
    see("what it says", subject.is_some());
    let ((camera, whole), (body, readable)) = (text(row, 4)?, text(row, 6)?);
    see("its camera", whole);
    see("its text", readable && serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok());
    let severity = match row.get::<_, Option<i64>>(5)? {
        None => None,
        Some(0) => Some(Severity::Low),
        Some(1) => Some(Severity::Medium),
        Some(_) => Some(Severity::High),
    };
    let subject = subject.unwrap_or(Subject::AlertNew);
    let announcement = Announcement { about, subject, camera: camera.into(), severity, body };
    let damaged = (!wrong.is_empty())
        .then(|| format!("{} is damaged in the database (see to the disk)", wrong.join(", ")));
    Ok(Letter { seq: row.get(0)?, time: time.unwrap_or(Timestamp::UNIX_EPOCH), announcement, damaged })
}
