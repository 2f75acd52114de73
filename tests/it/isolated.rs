//! A camera with `isolate = true`: its own process gives what a thread would, and ends with its camera or the daemon.

use crate::daemon::Says;
use crate::event_clips::{fetched, home, place, scene, with_clip};
use crate::packets::units;
use crate::program::Daemon;
use crate::rtsp_camera::{Login, RtspCamera};
use rustix::process::Signal;
use std::time::Duration;

const LOGIN: Login = Login { user: "guard", password: "never/shown", digest: true };

/// The process that decodes the only camera.
fn decoder(daemon: &Daemon) -> i32 {
    daemon.until("the process that decodes", || daemon.children().first().copied())
}

fn runs(pid: i32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}/cmdline")).exists()
}

fn settings(server: &RtspCamera, more: &str) -> String {
    let url = server.url().replace("rtsp://", "rtsp://guard:never%2Fshown@");
    format!("source = \"rtsp\"\nlocation = \"{url}\"\nisolate = true\n{more}")
}

#[test]
fn a_camera_in_a_process_of_its_own_is_watched_like_any_other() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let original = scene(dir.path());
    let server = RtspCamera::start(&original, 0, Some(LOGIN));
    let home = home(
        Says::Difference,
        "close_after = \"2s\"",
        &settings(&server, "clip_before = \"3s\"\nclip_after = \"2s\""),
    );
    let daemon = home.start();
    let pid = decoder(&daemon);
    for secret in ["cmdline", "environ"] {
        let text = std::fs::read(format!("/proc/{pid}/{secret}")).expect("it runs");
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains("never") && !text.contains("guard"), "{secret}: {text}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    assert!(limits.contains("Max address space         4294967296"), "{limits}");

    let event = with_clip(&daemon);
    assert_eq!(
        (&event["clip_details"]["complete"], &event["clip_details"]["codec"]),
        (&true.into(), &"H.264".into())
    );
    let (part, whole) =
        (units(&fetched(&daemon, &event, dir.path()), "h264parse"), units(&original, "h264parse"));
    assert!(place(&part, &whole).is_some_and(|at| (40..80).contains(&at)), "the camera's own access units");
    let camera = daemon.camera("gate");
    let seen = (&camera["codec"], &camera["width"], &camera["height"], &camera["state"]);
    assert_eq!(seen, (&"H.264".into(), &320.into(), &240.into(), &"live".into()), "{camera}");
    for picture in [&camera["links"]["latest"], &event["snapshot"]] {
        let bytes = daemon.bytes(picture.as_str().expect("a link"));
        let picture = image::load_from_memory(&bytes).expect("a JPEG");
        assert_eq!((picture.width(), picture.height()), (320, 240));
    }

    daemon.stop();
    assert!(!runs(pid), "it ended with the daemon");
}

#[test]
fn no_process_outlives_a_daemon_that_is_killed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = RtspCamera::start(&scene(dir.path()), 0, Some(LOGIN));
    let home = home(Says::Difference, "", &settings(&server, ""));
    let daemon = home.start();
    daemon.until("pictures", || (daemon.camera("gate")["state"] == "live").then_some(()));
    let pid = decoder(&daemon);
    daemon.signal(Signal::KILL);
    daemon.wait();
    let ended = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        !runs(pid)
    });
    assert!(ended, "ten seconds later it still runs");
}
