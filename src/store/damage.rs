//! Rows whose values a damaged disk has changed: each is said once, and read as far as it can be.

use rusqlite::Row;
use rusqlite::types::ValueRef;
use std::collections::BTreeSet;
use std::sync::Mutex;

/// So many are said; of more there is nothing new to learn.
const MOST_SAID: usize = 1000;

/// What was said.
#[derive(Default)]
pub(super) struct Damage(Mutex<BTreeSet<String>>);

impl Damage {
    /// Says that `what` cannot be read, and what becomes of it; once for each text.
    pub(super) fn say(&self, what: String) {
        let mut said = self.0.lock().expect("nothing panics while it is held");
        if said.len() < MOST_SAID && !said.contains(&what) {
            tracing::error!("damaged in the database: {what}");
            said.insert(what);
        }
    }
}

/// A column as text, whatever it holds, and whether it is the text that it should be.
pub(super) fn text(row: &Row, column: usize) -> rusqlite::Result<(String, bool)> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), true),
            Err(_) => (String::from_utf8_lossy(bytes).into_owned(), false),
        },
        ValueRef::Blob(bytes) => (String::from_utf8_lossy(bytes).into_owned(), false),
        ValueRef::Integer(number) => (number.to_string(), false),
        ValueRef::Real(number) => (number.to_string(), false),
        ValueRef::Null => (String::new(), false),
    })
}
