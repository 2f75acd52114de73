//! Analysed frames out of the appsink, from GStreamer's thread into a bounded lane.

use super::Counters;
use super::stream::Shared;
use crate::base::Clock;
use crate::frame::bell::LOOK;
use crate::frame::{PixelFormat, Stamp};
use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError};
use gstreamer as gst;
use gstreamer_app as app;
use gstreamer_video as video;
use gstreamer_video::prelude::*;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Frames of each view between GStreamer's thread and ours. When it is full a file waits; a live camera loses the
/// oldest, which is counted and breaks that view's run.
const LANE: usize = 8;

/// The lane itself. One for all views, so that their frames stay in order.
pub(super) fn lane(views: usize) -> (Sender<Arrival>, Receiver<Arrival>) {
    crossbeam_channel::bounded(LANE * views)
}

/// A frame on its way out of GStreamer's thread.
pub(super) struct Arrival {
    pub view: usize,
    pub stamp: Stamp,
    pub new_run: bool,
    pub keys: Option<u64>,
    pub damaged: bool,
    pub pixels: Arc<[u8]>,
}

/// Takes scaled pictures out of the appsink, in GStreamer's thread.
pub(super) struct Taker {
    pub view: usize,
    pub send: Sender<Arrival>,
    /// The other end of the lane, to drop the oldest frame of a live camera.
    pub oldest: Option<Receiver<Arrival>>,
    pub shared: Arc<Shared>,
    pub counters: Arc<Counters>,
    pub clock: Arc<dyn Clock>,
    pub format: PixelFormat,
    /// Of a picture.
    pub bytes: usize,
}

impl Taker {
    /// Has every picture that reaches `sink` put into the lane.
    pub(super) fn attach(self, sink: &app::AppSink) {
        let take = move |sink: &app::AppSink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            self.take(&sample)
        };
        sink.set_callbacks(app::AppSinkCallbacks::builder().new_sample(take).build());
    }

    fn take(&self, sample: &gst::Sample) -> Result<gst::FlowSuccess, gst::FlowError> {
        let pixels = pixels(sample, self.format).ok_or(gst::FlowError::Error)?;
        if pixels.len() != self.bytes {
            tracing::error!("a picture of {} bytes came instead of {}", pixels.len(), self.bytes);
            return Err(gst::FlowError::NotNegotiated);
        }
        let buffer = sample.buffer().ok_or(gst::FlowError::Error)?;
        let pts = buffer.pts().map(Duration::from).unwrap_or_default();
        let stamp = Stamp {
            seq: self.counters.next_seq(self.view),
            pts: self.shared.tap.since_start(pts),
            wall: self.clock.now(),
            received: self.clock.monotonic(),
        };
        let new_run = buffer.flags().contains(gst::BufferFlags::DISCONT);
        let damaged = buffer.flags().contains(gst::BufferFlags::CORRUPTED);
        // A source that decodes nothing has none.
        let keys = Some(self.counters.keys.load(Relaxed)).filter(|keys| *keys > 0);
        self.put(Arrival { view: self.view, stamp, new_run, keys, damaged, pixels })
    }

    /// Live: drops the oldest when full. Otherwise waits until there is room or the stream closes.
    fn put(&self, mut arrival: Arrival) -> Result<gst::FlowSuccess, gst::FlowError> {
        loop {
            if self.shared.closing.load(Relaxed) {
                return Err(gst::FlowError::Flushing);
            }
            arrival = match &self.oldest {
                Some(oldest) => match self.send.try_send(arrival) {
                    Ok(()) => return self.arrived(),
                    Err(TrySendError::Disconnected(_)) => return Err(gst::FlowError::Flushing),
                    Err(TrySendError::Full(arrival)) => {
                        if oldest.try_recv().is_ok() {
                            self.shared.dropped.fetch_add(1, Relaxed);
                        }
                        arrival
                    }
                },
                None => match self.send.send_timeout(arrival, LOOK) {
                    Ok(()) => return self.arrived(),
                    Err(SendTimeoutError::Disconnected(_)) => return Err(gst::FlowError::Flushing),
                    Err(SendTimeoutError::Timeout(arrival)) => arrival,
                },
            };
        }
    }

    /// Wakes whoever waits for it.
    fn arrived(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.shared.bell.ring();
        Ok(gst::FlowSuccess::Ok)
    }
}

/// The picture's bytes, rows packed: the first plane, whose samples are luma or RGB.
fn pixels(sample: &gst::Sample, format: PixelFormat) -> Option<Arc<[u8]>> {
    let info = video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let frame = video::VideoFrameRef::from_buffer_ref_readable(sample.buffer()?, &info).ok()?;
    let plane = frame.plane_data(0).ok()?;
    let row = info.width() as usize * format.bytes_per_pixel();
    let stride = *frame.plane_stride().first()? as usize;
    if stride == row {
        return plane.get(..row * info.height() as usize).map(Arc::from);
    }
    let mut packed = Vec::with_capacity(row * info.height() as usize);
    for line in plane.chunks(stride).take(info.height() as usize) {
        packed.extend_from_slice(line.get(..row)?);
    }
    Some(packed.into())
}
