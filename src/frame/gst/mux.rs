//! Packets into an MP4, without encoding them again.

use super::compressed;
use crate::frame::packets::{Codec, Format};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Bytes that may wait for the muxer.
const AHEAD: u64 = 4 << 20;
/// A muxer that makes no progress for this long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// One picture of a clip, in decoding order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Presentation time on any clock; the clip begins with the earliest.
    pub pts: Duration,
    pub key: bool,
}

/// Writes an MP4 of `samples`, whose bytes `read` gives one after the other, to `out`; its index comes first, so
/// that it plays while it is being fetched. `scratch` is a file that is written on the way, and removed.
///
/// # Errors
/// What GStreamer or the disk complain of; `out` may then hold part of a clip.
pub fn mux(
    format: &Format,
    samples: &[Sample],
    mut read: impl FnMut(usize) -> std::io::Result<Vec<u8>>,
    out: &Path,
    scratch: &Path,
) -> Result<(), String> {
    super::log::init().map_err(|e| format!("GStreamer does not start: {e}"))?;
    let parser = match format.codec {
        Codec::H264 => "h264parse",
        Codec::H265 => "h265parse",
    };
    let make = |kind: &str| {
        let made = gst::ElementFactory::make(kind).build();
        made.map_err(|_| {
            format!("the GStreamer element {kind} is missing (install gstreamer1.0-plugins-good and -bad)")
        })
    };
    let times = times(&samples.iter().map(|s| s.pts).collect::<Vec<_>>());
    let Some(last) = times.last() else { return Err("there is no picture in it".into()) };
    let mut caps = gst::Caps::from_str(&format.caps).map_err(|e| format!("{}: {e}", format.caps))?;
    // Without a rate the parser lets the last picture last no time, and players leave it out.
    let rate = caps.structure(0).and_then(|s| s.get::<gst::Fraction>("framerate").ok());
    if rate.is_none_or(|rate| rate.numer() <= 0) {
        let usual = gst::Fraction::approximate_f64(1.0 / last.lasts.as_secs_f64().max(0.001));
        caps.make_mut().set("framerate", usual.unwrap_or(gst::Fraction::new(25, 1)));
    }
    let source = app::AppSrc::builder().caps(&caps).format(gst::Format::Time).build();
    source.set_max_bytes(0);
    let [parse, muxer, sink] = [make(parser)?, make("mp4mux")?, make("filesink")?];
    muxer.set_property("faststart", true);
    muxer.set_property("faststart-file", scratch.display().to_string());
    sink.set_property("location", out.display().to_string());
    let pipeline = gst::Pipeline::new();
    let elements = [source.upcast_ref(), &parse, &muxer, &sink];
    pipeline.add_many(elements).map_err(|e| e.to_string())?;
    gst::Element::link_many(elements).map_err(|e| e.to_string())?;
    let muxing = Muxing { pipeline, source };
    muxing.start()?;

    for (number, sample) in samples.iter().enumerate() {
        let mut data = read(number).map_err(|e| format!("its packets cannot be read back: {e}"))?;
        if number == 0 {
            data = compressed::decodable(format, data);
        }
        let mut buffer = gst::Buffer::from_mut_slice(data);
        {
            let buffer = buffer.get_mut().expect("nobody else has this buffer yet");
            let Times { pts, dts, lasts } = times[number];
            buffer.set_pts(gst::ClockTime::try_from(pts).ok());
            buffer.set_dts(gst::ClockTime::try_from(dts).ok());
            buffer.set_duration(gst::ClockTime::try_from(lasts).ok());
            if !sample.key {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        muxing.push(buffer)?;
    }
    muxing.finish()
}

/// A pipeline that writes; stopped when it is dropped.
pub(super) struct Muxing {
    pub(super) pipeline: gst::Pipeline,
    pub(super) source: app::AppSrc,
}

impl Muxing {
    pub(super) fn start(&self) -> Result<(), String> {
        self.pipeline.set_state(gst::State::Playing).map(drop).map_err(|_| self.complaint())
    }

    /// Hands on the next buffer, when there is room for it.
    pub(super) fn push(&self, buffer: gst::Buffer) -> Result<(), String> {
        self.wait_for_room()?;
        self.source.push_buffer(buffer).map(drop).map_err(|_| self.complaint())
    }

    /// Waits until little enough waits for the muxer. The queue itself would wait for ever for one that failed.
    fn wait_for_room(&self) -> Result<(), String> {
        let began = Instant::now();
        while self.source.current_level_bytes() > AHEAD {
            if self.failed() {
                return Err(self.complaint());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("nothing was written for {} s", PATIENCE.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn failed(&self) -> bool {
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        bus.peek().is_some_and(|m| m.type_() == gst::MessageType::Error)
            || self.source.static_pad("src").is_some_and(|pad| pad.last_flow_result().is_err())
    }

    /// What went wrong.
    fn complaint(&self) -> String {
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        let wait = gst::ClockTime::from_seconds(1);
        match bus.timed_pop_filtered(wait, &[gst::MessageType::Error]) {
            Some(message) => match message.view() {
                gst::MessageView::Error(e) => {
                    format!("{}: {}", e.error(), e.debug().as_deref().unwrap_or("no more is known"))
                }
                _ => "it failed".into(),
            },
            None => "it does not go on".into(),
        }
    }

    pub(super) fn finish(&self) -> Result<(), String> {
        self.source.end_of_stream().map_err(|_| self.complaint())?;
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        let wait = gst::ClockTime::from_seconds(PATIENCE.as_secs());
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        match bus.timed_pop_filtered(wait, &kinds) {
            None => Err(format!("the end was not written within {} s", PATIENCE.as_secs())),
            Some(message) => match message.view() {
                gst::MessageView::Error(e) => {
                    Err(format!("{}: {}", e.error(), e.debug().as_deref().unwrap_or("no more is known")))
                }
                _ => Ok(()),
            },
        }
    }
}

impl Drop for Muxing {
    fn drop(&mut self) {
        if self.pipeline.set_state(gst::State::Null).is_err() {
            tracing::warn!("a muxer did not stop cleanly");
        }
    }
}

/// When a picture is decoded and shown, from the beginning of the clip, and how long it lasts until the next is
/// decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    pts: Duration,
    dts: Duration,
    lasts: Duration,
}

/// Times for pictures with these presentation times, which come in decoding order. Cameras do not tell decoding
/// times: they are the presentation times in order, as late as lets every picture be decoded before it is shown.
fn times(pts: &[Duration]) -> Vec<Times> {
    let mut sorted = pts.to_vec();
    sorted.sort();
    let early = sorted.iter().zip(pts).map(|(dts, pts)| dts.saturating_sub(*pts)).max().unwrap_or_default();
    // Decoding begins at zero: showing, as much later as a picture has to be decoded before it is shown.
    let first = sorted.first().copied().unwrap_or_default();
    let mut apart: Vec<_> = sorted.windows(2).map(|two| two[1] - two[0]).collect();
    let distances = apart.clone();
    apart.sort();
    let usual = apart.get(apart.len() / 2).copied().unwrap_or(Duration::from_millis(40));
    let lasts = distances.into_iter().chain([usual]);
    let shown = pts.iter().map(|pts| *pts + early - first);
    let decoded = sorted.iter().map(|dts| *dts - first);
    shown.zip(decoded).zip(lasts).map(|((pts, dts), lasts)| Times { pts, dts, lasts }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(pts: &[u64]) -> Vec<(u64, u64, u64)> {
        let pts: Vec<_> = pts.iter().map(|ms| Duration::from_millis(*ms)).collect();
        let of = |d: Duration| d.as_millis() as u64;
        times(&pts).into_iter().map(|t| (of(t.pts), of(t.dts), of(t.lasts))).collect()
    }

    #[test]
    fn pictures_that_are_shown_as_they_come_keep_their_times() {
        assert_eq!(made(&[5000, 5040, 5090]), [(0, 0, 40), (40, 40, 50), (90, 90, 50)]);
        assert_eq!(made(&[7]), [(0, 0, 40)]);
        assert_eq!(made(&[]), []);
    }

    #[test]
    fn pictures_that_are_decoded_out_of_turn_are_decoded_before_they_are_shown() {
        // I P B B P B B, 40 ms apart.
        let made = made(&[1000, 1120, 1040, 1080, 1240, 1160, 1200]);
        assert!(made.iter().all(|(pts, dts, _)| pts >= dts), "{made:?}");
        assert_eq!(made.iter().map(|m| m.1).collect::<Vec<_>>(), [0, 40, 80, 120, 160, 200, 240]);
        assert_eq!(made.iter().map(|m| m.0).collect::<Vec<_>>(), [40, 160, 80, 120, 280, 200, 240]);
    }
}
