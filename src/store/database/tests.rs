//! What is on disk after a failure.

use super::*;

fn put(database: &Database, name: &str, durable: Durable) {
    let sql = "INSERT INTO settings (name, value) VALUES (?1, 'x')";
    database.write(durable, |t| t.execute(sql, [name])).expect("written");
}

/// What the file holds without its log, as after a power failure that takes the log.
fn without_log(path: &Path) -> Vec<String> {
    let copy = path.with_file_name("copy");
    std::fs::copy(path, &copy).expect("copied");
    let names = |c: &Connection| -> rusqlite::Result<Vec<String>> {
        c.prepare("SELECT name FROM settings ORDER BY name")?.query_map([], |row| row.get(0))?.collect()
    };
    names(&Connection::open(&copy).expect("opened")).unwrap_or_default()
}

#[test]
fn nothing_is_written_behind_a_log_that_a_failing_disk_may_have_lost() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("d.sqlite3");
    let database = Database::open(&path).expect("opened");
    put(&database, "before", Durable::ProcessEnd);
    assert_eq!(without_log(&path), [""; 0], "it is in the log alone");
    let fsync = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
    let failed = |_: &Transaction| Err::<(), _>(rusqlite::Error::SqliteFailure(fsync, None));
    let said = database.write(Durable::PowerLoss, failed).expect_err("the disk fails");
    assert!(said.to_string().contains("fsync") && !said.damaged, "{said}");
    // Another program reads: the log cannot begin anew, and nothing is written.
    let other = Connection::open(&path).expect("opened");
    other.execute_batch("BEGIN; SELECT * FROM settings").expect("read");
    let behind = |t: &Transaction| t.execute("INSERT INTO settings VALUES ('behind', 'x')", []);
    let said = database.write(Durable::PowerLoss, behind).expect_err("it waits").to_string();
    assert!(said.contains("another program"), "{said}");
    drop(other);
    put(&database, "after", Durable::PowerLoss);
    assert_eq!(without_log(&path), ["before"], "what was in the log is in the file");
    put(&database, "later", Durable::PowerLoss);
    assert_eq!(without_log(&path), ["before"], "trusted again: the log is not written back at each write");
}

#[test]
fn the_log_is_written_back_after_some_writes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("d.sqlite3");
    let database = Database::open(&path).expect("opened");
    (0..WRITE_BACK_EVERY).for_each(|n| put(&database, &format!("{n}"), Durable::ProcessEnd));
    assert_eq!(without_log(&path).len(), WRITE_BACK_EVERY as usize);
}
