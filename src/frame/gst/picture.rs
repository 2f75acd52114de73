//! The newest decoded picture of a stream, held by reference and converted only when somebody asks.

use crate::base::Timestamp;
use crate::frame::{Picture, PictureTap};
use gstreamer as gst;
use gstreamer_video as video;
use gstreamer_video::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Holds one decoded buffer; the streaming thread replaces it at no cost.
#[derive(Debug, Default)]
pub(super) struct Tap {
    held: Mutex<Option<(gst::Buffer, video::VideoInfo, Timestamp)>>,
}

impl Tap {
    /// Replaces the picture held.
    pub(super) fn hold(&self, buffer: gst::Buffer, info: video::VideoInfo, wall: Timestamp) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some((buffer, info, wall));
    }
}

impl PictureTap for Tap {
    fn latest(&self, max_width: u32) -> Option<Picture> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (buffer, info, wall) = held?;
        match convert(&buffer, &info, max_width) {
            Ok((width, height, rgb)) => Some(Picture { width, height, rgb, wall }),
            Err(e) => {
                tracing::warn!("the newest picture cannot be converted: {e}");
                None
            }
        }
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
