//! One clip in the making: packets from a camera's ring into a file, as they come.

use crate::alert::{Clip, Lack};
use crate::base::Timestamp;
use crate::config;
use crate::frame::{Format, Packet, PacketRing, Sample};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

/// No clip takes more of the disk than this, whatever its camera sends.
const MOST_BYTES: u64 = 256 << 20;
/// After an event's end and what is shown of the time after it, packets are waited for so much longer.
const GRACE: Duration = Duration::from_secs(3);
/// An end that is missed by less than this is no lack.
const NEAR: i64 = 500_000_000;

/// A clip that is being recorded. Times are nanoseconds on the clock of the stream that it began with.
pub struct Recording {
    pub event: String,
    limits: config::Clips,
    ring: Arc<PacketRing>,
    /// Number of the next packet.
    next: u64,
    /// Added to the presentation times of the present stream; `None` until its first packet has come.
    offset: Option<i64>,
    /// The camera was lost and found again.
    moved: bool,
    /// Nothing can be decoded before the next key frame.
    waits_for_key: bool,
    /// What is shown before this needs pictures that are not in the clip.
    floor: i64,
    /// Where it should begin.
    from: i64,
    format: Option<Arc<Format>>,
    spool: File,
    bytes: u64,
    taken: Vec<Taken>,
    lacks: BTreeSet<Lack>,
    /// It takes nothing more.
    full: bool,
    ending: Option<Ending>,
}

/// A packet in the file.
#[derive(Debug, Clone, Copy)]
struct Taken {
    at: i64,
    wall: Timestamp,
    key: bool,
    offset: u64,
    length: usize,
}

/// The event is over.
#[derive(Debug, Clone, Copy)]
struct Ending {
    /// The clip ends here, by the stream's clock; or where the camera was lost, by the wall clock.
    at: i64,
    wall: Timestamp,
    /// Nothing more is waited for after this monotonic time.
    patience: Duration,
}

/// A clip that is ready to be written.
pub struct Cut {
    pub event: String,
    /// Without the size of its file.
    pub clip: Clip,
    pub format: Arc<Format>,
    pub samples: Vec<Sample>,
    spool: File,
    taken: Vec<Taken>,
}

impl Cut {
    /// The bytes of a sample.
    pub fn read(&self, number: usize) -> io::Result<Vec<u8>> {
        let Taken { offset, length, .. } = self.taken[number];
        let mut bytes = vec![0; length];
        self.spool.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

impl Recording {
    /// Begins with the key frame before an event that began at `began` (as [`crate::frame::Stamp::pts`]). `spool` is
    /// an empty file. `None`: no frame has come yet.
    pub fn begin(
        event: String,
        began: Duration,
        limits: config::Clips,
        ring: Arc<PacketRing>,
        spool: File,
    ) -> Option<Self> {
        let began = nanoseconds(ring.on_its_clock(began)?);
        let from = began - nanoseconds(limits.before);
        let first = ring.beginning(Duration::from_nanos(from.max(0) as u64));
        Some(Self {
            event,
            limits,
            next: first.unwrap_or_else(|| ring.next()),
            ring,
            offset: Some(0),
            moved: false,
            waits_for_key: true,
            floor: i64::MIN,
            from,
            format: None,
            spool,
            bytes: 0,
            taken: vec![],
            lacks: BTreeSet::new(),
            full: false,
            ending: None,
        })
    }

    /// Takes what has come since.
    ///
    /// # Errors
    /// The disk's: nothing can become of the clip then.
    pub fn pull(&mut self) -> io::Result<()> {
        if self.full {
            return Ok(());
        }
        for packet in self.ring.from(self.next) {
            if packet.number != self.next && !self.taken.is_empty() {
                self.lacks.insert(Lack::Middle);
                self.waits_for_key = true;
            }
            self.next = packet.number + 1;
            self.take(&packet)?;
            if self.full {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, packet: &Packet) -> io::Result<()> {
        if self.waits_for_key && !packet.key {
            return Ok(());
        }
        let offset = *self.offset.get_or_insert_with(|| {
            // The clocks of two streams have nothing in common but the wall's.
            let last = self.taken.last();
            let (at, wall) = last.map_or((self.from, packet.wall), |last| (last.at, last.wall));
            let away = packet.wall.duration_since(wall).as_nanos().max(0) as i64;
            at + away - nanoseconds(packet.pts)
        });
        let at = nanoseconds(packet.pts) + offset;
        if self.waits_for_key {
            (self.waits_for_key, self.floor) = (false, at);
            if self.taken.is_empty() && at > self.from {
                self.lacks.insert(Lack::Beginning);
            }
        }
        if at < self.floor {
            return Ok(());
        }
        let format = self.format.get_or_insert_with(|| Arc::clone(&packet.format));
        let first = self.taken.first().map_or(at, |first| first.at);
        let length = packet.data.len();
        self.full = *format != packet.format
            || at - first > nanoseconds(self.limits.longest)
            || self.bytes + length as u64 > MOST_BYTES;
        if self.full {
            let (had, has) = (&format.caps, &packet.format.caps);
            tracing::debug!(event = %self.event, had, has, pts = ?packet.pts, "the clip is full, or of another format");
            return Ok(());
        }
        self.spool.write_all(&packet.data)?;
        self.taken.push(Taken { at, wall: packet.wall, key: packet.key, offset: self.bytes, length });
        self.bytes += length as u64;
        Ok(())
    }

    /// Goes on with the camera's newest stream, where that is another one.
    ///
    /// # Errors
    /// As [`Recording::pull`].
    pub fn follow(&mut self, ring: &Arc<PacketRing>) -> io::Result<()> {
        if self.full || Arc::ptr_eq(ring, &self.ring) {
            return Ok(());
        }
        self.pull()?;
        self.ring = Arc::clone(ring);
        self.next = ring.beginning(Duration::ZERO).unwrap_or_else(|| ring.next());
        (self.offset, self.moved, self.waits_for_key) = (None, true, true);
        self.lacks.insert(Lack::Middle);
        Ok(())
    }

    /// The event is over: its last frame had this presentation time, and came at `wall`. `now` is monotonic.
    pub fn end(&mut self, last: Duration, wall: Timestamp, now: Duration) {
        let after = self.limits.after;
        let last = self.ring.on_its_clock(last).unwrap_or(last);
        self.ending = Some(Ending {
            at: nanoseconds(last + after),
            wall: wall.checked_add(after).unwrap_or(wall),
            patience: now + after + GRACE,
        });
    }

    /// The clip is all there, or nothing more is to be waited for. `now` is monotonic.
    pub fn is_done(&self, now: Duration) -> bool {
        let over = |ending: &Ending| {
            now >= ending.patience || self.taken.last().is_some_and(|taken| !self.within(ending, taken))
        };
        self.full || self.ending.as_ref().is_some_and(over)
    }

    fn within(&self, ending: &Ending, taken: &Taken) -> bool {
        if self.moved { taken.wall <= ending.wall } else { taken.at <= ending.at }
    }

    /// What has become of it; `None`: no key frame came in its time.
    pub fn cut(mut self) -> Option<Cut> {
        match self.ending {
            None => {
                self.lacks.insert(Lack::End);
            }
            Some(ending) => {
                let past = self.taken.iter().position(|taken| !self.within(&ending, taken));
                let near = |taken: &Taken| match self.moved {
                    true => ending.wall.duration_since(taken.wall).as_nanos() < i128::from(NEAR),
                    false => ending.at - taken.at < NEAR,
                };
                if past.is_none() && !self.taken.last().is_some_and(near) {
                    self.lacks.insert(Lack::End);
                }
                self.taken.truncate(past.unwrap_or(self.taken.len()));
            }
        }
        let first = *self.taken.iter().min_by_key(|taken| taken.at)?;
        let last = self.taken.iter().map(|taken| taken.at).max()?;
        let usual = (last - first.at) / (self.taken.len() as i64 - 1).max(1);
        let format = self.format?;
        let clip = Clip {
            start: first.wall,
            seconds: (last - first.at + usual) as f64 / 1e9,
            bytes: 0,
            codec: format.codec.name().into(),
            encoded_here: format.encoded_here,
            lacks: self.lacks.into_iter().collect(),
        };
        let sample = |taken: &Taken| Sample {
            pts: Duration::from_nanos((taken.at - first.at) as u64),
            key: taken.key,
        };
        let samples = self.taken.iter().map(sample).collect();
        Some(Cut { event: self.event, clip, format, samples, spool: self.spool, taken: self.taken })
    }
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Codec, PacketKeep};
    use std::sync::OnceLock;

    const LIMITS: config::Clips = config::Clips {
        before: Duration::from_secs(5),
        after: Duration::from_secs(2),
        longest: Duration::from_secs(60),
        memory: 1 << 20,
    };
    /// Presentation time of the streams' first frames.
    const ZERO: Duration = Duration::from_secs(1000);

    fn ring(bytes: usize) -> Arc<PacketRing> {
        let keep = PacketKeep { bytes, span: Duration::from_secs(3600) };
        Arc::new(PacketRing::new(keep, Arc::new(OnceLock::from(ZERO))))
    }

    fn format(caps: &str) -> Arc<Format> {
        let caps = caps.to_owned();
        Arc::new(Format { codec: Codec::H264, caps, parameter_sets: vec![], encoded_here: false })
    }

    /// Packets at 10 a second from these tenths of the stream on, a key frame every second, each of ten bytes that
    /// are its tenth; the wall clock is `late` seconds ahead of the stream's.
    fn feed(ring: &PacketRing, tenths: std::ops::Range<u64>, late: i64, format: &Arc<Format>) {
        for tenth in tenths {
            let pts = ZERO + Duration::from_millis(tenth * 100);
            ring.push(pts, wall(tenth, late), tenth.is_multiple_of(10), &[tenth as u8; 10], format);
        }
    }

    fn wall(tenth: u64, late: i64) -> Timestamp {
        Timestamp::from_millisecond(tenth as i64 * 100 + late * 1000).expect("in range")
    }

    fn begin(ring: &Arc<PacketRing>, second: u64) -> Recording {
        let spool = tempfile::tempfile().expect("a file");
        Recording::begin("e".into(), Duration::from_secs(second), LIMITS, Arc::clone(ring), spool)
            .expect("frames have come")
    }

    fn tenths(cut: &Cut) -> Vec<u8> {
        (0..cut.samples.len()).map(|number| cut.read(number).expect("readable")[0]).collect()
    }

    const NOW: Duration = Duration::from_secs(77);

    #[test]
    fn it_reaches_from_the_key_frame_before_the_event_to_some_time_after_it() {
        let ring = ring(1 << 20);
        let format = format("a");
        feed(&ring, 0..125, 0, &format);
        let mut recording = begin(&ring, 12);
        recording.pull().expect("written");
        assert!(!recording.is_done(NOW));
        recording.end(Duration::from_millis(12_500), wall(125, 0), NOW);
        feed(&ring, 125..200, 0, &format);
        recording.pull().expect("written");
        assert!(recording.is_done(NOW), "what it waited for is there");
        let cut = recording.cut().expect("a clip");
        assert_eq!(tenths(&cut), (70..=145).collect::<Vec<_>>());
        assert_eq!((cut.clip.start, cut.clip.seconds), (wall(70, 0), 7.6));
        assert_eq!((cut.clip.codec.as_str(), cut.clip.lacks.as_slice()), ("H.264", &[][..]));
        assert_eq!(cut.samples[10], Sample { pts: Duration::from_secs(1), key: true });
    }

    #[test]
    fn what_was_not_kept_is_lacking_and_it_says_so() {
        let small = ring(500);
        let format = format("a");
        feed(&small, 0..100, 0, &format);
        let mut recording = begin(&small, 9);
        recording.pull().expect("written");
        recording.end(Duration::from_millis(9_900), wall(99, 0), NOW);
        feed(&small, 100..103, 0, &format);
        recording.pull().expect("written");
        assert!(!recording.is_done(NOW));
        assert!(recording.is_done(NOW + LIMITS.after + GRACE), "a camera that is gone is not waited for");
        let cut = recording.cut().expect("a clip");
        assert_eq!(tenths(&cut), (50..103).collect::<Vec<_>>());
        assert_eq!(cut.clip.lacks, [Lack::Beginning, Lack::End]);
        let mut early = begin(&ring(1 << 20), 1);
        feed(&early.ring, 0..10, 0, &format);
        early.pull().expect("written");
        assert_eq!(
            early.cut().expect("a clip").clip.lacks,
            [Lack::Beginning, Lack::End],
            "it had just begun"
        );
    }

    #[test]
    fn packets_that_went_while_it_did_not_look_leave_a_gap_up_to_the_next_key_frame() {
        let small = ring(300);
        let format = format("a");
        feed(&small, 0..25, 0, &format);
        let mut recording = begin(&small, 2);
        recording.pull().expect("written");
        feed(&small, 25..75, 0, &format);
        recording.pull().expect("written");
        let cut = recording.cut().expect("a clip");
        assert_eq!(tenths(&cut), (0..25).chain(50..75).collect::<Vec<_>>());
        assert!(cut.clip.lacks.contains(&Lack::Middle));
        assert_eq!(cut.samples[25].pts, Duration::from_secs(5), "the gap stays a gap");
    }

    #[test]
    fn it_goes_no_longer_than_it_may() {
        let ring = ring(1 << 20);
        let format = format("a");
        feed(&ring, 0..250, 0, &format);
        let mut recording = begin(&ring, 5);
        recording.pull().expect("written");
        assert!(!recording.is_done(NOW));
        feed(&ring, 250..900, 0, &format);
        recording.pull().expect("written");
        assert!(recording.is_done(NOW));
        let cut = recording.cut().expect("a clip");
        assert_eq!(cut.samples.len(), 601);
        assert_eq!(cut.clip.lacks, [Lack::End]);
    }

    #[test]
    fn a_camera_that_was_away_goes_on_by_the_wall_clock() {
        let (old, new) = (ring(1 << 20), ring(1 << 20));
        let format = format("a");
        feed(&old, 0..75, 0, &format);
        let mut recording = begin(&old, 6);
        recording.pull().expect("written");
        // Away for three seconds; the new stream begins in the middle of a group.
        feed(&new, 5..60, 10, &format);
        recording.follow(&new).expect("written");
        recording.pull().expect("written");
        recording.end(Duration::from_secs(2), wall(20, 10), NOW);
        assert!(recording.is_done(NOW));
        let cut = recording.cut().expect("a clip");
        assert_eq!(tenths(&cut), (10..75).chain(10..=40).collect::<Vec<_>>());
        assert_eq!(cut.samples[65].pts - cut.samples[64].pts, Duration::from_millis(3600));
        assert_eq!(cut.clip.lacks, [Lack::Middle]);
    }

    #[test]
    fn another_format_ends_it() {
        let ring = ring(1 << 20);
        feed(&ring, 0..70, 0, &format("a"));
        let mut recording = begin(&ring, 6);
        feed(&ring, 70..80, 0, &format("b"));
        recording.pull().expect("written");
        assert!(recording.is_done(NOW));
        assert_eq!(tenths(&recording.cut().expect("a clip")).last(), Some(&69));
    }

    #[test]
    fn pictures_that_need_what_is_not_there_are_left_out() {
        let ring = ring(1 << 20);
        let format = format("a");
        // An open group: 7.1 s is decoded after the key frame of 7.2 s, and refers to what was before it.
        for (tenth, key) in [(60, true), (70, false), (72, true), (71, false), (74, false), (73, false)] {
            let pts = ZERO + Duration::from_millis(tenth * 100);
            ring.push(pts, wall(tenth, 0), key, &[tenth as u8], &format);
        }
        let mut recording = begin(&ring, 12);
        recording.from += 500_000_000;
        recording.next = 2;
        recording.pull().expect("written");
        assert_eq!(tenths(&recording.cut().expect("a clip")), [72, 74, 73]);
        assert!(begin(&ring, 12).cut().is_none(), "nothing was pulled");
    }
}
