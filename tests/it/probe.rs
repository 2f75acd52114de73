//! `sigmawatch check --probe` against real RTSP servers: what it measures, and what it says of cameras that fail.

use crate::clips::mp4;
use crate::program::{Home, sigmawatch};
use crate::rtsp_camera::{Login, RtspCamera};
use serde_json::Value;
use std::net::TcpListener;
use std::process::Output;
use std::time::{Duration, Instant};

const LOGIN: Login = Login { user: "admin", password: "s3cret:/@", digest: true };

fn camera(name: &str, url: &str, password: &str) -> String {
    format!(
        "[[camera]]\nname = \"{name}\"\nsource = \"rtsp\"\nlocation = \"{url}\"\nuser = \"admin\"\npassword = \"{password}\"\n"
    )
}

fn check(home: &Home, more: &[&str]) -> Output {
    let mut command = sigmawatch(["check", "--probe", "--config"]);
    command.arg(home.path("config.toml")).args(more).output().expect("the program runs")
}

#[test]
fn it_measures_what_comes_and_names_what_is_wrong_with_the_rest() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    // 20 pictures a second, a key frame every 10: half a second.
    let clip = mp4(dir.path(), "clip.mp4", 600, 20);
    let server = RtspCamera::start(&clip, 0, Some(LOGIN));
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let udp = camera("udp", &server.url(), LOGIN.password) + "transport = \"udp\"\n";
    let cameras = [
        camera("good", &server.url(), LOGIN.password),
        camera("password", &server.url(), "wr0ng"),
        camera("path", &server.url().replace("/stream", "/nowhere"), LOGIN.password),
        camera("port", &format!("rtsp://127.0.0.1:{closed}/stream"), LOGIN.password),
        udp,
    ];
    let home = Home::new("", &cameras.concat());
    let began = Instant::now();
    let output = check(&home, &["--json"]);
    let took = began.elapsed();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}{errors}");
    for secret in [LOGIN.password, "wr0ng"] {
        assert!(!said.contains(secret) && !errors.contains(secret), "{said}{errors}");
    }
    // Start-up and models are in it too.
    assert!(took < Duration::from_secs(60), "five cameras at once took {took:?}");
    let answer: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(answer["ok"], false);
    let probes = answer["probes"].as_array().expect("a list");
    assert_eq!(probes.len(), 5, "{said}");
    for (at, transport) in [(0, "tcp"), (4, "udp")] {
        let good = &probes[at];
        assert_eq!(good["error"], Value::Null, "{good}");
        assert_eq!(good["transport"], transport);
        assert_eq!(good["codec"], "H.264");
        assert_eq!((good["width"].as_u64(), good["height"].as_u64()), (Some(320), Some(240)));
        let near = |key: &str, wanted: f64, within: f64| {
            let got = good[key].as_f64().unwrap_or(-1.0);
            assert!((got - wanted).abs() <= within, "{key} {got}, not {wanted}: {good}");
        };
        near("fps_declared", 20.0, 0.01);
        near("fps", 20.0, 2.0);
        near("key_frame_every", 0.5, 0.06);
        assert_eq!(good["tells_time"], true, "GStreamer's server sends RTCP: {good}");
    }
    for (at, problem, remedy) in [
        (1, "not authorised", "`user` and `password`"),
        (2, "not found", "path of the URL"),
        (3, "unreachable", "the host, the port"),
    ] {
        let error = &probes[at]["error"];
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        assert!(text("problem").contains(problem) && text("remedy").contains(remedy), "{}", probes[at]);
    }
}

#[test]
fn in_words_a_good_camera_is_a_line_and_the_code_is_zero() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clip = mp4(dir.path(), "clip.mp4", 400, 20);
    let server = RtspCamera::start(&clip, 0, Some(LOGIN));
    let home = Home::new("", &camera("gate", &server.url(), LOGIN.password));
    let output = check(&home, &[]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("gate (rtsp://127.0.0.1:") && said.contains("H.264, 320 x 240, "), "{said}");
    assert!(said.contains("a key frame every 0.5 s, by TCP"), "{said}");
    let wrong = Home::new("", &camera("gate", &server.url(), "wr0ng"));
    let output = check(&wrong, &[]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot be watched: not authorised"), "{said}");
}

/// Opening a pipe that nobody writes to takes for ever, as a device or a lost network folder may.
#[test]
fn a_camera_that_hangs_while_it_is_opened_is_named_in_time() {
    let home = Home::new("", "[[camera]]\nname = \"pipe\"\nsource = \"file\"\nlocation = \"pipe.mp4\"\n");
    let made = std::process::Command::new("mkfifo").arg(home.path("pipe.mp4")).status();
    assert!(made.expect("mkfifo runs").success());
    let began = Instant::now();
    let output = check(&home, &["--json"]);
    let took = began.elapsed();
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let problem = answer["probes"][0]["error"]["problem"].as_str().expect("a problem");
    println!("{problem}, after {took:?}");
    assert!(problem.contains("does not open") && output.status.code() == Some(1), "{answer}");
    // Start-up is in it, too.
    assert!(took < Duration::from_secs(20), "{took:?}");
}
