//! Stores that cannot be written or read: what waits, what is put aside, what goes for want of room.

use crate::daemon::{Says, write_scorer};
use crate::fixture::{event, row};
use crate::program::{Daemon, Home};
use crate::sink_place::{Place, ids, lines, wait_for};
use rusqlite::Connection;
use sigmawatch::alert::{Change, Clip, Event};
use sigmawatch::api::{Sinks, announce_event};
use sigmawatch::base::{SimClock, SystemClock, Timestamp};
use sigmawatch::store::{EventFilter, Limits, MOST_CHANGES, MOST_SCORES, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn open(dir: &Path) -> Store {
    Store::open(&dir.join("data"), Arc::new(SystemClock::default())).expect("opened")
}

fn database(dir: &Path) -> PathBuf {
    dir.join("data/sigmawatch.sqlite3")
}

/// Another program's lock, until it is dropped.
fn lock(dir: &Path) -> Connection {
    let other = Connection::open(database(dir)).expect("opened");
    other.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    other
}

/// As the desk does it; whether it is on disk.
fn keep(store: &Store, change: Change, event: &Event) -> bool {
    let _in_order = store.in_order();
    store.keep(change, event, announce_event(change, event)).is_some()
}

/// As the keeper does it; the numbers of events that may be told as kept.
fn catch_up(store: &Store) -> Vec<String> {
    let mut told = vec![];
    while let Some(event) = store.catch_up().expect("writable") {
        let _in_order = store.in_order();
        told.extend(store.caught_up(&event).then_some(event.id));
    }
    store.catch_up_scores().expect("writable");
    told
}

#[test]
fn what_is_locked_out_waits_in_its_order_and_only_the_first_waits_for_the_lock() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path());
    assert!(keep(&store, Change::New, &event(0)));
    let other = lock(dir.path());
    let open = |n| Event { end_time: None, ..event(n) };
    let began = Instant::now();
    assert!(!keep(&store, Change::New, &open(2)));
    let first = began.elapsed();
    assert!(first < Duration::from_secs(2), "{first:?}");
    let began = Instant::now();
    for (change, event) in [(Change::New, open(4)), (Change::Update, open(2)), (Change::Update, open(2))] {
        assert!(!keep(&store, change, &event));
    }
    assert!(!keep(&store, Change::End, &event(2)));
    store.keep_scores(&[row(Timestamp::now())]);
    let rest = began.elapsed();
    assert!(rest < Duration::from_millis(100), "others do not wait for the lock: {rest:?}");
    let health = store.health();
    // The two updates are one.
    assert_eq!(health.waiting, 4);
    assert!(health.trouble.expect("said").0.contains("another program"), "in words");
    assert!(store.catch_up().is_err());
    drop(other);
    assert_eq!(catch_up(&store), [event(4).id, event(2).id], "what was not the newest state is not told");
    assert_eq!(store.health(), Default::default());
    assert_eq!(store.event(&event(2).id).expect("read"), Some(event(2)));
    let letters = store.letters_after(0, 10).expect("read");
    let said: Vec<_> =
        letters.iter().map(|l| (l.announcement.subject.name(), &l.announcement.about[33..])).collect();
    let (zero, two, four) = ("000", "002", "004");
    assert_eq!(
        said,
        [
            ("alert.new", zero),
            ("alert.new", two),
            ("alert.new", four),
            ("alert.update", two),
            ("alert.end", two)
        ]
    );
    assert_eq!(
        store.scores("gate", "main", Timestamp::UNIX_EPOCH, Timestamp::now(), None, 9).expect("read").len(),
        1
    );
}

#[test]
fn a_sink_is_told_when_it_is_on_disk_and_not_before() {
    let place = Place::new();
    let posts = place.start("[[sink]]\nname = \"log\"\nkind = \"jsonl\"\npath = \"log.jsonl\"\n");
    let other = lock(&place.dir);
    for n in 0..20 {
        assert!(!keep(&place.store, Change::New, &event(n)));
    }
    std::thread::sleep(Duration::from_millis(300));
    let told = || lines(&place.dir.join("log.jsonl"));
    assert!(told().is_empty(), "nothing is on disk");
    drop(other);
    assert_eq!(catch_up(&place.store), ids(0..20));
    wait_for("all are told", || (told().len() == 20).then_some(()));
    let said: Vec<_> = told().iter().map(|line| line["id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(said, ids(0..20));
    posts.stop();
}

#[test]
fn what_waits_is_bounded_and_what_is_given_up_is_counted() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path());
    let _other = lock(dir.path());
    let most = MOST_CHANGES as u64;
    for n in 0..most {
        // Updates of two events in three, each of an event of its own.
        let change = if n % 3 == 0 { Change::New } else { Change::Update };
        keep(&store, change, &event(n));
    }
    assert_eq!((store.health().waiting, store.health().dropped), (MOST_CHANGES, 0));
    for n in most..most + 10 {
        keep(&store, Change::New, &event(n));
    }
    assert_eq!((store.health().waiting, store.health().dropped), (MOST_CHANGES, 10));
    let rows: Vec<_> = (0..MOST_SCORES as i64 + 5)
        .map(|ms| row(Timestamp::from_millisecond(ms).expect("in range")))
        .collect();
    store.keep_scores(&rows);
    assert_eq!(store.health().dropped_scores, 5);
    drop(_other);
    catch_up(&store);
    let kept = |n: u64| store.event(&event(n).id).expect("read").is_some();
    assert!((0..most + 10).filter(|n| n % 3 == 0).all(kept), "no new alert was given up");
    assert!(!kept(1) && kept(most - 2), "the oldest updates were");
}

/// What a store holds that was damaged so, while nobody used it, and whether it was put aside.
fn reopened(name: &str, damage: impl Fn(&Path)) -> (usize, Vec<String>) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path());
    for n in 0..300 {
        store.put_event(&event(n)).expect("written");
        store.put_snapshot(&event(n).id, b"large", b"small").expect("written");
    }
    // As a kill leaves it: the log is not written back.
    let live = dir.path().join("live");
    std::fs::create_dir(&live).expect("made");
    for end in ["", "-wal"] {
        let file = format!("sigmawatch.sqlite3{end}");
        std::fs::copy(dir.path().join("data").join(&file), live.join(&file)).expect("copied");
    }
    drop(store);
    for end in ["", "-wal"] {
        let file = format!("sigmawatch.sqlite3{end}");
        std::fs::copy(live.join(&file), dir.path().join("data").join(&file)).expect("copied");
    }
    damage(dir.path());
    let began = Instant::now();
    let store = open(dir.path());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{name}: {took:?}");
    let events = store.all_events(EventFilter::default()).expect("readable").len();
    assert!(store.put_event(&event(999)).is_ok(), "{name}: writable");
    let aside = store.put_aside();
    for folder in &aside {
        let folder = dir.path().join("data").join(folder);
        assert!(folder.join("sigmawatch.sqlite3").exists(), "{name}: kept");
        assert_eq!(
            std::fs::read_dir(folder.join("snapshots")).expect("kept").count(),
            600,
            "{name}: and its pictures"
        );
    }
    (events, aside)
}

/// Changes the file's bytes.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("read");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn a_damaged_database_is_put_aside_at_the_start_and_never_removed() {
    let (events, aside) = reopened("nothing", |_| {});
    assert_eq!((events, aside.len()), (300, 0));
    let (events, aside) = reopened("garbage", |dir| {
        let _ = std::fs::remove_file(dir.join("data/sigmawatch.sqlite3-wal"));
        change(&database(dir), |bytes| bytes.fill(0xA5));
    });
    assert_eq!((events, aside.len()), (0, 1));
    let (events, aside) = reopened("a page lost", |dir| {
        // The log written back, then the root of a table overwritten.
        Connection::open(database(dir))
            .expect("opened")
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
            .expect("done");
        change(&database(dir), |bytes| bytes[4096..3 * 4096].fill(0xA5));
    });
    assert_eq!((events, aside.len()), (0, 1));
    let (events, aside) = reopened("a letter of a table's text", |dir| {
        Connection::open(database(dir))
            .expect("opened")
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
            .expect("done");
        change(&database(dir), |bytes| {
            let text = b"CREATE TABLE clips (";
            let places: Vec<usize> =
                (0..bytes.len() - text.len()).filter(|at| bytes[*at..].starts_with(text)).collect();
            assert!(!places.is_empty());
            for at in places {
                // What was there before lies about, too, perhaps cut off.
                if let Some(column) = bytes[at..].windows(4).position(|part| part == b"body") {
                    bytes[at + column + 1] = b'i';
                }
            }
        });
    });
    assert_eq!((events, aside.len()), (0, 1));
    let (events, aside) = reopened("half a log", |dir| {
        let wal = dir.join("data/sigmawatch.sqlite3-wal");
        change(&wal, |bytes| bytes.truncate(bytes.len() / 2));
    });
    // What was written back before is whole; of the log, what lies before the cut.
    assert!(aside.len() == 1 || events > 0, "{events} {aside:?}");
}

#[test]
fn an_event_whose_text_is_damaged_is_left_out_and_the_others_are_there() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path());
    (0..5).for_each(|n| drop(store.put_event(&event(n)).expect("written")));
    drop(store);
    let other = Connection::open(database(dir.path())).expect("opened");
    other.execute("UPDATE events SET body = 'x' || body WHERE id = ?1", [event(2).id]).expect("changed");
    drop(other);
    let store = open(dir.path());
    let page = store.events(&EventFilter::default(), 3).expect("read");
    let listed: Vec<u64> = page.events.iter().map(|event| event.first_segment).collect();
    assert_eq!((listed, page.next), (vec![4, 3], Some(event(2).id)));
    assert_eq!(store.all_events(EventFilter::default()).expect("read").len(), 4);
    assert_eq!(store.events_changed_since(Timestamp::UNIX_EPOCH, 9).expect("read").len(), 4);
    // Written again it is whole; where its review is damaged, that holds up nobody.
    assert!(keep(&store, Change::Update, &event(2)));
    assert_eq!(store.event(&event(2).id).expect("read"), Some(event(2)));
    store.review(&event(3).id, None, "seen", None).expect("written");
    let other = Connection::open(database(dir.path())).expect("opened");
    other.execute("UPDATE reviews SET note = CAST(x'e7' AS TEXT)", []).expect("changed");
    assert!(keep(&store, Change::Update, &event(3)));
    assert_eq!(store.all_events(EventFilter::default()).expect("read").len(), 4);
}

#[test]
fn a_database_that_is_damaged_while_it_is_used_is_put_aside_and_sinks_go_on() {
    let place = Place::new();
    let posts = place.start("[[sink]]\nname = \"log\"\nkind = \"jsonl\"\npath = \"log.jsonl\"\n");
    let told = || lines(&place.dir.join("log.jsonl")).len();
    place.announce(0..300);
    wait_for("told", || (told() == 300).then_some(()));
    assert_eq!(place.store.mend().expect("well"), None);
    let other = Connection::open(database(&place.dir)).expect("opened");
    other.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("written back");
    drop(other);
    // In place, as a disk does it: the file is the same one.
    let length = std::fs::metadata(database(&place.dir)).expect("there").len();
    let mut file = std::fs::OpenOptions::new().write(true).open(database(&place.dir)).expect("opened");
    std::io::Write::write_all(&mut file, &vec![0xA5; length as usize]).expect("written");
    let found = wait_for("the damage is noticed", || {
        let _ = keep(&place.store, Change::New, &event(300));
        let _ = place.store.all_events(EventFilter::default());
        place.store.mend().expect("put aside")
    });
    assert!(found.join("sigmawatch.sqlite3").exists());
    assert_eq!(place.store.put_aside().len(), 1);
    catch_up(&place.store);
    assert_eq!(place.store.event(&event(300).id).expect("read"), Some(event(300)));
    place.announce(301..310);
    let newest = ids(309..310).remove(0);
    wait_for("told of what came after", || {
        lines(&place.dir.join("log.jsonl")).iter().any(|line| line["id"] == newest.as_str()).then_some(())
    });
    posts.stop();
}

#[test]
fn where_the_disk_lacks_room_clips_go_first_and_of_the_last_hour_only_they() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let at = |second| Timestamp::from_second(second).expect("in range");
    // The second event is hours older than the third, and the first than both.
    let clock = Arc::new(SimClock::new(at(1000)));
    let store = Store::open(dir.path(), clock.clone()).expect("opened");
    let numbers = [0, 1000, 2000];
    for n in numbers {
        store.put_event(&event(n)).expect("written");
        let files = store.clip_files(&event(n).id).expect("an id");
        std::fs::write(files.part(), vec![7; 1000]).expect("written");
        let clip = Clip {
            bytes: 0,
            start: at(0),
            seconds: 1.0,
            codec: "H.264".into(),
            encoded_here: false,
            lacks: vec![],
        };
        store.put_clip(files, clip).expect("written");
    }
    clock.advance(Duration::from_secs(20_100));
    let year = Duration::from_secs(365 * 86_400);
    let limits = Limits { keep: year, keep_reviewed: year, max_size: u64::MAX, min_free: 0 };
    assert_eq!(store.retain(&limits).expect("kept").0.clips, 0);
    let (removed, kept) = store.retain(&Limits { min_free: u64::MAX, ..limits }).expect("kept");
    assert_eq!((removed.clips, removed.size, kept.clips), (3, 2, 0));
    let left = store.all_events(EventFilter::default()).expect("read");
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].first_segment, &left[0].clip), (2000, &None));
    assert_eq!(std::fs::read_dir(dir.path().join("clips")).expect("lists").count(), 0);
}

/// Flips one bit of the letter `at` wherever the file holds `text`.
fn flip(dir: &Path, text: &str, at: usize) {
    let other = Connection::open(database(dir)).expect("opened");
    other.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("written back");
    drop(other);
    change(&database(dir), |bytes| {
        let is_there = |place: &usize| bytes[*place..].starts_with(text.as_bytes());
        let places: Vec<usize> = (0..bytes.len()).filter(is_there).collect();
        assert!(!places.is_empty(), "{text}");
        // The high bit: what comes is no text any more.
        places.into_iter().for_each(|place| bytes[place + at] ^= 0x80);
    });
}

#[test]
fn a_letter_that_is_damaged_is_a_dead_one_and_those_behind_it_are_told() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let log = "[[sink]]\nname = \"log\"\nkind = \"jsonl\"\npath = \"log.jsonl\"\n";
    let two = format!("{log}{}", log.replace("log", "other"));
    {
        let place = Place::at(dir.path());
        place.start(&two).stop();
        place.announce(0..12);
    }
    // Of a camera's name, and of what is said.
    flip(dir.path(), &format!("{}alert.newgate", event(2).id), 36 + 10);
    flip(dir.path(), &format!("{}alert.newyard", event(5).id), 36 + 7);
    let other = Connection::open(database(dir.path())).expect("opened");
    let of = |n| format!("WHERE about = '{}'", event(n).id);
    other
        .execute_batch(&format!(
            "UPDATE outbox SET body = replace(body, '{{', 'z') {};
             UPDATE outbox SET time_us = time_us - (1 << 62) {};
             -- It can be read, and is older than anything that is kept: those before it stay all the same.
             UPDATE outbox SET time_us = -1 {};
             -- How far a sink is, and a sink's name.
             UPDATE sinks SET passed = passed + (1 << 40) WHERE name = 'log';
             UPDATE sinks SET name = CAST(x'6f74e86572' AS TEXT) WHERE name = 'other';
             INSERT INTO told_states VALUES (CAST(x'e761' AS TEXT), CAST(x'e76c' AS TEXT));",
            of(7),
            of(9),
            of(10)
        ))
        .expect("changed");
    drop(other);
    let place = Place::at(dir.path());
    let posts = place.start(&two);
    posts.sweep().expect("swept");
    let whole: Vec<String> = [0, 1, 3, 4, 6, 8, 10, 11].map(|n| event(n).id).into();
    for (number, name) in ["log", "other"].into_iter().enumerate() {
        let file = dir.path().join(format!("{name}.jsonl"));
        let told = || {
            lines(&file)
                .iter()
                .map(|line| line["id"].as_str().unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
        };
        wait_for("those that are whole are told", || (told() == whole).then_some(()));
        let why: Vec<String> =
            posts.dead(name).expect("read").expect("a sink").into_iter().map(|dead| dead.why).collect();
        assert_eq!(why.len(), 4, "{name}: {why:?}");
        for (what, why) in ["its camera", "what it says", "its text", "its time"].iter().zip(&why) {
            assert!(why.contains(what) && why.contains("damaged"), "{why}");
        }
        // What is left of three of them can be told after all; of a text that is none, nothing.
        posts.retry(name).expect("written");
        wait_for("tried again", || posts.list().ok().filter(|list| list[number].dead_letters == 1));
        assert_eq!(told().len(), whole.len() + 3);
    }
    assert!(place.store.told_states().is_ok());
    posts.stop();
}

#[test]
fn a_setting_that_is_damaged_is_said_once_and_the_configuration_holds() {
    let home = Home::new("", "");
    write_scorer(&home.path("always.onnx"), 96, 64, Says::Unusual);
    let cameras =
        ["gate", "yard"].map(|name| format!("[[camera]]\nname = \"{name}\"\nsource = \"synthetic\"\n"));
    home.configure("width = 96\nheight = 64\nscorer = \"always.onnx\"", &cameras.concat());
    let switch_off = |daemon: &Daemon, camera: &str| {
        let path = daemon.address(&format!("/api/cameras/{camera}/detect"));
        ureq::post(path).send_json(serde_json::json!({"on": false})).expect("switched off");
    };
    let on = |daemon: &Daemon, camera: &str| daemon.camera(camera)["detect"]["on"].as_bool().expect("said");
    let daemon = home.start();
    switch_off(&daemon, "gate");
    switch_off(&daemon, "yard");
    daemon.stop();
    flip(&home.path(""), "detect/gateoff", 12);
    let daemon = home.start();
    assert!(on(&daemon, "gate") && !on(&daemon, "yard"));
    for _ in 0..3 {
        assert_eq!(daemon.post("/api/config/reload").status(), 200);
        drop(daemon.json("/api/cameras"));
    }
    let said = || daemon.log().matches("damaged in the database: whether `gate` is to alert").count();
    assert_eq!(said(), 1, "{}", daemon.log());
    switch_off(&daemon, "gate");
    daemon.stop();
    let daemon = home.start();
    assert!(!on(&daemon, "gate"), "what is set anew holds");
    daemon.stop();
}
