//! Databases that earlier versions left behind are opened with everything in them.

use crate::fixture::event;
use rusqlite::{Connection, params};
use sigmawatch::base::{SystemClock, Timestamp};
use sigmawatch::store::{EventFilter, Store};
use std::path::Path;
use std::sync::Arc;

/// Layout 1, as it was released.
const FIRST: &str = "
    CREATE TABLE events (
        id TEXT PRIMARY KEY, camera TEXT NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER,
        top_score REAL NOT NULL, changed_us INTEGER NOT NULL, body TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX events_by_camera ON events (camera, id);
    CREATE INDEX events_by_change ON events (changed_us);
    CREATE INDEX events_open ON events (id) WHERE end_us IS NULL;
    CREATE TABLE cameras (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE scores (
        camera INTEGER NOT NULL REFERENCES cameras (id), time_us INTEGER NOT NULL, score REAL NOT NULL,
        threshold REAL NOT NULL, PRIMARY KEY (camera, time_us)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO cameras VALUES (1, 'yard'), (2, 'gate');
";

/// Layout 2, where it differs.
const SECOND: &str = "
    DROP TABLE scores;
    DROP TABLE cameras;
    CREATE TABLE detectors (
        id INTEGER PRIMARY KEY, camera TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (camera, name)
    ) STRICT;
    CREATE TABLE scores (
        detector INTEGER NOT NULL REFERENCES detectors (id), time_us INTEGER NOT NULL, score REAL NOT NULL,
        threshold REAL NOT NULL, PRIMARY KEY (detector, time_us)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO detectors VALUES (1, 'yard', 'main'), (2, 'gate', 'main'), (3, 'gate', 'fast');
";

/// Seconds since 1970 of the gate's oldest score: a day's beginning.
const BEGIN: i64 = 1_700_006_400;

/// Leaves a database of an earlier layout in `dir`, with events and five minutes of the gate's scores.
fn earlier(dir: &Path, version: u32) {
    let database = Connection::open(dir.join("sigmawatch.sqlite3")).expect("made");
    database.pragma_update(None, "journal_mode", "WAL").expect("set");
    database.execute_batch(FIRST).expect("laid out");
    if version == 2 {
        database.execute_batch(SECOND).expect("laid out");
    }
    for n in 0..3 {
        let mut body = serde_json::to_value(event(n)).expect("plain data");
        let fields = body.as_object_mut().expect("an object");
        fields.remove("review");
        if version == 1 {
            // Events of before detectors had names and factors.
            fields.retain(|name, _| !["detector", "probability", "factors"].contains(&name.as_str()));
        }
        let (id, start) = (event(n).id, event(n).start_time.as_microsecond());
        database
            .execute(
                "INSERT INTO events VALUES (?1, ?2, ?3, ?3, ?4, ?3, ?5)",
                params![id, &*event(n).camera, start, n as f64, body.to_string()],
            )
            .expect("written");
    }
    for n in 0..300 {
        let row = params![BEGIN * 1_000_000 + n * 1_000_000, 1.0 + n as f64 / 256.0];
        database.execute("INSERT INTO scores VALUES (2, ?1, ?2, 2.5)", row).expect("written");
    }
    database.pragma_update(None, "user_version", version).expect("set");
}

#[test]
fn earlier_databases_are_brought_up_to_date_with_all_they_hold() {
    for version in [1, 2] {
        let dir = tempfile::tempdir().expect("temporary folder");
        earlier(dir.path(), version);
        // Opened twice: the second time there is nothing to bring up to date.
        for _ in 0..2 {
            let store = Store::open(dir.path(), Arc::new(SystemClock::default())).expect("opened");
            let page = store.events(&EventFilter::default(), 10).expect("read");
            assert_eq!(page.events.len(), 3, "version {version}");
            assert!(page.events.iter().all(|e| &*e.detector == "main" && e.review.is_none()));
            let at = |second| Timestamp::from_second(second).expect("in range");
            let points = store.scores("gate", "main", at(BEGIN), at(BEGIN + 300), None, 1000).expect("read");
            assert_eq!(points.len(), 300, "version {version}");
            for (n, point) in points.iter().enumerate() {
                assert_eq!(point.time, at(BEGIN + n as i64));
                assert_eq!((point.score, point.threshold), (1.0 + n as f64 / 256.0, 2.5));
            }
            assert!(store.scores("yard", "main", at(0), at(BEGIN + 300), None, 9).expect("read").is_empty());
        }
        let database = Connection::open(dir.path().join("sigmawatch.sqlite3")).expect("opened");
        let said: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("asked");
        assert_eq!(said, "ok");
        let mut check = database.prepare("PRAGMA foreign_key_check").expect("asked");
        assert!(!check.exists([]).expect("ran"), "a row refers to one that is not there");
    }
}
