//! A recording to measure with: the plaza, encoded as a camera would.

use anyhow::{Context, Result};
use gstreamer::prelude::*;
use sigmawatch::base::SystemClock;
use sigmawatch::config;
use sigmawatch::frame::{FrameSpec, Next, PixelFormat, open_source};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Bits a second of a pixel, as network cameras are usually set: 4 Mbit/s at 1080p and 25 frames a second.
const BITS_PER_PIXEL: f64 = 0.08;

/// An H.264 recording of the plaza, made once under `target/clips/`.
pub fn plaza(width: u32, height: u32, fps: u32, length: Duration) -> Result<PathBuf> {
    let folder = super::machine::root().join("target/clips");
    std::fs::create_dir_all(&folder)?;
    let clip = folder.join(format!("plaza-{width}x{height}-{fps}-{}s.mp4", length.as_secs()));
    if clip.exists() {
        return Ok(clip);
    }
    eprintln!("making {}", clip.display());
    let unfinished = clip.with_extension("part");
    encode(&unfinished, width, height, fps, length)?;
    std::fs::rename(&unfinished, &clip)?;
    Ok(clip)
}

fn encode(to: &std::path::Path, width: u32, height: u32, fps: u32, length: Duration) -> Result<()> {
    gstreamer::init()?;
    let kbit = (f64::from(width * height * fps) * BITS_PER_PIXEL / 1000.0) as u32;
    let pipeline = gstreamer::parse::launch(&format!(
        "appsrc name=source format=time block=true max-bytes=20000000 \
         ! videoconvert ! videoscale ! video/x-raw,format=I420,width={width},height={height} \
         ! x264enc speed-preset=veryfast bitrate={kbit} key-int-max={} bframes=0 \
         ! h264parse ! mp4mux ! filesink name=sink",
        2 * fps
    ))?;
    let pipeline = pipeline.downcast::<gstreamer::Pipeline>().map_err(|_| anyhow::anyhow!("no pipeline"))?;
    pipeline.by_name("sink").context("no sink")?.set_property("location", to.to_str().context("odd path")?);
    let source = pipeline.by_name("source").context("no source")?;
    let source = source.downcast::<gstreamer_app::AppSrc>().map_err(|_| anyhow::anyhow!("no appsrc"))?;
    source.set_caps(Some(
        &gstreamer::Caps::builder("video/x-raw")
            .field("format", "RGB")
            .field("width", 640)
            .field("height", 360)
            .field("framerate", gstreamer::Fraction::new(fps as i32, 1))
            .build(),
    ));
    pipeline.set_state(gstreamer::State::Playing)?;
    let scene = config::Source::Synthetic(config::Synthetic { seed: 1, as_fast_as_possible: true });
    let clock = Arc::new(SystemClock::default());
    let mut scene = open_source(&scene, &super::machine::root().join("pipelines"), clock)?;
    let spec = FrameSpec { width: 640, height: 360, format: PixelFormat::Rgb8, fps: f64::from(fps) };
    let mut stream = scene.open(&[spec])?;
    for number in 0..u64::from(fps) * length.as_secs() {
        let Next::Frame(frame) = stream.next(Duration::from_secs(10))? else { anyhow::bail!("no frame") };
        let mut buffer = gstreamer::Buffer::from_slice(frame.pixels.to_vec());
        let time = gstreamer::ClockTime::from_nseconds(number * 1_000_000_000 / u64::from(fps));
        buffer.get_mut().context("a new buffer is ours alone")?.set_pts(time);
        source.push_buffer(buffer)?;
    }
    source.end_of_stream()?;
    let bus = pipeline.bus().context("no bus")?;
    let end = bus.timed_pop_filtered(
        gstreamer::ClockTime::from_seconds(120),
        &[gstreamer::MessageType::Eos, gstreamer::MessageType::Error],
    );
    pipeline.set_state(gstreamer::State::Null)?;
    match end.as_ref().map(|message| message.view()) {
        Some(gstreamer::MessageView::Eos(_)) => Ok(()),
        Some(gstreamer::MessageView::Error(error)) => Err(error.error().into()),
        _ => anyhow::bail!("the encoder does not end"),
    }
}
