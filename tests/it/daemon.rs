//! The daemon from end to end: the built program over its own video, model files, HTTP, signals and restarts.

use crate::program::{Daemon, Home, onnxruntime};
use rustix::process::Signal;
use serde_json::Value;
use sigmawatch::base::SystemClock;
use sigmawatch::base::write_atomically;
use sigmawatch::features::{ExtractorModel, v1::V1Params};
use sigmawatch::frame::Plaza;
use sigmawatch::infer::{self, Calibration, Dim, Graph, MANIFEST_FORMAT, Manifest, ModelSpec, ScorerSpec};
use sigmawatch::store::{Layout, Store};
use sigmawatch::threshold::DEFAULT_K;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A small picture: cheap, and the models written here fit it.
const SMALL: &str = "width = 96\nheight = 64\n";
const PLAZA: &str = "[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"\n";

/// What a scorer written here always says.
#[derive(Clone, Copy)]
pub enum Says {
    NotANumber,
    /// Ordinary and unusual by turns, often.
    Either,
    /// Far above any threshold of mu 1 and sigma 0.5.
    Unusual,
    /// How much the regions differ: nothing where nothing moves, and far above the threshold where something does.
    Difference,
}

/// Writes a scorer for the features of a V1 bank over pictures of this size.
pub fn write_scorer(path: &Path, width: usize, height: usize, says: Says) {
    infer::init(&onnxruntime()).expect("ONNX Runtime for the tests: `make test` fetches it");
    let extractor = ExtractorModel::generate(&V1Params::new(width, height, 10.0, false)).expect("a bank");
    let (grid, dims) = (extractor.spec().grid, extractor.spec().dims);
    let mut g = Graph::new("always");
    let segments = Dim::Symbol("segments");
    let features = g.input_f32("features", &[segments, Dim::Fixed(grid.regions()), Dim::Fixed(dims)]);
    let mean = |g: &mut Graph, of, axis: usize| {
        g.op("ReduceMean", &[of], &[("axes", [axis].into()), ("keepdims", 0.into())])
    };
    let regions = mean(&mut g, &features, 2);
    let whole = mean(&mut g, &regions, 1);
    let zero = g.op("Sub", &[&whole, &whole], &[]);
    let mut shown = regions.clone();
    let score = match says {
        Says::NotANumber => g.op("Div", &[&zero, &zero], &[]),
        Says::Difference => {
            let over = |g: &mut Graph, op: &str| {
                g.op(op, &[&regions], &[("axes", [1_i64].into()), ("keepdims", 0.into())])
            };
            let (most, least) = (over(&mut g, "ReduceMax"), over(&mut g, "ReduceMin"));
            let (apart, much) = (g.op("Sub", &[&most, &least], &[]), g.scalar(1e4));
            let floor = g.op("ReduceMin", &[&regions], &[("axes", [1_i64].into()), ("keepdims", 1.into())]);
            let above = g.op("Sub", &[&regions, &floor], &[]);
            shown = g.op("Mul", &[&above, &much], &[]);
            g.op("Mul", &[&apart, &much], &[])
        }
        Says::Either => {
            let (wild, high) = (g.scalar(1e5), g.scalar(50.0));
            let wild = g.op("Mul", &[&whole, &wild], &[]);
            let wave = g.op("Sin", &[&wild], &[]);
            g.op("Mul", &[&wave, &high], &[])
        }
        Says::Unusual => {
            let high = g.scalar(50.0);
            g.op("Add", &[&zero, &high], &[])
        }
    };
    g.output_f32("score", &score, &[segments]);
    g.output_f32("regions", &shown, &[segments, Dim::Fixed(grid.regions())]);
    let manifest = Manifest {
        format: MANIFEST_FORMAT,
        name: "always".into(),
        version: "1".into(),
        licence: "MIT OR Apache-2.0".into(),
        provenance: "a test".into(),
        spec: ModelSpec::Scorer(ScorerSpec {
            extractor: extractor.manifest().id(),
            sampling: None,
            grid,
            dims,
            state: vec![],
            calibration: Calibration { mu: 1.0, sigma: 0.5, scores: vec![0.5, 1.5], course: vec![] },
            factors: vec![],
            normal: None,
            training: Value::Null,
        }),
    };
    write_atomically(path, &g.finish(&manifest)).expect("written");
}

/// A home whose plaza is watched by a scorer that always says the same.
fn home_with(says: Says) -> Home {
    let home = Home::new("", "");
    write_scorer(&home.path("always.onnx"), 96, 64, says);
    home.configure(&format!("{SMALL}scorer = \"always.onnx\""), PLAZA);
    home
}

/// Waits until an event is open; gives its id.
fn open_event(daemon: &Daemon) -> String {
    daemon.until("an open event", || {
        Some(daemon.camera("plaza")["detectors"][0]["open_event"].as_str()?.to_owned())
    })
}

fn text<'a>(value: &'a Value, what: &str) -> &'a str {
    value[what].as_str().unwrap_or_else(|| panic!("no {what} in {value}"))
}

#[test]
fn a_clean_stop_is_quick_and_ends_the_open_event() {
    let home = home_with(Says::Unusual);
    let daemon = home.start();
    let id = open_event(&daemon);
    daemon.signal(Signal::TERM);
    let (status, took, log) = daemon.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(took < Duration::from_secs(8), "the stop took {took:?}");
    assert!(log.contains("stopping") && log.trim_end().ends_with("stopped"), "{log}");
    let store =
        Store::open(&home.path("data"), Arc::new(SystemClock::default())).expect("unlocked, and whole");
    let event = store.event(&id).expect("readable").expect("kept");
    assert_eq!(event.end_time, Some(event.last_time));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    // Segments of large pictures wait in the lane: the clean stop takes seconds.
    let home = Home::new("width = 1280\nheight = 720", &format!("{PLAZA}real_time = false"));
    let daemon = home.start();
    daemon.until("the first segment", || {
        (daemon.camera("plaza")["detectors"][0]["segments"].as_u64()? > 0).then_some(())
    });
    daemon.signal(Signal::TERM);
    daemon.until("the stop", || daemon.log().contains("stopping").then_some(()));
    daemon.signal(Signal::TERM);
    let (status, took, log) = daemon.wait();
    assert_eq!(status.code(), Some(128 + 15), "{log}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn what_a_killed_daemon_left_open_is_closed_by_the_next() {
    let home = home_with(Says::Unusual);
    let daemon = home.start();
    let id = open_event(&daemon);
    daemon.signal(Signal::KILL);
    daemon.wait();
    let database = Layout::new(&home.path("data")).database();
    let daemon = home.start();
    let event = daemon.json(&format!("/api/events/{id}"));
    assert_eq!(text(&event, "end_time"), text(&event, "last_time"));
    assert_eq!(event["type"], "end");
    assert_ne!(open_event(&daemon), id, "the next event is another one");
    assert!(daemon.stop().contains("left open"));
    let check = rusqlite::Connection::open(database).expect("opened");
    let integrity: String = check.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
    assert_eq!(integrity, "ok");
}

#[test]
fn scores_that_are_not_numbers_are_no_alerts_but_a_problem() {
    let home = home_with(Says::NotANumber);
    let daemon = home.start();
    let skipped = r#"segments_skipped_total{camera="plaza",detector="main",reason="not_finite"}"#;
    daemon.until("skipped segments", || (daemon.metric(skipped) >= 3.0).then_some(()));
    let camera = daemon.camera("plaza");
    assert_eq!(camera["healthy"], false);
    assert!(text(&camera, "problem").contains("not finite"), "{camera}");
    assert!(text(&camera, "problem").contains("(learn the camera again)"), "{camera}");
    assert_eq!(camera["detectors"][0]["score"], Value::Null);
    assert_eq!(daemon.events("").len(), 0);
    assert_eq!(daemon.json("/readyz")["status"], "degraded");
    assert_eq!(daemon.stop().matches("not finite").count(), 1, "said once, not at every segment");
}

#[test]
fn the_service_manager_is_told() {
    let home = Home::new(SMALL, PLAZA);
    let socket = UnixDatagram::bind(home.path("notify")).expect("bound");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let said = || {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("something is said within a minute");
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    };
    let mut command = home.command();
    command.env("NOTIFY_SOCKET", home.path("notify"));
    let daemon = Daemon::start(command);
    assert_eq!(said(), "READY=1");
    for _ in 0..5 {
        assert_eq!(said(), "WATCHDOG=1");
    }
    daemon.signal(Signal::TERM);
    let end = Instant::now() + Duration::from_secs(30);
    while said() != "STOPPING=1" {
        assert!(Instant::now() < end, "nothing said about stopping");
    }
    assert_eq!(daemon.wait().0.code(), Some(0));
}

#[test]
fn what_cannot_be_run_is_refused_with_one_message() {
    let home = Home::new("width = \"wide\"\nstrid = 8", PLAZA);
    let refused = home.refusal();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{said}");
    assert!(said.contains("detector.width") && said.contains("did you mean \"stride\"?"), "{said}");
    std::fs::write(home.path("notes.onnx"), "Remember the milk.\n").expect("written");
    write_scorer(&home.path("other.onnx"), 128, 96, Says::Unusual);
    for (file, cause) in [("notes.onnx", "is not an ONNX model"), ("other.onnx", "it scores a grid of")] {
        home.configure(&format!("{SMALL}scorer = {file:?}"), PLAZA);
        let refused = home.refusal();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(78), "{said}");
        assert!(said.contains("the configuration has 1 mistake"), "{said}");
        assert!(said.contains("camera.plaza.detector.scorer: ") && said.contains("remedy: "), "{said}");
        assert!(said.contains(file) && said.contains(cause), "{said}");
    }
}

/// The incidents of the plaza with seed 1.
struct Incidents(Plaza);

impl Incidents {
    /// An incident is in progress in any of these frames.
    fn within(&self, frames: std::ops::Range<u64>) -> bool {
        frames.into_iter().any(|frame| !self.0.truth(frame).is_empty())
    }

    /// The event shows one. Its segments are 16 frames long and 8 apart; the last may look back on one.
    fn explain(&self, event: &Value) -> bool {
        let segments = &event["segments"];
        let number = |what: &str| segments[what].as_u64().expect("a number");
        self.within((number("first") * 8).saturating_sub(16)..number("last") * 8 + 16)
    }
}

#[test]
fn the_plaza_is_learned_watched_and_learned_again() {
    let detector = "width = 180\nheight = 120\nstride = 8\nwatch_for = \"60s\"\nclose_after = \"3s\"";
    let fast = format!("{PLAZA}seed = 1\nreal_time = false");
    let home = Home::new(detector, &fast);
    let incidents = Incidents(Plaza::new(1));
    let (event, model) = learns_and_alerts(&home, &incidents);
    restarts_armed(&home, &incidents, &event, &model);
    home.configure(detector, &format!("{PLAZA}seed = 1"));
    learns_again(&home);
}

/// The first life: from nothing to an alert that is over. Gives that event and the model.
fn learns_and_alerts(home: &Home, incidents: &Incidents) -> (Value, String) {
    let daemon = home.start();
    let stream = daemon.stream();
    let learning = |state: &str| {
        daemon.metric(&format!("learning_state{{camera=\"plaza\",detector=\"main\",state=\"{state}\"}}"))
    };
    let mut seen = vec![];
    let model = daemon.until("arming", || {
        let camera = daemon.camera("plaza");
        let learning = &camera["detectors"][0]["learning"];
        seen.push((text(learning, "step").to_owned(), learning["progress"].as_f64().expect("a number")));
        (text(learning, "state") == "armed").then(|| text(learning, "model_sha256").to_owned())
    });
    let grew = |step: &str| {
        let progress: Vec<f64> = seen.iter().filter(|s| s.0 == step).map(|s| s.1).collect();
        progress.len() > 1 && progress.is_sorted() && progress[0] < progress[progress.len() - 1]
    };
    assert!(grew("watching normal life"), "{seen:?}");
    let steps: Vec<&str> = seen.iter().map(|s| s.0.as_str()).collect();
    assert!(steps.iter().any(|step| !["watching normal life", "watching"].contains(step)), "{steps:?}");
    assert_eq!((learning("armed"), learning("learning")), (1.0, 0.0));
    let log = daemon.log();
    assert!(log.contains("INFO learning, ") && log.contains("armed after"), "{log}");

    // The first incident that it saw from its beginning.
    let next = || stream.recv_timeout(Duration::from_secs(600)).expect("the stream goes on");
    let event = loop {
        let (name, event) = next();
        if name == "alert.new" && incidents.explain(&event) {
            break event;
        }
    };
    let id = text(&event, "id");
    let number = |what: &str| event[what].as_f64().expect("a number");
    assert!(number("score") > number("threshold"), "{event}");
    assert!((number("mu") + number("k") * number("sigma") - number("threshold")).abs() < 1e-9, "{event}");
    assert_eq!((number("k"), text(&event["model"], "sha256")), (DEFAULT_K, model.as_str()));
    assert_eq!((text(&event, "camera"), text(&event, "scorer")), ("plaza", "v1+diffusion"));
    assert!(daemon.events("").iter().any(|listed| text(listed, "id") == id));
    let end = loop {
        let (name, event) = next();
        if name == "alert.end" && text(&event, "id") == id {
            break event;
        }
    };
    assert_eq!(text(&end, "end_time"), text(&end, "last_time"));
    assert_eq!(daemon.json(&format!("/api/events/{id}"))["end_time"], end["end_time"]);
    let calibration = daemon.json("/api/cameras/plaza/calibration");
    // Of the minute that was learned from, as many blocks of half a minute as were whole.
    assert!(calibration["hours"].as_f64().expect("hours") >= 30.0 / 3600.0, "{calibration}");
    assert!(text(&calibration["promise"], "text").contains(" seen: "), "{calibration}");
    for (picture, size) in [("snapshot", (640, 360)), ("thumbnail", (320, 180))] {
        let jpeg = daemon.bytes(text(&end, picture));
        let format = image::ImageFormat::Jpeg;
        let picture = image::load_from_memory_with_format(&jpeg, format).expect("a JPEG");
        assert_eq!((picture.width(), picture.height()), size);
    }
    daemon.stop();
    (end, model)
}

/// The second life: armed at once with the same model, and sees the script from its beginning.
fn restarts_armed(home: &Home, incidents: &Incidents, before: &Value, model: &str) {
    let daemon = home.start();
    let camera = daemon.camera("plaza");
    assert_eq!(text(&camera["detectors"][0]["learning"], "state"), "armed");
    assert_eq!(text(&camera["detectors"][0]["learning"], "model_sha256"), model);
    assert_eq!(&daemon.json(&format!("/api/events/{}", text(before, "id")))["end_time"], &before["end_time"]);
    assert!(!daemon.bytes(text(before, "snapshot")).is_empty());
    // The cyclist comes at frame 1200; 400 frames later the next incident begins.
    daemon.until("frame 1600", || {
        (daemon.camera("plaza")["detectors"][0]["segments"].as_u64()? > 200).then_some(())
    });
    // What was learned from is still known; how much of what was watched is, depends on how fast the script ran.
    let calibration = daemon.json("/api/cameras/plaza/calibration");
    assert!(calibration["blocks"].as_u64().is_some_and(|blocks| blocks >= 1), "{calibration}");
    let after = format!("&after={}", text(before, "last_time"));
    let mut events = daemon.events(&after);
    events.retain(|event| event["id"] != before["id"] && event["segments"]["first"].as_u64() < Some(198));
    let (right, wrong): (Vec<_>, Vec<_>) = events.iter().partition(|event| incidents.explain(event));
    println!("{} false alarms in the two normal minutes, {} events of the cyclist", wrong.len(), right.len());
    assert!(!right.is_empty(), "the cyclist was missed");
    assert!(wrong.len() <= 2, "{} false alarms in two minutes", wrong.len());
    assert!(!daemon.stop().contains("learning"), "nothing is learned anew");
}

/// The third life: learned again on request, and watched over all the while.
fn learns_again(home: &Home) {
    let daemon = home.start();
    let scored = || daemon.metric(r#"segments_scored_total{camera="plaza",detector="main"}"#);
    daemon.until("scores", || (scored() > 0.0).then_some(()));
    let learn = || daemon.post("/api/cameras/plaza/learn").status().as_u16();
    assert_eq!((learn(), learn()), (202, 409));
    let state = || text(&daemon.camera("plaza")["detectors"][0]["learning"], "state").to_owned();
    assert_eq!(state(), "relearning");
    let first = scored();
    daemon.until("scores meanwhile", || (scored() > first).then_some(()));
    assert_eq!((state().as_str(), learn()), ("relearning", 409), "scored while it learned");
    daemon.until("arming", || (state() == "armed").then_some(()));
    let camera = daemon.camera("plaza");
    assert!(camera["healthy"] == true && camera["problem"] == Value::Null, "{camera}");
    let (learned, first) = (text(&camera["detectors"][0]["learning"], "model_sha256"), scored());
    daemon.until("scores of the new model", || (scored() > first + 1.0).then_some(()));
    let file = Layout::new(&home.path("data")).model(&"plaza".into(), &"main".into());
    assert_eq!(infer::sha256_hex(&std::fs::read(file).expect("the model in force")), learned);
    assert!(daemon.stop().contains("armed after"));
}
