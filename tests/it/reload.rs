//! The configuration read again while the daemon runs: what has changed is changed, the rest does not blink, and what
//! cannot be used changes nothing.

use crate::clips::mp4;
use crate::daemon::{Says, write_scorer};
use crate::program::{Daemon, Home};
use crate::rtsp_camera::RtspCamera;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A camera that is watched by a model that is always alarmed.
pub fn synthetic(name: &str, more: &str) -> String {
    format!("[[camera]]\nname = \"{name}\"\nsource = \"synthetic\"\n{more}\n")
}

/// The plaza, which learns, and is quick about it where it is fast.
fn plaza(fast: bool, k: f64) -> String {
    let detector = format!(
        "[[camera.detector]]\nname = \"main\"\nscorer = \"mahalanobis\"\nwatch_for = \"20s\"\nk = {k:.1}\n"
    );
    synthetic("plaza", &format!("real_time = {}\n{detector}", !fast))
}

fn gate(camera: &RtspCamera) -> String {
    format!("[[camera]]\nname = \"gate\"\nsource = \"rtsp\"\nlocation = \"{}\"\n", camera.url())
}

/// The defaults of all cameras; `close_after` is long, so that an event stays open.
pub const DETECTOR: &str = "width = 96\nheight = 64\nscorer = \"always.onnx\"\nclose_after = \"10m\"";

/// What the service manager was told, apart from the watchdog's food.
struct Manager(Arc<Mutex<Vec<String>>>);

impl Manager {
    fn listen(home: &Home) -> Self {
        let socket = UnixDatagram::bind(home.path("notify")).expect("a free path");
        let said = Arc::new(Mutex::new(vec![]));
        let heard = said.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 512];
            while let Ok(length) = socket.recv(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).trim().to_owned();
                if text != "WATCHDOG=1" {
                    heard.lock().expect("held by no panic").push(text);
                }
            }
        });
        Self(said)
    }

    fn said(&self) -> Vec<String> {
        self.0.lock().expect("held by no panic").clone()
    }
}

pub fn reload(daemon: &Daemon) -> (u16, Value) {
    let mut answer = daemon.post("/api/config/reload");
    (answer.status().as_u16(), answer.body_mut().read_json().expect("JSON"))
}

fn names(daemon: &Daemon) -> Vec<String> {
    let cameras = daemon.json("/api/cameras");
    cameras.as_array().expect("a list").iter().map(|c| c["name"].as_str().expect("a name").into()).collect()
}

fn open_event(daemon: &Daemon, camera: &str) -> String {
    daemon.until("an open event", || {
        Some(daemon.camera(camera)["detectors"][0]["open_event"].as_str()?.to_owned())
    })
}

/// Threads but those of the server, which come and go with requests; and open files.
fn threads_and_files(daemon: &Daemon) -> (usize, usize) {
    let of =
        |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", daemon.pid())).expect("it runs").flatten();
    let name =
        |task: &std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    (of("task").filter(|task| name(task).trim() != "http").count(), of("fd").count())
}

/// Watches the frames of a camera while `work` goes on; gives the longest time without a new one.
fn longest_gap<R>(daemon: &Daemon, camera: &str, work: impl FnOnce() -> R) -> (Duration, R) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let (mut frames, mut since, mut longest) = (0, Instant::now(), Duration::ZERO);
            while !done.load(Ordering::Relaxed) {
                let now = daemon.camera(camera)["frames"].as_u64().expect("a number");
                assert!(now >= frames, "{camera} counts anew");
                longest = longest.max(since.elapsed());
                if now > frames {
                    (frames, since) = (now, Instant::now());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            longest
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        (watching.join().expect("it counts on"), result)
    })
}

#[test]
fn cameras_come_change_and_go_and_the_others_do_not_blink() {
    let home = Home::new("", "");
    write_scorer(&home.path("always.onnx"), 96, 64, Says::Unusual);
    // Longer than the test: at its end the camera would be connected anew.
    let server = RtspCamera::serve(&mp4(&home.path(""), "gate.mp4", 20 * 900, 20));
    let configure = |cameras: &[String]| home.configure(DETECTOR, &cameras.concat());
    configure(&[gate(&server), plaza(true, 4.0), synthetic("yard", "seed = 3")]);
    let manager = Manager::listen(&home);
    let mut command = home.command();
    command.env("NOTIFY_SOCKET", home.path("notify"));
    let daemon = Daemon::start(command);

    let [at_gate, at_yard] = [open_event(&daemon, "gate"), open_event(&daemon, "yard")];
    let model = |daemon: &Daemon| daemon.camera("plaza")["detectors"][0]["learning"]["model_sha256"].clone();
    daemon.until("the plaza's model", || model(&daemon).is_string().then_some(()));
    let learned = model(&daemon);
    let began = daemon.camera("gate")["frames"].as_u64().expect("a number");

    // One added, one changed, one removed, by the signal.
    configure(&[synthetic("dock", "seed = 5"), gate(&server), plaza(false, 6.0)]);
    let (gap, ()) = longest_gap(&daemon, "gate", || {
        daemon.signal(Signal::HUP);
        daemon
            .until("the reload", || daemon.log().contains("the configuration was read again").then_some(()));
        open_event(&daemon, "dock");
    });
    assert!(
        daemon.log().contains("added dock; changed plaza; removed yard; 1 unchanged"),
        "{}",
        daemon.log()
    );
    println!("the longest time without a frame of the unchanged camera: {gap:?}");
    assert!(gap < Duration::from_secs(2), "{gap:?}");
    assert_eq!(names(&daemon), ["dock", "gate", "plaza"], "in the configuration's order");
    let gate_now = daemon.camera("gate");
    assert_eq!((&gate_now["reconnects"], &gate_now["state"]), (&json!(0), &json!("live")));
    assert!(gate_now["frames"].as_u64() > Some(began));
    assert_eq!(gate_now["detectors"][0]["open_event"], json!(at_gate), "the same event goes on");
    assert_eq!(server.connections(), 1);
    assert_eq!(model(&daemon), learned, "nothing is learned anew");
    let limit = daemon.until("the plaza's new threshold", || {
        daemon.camera("plaza")["detectors"][0]["threshold"]["k"].as_f64().filter(|k| *k == 6.0)
    });
    assert_eq!(limit, 6.0);
    // What was open of the one that went is over, and its series are gone; what it left on disk stays.
    let event = daemon.json(&format!("/api/events/{at_yard}"));
    assert!(event["end_time"].is_string(), "{event}");
    assert_eq!(daemon.get("/api/cameras/yard").status(), 404);
    let metrics = daemon.text("/metrics");
    assert!(!metrics.contains("camera=\"yard\"") && metrics.contains("camera=\"dock\""), "{metrics}");
    assert!(home.path("data/models/yard").exists(), "its data stays");
    let said = manager.said();
    let told = |text: &String| text.starts_with("RELOADING=1\nMONOTONIC_USEC=");
    assert!(told(&said[1]) && said[0] == "READY=1" && said[2] == "READY=1", "{said:?}");

    // A bad file changes nothing, and says why.
    let in_force = daemon.json("/api/config");
    let good = std::fs::read_to_string(home.path("config.toml")).expect("readable");
    std::fs::write(home.path("config.toml"), good.replace("seed = 5", "sede = 5")).expect("written");
    let line = good.lines().position(|line| line.contains("seed = 5")).expect("written above") + 1;
    let (status, answer) = reload(&daemon);
    assert_eq!((status, &answer["ok"]), (422, &json!(false)));
    assert_eq!(answer["problems"][0]["line"], json!(line), "{answer}");
    assert!(answer["problems"][0]["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()));
    daemon.signal(Signal::HUP);
    let place = format!("not taken over: {}:{line}:", home.path("config.toml").display());
    // Once for the API, once for the signal.
    daemon.until("the refusal", || (daemon.log().matches(&place).count() == 2).then_some(()));
    // A model that is not there is found before anything is touched.
    configure(&[
        gate(&server),
        synthetic("annex", "[[camera.detector]]\nname = \"a\"\nscorer = \"no.onnx\""),
    ]);
    let (status, answer) = reload(&daemon);
    assert_eq!(status, 422, "{answer}");
    assert!(answer.to_string().contains("no.onnx"), "{answer}");
    assert_eq!((names(&daemon).len(), daemon.json("/api/config")), (3, in_force));
    assert_eq!(daemon.metric("config_last_reload_successful"), 0.0);

    // What waits for a restart is named, and the rest takes effect.
    let waits = good.replace("workers = 1", "workers = 2").replace("[store]", "[store]\nkeep = \"3d\"");
    std::fs::write(home.path("config.toml"), waits).expect("written");
    let (status, answer) = reload(&daemon);
    assert_eq!((status, &answer["needs_restart"]), (200, &json!(["runtime.workers"])), "{answer}");
    assert_eq!(answer["unchanged"], json!(["dock", "gate", "plaza"]), "{answer}");
    let shown = daemon.json("/api/config");
    assert_eq!((&shown["runtime"]["workers"], &shown["store"]["keep"]), (&json!(1), &json!("3d")), "{shown}");
    assert_eq!(daemon.metric("config_last_reload_successful"), 1.0);

    // Twenty in a row leave nothing behind.
    let before = threads_and_files(&daemon);
    for round in 0..20 {
        let more = if round % 2 == 0 { synthetic("annex", "seed = 9") } else { String::new() };
        configure(&[synthetic("dock", &format!("seed = {round}")), gate(&server), plaza(false, 6.0), more]);
        let (status, answer) = reload(&daemon);
        assert_eq!((status, &answer["unchanged"]), (200, &json!(["gate", "plaza"])), "{answer}");
    }
    let after = daemon.until("threads and files as before", || {
        let now = threads_and_files(&daemon);
        (now.0.abs_diff(before.0) <= 2 && now.1.abs_diff(before.1) <= 2).then_some(now)
    });
    println!("threads and open files before and after twenty reloads: {before:?}, {after:?}");
    assert_eq!((server.connections(), &daemon.camera("gate")["reconnects"]), (1, &json!(0)));
    assert_eq!(daemon.camera("gate")["detectors"][0]["open_event"], json!(at_gate));
    assert_eq!(model(&daemon), learned);
    daemon.stop();
}

#[test]
fn two_reloads_at_once_are_never_mixed() {
    let home = Home::new("", "");
    write_scorer(&home.path("always.onnx"), 96, 64, Says::Unusual);
    home.configure(DETECTOR, &synthetic("dock", ""));
    let daemon = home.start();
    let all: Vec<String> = (0..6).map(|n| synthetic(&format!("dock-{n}"), "")).collect();
    home.configure(DETECTOR, &all.concat());
    let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4).map(|_| scope.spawn(|| reload(&daemon))).collect();
        asking.into_iter().map(|answer| answer.join().expect("answered")).collect()
    });
    assert!(answers.iter().all(|(status, _)| [200, 409].contains(status)), "{answers:?}");
    // Whoever was not refused came after another, and had nothing left to do.
    let added =
        |(_, answer): &&(u16, Value)| answer["added"].as_array().is_some_and(|added| added.len() == 6);
    assert_eq!(answers.iter().filter(added).count(), 1, "{answers:?}");
    assert_eq!(names(&daemon).len(), 6);
    daemon.stop();
}
