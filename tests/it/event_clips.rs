//! Clips of events from end to end: the camera's own video around an event, over HTTP, in a browser, after a crash.

use crate::browser::Browser;
use crate::clips::{mp4, render};
use crate::daemon::{Says, write_scorer};
use crate::fixture::event;
use crate::packets::{Unit, units};
use crate::program::{Daemon, Home};
use crate::rtsp_camera::RtspCamera;
use rustix::process::Signal;
use serde_json::Value;
use sigmawatch::alert::{Clip, Lack};
use sigmawatch::base::{SimClock, Timestamp};
use sigmawatch::store::{Limits, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const SMALL: &str = "width = 96\nheight = 64\n";

/// A home whose camera is watched by a scorer of this kind.
pub fn home(says: Says, detector: &str, camera: &str) -> Home {
    let home = Home::new("", "");
    write_scorer(&home.path("scorer.onnx"), 96, 64, says);
    home.configure(
        &format!("{SMALL}scorer = \"scorer.onnx\"\n{detector}"),
        &format!("[[camera]]\nname = \"gate\"\n{camera}\n"),
    );
    home
}

pub fn rtsp(server: &RtspCamera, more: &str) -> String {
    format!("source = \"rtsp\"\nlocation = \"{}\"\n{more}", server.url())
}

/// Ten seconds of nothing, four of a ball, twenty of nothing; ten pictures and one key frame a second.
pub fn scene(dir: &Path) -> PathBuf {
    let path = dir.join("scene.mp4");
    let part = |pattern: &str, seconds: u32| {
        format!(
            "videotestsrc pattern={pattern} num-buffers={} ! \
             video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! all. ",
            seconds * 10
        )
    };
    render(&format!(
        "concat name=all ! x264enc key-int-max=10 bframes=0 ! h264parse ! mp4mux ! filesink location={} {}{}{}",
        path.display(),
        part("black", 10),
        part("ball", 4),
        part("black", 20)
    ));
    path
}

/// Waits for an event with a clip.
pub fn with_clip(daemon: &Daemon) -> Value {
    daemon.until("an event with a clip", || {
        daemon.events("").into_iter().find(|event| event["clip"].is_string())
    })
}

fn seconds(time: &Value) -> f64 {
    let time: Timestamp = time.as_str().expect("a time").parse().expect("RFC 3339");
    time.as_microsecond() as f64 / 1e6
}

/// Writes the clip to a file, to be looked into.
pub fn fetched(daemon: &Daemon, event: &Value, dir: &Path) -> PathBuf {
    let path = dir.join("fetched.mp4");
    std::fs::write(&path, daemon.bytes(event["clip"].as_str().expect("a link"))).expect("written");
    path
}

/// Where `part` stands in `whole`, access unit for access unit.
pub fn place(part: &[Unit], whole: &[Unit]) -> Option<usize> {
    let same = |two: (&Unit, &Unit)| two.0.nals == two.1.nals && two.0.key == two.1.key;
    (0..=whole.len().checked_sub(part.len())?).find(|at| part.iter().zip(&whole[*at..]).all(same))
}

#[test]
fn an_event_has_the_cameras_own_video_from_before_it_to_after_it() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let original = scene(dir.path());
    let server = RtspCamera::serve(&original);
    let home = home(
        Says::Difference,
        "close_after = \"2s\"",
        &rtsp(&server, "clip_before = \"3s\"\nclip_after = \"2s\""),
    );
    let daemon = home.start();
    let news = daemon.stream();
    let event = with_clip(&daemon);
    let about = &event["clip_details"];
    assert_eq!((&about["codec"], &about["encoded_here"]), (&"H.264".into(), &false.into()), "{event}");
    assert_eq!((&about["complete"], &about["lacks"]), (&true.into(), &serde_json::json!([])), "{event}");

    // It covers the event and what was asked for around it, and no more than a group and a picture besides.
    let (begins, lasts) = (seconds(&about["start"]), about["seconds"].as_f64().expect("a number"));
    let early = seconds(&event["start_time"]) - 3.0 - begins;
    let late = begins + lasts - seconds(&event["last_time"]) - 2.0;
    assert!((-0.2..1.4).contains(&early), "{early} s earlier than asked for");
    assert!((-0.3..0.4).contains(&late), "{late} s later than asked for");
    let clip = fetched(&daemon, &event, dir.path());
    let (part, whole) = (units(&clip, "h264parse"), units(&original, "h264parse"));
    assert!((part.len() as f64 - lasts * 10.0).abs() < 1.5, "{} pictures in {lasts} s", part.len());
    let at = place(&part, &whole).expect("the camera's own access units, untouched");
    assert!(part[0].key && (40..80).contains(&at), "from {at}");
    assert!(at + part.len() > 140, "the ball is in it to its end");

    // The stream told of it, and what was told is what is kept.
    let told = std::iter::from_fn(|| news.recv_timeout(Duration::from_secs(10)).ok());
    let told = told.into_iter().find(|(name, data)| name == "alert.update" && data["clip"].is_string());
    let (_, told) = told.expect("an update");
    assert_eq!((&told["clip"], &told["id"]), (&event["clip"], &event["id"]));
    assert_eq!(daemon.metric("clips_total{camera=\"gate\",result=\"written\"}"), 1.0);
    let held = daemon.metric("clip_memory_bytes{camera=\"gate\"}");
    assert!((1.0..16e6).contains(&held), "{held}");

    // In ranges.
    let link = event["clip"].as_str().expect("a link");
    let bytes = std::fs::read(&clip).expect("written above");
    assert_eq!(about["bytes"], bytes.len());
    let mut tail = daemon.get_range(link, "bytes=-100");
    assert_eq!(tail.status(), 206);
    let end = bytes.len();
    assert_eq!(tail.headers()["content-range"], format!("bytes {}-{}/{end}", end - 100, end - 1));
    assert_eq!(tail.body_mut().read_to_vec().expect("a body"), bytes[end - 100..]);
    assert_eq!(daemon.get_range(link, &format!("bytes={end}-")).status(), 416);
    assert_eq!(daemon.get("/api/events/0197a6f0-0000-7000-8000-00000000ffff/clip.mp4").status(), 404);

    // In a browser.
    let mut browser = Browser::open(&daemon.address("/"), 800, 600);
    browser.wait_for("document.readyState === 'complete'");
    plays(&mut browser, link, lasts);

    // After a crash: what was half made is gone, what was told is there.
    daemon.signal(Signal::KILL);
    daemon.wait();
    let clips = home.path("data/clips");
    let id = event["id"].as_str().expect("an id");
    for rest in
        [format!("{id}.part"), format!("{id}.scratch"), "0197a6f0-0000-7000-8000-00000000ffff.mp4".into()]
    {
        std::fs::write(clips.join(rest), b"half").expect("written");
    }
    let daemon = home.start();
    let left: Vec<_> =
        std::fs::read_dir(&clips).expect("lists").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, [format!("{id}.mp4").as_str()]);
    assert_eq!(daemon.json(&format!("/api/events/{id}"))["clip"], event["clip"]);
}

/// A video element shows the clip, and jumps to its middle and plays from there.
fn plays(browser: &mut Browser, link: &str, lasts: f64) {
    browser.evaluate(&format!(
        "window.video = document.createElement('video'); video.muted = true; video.src = '{link}'; \
         document.body.append(video); true"
    ));
    browser.wait_for("video.error !== null || video.readyState >= 3");
    assert_eq!(browser.evaluate("video.error && video.error.message"), Value::Null);
    assert_eq!(browser.evaluate("video.videoWidth"), 320);
    let length = browser.evaluate("video.duration").as_f64().expect("a number");
    assert!((length - lasts).abs() < 0.25, "{length} s of {lasts}");
    browser.evaluate("video.currentTime = video.duration / 2; video.play(); true");
    browser.wait_for("!video.seeking && video.currentTime > video.duration / 2 + 0.3");
    browser.evaluate("video.currentTime = video.duration - 0.5; true");
    browser.wait_for("video.ended");
    assert_eq!(browser.evaluate("video.currentTime === video.duration"), true);
}

#[test]
fn a_camera_that_is_lost_in_the_middle_goes_on_in_the_same_clip() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let original = mp4(dir.path(), "long.mp4", 600, 20);
    let server = RtspCamera::serve(&original);
    let port = server.port;
    let home = home(
        Says::Unusual,
        "close_after = \"30s\"",
        &rtsp(&server, "clip_longest = \"12s\"\nclip_before = \"2s\""),
    );
    let daemon = home.start();
    daemon.until("an open event", || daemon.events("").first().cloned());
    std::thread::sleep(Duration::from_secs(2));
    drop(server);
    daemon.until("the loss", || (daemon.camera("gate")["state"] != "live").then_some(()));
    let _server = RtspCamera::start(&original, port, None);
    let event = with_clip(&daemon);
    let about = &event["clip_details"];
    assert_eq!(about["lacks"], serde_json::json!(["beginning", "middle", "end"]), "{event}");
    assert!(event["end_time"].is_null(), "a clip that may be no longer is there while its event goes on");
    let units = units(&fetched(&daemon, &event, dir.path()), "h264parse");
    let gap = units.windows(2).map(|two| two[1].pts.saturating_sub(two[0].pts)).max().expect("some");
    assert!(gap > Duration::from_millis(400), "the time without the camera is not cut out: {gap:?}");
    let begins = units.iter().filter(|u| u.nals == units[0].nals).count();
    assert!(begins <= 2 && units.len() > 80, "{} pictures", units.len());
}

#[test]
fn the_demo_camera_has_clips_too() {
    let home = home(Says::Unusual, "", "source = \"synthetic\"\nclip_longest = \"10s\"");
    let daemon = home.start();
    let event = with_clip(&daemon);
    let about = &event["clip_details"];
    assert_eq!((&about["encoded_here"], &about["codec"]), (&true.into(), &"H.264".into()), "{event}");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let units = units(&fetched(&daemon, &event, dir.path()), "h264parse");
    assert!((60..=101).contains(&units.len()), "{} pictures in ten seconds", units.len());
}

#[test]
fn clips_can_be_switched_off() {
    let home = home(Says::Unusual, "", "source = \"synthetic\"\nclips = false\nclip_longest = \"10s\"");
    let daemon = home.start();
    daemon.until("an open event", || daemon.events("").first().cloned());
    daemon.stop();
    assert_eq!(std::fs::read_dir(home.path("data/clips")).expect("lists").count(), 0);
}

#[test]
fn a_clip_stays_with_its_event_whatever_becomes_of_it_and_goes_when_it_goes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clock = Arc::new(SimClock::new("2026-01-01T00:00:00Z".parse().expect("a time")));
    let store = Store::open(dir.path(), clock).expect("it opens");
    let clips = dir.path().join("clips");
    let event = event(1);
    let clip = Clip {
        start: event.start_time,
        seconds: 12.5,
        bytes: 0,
        codec: "H.264".into(),
        encoded_here: false,
        lacks: vec![Lack::Beginning],
    };
    let write = || {
        let files = store.clip_files(&event.id).expect("an id");
        std::fs::write(files.part(), [7; 1000]).expect("written");
        std::fs::write(files.scratch(), [7; 10]).expect("written");
        store.put_clip(files, clip.clone()).expect("taken")
    };
    assert_eq!(write(), None, "there is no such event");
    assert_eq!(std::fs::read_dir(&clips).expect("lists").count(), 0);
    store.put_event(&event).expect("written");
    let told = write().and_then(|event| event.clip).expect("it has one");
    assert_eq!(told, Clip { bytes: 1000, ..clip });
    let beside = store.put_event(&event).expect("written by one who knows of no clip");
    assert_eq!(beside.clip.as_ref(), Some(&told));
    assert_eq!(store.event(&event.id).expect("read").expect("there").clip, Some(told));
    assert_eq!(
        store.open_clip(&event.id).expect("read").expect("there").metadata().expect("a file").len(),
        1000
    );
    for bad in ["", "..", "../lock", "0197a6f0-0000-7000-8000-00000000000G"] {
        assert!(store.open_clip(bad).expect("no error").is_none() && store.clip_files(bad).is_err(), "{bad}");
    }
    drop(store.clip_files(&event.id).expect("an id"));
    let left: Vec<_> =
        std::fs::read_dir(&clips).expect("lists").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, [format!("{}.mp4", event.id).as_str()], "what was not finished is gone");
    let hour = Duration::from_secs(3600);
    let limits = Limits { keep: hour, keep_reviewed: hour, max_size: u64::MAX, min_free: 0 };
    assert_eq!(store.retain(&limits).expect("removed").0.age, 1);
    assert_eq!(std::fs::read_dir(&clips).expect("lists").count(), 0);
}
