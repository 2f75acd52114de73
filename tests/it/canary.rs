//! Canaries: every secret that the daemon is given, looked for everywhere that somebody could read.

use crate::clips::mp4;
use crate::program::{Daemon, Home};
use crate::rtsp_camera::{Login, RtspCamera};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use sigmawatch::access::new_token;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

const GATE: Login = Login { user: "wächter", password: "c4naryA@:/w\"ö r#d%1!", digest: false };
const HALL: Login = Login { user: "hall", password: "c4naryB@:/?+&=z", digest: true };
const WRONG: &str = "c4naryC:/x";
const HOOK_QUERY: &str = "c4naryD";
const HOOK_SECRET: &str = "c4naryE-hmac";
const HOOK_PASSWORD: &str = "c4naryF basic";
const BROKER: &str = "c4naryG/broker";

/// Every byte escaped that may be.
fn escaped(text: &str) -> String {
    let escape = |b: u8| match b {
        b if b.is_ascii_alphanumeric() => (b as char).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// What each secret could be written as.
fn needles(token: &str) -> Vec<String> {
    let pairs = [
        (GATE.user, GATE.password),
        (HALL.user, HALL.password),
        (GATE.user, WRONG),
        ("", HOOK_QUERY),
        ("", HOOK_SECRET),
        ("hook", HOOK_PASSWORD),
        ("broker", BROKER),
        ("", token),
    ];
    let forms = pairs.iter().flat_map(|(user, password)| {
        let quoted = serde_json::to_string(password).expect("a string");
        [
            (*password).to_owned(),
            escaped(password),
            escaped(password).to_lowercase(),
            quoted.trim_matches('"').to_owned(),
            BASE64_STANDARD.encode(format!("{user}:{password}")),
            BASE64_STANDARD.encode(password),
        ]
    });
    // Any piece of them, too.
    forms.chain(["c4nary".to_owned(), "c4nary".to_uppercase()]).collect()
}

/// Where a secret stands, with what is around it.
fn hits(place: &str, text: &[u8], needles: &[String]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let found = needles.iter().filter_map(|needle| Some((needle, text.find(needle.as_str())?)));
    let shown = found.map(|(needle, at)| {
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        format!("{place}: {needle:?} in {:?}", text[line..].lines().next().unwrap_or_default())
    });
    shown.collect()
}

/// Whatever a GET brings within some seconds, its headers too: streams never end.
fn get(daemon: &Daemon, path: &str, token: &str) -> Vec<u8> {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let agent: ureq::Agent = config.timeout_global(Some(Duration::from_secs(3))).build().new_agent();
    let request = agent.get(daemon.address(path)).header("authorization", format!("Bearer {token}"));
    let response = request.call().unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut text = format!("{} {:?}\n", response.status(), response.headers()).into_bytes();
    let mut reader = response.into_body().into_reader();
    let mut part = vec![0; 1 << 16];
    while let Ok(n @ 1..) = reader.read(&mut part) {
        text.extend_from_slice(&part[..n]);
    }
    text
}

fn json(daemon: &Daemon, path: &str, token: &str) -> Value {
    let text = String::from_utf8(get(daemon, path, token)).expect("text");
    serde_json::from_str(text.split_once('\n').expect("a status").1).unwrap_or(Value::Null)
}

/// Command lines and environments of the processes below one; and the one's own command line.
fn processes(pid: u32) -> Vec<(String, Vec<u8>)> {
    let read = |path: String| std::fs::read(&path).ok().map(|text| (path, text));
    let mut found: Vec<_> = read(format!("/proc/{pid}/cmdline")).into_iter().collect();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let Some(called) = read(format!("/proc/{child}/cmdline")) else { continue };
            // Until it has become another program it is the daemon itself.
            if called.1 != found[0].1 {
                found.push(called);
                found.extend(read(format!("/proc/{child}/environ")));
            }
        }
    }
    found
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.extend(std::fs::read(&path).ok().map(|text| (path.display().to_string(), text))),
        }
    }
    found
}

fn configuration(gate: &RtspCamera, hall: &RtspCamera, gate_password: &str, token_hash: &str) -> String {
    let gate_url = gate.url();
    let (user, password) = (GATE.user, escaped(HALL.password));
    let hall_url = hall.url().replace("rtsp://", &format!("rtsp://{}:{password}@", HALL.user));
    format!(
        r#"
[[camera]]
name = "gate"
source = "rtsp"
location = "{gate_url}"
user = "{user}"
{gate_password}
[[camera]]
name = "yard"
source = "rtsp"
location = "{gate_url}"
user = "{user}"
password = "{WRONG}"
isolate = true
[[camera]]
name = "hall"
source = "rtsp"
location = "{hall_url}"
isolate = true
[[camera]]
name = "plaza"
source = "synthetic"
real_time = false
[[user]]
name = "root"
role = "admin"
token_hash = "{token_hash}"
[[sink]]
name = "hook"
kind = "webhook"
camera_states = true
url = "http://127.0.0.1:9/alerts?key={HOOK_QUERY}"
secret = "{HOOK_SECRET}"
user = "hook"
password = "{HOOK_PASSWORD}"
[[sink]]
name = "broker"
kind = "mqtt"
camera_states = true
url = "mqtt://127.0.0.1:9"
user = "broker"
password = "{BROKER}"
"#
    )
}

/// Runs a daemon that is given every secret; gives every place where one was found, and GStreamer's log.
fn leaks(categories: &str, to_file: bool, credentials: bool) -> (Vec<String>, String) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = mp4(dir.path(), "clip.mp4", 1200, 20);
    let (gate, hall) = (RtspCamera::start(&clip, 0, Some(GATE)), RtspCamera::start(&clip, 0, Some(HALL)));
    let token = new_token();
    let needles = needles(&token.text);
    let password = if credentials { "password_file = \"gate\"" } else { "password = \"${GATE_PASSWORD}\"" };
    let text = configuration(&gate, &hall, password, &token.hash);
    assert!(!hits("the configuration", text.as_bytes(), &needles).is_empty(), "the search finds something");
    let home = Home::new("width = 96\nheight = 64\nwatch_for = \"60s\"", &text);
    let debug = dir.path().join("gstreamer.log");
    let mut command = home.command();
    command
        .env("GST_DEBUG", categories)
        .env("GST_DEBUG_NO_COLOR", "1")
        .env("SIGMAWATCH_LOG", "debug,hyper=info");
    if to_file {
        command.env("GST_DEBUG_FILE", &debug);
    }
    if credentials {
        std::fs::create_dir(dir.path().join("credentials")).expect("a folder");
        std::fs::write(dir.path().join("credentials/gate"), format!("{}\n", GATE.password)).expect("written");
        command.env("CREDENTIALS_DIRECTORY", dir.path().join("credentials"));
    } else {
        command.env("GATE_PASSWORD", GATE.password);
    }
    let daemon = Daemon::start(command);
    let ask = |path: &str| json(&daemon, path, &token.text);
    let mut found = vec![];

    // The learning process has an environment of its own.
    daemon.until("the learning process", || {
        let seen = processes(daemon.pid());
        let learning = seen.iter().any(|(path, text)| {
            path.ends_with("cmdline") && String::from_utf8_lossy(text).contains("\0learn\0")
        });
        found.extend(seen.iter().flat_map(|(path, text)| hits(path, text, &needles)));
        learning.then_some(())
    });
    found.extend(processes(daemon.pid()).iter().flat_map(|(path, text)| hits(path, text, &needles)));
    for (name, wanted) in [("gate", "live"), ("hall", "live"), ("yard", "refused")] {
        daemon.until(&format!("{name} {wanted}"), || {
            let camera = ask(&format!("/api/cameras/{name}"));
            let refused =
                camera["problem"].as_str().is_some_and(|problem| problem.contains("not authorised"));
            (wanted == "refused" && refused || camera["state"] == wanted).then_some(())
        });
    }

    // Every answer there is: the API's own list of them, for every camera and sink.
    let list = ask("/api/openapi.json");
    let mut paths = vec!["/".to_owned()];
    for (path, methods) in list["paths"].as_object().expect("the description lists paths") {
        if methods["get"].is_null() {
            continue;
        }
        match path.matches('{').count() {
            0 => paths.push(path.clone()),
            1 => {
                let (before, rest) = path.split_once('{').expect("counted");
                let after = rest.split_once('}').expect("closed").1;
                let names = ["gate", "yard", "hall", "hook", "broker"];
                paths.extend(names.iter().map(|name| format!("{before}{name}{after}")));
            }
            _ => {}
        }
    }
    for needed in ["/api/config", "/api/stream", "/api/cameras/yard", "/api/sinks/hook/dead", "/metrics"] {
        assert!(paths.iter().any(|path| path == needed), "{needed} {paths:?}");
    }
    for path in &paths {
        found.extend(hits(path, &get(&daemon, path, &token.text), &needles));
    }
    println!("{} addresses asked", paths.len());

    for (path, text) in files(&home.path("data")) {
        found.extend(hits(&path, &text, &needles));
    }
    let log = daemon.stop();
    found.extend(hits("the log", log.as_bytes(), &needles));
    let gst = if to_file { std::fs::read(&debug).expect("GStreamer's log") } else { log.into_bytes() };
    found.extend(hits("GStreamer's log", &gst, &needles));
    (found, String::from_utf8_lossy(&gst).into_owned())
}

#[test]
fn no_secret_is_found_anywhere_with_gstreamers_log_in_a_file() {
    let (found, log) = leaks("*:5,rtsp*:9,sdp*:9", true, false);
    println!("{} MB of GStreamer's log", log.len() >> 20);
    // It is GStreamer's own, with the very headers.
    assert!(log.contains("rtspsrc") && log.contains("uthorization"), "{}", &log[..log.len().min(2000)]);
    assert!(found.is_empty(), "{} hits:\n{}", found.len(), found.join("\n"));
}

#[test]
fn no_secret_is_found_anywhere_with_gstreamers_log_on_standard_error_and_a_credential_of_systemds() {
    let (found, log) = leaks("2,rtsp*:9", false, true);
    assert!(log.contains("rtspsrc") && log.contains("uthorization"), "{}", &log[..log.len().min(2000)]);
    assert!(found.is_empty(), "{} hits:\n{}", found.len(), found.join("\n"));
}
