//! Events, the score timeline and pictures on disk.

mod backlog;
mod clips;
mod damage;
mod database;
mod events;
mod files;
mod fold;
mod gallery;
mod life;
mod packed;
mod quarantine;
mod record;
mod retention;
mod reviews;
mod outbox;
mod ring;
mod scores;
mod settings;

pub use backlog::{MOST_CHANGES, MOST_SCORES, StoreHealth};
pub use clips::ClipFiles;
pub use events::{Beside, EventFilter, EventPage};
pub use files::Layout;
use files::write_atomically;
pub use gallery::{Gallery, GallerySpec, Moment, PICTURE_BYTES};
pub use life::LifeLog;
pub use outbox::{Announcement, DeadLetter, Letter, MOST_DEAD, MOST_LETTERS, OLDEST_LETTER, Subject};
pub use retention::{Kept, Limits, Removed};
pub use ring::{FeatureRing, RingRecord, RingSpec};
pub use scores::{ScorePoint, ScoreRow, step_for};

use crate::base::Clock;
use database::Database;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So long is waited for a folder that another one still holds.
const LOCK: Duration = Duration::from_secs(1);

/// Why something cannot be kept or read back; names the place, the cause and the remedy.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{place}: {problem} ({remedy})")]
pub struct StoreError {
    pub place: String,
    pub problem: String,
    pub remedy: String,
    /// The database itself is damaged: see [`Store::mend`].
    pub damaged: bool,
}

impl StoreError {
    fn new(place: &Path, problem: impl ToString, remedy: &str) -> Self {
        let (place, problem) = (place.display().to_string(), problem.to_string());
        Self { place, problem, remedy: remedy.into(), damaged: false }
    }

    fn io(place: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let remedy = match error.kind() {
            K::PermissionDenied => "let the daemon's user write there",
            K::ReadOnlyFilesystem => "the kernel's log says why (dmesg); mount it for writing again",
            K::StorageFull | K::QuotaExceeded => "free some disk space or keep less",
            K::NotFound => "see that the folder exists",
            _ => "see to the disk",
        };
        Self::new(place, error, remedy)
    }
}

/// Everything the daemon keeps. Shared between threads; one write happens at a time, and a read does not
/// wait for it.
pub struct Store {
    layout: Layout,
    database: Database,
    clock: Arc<dyn Clock>,
    /// See [`Store::in_order`].
    telling: Mutex<()>,
    bell: outbox::Bell,
    backlog: backlog::Backlog,
    damage: damage::Damage,
    /// Names of the sinks that there are.
    sinks: Mutex<Vec<String>>,
    /// The minute up to which no score is left to be packed.
    packed_until: AtomicI64,
    /// Locked as long as this store is open for writing: two daemons must not share a folder.
    _lock: Option<File>,
}

impl Store {
    /// Opens the folder `dir`, making it where it does not exist, and brings its database up to date. A damaged database
    /// is put aside, and a fresh one begun.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let layout = Layout::new(dir);
        layout.create()?;
        let lock_path = dir.join("lock");
        let lock = File::create(&lock_path).map_err(|e| StoreError::io(&lock_path, &e))?;
        let asked = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                // One that is ending, or a process that it has just started, may hold it for a moment.
                Err(TryLockError::WouldBlock) if asked.elapsed() < LOCK => std::thread::sleep(LOCK / 20),
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::new(
                        dir,
                        "another sigmawatch uses this folder",
                        "stop it, or give this one a `store.dir` of its own",
                    ));
                }
                Err(TryLockError::Error(e)) => return Err(StoreError::io(&lock_path, &e)),
            }
        }
        let (database, _) = quarantine::open(&layout, clock.now())?;
        let store = Self::of(layout, database, clock, Some(lock));
        store.sweep_snapshots()?;
        store.sweep_clips()?;
        Ok(store)
    }

    /// Opens what a daemon keeps in `dir` to be read only, whether that daemon runs or not; every write fails.
    ///
    /// # Errors
    /// Where nothing is kept there, or another version of this program wrote it.
    pub fn read_only(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let layout = Layout::new(dir);
        let database = Database::read_only(&layout.database())?;
        Ok(Self::of(layout, database, clock, None))
    }

    fn of(layout: Layout, database: Database, clock: Arc<dyn Clock>, lock: Option<File>) -> Self {
        let (telling, bell) = (Mutex::new(()), outbox::Bell::default());
        let (backlog, damage, sinks) = Default::default();
        let packed_until = AtomicI64::new(i64::MIN);
        Self { layout, database, clock, telling, bell, backlog, damage, sinks, packed_until, _lock: lock }
    }

    /// To be held while an event is written and told, so that no older state of it is told after a newer one.
    pub fn in_order(&self) -> MutexGuard<'_, ()> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where things lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Writes the pictures of event `id`: the snapshot and its thumbnail, both JPEG.
    pub fn put_snapshot(&self, id: &str, snapshot: &[u8], thumbnail: &[u8]) -> Result<(), StoreError> {
        let (large, small) = self.snapshot_paths(id)?;
        write_atomically(&small, thumbnail)?;
        write_atomically(&large, snapshot)
    }

    /// The snapshot of event `id`, or `None` where there is none.
    pub fn snapshot(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Ok((large, _)) = self.snapshot_paths(id) else { return Ok(None) };
        files::read_if_there(&large)
    }

    /// The thumbnail of event `id`, or `None` where there is none.
    pub fn thumbnail(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Ok((_, small)) = self.snapshot_paths(id) else { return Ok(None) };
        files::read_if_there(&small)
    }

    /// Writes the pictures of similar moments of event `id`, JPEGs, and removes older ones.
    pub fn put_similar(&self, id: &str, pictures: &[Option<&[u8]>]) -> Result<(), StoreError> {
        let paths = self.layout.similar(id).into_iter().flatten().enumerate();
        for (i, path) in paths {
            match pictures.get(i).copied().flatten() {
                Some(jpeg) => write_atomically(&path, jpeg)?,
                None => files::remove_if_there(&path)?,
            }
        }
        Ok(())
    }

    /// The picture of the similar moment `number`, from 1, of event `id`, or `None` where there is none.
    pub fn similar(&self, id: &str, number: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let paths = self.layout.similar(id);
        let path = paths.as_ref().and_then(|paths| paths.get(number.checked_sub(1)?));
        path.map_or(Ok(None), |path| files::read_if_there(path))
    }

    fn snapshot_paths(&self, id: &str) -> Result<(std::path::PathBuf, std::path::PathBuf), StoreError> {
        self.layout.snapshot(id).ok_or_else(|| {
            StoreError::new(
                &self.layout.snapshots(),
                format!("`{id}` is no event id"),
                "use an id the API gave",
            )
        })
    }

    /// Removes pictures whose event is not known: what a crash in the middle of [`Store::retain`] leaves.
    fn sweep_snapshots(&self) -> Result<(), StoreError> {
        let dir = self.layout.snapshots();
        let entries = std::fs::read_dir(&dir).map_err(|e| StoreError::io(&dir, &e))?;
        let mut swept = 0_usize;
        for entry in entries {
            let path = entry.map_err(|e| StoreError::io(&dir, &e))?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let id = name.split('.').next().unwrap_or_default();
            let own = |(large, small)| {
                path == large
                    || path == small
                    || self.layout.similar(id).is_some_and(|all| all.contains(&path))
            };
            if !self.layout.snapshot(id).is_some_and(own) || !self.has_event(id)? {
                files::remove_if_there(&path)?;
                swept += 1;
            }
        }
        if swept > 0 {
            tracing::info!(swept, "removed pictures that belong to no event");
        }
        Ok(())
    }
}
