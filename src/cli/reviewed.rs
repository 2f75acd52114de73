//! Clips that are labelled by people's reviews of events, as a daemon keeps them.

use crate::alert::Label;
use crate::base::SystemClock;
use crate::config::Config;
use crate::store::{EventFilter, Store};
use anyhow::{Result, ensure};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// The clips of reviewed events, oldest first, and which of them were true alarms. Of `camera` alone, where one is named.
///
/// # Errors
/// Where nothing is kept, or no event with a clip was reviewed as either.
pub fn clips(config: &Config, camera: Option<&str>) -> Result<Vec<(bool, PathBuf)>> {
    let dir = &config.store.dir;
    let store = Store::read_only(dir, Arc::new(SystemClock::default()))?;
    let cameras =
        config.cameras.iter().map(|c| &c.name).filter(|name| camera.is_none_or(|only| only == &***name));
    let filter =
        EventFilter { cameras: cameras.cloned().collect(), reviewed: Some(true), ..Default::default() };
    let (mut found, mut without) = (vec![], 0);
    for event in store.all_events(filter)?.iter().rev() {
        let unusual = match event.review.as_ref().and_then(|review| review.label) {
            Some(Label::TrueAlarm) => true,
            Some(Label::FalseAlarm) => false,
            Some(Label::Unsure) | None => continue,
        };
        match store.layout().clip(&event.id).filter(|path| path.is_file()) {
            Some(path) => found.push((unusual, path)),
            None => without += 1,
        }
    }
    let place = dir.display();
    ensure!(
        !found.is_empty(),
        "{place}: no event with a clip was reviewed as a true or a false alarm, and {without} without one were \
         (review events on the page; clips are kept where camera.clips is on)"
    );
    if without > 0 {
        writeln!(std::io::stderr(), "{place}: {without} reviewed events have no clip and are left out")?;
    }
    Ok(found)
}
