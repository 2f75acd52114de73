//! The daemon killed at any moment while it alerts: nothing that was told is lost, nothing is half there.

use crate::daemon::{Says, write_scorer};
use crate::program::{Daemon, Home};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rusqlite::{Connection, OptionalExtension};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// How often it is killed, where `SIGMAWATCH_KILLS` says nothing.
const KILLS: u32 = 12;

/// What the stream told of one event.
#[derive(Debug, Default)]
struct Told {
    times: u32,
    start: String,
    last_segment: u64,
    over: bool,
}

fn told(known: &mut BTreeMap<String, Told>, topic: &str, event: &Value) {
    if !topic.starts_with("alert.") {
        return;
    }
    let told = known.entry(event["id"].as_str().expect("an id").to_owned()).or_default();
    let start = event["start_time"].as_str().expect("a time");
    assert!(told.times == 0 || told.start == start, "two incidents share an id: {event}");
    told.times += 1;
    told.start = start.to_owned();
    told.last_segment = told.last_segment.max(event["segments"]["last"].as_u64().expect("a number"));
    told.over |= topic == "alert.end";
}

/// What a kill left, as it lies there.
fn look(data: &Path, known: &BTreeMap<String, Told>, looked_at: &mut HashSet<String>) {
    let database = Connection::open(data.join("sigmawatch.sqlite3")).expect("opened");
    let said: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("asked");
    assert_eq!(said, "ok");
    let mut stored = database.prepare("SELECT body FROM events WHERE id = ?1").expect("prepared");
    for (id, told) in known {
        let body: Option<String> = stored.query_row([id], |row| row.get(0)).optional().expect("read");
        let body = body.unwrap_or_else(|| panic!("{id} was told and is not in the store: {told:?}"));
        let event: Value = serde_json::from_str(&body).expect("whole");
        assert_eq!(event["start_time"], told.start.as_str());
        assert!(event["last_segment"].as_u64() >= Some(told.last_segment), "{told:?} is newer than {event}");
        assert!(!told.over || !event["end_time"].is_null(), "it was told to be over: {event}");
    }
    let starts: (i64, i64) = database
        .query_row("SELECT count(*), count(DISTINCT start_us) FROM events", [], |r| {
            Ok((r.get(0)?, r.get(1)?))
        })
        .expect("counted");
    assert_eq!(starts.0, starts.1, "one incident has two ids");
    for entry in std::fs::read_dir(data.join("snapshots")).expect("there").flatten() {
        let name = entry.file_name().into_string().expect("text");
        // A leading dot: not yet given its name, and swept at the next start.
        if !name.starts_with('.') && looked_at.insert(name.clone()) {
            let picture = std::fs::read(entry.path()).expect("read");
            image::load_from_memory(&picture).unwrap_or_else(|e| panic!("{name} is half a picture: {e}"));
        }
    }
}

#[test]
fn no_kill_loses_or_corrupts_anything() {
    let kills = std::env::var("SIGMAWATCH_KILLS").map_or(KILLS, |n| n.parse().expect("a number of kills"));
    let home = Home::new("", "");
    write_scorer(&home.path("either.onnx"), 96, 64, Says::Either);
    let rule = "open_n = 1\nopen_m = 1\nclose_after = \"100ms\"";
    home.configure(
        &format!("width = 96\nheight = 64\nscorer = \"either.onnx\"\n{rule}"),
        "[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"\nreal_time = false\n",
    );
    let (mut known, mut looked_at) = (BTreeMap::new(), HashSet::new());
    let (mut random, began) = (SmallRng::seed_from_u64(4), Instant::now());
    for kill in 0..kills {
        let daemon: Daemon = home.start();
        let stream = daemon.stream();
        // Sometimes before the first alert, mostly in the middle of many.
        let end = Instant::now() + Duration::from_millis(random.random_range(0..1500));
        while let Ok((topic, event)) = stream.recv_timeout(end.saturating_duration_since(Instant::now())) {
            told(&mut known, &topic, &event);
        }
        daemon.signal(Signal::KILL);
        let (status, ..) = daemon.wait();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "kill {kill}");
        // What was on its way when it was killed was told, too.
        stream.iter().for_each(|(topic, event)| told(&mut known, &topic, &event));
        look(&home.path("data"), &known, &mut looked_at);
    }
    println!(
        "{kills} kills in {:.0} s: {} events told {} times, all there; {} pictures, all whole",
        began.elapsed().as_secs_f64(),
        known.len(),
        known.values().map(|t| u64::from(t.times)).sum::<u64>(),
        looked_at.len()
    );
    assert!(known.len() as u32 > 2 * kills, "too few alerts to say anything: {}", known.len());
    // The next start ends what was left open and takes away what has no owner.
    let daemon = home.start();
    let listed = daemon.json("/api/events?limit=1&in_progress=false");
    assert_eq!(listed["events"].as_array().map(Vec::len), Some(1));
    daemon.stop();
}
