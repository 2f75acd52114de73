//! The API over real HTTP: every route, its errors, the stream and its resumption, and who may ask.

use crate::desk::{Desk, http, scene};
use crate::docs::documented_routes;
use crate::fixture::{event, row};
use serde_json::{Value, json};
use sigmawatch::alert::{Change, jpeg};
use sigmawatch::api::serve;
use sigmawatch::base::Timestamp;
use sigmawatch::config::Budget;
use sigmawatch::store::ScoreRow;
use sigmawatch::threshold::{Outlook, Rule, blocks};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use ureq::Body;
use ureq::http::Response;

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .new_agent()
}

fn get(desk: &Desk, path: &str) -> Response<Body> {
    agent().get(desk.url(path)).call().expect("answered")
}

fn post(desk: &Desk, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = agent().post(desk.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send_empty().expect("answered")
}

fn send(desk: &Desk, path: &str, body: &Value) -> Response<Body> {
    agent().post(desk.url(path)).send_json(body).expect("answered")
}

fn json(mut response: Response<Body>) -> Value {
    response.body_mut().read_json().expect("JSON")
}

/// A picture as an event keeps it, 160 by 90.
fn large() -> Vec<u8> {
    jpeg(&scene(160, 90)).expect("encoded")
}

/// Name of the page's script, as the page gives it.
fn script(desk: &Desk) -> String {
    let page = get(desk, "/").body_mut().read_to_string().expect("text");
    let name = page.split("src=\"/assets/").nth(1).and_then(|rest| rest.split('"').next());
    name.expect("a script").to_owned()
}

#[test]
fn the_page_is_asked_for_anew_and_its_parts_are_kept() {
    let desk = Desk::start();
    let parts = [("/".to_owned(), "text/html", "no-cache"), (script(&desk), "text/javascript", "immutable")];
    for (path, kind, keep) in parts {
        let path = if path == "/" { path } else { format!("/assets/{path}") };
        let whole = get(&desk, &path);
        let header = |name: &str| whole.headers()[name].to_str().expect("text").to_owned();
        assert!(header("content-type").starts_with(kind), "{path}");
        assert!(header("cache-control").ends_with(keep), "{path}");
        let again =
            agent().get(desk.url(&path)).header("if-none-match", &header("etag")).call().expect("answered");
        assert_eq!(again.status(), 304, "{path}");
    }
    for absent in ["/assets/none.js", "/assets/index.html", "/assets/..%2findex.html"] {
        assert!(problem(get(&desk, absent), 404).contains("load the page again"), "{absent}");
    }
}

/// Asserts a problem document with this status; gives its detail.
fn problem(response: Response<Body>, status: u16) -> String {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body = json(response);
    assert_eq!(body["status"], status);
    body["detail"].as_str().expect("a detail").to_owned()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

#[test]
fn every_documented_route_answers() {
    let desk = Desk::start();
    desk.store.put_event(&event(0)).expect("written");
    desk.store.put_snapshot(&event(0).id, &large(), b"small").expect("written");
    desk.store.put_similar(&event(0).id, &[Some(b"similar")]).expect("written");
    // A minute of scores, to be tried with other settings.
    let at = |second| Timestamp::from_second(second).expect("in range");
    desk.store.put_scores(&(1000..1060).map(|second| row(at(second))).collect::<Vec<_>>()).expect("written");
    for route in documented_routes() {
        let (method, path) = route.split_once(' ').expect("method and path");
        if ["/api/stream", "/api/login", "/api/events/{id}/clip.mp4"].contains(&path) {
            continue; // One never ends, one wants users, one a clip; all have tests of their own.
        }
        if path.starts_with("/api/sinks/") {
            continue; // There is no sink here.
        }
        let path =
            path.replace("{name}", "gate").replace("{id}", &event(0).id).replace("{file}", &script(&desk));
        let response = match method {
            "POST" if path.ends_with("/backtest") => {
                send(&desk, &path, &json!({"after": at(1000), "before": at(1100)}))
            }
            "POST" if path.ends_with("/review") || path.ends_with("/preview") => {
                send(&desk, &path, &json!({"label": "unsure"}))
            }
            "POST" if path.ends_with("/detect") => send(&desk, &path, &json!({"on": true})),
            "POST" if path == "/api/config/check" => send(&desk, &path, &json!({"text": ""})),
            "POST" => post(&desk, &path, &[]),
            _ => get(&desk, &path),
        };
        assert!(response.status().is_success(), "{route}: {}", response.status());
        let headers = response.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{route}");
        assert!(
            headers["content-security-policy"].to_str().expect("text").contains("default-src 'none'"),
            "{route}"
        );
    }
}

#[test]
fn cameras_show_their_state_and_no_camera_is_a_problem() {
    let desk = Desk::start();
    let list = json(get(&desk, "/api/cameras"));
    assert_eq!(list[0]["name"], "gate");
    assert_eq!(list[0]["detectors"][0]["learning"]["state"], "armed");
    assert_eq!(list[0]["detectors"][0]["threshold"]["limit"], 2.5);
    assert_eq!(list[0]["detectors"][0]["map"]["columns"], 3);
    assert_eq!(list[1]["state"], "backing_off");
    assert_eq!(list[1]["detectors"][0]["threshold"], Value::Null);
    assert_eq!(json(get(&desk, "/api/cameras/yard")), list[1]);
    assert!(problem(get(&desk, "/api/cameras/attic"), 404).contains("`attic`"));
    assert!(problem(get(&desk, "/api/cameras/attic/latest.jpg"), 404).contains("`attic`"));
    assert!(problem(get(&desk, "/api/cameras/attic/scores"), 404).contains("`attic`"));
}

#[test]
fn the_latest_picture_is_a_jpeg_of_the_width_asked_for() {
    let desk = Desk::start();
    let mut response = get(&desk, "/api/cameras/gate/latest.jpg?width=160");
    assert_eq!(response.headers()["content-type"], "image/jpeg");
    assert_eq!(response.headers()["x-picture-time"], "1970-01-01T00:00:00Z");
    let picture =
        image::load_from_memory(&response.body_mut().read_to_vec().expect("bytes")).expect("a JPEG");
    assert_eq!((picture.width(), picture.height()), (160, 90));
    assert!(problem(get(&desk, "/api/cameras/gate/latest.jpg?width=9"), 400).contains("16 to 3840"));
    assert!(problem(get(&desk, "/api/cameras/gate/latest.jpg?size=9"), 400).contains("size"));
    assert!(problem(get(&desk, "/api/cameras/yard/latest.jpg"), 404).contains("no picture yet"));
}

#[test]
fn scores_come_as_a_timeline() {
    let desk = Desk::start();
    let rows: Vec<_> = (1900..1990).map(|s| ScoreRow { score: s as f32, ..row(at(s)) }).collect();
    desk.store.put_scores(&rows).expect("written");
    let all = json(get(&desk, "/api/cameras/gate/scores"));
    assert_eq!(all["points"].as_array().expect("points").len(), 90, "the last hour");
    assert_eq!(all["before"], "1970-01-01T00:33:20Z");
    let path = "/api/cameras/gate/scores?after=1970-01-01T00:32:00Z&before=1970-01-01T00:32:30Z&step=10";
    let some = json(get(&desk, path));
    let scores: Vec<_> =
        some["points"].as_array().expect("points").iter().map(|p| p["score"].clone()).collect();
    assert_eq!(scores, [1929.0, 1939.0, 1949.0]);
    assert_eq!(some["points"][0]["low"], 1920.0);
    let few = json(get(&desk, &path.replace("step=10", "points=4")));
    assert_eq!((few["step"].as_f64(), few["points"].as_array().map(Vec::len)), (Some(11.0), Some(4)));
    for (query, word) in [
        ("points=1", "points"),
        ("points=10&step=1", "points"),
        ("step=0", "step"),
        ("step=-1", "step"),
        ("step=nan", "step"),
        ("after=yesterday", "after"),
        ("after=1990-01-01T00:00:00Z", "after"),
        ("until=1", "until"),
    ] {
        let detail = problem(get(&desk, &format!("/api/cameras/gate/scores?{query}")), 400);
        assert!(detail.contains(word), "{query}: {detail}");
    }
}

#[test]
fn a_calibration_says_what_can_be_promised() {
    let desk = Desk::start();
    let nothing = json(get(&desk, "/api/cameras/gate/calibration"));
    assert_eq!((&nothing["hours"], &nothing["curve"]), (&serde_json::json!(0.0), &serde_json::json!([])));
    let rule = Rule::default();
    let scores = (0..4 * 3600).map(|i| (f64::from(i), (f64::from(i) * 0.7).sin() as f32));
    let outlook = Outlook::of(&blocks(rule, scores, 1), &rule, Some(Budget::DAILY));
    {
        let mut list = desk.cameras.list.lock().expect("not poisoned");
        let detector = &mut list[0].detectors[0];
        detector.outlook = Some(Arc::new(outlook));
        detector.threshold = detector.threshold.map(|t| t.keeping(Budget::DAILY, 4.0));
    }
    let found = json(get(&desk, "/api/cameras/gate/calibration?detector=main"));
    assert_eq!((&found["budget"], &found["block_seconds"]), (&"1/day".into(), &30.0.into()));
    let text = found["promise"]["text"].as_str().expect("text");
    assert!(text.contains("can promise one per hour, not yet one per day"), "{text}");
    assert_eq!((&found["promise"]["best"], &found["promise"]["next"]), (&"1/hour".into(), &"1/day".into()));
    assert_eq!(found["curve"].as_array().expect("a curve").len(), 12);
    assert_eq!(found["asked"]["extrapolated"], true);
    assert!(found["seen"].as_array().expect("points").len() <= 200);
    let threshold = &json(get(&desk, "/api/cameras/gate"))["detectors"][0]["threshold"];
    assert_eq!((&threshold["limit"], &threshold["budget"]), (&4.0.into(), &"1/day".into()));
    assert!(problem(get(&desk, "/api/cameras/gate/calibration?detector=none"), 404).contains("detector"));
    assert!(problem(get(&desk, "/api/cameras/attic/calibration"), 404).contains("`attic`"));
}

#[test]
fn events_are_paged_filtered_and_shown_with_their_pictures() {
    let desk = Desk::start();
    for n in 0..5 {
        let mut event = event(n);
        event.has_snapshot = n == 4;
        desk.store.put_event(&event).expect("written");
    }
    desk.store.put_snapshot(&event(4).id, &large(), b"small").expect("written");
    let first = json(get(&desk, "/api/events?limit=2"));
    assert_eq!(first["events"][0]["id"], event(4).id);
    assert_eq!(first["events"][0]["type"], "end");
    assert_eq!(first["events"][0]["model"]["sha256"], "ab".repeat(32));
    assert_eq!(first["events"][1]["thumbnail"], Value::Null);
    let next = first["next"].as_str().expect("a cursor");
    let rest = json(get(&desk, &format!("/api/events?limit=3&cursor={next}")));
    assert_eq!(rest["events"].as_array().expect("events").len(), 3);
    assert_eq!(rest["next"], Value::Null);
    let yard = json(get(&desk, "/api/events?cameras=yard,attic&min_score=2"));
    assert_eq!(yard["events"].as_array().expect("events").len(), 1);

    let one = json(get(&desk, &format!("/api/events/{}", event(4).id)));
    assert_eq!(one["map"]["regions"][4], 3.75);
    assert_eq!(one["top_regions"][0]["row"], 1);
    assert_eq!(one["factors"][0]["signal"], "leftward motion energy");
    assert_eq!(
        one["factors"][0]["text"],
        "factor 7 (with leftward motion energy, r = .71) above 99.98 % of normal life"
    );
    let link = one["snapshot"].as_str().expect("a link");
    let mut picture = get(&desk, &format!("{link}?map=false&v=1"));
    assert_eq!(picture.headers()["content-type"], "image/jpeg");
    assert_eq!(picture.body_mut().read_to_vec().expect("bytes"), large());
    // The middle of the strangest region, row 1 of 2 and column 1 of 3, is warm.
    let mut picture = get(&desk, link);
    let drawn = image::load_from_memory(&picture.body_mut().read_to_vec().expect("bytes")).expect("a JPEG");
    let warm = drawn.to_rgb8().get_pixel(79, 67).0;
    assert!(warm[0] > warm[2] + 60, "{warm:?}");
    assert!(problem(get(&desk, &format!("{link}?map=no")), 400).contains("map"));
    let mut picture = get(&desk, one["thumbnail"].as_str().expect("a link"));
    assert_eq!(picture.body_mut().read_to_vec().expect("bytes"), b"small");

    problem(get(&desk, "/api/events/nonsense"), 404);
    problem(get(&desk, "/api/events/..%2f..%2flock/snapshot.jpg"), 404);
    problem(get(&desk, &format!("/api/events/{}/snapshot.jpg", event(0).id)), 404);
    for query in ["limit=0", "limit=501", "limit=x", "min_score=high", "in_progress=maybe", "camera=gate"] {
        let detail = problem(get(&desk, &format!("/api/events?{query}")), 400);
        assert!(detail.contains(query.split('=').next().expect("a name")), "{query}: {detail}");
    }
}

#[test]
fn a_review_is_kept_filtered_by_and_told() {
    let desk = Desk::start();
    for n in 0..3 {
        desk.store.put_event(&event(n)).expect("written");
    }
    let mut client = Client::connect(&desk, None);
    let review = |n: u64, body: Value| send(&desk, &format!("/api/events/{}/review", event(n).id), &body);
    let answer = json(review(1, json!({"label": "false_alarm", "note": " a cat\n"})));
    let expected =
        json!({"label": "false_alarm", "note": "a cat", "time": "1970-01-01T00:33:20Z", "by": null});
    assert_eq!(answer["review"], expected);
    let told = client.next();
    assert_eq!((told.topic.as_str(), &told.data["id"]), ("alert.update", &answer["id"]));
    assert_eq!(told.data["review"], expected);
    assert_eq!(json(review(2, json!({"note": "who is this?"})))["review"]["label"], Value::Null);
    let listed = |query: &str| -> Vec<u64> {
        let page = json(get(&desk, &format!("/api/events?{query}")));
        let events = page["events"].as_array().expect("a list");
        events.iter().map(|e| e["segments"]["first"].as_u64().expect("a number")).collect()
    };
    assert_eq!(listed("reviewed=true"), [2, 1]);
    assert_eq!(listed("reviewed=false"), [0]);
    assert_eq!(listed("label=false_alarm"), [1]);
    assert_eq!(json(review(1, json!({"label": null})))["review"], Value::Null, "taken back");
    assert_eq!(listed("reviewed=true"), [2]);
    problem(review(9, json!({"label": "unsure"})), 404);
    assert!(problem(review(0, json!({"label": "maybe"})), 422).contains("true_alarm"));
    assert!(problem(review(0, json!({"lable": "unsure"})), 422).contains("lable"));
    assert!(problem(review(0, json!({"note": "x".repeat(2001)})), 400).contains("2000"));
    assert!(problem(get(&desk, "/api/events?label=maybe"), 400).contains("label"));
}

#[test]
fn learning_again_is_accepted_once() {
    let desk = Desk::start();
    let answer = post(&desk, "/api/cameras/gate/learn", &[]);
    assert_eq!(answer.status(), 202);
    assert_eq!(json(answer)["detectors"][0]["learning"]["state"], "relearning");
    assert!(problem(post(&desk, "/api/cameras/gate/learn", &[]), 409).contains("already learning"));
    problem(post(&desk, "/api/cameras/attic/learn", &[]), 404);
}

#[test]
fn events_are_switched_off_and_on_and_it_is_remembered() {
    let desk = Desk::start();
    let switch = |camera: &str, body: &str| {
        let request = agent().post(desk.url(&format!("/api/cameras/{camera}/detect")));
        request.header("content-type", "application/json").send(body).expect("answered")
    };
    assert_eq!(desk.store.detect("gate").expect("read"), None);
    for (on, state) in [(false, "off"), (true, "on")] {
        let answer = switch("gate", &format!("{{\"on\": {on}}}"));
        assert_eq!(answer.status(), 200);
        assert_eq!(json(answer)["detect"], serde_json::json!({"on": on, "state": state}));
        assert_eq!(json(get(&desk, "/api/cameras/gate"))["detect"]["state"], state);
        assert_eq!(desk.store.detect("gate").expect("read"), Some(on));
    }
    problem(switch("attic", "{\"on\": true}"), 404);
    for body in ["", "{}", "{\"on\": 1}", "{\"on\": true, \"off\": 1}"] {
        let answer = switch("gate", body);
        let status = answer.status().as_u16();
        assert!(matches!(status, 400 | 422), "{body}: {status}");
        problem(answer, status);
    }
}

#[test]
fn other_sites_can_neither_change_nor_read() {
    let desk = Desk::start();
    let learn = "/api/cameras/gate/learn";
    problem(post(&desk, learn, &[("origin", "https://evil.example")]), 403);
    problem(post(&desk, learn, &[("sec-fetch-site", "cross-site")]), 403);
    let rebound =
        agent().get(desk.url("/api/cameras")).header("host", "evil.example").call().expect("answered");
    assert!(problem(rebound, 403).contains("localhost"));
    let own = format!("http://{}", desk.addr());
    assert_eq!(post(&desk, learn, &[("origin", &own), ("sec-fetch-site", "same-origin")]).status(), 202);
}

#[test]
fn wrong_paths_and_methods_are_problems() {
    let desk = Desk::start();
    problem(get(&desk, "/api/nothing"), 404);
    let response = post(&desk, "/api/events", &[]);
    assert_eq!(response.headers()["allow"], "GET,HEAD");
    problem(response, 405);
    problem(get(&desk, "/api/cameras/gate/learn"), 405);
}

#[test]
fn liveness_readiness_and_health_are_different_things() {
    let desk = Desk::start();
    assert_eq!(json(get(&desk, "/readyz"))["status"], "degraded", "the yard is away");
    desk.cameras.list.lock().expect("held by no panic").pop();
    assert_eq!(json(get(&desk, "/readyz"))["status"], "healthy");
    desk.cameras.list.lock().expect("held by no panic")[0].healthy = false;
    assert_eq!(json(get(&desk, "/readyz"))["status"], "degraded");
    desk.cameras.ready.store(false, Ordering::Relaxed);
    let response = get(&desk, "/readyz");
    assert_eq!(response.status(), 503);
    assert_eq!(json(response)["status"], "starting");
    assert_eq!(get(&desk, "/healthz").status(), 200);
}

#[test]
fn metrics_are_prometheus_text_and_the_configuration_is_shown() {
    let desk = Desk::start();
    desk.metrics.camera("gate").frame(1.5);
    let mut response = get(&desk, "/metrics");
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = response.body_mut().read_to_string().expect("text");
    assert!(text.contains("sigmawatch_frames_total{camera=\"gate\"} 1\n"), "{text}");
    assert_eq!(json(get(&desk, "/api/config"))["cameras"][0]["password"], "***");
}

#[test]
fn a_port_that_is_taken_is_named_with_the_remedy() {
    let desk = Desk::start();
    let message =
        serve(&http(&desk.addr().to_string()), desk.parts.clone()).err().expect("taken").to_string();
    assert!(message.contains(&desk.addr().to_string()) && message.contains("choose another"), "{message}");
}

/// An open event stream.
struct Client {
    lines: BufReader<TcpStream>,
}

#[derive(Debug, PartialEq)]
struct Received {
    id: i64,
    topic: String,
    data: Value,
}

impl Client {
    fn connect(desk: &Desk, last_seen: Option<i64>) -> Self {
        let mut socket = TcpStream::connect(desk.addr()).expect("connected");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        let resume = last_seen.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        write!(socket, "GET /api/stream HTTP/1.1\r\nHost: localhost\r\n{resume}\r\n").expect("sent");
        let mut client = Self { lines: BufReader::new(socket) };
        assert!(client.line().contains("200 OK"));
        while !client.line().is_empty() {}
        // The first heartbeat: the server has subscribed this client.
        while !client.line().starts_with(": alive") {}
        client
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).expect("read") > 0, "the stream ended");
        line.trim_end().to_owned()
    }

    /// The next message that is not a heartbeat.
    fn next(&mut self) -> Received {
        let (mut id, mut topic) = (0, String::new());
        loop {
            let line = self.line();
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.parse().expect("a number");
            } else if let Some(text) = line.strip_prefix("event: ") {
                topic = text.to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                return Received { id, topic, data: serde_json::from_str(text).expect("JSON") };
            }
        }
    }
}

#[test]
fn the_stream_tells_what_happens() {
    let desk = Desk::start();
    let mut client = Client::connect(&desk, None);
    desk.bus.score(&row(at(1999)), 0.2, false);
    desk.bus.camera(&crate::desk::camera(
        "gate",
        sigmawatch::api::LinkState::Stalled,
        sigmawatch::api::LearningState::Armed,
    ));
    for change in [Change::New, Change::Update, Change::End] {
        assert!(desk.bus.alert(change, &event(1)), "a client is there");
    }
    let received: Vec<_> = (0..5).map(|_| client.next()).collect();
    let topics: Vec<_> = received.iter().map(|r| r.topic.as_str()).collect();
    assert_eq!(topics, ["score", "camera.state", "alert.new", "alert.update", "alert.end"]);
    assert_eq!(received[0].data["threshold"], 2.5);
    assert_eq!(received[1].data["state"], "stalled");
    assert_eq!(received[2].data["type"], "new");
    assert!(received.is_sorted_by(|a, b| a.id < b.id));
}

/// Messages that a client with this last id gets before a new one.
fn replayed(desk: &Desk, last_seen: i64) -> Vec<Received> {
    let mut client = Client::connect_for_replay(desk, last_seen);
    desk.bus.alert(Change::New, &event(99));
    let mut all = Vec::new();
    loop {
        let received = client.next();
        if received.data["id"] == event(99).id {
            return all;
        }
        all.push(received);
    }
}

impl Client {
    /// Like [`Client::connect`], but does not wait for a heartbeat, before which the replay comes.
    fn connect_for_replay(desk: &Desk, last_seen: i64) -> Self {
        let mut socket = TcpStream::connect(desk.addr()).expect("connected");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        write!(socket, "GET /api/stream HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {last_seen}\r\n\r\n")
            .expect("sent");
        let mut client = Self { lines: BufReader::new(socket) };
        assert!(client.line().contains("200 OK"));
        while !client.line().is_empty() {}
        client
    }
}

#[test]
fn a_client_that_comes_back_gets_what_it_missed_from_memory() {
    let desk = Desk::start();
    let mut client = Client::connect(&desk, None);
    desk.bus.alert(Change::New, &event(1));
    let seen = client.next().id;
    drop(client);
    desk.bus.alert(Change::Update, &event(1));
    desk.bus.alert(Change::End, &event(1));
    let missed = replayed(&desk, seen);
    assert_eq!(missed.iter().map(|r| r.topic.as_str()).collect::<Vec<_>>(), ["alert.update", "alert.end"]);
    assert!(missed[0].id > seen);
    assert!(replayed(&desk, missed[1].id + 1).len() <= 1, "at most the alert of the call before");
}

#[test]
fn a_client_of_an_earlier_life_gets_what_it_missed_from_the_store() {
    let desk = Desk::start();
    // Written at second 2000 by the test's clock, which is when this life began.
    for n in [1, 2] {
        desk.store.put_event(&event(n)).expect("written");
    }
    let mut open = event(3);
    open.end_time = None;
    desk.store.put_event(&open).expect("written");
    let missed = replayed(&desk, at(1500).as_microsecond());
    let ids: Vec<_> = missed.iter().map(|r| r.data["id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(ids, [1, 2, 3].map(|n| event(n).id));
    assert_eq!(missed[2].topic, "alert.new", "still open");
    assert_eq!(missed[0].topic, "alert.end");
    assert_eq!(missed[1].id, at(1500).as_microsecond(), "a break before the end repeats all of it");
    assert!(missed[2].id > missed[1].id);
}

#[test]
fn an_id_that_was_never_given_is_refused() {
    let desk = Desk::start();
    let response =
        agent().get(desk.url("/api/stream")).header("last-event-id", "soon").call().expect("answered");
    problem(response, 400);
}

#[test]
fn a_client_that_does_not_read_is_cut_off_and_counted_and_the_others_are_not() {
    let desk = Desk::start();
    let mut good = Client::connect(&desk, None);
    let _stuck = Client::connect(&desk, None);
    let big =
        crate::desk::camera("gate", sigmawatch::api::LinkState::Live, sigmawatch::api::LearningState::Armed);
    let big = sigmawatch::api::CameraStatus { source: "x".repeat(20_000), ..big };
    let metric = |name: &str| -> u64 {
        let text = desk.metrics.render();
        let value = text.lines().find_map(|l| l.strip_prefix(name)).expect("a metric");
        value.trim().parse().expect("a number")
    };
    assert_eq!(metric("sigmawatch_stream_clients "), 2);
    let started = Instant::now();
    // One at a time for the good client; the stuck one's socket and queue fill meanwhile.
    while metric("sigmawatch_stream_lagged_total ") == 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "nobody was cut off");
        desk.bus.camera(&big);
        assert_eq!(good.next().topic, "camera.state");
    }
    desk.bus.alert(Change::New, &event(1));
    assert_eq!(good.next().topic, "alert.new");
    while metric("sigmawatch_stream_clients ") > 1 {
        assert!(started.elapsed() < Duration::from_secs(60), "the stuck one is still there");
    }
}

#[test]
fn stopping_ends_open_streams_at_once() {
    let mut desk = Desk::start();
    let mut client = Client::connect(&desk, None);
    let began = Instant::now();
    drop(desk.server.take());
    assert!(began.elapsed() < Duration::from_secs(2), "it did not wait for the stream's end");
    let mut rest = String::new();
    while client.lines.read_line(&mut rest).is_ok_and(|n| n > 0) {}
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_configuration_is_checked_without_being_used() {
    let desk = Desk::start();
    let ask = |text: &str| send(&desk, "/api/config/check", &json!({"text": text}));
    let found = json(ask("[http]\nlisten = \"nowhere\"\n"));
    assert_eq!(found["ok"], false);
    let problems = found["problems"].as_array().expect("a list");
    let listen = problems.iter().find(|p| p["key"] == "http.listen").expect("found");
    assert_eq!((&listen["line"], &listen["column"]), (&2.into(), &10.into()));
    assert!(listen["remedy"].as_str().expect("text").contains("127.0.0.1:8710"), "{listen}");
    let root = env!("CARGO_MANIFEST_DIR");
    let good = format!(
        "[runtime]\nonnxruntime = \"{root}/Cargo.toml\"\npipelines = \"{root}/pipelines\"\n\
         [[camera]]\nname = \"gate\"\nsource = \"synthetic\"\n"
    );
    let found = json(ask(&good));
    assert_eq!((&found["ok"], &found["problems"]), (&true.into(), &json!([])), "{found}");
    problem(ask(&"#".repeat((64 << 10) + 1)), 413);
}
