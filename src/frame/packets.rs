//! The newest compressed pictures of a stream, bounded in bytes and time: what clips are cut from.

use crate::base::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// A key frame whose time is so much earlier than that of the newest packet begins the stream's time anew.
const BACK: Duration = Duration::from_secs(5);

/// A codec that clips are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Codec {
    H264,
    H265,
}

impl Codec {
    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Codec::H264 => "H.264",
            Codec::H265 => "H.265",
        }
    }
}

/// What a decoder has to know of packets. Packets of equal formats can follow each other in one clip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    pub codec: Codec,
    /// As GStreamer writes them.
    pub caps: String,
    /// The newest parameter sets, in a byte stream (ITU-T H.264, annex B), where they come between the pictures:
    /// a clip that does not begin with them begins with these.
    pub parameter_sets: Vec<u8>,
    /// The camera did not make it: pictures were encoded here.
    pub encoded_here: bool,
}

/// A compressed picture (an access unit), as the camera sent it.
#[derive(Debug, Clone)]
pub struct Packet {
    /// Counts what came. A hole: packets between two were lost.
    pub number: u64,
    /// Presentation time on the stream's own clock, which [`PacketRing::on_its_clock`] tells.
    pub pts: Duration,
    /// Wall time of the arrival.
    pub wall: Timestamp,
    /// Decoding can begin here.
    pub key: bool,
    pub data: Arc<[u8]>,
    pub format: Arc<Format>,
}

/// How much a ring keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketKeep {
    /// Never more than so many bytes of packets ...
    pub bytes: usize,
    /// ... and no more time than this, to the next key frame.
    pub span: Duration,
}

/// The newest packets of one stream, in decoding order.
///
/// When it is full the oldest go, up to the next key frame where there is one, since nothing can be decoded from
/// the middle of a group. Taking never waits for giving longer than a few references are copied.
pub struct PacketRing {
    keep: PacketKeep,
    /// Presentation time of the stream's first frame, where [`crate::frame::Stamp::pts`] begins.
    zero: Arc<OnceLock<Duration>>,
    held: Mutex<Held>,
    fed: AtomicBool,
    refused: AtomicU64,
}

#[derive(Default)]
struct Held {
    packets: VecDeque<Packet>,
    bytes: usize,
    keys: usize,
    next: u64,
    problem: Option<String>,
}

impl PacketRing {
    /// An empty ring; `zero` is set when the stream's first frame is there.
    pub fn new(keep: PacketKeep, zero: Arc<OnceLock<Duration>>) -> Self {
        Self { keep, zero, held: Mutex::default(), fed: AtomicBool::new(false), refused: AtomicU64::new(0) }
    }

    /// Puts in the next packet of the stream.
    pub fn push(&self, pts: Duration, wall: Timestamp, key: bool, data: &[u8], format: &Arc<Format>) {
        self.fed.store(true, Relaxed);
        let data: Arc<[u8]> = data.into();
        let mut held = self.hold();
        let number = held.next;
        held.next += 1;
        if data.len() > self.keep.bytes {
            self.refused.fetch_add(1, Relaxed);
            return;
        }
        if key && held.packets.back().is_some_and(|newest| pts + BACK < newest.pts) {
            while held.drop_oldest() {}
        }
        held.make_room(self.keep, data.len(), pts);
        held.bytes += data.len();
        held.keys += usize::from(key);
        held.packets.push_back(Packet { number, pts, wall, key, data, format: Arc::clone(format) });
    }

    /// The number of the packet that a clip from `pts` (on the stream's clock) begins with: the newest key frame
    /// that is not later, or else the oldest one there is; none before the camera was set to another size or codec,
    /// since a clip has one format. `None`: there is no key frame.
    pub fn beginning(&self, pts: Duration) -> Option<u64> {
        let held = self.hold();
        let format = &held.packets.back()?.format;
        let old = held.packets.iter().rposition(|p| p.format != *format).map_or(0, |last| last + 1);
        let mut keys = held.packets.range(old..).filter(|p| p.key);
        let not_later = keys.clone().rev().find(|p| p.pts <= pts);
        not_later.or_else(|| keys.next()).map(|p| p.number)
    }

    /// The packets from `number` on.
    pub fn from(&self, number: u64) -> Vec<Packet> {
        let held = self.hold();
        let first = held.packets.partition_point(|p| p.number < number);
        held.packets.range(first..).cloned().collect()
    }

    /// The number that the next packet will have.
    pub fn next(&self) -> u64 {
        self.hold().next
    }

    /// A frame's presentation time on the stream's own clock. `None` before the first frame.
    pub fn on_its_clock(&self, pts: Duration) -> Option<Duration> {
        self.zero.get().map(|zero| *zero + pts)
    }

    /// Bytes of packets that are held.
    pub fn bytes(&self) -> usize {
        self.hold().bytes
    }

    /// Packets that were too large to be held at all.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Why nothing comes; with a remedy.
    pub fn problem(&self) -> Option<String> {
        self.hold().problem.clone()
    }

    pub(super) fn set_problem(&self, problem: String) {
        self.hold().problem = Some(problem);
    }

    /// Something has been put in.
    pub(super) fn is_fed(&self) -> bool {
        self.fed.load(Relaxed)
    }

    fn hold(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn drop_oldest(&mut self) -> bool {
        let Some(gone) = self.packets.pop_front() else { return false };
        self.bytes -= gone.data.len();
        self.keys -= usize::from(gone.key);
        true
    }

    /// Makes room for so many bytes of a packet of this time.
    fn make_room(&mut self, keep: PacketKeep, bytes: usize, newest: Duration) {
        while self.bytes + bytes > keep.bytes && self.drop_oldest() {}
        // The oldest group goes when the one after it reaches back far enough.
        let far_enough = newest.saturating_sub(keep.span);
        while self.keys > 1
            && self.packets.iter().filter(|p| p.key).nth(1).is_some_and(|p| p.pts <= far_enough)
        {
            self.drop_oldest();
            while self.packets.front().is_some_and(|p| !p.key) {
                self.drop_oldest();
            }
        }
        // What is left of a group that lost its key frame is kept only while there is nothing better: a clip that
        // is being written may still lack it.
        while self.keys > 0 && self.packets.front().is_some_and(|p| !p.key) {
            self.drop_oldest();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ring(bytes: usize, seconds: u64) -> PacketRing {
        let keep = PacketKeep { bytes, span: SECOND * seconds as u32 };
        PacketRing::new(keep, Arc::new(OnceLock::from(Duration::ZERO)))
    }

    /// Packets of `size` bytes at 10 a second, every `group`th of them a key frame.
    fn feed(ring: &PacketRing, numbers: std::ops::Range<u64>, group: u64, size: usize) {
        let caps = "video/x-h264".to_owned();
        let format =
            Arc::new(Format { codec: Codec::H264, caps, parameter_sets: vec![], encoded_here: false });
        for n in numbers {
            let (pts, data) = (Duration::from_millis(n * 100), vec![n as u8; size]);
            ring.push(pts, Timestamp::UNIX_EPOCH, n.is_multiple_of(group), &data, &format);
            assert!(ring.bytes() <= ring.keep.bytes);
        }
    }

    fn numbers(ring: &PacketRing) -> Vec<u64> {
        ring.from(0).iter().map(|p| p.number).collect()
    }

    #[test]
    fn it_keeps_whole_groups_within_its_bytes() {
        let ring = ring(1000, 3600);
        feed(&ring, 0..25, 10, 60);
        assert_eq!(numbers(&ring), (10..25).collect::<Vec<_>>(), "16 fit, and 9 has no key frame any more");
        assert_eq!(ring.bytes(), 15 * 60);
    }

    #[test]
    fn it_keeps_the_groups_that_the_time_reaches_into() {
        let ring = ring(1 << 20, 2);
        feed(&ring, 0..48, 10, 60);
        assert_eq!(numbers(&ring)[0], 20, "2.7 s is asked for, and the group from 2.0 s has it");
        feed(&ring, 48..51, 10, 60);
        assert_eq!(numbers(&ring)[0], 30, "5.0 s - 2 s is exactly a key frame");
    }

    #[test]
    fn a_group_longer_than_the_ring_loses_its_beginning_and_the_next_one_is_whole_again() {
        let ring = ring(1000, 3600);
        feed(&ring, 0..30, 100, 60);
        assert_eq!(
            numbers(&ring),
            (14..30).collect::<Vec<_>>(),
            "a clip being written still gets the newest"
        );
        assert_eq!(ring.beginning(SECOND * 2), None);
        feed(&ring, 30..103, 100, 60);
        assert_eq!(numbers(&ring), [100, 101, 102]);
        assert_eq!(ring.beginning(SECOND * 2), Some(100), "later than asked for, but there");
    }

    #[test]
    fn a_clip_begins_with_the_key_frame_before_its_time() {
        let ring = ring(1 << 20, 60);
        feed(&ring, 0..40, 10, 60);
        for (pts, first) in [(0, 0), (999, 0), (1000, 10), (2500, 20), (9000, 30)] {
            assert_eq!(ring.beginning(Duration::from_millis(pts)), Some(first), "{pts} ms");
        }
        assert_eq!(ring.from(38).iter().map(|p| p.number).collect::<Vec<_>>(), [38, 39]);
        assert!(ring.from(40).is_empty());
    }

    #[test]
    fn a_clip_begins_with_the_newest_format_where_the_camera_was_set_to_another() {
        let ring = ring(1 << 20, 60);
        feed(&ring, 0..25, 10, 60);
        let format = Format { codec: Codec::H265, ..(*ring.from(0)[0].format).clone() };
        let format = Arc::new(format);
        for n in 25..40_u64 {
            let pts = Duration::from_millis(n * 100);
            ring.push(pts, Timestamp::UNIX_EPOCH, n.is_multiple_of(10), &[0; 60], &format);
        }
        assert_eq!(numbers(&ring)[0], 0, "a clip that is being written may still lack the old ones");
        for (pts, first) in [(0, 30), (2000, 30), (3100, 30)] {
            assert_eq!(ring.beginning(Duration::from_millis(pts)), Some(first), "{pts} ms");
        }
    }

    #[test]
    fn a_packet_larger_than_the_ring_is_refused_and_counted() {
        let ring = ring(1000, 60);
        feed(&ring, 0..3, 10, 100);
        feed(&ring, 3..4, 10, 1001);
        feed(&ring, 4..5, 10, 100);
        assert_eq!(numbers(&ring), [0, 1, 2, 4], "the hole shows");
        assert_eq!(ring.refused(), 1);
    }

    #[test]
    fn time_that_begins_anew_empties_it() {
        let ring = ring(1 << 20, 60);
        feed(&ring, 0..200, 10, 10);
        feed(&ring, 0..3, 10, 10);
        assert_eq!(numbers(&ring), [200, 201, 202]);
    }
}
