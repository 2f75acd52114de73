//! The daemon and its cameras: bad ones beside a good one, and real footage over RTSP scored like the file.

use crate::clips::{mp4, pipelines, render};
use crate::daemon::{Says, write_scorer};
use crate::program::{Daemon, Home, sigmawatch};
use crate::rtsp_camera::{Login, RtspCamera};
use serde_json::Value;
use sigmawatch::base::SystemClock;
use sigmawatch::config::{self, Synthetic};
use sigmawatch::frame::{FrameSpec, Next, PixelFormat, open_source};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// In every password here, and nowhere in any output.
const CANARY: &str = "canary-7f3a";

fn table(name: &str, source: &str, location: &str, more: &str) -> String {
    format!("[[camera]]\nname = {name:?}\nsource = {source:?}\nlocation = {location:?}\n{more}\n")
}

#[test]
fn each_bad_camera_says_its_cause_and_the_good_one_goes_on() {
    let home = Home::new("", "");
    let clip = mp4(&home.path(""), "whole.mp4", 40, 20);
    let whole = std::fs::read(&clip).expect("just written");
    std::fs::write(home.path("cut.mp4"), &whole[..whole.len() / 2]).expect("written");
    std::fs::write(home.path("text.mp4"), "Remember the milk.\n".repeat(100)).expect("written");
    let tone = home.path("tone.wav");
    render(&format!("audiotestsrc num-buffers=20 ! wavenc ! filesink location={}", tone.display()));
    let login = Login { user: "guard", password: "the right one", digest: true };
    let server = RtspCamera::start(&clip, 0, Some(login));
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it has one");
    let bad = [
        ("missing", "finished", "no such file"),
        ("text", "finished", "holds no video"),
        ("cut", "finished", "MP4 cut off"),
        ("tone", "finished", "holds no video"),
        ("locked", "backing_off", "refuses the user name or password"),
        ("closed", "backing_off", "cannot be reached"),
    ];
    let wrong = format!("user = \"guard\"\npassword = \"{CANARY}\"");
    let cameras = [
        "[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"\n".to_owned(),
        table("missing", "file", "missing.mp4", ""),
        table("text", "file", "text.mp4", ""),
        table("cut", "file", "cut.mp4", ""),
        table("tone", "file", "tone.wav", ""),
        table("locked", "rtsp", &server.url(), &wrong),
        table("closed", "rtsp", &format!("rtsp://guard:{CANARY}@{free}/stream"), ""),
    ];
    home.configure("width = 96\nheight = 64", &cameras.concat());
    let daemon = home.start();
    for (name, state, cause) in bad {
        let camera = daemon.until(name, || {
            let camera = daemon.camera(name);
            (camera["state"] == state).then_some(camera)
        });
        let problem = camera["problem"].as_str().expect("a problem");
        assert!(problem.contains(cause), "{name}: {problem}");
        let remedy = problem.rsplit_once(" (").map_or("", |(_, remedy)| remedy);
        assert!(remedy.len() > 10 && remedy.ends_with(')'), "{name}: no remedy in {problem}");
        assert_eq!((camera["frames"].as_u64(), &camera["last_frame"]), (Some(0), &Value::Null));
        assert_eq!(daemon.metric(&format!("camera_up{{camera=\"{name}\"}}")), 0.0);
        assert_eq!(daemon.metric(&format!("camera_state{{camera=\"{name}\",state=\"{state}\"}}")), 1.0);
    }
    // The live ones are tried again and again, for their own reasons.
    for (name, reason) in [("locked", "unauthorized"), ("closed", "unreachable")] {
        let tries = format!("reconnects_total{{camera=\"{name}\",reason=\"{reason}\"}}");
        daemon.until("another try", || (daemon.metric(&tries) >= 2.0).then_some(()));
    }
    let frames = || daemon.camera("plaza")["frames"].as_u64().expect("a number");
    let before = frames();
    daemon.until("frames of the good camera", || (frames() > before + 10).then_some(()));
    let plaza = daemon.camera("plaza");
    assert_eq!(
        (&plaza["state"], &plaza["healthy"], &plaza["problem"]),
        (&"live".into(), &true.into(), &Value::Null)
    );
    assert_eq!(daemon.json("/readyz")["cameras_well"], 1);
    let said = ["/api/cameras", "/api/config", "/metrics", "/api/events", "/"]
        .map(|path| daemon.text(path))
        .concat();
    let log = daemon.stop();
    for text in [&said, &log] {
        assert!(!text.contains(CANARY) && !text.contains("the right one"), "a password in {text}");
        assert!(!text.contains("guard:"), "credentials in {text}");
    }
    assert!(bad.iter().all(|(name, ..)| log.contains(&format!("camera={name}"))), "{log}");
}

/// The real walkway, or a printed reason why it is not there.
fn ped2() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/ped2");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is not there", folder.display());
    None
}

/// Runs the program to its end; gives its output.
fn output<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> String {
    let output = sigmawatch(args).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Seconds of the demo plaza as an MP4, ten pictures a second, each with its light.
fn plaza(path: &Path, pictures: usize, light: impl Fn(usize) -> f32) {
    let spec = FrameSpec { width: 360, height: 240, format: PixelFormat::Gray8, fps: 10.0 };
    let scene = config::Source::Synthetic(Synthetic { seed: 2, as_fast_as_possible: true });
    let mut source = open_source(&scene, &pipelines(), Arc::new(SystemClock::default())).expect("a source");
    let mut stream = source.open(std::slice::from_ref(&spec)).expect("a stream");
    let mut raw = vec![];
    for picture in 0..pictures {
        let Ok(Next::Frame(frame)) = stream.next(Duration::from_secs(9)) else { panic!("the plaza goes on") };
        raw.extend(frame.pixels.iter().map(|luma| (f32::from(*luma) * light(picture)).min(255.0) as u8));
    }
    let plain = path.with_extension("raw");
    std::fs::write(&plain, raw).expect("written");
    render(&format!(
        "filesrc location={} ! rawvideoparse width=360 height=240 format=gray8 framerate=10/1 ! videoconvert ! \
         x264enc bframes=0 ! mp4mux ! filesink location={}",
        plain.display(),
        path.display()
    ));
}

/// Half the lights go out in the middle of a recording, which a scorer watches that finds everything unusual.
#[test]
fn while_the_light_changes_nothing_is_judged_unless_it_is_to_be() {
    const DARK_FROM: u64 = 150;
    let home = Home::new("", "");
    let clip = home.path("dark.mp4");
    write_scorer(&home.path("always.onnx"), 96, 64, Says::Unusual);
    plaza(&clip, 300, |picture| if picture < DARK_FROM as usize { 1.0 } else { 0.5 });
    let camera = |name: &str| {
        let more = format!("real_time = false\nscene_change = {name:?}");
        table(name, "file", clip.to_str().expect("UTF-8"), &more)
    };
    let detector = "width = 96\nheight = 64\nstride = 4\nscorer = \"always.onnx\"\nclose_after = \"1s\"";
    home.configure(detector, &[camera("pause"), camera("ignore")].concat());
    let daemon = home.start();
    for name in ["pause", "ignore"] {
        daemon.until("the end", || (daemon.camera(name)["state"] == "finished").then_some(()));
        daemon.until("the last event's end", || {
            daemon.events(&format!("&cameras={name}&in_progress=true")).is_empty().then_some(())
        });
    }
    // The pictures of each event, in their order.
    let pictures = |name: &str| {
        let number = |event: &Value, what: &str| event["segments"][what].as_u64().expect("a number");
        let events = daemon.events(&format!("&cameras={name}"));
        let of = |event: &Value| (number(event, "first") * 4, number(event, "last") * 4 + 15);
        events.iter().map(of).collect::<Vec<_>>()
    };
    let all = pictures("ignore");
    assert!(matches!(all[..], [(0, last)] if last > 250), "{all:?}");
    let apart = pictures("pause");
    let [(0, before), (after, last)] = apart[..] else { panic!("{apart:?}") };
    assert!(before < DARK_FROM && before + 8 > DARK_FROM, "{apart:?}");
    // It is over when the picture has been still for three seconds.
    assert!((DARK_FROM + 30..DARK_FROM + 60).contains(&after) && last > 250, "{apart:?}");
    let skipped = |name: &str| {
        let of =
            format!("segments_skipped_total{{camera=\"{name}\",detector=\"main\",reason=\"scene_change\"}}");
        if daemon.text("/metrics").contains(&of) { daemon.metric(&of) } else { 0.0 }
    };
    assert!(skipped("pause") > 8.0 && skipped("ignore") == 0.0, "{} {}", skipped("pause"), skipped("ignore"));
    let log = daemon.stop();
    assert!(log.contains("the whole picture changes") && log.contains("the light has changed"), "{log}");
}

/// Scores of a camera so far, oldest first.
fn scores(daemon: &Daemon, camera: &str) -> Vec<f64> {
    let timeline = daemon.json(&format!("/api/cameras/{camera}/scores"));
    let points = timeline["points"].as_array().expect("a list");
    points.iter().map(|point| point["score"].as_f64().expect("a number")).collect()
}

#[test]
fn real_footage_over_rtsp_is_scored_like_the_file_and_its_incident_is_an_event() {
    let Some(footage) = ped2() else { return };
    let home = Home::new("", "");
    let (model, clip) = (home.path("walkway.onnx"), footage.join("test/04.mp4"));
    let (model_text, clip_text) = (model.to_str().expect("UTF-8"), clip.to_str().expect("UTF-8"));
    let train: Vec<String> =
        (1..=8).map(|n| footage.join(format!("train/{n:02}.mp4")).display().to_string()).collect();
    let mut learn = vec!["learn", "--stride", "8", "--steps", "300", "--out", model_text, "--from"];
    learn.extend(train.iter().map(String::as_str));
    output(&learn);
    let lines = output(&["score", "--json", "--model", model_text, clip_text]);
    let expected: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let number = |line: &Value, what: &str| line[what].as_f64().expect("a number");
    let labels = std::fs::read_to_string(footage.join("test/labels.json")).expect("beside the clips");
    let labels: Value = serde_json::from_str(&labels).expect("JSON");
    let spans: Vec<(u64, u64)> = serde_json::from_value(labels["04"]["anomalous"].clone()).expect("spans");

    let server = RtspCamera::serve(&clip);
    let cameras =
        ["tcp", "udp"].map(|way| table(way, "rtsp", &server.url(), &format!("transport = {way:?}")));
    home.configure("stride = 8\nscorer = \"walkway.onnx\"\nclose_after = \"5s\"", &cameras.concat());
    let daemon = home.start();
    // The server's goodbye may overtake the clip's last pictures.
    let enough = expected.len() - 2;
    for way in ["tcp", "udp"] {
        let got =
            daemon.until("the clip's scores", || Some(scores(&daemon, way)).filter(|s| s.len() >= enough));
        let most = expected.iter().zip(&got).take(enough).fold(0.0, |most: f64, (want, got)| {
            let want = number(want, "score");
            most.max((want - got).abs() / want.abs().max(1.0))
        });
        println!("{way}: {enough} scores differ by {most:.1e} at most");
        assert!(most < 1e-4, "{way}: the scores differ by {most}: {got:?} and {expected:?}");
        // Of the clip's first showing: the camera comes back and shows it again.
        let events = daemon.events(&format!("&cameras={way}"));
        let event = events.first().expect("the incident is an event");
        let first = event["segments"]["first"].as_u64().expect("a number");
        let frames = number(&expected[first as usize], "first_frame") as u64
            ..number(&expected[first as usize], "last_frame") as u64 + 1;
        println!("{way}: an event from frames {frames:?}, labelled {spans:?}");
        assert!(spans.iter().any(|(from, to)| frames.start < *to && frames.end > *from), "{event}");
        assert_eq!(event["model"]["sha256"], daemon.camera(way)["detectors"][0]["learning"]["model_sha256"]);
        assert!((number(event, "threshold") - number(&expected[0], "threshold")).abs() < 1e-6);
    }
    let learn = daemon.post("/api/cameras/tcp/learn");
    assert_eq!(learn.status(), 409, "a model file is never replaced");
    daemon.signal(rustix::process::Signal::TERM);
    let (status, took, log) = daemon.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(took < Duration::from_secs(9), "{took:?}");
}
