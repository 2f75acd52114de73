//! Backtests by the program and by its API: over stored scores with known alarms, over what a daemon saw, and how fast.

use crate::clips::{mp4, render};
use crate::daemon::{Says, write_scorer};
use crate::fixture::event;
use crate::program::{Home, sigmawatch};
use serde_json::{Value, json};
use sigmawatch::alert::{Event, Label};
use sigmawatch::api::{BacktestBody, Subject, over_store};
use sigmawatch::base::{SystemClock, Timestamp};
use sigmawatch::config::Baseline;
use sigmawatch::store::{EventFilter, ScoreRow, Store};
use sigmawatch::threshold::{DayParts, History, Judging, Rule, Setting, Threshold, any_overlaps};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PLAZA: &str = "[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"\n";
const HOUR: i64 = 3600;

fn store(home: &Home) -> Store {
    Store::open(&home.path("data"), Arc::new(SystemClock::default())).expect("opened")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

/// Two days ago, at a whole hour.
fn begin() -> i64 {
    Timestamp::now().as_second() / HOUR * HOUR - 48 * HOUR
}

fn row(second: i64, score: f32) -> ScoreRow {
    let (camera, detector) = ("plaza".into(), "main".into());
    ScoreRow { camera, detector, time: at(second), score, threshold: 2.5 }
}

/// The plaza's `n`-th event, from one second to another.
fn event_of(n: u64, from: i64, to: i64, score: f32) -> Event {
    Event {
        camera: "plaza".into(),
        start_time: at(from),
        last_time: at(to),
        end_time: Some(at(to)),
        top_score: score,
        ..event(n)
    }
}

/// A home of a plaza that was watched for six hours by a scorer of mu 1 and sigma 0.5, a score a second: 1 but for four
/// peaks. Gives the ids of the events at the first, the second and the last of them, reviewed as a false alarm and two
/// true ones.
fn watched(begin: i64) -> (Home, [String; 3]) {
    let home = Home::new("", "");
    write_scorer(&home.path("always.onnx"), 96, 64, Says::Unusual);
    home.configure("width = 96\nheight = 64\nscorer = \"always.onnx\"", PLAZA);
    let store = store(&home);
    let score = |second: i64| match second {
        3600..3610 => 2.5,
        7200..7210 => 4.0,
        10_800 => 9.0,
        14_400..14_410 => 7.0,
        _ => 1.0,
    };
    for hour in 0..6 {
        let rows: Vec<_> = (hour * HOUR..(hour + 1) * HOUR).map(|s| row(begin + s, score(s))).collect();
        store.put_scores(&rows).expect("written");
    }
    let reviewed = [(0, 3600, Label::FalseAlarm), (1, 7200, Label::TrueAlarm), (2, 14_400, Label::TrueAlarm)];
    let ids = reviewed.map(|(n, from, label)| {
        let event = event_of(n, begin + from, begin + from + 9, score(from));
        store.put_event(&event).expect("written");
        store.review(&event.id, Some(label), "", None).expect("written");
        event.id
    });
    (home, ids)
}

fn run(args: &[&str]) -> (bool, String, String) {
    let output = sigmawatch(args).output().expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// k, opening, alarms, ids of true alarms missed and of false ones gone, of every row.
fn told(table: &Value) -> Vec<(f64, String, u64, Value, Value)> {
    let row = |row: &Value| {
        let number = |name: &str| row[name].as_f64().expect("a number");
        (
            number("k"),
            row["open"].to_string(),
            number("alarms") as u64,
            row["true_missed"].clone(),
            row["false_gone"].clone(),
        )
    };
    table["rows"].as_array().expect("rows").iter().map(row).collect()
}

#[test]
fn the_program_and_the_api_count_the_alarms_that_a_hand_counts() {
    let begin = begin();
    let (home, [low, middle, _]) = watched(begin);
    let config = home.path("config.toml");
    let (config, after, before) =
        (config.to_str().expect("UTF-8"), at(begin).to_string(), at(begin + 6 * HOUR).to_string());
    let base = ["backtest", "--config", config, "--camera", "plaza"];
    let asked = [
        "--after",
        &after,
        "--before",
        &before,
        "--k",
        "2,4,8",
        "--debounce",
        "2/3,1/1",
        "--budget",
        "1/hour",
    ];
    let (good, said, problem) = run(&[&base[..], &asked, &["--json"]].concat());
    assert!(good, "{problem}");
    let found: Value = serde_json::from_str(&said).expect("JSON");
    let (none, gone, missed) = (json!([]), json!([low]), json!([middle]));
    let expected = |opens: &str, alarms: [u64; 3]| {
        [
            (2.0, opens.to_owned(), alarms[0], none.clone(), none.clone()),
            (4.0, opens.to_owned(), alarms[1], none.clone(), gone.clone()),
            (8.0, opens.to_owned(), alarms[2], missed.clone(), gone.clone()),
        ]
    };
    let rows = told(&found);
    assert_eq!(
        (rows[..3].to_vec(), rows[4..7].to_vec()),
        (expected("[2,3]", [3, 2, 1]).to_vec(), expected("[1,1]", [4, 3, 2]).to_vec())
    );
    assert_eq!(
        (&found["segments"], &found["true_alarms"], &found["false_alarms"]),
        (&json!(6 * HOUR), &json!(2), &json!(1))
    );
    let hours = found["hours"].as_f64().expect("a number");
    assert!((hours - 6.0).abs() < 0.001, "{hours}");
    let per_day = found["rows"][0]["alarms_per_day"].as_f64().expect("a number");
    assert!((per_day - 12.0).abs() < 0.01, "3 in 6 hours: {per_day}");
    // mu 1 + 3 sigma: not above 2.5.
    assert_eq!((&found["in_force"]["threshold"], &found["in_force"]["alarms"]), (&json!(2.5), &json!(2)));
    // The true alarms are incidents, and the false one is normal life: at most one an hour is kept by any limit from 1 on.
    let budget = &found["rows"][3];
    assert_eq!((&budget["budget"], budget["alarms"].as_u64()), (&json!("1/hour"), Some(3)), "{budget}");

    let (good, said, problem) = run(&[&base[..], &asked].concat());
    assert!(good, "{problem}");
    assert!(
        said.contains("k 8") && said.contains("1 of 2") && said.contains("6.0 hours of 21600 scores"),
        "{said}"
    );
    let line = format!("true alarms that k 8 with 2/3 would have missed: {middle}");
    assert!(said.contains(&line), "{said}");
    // Only what the model in force scored counts by itself, and it is new.
    let (good, _, problem) = run(&base);
    assert!(!good && problem.contains("no scores of plaza's detector main"), "{problem}");
    assert!(problem.contains(&format!("there are some from {after}")), "{problem}");
    for (wrong, why) in [
        (["--camera", "attic"], "there is no camera attic (there are: plaza)"),
        (["--detector", "fused"], "plaza has no detector fused (there are: main)"),
        (["--k", "-1"], "k is from 0 to 1000"),
        (["--debounce", "3/2"], "debounce 3 of 2"),
        (["--after", "2026-01-01T00:00:00Z"], "31 days at most"),
    ] {
        let base = if wrong[0] == "--camera" { &base[..3] } else { &base[..] };
        let (good, _, problem) = run(&[base, &[&format!("{}={}", wrong[0], wrong[1])]].concat());
        assert!(!good && problem.contains(why), "{wrong:?}: {problem}");
    }

    // The same while a daemon runs, by the program and by the daemon itself.
    let daemon = home.start();
    let path = "/api/cameras/plaza/backtest";
    let body = json!({
        "after": after, "before": before, "k": [2, 4, 8], "debounce": [[2, 3], [1, 1]], "budget": ["1/hour"]
    });
    let ask = |body: &Value| {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut answer = agent.post(daemon.address(path)).send_json(body).expect("answered");
        (answer.status().as_u16(), answer.body_mut().read_json::<Value>().expect("JSON"))
    };
    let (status, mut answer) = ask(&body);
    assert_eq!(status, 200, "{answer}");
    let (good, again, problem) = run(&[&base[..], &asked, &["--json"]].concat());
    assert!(good, "{problem}");
    let mut again: Value = serde_json::from_str(&again).expect("JSON");
    for one in [&mut answer, &mut again] {
        one["took_ms"] = json!(0);
    }
    let mut found = found;
    found["took_ms"] = json!(0);
    assert_eq!(answer, found);
    assert_eq!(again, found);
    for (wrong, status, why) in [
        (json!({ "detector": "fused" }), 404, "no detector of that name"),
        (json!({ "after": before, "before": after }), 400, "earlier"),
        (json!({ "before": at(1000).to_string() }), 404, "no scores"),
        (json!({ "k": (0..65).collect::<Vec<_>>() }), 400, "too many"),
        (json!({ "budget": ["often"] }), 422, "often"),
    ] {
        let (got, answer) = ask(&wrong);
        assert_eq!(got, status, "{answer}");
        assert!(answer["detail"].as_str().expect("a detail").contains(why), "{answer}");
    }
    // Without lists: what is in force and a spread.
    let (status, spread) = ask(&json!({ "after": after, "before": before }));
    assert_eq!((status, spread["rows"].as_array().map(Vec::len)), (200, Some(16)), "{spread}");
    daemon.stop();
}

/// What the daemon made of its own scores, its state machine on them makes again.
#[test]
fn what_a_daemon_raised_the_backtest_raises() {
    let home = Home::new("", "");
    write_scorer(&home.path("either.onnx"), 96, 64, Says::Either);
    let rule = "k = 97.0\nopen_n = 1\nopen_m = 1\nclose_after = \"2.9s\"";
    home.configure(&format!("width = 96\nheight = 64\nscorer = \"either.onnx\"\n{rule}"), PLAZA);
    let daemon = home.start();
    daemon.until("some events", || (daemon.events("&in_progress=false").len() >= 4).then_some(()));
    daemon.stop();
    let store = store(&home);
    let events = store.events(&EventFilter::default(), 500).expect("read").events;
    let (mut history, now) = (History::default(), Timestamp::now());
    store
        .timeline("plaza", "main", at(0), now, &mut |time, score, _| assert!(history.push(time, score)))
        .expect("read");
    let rule = Rule { open_n: 1, open_m: 1, close_after: Duration::from_millis(2900) };
    let threshold = Threshold::plain(1.0, 0.5, 97.0);
    let alarms = history.alarms(&Setting { threshold, rule, hysteresis: 0.0 });
    let span = |event: &Event| (event.start_time.as_microsecond(), event.last_time.as_microsecond());
    assert!(events.iter().all(|event| any_overlaps(&alarms, span(event))), "{alarms:?}");
    assert!(alarms.iter().all(|alarm| events.iter().any(|e| alarm.overlaps(span(e)))), "{events:?}");
    for event in &events {
        let tops = alarms.iter().filter(|a| a.overlaps(span(event))).map(|alarm| alarm.top);
        let top = tops.fold(f32::MIN, f32::max);
        assert!((top / event.top_score - 1.0).abs() < 1e-4, "{top} and {}", event.top_score);
    }
    drop(store);
    let config = home.path("config.toml");
    let (config, after) = (config.to_str().expect("UTF-8"), at(now.as_second() - HOUR).to_string());
    let (good, said, problem) =
        run(&["backtest", "--config", config, "--camera", "plaza", "--after", &after, "--json"]);
    assert!(good, "{problem}");
    let found: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(found["in_force"]["alarms"], json!(alarms.len()));
    println!("{} events, {} alarms of {} scores", events.len(), alarms.len(), history.len());
}

#[test]
fn a_recording_is_tried_and_decoded_once() {
    let home = Home::new("", "");
    let clip = mp4(&home.path(""), "clip.mp4", 600, 20);
    let model = home.path("model.onnx");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (clip, model, cache) = (text(&clip), text(&model), text(&home.path("cache")));
    let (good, _, problem) = run(&[
        "learn",
        "--scorer",
        "mahalanobis",
        "--width",
        "96",
        "--height",
        "64",
        "--out",
        &model,
        "--from",
        &clip,
    ]);
    assert!(good, "{problem}");
    // Half a minute of what it never saw.
    let snow = home.path("snow.mp4");
    render(&format!(
        "videotestsrc pattern=snow num-buffers=300 ! video/x-raw,format=I420,width=320,height=240,framerate=20/1 ! \
         x264enc bframes=0 ! mp4mux ! filesink location={}",
        snow.display()
    ));
    let snow = text(&snow);
    let limits = ["--k", "1,1000", "--debounce", "1/1", "--json"];
    let recordings = ["backtest", "--recording", &clip, &snow, "--model", &model, "--features-cache", &cache];
    let asked = [&recordings[..], &limits].concat();
    let (good, first, problem) = run(&asked);
    assert!(good, "{problem}");
    let began = Instant::now();
    let (good, again, problem) = run(&asked);
    assert!(good, "{problem}");
    println!("from the cache: {:?}", began.elapsed());
    let tables = [first, again].map(|said| {
        let mut table: Value = serde_json::from_str(&said).expect("JSON");
        table["took_ms"] = json!(0);
        table
    });
    assert_eq!(tables[0], tables[1]);
    assert_eq!(std::fs::read_dir(&cache).expect("a folder").count(), 2, "their features");
    let rows = tables[0]["rows"].as_array().expect("rows");
    assert_eq!((&rows[0]["k"], &rows[0]["alarms"]), (&json!(1.0), &json!(1)), "the snow: {rows:?}");
    assert_eq!(rows[1]["k"], json!(1000.0));
    assert!(tables[0]["segments"].as_u64().expect("a number") > 20, "{}", tables[0]);
}

/// `cargo test --test it a_week_of_scores -- --nocapture` prints the figure.
#[test]
fn a_week_of_scores_is_tried_at_once() {
    const HOURS: i64 = 7 * 24;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(dir.path(), Arc::new(SystemClock::default())).expect("opened");
    let begin = Timestamp::now().as_second() / HOUR * HOUR - HOURS * HOUR;
    let mut state = 1_u64;
    // The sum of twelve even numbers is close to normal.
    let mut noise = || {
        let even = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        (0..12).map(even).sum::<f32>() - 6.0
    };
    for hour in 0..HOURS {
        let rows: Vec<ScoreRow> = (0..HOUR * 5)
            .map(|i| {
                let time = at(begin + hour * HOUR) + Duration::from_millis(200) * i as u32;
                ScoreRow { time, ..row(0, noise()) }
            })
            .collect();
        store.put_scores(&rows).expect("written");
    }
    let subject = Subject {
        judging: Judging {
            rule: Rule::default(),
            hysteresis: 0.0,
            day: DayParts::new(Baseline::One, jiff::tz::TimeZone::UTC),
        },
        threshold: Threshold::plain(0.0, 1.0, 3.0),
        rhythm: None,
        learned_at: None,
        limit_of_scores: false,
    };
    let body =
        BacktestBody { after: Some(at(begin)), before: Some(at(begin + HOURS * HOUR)), ..Default::default() };
    let names = ("plaza".into(), "main".into());
    let mut took: Vec<u64> = (0..3)
        .map(|_| {
            let found =
                over_store(&store, (&names.0, &names.1), &subject, &body, Timestamp::now()).expect("tried");
            assert_eq!((found.table.segments, found.table.rows.len()), (3_024_000, 16));
            found.took_ms
        })
        .collect();
    took.sort_unstable();
    println!(
        "a week of 3,024,000 scores from the store under 16 settings: {} ms (median of {took:?})",
        took[1]
    );
    // Other tests share the machine.
    assert!(took[0] < 3000, "{took:?}");
}
