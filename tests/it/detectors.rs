//! Several detectors on one camera: shared frames and features, names everywhere, and one fused verdict.

use crate::daemon::{Says, write_scorer};
use crate::program::{Daemon, Home};
use serde_json::Value;

fn detector<'a>(camera: &'a Value, name: &str) -> &'a Value {
    let all = camera["detectors"].as_array().expect("a list");
    all.iter().find(|d| d["name"] == name).unwrap_or_else(|| panic!("no {name} in {camera}"))
}

fn metric(daemon: &Daemon, name: &str, detector: &str) -> f64 {
    daemon.metric(&format!("{name}{{camera=\"plaza\",detector=\"{detector}\"}}"))
}

#[test]
fn each_detector_opens_events_of_its_own_name() {
    let home = Home::new("", "");
    write_scorer(&home.path("always.onnx"), 96, 64, Says::Unusual);
    let cameras = "[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"
        [[camera.detector]]\nname = \"one\"
        [[camera.detector]]\nname = \"two\"\nk = 4.0
        [[camera.detector]]\nname = \"lax\"\nk = 1000.0";
    home.configure("width = 96\nheight = 64\nscorer = \"always.onnx\"", cameras);
    let daemon = home.start();
    let open = |name: &str| {
        daemon.until("an open event", || {
            detector(&daemon.camera("plaza"), name)["open_event"].as_str().map(str::to_owned)
        })
    };
    for (name, k) in [("one", 3.0), ("two", 4.0)] {
        let event = daemon.json(&format!("/api/events/{}", open(name)));
        assert_eq!((&event["detector"], &event["k"]), (&name.into(), &k.into()));
        assert!(event["probability"].as_f64().expect("a number") < 1e-6, "{event}");
    }
    assert_eq!(detector(&daemon.camera("plaza"), "lax")["open_event"], Value::Null);
    assert_eq!(metric(&daemon, "score", "lax"), 50.0);
    assert_eq!(metric(&daemon, "threshold", "two"), 3.0);
    daemon.stop();
}

#[test]
fn a_camera_of_three_detectors_learns_them_all_and_comes_to_one_verdict() {
    let home = Home::new("", "");
    let cameras = "[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"\nreal_time = false\nfusion = \"min\"
        [[camera.detector]]\nname = \"near\"\nscorer = \"mahalanobis\"
        [[camera.detector]]\nname = \"far\"\nscorer = \"knn\"
        [[camera.detector]]\nname = \"whole\"\nscorer = \"knn\"\nwhole_frame = true\nfps = 5.0\nwatch_for = \"80s\"";
    let common = "width = 180\nheight = 120\nstride = 8\nwatch_for = \"60s\"\nclose_after = \"3s\"";
    home.configure(common, cameras);
    let daemon = home.start();
    let stream = daemon.stream();
    let mut told = vec![];
    let mut hear = || {
        let news = stream.recv_timeout(std::time::Duration::from_secs(120)).expect("the stream goes on");
        if news.0 == "score" {
            told.push(news.1.clone());
        }
        news
    };
    let event = loop {
        let (name, event) = hear();
        if name == "alert.new" {
            break event;
        }
    };
    assert_eq!((&event["detector"], &event["scorer"]), (&"fused".into(), &"fused".into()), "{event}");
    let (p, z) = (event["probability"].as_f64().expect("p"), event["top_score"].as_f64().expect("z"));
    assert!(p < 1.35e-3 && z > 3.0 && event["threshold"] == 3.0, "{event}");
    while hear().0 != "alert.end" {}
    for name in ["near", "far", "whole", "fused"] {
        assert!(told.iter().any(|score| score["detector"] == name), "no score of {name}");
    }
    // The fused probability is the smallest of what the members said last, times their number; an opinion that is
    // too old is left out.
    let probability = |score: &Value| score["probability"].as_f64().expect("p");
    let (mut newest, mut exact) = (std::collections::BTreeMap::new(), 0);
    for score in &told {
        if score["detector"] == "fused" {
            let smallest = newest.values().copied().fold(1.0, f64::min);
            let p = probability(score);
            assert!(p >= smallest * 0.999 && p <= 1.0, "{newest:?}: {p}");
            exact += usize::from((p / smallest - 3.0).abs() < 1e-6);
        } else {
            newest.insert(score["detector"].to_string(), probability(score));
        }
    }
    assert!(exact > 10, "{exact} of {} scores", told.len());
    let camera = daemon.camera("plaza");
    for name in ["near", "far", "whole"] {
        let detector = detector(&camera, name);
        assert_eq!((&detector["alerts"], &detector["open_event"]), (&false.into(), &Value::Null));
        assert!(metric(&daemon, "segments_scored_total", name) > 0.0);
    }
    assert_eq!(detector(&camera, "near")["method"], "v1+mahalanobis");
    assert_eq!(detector(&camera, "fused")["method"], "near and far and whole");
    // Near and far look at the same segments; whole sees half of the frames.
    let segments = |name: &str| detector(&camera, name)["segments"].as_u64().expect("a number");
    assert!(segments("near").abs_diff(segments("far")) <= 1 && segments("whole") * 2 <= segments("near") + 4);
    assert!(daemon.events("").iter().all(|event| event["detector"] == "fused"));
    daemon.until("the timeline of a member", || {
        let scores = daemon.json("/api/cameras/plaza/scores?detector=whole");
        (scores["points"].as_array()?.len() > 5).then_some(())
    });
    assert_eq!(daemon.get("/api/cameras/plaza/scores?detector=none").status(), 404);
    assert_eq!(daemon.json("/api/cameras/plaza/scores")["detector"], "fused");
    assert_eq!(daemon.post("/api/cameras/plaza/learn?detector=fused").status(), 409);
    daemon.stop();
    let kept = |end: &str| {
        let files = std::fs::read_dir(home.path("data/models/plaza")).expect("a folder").flatten();
        files.filter(|f| f.path().extension().is_some_and(|e| e == end)).count()
    };
    assert_eq!((kept("ring"), kept("onnx")), (2, 3), "one ring for each feed, one model for each detector");
}

#[test]
fn a_camera_slower_than_its_extractor_is_watched_no_longer_than_was_said() {
    let plaza = "[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"\nreal_time = false";
    let quick =
        "width = 96\nheight = 64\nfps = 25.0\nstride = 8\nwatch_for = \"60s\"\nscorer = \"mahalanobis\"";
    let home = Home::new(quick, plaza);
    let daemon = home.start();
    let frames = daemon.until("arming", || {
        let camera = daemon.camera("plaza");
        (camera["detectors"][0]["learning"]["state"] == "armed").then(|| camera["frames"].as_u64())?
    });
    // A recording waits while its first model is made: 60 seconds of 10 frames each, and what goes by meanwhile. Of 25
    // frames a second it would be 1500.
    assert!((590..1200).contains(&frames), "{frames} frames");
    daemon.stop();
}
