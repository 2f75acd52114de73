//! camera -> Frame. The only room that knows GStreamer.
//!
//! A [`Source`] knows how to reach a camera; opened, it is a [`Stream`] of frames at the rate, size and
//! pixel format that an extractor declares. Extractors that differ in that have a *view* each, from one decoding.
//! `link` keeps a live camera connected, as `life` says.

mod bell;
mod effort;
mod gst;
mod isolated;
mod knock;
mod life;
mod link;
mod open;
mod packets;
mod record;
mod synthetic;
mod thin;
mod turns;

pub use effort::Effort;
pub use gst::{Sample, mux};
pub use isolated::decode;
pub use life::LinkState;
pub use link::{Link, LinkEvent};
pub use open::open_source;
pub use packets::{Codec, Format, Packet, PacketKeep, PacketRing};
pub use record::record_plaza;
pub use synthetic::{IncidentKind, PLAZA_FPS, Plaza, Truth};
pub use turns::Turns;

use crate::base::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// How an analysed picture's bytes are laid out, row by row without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelFormat {
    /// Luma only, one byte a pixel: what the decoder makes, so it costs no colour conversion.
    Gray8,
    /// Red, green, blue, one byte each.
    Rgb8,
}

impl PixelFormat {
    pub fn bytes_per_pixel(self) -> usize {
        match self {
            PixelFormat::Gray8 => 1,
            PixelFormat::Rgb8 => 3,
        }
    }
}

/// The frames that an extractor wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrameSpec {
    /// Pixels.
    pub width: u32,
    pub height: u32,
    pub format: PixelFormat,
    /// Frames a second. A slower camera is taken as it is; a faster one is thinned out.
    pub fps: f64,
}

impl FrameSpec {
    pub fn frame_bytes(&self) -> usize {
        self.width as usize * self.height as usize * self.format.bytes_per_pixel()
    }
}

/// When a frame was taken, and its place in the stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stamp {
    /// Counts the analysed frames of a camera's view; never reused while the daemon runs.
    pub seq: u64,
    /// Presentation time since the start of the stream.
    pub pts: Duration,
    /// Wall time of the arrival.
    pub wall: Timestamp,
    /// Monotonic time of the arrival ([`crate::base::Clock::monotonic`]).
    pub received: Duration,
}

/// One analysed picture.
#[derive(Debug, Clone)]
pub struct Frame {
    pub stamp: Stamp,
    /// Which of the specifications it was made to: its index in [`Source::open`]'s `views`.
    pub view: usize,
    /// Changes whenever frames of the view before and after do not follow each other.
    pub run: u64,
    /// Key frames that the decoder had been given by then, over all streams of the source; `None` where nothing is
    /// decoded.
    pub keys: Option<u64>,
    /// Made of data that was damaged or incomplete, or of pictures that were.
    pub damaged: bool,
    /// `FrameSpec::frame_bytes` bytes.
    pub pixels: Arc<[u8]>,
}

/// A picture for people: colour, upright, at up to the camera's own size.
#[derive(Debug, Clone)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    /// `width * height * 3` bytes, red, green, blue.
    pub rgb: Vec<u8>,
    pub wall: Timestamp,
}

/// Earlier pictures than the newest are held at no more than this width, in square pixels.
pub const HELD_WIDTH: u32 = 1280;

/// The newest pictures of a stream, converted only when somebody asks.
pub trait PictureTap: Send + Sync {
    /// The newest picture, scaled down to at most `max_width` pixels, or `None` before the first one. May wait a quarter
    /// of a second for the next one.
    fn latest(&self, max_width: u32) -> Option<Picture>;
    /// The picture nearest to a presentation time ([`Stamp::pts`]) among those still had, which reach back
    /// at least 1.6 s at no more than half a second's distance from each other; scaled as by `latest`, and no wider
    /// than [`HELD_WIDTH`] unless it is the newest.
    fn at(&self, pts: Duration, max_width: u32) -> Option<Picture>;
}

/// What a connected camera turned out to send.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamInfo {
    /// For example `H.264`; `None` where it is not known.
    pub codec: Option<String>,
    /// Pixels, as decoded.
    pub width: u32,
    pub height: u32,
    /// As declared by the stream, 0 where it does not say.
    pub fps: f64,
}

/// What [`Stream::next`] found.
#[derive(Debug)]
pub enum Next {
    Frame(Frame),
    /// Nothing came within the timeout.
    Idle,
    /// The source has no more frames (a file's end; for a live camera, a disconnect).
    End,
}

/// A way to reach a camera.
pub trait Source: Send {
    /// Connects, and starts frames as each of the `views` wants them (one at least, the same ones every time):
    /// what is decoded once is thinned out and scaled for each. Frames of every stream a source opens carry a new
    /// `run`, and `seq` goes on counting.
    fn open(&mut self, views: &[FrameSpec]) -> Result<Box<dyn Stream>, SourceError>;
    /// A live source is reconnected when it ends; another one is finished then.
    fn is_live(&self) -> bool;
    /// From the next [`Source::open`] on, the newest packets of its streams are kept.
    fn keep_packets(&mut self, keep: PacketKeep);
    /// Whether whoever is at its address answers now, within a second; `None` where that cannot be asked.
    fn answers(&self) -> Option<bool> {
        None
    }
    /// Makes sure, within a second, that something takes connections at its address; `Ok` where that cannot be asked.
    fn reach(&self) -> Result<(), SourceError> {
        Ok(())
    }
    /// For people, without credentials.
    fn describe(&self) -> String;
}

/// An open source. Dropping it disconnects.
pub trait Stream: Send {
    /// Waits up to `timeout` for the next frame.
    fn next(&mut self, timeout: Duration) -> Result<Next, SourceError>;
    /// Known once the first frame has come.
    fn info(&self) -> StreamInfo;
    fn pictures(&self) -> Arc<dyn PictureTap>;
    /// The newest packets, where they are kept: the camera's own if it sends H.264 or H.265, else pictures encoded
    /// here.
    fn packets(&self) -> Option<Arc<PacketRing>>;
    /// Frames lost so far because nobody took them in time; each loss begins a new run.
    fn dropped(&self) -> u64;
    /// How much of it is decoded; `None` where nothing is.
    fn effort(&self) -> Option<Arc<Effort>> {
        None
    }
    /// Whether the camera has told the time of its own clock yet, in RTCP sender reports (RFC 3550, 6.4.1); `None`
    /// where a source cannot.
    fn tells_time(&self) -> Option<bool> {
        None
    }
}

/// Why a camera gives no frames; says the cause and the remedy, never a password.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
#[error("{kind}: {message} ({remedy})")]
pub struct SourceError {
    pub kind: SourceErrorKind,
    pub message: String,
    pub remedy: String,
}

/// Causes that a person would mend in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceErrorKind {
    /// Wrong or missing user name or password.
    Unauthorized,
    /// Nothing listens there, or it cannot be reached.
    Unreachable,
    /// The path, file or device does not exist.
    NotFound,
    /// There is no video in it, or none that can be decoded.
    NoVideo,
    /// The stream broke off or is damaged.
    Broken,
    /// Silence.
    Stalled,
    /// The pipeline description or this machine lacks something.
    Setup,
}

impl std::fmt::Display for SourceErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SourceErrorKind::Unauthorized => "not authorised",
            SourceErrorKind::Unreachable => "unreachable",
            SourceErrorKind::NotFound => "not found",
            SourceErrorKind::NoVideo => "no video",
            SourceErrorKind::Broken => "broken stream",
            SourceErrorKind::Stalled => "stalled",
            SourceErrorKind::Setup => "setup",
        })
    }
}
