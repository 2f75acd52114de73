//! What of a stream is not taken: sound, and pictures too large to be decoded.

use crate::config;
use crate::frame::{SourceError, SourceErrorKind};
use gstreamer as gst;
use gstreamer::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// The largest picture that is decoded, pixels: 8192 x 8192. A decoder of H.264 keeps up to 16 of them, and a stream that
/// is damaged or hostile may claim any size in a few bytes.
const MOST_PIXELS: i64 = 8192 * 8192;

/// What was refused of a stream, for its error.
#[derive(Default)]
pub(super) struct Limits {
    offered: Arc<Offered>,
    /// Width and height of a picture that is too large.
    huge: Arc<OnceLock<(i32, i32)>>,
}

#[derive(Default)]
struct Offered {
    video: AtomicBool,
    other: AtomicBool,
}

/// Has an `rtspsrc` set up the video alone.
pub(super) fn take_video_only(source: &gst::Element, limits: &Limits) {
    let offered = Arc::clone(&limits.offered);
    source.connect("select-stream", false, move |args| {
        let caps = args.get(2).and_then(|v| v.get::<gst::Caps>().ok());
        let media = caps.as_ref().and_then(|c| c.structure(0)).and_then(|s| s.get::<String>("media").ok());
        let video = media.as_deref() == Some("video");
        let kind = if video { &offered.video } else { &offered.other };
        kind.store(true, Relaxed);
        Some(video.to_value())
    });
}

/// Lets nothing of a picture that is too large into a decoder; [`Limits::explain`] then says so. (An error on the bus would
/// not do: `decodebin` keeps to itself what elements say that it is trying.)
pub(super) fn refuse_huge(pad: &gst::Pad, limits: &Limits) {
    let huge = Arc::clone(&limits.huge);
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |_, info| {
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view())
            && let Some(size) = caps.caps().structure(0).and_then(size)
            && i64::from(size.0) * i64::from(size.1) > MOST_PIXELS
        {
            huge.get_or_init(|| size);
        }
        if huge.get().is_some() { gst::PadProbeReturn::Handled } else { gst::PadProbeReturn::Ok }
    });
}

fn size(caps: &gst::StructureRef) -> Option<(i32, i32)> {
    Some((caps.get("width").ok()?, caps.get("height").ok()?))
}

impl Limits {
    /// A picture is too large to be decoded.
    pub(super) fn is_huge(&self) -> bool {
        self.huge.get().is_some()
    }

    /// Why there is no video, where something was refused.
    pub(super) fn explain(&self, config: &config::Gst) -> Option<SourceError> {
        let sound_only = self.offered.other.load(Relaxed) && !self.offered.video.load(Relaxed);
        let (message, remedy) = match self.huge.get() {
            Some((width, height)) => (
                format!(
                    "pictures of {width} x {height} pixels are too large (8192 x 8192 at most are decoded)"
                ),
                "choose a smaller resolution in the camera, or its second stream",
            ),
            None if sound_only => (
                "sends sound or data and no video".to_owned(),
                "switch the video on in the camera, or give the path of its video stream",
            ),
            None => return None,
        };
        Some(SourceError {
            kind: SourceErrorKind::NoVideo,
            message: super::error::redact(&format!("{}: {message}", config.location), config),
            remedy: remedy.into(),
        })
    }
}
