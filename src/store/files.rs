//! Where things lie under `store.dir`, and files that are either whole or absent.

use super::StoreError;
use crate::alert::SIMILAR;
use crate::base::{self, CameraName, DetectorName};
use crate::infer::Manifest;
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The places under `store.dir`. Needs no open store, so that another process can find a camera's files.
#[derive(Debug, Clone)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The SQLite database.
    pub fn database(&self) -> PathBuf {
        self.dir.join("sigmawatch.sqlite3")
    }

    pub fn snapshots(&self) -> PathBuf {
        self.dir.join("snapshots")
    }

    /// Folder of what `camera` learned.
    pub fn camera(&self, camera: &CameraName) -> PathBuf {
        self.dir.join("models").join(&**camera)
    }

    /// The model that a detector of `camera` learned and watches with.
    pub fn model(&self, camera: &CameraName, detector: &DetectorName) -> PathBuf {
        self.camera(camera).join(format!("{detector}.onnx"))
    }

    /// The blocks of what `detector` has watched ([`super::LifeLog`]).
    pub fn life(&self, camera: &CameraName, detector: &DetectorName) -> PathBuf {
        self.camera(camera).join(format!("{detector}.life"))
    }

    /// The newest features ([`super::FeatureRing`]) that `camera` has from an extractor at a stride, whichever of
    /// its detectors use them: another extractor, or one of other settings, has another file.
    pub fn ring(&self, camera: &CameraName, extractor: &Manifest, stride: usize) -> PathBuf {
        let said = serde_json::to_vec(extractor).expect("a manifest is plain data");
        let which: String = Sha256::digest(said).iter().take(6).map(|b| format!("{b:02x}")).collect();
        self.camera(camera).join(format!("{}-{which}-{stride}.ring", extractor.name))
    }

    /// The moments of normal life ([`super::Gallery`]) beside a ring.
    pub fn gallery(&self, camera: &CameraName, extractor: &Manifest, stride: usize) -> PathBuf {
        self.ring(camera, extractor, stride).with_extension("gallery")
    }

    /// Removes the rings and galleries of `camera` that are none of `used`: nobody will ever fill them again.
    pub fn sweep_rings(&self, camera: &CameraName, used: &[PathBuf]) -> Result<(), StoreError> {
        let entries = match fs::read_dir(self.camera(camera)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|e| StoreError::io(&self.camera(camera), &e))?,
        };
        let left = entries.flatten().map(|entry| entry.path());
        left.filter(|path| {
            path.extension().is_some_and(|e| e == "ring" || e == "gallery") && !used.contains(path)
        })
        .try_for_each(|path| remove_if_there(&path))
    }

    /// Snapshot and thumbnail of event `id`; `None` where that is no event id, so that no text from outside
    /// can name another file.
    pub(super) fn snapshot(&self, id: &str) -> Option<(PathBuf, PathBuf)> {
        let canonical = uuid::Uuid::try_parse(id).is_ok_and(|u| u.hyphenated().to_string() == id);
        canonical.then(|| {
            let dir = self.snapshots();
            (dir.join(format!("{id}.jpg")), dir.join(format!("{id}.small.jpg")))
        })
    }

    /// The pictures of similar moments beside the snapshot of event `id`, from 1; `None` where that is no event id.
    pub(super) fn similar(&self, id: &str) -> Option<[PathBuf; SIMILAR]> {
        self.snapshot(id)?;
        Some(std::array::from_fn(|i| self.snapshots().join(format!("{id}.similar-{}.jpg", i + 1))))
    }

    /// Bytes of all galleries.
    pub(super) fn gallery_bytes(&self) -> u64 {
        let cameras = fs::read_dir(self.dir.join("models")).into_iter().flatten().flatten();
        let files = cameras.filter_map(|camera| fs::read_dir(camera.path()).ok()).flatten().flatten();
        let galleries = files.filter(|file| file.path().extension().is_some_and(|e| e == "gallery"));
        galleries.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
    }

    pub(super) fn create(&self) -> Result<(), StoreError> {
        for dir in [&self.snapshots(), &self.clips(), &self.dir.join("models")] {
            fs::create_dir_all(dir).map_err(|e| StoreError::io(dir, &e))?;
        }
        Ok(())
    }
}

/// Writes a whole file or none, and makes the folder where it does not exist.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| base::write_atomically(path, bytes)).map_err(|e| StoreError::io(path, &e))
}

pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::io(path, &e)),
    }
}

pub(super) fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io(path, &e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_ids_name_a_picture() {
        let layout = Layout::new(Path::new("/s"));
        let id = "0197a6f0-0000-7000-8000-000000000001";
        let (large, small) = layout.snapshot(id).expect("an id");
        assert_eq!(large, Path::new("/s/snapshots/0197a6f0-0000-7000-8000-000000000001.jpg"));
        assert_ne!(large, small);
        let upper = id.to_uppercase();
        for bad in ["", "..", "../../etc/passwd", "0197a6f000007000800000000000000x", upper.as_str(), "a/b"] {
            assert!(layout.snapshot(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_rubbish() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("a/model.onnx");
        write_atomically(&path, b"old").expect("written");
        write_atomically(&path, b"new").expect("replaced");
        assert_eq!(fs::read(&path).expect("there"), b"new");
        // A folder in the way of the rename.
        let blocked = dir.path().join("a/blocked");
        fs::create_dir_all(blocked.join("full")).expect("made");
        let message = write_atomically(&blocked, b"x").expect_err("a folder is there").to_string();
        assert!(message.contains("a/blocked"), "{message}");
        let names: Vec<_> = fs::read_dir(dir.path().join("a")).expect("folder").flatten().collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }
}
