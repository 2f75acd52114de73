//! Which decoded pictures were made of damaged or incomplete data: marked as `GST_BUFFER_FLAG_CORRUPTED`.
//!
//! Packets that were lost on the way show in what the decoder is given as a discontinuity. What was damaged on the way
//! shows in what the decoder says: libav fills in what it could not decode, and tells of it in its log alone. From then
//! on everything is suspect until the next key frame, since pictures are made of those before them; after damage until
//! the one after that, since decoders do not notice all of it.

use gstreamer as gst;
use gstreamer::prelude::*;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Packets that are remembered: more than any decoder holds back.
const REMEMBERED: usize = 64;
/// A stream that is refreshed bit by bit has no key frames: after so long it is taken for healed.
const HEALED: Duration = Duration::from_secs(60);
/// So libav's log begins where parts of a picture were filled in (`libavcodec/error_resilience.c`).
const FILLED_IN: &str = "concealing ";

thread_local! {
    /// libav has filled something in on this thread since it was asked. It decodes on the thread that brings the packet.
    static TOLD: Cell<bool> = const { Cell::new(false) };
}

/// Takes what GStreamer logs.
pub(super) fn hear(category: gst::DebugCategory, level: gst::DebugLevel, message: &gst::DebugMessage) {
    if level == gst::DebugLevel::Info
        && category.name() == "libav"
        && message.get().is_some_and(|text| text.starts_with(FILLED_IN))
    {
        TOLD.set(true);
    }
}

/// What is known of a decoder's packets. Pure.
#[derive(Debug, Default)]
struct Trace {
    /// Something was damaged or missing, and no key frame has come since. The stream's time then, where it has one.
    suspect: Option<Option<Duration>>,
    /// Something was filled in that no gap explains, since the newest key frame: packets come damaged. Decoders do not
    /// notice all of that, so the next group is suspect as well.
    unexplained: bool,
    gap: bool,
    /// Presentation time of the newest packets, and whether what comes of them is suspect.
    packets: VecDeque<(Option<Duration>, bool)>,
}

impl Trace {
    /// The decoder is given a packet; `gap`: something before it is missing.
    fn packet(&mut self, pts: Option<Duration>, key: bool, gap: bool) {
        let first = self.packets.is_empty();
        // What is missing before a key frame may have been a part of it. Before the first packet nothing is.
        let gap = gap && !first || first && !key;
        let unexplained = key && std::mem::take(&mut self.unexplained);
        self.gap = gap || self.gap && !key;
        if gap || unexplained {
            self.suspect = Some(pts);
        } else if let Some(since) = self.suspect {
            let healed = since.zip(pts).is_some_and(|(since, pts)| pts.saturating_sub(since) >= HEALED);
            self.suspect = Some(since).filter(|_| !key && !healed);
        }
        if self.packets.len() == REMEMBERED {
            self.packets.pop_front();
        }
        self.packets.push_back((pts, self.suspect.is_some()));
    }

    /// The decoder had to fill in something of the newest packet.
    fn filled_in(&mut self) {
        if let Some((pts, suspect)) = self.packets.back_mut() {
            *suspect = true;
            self.suspect = Some(*pts);
            self.unexplained |= !self.gap;
        }
    }

    /// Whether a picture of that time is suspect.
    fn is_suspect(&self, pts: Option<Duration>) -> bool {
        let of = self.packets.iter().rev().find(|(known, _)| pts.is_some() && *known == pts);
        of.map_or(self.suspect.is_some(), |(_, suspect)| *suspect)
    }

    fn listen(&mut self) {
        if TOLD.take() {
            self.filled_in();
        }
    }
}

/// Has the pictures of a decoder marked. Before packets are left out on purpose, so that this is no gap.
pub(super) fn watch(decoder: &gst::Element) {
    let (Some(sink), Some(src)) = (decoder.static_pad("sink"), decoder.static_pad("src")) else { return };
    // Known as soon as the plugin is loaded.
    if let Some(libav) = gst::DebugCategory::get("libav").filter(|c| c.threshold() < gst::DebugLevel::Info) {
        libav.set_threshold(gst::DebugLevel::Info);
    }
    let trace = Arc::new(Mutex::new(Trace::default()));
    let given = Arc::clone(&trace);
    sink.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer() {
            let flags = buffer.flags();
            let (key, gap) =
                (!flags.contains(gst::BufferFlags::DELTA_UNIT), flags.contains(gst::BufferFlags::DISCONT));
            let mut trace = given.lock().unwrap_or_else(PoisonError::into_inner);
            trace.listen();
            trace.packet(buffer.pts().map(Duration::from), key, gap);
        }
        gst::PadProbeReturn::Ok
    });
    src.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(buffer) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
        let mut trace = trace.lock().unwrap_or_else(PoisonError::into_inner);
        trace.listen();
        if trace.is_suspect(buffer.pts().map(Duration::from)) {
            // Copies the description of the buffer at most, not its pixels.
            buffer.make_mut().set_flags(gst::BufferFlags::CORRUPTED);
        }
        gst::PadProbeReturn::Ok
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> Option<Duration> {
        Some(Duration::from_millis(100 * n))
    }

    /// Which pictures are suspect (`x`) of packets that are `k`ey frames, `.` others, `K` and `,` the same after a gap,
    /// `!` others of which something is filled in; in order, each picture as soon as `delay` packets more have come.
    fn marked(packets: &str, delay: usize) -> String {
        let mut trace = Trace::default();
        let mut seen = String::new();
        let mut look =
            |trace: &Trace, n: usize| seen.push(if trace.is_suspect(at(n as u64)) { 'x' } else { '.' });
        for (n, kind) in packets.chars().enumerate() {
            trace.packet(at(n as u64), "kK".contains(kind), "K,".contains(kind));
            if kind == '!' {
                trace.filled_in();
            }
            if n >= delay {
                look(&trace, n - delay);
            }
        }
        (packets.len() - delay..packets.len()).for_each(|n| look(&trace, n));
        seen
    }

    #[test]
    fn all_is_suspect_from_damage_to_the_next_key_frame_whatever_the_decoder_holds_back() {
        for delay in [0, 3] {
            assert_eq!(marked("Kk....k...", delay), "..........", "before the first nothing is missing");
            assert_eq!(marked("K...,..k..", delay), "....xxx...");
            assert_eq!(marked("K...!..k..k..", delay), "....xxxxxx...", "and the next group with it");
            assert_eq!(marked("K...,!.k..k..", delay), "....xxx......", "the gap explains it");
            assert_eq!(
                marked("K....K..k.", delay),
                ".....xxx..",
                "it may be the key frame that lacks something"
            );
            assert_eq!(marked("...k.", delay), "xxx..", "it began in the middle of a group");
        }
    }

    #[test]
    fn a_stream_without_key_frames_heals_after_a_minute() {
        let mut trace = Trace::default();
        trace.packet(at(0), true, true);
        trace.packet(at(1), false, true);
        trace.packet(at(600), false, false);
        assert!(trace.is_suspect(at(600)) && trace.is_suspect(None));
        trace.packet(at(601), false, false);
        assert!(!trace.is_suspect(at(601)) && trace.is_suspect(at(1)));
    }
}
