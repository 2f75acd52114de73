//! Test clips, made by the test itself with GStreamer, and sources that play them.

use gstreamer as gst;
use gstreamer::prelude::*;
use sigmawatch::base::SystemClock;
use sigmawatch::config::{self, Transport};
use sigmawatch::frame::{Frame, FrameSpec, Next, PixelFormat, Source, SourceError, Stream, open_source};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the tests ask frames as.
pub const SPEC: FrameSpec = FrameSpec { width: 120, height: 80, format: PixelFormat::Gray8, fps: 10.0 };

/// Runs a description (of the tests' own) to its end.
pub fn render(description: &str) {
    gst::init().expect("GStreamer starts");
    let pipeline = gst::parse::launch(description).expect("the test's description is right");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end =
        bus.timed_pop_filtered(gst::ClockTime::from_seconds(300), &kinds).expect("it ends in five minutes");
    if let gst::MessageView::Error(e) = end.view() {
        panic!("{description}: {} {:?}", e.error(), e.debug());
    }
    pipeline.set_state(gst::State::Null).expect("it stops");
}

/// A noisy H.264 MP4 of 320x240 with `frames` frames.
pub fn mp4(dir: &Path, name: &str, frames: u32, fps: u32) -> PathBuf {
    encoded(dir, name, frames, fps, "x264enc key-int-max=10 bframes=0 ! mp4mux")
}

/// The same pictures through another encoder and container.
pub fn encoded(dir: &Path, name: &str, frames: u32, fps: u32, tail: &str) -> PathBuf {
    let path = dir.join(name);
    render(&format!(
        "videotestsrc pattern=ball num-buffers={frames} ! video/x-raw,format=I420,width=320,height=240,\
         framerate={fps}/1 ! {tail} ! filesink location={}",
        path.display()
    ));
    path
}

/// The shipped descriptions.
pub fn pipelines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines")
}

/// A file, as fast as possible.
pub fn file(location: impl AsRef<Path>) -> config::Gst {
    config::Gst {
        pipeline: "file".into(),
        location: location.as_ref().to_str().expect("test paths are UTF-8").into(),
        user: None,
        password: None,
        transport: Transport::Tcp,
        live: false,
        ca: None,
        real_time: false,
        isolate: false,
    }
}

/// The source of a configuration, with the shipped descriptions.
pub fn source(config: config::Gst) -> Result<Box<dyn Source>, SourceError> {
    open_source(&config::Source::Gst(config), &pipelines(), Arc::new(SystemClock::default()))
}

/// Opens a source.
pub fn open(config: config::Gst, spec: &FrameSpec) -> Result<Box<dyn Stream>, SourceError> {
    source(config)?.open(std::slice::from_ref(spec))
}

/// Takes frames until `n` have come or the stream ends; fails after 20 s.
pub fn take(stream: &mut dyn Stream, n: usize) -> Result<Vec<Frame>, SourceError> {
    let (mut frames, until) = (vec![], Instant::now() + Duration::from_secs(20));
    while frames.len() < n {
        match stream.next(Duration::from_millis(200))? {
            Next::Frame(frame) => frames.push(frame),
            Next::Idle => assert!(Instant::now() < until, "{} of {n} frames in 20 s", frames.len()),
            Next::End => break,
        }
    }
    Ok(frames)
}

/// Every frame of a source that ends.
pub fn all(config: config::Gst, spec: &FrameSpec) -> Result<Vec<Frame>, SourceError> {
    take(open(config, spec)?.as_mut(), usize::MAX)
}

/// An H.264 MP4 of 320x240 at 10 frames a second, every frame of one brightness: four steps brighter than the
/// frame before, beginning again after [`SHADES`].
pub fn shaded(dir: &Path, frames: u32) -> PathBuf {
    let (raw, path) = (dir.join("shades.gray"), dir.join("shades.mp4"));
    let frame = |i: u32| std::iter::repeat_n((20 + 4 * (i % SHADES)) as u8, 320 * 240);
    std::fs::write(&raw, (0..frames).flat_map(frame).collect::<Vec<_>>()).expect("a writable folder");
    render(&format!(
        "filesrc location={} ! rawvideoparse format=gray8 width=320 height=240 framerate=10/1 ! videoconvert ! \
         video/x-raw,format=I420 ! x264enc key-int-max=10 bframes=0 ! h264parse ! mp4mux ! filesink location={}",
        raw.display(),
        path.display()
    ));
    path
}

/// Frames after which the brightness of a [`shaded`] clip begins again.
const SHADES: u32 = 50;

/// Takes `n` frames of a [`shaded`] clip, or all, and asserts after each that the picture of the middle of the
/// newest 16 is at most a quarter of a second from it.
pub fn with_pictures(stream: &mut dyn Stream, n: usize) -> Vec<Frame> {
    let tap = stream.pictures();
    let mut frames = Vec::new();
    while frames.len() < n {
        let Some(frame) = take(stream, 1).expect("a good clip").pop() else { break };
        frames.push(frame);
        let Some(first) = frames.len().checked_sub(16) else { continue };
        let segment = &frames[first..];
        let middle = (segment[0].stamp.pts + segment[15].stamp.pts) / 2;
        let picture = tap.at(middle, 320).expect("a picture");
        // Which frame it is of 50, by its luma; RGB stretches 219 steps of that to 255.
        let number = |luma: f64| (luma - 20.0) / 4.0;
        let shown = number(f64::from(picture.rgb[0]) * 219.0 / 255.0 + 16.0);
        let asked = number(f64::from(segment[8].pixels[0])) - 0.5;
        let off = (shown - asked).abs();
        let off = off.min(f64::from(SHADES) - off);
        assert!(off < 2.8, "the picture of {middle:?} is {off} frames from it");
    }
    frames
}
