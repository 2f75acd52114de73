//! The SQLite file: opening, migrations, and who may write.

use super::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Steps from an empty file to today's layout. Never change one that was released; add the next.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE events (
        id         TEXT PRIMARY KEY,
        camera     TEXT NOT NULL,
        start_us   INTEGER NOT NULL,              -- microseconds since 1970, UTC, like every *_us
        end_us     INTEGER,                       -- NULL while open
        top_score  REAL NOT NULL,
        changed_us INTEGER NOT NULL,              -- when this row was last written
        body       TEXT NOT NULL                  -- the whole event as JSON
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX events_by_camera ON events (camera, id);
    CREATE INDEX events_by_change ON events (changed_us);
    CREATE INDEX events_open ON events (id) WHERE end_us IS NULL;

    CREATE TABLE cameras (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE scores (
        camera    INTEGER NOT NULL REFERENCES cameras (id),
        time_us   INTEGER NOT NULL,               -- arrival of the segment's last frame
        score     REAL NOT NULL,
        threshold REAL NOT NULL,
        PRIMARY KEY (camera, time_us)
    ) STRICT, WITHOUT ROWID;
",
    "
    -- A camera may have several detectors; those of before were its only one.
    CREATE TABLE detectors (
        id     INTEGER PRIMARY KEY,
        camera TEXT NOT NULL,
        name   TEXT NOT NULL,
        UNIQUE (camera, name)
    ) STRICT;
    INSERT INTO detectors (id, camera, name) SELECT id, name, 'main' FROM cameras;
    CREATE TABLE detector_scores (
        detector  INTEGER NOT NULL REFERENCES detectors (id),
        time_us   INTEGER NOT NULL,
        score     REAL NOT NULL,
        threshold REAL NOT NULL,
        PRIMARY KEY (detector, time_us)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO detector_scores SELECT camera, time_us, score, threshold FROM scores;
    DROP TABLE scores;
    DROP TABLE cameras;
    ALTER TABLE detector_scores RENAME TO scores;
",
    "
    -- Beside the events, which their tracker writes whole at every change.
    CREATE TABLE reviews (
        event   TEXT PRIMARY KEY REFERENCES events (id) ON DELETE CASCADE,
        label   TEXT,                             -- NULL: only a note
        note    TEXT NOT NULL,
        time_us INTEGER NOT NULL,
        by_whom TEXT
    ) STRICT, WITHOUT ROWID;
",
    "
    -- What is to be told, and to whom it has been.
    CREATE TABLE outbox (
        seq      INTEGER PRIMARY KEY AUTOINCREMENT,
        time_us  INTEGER NOT NULL,
        about    TEXT NOT NULL,
        subject  TEXT NOT NULL,
        camera   TEXT NOT NULL,
        severity INTEGER,
        body     TEXT NOT NULL
    ) STRICT;
    CREATE INDEX outbox_by_time ON outbox (time_us);
    CREATE TABLE sinks (name TEXT PRIMARY KEY, passed INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE dead_letters (
        sink     TEXT NOT NULL,
        seq      INTEGER NOT NULL,
        time_us  INTEGER NOT NULL,
        about    TEXT NOT NULL,
        subject  TEXT NOT NULL,
        camera   TEXT NOT NULL,
        severity INTEGER,
        body     TEXT NOT NULL,
        died_us  INTEGER NOT NULL,
        why      TEXT NOT NULL,
        again    INTEGER NOT NULL,                -- 1: to be tried once more
        PRIMARY KEY (sink, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE told_states (camera TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE clips (
        event TEXT PRIMARY KEY REFERENCES events (id) ON DELETE CASCADE,
        bytes INTEGER NOT NULL,                   -- of the file
        body  TEXT NOT NULL                       -- what is known of it, as JSON
    ) STRICT, WITHOUT ROWID;
",
    "
    -- A row a score only until its minute is over; then minutes are packed (store/fold.rs).
    ALTER TABLE scores RENAME TO recent_scores;
    CREATE TABLE score_minutes (
        place INTEGER PRIMARY KEY,                -- detector << 32, plus minutes since 1970
        body  BLOB NOT NULL                       -- store/packed.rs
    ) STRICT;
    CREATE TABLE score_extremes (                 -- of every packed minute, and of every hour with one
        detector  INTEGER NOT NULL REFERENCES detectors (id),
        minutes   INTEGER NOT NULL,               -- 1 or 60
        start     INTEGER NOT NULL,               -- so many minutes or hours after 1970
        high      REAL NOT NULL,
        high_ms   INTEGER NOT NULL,               -- when, milliseconds since 1970
        threshold REAL NOT NULL,                  -- in force then
        low       REAL NOT NULL,
        PRIMARY KEY (detector, minutes, start)
    ) STRICT, WITHOUT ROWID;
",
    "
    -- What people have set while the daemon ran.
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
",
];

/// Version of the layout that this program writes.
const NEWEST: u32 = MIGRATIONS.len() as u32;

/// What SQLite calls the `auto_vacuum` that gives pages back when it is told to.
const INCREMENTAL: i64 = 2;

/// How long another program's lock is waited for while the daemon starts ...
const BUSY_AT_START: Duration = Duration::from_secs(5);
/// ... and while it runs: what cannot be written waits in memory, so that nobody else has to.
const BUSY: Duration = Duration::from_millis(250);

/// The log is written back to its file after so many writes: a minute's or less.
const WRITE_BACK_EVERY: u32 = 64;

/// Two connections to one file: a writer, and a reader that never waits for it (write-ahead log).
pub(super) struct Database {
    path: PathBuf,
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    /// An answer of SQLite's said so.
    damaged: AtomicBool,
    /// The disk has failed: what the log holds may be lost though a later fsync succeeds, since the kernel forgets what
    /// it could not write. Nothing is written behind it any more.
    distrusted: AtomicBool,
    /// Since the log was written back.
    writes: AtomicU32,
}

/// What must be on disk before a write is said to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    /// Survives the loss of power: events.
    PowerLoss,
    /// Survives the end of the process, and costs no wait for the disk: scores.
    ProcessEnd,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let (writer, reader) = Self::connect(path)?;
        Ok(Self::of(path, writer, reader))
    }

    fn of(path: &Path, writer: Connection, reader: Connection) -> Self {
        let (writer, reader) = (Mutex::new(writer), Mutex::new(reader));
        let (damaged, distrusted, writes) = Default::default();
        Self { path: path.to_owned(), writer, reader, damaged, distrusted, writes }
    }

    fn connect(path: &Path) -> Result<(Connection, Connection), StoreError> {
        let connect = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY_AT_START)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            // SQLite would not say where it fails in that.
            connection.pragma_update(None, "wal_autocheckpoint", 0)?;
            Ok(connection)
        };
        let mut writer = connect().map_err(|e| explain(path, &e))?;
        migrate(&mut writer, path)?;
        let vacuum = writer.pragma_query_value(None, "auto_vacuum", |row| row.get::<_, i64>(0));
        if vacuum.map_err(|e| explain(path, &e))? != INCREMENTAL {
            // Once, for files that were made before pages could be given back.
            let changed = writer.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM");
            changed.map_err(|e| explain(path, &e))?;
        }
        let reader = connect().map_err(|e| explain(path, &e))?;
        let settle = || {
            reader.pragma_update(None, "query_only", true)?;
            [&writer, &reader].into_iter().try_for_each(|connection| connection.busy_timeout(BUSY))
        };
        settle().map_err(|e| explain(path, &e))?;
        Ok((writer, reader))
    }

    /// Looks for damage, for no longer than `time`.
    pub(super) fn look_through(&self, time: Duration) -> Result<(), StoreError> {
        let reader = hold(&self.reader);
        let (looked, over) = std::sync::mpsc::channel::<()>();
        let stop = reader.get_interrupt_handle();
        let watch = std::thread::spawn(move || {
            if over.recv_timeout(time).is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Timeout) {
                stop.interrupt();
            }
        });
        let found: rusqlite::Result<String> = reader.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        drop(looked);
        // It only waits and interrupts: there is nothing in it to panic.
        let _ = watch.join();
        match found {
            Ok(found) if found == "ok" && self.has_layout(&reader)? => Ok(()),
            Ok(found) => {
                let found = if found == "ok" { "its tables lack columns".into() } else { found };
                Err(StoreError { damaged: true, ..StoreError::new(&self.path, found, DAMAGED) })
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(()),
            Err(error) => Err(explain(&self.path, &error)),
        }
    }

    /// Whether every table has its columns: a changed letter in their names is no damage to SQLite.
    fn has_layout(&self, reader: &Connection) -> Result<bool, StoreError> {
        let mut fresh = Connection::open_in_memory().map_err(|e| explain(&self.path, &e))?;
        migrate(&mut fresh, &self.path)?;
        let columns = |of: &Connection| -> rusqlite::Result<Vec<(String, String)>> {
            let sql = "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'";
            of.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        // What cannot be read as text is no name that was written.
        let Ok(found) = columns(reader) else { return Ok(false) };
        let wanted = columns(&fresh).map_err(|e| explain(&self.path, &e))?;
        Ok(wanted.iter().all(|column| found.contains(column)))
    }

    /// Whether an answer of SQLite's said that the file is damaged.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Closes the file, has it moved away by `put_aside`, and begins a fresh one. What fails on the way leaves a database
    /// that takes nothing, and is damaged still.
    pub(super) fn replace<T>(
        &self,
        put_aside: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (mut writer, mut reader) = (hold(&self.writer), hold(&self.reader));
        let nothing = || Connection::open_in_memory().map_err(|e| explain(&self.path, &e));
        (*writer, *reader) = (nothing()?, nothing()?);
        let done = put_aside()?;
        (*writer, *reader) = Self::connect(&self.path)?;
        self.damaged.store(false, Ordering::Relaxed);
        self.distrusted.store(false, Ordering::Relaxed);
        Ok(done)
    }

    fn explain(&self, error: &rusqlite::Error) -> StoreError {
        let failed = error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
        self.distrusted.fetch_or(failed, Ordering::Relaxed);
        let error = explain(&self.path, error);
        self.damaged.fetch_or(error.damaged, Ordering::Relaxed);
        error
    }

    /// Where the disk has failed: writes all that was written before into the file itself, which is new to the kernel,
    /// and begins the log anew.
    fn restore_trust(&self, writer: &Connection) -> rusqlite::Result<()> {
        if !self.distrusted.load(Ordering::Relaxed) {
            return Ok(());
        }
        let _nobody_reads = hold(&self.reader);
        let busy = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))?;
        if busy {
            let locked = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            return Err(rusqlite::Error::SqliteFailure(locked, None));
        }
        self.distrusted.store(false, Ordering::Relaxed);
        tracing::info!("the disk of the store writes again, and what was written before is on it");
        Ok(())
    }

    /// Writes the log back to its file now and then. What was written is safe without it.
    fn write_back(&self, writer: &Connection) {
        if self.writes.fetch_add(1, Ordering::Relaxed) + 1 < WRITE_BACK_EVERY {
            return;
        }
        self.writes.store(0, Ordering::Relaxed);
        if let Err(error) = writer.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            // The next write says so, to those who can tell others.
            let _ = self.explain(&error);
        }
    }

    /// Two connections that read only, to a database of exactly this program's layout.
    pub(super) fn read_only(path: &Path) -> Result<Self, StoreError> {
        if !path.is_file() {
            let remedy = "name the configuration, or the folder, of a daemon that has run";
            return Err(StoreError::new(path, "there is no such database", remedy));
        }
        let connect = || -> rusqlite::Result<Connection> {
            let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            Ok(connection)
        };
        let open = || -> rusqlite::Result<(Connection, Connection, u32)> {
            let (one, other) = (connect()?, connect()?);
            let version = one.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok((one, other, version))
        };
        let (writer, reader, version) = open().map_err(|e| explain(path, &e))?;
        if version != NEWEST {
            return Err(StoreError::new(
                path,
                format!("its layout is version {version}, and this program reads {NEWEST}"),
                "use the sigmawatch that wrote it last, or let the daemon of this one bring it up to date",
            ));
        }
        Ok(Self::of(path, writer, reader))
    }

    /// Runs `work` in one transaction, which takes place as a whole or not at all.
    pub(super) fn write<T>(
        &self,
        durable: Durable,
        work: impl FnOnce(&Transaction) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut writer = hold(&self.writer);
        let attempt = || -> rusqlite::Result<T> {
            self.restore_trust(&writer)?;
            let level = if durable == Durable::PowerLoss { "FULL" } else { "NORMAL" };
            writer.pragma_update(None, "synchronous", level)?;
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        let done = attempt().map_err(|e| self.explain(&e))?;
        self.write_back(&writer);
        Ok(done)
    }

    /// Bytes in use: pages that hold something, and the write-ahead log.
    pub(super) fn bytes(&self) -> Result<u64, StoreError> {
        let pages = self.read(|c| {
            let number = |name: &str| c.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            Ok((number("page_count")? - number("freelist_count")?) * number("page_size")?)
        })?;
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let log = std::fs::metadata(log).map_or(0, |m| m.len());
        Ok(pages.unsigned_abs() + log)
    }

    /// Gives up to so many empty pages back to the disk.
    pub(super) fn give_back(&self, pages: u32) -> Result<(), StoreError> {
        let writer = hold(&self.writer);
        let give = || -> rusqlite::Result<()> {
            // It gives back one page a step.
            let mut statement = writer.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut steps = statement.query([])?;
            while steps.next()?.is_some() {}
            Ok(())
        };
        give().map_err(|e| self.explain(&e))
    }

    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&hold(&self.reader)).map_err(|e| self.explain(&e))
    }
}

/// A panic in the middle of a transaction rolled it back, so the connection is as good as before.
fn hold(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let mut step = || -> rusqlite::Result<Result<(), u32>> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version > NEWEST {
            return Ok(Err(version));
        }
        for sql in &MIGRATIONS[version as usize..] {
            transaction.execute_batch(sql)?;
        }
        transaction.pragma_update(None, "user_version", NEWEST)?;
        transaction.commit()?;
        Ok(Ok(()))
    };
    step().map_err(|e| explain(path, &e))?.map_err(|version| {
        StoreError::new(
            path,
            format!("its layout is version {version}, and this program knows {NEWEST} at most"),
            "run the newer sigmawatch that wrote it, or move the file away to start afresh",
        )
    })
}

/// What to do about a damaged database.
const DAMAGED: &str = "restore it from a backup, or move it away to start afresh";

fn explain(path: &Path, error: &rusqlite::Error) -> StoreError {
    let code = error.sqlite_error_code();
    let damaged = matches!(code, Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt));
    let (problem, remedy) = match code {
        Some(ErrorCode::SystemIoFailure | ErrorCode::ReadOnly | ErrorCode::CannotOpen)
            if is_read_only(path) =>
        {
            (
                "the disk can only be read".to_owned(),
                "the kernel's log says why (dmesg); mount it for writing again",
            )
        }
        Some(ErrorCode::SystemIoFailure) => (
            format!("the disk fails: {}", detail(error)),
            "the kernel's log says more (dmesg); replace the disk",
        ),
        Some(ErrorCode::NotADatabase) => {
            ("this is no SQLite database, or its beginning is damaged".to_owned(), DAMAGED)
        }
        Some(ErrorCode::DatabaseCorrupt) => (format!("the database is damaged: {error}"), DAMAGED),
        Some(ErrorCode::DiskFull) => ("the disk is full".to_owned(), "free some space or keep less"),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            (error.to_string(), "let the daemon's user read and write it and its folder")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            ("another program holds the database locked".to_owned(), "end that program")
        }
        _ => (error.to_string(), "see to the disk, and report this if it stays"),
    };
    StoreError { damaged, ..StoreError::new(path, problem, remedy) }
}

/// Whether the file system refuses every write. Asked by the lock beside the database: to open and close the database
/// itself would end SQLite's locks on it.
fn is_read_only(path: &Path) -> bool {
    let tried = std::fs::File::options().append(true).open(path.with_file_name("lock"));
    tried.is_err_and(|error| error.kind() == std::io::ErrorKind::ReadOnlyFilesystem)
}

/// What the disk failed in.
fn detail(error: &rusqlite::Error) -> &'static str {
    use rusqlite::ffi;
    match error.sqlite_error().map(|error| error.extended_code) {
        Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) => {
            "what was written cannot be made safe (fsync)"
        }
        Some(ffi::SQLITE_IOERR_WRITE) => "it cannot be written",
        Some(ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ) => "it cannot be read",
        _ => "an input or output error",
    }
}

#[cfg(test)]
mod tests;
