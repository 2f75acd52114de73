//! Small pictures of a camera's normal life with their features, in a file of bounded size: what alerts are compared with.
//!
//! A header, then slots of equal length: features and a JPEG each. When all are taken, every second moment goes, and
//! from then on pictures are taken half as often; at the slowest pace the oldest goes. So the gallery reaches
//! over what has been watched, be it minutes or half a day. A slot that was torn by a crash is empty.

use super::StoreError;
use super::record::{self, from_halves, halves, is_sealed, seal, u32_at, u64_at};
use crate::base::Timestamp;
use crate::features::Features;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const HEADER_BYTES: usize = 512;
/// Sequence number from 1, the stream's clock, wall time, pace, length of the JPEG; checksum of what follows, and of the
/// prefix up to there.
const PREFIX_BYTES: usize = 40;
/// Bytes of a file at most ...
const BYTES: usize = 16 << 20;
/// ... with so many pictures at least, however large the features are, and no more than this.
const LEAST_PICTURES: usize = 32;
const MOST_PICTURES: usize = 600;
/// Seconds between pictures, at first and at last.
const FIRST_PACE: f32 = 4.0;
const LAST_PACE: f32 = 64.0;
/// Bytes of a picture at most.
pub const PICTURE_BYTES: usize = 8 << 10;

/// What the slots of one gallery have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GallerySpec {
    /// Name and version of the extractor.
    pub extractor: String,
    pub regions: usize,
    pub dims: usize,
}

impl GallerySpec {
    fn slot_bytes(&self) -> usize {
        PREFIX_BYTES + self.regions * self.dims * 2 + PICTURE_BYTES
    }

    /// Pictures that are kept.
    pub fn slots(&self) -> usize {
        (BYTES / self.slot_bytes()).clamp(LEAST_PICTURES, MOST_PICTURES)
    }

    fn header(&self) -> [u8; HEADER_BYTES] {
        let Self { extractor, regions, dims } = self;
        let text =
            format!("sigmawatch gallery 1\n{regions} {dims} {} {PICTURE_BYTES}\n{extractor}\n", self.slots());
        let mut bytes = [0; HEADER_BYTES];
        let length = text.len().min(HEADER_BYTES);
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        bytes
    }

    /// Byte at which a slot begins.
    fn place(&self, slot: usize) -> u64 {
        (HEADER_BYTES + slot * self.slot_bytes()) as u64
    }
}

/// A moment of normal life.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    slot: usize,
    /// Seconds by the stream's own clock, comparable within one life of the daemon, as [`super::RingRecord::time_seconds`].
    pub clock: f64,
    pub time: Timestamp,
    /// Features of the regions that were asked for, one after the other.
    pub values: Vec<f32>,
}

/// A feed's gallery. One thread reads and writes it.
#[derive(Debug)]
pub struct Gallery {
    path: PathBuf,
    file: File,
    spec: GallerySpec,
    /// Sequence number of what each slot holds; 0: free.
    slots: Vec<u64>,
    next: u64,
    pace: f32,
    /// The newest moment's clock, of this life.
    newest: Option<f64>,
}

impl Gallery {
    /// Opens the gallery at `path`. A file that was made for other features, or is damaged, is replaced by an empty one.
    pub fn open(path: &Path, spec: &GallerySpec) -> Result<Self, StoreError> {
        let fits = |file: &File| {
            let mut header = [0; HEADER_BYTES];
            file.read_exact_at(&mut header, 0).is_ok() && header == spec.header()
        };
        let file = record::open(path, &spec.header(), fits)?;
        let mut gallery = Self {
            path: path.to_owned(),
            file,
            spec: spec.clone(),
            slots: vec![0; spec.slots()],
            next: 1,
            pace: FIRST_PACE,
            newest: None,
        };
        for slot in 0..gallery.slots.len() {
            let mut bytes = [0; PREFIX_BYTES];
            // The end of the file is the end of the slots that were ever filled.
            let Ok(()) = gallery.file.read_exact_at(&mut bytes, spec.place(slot)) else { break };
            let Some(prefix) = Prefix::parse(&bytes) else { continue };
            gallery.slots[slot] = prefix.seq;
            if prefix.seq >= gallery.next {
                (gallery.next, gallery.pace) = (prefix.seq + 1, prefix.pace.clamp(FIRST_PACE, LAST_PACE));
            }
        }
        Ok(gallery)
    }

    /// Moments held.
    pub fn len(&self) -> usize {
        self.slots.iter().filter(|seq| **seq > 0).count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the moment `clock` is one to keep.
    pub fn wants(&self, clock: f64) -> bool {
        self.newest.is_none_or(|newest| (clock - newest).abs() >= f64::from(self.pace))
    }

    /// Keeps a moment, its features in half precision, and its picture, a JPEG of at most [`PICTURE_BYTES`].
    pub fn put(
        &mut self,
        clock: f64,
        time: Timestamp,
        features: &Features,
        jpeg: &[u8],
    ) -> Result<(), StoreError> {
        let GallerySpec { regions, dims, .. } = self.spec;
        if (features.regions, features.dims) != (regions, dims) || jpeg.len() > PICTURE_BYTES {
            let problem = format!(
                "a moment of {} x {} numbers and {} bytes, where it holds {regions} x {dims} and {PICTURE_BYTES}",
                features.regions,
                features.dims,
                jpeg.len()
            );
            return Err(StoreError::new(&self.path, problem, "remove it; the daemon makes a new one"));
        }
        let mut slot = vec![0; PREFIX_BYTES];
        slot.extend(halves(&features.values));
        slot.extend_from_slice(jpeg);
        let prefix = Prefix {
            seq: self.next,
            clock,
            time_us: time.as_microsecond(),
            pace: self.pace,
            jpeg: jpeg.len(),
            sum: crc32fast::hash(&slot[PREFIX_BYTES..]),
        };
        slot[..PREFIX_BYTES].copy_from_slice(&prefix.bytes());
        let at = self.room();
        self.file.write_all_at(&slot, self.spec.place(at)).map_err(|e| StoreError::io(&self.path, &e))?;
        self.slots[at] = self.next;
        self.next += 1;
        self.newest = Some(clock);
        Ok(())
    }

    /// A slot for the next moment.
    fn room(&mut self) -> usize {
        if !self.slots.contains(&0) && self.pace < LAST_PACE {
            self.pace *= 2.0;
            let mut order: Vec<usize> = (0..self.slots.len()).collect();
            order.sort_by_key(|slot| self.slots[*slot]);
            order.into_iter().skip(1).step_by(2).for_each(|slot| self.slots[slot] = 0);
        }
        // A free one, else the oldest.
        (0..self.slots.len()).min_by_key(|slot| self.slots[*slot]).unwrap_or(0)
    }

    /// Every moment that is whole, with the features of some regions.
    pub fn moments(&self, regions: &[usize]) -> Result<Vec<Moment>, StoreError> {
        let dims = self.spec.dims;
        let mut found = vec![];
        for slot in (0..self.slots.len()).filter(|slot| self.slots[*slot] > 0) {
            let Some((prefix, body)) = self.read(slot)? else { continue };
            let of = |region: &usize| from_halves(&body[2 * region * dims..2 * (region + 1) * dims]);
            let Ok(time) = Timestamp::from_microsecond(prefix.time_us) else { continue };
            let known = regions.iter().filter(|region| **region < self.spec.regions);
            found.push(Moment { slot, clock: prefix.clock, time, values: known.flat_map(of).collect() });
        }
        Ok(found)
    }

    /// The picture of a moment, a JPEG; `None` where it is gone.
    pub fn picture(&self, moment: &Moment) -> Result<Option<Vec<u8>>, StoreError> {
        let features = self.spec.regions * self.spec.dims * 2;
        let same = |(prefix, _): &(Prefix, _)| prefix.time_us == moment.time.as_microsecond();
        Ok(self.read(moment.slot)?.filter(same).map(|(_, body)| body[features..].to_vec()))
    }

    /// A slot's prefix, and its features and picture; `None` where it is torn.
    fn read(&self, slot: usize) -> Result<Option<(Prefix, Vec<u8>)>, StoreError> {
        let at = self.spec.place(slot);
        let mut bytes = [0; PREFIX_BYTES];
        match self.file.read_exact_at(&mut bytes, at) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read.map_err(|e| StoreError::io(&self.path, &e))?,
        }
        let Some(prefix) = Prefix::parse(&bytes).filter(|prefix| prefix.jpeg <= PICTURE_BYTES) else {
            return Ok(None);
        };
        let mut body = vec![0; self.spec.regions * self.spec.dims * 2 + prefix.jpeg];
        match self.file.read_exact_at(&mut body, at + PREFIX_BYTES as u64) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read.map_err(|e| StoreError::io(&self.path, &e))?,
        }
        Ok((crc32fast::hash(&body) == prefix.sum).then_some((prefix, body)))
    }
}

/// What stands before a slot's features.
struct Prefix {
    seq: u64,
    clock: f64,
    time_us: i64,
    pace: f32,
    jpeg: usize,
    sum: u32,
}

impl Prefix {
    fn bytes(&self) -> [u8; PREFIX_BYTES] {
        let mut bytes = [0; PREFIX_BYTES];
        bytes[0..8].copy_from_slice(&self.seq.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.clock.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.time_us.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.pace.to_le_bytes());
        bytes[28..32].copy_from_slice(&(self.jpeg as u32).to_le_bytes());
        bytes[32..36].copy_from_slice(&self.sum.to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    /// `None` where the checksum does not hold, or nothing was ever written.
    fn parse(bytes: &[u8; PREFIX_BYTES]) -> Option<Self> {
        let seq = u64_at(bytes, 0);
        (seq > 0 && is_sealed(bytes)).then(|| Self {
            seq,
            clock: f64::from_bits(u64_at(bytes, 8)),
            time_us: u64_at(bytes, 16) as i64,
            pace: f32::from_bits(u32_at(bytes, 24)),
            jpeg: u32_at(bytes, 28) as usize,
            sum: u32_at(bytes, 32),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(dims: usize) -> GallerySpec {
        GallerySpec { extractor: "toy 1".into(), regions: 3, dims }
    }

    fn features(i: usize, dims: usize) -> Features {
        Features { regions: 3, dims, values: (0..3 * dims).map(|d| (i * 10 + d) as f32 / 8.0).collect() }
    }

    fn at(second: usize) -> Timestamp {
        Timestamp::from_second(second as i64).expect("in range")
    }

    #[test]
    fn moments_come_back_with_their_pictures_also_after_a_restart() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("gate/v1.gallery");
        let mut gallery = Gallery::open(&path, &spec(2)).expect("opened");
        assert!(gallery.is_empty() && gallery.wants(0.0));
        for i in 0..5 {
            gallery.put(3.0 * i as f64, at(100 + i), &features(i, 2), &[i as u8; 20]).expect("kept");
        }
        assert!(!gallery.wants(15.0) && gallery.wants(16.0));
        let check = |gallery: &Gallery| {
            let moments = gallery.moments(&[2, 0]).expect("read");
            assert_eq!(moments.len(), 5);
            let third = moments.iter().find(|m| m.time == at(102)).expect("there");
            assert_eq!((third.clock, &third.values[..]), (6.0, &[3.0, 3.125, 2.5, 2.625][..]));
            assert_eq!(gallery.picture(third).expect("read"), Some(vec![2; 20]));
        };
        check(&gallery);
        drop(gallery);
        check(&Gallery::open(&path, &spec(2)).expect("opened again"));
        assert!(Gallery::open(&path, &spec(3)).expect("opened").is_empty(), "other features begin anew");
    }

    #[test]
    fn a_full_gallery_thins_itself_and_then_forgets_the_oldest() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.gallery");
        let mut gallery = Gallery::open(&path, &spec(2)).expect("opened");
        let (mut clock, mut asked) = (0.0, 0);
        // Two days, looked at every second.
        while clock < 2.0 * 86_400.0 {
            if gallery.wants(clock) {
                gallery.put(clock, at(clock as usize), &features(0, 2), b"jpeg").expect("kept");
                asked += 1;
            }
            clock += 1.0;
        }
        assert!(asked < 6000, "{asked} pictures in two days");
        assert!((MOST_PICTURES / 2..=MOST_PICTURES).contains(&gallery.len()), "{}", gallery.len());
        let mut clocks: Vec<f64> = gallery.moments(&[0]).expect("read").iter().map(|m| m.clock).collect();
        clocks.sort_by(f64::total_cmp);
        let reach = clock - clocks[0];
        assert!((8.0 * 3600.0..11.0 * 3600.0).contains(&reach), "reaches back {reach} s");
        assert!(path.metadata().expect("there").len() <= BYTES as u64);
        drop(gallery);
        let again = Gallery::open(&path, &spec(2)).expect("opened");
        assert_eq!(again.pace, LAST_PACE, "the pace is remembered");
    }

    #[test]
    fn torn_slots_are_empty_and_what_is_too_large_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.gallery");
        let mut gallery = Gallery::open(&path, &spec(2)).expect("opened");
        for i in 0..3 {
            gallery.put(i as f64, at(i), &features(i, 2), &[7; 100]).expect("kept");
        }
        gallery.file.write_all_at(&[0xff], spec(2).place(1) + 60).expect("damaged");
        gallery.file.set_len(spec(2).place(2) + 50).expect("cut");
        assert_eq!(gallery.moments(&[0]).expect("read").len(), 1);
        assert!(gallery.put(9.0, at(9), &features(0, 2), &[0; PICTURE_BYTES + 1]).is_err());
        assert!(gallery.put(9.0, at(9), &features(0, 3), &[]).is_err());
    }
}
