//! Recordings to measure with: the plaza, encoded as a camera would.

use super::place::root;
use anyhow::{Context, Result, bail};
use gstreamer::prelude::*;
use sigmawatch::base::SystemClock;
use sigmawatch::config;
use sigmawatch::frame::{FrameSpec, Next, PixelFormat, open_source};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Bits a second of a pixel, as network cameras are usually set: 4 Mbit/s at 1080p and 25 frames a second.
const BITS_PER_PIXEL: f64 = 0.08;
/// Noise of a sensor by good light, after the camera's own denoising: standard deviation in levels of luma. It is
/// what most of a camera's bits are spent on where nothing moves.
const NOISE: f64 = 2.0;

/// An H.264 recording of the plaza with a sensor's noise, made once under `target/clips/`.
pub fn plaza(width: u32, height: u32, fps: u32, length: Duration) -> Result<PathBuf> {
    let clip = made(&format!("noisy-plaza-{width}x{height}-{fps}-{}s", length.as_secs()), |to| {
        let scene = config::Source::Synthetic(config::Synthetic { seed: 1, as_fast_as_possible: true });
        let mut scene = open_source(&scene, &root().join("pipelines"), Arc::new(SystemClock::default()))?;
        let spec = FrameSpec { width: 640, height: 360, format: PixelFormat::Rgb8, fps: f64::from(fps) };
        let mut stream = scene.open(std::slice::from_ref(&spec))?;
        let frames =
            (0..u64::from(fps) * length.as_secs()).map(|_| match stream.next(Duration::from_secs(10))? {
                Next::Frame(frame) => Ok(frame.pixels),
                _ => bail!("the plaza ended"),
            });
        encode(to, &spec, (width, height), NOISE, frames)
    })?;
    Ok(clip)
}

/// What `make` writes under `target/clips/` by this name, unless it is there.
pub fn made(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = root().join("target/clips");
    std::fs::create_dir_all(&folder)?;
    let clip = folder.join(format!("{name}.mp4"));
    if clip.exists() {
        return Ok(clip);
    }
    eprintln!("making {}", clip.display());
    let unfinished = clip.with_extension("part");
    make(&unfinished)?;
    std::fs::rename(&unfinished, &clip)?;
    Ok(clip)
}

/// Encodes `frames` of `spec` as H.264 of this size, with noise of this standard deviation in luma.
pub fn encode(
    to: &Path,
    spec: &FrameSpec,
    (width, height): (u32, u32),
    noise: f64,
    frames: impl Iterator<Item = Result<Arc<[u8]>>>,
) -> Result<()> {
    gstreamer::init()?;
    let kbit = (f64::from(width * height) * spec.fps * BITS_PER_PIXEL / 1000.0) as u32;
    let pipeline = gstreamer::parse::launch(&format!(
        "appsrc name=source format=time block=true max-bytes=20000000 \
         ! videoconvert ! videoscale ! video/x-raw,format=I420,width={width},height={height} \
         ! identity name=sensor ! x264enc speed-preset=veryfast bitrate={kbit} key-int-max={} bframes=0 \
         ! h264parse ! mp4mux ! filesink name=sink",
        2 * spec.fps as u32
    ))?;
    let pipeline = pipeline.downcast::<gstreamer::Pipeline>().map_err(|_| anyhow::anyhow!("no pipeline"))?;
    pipeline.by_name("sink").context("no sink")?.set_property("location", to.to_str().context("odd path")?);
    let sensor = pipeline.by_name("sensor").and_then(|e| e.static_pad("src")).context("no sensor")?;
    make_noise(&sensor, noise, (width * height) as usize);
    let source = pipeline.by_name("source").context("no source")?;
    let source = source.downcast::<gstreamer_app::AppSrc>().map_err(|_| anyhow::anyhow!("no appsrc"))?;
    let format = if spec.format == PixelFormat::Rgb8 { "RGB" } else { "GRAY8" };
    source.set_caps(Some(
        &gstreamer::Caps::builder("video/x-raw")
            .field("format", format)
            .field("width", spec.width as i32)
            .field("height", spec.height as i32)
            .field("framerate", gstreamer::Fraction::new(spec.fps as i32, 1))
            .build(),
    ));
    pipeline.set_state(gstreamer::State::Playing)?;
    for (number, frame) in frames.enumerate() {
        let mut buffer = gstreamer::Buffer::from_slice(frame?.to_vec());
        let time = gstreamer::ClockTime::from_seconds_f64(number as f64 / spec.fps);
        buffer.get_mut().context("a new buffer is ours alone")?.set_pts(time);
        source.push_buffer(buffer)?;
    }
    source.end_of_stream()?;
    let bus = pipeline.bus().context("no bus")?;
    let end = bus.timed_pop_filtered(
        gstreamer::ClockTime::from_seconds(240),
        &[gstreamer::MessageType::Eos, gstreamer::MessageType::Error],
    );
    pipeline.set_state(gstreamer::State::Null)?;
    match end.as_ref().map(|message| message.view()) {
        Some(gstreamer::MessageView::Eos(_)) => Ok(()),
        Some(gstreamer::MessageView::Error(error)) => Err(error.error().into()),
        _ => bail!("the encoder does not end"),
    }
}

/// Adds noise to the luma of every picture that comes by: from one long draw, begun at another place each time.
fn make_noise(pad: &gstreamer::Pad, deviation: f64, luma: usize) {
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    let mut rng = StdRng::seed_from_u64(1);
    // Near enough to a normal distribution: the sum of four even ones of variance 1/3.
    let mut drawn = || (0..4).map(|_| rng.random_range(-1.0..1.0)).sum::<f64>() * (0.75f64).sqrt();
    let noise: Vec<i16> = (0..luma + (1 << 18)).map(|_| (drawn() * deviation).round() as i16).collect();
    let begin = std::sync::Mutex::new(rng);
    pad.add_probe(gstreamer::PadProbeType::BUFFER, move |_, info| {
        let Some(buffer) = info.buffer_mut() else { return gstreamer::PadProbeReturn::Ok };
        let at = begin.lock().expect("nothing panics while it is held").random_range(0..1 << 18);
        if let Ok(mut map) = buffer.make_mut().map_writable() {
            // Luma comes first; rows of these widths are not padded.
            for (pixel, noise) in map.as_mut_slice()[..luma].iter_mut().zip(&noise[at..]) {
                *pixel = (i16::from(*pixel) + noise).clamp(0, 255) as u8;
            }
        }
        gstreamer::PadProbeReturn::Ok
    });
}
