//! A damaged database is put aside, whole and with its pictures and clips, and a fresh one begun.

use super::database::Database;
use super::{Layout, Store, StoreError};
use crate::base::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// At the start the database is looked through for no longer than this: a large one is not looked through whole.
const LOOK_THROUGH: Duration = Duration::from_secs(2);
/// Folders of what was put aside begin so.
const ASIDE: &str = "corrupt-";

/// Opens the database; one that is damaged is put aside first, and where it lies then is given, too.
pub(super) fn open(layout: &Layout, now: Timestamp) -> Result<(Database, Option<PathBuf>), StoreError> {
    let path = layout.database();
    let opened = Database::open(&path).and_then(|database| {
        database.look_through(LOOK_THROUGH)?;
        Ok(database)
    });
    match opened {
        Err(error) if error.damaged => {
            let place = put_aside(layout, now)?;
            say(&error, &place);
            Ok((Database::open(&path)?, Some(place)))
        }
        opened => Ok((opened?, None)),
    }
}

fn say(error: &StoreError, place: &Path) {
    tracing::error!(
        "{error}: it is kept in {} with its pictures and clips, and a fresh one is begun",
        place.display()
    );
}

/// Moves the database and what belongs to its events into a folder of their own; nothing is removed.
fn put_aside(layout: &Layout, now: Timestamp) -> Result<PathBuf, StoreError> {
    let stamp = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let names = (1..).map(|n| if n == 1 { stamp.clone() } else { format!("{stamp}-{n}") });
    let place = (names.map(|name| layout.dir().join(format!("{ASIDE}{name}"))))
        .find(|place| !place.exists())
        .expect("some number is free");
    std::fs::create_dir(&place).map_err(|e| StoreError::io(&place, &e))?;
    let database = layout.database();
    let beside = |end: &str| {
        let mut path = database.clone().into_os_string();
        path.push(end);
        PathBuf::from(path)
    };
    // The log before its file: a file without its log can be read, a log without its file is taken for another's.
    for from in [beside("-wal"), beside("-shm"), database.clone(), layout.snapshots(), layout.clips()] {
        let to = place.join(from.file_name().expect("it has a name"));
        match std::fs::rename(&from, &to) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(StoreError::io(&from, &e)),
            _ => {}
        }
    }
    layout.create()?;
    Ok(place)
}

impl Store {
    /// Where the database was found damaged while it was used: puts it aside and begins a fresh one, which goes on
    /// numbering what sinks are told. Gives where the old one lies; `None` where nothing is damaged.
    ///
    /// # Errors
    /// When it cannot be put aside; it is tried again at the next call.
    pub fn mend(&self) -> Result<Option<PathBuf>, StoreError> {
        if !self.database.is_damaged() {
            return Ok(None);
        }
        let (newest, sinks) = self.outbox_state();
        let place = self.database.replace(|| put_aside(&self.layout, self.clock.now()))?;
        self.packed_until.store(i64::MIN, Ordering::Relaxed);
        self.go_on_after(newest)?;
        self.set_sinks(&sinks)?;
        tracing::error!(
            "the database was damaged: it is kept in {} with its pictures and clips, and a fresh one is begun",
            place.display()
        );
        Ok(Some(place))
    }

    /// Folders of damaged databases that were put aside, oldest first: for people to look at, and to remove.
    pub fn put_aside(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.layout.dir()).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut found: Vec<String> = names.filter(|name| name.starts_with(ASIDE)).collect();
        found.sort_unstable();
        found
    }
}
