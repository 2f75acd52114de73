//! What people have set while the daemon ran, and is to hold after a restart.

use super::database::Durable;
use super::{Store, StoreError};
use rusqlite::OptionalExtension;

impl Store {
    /// Remembers a setting. On disk when this returns.
    pub fn put_setting(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.database.write(Durable::PowerLoss, |t| {
            t.execute(
                "INSERT INTO settings (name, value) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                [name, value],
            )
            .map(drop)
        })
    }

    /// What was set last; `None` where nothing ever was.
    pub fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.database.read(|c| {
            c.query_row("SELECT value FROM settings WHERE name = ?1", [name], |row| row.get(0)).optional()
        })
    }

    /// Whether a camera is to open events, where somebody has said so.
    pub fn detect(&self, camera: &str) -> Result<Option<bool>, StoreError> {
        Ok(self.setting(&format!("detect/{camera}"))?.map(|value| value == "on"))
    }

    pub fn put_detect(&self, camera: &str, on: bool) -> Result<(), StoreError> {
        self.put_setting(&format!("detect/{camera}"), if on { "on" } else { "off" })
    }
}
