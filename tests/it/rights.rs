//! Every route and every kind of caller: the answers are what the one table of rights says.

use crate::desk::Desk;
use crate::fixture::{event, row};
use serde_json::{Value, json};
use sigmawatch::access::{self, Caller, Need, Rule, Scope, Token, hash_password, new_token};
use sigmawatch::alert::Change;
use sigmawatch::base::Timestamp;
use sigmawatch::config::{Role, User};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;
use ureq::Body;
use ureq::http::Response;

/// Somebody who asks, with what the table is to think of him.
struct Asker {
    who: &'static str,
    header: Option<(&'static str, String)>,
    caller: Option<Caller>,
}

/// A desk with a user for every role, one who sees the gate alone, and one whose token has expired.
struct Office {
    desk: Desk,
    askers: Vec<Asker>,
}

impl Office {
    fn open() -> Self {
        let now = Timestamp::from_second(2000).expect("in range");
        let token = |name: &'static str, role, cameras: Option<&[&str]>, expires| {
            let token: Token = new_token();
            let cameras = cameras.map(|names| names.iter().map(|name| (*name).into()).collect::<Vec<_>>());
            let caller = Caller { name: Some(name.into()), role, cameras: cameras.clone().map(Into::into) };
            let token_hash = Some(token.hash);
            let user = User { name: name.into(), role, cameras, password_hash: None, token_hash, expires };
            (user, caller, token.text)
        };
        let known = [
            token("viewer", Role::Viewer, None, None),
            token("operator", Role::Operator, None, None),
            token("admin", Role::Admin, None, Some(now + Duration::from_secs(1))),
            token("gatekeeper", Role::Viewer, Some(&["gate"]), None),
            token("gatemaster", Role::Admin, Some(&["gate"]), None),
            token("former", Role::Admin, None, Some(now)),
        ];
        let mut users: Vec<User> = known.iter().map(|(user, ..)| user.clone()).collect();
        users[0].password_hash = Some(hash_password("open sesame"));
        let desk = Desk::start_with(now, &users);
        let mut askers: Vec<Asker> = vec![
            Asker { who: "nobody", header: None, caller: None },
            Asker {
                who: "a wrong token",
                header: Some(("authorization", "Bearer sgw_x".into())),
                caller: None,
            },
            Asker {
                who: "another scheme",
                header: Some(("authorization", "Basic YTpi".into())),
                caller: None,
            },
            Asker { who: "a wrong cookie", header: Some(("cookie", "sigmawatch=x".into())), caller: None },
        ];
        for (user, caller, text) in known {
            let caller = (user.expires != Some(now)).then_some(caller);
            let who = match user.name.as_str() {
                "former" => "an expired token",
                _ => &*user.name.clone().leak(),
            };
            askers.push(Asker { who, header: Some(("authorization", format!("Bearer {text}"))), caller });
        }
        let cookie = log_in(&desk, "viewer", "open sesame");
        let caller = askers[4].caller.clone();
        askers.push(Asker { who: "the viewer's session", header: Some(("cookie", cookie)), caller });
        Self { desk, askers }
    }

    fn asker(&self, who: &str) -> &Asker {
        self.askers.iter().find(|asker| asker.who == who).expect("one of them")
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(10))).build().new_agent()
}

fn log_in(desk: &Desk, name: &str, password: &str) -> String {
    let answer = try_login(desk, name, password);
    assert_eq!(answer.status(), 200);
    let cookie = answer.headers()["set-cookie"].to_str().expect("text");
    assert!(cookie.contains("; HttpOnly; SameSite=Strict") && !cookie.contains("Secure"), "{cookie}");
    cookie.split(';').next().expect("name and value").to_owned()
}

fn try_login(desk: &Desk, name: &str, password: &str) -> Response<Body> {
    let body = json!({"name": name, "password": password});
    agent().post(desk.url("/api/login")).send_json(body).expect("answered")
}

fn ask(desk: &Desk, method: &str, path: &str, asker: &Asker) -> Response<Body> {
    let headers = asker.header.iter().map(|(name, value)| (*name, value.as_str()));
    match method {
        "GET" => headers.fold(agent().get(desk.url(path)), |r, (name, value)| r.header(name, value)).call(),
        _ => {
            let request = agent().post(desk.url(path));
            headers.fold(request, |r, (name, value)| r.header(name, value)).send_json(json!({}))
        }
    }
    .expect("answered")
}

/// What the table says of a caller, worked out here by itself.
fn expected(rule: &Rule, caller: Option<&Caller>, camera: Option<&str>) -> Option<u16> {
    let needed = match rule.need {
        Need::Nobody => return None,
        Need::Role(role) => role,
    };
    let Some(caller) = caller else { return Some(401) };
    let sees = |camera: &str| caller.cameras.as_ref().is_none_or(|own| own.iter().any(|c| &**c == camera));
    let foreign = match rule.scope {
        Scope::Daemon | Scope::Listed => false,
        Scope::AllCameras => caller.cameras.is_some(),
        Scope::Camera | Scope::Event => !sees(camera.expect("a camera")),
    };
    (caller.role < needed || foreign).then_some(403)
}

#[test]
fn every_route_answers_every_caller_as_the_table_says() {
    let office = Office::open();
    let desk = &office.desk;
    for n in 0..2 {
        desk.store.put_event(&event(n)).expect("written");
        desk.store.put_snapshot(&event(n).id, b"large", b"small").expect("written");
    }
    let mut tried = 0;
    for rule in access::TABLE.iter().filter(|rule| rule.method != "MQTT") {
        for asker in &office.askers {
            if rule.path == "/api/logout" && asker.who.ends_with("session") {
                continue; // It would be nobody's for the routes that follow.
            }
            for (camera, id) in [("gate", event(0).id), ("yard", event(1).id)] {
                let path = rule.path.replace("{name}", camera).replace("{id}", &id);
                let answer = ask(desk, rule.method, &path, asker);
                let status = answer.status().as_u16();
                let what = format!("{} {path} by {}: {status}", rule.method, asker.who);
                match expected(rule, asker.caller.as_ref(), Some(camera)) {
                    Some(refusal) => {
                        assert_eq!(status, refusal, "{what}");
                        let kind = &answer.headers()["content-type"];
                        assert_eq!(kind, "application/problem+json", "{what}");
                    }
                    // What comes behind the guard is another test's business.
                    None => assert!(![401, 403, 405].contains(&status), "{what}"),
                }
                tried += 1;
            }
        }
    }
    println!("{} routes, {} callers: {tried} requests", access::TABLE.len(), office.askers.len());
}

#[test]
fn lists_and_pictures_leave_out_what_is_not_ones_own() {
    let office = Office::open();
    let desk = &office.desk;
    for n in 0..6 {
        desk.store.put_event(&event(n)).expect("written");
    }
    let gatekeeper = office.asker("gatekeeper");
    let get =
        |path: &str| -> Value { ask(desk, "GET", path, gatekeeper).body_mut().read_json().expect("JSON") };
    let cameras = get("/api/cameras");
    assert_eq!(cameras.as_array().expect("a list").len(), 1);
    assert_eq!(cameras[0]["name"], "gate");
    let gates = |path: &str| {
        let events = get(path)["events"].clone();
        assert!(events.as_array().expect("a list").iter().all(|event| event["camera"] == "gate"), "{path}");
        events.as_array().expect("a list").len()
    };
    assert_eq!(gates("/api/events"), 3);
    assert_eq!(gates("/api/events?cameras=gate,yard"), 3);
    assert_eq!(gates("/api/events?cameras=yard"), 0, "and not everything");
    let me = get("/api/me");
    assert_eq!(me, json!({"name": "gatekeeper", "role": "viewer", "cameras": ["gate"], "login": true}));
}

/// The stream's messages, until one that is the last.
fn stream(desk: &Desk, asker: &Asker, resume: &str, last: &str) -> Vec<(String, Value)> {
    let mut socket = TcpStream::connect(desk.addr()).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    let (name, value) = asker.header.as_ref().expect("known by a header");
    write!(socket, "GET /api/stream HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\n{resume}\r\n")
        .expect("sent");
    let mut lines = BufReader::new(socket).lines().map(|line| line.expect("read"));
    assert!(lines.next().expect("a status").contains("200"));
    let (mut found, mut topic, mut told) = (Vec::new(), String::new(), false);
    for line in lines {
        if line.starts_with(": alive") && !told {
            told = true;
            for n in [2, 3] {
                desk.bus.alert(Change::New, &event(n));
            }
            let yard = sigmawatch::store::ScoreRow { camera: "yard".into(), ..row(Timestamp::UNIX_EPOCH) };
            desk.bus.score(&yard, 0.5, false);
            desk.bus.camera(&crate::desk::camera(
                "yard",
                sigmawatch::api::LinkState::Live,
                sigmawatch::api::LearningState::Armed,
            ));
            desk.bus.score(&row(Timestamp::UNIX_EPOCH), 0.5, false);
        } else if let Some(text) = line.strip_prefix("event: ") {
            text.clone_into(&mut topic);
        } else if let Some(text) = line.strip_prefix("data: ") {
            found.push((topic.clone(), serde_json::from_str::<Value>(text).expect("JSON")));
            if topic == last {
                break;
            }
        }
    }
    found
}

#[test]
fn the_stream_tells_each_only_of_his_cameras() {
    let office = Office::open();
    let gates = |told: &[(String, Value)]| -> Vec<bool> {
        told.iter().map(|(_, data)| data["camera"] == "gate").collect()
    };
    let told = stream(&office.desk, office.asker("gatekeeper"), "", "score");
    assert_eq!(gates(&told), [true, true], "{told:?}");
    assert_eq!(told[0].0, "alert.new");
    let told = stream(&office.desk, office.asker("viewer"), "", "camera.state");
    assert_eq!(told.len(), 4, "{told:?}");
    // What is told again, from memory and from the store.
    let memory = format!("Last-Event-ID: {}\r\n", 2_000_000_000);
    let told = stream(&office.desk, office.asker("gatekeeper"), &memory, "score");
    assert!(told.len() > 1 && gates(&told).iter().all(|gate| *gate), "{told:?}");
    for n in 0..4 {
        office.desk.store.put_event(&event(n)).expect("written");
    }
    let told = stream(&office.desk, office.asker("gatekeeper"), "Last-Event-ID: 1\r\n", "score");
    assert!(told.len() > 2 && gates(&told).iter().all(|gate| *gate), "{told:?}");
}

#[test]
fn a_session_ends_with_the_logout_and_so_do_its_streams() {
    let office = Office::open();
    let session = office.asker("the viewer's session");
    let mut socket = TcpStream::connect(office.desk.addr()).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    let (name, value) = session.header.as_ref().expect("a cookie");
    write!(socket, "GET /api/stream HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\n\r\n").expect("sent");
    let mut lines = BufReader::new(socket).lines();
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line.starts_with(": alive")));
    assert_eq!(ask(&office.desk, "POST", "/api/logout", session).status(), 204);
    assert_eq!(ask(&office.desk, "GET", "/api/me", session).status(), 401);
    assert_eq!(
        ask(&office.desk, "GET", "/api/me", office.asker("viewer")).status(),
        200,
        "the token is another thing"
    );
    // The stream ends, or this waits until the socket's patience is over and fails.
    assert!(lines.all(|line| line.is_ok()));
}

#[test]
fn wrong_logins_are_refused_then_slowed_down() {
    let office = Office::open();
    let desk = &office.desk;
    for _ in 0..5 {
        let mut answer = try_login(desk, "viewer", "wrong");
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        assert_eq!(answer.body_mut().read_json::<Value>().expect("JSON")["instance"], "/api/login");
    }
    let answer = try_login(desk, "viewer", "open sesame");
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"].to_str().expect("text")),
        (429, &"1")
    );
    assert_eq!(ask(desk, "GET", "/api/me", office.asker("viewer")).status(), 200, "others go on");
    for (body, status) in
        [("{", 400), ("{\"name\": 1}", 422), (&*format!("[\"{}\"]", "x".repeat(70_000)), 413)]
    {
        let request = agent().post(desk.url("/api/login")).content_type("application/json");
        assert_eq!(request.send(body).expect("answered").status(), status);
    }
    let plain = agent().post(desk.url("/api/login")).content_type("text/plain").send("{}").expect("answered");
    assert_eq!(plain.status(), 415);
    assert_eq!(plain.headers()["content-type"], "application/problem+json");
}
