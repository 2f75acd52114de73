//! Cameras that are set to another size or codec while they are watched: analysed on, told truly, and clips that play.

use crate::clips::{SPEC, file, open, render, take};
use crate::daemon::Says;
use crate::event_clips::{home, rtsp, with_clip};
use crate::packets::units;
use crate::program::Daemon;
use crate::rtsp_camera::RtspCamera;
use gstreamer as gst;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// So many pictures of a pattern, ten a second, and where they go.
fn part((pattern, pictures): (&str, u32), (width, height): (u32, u32), to: &str) -> String {
    format!(
        "videotestsrc pattern={pattern} num-buffers={pictures} ! \
         video/x-raw,format=I420,width={width},height={height},framerate=10/1 ! {to} "
    )
}

/// Pictures of nothing, of a ball and of nothing, ten and one key frame a second, through this encoder and its muxer.
fn scene(path: &Path, size: (u32, u32), parts: [u32; 3], tail: &str) -> PathBuf {
    let parts = ["black", "ball", "black"].into_iter().zip(parts).filter(|(_, pictures)| *pictures > 0);
    render(&format!(
        "concat name=all ! {tail} ! filesink location={} {}",
        path.display(),
        parts.map(|what| part(what, size, "all.")).collect::<String>()
    ));
    path.to_owned()
}

/// Until the camera says that it sends this.
fn sends(daemon: &Daemon, codec: &str, width: u32, height: u32) -> Value {
    daemon.until(&format!("{codec} of {width} x {height} pixels"), || {
        let camera = daemon.camera("gate");
        let is = camera["codec"] == codec && camera["width"] == width && camera["height"] == height;
        (is && camera["state"] == "live").then_some(camera)
    })
}

/// Writes an event's clip to a file and plays it: pictures, their width and their height.
fn plays(daemon: &Daemon, event: &Value, path: &Path) -> (usize, u32, u32) {
    std::fs::write(path, daemon.bytes(event["clip"].as_str().expect("a link"))).expect("written");
    let mut stream = open(file(path), &SPEC).expect("it opens");
    let pictures = take(stream.as_mut(), usize::MAX).expect("it plays to its end").len();
    (pictures, stream.info().width, stream.info().height)
}

const CLIPS: &str = "clip_before = \"30s\"\nclip_after = \"2s\"\nscene_change = \"ignore\"";

#[test]
fn a_camera_that_changes_its_size_in_mid_stream_is_analysed_on_in_one_session() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let encoded =
        "x264enc key-int-max=10 bframes=0 tune=zerolatency ! video/x-h264,stream-format=byte-stream ! all. ";
    let large = [("black", 60), ("ball", 40), ("black", 300)].map(|what| part(what, (640, 480), "large."));
    let server = RtspCamera::launch(
        &format!(
            "concat name=all ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 {}concat name=large ! {encoded}{}",
            part(("black", 80), (320, 240), encoded),
            large.concat()
        ),
        0,
    );
    let home = home(Says::Difference, "close_after = \"2s\"", &rtsp(&server, CLIPS));
    let daemon = home.start();
    sends(&daemon, "H.264", 320, 240);
    let news = daemon.stream();
    let after = sends(&daemon, "H.264", 640, 480);
    let scored = || news.recv().expect("the stream goes on");
    let changed = std::iter::repeat_with(scored).find(|(name, _)| name == "camera.state").expect("endless").1;
    assert_eq!((&changed["state"], &changed["width"]), (&"live".into(), &640.into()), "{changed}");
    let event = with_clip(&daemon);
    assert_eq!((server.connections(), &after["reconnects"]), (1, &0.into()), "{after}");
    assert!(daemon.camera("gate")["frames"].as_u64() > after["frames"].as_u64());
    let lacks = &event["clip_details"]["lacks"];
    assert_eq!(*lacks, serde_json::json!(["beginning"]), "nothing from before the change: {event}");
    let clip = dir.path().join("clip.mp4");
    let (pictures, width, height) = plays(&daemon, &event, &clip);
    assert_eq!((width, height), (640, 480), "{event}");
    let units = units(&clip, "h264parse");
    assert!(pictures > 20 && pictures == units.len() && units[0].key, "{pictures} of {}", units.len());
    let log = daemon.stop();
    assert!(log.contains("live, 640 x 480 pixels") && !log.contains("lost:"), "{log}");
}

#[test]
fn a_camera_that_comes_back_with_another_codec_is_analysed_on_by_the_same_daemon() {
    if gst::init().is_err() || gst::ElementFactory::find("x265enc").is_none() {
        eprintln!("not checked: there is no x265enc here (gstreamer1.0-plugins-bad has it)");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let h264 = "x264enc key-int-max=10 bframes=0 ! h264parse ! mp4mux";
    let old = scene(&dir.path().join("old.mp4"), (320, 240), [300, 0, 0], h264);
    // Without pictures out of turn: `concat` leaves their times in disorder, and the server waits for seconds.
    let h265 = "x265enc key-int-max=10 option-string=bframes=0 ! h265parse ! mp4mux";
    let new = scene(&dir.path().join("new.mp4"), (480, 360), [50, 40, 300], h265);
    let server = RtspCamera::serve(&old);
    let port = server.port;
    let home = home(Says::Difference, "close_after = \"2s\"", &rtsp(&server, CLIPS));
    let daemon = home.start();
    sends(&daemon, "H.264", 320, 240);
    drop(server);
    daemon.until("the loss", || (daemon.camera("gate")["state"] != "live").then_some(()));
    let launch = "qtdemux ! h265parse ! rtph265pay name=pay0 pt=96 config-interval=1";
    let _server = RtspCamera::launch(&format!("filesrc location={} ! {launch}", new.display()), port);
    let camera = sends(&daemon, "H.265", 480, 360);
    let event = with_clip(&daemon);
    assert!(daemon.camera("gate")["frames"].as_u64() > camera["frames"].as_u64());
    assert_eq!(event["clip_details"]["codec"], "H.265", "{event}");
    let clip = dir.path().join("clip.mp4");
    let (pictures, width, height) = plays(&daemon, &event, &clip);
    assert!(pictures > 20 && (width, height) == (480, 360), "{pictures} of {width} x {height}");
    let log = daemon.stop();
    assert!(log.contains("live, 480 x 360 pixels"), "{log}");
}
