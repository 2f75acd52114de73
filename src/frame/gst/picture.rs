//! The newest decoded pictures of a stream, held by reference and converted only when somebody asks.

use crate::base::Timestamp;
use crate::frame::{Picture, PictureTap};
use gstreamer as gst;
use gstreamer_video as video;
use gstreamer_video::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Pictures are held from moments at least this far apart: every fourth at 10 frames a second, with room
/// for timestamps that jitter.
const SPACING: Duration = Duration::from_millis(350);
/// Pictures held besides the newest. A segment's middle is 0.8 s old when its last frame comes, and three pictures
/// reach back 0.8 s or more. Decoded 1080p is 3.1 MB a picture, so a camera costs at most 12 MB (4K: 50 MB) ...
pub(super) const KEEP_PACED: usize = 3;
/// ... and a recording that is played as fast as it is analysed, with up to five seconds waiting in the lanes
/// between, 53 MB.
pub(super) const KEEP_UNPACED: usize = 16;

/// Memory type of GStreamer's default allocator.
const ORDINARY_MEMORY: &str = "SystemMemory";

/// Holds decoded buffers; the streaming thread replaces them at no cost.
pub(super) struct Tap {
    /// Presentation time of the first frame: the stream's zero.
    first: Arc<OnceLock<Duration>>,
    held: Mutex<Held>,
}

struct Held {
    newest: Option<(Duration, Shot)>,
    earlier: History<Shot>,
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
        Self { first, held: Mutex::new(Held { newest: None, earlier }) }
    }

    /// A presentation time of the stream's, counted from its first frame.
    pub(super) fn since_start(&self, pts: Duration) -> Duration {
        pts.saturating_sub(*self.first.get_or_init(|| pts))
    }

    /// Holds the newest picture by reference, and now and then one for later.
    pub(super) fn hold(&self, buffer: gst::Buffer, info: &video::VideoInfo, pts: Duration, wall: Timestamp) {
        let pts = self.since_start(pts);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.earlier.wants(pts)
            && let Some(buffer) = keepable(&buffer)
        {
            held.earlier.put(pts, Shot { buffer, info: info.clone(), wall });
        }
        held.newest = Some((pts, Shot { buffer, info: info.clone(), wall }));
    }
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
        let (_, shot) = self.held.lock().unwrap_or_else(PoisonError::into_inner).newest.clone()?;
        shot.convert(max_width)
    }

    fn at(&self, pts: Duration, max_width: u32) -> Option<Picture> {
        let shot = {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let newest = held.newest.as_ref()?;
            match held.earlier.nearest(pts) {
                Some((at, shot)) if at.abs_diff(pts) <= newest.0.abs_diff(pts) => shot.clone(),
                _ => newest.1.clone(),
            }
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
    let par = f64::from(info.par().numer()) / f64::from(info.par().denom().max(1));
    let shown_width = (f64::from(info.width()) * par).max(1.0);
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
}
