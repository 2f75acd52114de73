//! A machine that is too slow: a camera gives way for a while, says so, and comes back; the others go on.

use crate::clips;
use crate::models::slow_extractor;
use crate::program::Home;
use crate::rtsp_camera::RtspCamera;
use serde_json::Value;
use std::time::{Duration, Instant};

#[test]
fn a_camera_that_is_too_much_falls_back_to_key_frames_and_returns() {
    let home = Home::new("", "");
    std::fs::write(home.path("slow.onnx"), slow_extractor()).expect("written");
    let server = RtspCamera::serve(&clips::mp4(&home.path(""), "long.mp4", 1200, 10));
    let cameras = format!(
        "[[camera]]\nname = \"heavy\"\nsource = \"rtsp\"\nlocation = {:?}\nclips = false\n[camera.detector]\nextractor = \
         \"slow.onnx\"\nstride = 4\n[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"\n",
        server.url()
    );
    home.configure("width = 96\nheight = 64", &cameras);
    let daemon = home.start();
    let status = |name: &str| daemon.json(&format!("/api/cameras/{name}"));
    let gives_way = |camera: &Value| {
        camera["problem"].as_str().is_some_and(|problem| problem.contains("only key frames are decoded"))
    };
    let began = Instant::now();
    daemon.until("the way given", || gives_way(&status("heavy")).then_some(()));
    println!("gave way after {:?}", began.elapsed());
    assert!(daemon.text("/metrics").contains("\nsigmawatch_cameras_keyframes_only 1\n"));
    let counted = || status("heavy")["frames"].as_u64().expect("a number");
    let (frames, watched, began) = (counted(), status("plaza"), Instant::now());
    std::thread::sleep(Duration::from_secs(5));
    let heavy = status("heavy");
    assert_eq!((&heavy["state"], &heavy["healthy"]), (&"live".into(), &false.into()), "{heavy}");
    // A key frame a second, where ten frames a second come.
    let rate = (counted() - frames) as f64 / began.elapsed().as_secs_f64();
    assert!((0.5..=2.5).contains(&rate), "{rate} frames a second");
    let segments = |camera: &Value| camera["detectors"][0]["segments"].as_u64().expect("a number");
    daemon.until("more of the other camera", || {
        (segments(&status("plaza")) > segments(&watched) + 5).then_some(())
    });
    assert_eq!(status("plaza")["healthy"], true, "what decodes nothing has nothing to give");
    daemon.until("its return", || (!gives_way(&status("heavy"))).then_some(()));
    println!("came back after {:?}", began.elapsed());
    let frames = counted();
    daemon.until("frames in full", || (counted() > frames + 20).then_some(()));
    assert_eq!(status("heavy")["reconnects"], 0);
    let log = daemon.stop();
    assert!(log.contains("decoded in full again"), "{log}");
}
