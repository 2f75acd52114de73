//! What a review would change, told by the running daemon before anybody reviews.

use crate::daemon::{Says, write_scorer};
use crate::fixture::event;
use crate::program::{Daemon, Home};
use serde_json::{Value, json};
use sigmawatch::alert::{Event, Severity};
use sigmawatch::base::{SystemClock, Timestamp};
use sigmawatch::infer::sha256_hex;
use sigmawatch::store::{Layout, ScoreRow, Store};
use sigmawatch::threshold::{Rule, blocks};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const HOURS: i64 = 6;
/// Seconds from one peak to the next; the first is as far from the beginning.
const APART: i64 = 2000;

/// Nine peaks, ten seconds each: eight of ordinary life, and one that is taken for an incident.
fn peaks() -> Vec<f32> {
    (0..8).map(|n| 3.0 + n as f32 / 8.0).chain([5.0]).collect()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn id(peak: usize) -> String {
    event(peak as u64).id
}

/// A daemon that watched the plaza for six hours by a scorer of mu 1 and sigma 0.5 before it was started: 1 but for the
/// peaks, of which those from 3.375 on were events.
fn watched(detector: &str) -> (Home, Daemon) {
    let home = Home::new("", "");
    let model = home.path("always.onnx");
    write_scorer(&model, 96, 64, Says::Unusual);
    let learned = SystemTime::now() - Duration::from_secs(3 * 86_400);
    let file = std::fs::File::options().write(true).open(&model).expect("just written");
    file.set_modified(learned).expect("set");
    let cameras = "[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"\n";
    home.configure(&format!("width = 96\nheight = 64\nscorer = \"always.onnx\"\n{detector}"), cameras);
    let store = Store::open(&home.path("data"), Arc::new(SystemClock::default())).expect("opened");
    let begin = Timestamp::now().as_second() / 3600 * 3600 - 48 * 3600;
    let peak_at = |second: i64| usize::try_from(second / APART - 1).ok().filter(|_| second % APART < 10);
    let score = |second: i64| peak_at(second).and_then(|peak| peaks().get(peak).copied()).unwrap_or(1.0);
    for hour in 0..HOURS {
        let row = |second: i64| ScoreRow {
            camera: "plaza".into(),
            detector: "main".into(),
            time: at(begin + second),
            score: score(second),
            threshold: 2.5,
        };
        store.put_scores(&(hour * 3600..(hour + 1) * 3600).map(row).collect::<Vec<_>>()).expect("written");
    }
    let sha256 = sha256_hex(&std::fs::read(&model).expect("there"));
    for (peak, top) in peaks().into_iter().enumerate().filter(|(_, top)| *top >= 3.375) {
        let from = begin + (peak as i64 + 1) * APART;
        let mut event = Event { camera: "plaza".into(), start_time: at(from), ..event(peak as u64) };
        (event.last_time, event.end_time, event.top_score) = (at(from + 9), Some(at(from + 9)), top);
        event.severity = if top == 5.0 { Severity::Medium } else { Severity::Low };
        event.model.sha256.clone_from(&sha256);
        store.put_event(&event).expect("written");
    }
    // The daemon's own memory of that time.
    let of_life = (0..HOURS * 3600).map(|second| ((begin + second) as f64, score(second)));
    let mut life = format!("{sha256} 2/3 30 s\n");
    for block in blocks(Rule::default(), of_life, 1) {
        writeln!(life, "{:.3} {:.3} {}", block.from, block.to, block.level)
            .expect("a string takes everything");
    }
    let path = Layout::new(&home.path("data")).life(&"plaza".into(), &"main".into());
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, life).expect("written");
    // Its folder is one daemon's alone.
    drop(store);
    let daemon = home.start();
    daemon.until("a score", || daemon.camera("plaza")["detectors"][0]["score"].as_f64());
    (home, daemon)
}

fn ask(daemon: &Daemon, peak: usize, label: Value) -> Value {
    let path = format!("/api/events/{}/review/preview", id(peak));
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut answer =
        agent.post(daemon.address(&path)).send_json(json!({ "label": label })).expect("answered");
    let body: Value = answer.body_mut().read_json().expect("JSON");
    assert_eq!(answer.status(), 200, "{body}");
    body
}

fn limits(answer: &Value) -> (f64, f64) {
    let limit = |name: &str| answer["threshold"][name].as_f64().expect("a number");
    (limit("now"), limit("then"))
}

/// Ids that would vanish, and highest scores of what would appear.
fn changes(answer: &Value) -> (Vec<String>, Vec<f64>) {
    let list = |name: &str| answer[name].as_array().expect("a list").clone();
    let id = |event: &Value| event["id"].as_str().expect("an id").to_owned();
    let top = |alarm: &Value| alarm["top_score"].as_f64().expect("a number");
    (list("would_vanish").iter().map(id).collect(), list("would_appear").iter().map(top).collect())
}

#[test]
fn a_budgets_limit_is_found_with_the_event_in_normal_life_and_without_it() {
    let (_home, daemon) = watched("budget = \"1/hour\"");
    let before = daemon.camera("plaza")["detectors"][0]["threshold"].clone();
    assert_eq!(before["budget"], "1/hour", "{before}");
    // Six hours: six alarms are kept, the incident aside: those of 3.25 to 3.875, where the last is just not one.
    let limit = before["limit"].as_f64().expect("a number");
    assert!((3.25..3.275).contains(&limit), "{limit}");
    // With the incident among them, the one of 3.375 goes instead.
    let incident = ask(&daemon, 8, json!("false_alarm"));
    let (now, then) = limits(&incident);
    assert_eq!(now, limit);
    assert!((3.375..3.4).contains(&then), "{incident}");
    assert_eq!(changes(&incident), (vec![id(3)], vec![]), "{incident}");
    let text = incident["text"].as_str().expect("a text");
    assert!(text.contains("would rise") && text.contains("would still be raised"), "{text}");
    assert!(text.contains("1 would vanish, and 0 would appear"), "{text}");
    // Without the highest one of ordinary life, that of 3.25 comes.
    let taken_out = ask(&daemon, 7, json!("true_alarm"));
    assert!((3.125..3.15).contains(&limits(&taken_out).1), "{taken_out}");
    assert_eq!(changes(&taken_out), (vec![], vec![3.25]), "{taken_out}");
    assert!(taken_out["text"].as_str().expect("a text").contains("would sink"), "{taken_out}");
    // It is taken for an incident anyway.
    for same in [ask(&daemon, 8, json!("true_alarm")), ask(&daemon, 8, Value::Null)] {
        assert_eq!((limits(&same), changes(&same)), ((limit, limit), (vec![], vec![])), "{same}");
        assert!(same["text"].as_str().expect("a text").contains("stays"), "{same}");
    }
    // Nothing was kept of all this.
    assert_eq!(daemon.camera("plaza")["detectors"][0]["threshold"], before);
    assert!(daemon.events("").iter().all(|event| event["review"].is_null()));
    daemon.stop();
}

#[test]
fn k_moves_with_no_review_and_what_would_have_helped_is_said() {
    let (_home, daemon) = watched("k = 3.0");
    let answer = ask(&daemon, 3, json!("false_alarm"));
    assert_eq!((limits(&answer), changes(&answer)), ((2.5, 2.5), (vec![], vec![])), "{answer}");
    let text = answer["text"].as_str().expect("a text");
    // 1 + 4.75 * 0.5 = 3.375, where an hour's budget lets it through and a day's does not.
    assert!(text.contains("k = 4.8 would have silenced it"), "{text}");
    assert!(text.contains("budget = \"1/day\"") && text.contains("hours of normal life"), "{text}");
    let text = ask(&daemon, 3, json!("true_alarm"))["text"].clone();
    assert_eq!(text, "The threshold is mu + 3 sigma, and moves with no review.");
    daemon.stop();
}
