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
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds).expect("it ends in a minute");
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
        real_time: false,
    }
}

/// The source of a configuration, with the shipped descriptions.
pub fn source(config: config::Gst) -> Result<Box<dyn Source>, SourceError> {
    open_source(&config::Source::Gst(config), &pipelines(), Arc::new(SystemClock::default()))
}

/// Opens a source.
pub fn open(config: config::Gst, spec: &FrameSpec) -> Result<Box<dyn Stream>, SourceError> {
    source(config)?.open(spec)
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
