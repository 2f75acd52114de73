//! What people have set while the daemon ran, and is to hold after a restart.

use super::damage::text;
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

    /// What was set last, as far as it can be read; `None` where nothing ever was.
    pub fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value FROM settings WHERE name = ?1";
        let found = self.database.read(|c| c.query_row(sql, [name], |row| text(row, 0)).optional())?;
        Ok(found.map(|(value, _)| value))
    }

    /// Whether a camera is to open events, where somebody has said so. What a damaged disk has made of it counts for
    /// nothing, and is said.
    pub fn detect(&self, camera: &str) -> Result<Option<bool>, StoreError> {
        let said = self.setting(&format!("detect/{camera}"))?;
        Ok(match said.as_deref() {
            None => None,
            Some("on") => Some(true),
            Some("off") => Some(false),
            Some(_) => {
                self.damage.say(format!("whether `{camera}` is to alert: the configuration's word holds"));
                None
            }
        })
    }

    pub fn put_detect(&self, camera: &str, on: bool) -> Result<(), StoreError> {
        self.put_setting(&format!("detect/{camera}"), if on { "on" } else { "off" })
    }
}
