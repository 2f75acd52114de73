//! Pictures as an H.264 recording, such as a network camera would make: what `sigmawatch bench` and the benches replay.

use super::mux::Muxing;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Seconds from one key frame to the next.
const GROUP: f64 = 2.0;

/// What a recording is to be like.
pub(in crate::frame) struct Film {
    /// Pixels of the pictures that are given, a multiple of four across ...
    pub picture: (u32, u32),
    /// ... and of the recording, even numbers.
    pub size: (u32, u32),
    pub fps: f64,
    /// Bits a second.
    pub bitrate: u32,
}

/// Encodes pictures (red, green, blue) into an MP4 at `out`.
///
/// # Errors
/// Where there is no encoder, with the package that has one; what the encoder or the disk complain of.
pub(in crate::frame) fn film(
    film: &Film,
    pictures: impl Iterator<Item = Result<Arc<[u8]>, String>>,
    out: &Path,
) -> Result<(), String> {
    super::log::init().map_err(|e| format!("GStreamer does not start: {e}"))?;
    let make = |kind: &str| {
        let made = gst::ElementFactory::make(kind).build();
        made.map_err(|_| {
            format!(
                "the GStreamer element {kind} is missing (install gstreamer1.0-plugins-base, -good and -bad)"
            )
        })
    };
    let rate = gst::Fraction::approximate_f64(film.fps).unwrap_or(gst::Fraction::new(25, 1));
    let caps = |format: &str, (width, height): (u32, u32)| {
        let caps = gst::Caps::builder("video/x-raw").field("format", format).field("framerate", rate);
        caps.field("width", width as i32).field("height", height as i32).build()
    };
    let source = app::AppSrc::builder().caps(&caps("RGB", film.picture)).format(gst::Format::Time).build();
    source.set_max_bytes(0);
    let [scale, convert, size, parse, muxer, sink] =
        ["videoscale", "videoconvert", "capsfilter", "h264parse", "mp4mux", "filesink"].map(make);
    let [scale, convert, size, parse, muxer, sink] = [scale?, convert?, size?, parse?, muxer?, sink?];
    size.set_property("caps", caps("I420", film.size));
    sink.set_property("location", out.display().to_string());
    let encode = encoder(film)?;
    let pipeline = gst::Pipeline::new();
    let elements = [source.upcast_ref(), &scale, &convert, &size, &encode, &parse, &muxer, &sink];
    pipeline.add_many(elements).map_err(|e| e.to_string())?;
    gst::Element::link_many(elements).map_err(|e| e.to_string())?;
    let muxing = Muxing { pipeline, source };
    muxing.start()?;
    for (number, picture) in pictures.enumerate() {
        let mut buffer = gst::Buffer::from_slice(picture?);
        let own = buffer.get_mut().expect("nobody else has this buffer yet");
        let at = |number: usize| Duration::from_secs_f64(number as f64 / film.fps);
        own.set_pts(gst::ClockTime::try_from(at(number)).ok());
        own.set_duration(gst::ClockTime::try_from(at(number + 1) - at(number)).ok());
        muxing.push(buffer)?;
    }
    muxing.finish()
}

/// An H.264 encoder of this machine, set as cameras are: no picture waits for a later one.
fn encoder(film: &Film) -> Result<gst::Element, String> {
    let group = (film.fps * GROUP).round() as u32;
    if let Ok(x264) = gst::ElementFactory::make("x264enc").build() {
        x264.set_property_from_str("speed-preset", "veryfast");
        x264.set_property("bitrate", film.bitrate / 1000);
        x264.set_property("key-int-max", group);
        x264.set_property("bframes", 0u32);
        return Ok(x264);
    }
    if let Ok(openh264) = gst::ElementFactory::make("openh264enc").build() {
        openh264.set_property("bitrate", film.bitrate);
        openh264.set_property("gop-size", group);
        return Ok(openh264);
    }
    Err("there is no H.264 encoder to make a recording with (install gstreamer1.0-plugins-ugly, which has x264enc, or \
         gstreamer1.0-plugins-bad, which has openh264enc)"
        .into())
}
