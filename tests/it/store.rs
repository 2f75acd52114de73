//! The store on a real disk: paging, retention, and what is left after a kill, a tear or a stranger's file.

use crate::fixture::{event, row};
use sigmawatch::alert::Label;
use sigmawatch::base::{SimClock, SystemClock, Timestamp};
use sigmawatch::features::Features;
use sigmawatch::frame::{FrameSpec, PixelFormat};
use sigmawatch::infer::{Covers, ExtractorSpec, Grid, Manifest, ModelSpec};
use sigmawatch::store::{EventFilter, FeatureRing, Limits, Removed, RingSpec, ScoreRow, Store};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Set for the process that [`nothing_acknowledged_is_lost_by_a_kill`] starts and kills.
const CHILD: &str = "SIGMAWATCH_TEST_STORE";

fn open(dir: &Path) -> Store {
    Store::open(dir, Arc::new(SystemClock::default())).expect("opened")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

#[test]
fn events_come_back_whole_and_newest_first_in_pages() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    for n in 0..7 {
        store.put_event(&event(n)).expect("written");
    }
    assert_eq!(store.event(&event(3).id).expect("read"), Some(event(3)));
    let mut filter = EventFilter::default();
    let mut found = Vec::new();
    loop {
        let page = store.events(&filter, 3).expect("read");
        found.extend(page.events.iter().map(|e| e.first_segment));
        let Some(next) = page.next else { break };
        // What opens while somebody leafs through must not shift the pages.
        store.put_event(&event(100 + found.len() as u64)).expect("written");
        filter.cursor = Some(next);
    }
    assert_eq!(found, [6, 5, 4, 3, 2, 1, 0]);
}

#[test]
fn filters_narrow_the_list() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    for n in 0..6 {
        // Even ones at the gate, odd ones in the yard; the last is open. Event n begins at second 1000 + 10 n.
        store.put_event(&event(n)).expect("written");
    }
    let mut open_one = event(5);
    open_one.end_time = None;
    store.put_event(&open_one).expect("written again");
    let list = |filter: EventFilter| -> Vec<u64> {
        let page = store.events(&filter, 100).expect("read");
        page.events.iter().map(|e| e.first_segment).collect()
    };
    let all = EventFilter::default;
    assert_eq!(list(EventFilter { cameras: vec!["yard".into()], ..all() }), [5, 3, 1]);
    assert_eq!(list(EventFilter { cameras: vec!["yard".into(), "gate".into()], ..all() }).len(), 6);
    assert_eq!(list(EventFilter { cameras: vec!["' OR 1 --".into()], ..all() }), [0_u64; 0]);
    assert_eq!(list(EventFilter { after: Some(at(1030)), ..all() }), [5, 4, 3]);
    assert_eq!(list(EventFilter { before: Some(at(1010)), ..all() }), [1, 0]);
    assert_eq!(list(EventFilter { min_score: Some(3.0), max_score: Some(4.0), ..all() }), [4, 3]);
    assert_eq!(list(EventFilter { in_progress: Some(true), ..all() }), [5]);
    assert_eq!(list(EventFilter { in_progress: Some(false), ..all() }), [4, 3, 2, 1, 0]);
}

#[test]
fn no_later_change_of_an_event_undoes_its_review() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    let mut open_one = event(1);
    open_one.end_time = None;
    assert_eq!(store.put_event(&open_one).expect("written").review, None);
    assert_eq!(store.review(&event(2).id, Some(Label::Unsure), "", None).expect("no such event"), None);
    let reviewed =
        store.review(&open_one.id, Some(Label::TrueAlarm), "a thief", Some("ada")).expect("written");
    let review = reviewed.expect("the event").review.expect("reviewed");
    assert_eq!(
        (review.label, &*review.note, review.by.as_deref()),
        (Some(Label::TrueAlarm), "a thief", Some("ada"))
    );
    // The tracker knows nothing of it, and goes on.
    open_one.top_score = 9.0;
    assert_eq!(store.put_event(&open_one).expect("written").review.as_ref(), Some(&review));
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.close_open_events(|_| None).expect("closed").len(), 1);
    let kept = store.event(&open_one.id).expect("read").expect("there");
    assert_eq!((kept.top_score, kept.review.as_ref()), (9.0, Some(&review)));
    assert!(kept.end_time.is_some());
    assert_eq!(store.events_changed_since(at(0), 10).expect("read"), [kept]);
}

#[test]
fn what_was_left_open_is_closed_when_it_was_last_seen() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let mut lost = event(1);
    lost.end_time = None;
    open(dir.path()).put_event(&lost).expect("written");
    let store = open(dir.path());
    let closed = store.close_open_events(|_| None).expect("closed");
    assert_eq!(closed.len(), 1);
    assert_eq!(store.event(&lost.id).expect("read").expect("there").end_time, Some(lost.last_time));
    assert!(store.close_open_events(|_| None).expect("again").is_empty());
}

#[test]
fn a_peak_survives_thinning_out() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    let row = |second: i64, score: f32| ScoreRow {
        detector: "main".into(),
        camera: "gate".into(),
        time: at(second),
        score,
        threshold: 2.0 + second as f64,
    };
    let mut rows: Vec<_> = (0..100).map(|s| row(s, 1.0)).collect();
    rows[37].score = 9.0;
    rows.push(row(200, f32::NAN));
    assert_eq!(store.put_scores(&rows).expect("written"), 1, "the one that is not finite is left out");
    let read = |step| store.scores("gate", "main", at(0), at(1000), step, 1000).expect("read");
    assert_eq!(read(None).len(), 100);
    let thin = read(Some(Duration::from_secs(10)));
    assert_eq!(thin.len(), 10);
    assert_eq!((thin[3].time, thin[3].score, thin[3].threshold), (at(37), 9.0, 39.0));
    assert_eq!(store.scores("gate", "main", at(10), at(20), None, 1000).expect("read").len(), 10);
    let newest = store.scores("gate", "main", at(0), at(1000), None, 5).expect("read");
    assert_eq!(newest.iter().map(|p| p.time).collect::<Vec<_>>(), (95..100).map(at).collect::<Vec<_>>());
    assert!(store.scores("yard", "main", at(0), at(1000), None, 5).expect("read").is_empty());
}

#[test]
fn what_is_too_old_goes_with_its_pictures() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let clock = Arc::new(SimClock::new(at(2000)));
    let store = Store::open(dir.path(), clock.clone()).expect("opened");
    let mut still_open = event(1);
    still_open.end_time = None;
    for e in [event(0), still_open.clone(), event(50)] {
        store.put_event(&e).expect("written");
        store.put_snapshot(&e.id, b"large", b"small").expect("written");
        store.put_similar(&e.id, &[Some(b"first"), None, Some(b"third")]).expect("written");
    }
    let row = |s| row(at(s));
    store.put_scores(&[row(1000), row(1900)]).expect("written");
    let limits = Limits {
        keep: Duration::from_secs(1500),
        keep_reviewed: Duration::from_secs(1500),
        max_size: u64::MAX,
        min_free: 0,
    };
    assert_eq!(store.retain(&limits).expect("kept").0, Removed::default());
    clock.advance(Duration::from_secs(1000));
    assert_eq!(
        store.retain(&limits).expect("kept").0,
        Removed { age: 1, ..Removed::default() },
        "open events stay"
    );
    assert_eq!(store.event(&event(0).id).expect("read"), None);
    assert_eq!(store.snapshot(&event(0).id).expect("read"), None);
    assert_eq!(store.thumbnail(&event(50).id).expect("read").as_deref(), Some(&b"small"[..]));
    let similar = |n: u64, which| store.similar(&event(n).id, which).expect("read");
    assert_eq!(
        [similar(0, 1), similar(0, 3), similar(50, 0), similar(50, 2), similar(50, 4)],
        [const { None }; 5]
    );
    assert_eq!(similar(50, 3).as_deref(), Some(&b"third"[..]));
    assert_eq!(store.scores("gate", "main", at(0), at(5000), None, 10).expect("read").len(), 1);
}

#[test]
fn where_there_is_too_much_the_oldest_goes_and_what_was_reviewed_last() {
    const HOUR: u64 = 3600;
    let dir = tempfile::tempdir().expect("temporary folder");
    let clock = Arc::new(SimClock::new(at(1000)));
    let store = Store::open(dir.path(), clock.clone()).expect("opened");
    // Event 360 n begins n hours after the first; each has a picture of a megabyte.
    for n in 0..6 {
        store.put_event(&event(360 * n)).expect("written");
        store.put_snapshot(&event(360 * n).id, &[1; 1_000_000], b"small").expect("written");
        store.put_scores(&[row(event(360 * n).start_time)]).expect("written");
    }
    store.review(&event(0).id, Some(Label::TrueAlarm), "", None).expect("reviewed");
    clock.advance(Duration::from_secs(5 * HOUR + 600));
    let year = Duration::from_secs(365 * 24 * HOUR);
    let limits = Limits { keep: year, keep_reviewed: year, max_size: u64::MAX, min_free: 0 };
    let left = |limits: Limits| {
        store.retain(&limits).expect("kept");
        let page = store.events(&EventFilter::default(), 100).expect("read");
        page.events.iter().map(|e| e.first_segment / 360).collect::<Vec<_>>()
    };
    assert_eq!(left(limits), [5, 4, 3, 2, 1, 0]);
    let (_, kept) = store.retain(&limits).expect("kept");
    assert!(kept.pictures > 6_000_000 && kept.database > 10_000, "{kept:?}");
    assert_eq!(left(Limits { max_size: kept.database + 4_500_000, ..limits }), [5, 4, 3, 0]);
    assert_eq!(store.snapshot(&event(360).id).expect("read"), None);
    assert_eq!(store.scores("gate", "main", at(0), at(99_999), None, 10).expect("read").len(), 3);
    // No disk has so much room: everything may go but the last hour, reviewed or not.
    assert_eq!(left(Limits { min_free: u64::MAX, ..limits }), [5]);
}

#[test]
fn pictures_without_an_event_are_swept_at_the_start() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    store.put_event(&event(1)).expect("written");
    for id in [event(1).id, event(2).id] {
        store.put_snapshot(&id, b"large", b"small").expect("written");
        store.put_similar(&id, &[Some(b"first")]).expect("written");
    }
    let half_written = dir.path().join(format!("snapshots/{}.jpg.123.part", event(1).id));
    std::fs::write(&half_written, b"la").expect("written");
    drop(store);
    let store = open(dir.path());
    assert!(store.snapshot(&event(1).id).expect("read").is_some());
    assert!(store.snapshot(&event(2).id).expect("read").is_none());
    assert!(store.similar(&event(1).id, 1).expect("read").is_some());
    assert!(store.similar(&event(2).id, 1).expect("read").is_none());
    assert!(!half_written.exists());
    assert_eq!(store.snapshot("../../lock").expect("no such id"), None);
    assert!(store.put_snapshot("../escape", b"", b"").is_err());
}

#[test]
fn two_daemons_do_not_share_a_folder() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let _first = open(dir.path());
    let message =
        Store::open(dir.path(), Arc::new(SystemClock::default())).err().expect("refused").to_string();
    assert!(message.contains("another sigmawatch") && message.contains("store.dir"), "{message}");
}

#[test]
fn what_a_daemon_keeps_is_read_beside_it_and_never_written() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let clock = || Arc::new(SystemClock::default());
    let refusal = |dir: &Path| Store::read_only(dir, clock()).err().expect("refused").to_string();
    assert!(refusal(dir.path()).contains("there is no such database"), "{}", refusal(dir.path()));
    let daemon = open(dir.path());
    daemon.put_event(&event(1)).expect("written");
    let reader = Store::read_only(dir.path(), clock()).expect("opened beside the daemon");
    daemon.put_event(&event(2)).expect("written");
    let found = reader.events(&EventFilter::default(), 9).expect("read").events;
    assert_eq!(found, [event(2), event(1)]);
    let message = reader.put_event(&event(3)).expect_err("read only").to_string();
    assert!(message.contains("readonly"), "{message}");
    drop((daemon, reader));
    assert!(Store::read_only(dir.path(), clock()).is_ok(), "nor need there be a daemon");
    let database = rusqlite::Connection::open(dir.path().join("sigmawatch.sqlite3")).expect("opened");
    database.pragma_update(None, "user_version", 1).expect("written");
    assert!(refusal(dir.path()).contains("bring it up to date"), "{}", refusal(dir.path()));
}

#[test]
fn a_newer_layout_is_refused_with_a_remedy_and_stays_where_it_is() {
    let dir = tempfile::tempdir().expect("temporary folder");
    drop(open(dir.path()));
    let file = dir.path().join("sigmawatch.sqlite3");
    let database = rusqlite::Connection::open(&file).expect("opened");
    database.pragma_update(None, "user_version", 999).expect("written");
    drop(database);
    let refused =
        Store::open(dir.path(), Arc::new(SystemClock::default())).err().expect("refused").to_string();
    assert!(refused.contains("sigmawatch.sqlite3"), "{refused}");
    assert!(refused.contains("version 999") && refused.contains("newer sigmawatch"), "{refused}");
    assert!(file.exists());
}

/// Where the gate's features of an extractor are.
fn ring(store: &Store) -> PathBuf {
    let spec = ExtractorSpec {
        frame: FrameSpec { width: 64, height: 64, format: PixelFormat::Gray8, fps: 10.0 },
        frames: 16,
        grid: Grid { rows: 4, cols: 4 },
        covers: Covers::default(),
        dims: 60,
        channels: vec!["energy".into(); 60],
    };
    let extractor = Manifest {
        format: 1,
        name: "v1".into(),
        version: "1".into(),
        licence: "MIT".into(),
        provenance: "a test".into(),
        spec: ModelSpec::Extractor(spec),
    };
    store.layout().ring(&"gate".into(), &extractor, 4)
}

/// Not a test of its own: what runs in the process that the next test kills.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let store = open(Path::new(&dir));
    let path = ring(&store);
    let spec = RingSpec { extractor: "v1 1".into(), regions: 16, dims: 60, capacity: 10 };
    let mut ring = FeatureRing::open(&path, &spec).expect("opened");
    for n in 0.. {
        store.put_event(&event(n)).expect("written");
        store.put_snapshot(&event(n).id, &[1; 20_000], &[2; 2_000]).expect("written");
        let features = Features { regions: 16, dims: 60, values: vec![n as f32; 960] };
        ring.append(n as f64, 0, &features).expect("appended");
        println!("done {n}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "store::child_that_writes_until_it_is_killed", "--nocapture"])
        .env(CHILD, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut last = 0;
    for line in BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok) {
        // The harness prints the test's name on the first line before it.
        if let Some(n) = line.rsplit("done ").next().and_then(|n| n.parse::<u64>().ok()) {
            last = n;
        }
        if last == 25 {
            child.kill().expect("killed");
            break;
        }
    }
    child.wait().expect("gone");
    assert_eq!(last, 25, "the child wrote until it was killed");
    let store = open(dir.path());
    for n in 0..=25 {
        assert_eq!(store.event(&event(n).id).expect("read"), Some(event(n)), "event {n}");
        assert_eq!(store.snapshot(&event(n).id).expect("read").expect("there").len(), 20_000);
    }
    let (_, records) = FeatureRing::read(&ring(&store)).expect("readable");
    assert!(records.len() >= 9, "at most the record that was being written is torn: {}", records.len());
    assert!(records.iter().all(|r| r.features.values.iter().all(|v| f64::from(*v) == r.time_seconds)));
    assert!(records.is_sorted_by(|a, b| a.time_seconds < b.time_seconds));
}
