//! The newest decoded pictures of a stream, held for a second or two and converted only when somebody asks.

use crate::base::Timestamp;
use crate::frame::{HELD_WIDTH, Picture, PictureTap};
use gstreamer as gst;
use gstreamer_video as video;
use gstreamer_video::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Pictures are held from moments at least this far apart: every fourth at 10 frames a second, with room
/// for timestamps that jitter.
const SPACING: Duration = Duration::from_millis(350);
/// Pictures held besides the newest. A segment's middle is 0.8 s old when its last frame comes, and three pictures
/// reach back 0.8 s or more. They are no wider than [`HELD_WIDTH`], so they cost a camera at most 4 MB (16:9) ...
pub(super) const KEEP_PACED: usize = 3;
/// ... and a recording that is played as fast as it is analysed, with up to five seconds waiting in the lanes
/// between, 22 MB.
pub(super) const KEEP_UNPACED: usize = 16;

/// The newest picture itself is held while somebody looks: for so many pictures after it was asked for (5 s at 10 frames a
/// second). Decoded 1080p is 3.1 MB a picture.
const LOOKED_AT: usize = 50;
/// Who asks first waits no longer than this for the next picture, and has the newest of the others then: a camera that
/// sends none, or fewer than four a second.
const NEXT: Duration = Duration::from_millis(250);

/// Memory type of GStreamer's default allocator.
const ORDINARY_MEMORY: &str = "SystemMemory";

/// Holds decoded pictures; the streaming thread replaces them.
pub(super) struct Tap {
    /// Presentation time of the first frame: the stream's zero.
    first: Arc<OnceLock<Duration>>,
    held: Mutex<Held>,
    /// The newest picture has come, while somebody looks.
    came: Condvar,
}

struct Held {
    /// Pictures still to come before nobody looks any more.
    looked_at: usize,
    /// While somebody looks.
    newest: Option<(Duration, Shot)>,
    earlier: History<Shot>,
    reducer: Option<Reducer>,
}

/// A decoded picture and when it came.
#[derive(Clone)]
pub(super) struct Shot {
    buffer: gst::Buffer,
    info: video::VideoInfo,
    wall: Timestamp,
}

impl Tap {
    /// `keep`: pictures held besides the newest. `first` is shared with whoever else counts from it.
    pub(super) fn new(keep: usize, first: Arc<OnceLock<Duration>>) -> Self {
        let earlier = History { keep, taken: VecDeque::with_capacity(keep) };
        let held = Held { looked_at: 0, newest: None, earlier, reducer: None };
        Self { first, held: Mutex::new(held), came: Condvar::new() }
    }

    /// A presentation time of the stream's, counted from its first frame.
    pub(super) fn since_start(&self, pts: Duration) -> Duration {
        pts.saturating_sub(*self.first.get_or_init(|| pts))
    }

    /// Holds the newest picture by reference where somebody looks, and now and then one for later, which is scaled where it
    /// is large: two or three milliseconds for 1080p.
    pub(super) fn hold(&self, buffer: gst::Buffer, info: &video::VideoInfo, pts: Duration, wall: Timestamp) {
        let pts = self.since_start(pts);
        let mut held = self.lock();
        let Held { looked_at, newest, earlier, reducer } = &mut *held;
        if earlier.wants(pts)
            && let Some(shot) =
                Reducer::reduce(reducer, &buffer, info, wall).or_else(|| Shot::of(&buffer, info, wall))
        {
            earlier.put(pts, shot);
        }
        *newest = (*looked_at > 0).then(|| (pts, Shot { buffer, info: info.clone(), wall }));
        *looked_at = looked_at.saturating_sub(1);
        drop(held);
        self.came.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes large pictures smaller before they are held.
struct Reducer {
    from: video::VideoInfo,
    to: video::VideoInfo,
    converter: video::VideoConverter,
}

impl Reducer {
    /// `None` where a picture is small enough or cannot be scaled; `known` is the reducer of the picture before.
    fn reduce(
        known: &mut Option<Self>,
        buffer: &gst::Buffer,
        info: &video::VideoInfo,
        wall: Timestamp,
    ) -> Option<Shot> {
        if shown_width(info) <= f64::from(HELD_WIDTH) {
            return None;
        }
        if known.as_ref().is_none_or(|known| known.from != *info) {
            *known = Self::new(info)
                .inspect_err(|e| tracing::debug!("pictures are held as large as they are: {e}"))
                .ok();
        }
        let Self { to, converter, .. } = known.as_ref()?;
        let mut reduced = gst::Buffer::with_size(to.size()).ok()?;
        {
            let source = video::VideoFrameRef::from_buffer_ref_readable(buffer, info).ok()?;
            let mut target = video::VideoFrameRef::from_buffer_ref_writable(reduced.get_mut()?, to).ok()?;
            converter.frame_ref(&source, &mut target);
        }
        Some(Shot { buffer: reduced, info: to.clone(), wall })
    }

    fn new(from: &video::VideoInfo) -> Result<Self, gst::glib::BoolError> {
        let scale = f64::from(HELD_WIDTH) / shown_width(from);
        // Colours of two by two pixels are one in most formats.
        let even = |pixels: u32| (f64::from(pixels) * scale / 2.0).round().max(1.0) as u32 * 2;
        let to = video::VideoInfo::builder(from.format(), even(from.width()), even(from.height()))
            .fps(from.fps())
            .par(from.par())
            .interlace_mode(from.interlace_mode())
            .colorimetry(&from.colorimetry())
            .chroma_site(from.chroma_site())
            .build()?;
        let mut config = video::VideoConverterConfig::new();
        config.set_resampler_method(video::VideoResamplerMethod::Linear);
        let converter = video::VideoConverter::new(from, &to, Some(config))?;
        Ok(Self { from: from.clone(), to, converter })
    }
}

/// Pixels across, were they square.
fn shown_width(info: &video::VideoInfo) -> f64 {
    f64::from(info.width()) * f64::from(info.par().numer()) / f64::from(info.par().denom().max(1))
}

/// The picture as it may be held for seconds. Software decoders write into ordinary memory and allocate more
/// when some of it is held: a reference will do. Drivers of cameras and hardware decoders have a fixed
/// number of buffers and stall when they do not get them back: a copy, two or three times a second.
fn keepable(buffer: &gst::Buffer) -> Option<gst::Buffer> {
    if buffer.iter_memories().all(|memory| memory.is_type(ORDINARY_MEMORY)) {
        return Some(buffer.clone());
    }
    buffer.copy_deep().inspect_err(|e| tracing::warn!("a decoded picture cannot be copied: {e}")).ok()
}

impl PictureTap for Tap {
    fn latest(&self, max_width: u32) -> Option<Picture> {
        let shot = {
            let mut held = self.lock();
            held.looked_at = LOOKED_AT;
            // Before the first picture there is nothing to wait for.
            let none = |held: &mut Held| held.newest.is_none() && !held.earlier.taken.is_empty();
            let (held, _) =
                self.came.wait_timeout_while(held, NEXT, none).unwrap_or_else(PoisonError::into_inner);
            let earlier = || held.earlier.taken.back().map(|(_, shot)| shot);
            held.newest.as_ref().map(|(_, shot)| shot).or_else(earlier)?.clone()
        };
        shot.convert(max_width)
    }

    fn at(&self, pts: Duration, max_width: u32) -> Option<Picture> {
        let shot = {
            let held = self.lock();
            let newest = held.newest.as_ref().map(|(at, shot)| (*at, shot));
            let nearest =
                held.earlier.nearest(pts).into_iter().chain(newest).min_by_key(|(at, _)| at.abs_diff(pts));
            nearest?.1.clone()
        };
        shot.convert(max_width)
    }
}

impl Shot {
    /// A picture that may be held for a while.
    pub(super) fn of(buffer: &gst::Buffer, info: &video::VideoInfo, wall: Timestamp) -> Option<Self> {
        Some(Self { buffer: keepable(buffer)?, info: info.clone(), wall })
    }

    /// Scaled down to at most `max_width` pixels.
    pub(super) fn convert(&self, max_width: u32) -> Option<Picture> {
        match convert(&self.buffer, &self.info, max_width) {
            Ok((width, height, rgb)) => Some(Picture { width, height, rgb, wall: self.wall }),
            Err(e) => {
                tracing::warn!("a picture cannot be converted: {e}");
                None
            }
        }
    }
}

/// The newest few things of a stream that are at least [`SPACING`] apart.
struct History<T> {
    keep: usize,
    /// With their moments, oldest first.
    taken: VecDeque<(Duration, T)>,
}

impl<T> History<T> {
    /// Whether the thing of this moment is one to put in.
    fn wants(&mut self, pts: Duration) -> bool {
        let Some(&(last, _)) = self.taken.back() else { return true };
        if pts < last {
            // The stream's time began anew; what was taken has no place in it.
            self.taken.clear();
        }
        pts < last || pts - last >= SPACING
    }

    /// Puts in what was wanted; the oldest goes when there are `keep` already.
    fn put(&mut self, pts: Duration, thing: T) {
        if self.taken.len() == self.keep {
            self.taken.pop_front();
        }
        self.taken.push_back((pts, thing));
    }

    fn nearest(&self, pts: Duration) -> Option<(Duration, &T)> {
        let nearest = self.taken.iter().min_by_key(|(at, _)| at.abs_diff(pts));
        nearest.map(|(at, thing)| (*at, thing))
    }
}

/// Scales to at most `max_width` with square pixels; returns width, height and tight RGB rows.
fn convert(
    buffer: &gst::Buffer,
    info: &video::VideoInfo,
    max_width: u32,
) -> Result<(u32, u32, Vec<u8>), gst::glib::BoolError> {
    let shown_width = shown_width(info).max(1.0);
    let scale = (f64::from(max_width.max(1)) / shown_width).min(1.0);
    let width = (shown_width * scale).round().max(1.0) as u32;
    let height = (f64::from(info.height()) * scale).round().max(1.0) as u32;
    let out = video::VideoInfo::builder(video::VideoFormat::Rgb, width, height)
        .fps(info.fps())
        .interlace_mode(info.interlace_mode())
        .build()?;
    let mut target = gst::Buffer::with_size(out.size())?;
    {
        let source = video::VideoFrameRef::from_buffer_ref_readable(buffer, info)?;
        let target = target.get_mut().expect("nobody else has this buffer yet");
        let mut target = video::VideoFrameRef::from_buffer_ref_writable(target, &out)?;
        video::VideoConverter::new(info, &out, None)?.frame_ref(&source, &mut target);
    }
    let frame = video::VideoFrameRef::from_buffer_ref_readable(&target, &out)?;
    let mut rgb = Vec::with_capacity((width * height * 3) as usize);
    for row in frame.plane_data(0)?.chunks(frame.plane_stride()[0] as usize).take(height as usize) {
        rgb.extend_from_slice(&row[..width as usize * 3]);
    }
    Ok((width, height, rgb))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Shows a history the frames of these moments; each is its own moment.
    fn shown(moments: impl IntoIterator<Item = u64>) -> History<u64> {
        let mut history = History { keep: KEEP_PACED, taken: VecDeque::new() };
        for at in moments {
            if history.wants(ms(at)) {
                history.put(ms(at), at);
            }
        }
        history
    }

    fn taken(history: &History<u64>) -> Vec<u64> {
        history.taken.iter().map(|(_, at)| *at).collect()
    }

    #[test]
    fn moments_are_spaced_and_the_oldest_go() {
        assert_eq!(taken(&shown((0..40).map(|i| i * 100))), [2800, 3200, 3600]);
        assert_eq!(taken(&shown([0, 90, 210, 290, 410, 480, 600, 770])), [0, 410, 770], "jitter");
        assert_eq!(taken(&shown([0, 1000, 2000])), [0, 1000, 2000], "a slow camera");
    }

    #[test]
    fn time_that_goes_back_begins_anew() {
        assert_eq!(taken(&shown([5000, 5400, 5800, 100, 200, 500])), [100, 500]);
    }

    #[test]
    fn the_nearest_is_within_a_fifth_of_a_second_of_a_segments_middle() {
        for newest in 40u64..60 {
            let history = shown((0..=newest).map(|i| i * 100));
            // The newest picture is held beside the history.
            let near = |asked: Duration| {
                let (at, _) = history.nearest(asked).expect("not empty");
                at.abs_diff(asked).min(ms(newest * 100).abs_diff(asked))
            };
            for back in (0..=1000).step_by(50) {
                assert!(near(ms(newest * 100 - back)) <= ms(200), "{back} ms before {newest}");
            }
        }
        let history = shown((0..40).map(|i| i * 100));
        assert_eq!(history.nearest(ms(0)).map(|n| *n.1), Some(2800), "what is gone has a neighbour");
        assert!(shown([]).nearest(ms(0)).is_none());
    }

    /// A picture of one colour, 1080p.
    fn large(luma: u8) -> (gst::Buffer, video::VideoInfo) {
        gst::init().expect("GStreamer is installed");
        let info = video::VideoInfo::builder(video::VideoFormat::I420, 1920, 1080)
            .fps(gst::Fraction::new(25, 1))
            .build()
            .expect("a size");
        let mut bytes = vec![100; info.size()];
        bytes[..1920 * 1080].fill(luma);
        (gst::Buffer::from_mut_slice(bytes), info)
    }

    fn show(tap: &Tap, luma: u8, at: u64) {
        let (buffer, info) = large(luma);
        tap.hold(buffer, &info, ms(at), Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn large_pictures_are_held_smaller_and_the_newest_only_for_who_looks() {
        let tap = Tap::new(KEEP_PACED, Arc::default());
        assert!(tap.latest(4000).is_none(), "before the first picture");
        (0..5).for_each(|i| show(&tap, 60 + 20 * i, 100 * u64::from(i)));
        let seen = tap.at(ms(90), 4000).expect("a picture");
        assert_eq!((seen.width, seen.height), (1280, 720));
        let (buffer, info) = large(60);
        let whole = Shot { buffer, info, wall: Timestamp::UNIX_EPOCH }.convert(1280).expect("converts");
        let worst = seen.rgb.iter().zip(&whole.rgb).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(seen.rgb.len() == whole.rgb.len() && worst <= Some(1), "the same colour: {worst:?}");

        let looked = std::thread::scope(|scope| {
            let looking = scope.spawn(|| tap.latest(4000));
            let mut at = 500;
            while !looking.is_finished() {
                if tap.lock().newest.is_none() {
                    show(&tap, 200, at);
                    at += 100;
                }
                std::thread::yield_now();
            }
            looking.join().expect("does not panic").expect("a picture")
        });
        assert_eq!((looked.width, looked.height), (1920, 1080), "what came next, as large as it is");
        (0..=LOOKED_AT as u64).for_each(|i| show(&tap, 220, 100_000 + 100 * i));
        assert!(tap.lock().newest.is_none(), "nobody has looked for a while");
        let silent = tap.latest(4000).expect("the newest of the others");
        assert_eq!(silent.width, 1280, "no other came");
    }
}
