//! Compressed pictures of a stream that has none that fit: encoded here, small and seldom, on a thread of its own.

use super::compressed;
use crate::base::Clock;
use crate::frame::Picture;
use crate::frame::packets::PacketRing;
use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Pixels across an encoded picture at most.
pub const WIDTH: u32 = 640;
/// Pictures are encoded at least this far apart.
const SPACING: Duration = Duration::from_millis(95);
/// Pictures from one key frame to the next: a clip begins at one.
const GROUP: u32 = 20;
/// Bits a second: enough for ten noisy pictures of that width.
const BITRATE: u32 = 1_000_000;
/// Pictures that may wait. When it is full, those of a live stream are left out and counted; a recording waits.
const WAITING: usize = 2;

/// Makes a picture when its turn has come. `None`: it cannot be made.
type Make = Box<dyn FnOnce() -> Option<Picture> + Send>;

/// Encodes what it is offered into a ring of packets, until it is dropped.
pub struct Encoder {
    send: Sender<(Duration, Make)>,
    due: Mutex<Duration>,
    left_out: AtomicU64,
    /// A stream that waits for its consumer: nothing is left out.
    waits: bool,
}

impl Encoder {
    /// Where there is no encoder, the ring says so as its problem, and what is offered is ignored.
    pub fn start(ring: Arc<PacketRing>, clock: Arc<dyn Clock>, waits: bool) -> Self {
        let (send, offered) = bounded(WAITING);
        let work = move || Work { ring, clock }.run(&offered);
        if let Err(error) = std::thread::Builder::new().name("encode".into()).spawn(work) {
            tracing::warn!("no clips: a thread to encode them cannot be started: {error}");
        }
        Self { send, due: Mutex::default(), left_out: AtomicU64::new(0), waits }
    }

    /// Offers the picture of a moment on the stream's clock; `make` is called on another thread, if at all.
    pub fn offer(&self, pts: Duration, make: impl FnOnce() -> Option<Picture> + Send + 'static) {
        {
            let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            let went_back = pts + 10 * SPACING < *due;
            if pts < *due && !went_back {
                return;
            }
            *due = pts + SPACING;
        }
        let offer: (Duration, Make) = (pts, Box::new(make));
        // An encoder that has ended said why.
        let left_out = match self.waits {
            true => self.send.send(offer).is_err(),
            false => self.send.try_send(offer).is_err(),
        };
        self.left_out.fetch_add(u64::from(left_out), Relaxed);
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        let left_out = self.left_out.load(Relaxed);
        if left_out > 0 {
            tracing::debug!("{left_out} pictures were left out of what clips are made of");
        }
    }
}

/// The thread's own.
struct Work {
    ring: Arc<PacketRing>,
    clock: Arc<dyn Clock>,
}

/// A pipeline for pictures of one size.
struct Running {
    pipeline: gst::Pipeline,
    source: app::AppSrc,
    size: (u32, u32),
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.pipeline.set_state(gst::State::Null).is_err() {
            tracing::warn!("an encoder did not stop cleanly");
        }
    }
}

impl Work {
    fn run(self, offered: &Receiver<(Duration, Make)>) {
        let mut running = None::<Running>;
        for (pts, make) in offered {
            let Some(picture) = make() else { continue };
            let size = (picture.width, picture.height);
            running.take_if(|r| r.size != size);
            if running.is_none() {
                match self.begin(size) {
                    Ok(begun) => running = Some(begun),
                    Err(problem) => {
                        tracing::warn!("no clips: {problem}");
                        self.ring.set_problem(problem);
                        return;
                    }
                }
            }
            let Some(Running { source, .. }) = &running else { continue };
            let mut buffer = gst::Buffer::from_slice(padded(&picture));
            let own = buffer.get_mut().expect("nobody else has this buffer yet");
            own.set_pts(gst::ClockTime::try_from(pts).ok());
            if source.push_buffer(buffer).is_err() {
                let problem = "the encoder of clips stopped; GST_DEBUG=3 says why".to_owned();
                tracing::warn!("no clips: {problem}");
                self.ring.set_problem(problem);
                return;
            }
        }
    }

    /// Starts to encode pictures of a size.
    fn begin(&self, (width, height): (u32, u32)) -> Result<Running, String> {
        super::log::init().map_err(|e| format!("GStreamer does not start: {e}"))?;
        let make = |kind: &str| {
            let made = gst::ElementFactory::make(kind).build();
            made.map_err(|_| {
                format!(
                    "the GStreamer element {kind} is missing (install gstreamer1.0-plugins-base and -bad)"
                )
            })
        };
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "RGB")
            .field("width", width as i32)
            .field("height", height as i32)
            .field("framerate", gst::Fraction::new(0, 1))
            .build();
        // One picture waits here at most: what is slow is seen in `offer`.
        let source =
            app::AppSrc::builder().caps(&caps).format(gst::Format::Time).max_buffers(1).block(true).build();
        let coded = gst::Caps::builder("video/x-h264")
            .field("stream-format", "byte-stream")
            .field("alignment", "au")
            .build();
        let sink = app::AppSink::builder().caps(&coded).sync(false).build();
        sink.set_callbacks(
            app::AppSinkCallbacks::builder()
                .new_sample(|sink| {
                    // The packet has been taken on its way here.
                    sink.pull_sample().map(|_| gst::FlowSuccess::Ok).map_err(|_| gst::FlowError::Eos)
                })
                .build(),
        );
        let (convert, encode, parse) = (make("videoconvert")?, encoder()?, make("h264parse")?);
        let pipeline = gst::Pipeline::new();
        let elements = [source.upcast_ref(), &convert, &encode, &parse, sink.upcast_ref()];
        pipeline.add_many(elements).map_err(|e| e.to_string())?;
        gst::Element::link_many(elements).map_err(|e| e.to_string())?;
        let pad = sink.static_pad("sink").expect("an appsink has one");
        compressed::tap(&pad, &self.ring, &self.clock, true);
        let running = Running { pipeline, source, size: (width, height) };
        let started = running.pipeline.set_state(gst::State::Playing);
        started.map_err(|_| "the encoder does not start; GST_DEBUG=3 says why".to_owned())?;
        Ok(running)
    }
}

/// An H.264 encoder of this machine, set to cost little.
fn encoder() -> Result<gst::Element, String> {
    if let Ok(openh264) = gst::ElementFactory::make("openh264enc").build() {
        openh264.set_property("bitrate", BITRATE);
        openh264.set_property("gop-size", GROUP);
        openh264.set_property("multi-thread", 1u32);
        openh264.set_property_from_str("complexity", "low");
        return Ok(openh264);
    }
    if let Ok(x264) = gst::ElementFactory::make("x264enc").build() {
        x264.set_property("bitrate", BITRATE / 1000);
        x264.set_property("key-int-max", GROUP);
        x264.set_property("threads", 1u32);
        x264.set_property_from_str("speed-preset", "ultrafast");
        x264.set_property_from_str("tune", "zerolatency");
        return Ok(x264);
    }
    Err("this stream is not compressed as H.264 or H.265, and there is no H.264 encoder to make clips with \
         (install gstreamer1.0-plugins-bad, which has openh264enc)"
        .into())
}

/// The picture's rows as GStreamer wants them, each a multiple of four bytes.
fn padded(picture: &Picture) -> Vec<u8> {
    let row = picture.width as usize * 3;
    let stride = row.next_multiple_of(4);
    if stride == row {
        return picture.rgb.clone();
    }
    let mut padded = Vec::with_capacity(stride * picture.height as usize);
    for line in picture.rgb.chunks_exact(row) {
        padded.extend_from_slice(line);
        padded.resize(padded.len() + stride - row, 0);
    }
    padded
}
