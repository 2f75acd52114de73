//! The newest features of one camera in a file of fixed size, to learn from after any kind of end.
//!
//! A header, then `capacity` records of equal length; the newest overwrites the oldest. A record that was
//! torn by a crash, or is being written while another process reads, fails its checksum and is skipped.

use super::StoreError;
use super::record::{self, from_halves, halves, is_sealed, seal, u32_at, u64_at};
use crate::features::Features;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"SWFEATUR";
const VERSION: u32 = 1;
/// Magic, version, regions, dims, capacity, length of the extractor's name, the name; then a checksum in
/// the last four bytes.
const HEADER_BYTES: usize = 512;
const NAME_AT: usize = 28;
const NAME_MAX: usize = HEADER_BYTES - 4 - NAME_AT;
/// Sequence number from 1, time, run; checksum of the values, and of the prefix up to there.
const PREFIX_BYTES: usize = 32;

/// What the records of one ring have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingSpec {
    /// Name and version of the extractor, as in [`crate::infer::ScorerSpec::extractor`].
    pub extractor: String,
    pub regions: usize,
    pub dims: usize,
    /// Records kept.
    pub capacity: usize,
}

impl RingSpec {
    fn record_bytes(&self) -> usize {
        PREFIX_BYTES + self.regions * self.dims * 2
    }

    fn header(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        let name = &self.extractor.as_bytes()[..self.extractor.len().min(NAME_MAX)];
        let fields =
            [VERSION, self.regions as u32, self.dims as u32, self.capacity as u32, name.len() as u32];
        for (i, field) in fields.into_iter().enumerate() {
            bytes[8 + 4 * i..][..4].copy_from_slice(&field.to_le_bytes());
        }
        bytes[NAME_AT..][..name.len()].copy_from_slice(name);
        seal(&mut bytes);
        bytes
    }

    fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let field = |at: usize| u32_at(bytes, at);
        let sound = &bytes[..8] == MAGIC && field(8) == VERSION && is_sealed(bytes);
        let name = bytes.get(NAME_AT..NAME_AT + field(24) as usize)?;
        sound.then(|| Self {
            extractor: String::from_utf8_lossy(name).into_owned(),
            regions: field(12) as usize,
            dims: field(16) as usize,
            capacity: field(20) as usize,
        })
    }
}

/// The features of one segment, as read back.
#[derive(Debug, Clone, PartialEq)]
pub struct RingRecord {
    /// When the segment's last frame was, seconds since 1970: the wall time at which its run began, and from
    /// there on by the stream's own clock.
    pub time_seconds: f64,
    /// Segments of one run follow each other without a gap. Unlike a stream's own runs, these are never used
    /// again by a later life of the daemon.
    pub run: u64,
    /// In half precision: relative error at most 2^-11.
    pub features: Features,
}

/// A camera's ring, open for writing. One process writes; any may [`FeatureRing::read`].
#[derive(Debug)]
pub struct FeatureRing {
    path: PathBuf,
    file: File,
    spec: RingSpec,
    /// Sequence number of the next record; its place is `(next - 1) % capacity`.
    next: u64,
    /// Added to a stream's runs.
    run_offset: u64,
}

impl FeatureRing {
    /// Opens the ring at `path`, and goes on after its newest record. A file that was made for other
    /// features or another capacity, or is damaged, is replaced by an empty ring, and the log says so.
    pub fn open(path: &Path, spec: &RingSpec) -> Result<Self, StoreError> {
        let fits = |file: &File| read_spec(file).is_some_and(|found| found == *spec);
        let file = record::open(path, &spec.header(), fits)?;
        let (mut ring_next, mut run_offset) = (1, 0);
        for (_, prefix) in prefixes(&file, spec).map_err(|e| StoreError::io(path, &e))? {
            ring_next = ring_next.max(prefix.seq + 1);
            run_offset = run_offset.max(prefix.run + 1);
        }
        Ok(Self { path: path.to_owned(), file, spec: spec.clone(), next: ring_next, run_offset })
    }

    pub fn spec(&self) -> &RingSpec {
        &self.spec
    }

    /// Records held now, torn ones included.
    pub fn len(&self) -> usize {
        ((self.next - 1) as usize).min(self.spec.capacity)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the features of one segment of the stream's run `run`, over the oldest where the ring is full.
    /// Survives the end of the process at once.
    ///
    /// Values are clamped to what half precision can hold; features that are not finite are refused.
    pub fn append(&mut self, time_seconds: f64, run: u64, features: &Features) -> Result<(), StoreError> {
        let refused = |problem: String| {
            Err(StoreError::new(&self.path, problem, "look for the cause in the camera's extractor"))
        };
        if (features.regions, features.dims) != (self.spec.regions, self.spec.dims) {
            return refused(format!(
                "features of {} regions x {} dims, where the ring holds {} x {}",
                features.regions, features.dims, self.spec.regions, self.spec.dims
            ));
        }
        if features.values.iter().any(|v| !v.is_finite()) {
            return refused("features that are not finite".into());
        }
        let mut record = vec![0; PREFIX_BYTES];
        record.extend(halves(&features.values));
        let values_sum = crc32fast::hash(&record[PREFIX_BYTES..]);
        let prefix = Prefix { seq: self.next, time_seconds, run: self.run_offset + run, values_sum };
        record[..PREFIX_BYTES].copy_from_slice(&prefix.bytes());
        let at = place(&self.spec, (self.next - 1) % self.spec.capacity as u64);
        self.file.write_all_at(&record, at).map_err(|e| StoreError::io(&self.path, &e))?;
        self.next += 1;
        Ok(())
    }

    /// Everything in the ring, oldest first.
    pub fn read_all(&self) -> Result<Vec<RingRecord>, StoreError> {
        records(&self.file, &self.spec).map_err(|e| StoreError::io(&self.path, &e))
    }

    /// What another process reads while the daemon writes. Opens nothing for writing.
    pub fn read(path: &Path) -> Result<(RingSpec, Vec<RingRecord>), StoreError> {
        let file = File::open(path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => StoreError::new(
                path,
                "this camera has kept no features yet",
                "run the daemon on it for a while, or see that the name and `store.dir` are right",
            ),
            _ => StoreError::io(path, &e),
        })?;
        let spec = read_spec(&file).ok_or_else(|| {
            StoreError::new(
                path,
                "this is no feature file of this version, or its beginning is damaged",
                "remove it; the daemon makes a new one",
            )
        })?;
        let records = records(&file, &spec).map_err(|e| StoreError::io(path, &e))?;
        Ok((spec, records))
    }
}

/// Byte at which the record in slot `slot` begins.
fn place(spec: &RingSpec, slot: u64) -> u64 {
    HEADER_BYTES as u64 + slot * spec.record_bytes() as u64
}

/// What stands before a record's values.
struct Prefix {
    seq: u64,
    time_seconds: f64,
    run: u64,
    values_sum: u32,
}

impl Prefix {
    fn bytes(&self) -> [u8; PREFIX_BYTES] {
        let mut bytes = [0; PREFIX_BYTES];
        bytes[0..8].copy_from_slice(&self.seq.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.time_seconds.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.run.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.values_sum.to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    /// `None` where the checksum does not hold, or nothing was ever written.
    fn parse(bytes: &[u8; PREFIX_BYTES]) -> Option<Self> {
        let seq = u64_at(bytes, 0);
        (seq > 0 && is_sealed(bytes)).then(|| Self {
            seq,
            time_seconds: f64::from_bits(u64_at(bytes, 8)),
            run: u64_at(bytes, 16),
            values_sum: u32_at(bytes, 24),
        })
    }
}

fn read_spec(file: &File) -> Option<RingSpec> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).ok()?;
    RingSpec::parse(&header)
}

/// Slot and prefix of every record whose prefix is sound, by slot. Reads no values, so it is quick.
fn prefixes(file: &File, spec: &RingSpec) -> io::Result<Vec<(u64, Prefix)>> {
    let bytes = file.metadata()?.len();
    let mut found = Vec::new();
    for slot in 0..spec.capacity as u64 {
        // Slots are filled in order the first time round, so the first that is missing is the end.
        if place(spec, slot + 1) > bytes {
            break;
        }
        let mut prefix = [0; PREFIX_BYTES];
        file.read_exact_at(&mut prefix, place(spec, slot))?;
        found.extend(Prefix::parse(&prefix).map(|p| (slot, p)));
    }
    Ok(found)
}

/// Every whole record, oldest first.
fn records(file: &File, spec: &RingSpec) -> io::Result<Vec<RingRecord>> {
    let mut order = prefixes(file, spec)?;
    order.sort_by_key(|(_, prefix)| prefix.seq);
    let mut found = Vec::with_capacity(order.len());
    let mut bytes = vec![0; spec.record_bytes()];
    for (slot, _) in order {
        // The prefix is read again with its values: the writer may have come by in between.
        file.read_exact_at(&mut bytes, place(spec, slot))?;
        let (prefix, values) = bytes.split_at(PREFIX_BYTES);
        let prefix = Prefix::parse(prefix.try_into().expect("split there"));
        let Some(prefix) = prefix.filter(|p| p.values_sum == crc32fast::hash(values)) else { continue };
        let values = from_halves(values).collect();
        found.push((
            prefix.seq,
            RingRecord {
                time_seconds: prefix.time_seconds,
                run: prefix.run,
                features: Features { regions: spec.regions, dims: spec.dims, values },
            },
        ));
    }
    found.sort_by_key(|(seq, _)| *seq);
    Ok(found.into_iter().map(|(_, record)| record).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(capacity: usize) -> RingSpec {
        RingSpec { extractor: "v1 1".into(), regions: 3, dims: 2, capacity }
    }

    fn features(seed: usize) -> Features {
        Features { regions: 3, dims: 2, values: (0..6).map(|i| (seed * 10 + i) as f32 / 8.0).collect() }
    }

    fn times(records: &[RingRecord]) -> Vec<f64> {
        records.iter().map(|r| r.time_seconds).collect()
    }

    #[test]
    fn the_newest_stay_in_order_and_values_come_back() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("gate/features.ring");
        let mut ring = FeatureRing::open(&path, &spec(4)).expect("opened");
        assert!(ring.is_empty());
        for i in 0..6 {
            ring.append(i as f64, 0, &features(i)).expect("appended");
        }
        assert_eq!(ring.len(), 4);
        let (found, records) = FeatureRing::read(&path).expect("readable beside the writer");
        assert_eq!(found, spec(4));
        assert_eq!(times(&records), [2.0, 3.0, 4.0, 5.0]);
        assert_eq!(records[3].features, features(5));
        assert_eq!(ring.read_all().expect("readable"), records);
    }

    #[test]
    fn a_later_life_goes_on_and_uses_no_run_twice() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("features.ring");
        let mut ring = FeatureRing::open(&path, &spec(4)).expect("opened");
        ring.append(1.0, 0, &features(1)).expect("appended");
        ring.append(2.0, 1, &features(2)).expect("appended");
        drop(ring);
        let mut ring = FeatureRing::open(&path, &spec(4)).expect("opened again");
        ring.append(3.0, 0, &features(3)).expect("appended");
        let runs: Vec<_> = ring.read_all().expect("readable").iter().map(|r| r.run).collect();
        assert_eq!(runs, [0, 1, 2]);
    }

    #[test]
    fn torn_records_are_skipped_and_overwritten() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("features.ring");
        let mut ring = FeatureRing::open(&path, &spec(3)).expect("opened");
        for i in 0..3 {
            ring.append(i as f64, 0, &features(i)).expect("appended");
        }
        // One value of the second record, then half of the third.
        let at = place(&spec(3), 1) + PREFIX_BYTES as u64;
        ring.file.write_all_at(&[0xff], at).expect("damaged");
        ring.file.set_len(place(&spec(3), 2) + 10).expect("cut");
        drop(ring);
        let mut ring = FeatureRing::open(&path, &spec(3)).expect("opened again");
        assert_eq!(times(&ring.read_all().expect("readable")), [0.0]);
        for i in 10..13 {
            ring.append(i as f64, 0, &features(i)).expect("appended");
        }
        assert_eq!(times(&ring.read_all().expect("readable")), [10.0, 11.0, 12.0]);
    }

    #[test]
    fn another_grid_starts_anew() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("features.ring");
        FeatureRing::open(&path, &spec(3)).expect("opened").append(1.0, 0, &features(1)).expect("appended");
        let other = RingSpec { extractor: "v1 2".into(), ..spec(3) };
        let ring = FeatureRing::open(&path, &other).expect("opened");
        assert!(ring.read_all().expect("readable").is_empty());
        assert_eq!(FeatureRing::read(&path).expect("readable").0, other);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_large_values_are_clamped() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("features.ring");
        let mut ring = FeatureRing::open(&path, &spec(3)).expect("opened");
        let message = ring
            .append(0.0, 0, &Features { regions: 1, dims: 2, values: vec![0.0; 2] })
            .expect_err("another grid")
            .to_string();
        assert!(message.contains("1 regions x 2 dims"), "{message}");
        let mut bad = features(0);
        bad.values[2] = f32::NAN;
        assert!(ring.append(0.0, 0, &bad).is_err());
        bad.values[2] = 1e9;
        ring.append(0.0, 0, &bad).expect("clamped");
        assert_eq!(ring.read_all().expect("readable")[0].features.values[2], 65504.0);
    }

    #[test]
    fn reading_a_stranger_says_what_to_do() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("features.ring");
        let message = FeatureRing::read(&path).expect_err("absent").to_string();
        assert!(message.contains("kept no features yet"), "{message}");
        std::fs::write(&path, [7; 4096]).expect("written");
        let message = FeatureRing::read(&path).expect_err("no ring").to_string();
        assert!(message.contains("no feature file"), "{message}");
    }
}
