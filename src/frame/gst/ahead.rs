//! Pictures that will be thinned out need no decoding, where no other one refers to them: Motion JPEG.
//!
//! Of 25 pictures a second of which 10 are analysed, 15 would be decoded for nobody.

use crate::frame::FrameSpec;
use crate::frame::thin::Thinner;
use gstreamer as gst;
use gstreamer::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Times that go back by more than this are a stream that began anew.
const ANEW: Duration = Duration::from_secs(1);
/// Pictures left out that are remembered until the next one is decoded. Beyond it the oldest is forgotten, which then
/// counts as lost.
const REMEMBERED: usize = 64;

/// Decides by presentation times, as [`Thinner`] does afterwards, for all views together.
pub(super) struct Ahead(Mutex<State>);

struct State {
    views: Vec<View>,
    newest: Option<Duration>,
    /// Every packet had a time, after that of the one before. Otherwise nothing is left out any more: what a packet is
    /// part of, and what of it is shown next, is not known.
    in_order: bool,
}

struct View {
    thinner: Thinner,
    /// Oldest first.
    left_out: VecDeque<Duration>,
}

impl Ahead {
    pub(super) fn new(views: &[FrameSpec]) -> Self {
        let view = |spec: &FrameSpec| View { thinner: Thinner::new(spec.fps), left_out: VecDeque::new() };
        let views = views.iter().map(view).collect();
        Self(Mutex::new(State { views, newest: None, in_order: true }))
    }

    /// Takes note of the next packet; before it something was `lost`, which its picture tells. Whether no view needs it.
    fn packet(&self, pts: Option<Duration>, lost: bool) -> bool {
        self.lock().packet(pts, lost)
    }

    /// Tells the pictures that `view` was not given, in order, of those before the one of `pts`.
    pub(super) fn before(&self, view: usize, pts: Duration, mut tell: impl FnMut(Duration)) {
        let left_out = &mut self.lock().views[view].left_out;
        while let Some(earlier) = left_out.pop_front_if(|earlier| *earlier < pts) {
            tell(earlier);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn packet(&mut self, pts: Option<Duration>, lost: bool) -> bool {
        let Some(pts) = pts.filter(|_| self.in_order) else {
            self.in_order = false;
            return false;
        };
        if self.newest.is_some_and(|newest| newest.saturating_sub(pts) > ANEW) {
            self.views.iter_mut().for_each(|view| view.left_out.clear());
        } else if self.newest.is_some_and(|newest| newest >= pts) {
            self.in_order = false;
            return false;
        }
        self.newest = Some(pts);
        let mut needed = lost;
        for view in &mut self.views {
            needed |= view.thinner.frame(Some(pts), None, false).is_some();
        }
        if needed {
            return false;
        }
        for View { left_out, .. } in &mut self.views {
            if left_out.len() == REMEMBERED {
                left_out.pop_front();
            }
            left_out.push_back(pts);
        }
        true
    }
}

/// Has the decoder, whose sink pad this is, be given only what some view needs.
pub(super) fn watch(pad: &gst::Pad, ahead: &Arc<Ahead>) {
    let ahead = Arc::clone(ahead);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(buffer) = info.buffer() else { return gst::PadProbeReturn::Ok };
        let alone = |caps: gst::Caps| caps.structure(0).is_some_and(|s| s.name() == "image/jpeg");
        if !pad.current_caps().is_some_and(alone) {
            return gst::PadProbeReturn::Ok;
        }
        let lost = buffer.flags().contains(gst::BufferFlags::DISCONT);
        let left_out = ahead.packet(buffer.pts().map(Duration::from), lost);
        if left_out { gst::PadProbeReturn::Handled } else { gst::PadProbeReturn::Ok }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    fn spec(fps: f64) -> FrameSpec {
        FrameSpec { width: 64, height: 48, fps, format: PixelFormat::Gray8 }
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// How many of these packets are left out.
    fn left_out(ahead: &Ahead, times: impl IntoIterator<Item = u64>) -> usize {
        times.into_iter().filter(|at| ahead.packet(Some(ms(*at)), false)).count()
    }

    #[test]
    fn three_of_five_are_left_out() {
        let ahead = Ahead::new(&[spec(10.0)]);
        assert_eq!(left_out(&ahead, (0..50).map(|i| 40 * i)), 30);
        assert_eq!(left_out(&ahead, (0..50).map(|i| 40 * i)), 30, "another stream");
        let both = Ahead::new(&[spec(10.0), spec(25.0)]);
        assert_eq!(left_out(&both, (0..200).map(|i| 40 * i)), 0, "another view needs them all");
    }

    #[test]
    fn none_is_left_out_where_the_order_is_not_known() {
        for (what, back) in [("pictures that refer to later ones", 80), ("half pictures", 0)] {
            let ahead = Ahead::new(&[spec(10.0)]);
            assert!(left_out(&ahead, (0..100).map(|i| 40 * i)) > 0);
            assert!(!ahead.packet(Some(ms(99 * 40 - back)), false), "{what}");
            assert_eq!(left_out(&ahead, (100..300).map(|i| 40 * i)), 0, "{what}");
        }
        let ahead = Ahead::new(&[spec(10.0)]);
        assert!(!ahead.packet(None, false));
        assert_eq!(left_out(&ahead, (0..200).map(|i| 40 * i)), 0, "without times");
    }

    /// What is kept of a stream by a view of 10 a second, with and without this; `lost` packets never come.
    #[test]
    fn what_is_kept_is_what_would_be_without() {
        let mut random = 1u64;
        for (interval, jitter) in [(40, 0), (40, 15), (33, 10), (66, 20), (90, 5), (100, 20), (200, 0)] {
            let mut times: Vec<u64> = (0..600)
                .map(|i| {
                    random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    1000 + i * interval + (random >> 33) % (jitter + 1)
                })
                .collect();
            times.drain(300..303);
            times.drain(400..450);
            let mut plain = Thinner::new(10.0);
            let expected: Vec<_> =
                times.iter().filter_map(|at| plain.frame(Some(ms(*at)), None, false)).collect();
            let (ahead, mut after) = (Ahead::new(&[spec(10.0)]), Thinner::new(10.0));
            let mut kept = vec![];
            let mut decoded = 0;
            for at in &times {
                if !ahead.packet(Some(ms(*at)), false) {
                    ahead.before(0, ms(*at), |earlier| after.left_out(earlier));
                    kept.extend(after.frame(Some(ms(*at)), None, false));
                    decoded += 1;
                }
            }
            assert_eq!(kept, expected, "{interval} ms apart");
            assert_eq!(decoded, kept.len(), "nothing is decoded for nobody");
            assert!(expected.iter().filter(|kept| kept.new_run).count() >= 2, "there are holes");
        }
    }

    /// How many of 50 pictures of 25 a second a decoder hands out to a view of 10 a second.
    fn decoded(codec: [&str; 3]) -> usize {
        gst::init().expect("GStreamer is installed");
        let pipeline = gst::Pipeline::new();
        let make = |name: &str| gst::ElementFactory::make(name).build().expect(name);
        let [source, coder, parser, decoder, sink] =
            ["videotestsrc", codec[0], codec[1], codec[2], "fakesink"].map(make);
        source.set_property("num-buffers", 50i32);
        let rate = gst::ElementFactory::make("capsfilter")
            .property(
                "caps",
                gst::Caps::builder("video/x-raw").field("framerate", gst::Fraction::new(25, 1)).build(),
            )
            .build()
            .expect("a filter");
        let all = [&source, &rate, &coder, &parser, &decoder, &sink];
        pipeline.add_many(all).expect("added");
        gst::Element::link_many(all).expect("linked");
        watch(&decoder.static_pad("sink").expect("a pad"), &Arc::new(Ahead::new(&[spec(10.0)])));
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        decoder.static_pad("src").expect("a pad").add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            counted.fetch_add(1, Relaxed);
            gst::PadProbeReturn::Ok
        });
        pipeline.set_state(gst::State::Playing).expect("it plays");
        let end = pipeline.bus().expect("a bus").timed_pop_filtered(
            gst::ClockTime::from_seconds(60),
            &[gst::MessageType::Eos, gst::MessageType::Error],
        );
        assert_eq!(end.map(|end| end.type_()), Some(gst::MessageType::Eos), "{codec:?}");
        pipeline.set_state(gst::State::Null).expect("it stops");
        count.load(Relaxed)
    }

    #[test]
    fn pictures_that_stand_alone_are_not_decoded_and_others_are() {
        assert_eq!(decoded(["jpegenc", "jpegparse", "jpegdec"]), 20);
        assert_eq!(decoded(["x264enc", "h264parse", "avdec_h264"]), 50);
    }
}
