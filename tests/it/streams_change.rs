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

/// Pictures of nothing, of a ball and of nothing, ten and one key frame a second, through this encoder and its muxer.
fn scene(path: &Path, (width, height): (u32, u32), parts: [u32; 3], tail: &str) -> PathBuf {
    let part = |(pattern, pictures): (&str, u32)| {
        format!(
            "videotestsrc pattern={pattern} num-buffers={pictures} ! \
             video/x-raw,format=I420,width={width},height={height},framerate=10/1 ! all. "
        )
    };
    let parts = ["black", "ball", "black"].into_iter().zip(parts).filter(|(_, pictures)| *pictures > 0);
    render(&format!(
        "concat name=all ! {tail} ! filesink location={} {}",
        path.display(),
        parts.map(part).collect::<String>()
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
    let raw = "x264enc key-int-max=10 bframes=0 ! video/x-h264,stream-format=byte-stream";
    let small = scene(&dir.path().join("small.h264"), (320, 240), [80, 0, 0], raw);
    let large = scene(&dir.path().join("large.h264"), (640, 480), [60, 40, 300], raw);
    let both = dir.path().join("both.h264");
    let bytes = [small, large].map(|path| std::fs::read(path).expect("just written"));
    std::fs::write(&both, bytes.concat()).expect("written");
    let server = RtspCamera::launch(
        &format!(
            "filesrc location={} ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1",
            both.display()
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
    // Whatever it covers, it is of one size and plays to its end.
    let clip = dir.path().join("clip.mp4");
    let (pictures, width, height) = plays(&daemon, &event, &clip);
    assert!([(320, 240), (640, 480)].contains(&(width, height)), "{width} x {height}");
    let units = units(&clip, "h264parse");
    assert!(pictures > 0 && pictures == units.len() && units[0].key, "{pictures} of {}", units.len());
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
    let h265 = "x265enc key-int-max=10 ! h265parse ! mp4mux";
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
    daemon.until("its pictures", || {
        (daemon.camera("gate")["frames"].as_u64() > camera["frames"].as_u64()).then_some(())
    });
    let log = daemon.stop();
    assert!(log.contains("live, 480 x 360 pixels"), "{log}");
}
