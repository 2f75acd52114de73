//! Clips that are labelled by their folders: `normal/` and others.

use super::recordings::{Recording, find};
use crate::features::ExtractorModel;
use crate::infer::Sampling;
use crate::train::{Clip, LabelledSet};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

const NORMAL: &str = "normal";
pub const LAYOUT: &str =
    "wanted: DIR/normal/*.mp4, and one or more other folders of clips, for example DIR/fight/*.mp4";

/// The clips of one folder, which share its label.
#[derive(Debug, Clone, PartialEq)]
pub struct Folder {
    pub path: PathBuf,
    pub unusual: bool,
    /// Sorted by name.
    pub clips: Vec<PathBuf>,
}

/// Whether `dir` is laid out as labelled clips.
pub fn is_here(dir: &Path) -> bool {
    dir.join(NORMAL).is_dir()
}

/// Every folder of clips in `dir`, sorted by name.
pub fn open(dir: &Path) -> Result<Vec<Folder>> {
    let place = dir.display();
    ensure!(is_here(dir), "{place}: there are no clips labelled normal ({LAYOUT})");
    let entries = std::fs::read_dir(dir).with_context(|| format!("{place}: cannot be read"))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.retain(|folder| folder.is_dir());
    paths.sort();
    let folder = |path: PathBuf| -> Result<Folder> {
        let clips = find(std::slice::from_ref(&path))?;
        Ok(Folder { unusual: path.file_name().is_some_and(|name| name != NORMAL), path, clips })
    };
    let folders = paths.into_iter().map(folder).collect::<Result<Vec<_>>>()?;
    ensure!(folders.iter().any(|folder| folder.unusual), "{place}: there are no unusual clips ({LAYOUT})");
    Ok(folders)
}

/// What is learned from: each recording with its label.
pub fn labelled_set<'a>(
    extractor: &ExtractorModel,
    stride: usize,
    clips: impl IntoIterator<Item = (bool, &'a Recording)>,
) -> LabelledSet {
    let clip = |(unusual, recording): (bool, &Recording)| Clip {
        unusual,
        segments: recording.segments.iter().map(|taken| taken.features.clone()).collect(),
    };
    LabelledSet {
        extractor: extractor.manifest().id(),
        grid: extractor.spec().grid,
        sampling: Some(Sampling { frame: extractor.spec().frame.clone(), stride }),
        clips: clips.into_iter().map(clip).collect(),
    }
}
