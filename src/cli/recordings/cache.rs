//! Features of recordings kept on disk, so that what an extractor took hours for is taken once.

use super::{Recording, Taken};
use crate::base::write_atomically;
use crate::features::{ExtractorModel, Features};
use crate::infer::sha256_hex;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Begins every file; another layout gets another number.
const MAGIC: &str = "sigmawatch features 1";

/// A folder with one file a recording, extractor and stride.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

/// What stands before the numbers.
#[derive(Serialize, Deserialize)]
struct Header {
    frames: u64,
    regions: usize,
    dims: usize,
    cpu_seconds: f64,
    wall_seconds: f64,
    segments: Vec<Place>,
}

/// Where a segment was; see [`Taken`].
#[derive(Serialize, Deserialize)]
struct Place {
    run: u64,
    first_frame: u64,
    last_frame: u64,
    start: f64,
    end: f64,
}

impl Cache {
    /// # Errors
    /// When the folder is not there and cannot be made.
    pub fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        Ok(Self { dir: dir.into() })
    }

    /// The file for a recording as it is now: a changed recording, extractor or stride has another one.
    pub fn file(&self, recording: &Path, extractor: &ExtractorModel, stride: usize) -> Result<PathBuf> {
        let about = || -> std::io::Result<String> {
            let (whole, meta) = (recording.canonicalize()?, recording.metadata()?);
            let modified = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            Ok(format!("{}\n{}\n{modified}", whole.display(), meta.len()))
        };
        let about = about().with_context(|| format!("cannot read {}", recording.display()))?;
        let key = sha256_hex(format!("{}\n{stride}\n{about}", extractor.sha256()).as_bytes());
        Ok(self.dir.join(format!("{}.features", &key[..32])))
    }
}

/// What an earlier call of [`write`] kept; nothing where there is no such file, or a damaged one.
pub fn read(file: &Path, recording: &Path) -> Option<Recording> {
    let bytes = std::fs::read(file).ok()?;
    let mut parts = bytes.splitn(3, |b| *b == b'\n');
    let (magic, header, numbers) = (parts.next()?, parts.next()?, parts.next()?);
    let header: Header = serde_json::from_slice(header).ok().filter(|_| magic == MAGIC.as_bytes())?;
    let Header { frames, regions, dims, cpu_seconds, wall_seconds, segments } = header;
    let size = regions * dims;
    if numbers.len() != 4 * size * segments.len() {
        return None;
    }
    let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let features = |i: usize| {
        let values = numbers[4 * size * i..4 * size * (i + 1)].chunks_exact(4).map(number).collect();
        Features { regions, dims, values }
    };
    let segments = segments.into_iter().enumerate().map(|(i, place)| {
        let Place { run, first_frame, last_frame, start, end } = place;
        Taken { features: features(i), run, first_frame, last_frame, start, end }
    });
    let segments = segments.collect();
    Some(Recording { path: recording.into(), frames, segments, cpu_seconds, wall_seconds })
}

/// # Errors
/// When the file cannot be written.
pub fn write(file: &Path, recording: &Recording) -> Result<()> {
    let shape = recording.segments.first().map_or((0, 0), |s| (s.features.regions, s.features.dims));
    let place = |t: &Taken| Place {
        run: t.run,
        first_frame: t.first_frame,
        last_frame: t.last_frame,
        start: t.start,
        end: t.end,
    };
    let header = Header {
        frames: recording.frames,
        regions: shape.0,
        dims: shape.1,
        cpu_seconds: recording.cpu_seconds,
        wall_seconds: recording.wall_seconds,
        segments: recording.segments.iter().map(place).collect(),
    };
    let mut bytes = format!("{MAGIC}\n{}\n", serde_json::to_string(&header)?).into_bytes();
    let numbers = recording.segments.iter().flat_map(|t| &t.features.values);
    bytes.extend(numbers.flat_map(|v| v.to_le_bytes()));
    write_atomically(file, &bytes).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_is_not() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (file, path) = (dir.path().join("x.features"), Path::new("a.mp4"));
        let taken = |i: u8| Taken {
            // 0x0a0a0a0a looks like the line feeds of the header.
            features: Features {
                regions: 2,
                dims: 1,
                values: vec![f32::from_bits(0x0a0a_0a0a), f32::from(i)],
            },
            run: 3,
            first_frame: u64::from(i),
            last_frame: u64::from(i) + 15,
            start: 0.1 * f64::from(i),
            end: 0.1 * f64::from(i) + 1.5,
        };
        let recording = Recording {
            path: path.into(),
            frames: 40,
            segments: (0..3).map(taken).collect(),
            cpu_seconds: 1.25,
            wall_seconds: 0.7,
        };
        write(&file, &recording).expect("written");
        let found = read(&file, path).expect("there");
        assert_eq!(format!("{found:?}"), format!("{recording:?}"));
        let whole = std::fs::read(&file).expect("there");
        std::fs::write(&file, &whole[..whole.len() - 1]).expect("written");
        assert!(read(&file, path).is_none());
        assert!(read(&dir.path().join("no.features"), path).is_none());
    }

    #[test]
    fn whatever_changes_has_another_file() {
        crate::infer::init_for_tests();
        let dir = tempfile::tempdir().expect("a temporary folder");
        let video = dir.path().join("a.mp4");
        std::fs::write(&video, "one").expect("written");
        let cache = Cache::open(&dir.path().join("cache")).expect("opened");
        let bank = |width| {
            let v1 = crate::config::Extractor::V1 { width, height: 64, fps: 10.0, whole_frame: true };
            ExtractorModel::prepare(&v1).expect("a bank")
        };
        let (a, b) = (bank(64), bank(80));
        let file = |extractor, stride| cache.file(&video, extractor, stride).expect("a name");
        let first = file(&a, 4);
        assert_eq!(first, file(&a, 4));
        assert!(first != file(&a, 8) && first != file(&b, 4));
        std::fs::write(&video, "longer").expect("written");
        assert_ne!(first, file(&a, 4));
    }
}
