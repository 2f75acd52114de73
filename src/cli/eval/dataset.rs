//! A dataset on disk: normal recordings to learn from, test recordings with labels, and masks.

use super::masks::Masks;
use crate::cli::recordings;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// `train/` with recordings of normal life, `test/` with recordings, `labels.json` and masks.
#[derive(Debug)]
pub struct Dataset {
    pub train: Vec<PathBuf>,
    pub test: Vec<TestClip>,
}

/// One test recording, and what is known of it.
#[derive(Debug)]
pub struct TestClip {
    pub path: PathBuf,
    pub frames: usize,
    /// Anomalous frames, counted from 0.
    pub anomalous: Vec<Range<usize>>,
    /// Where they are anomalous.
    pub masks: Option<Masks>,
}

impl TestClip {
    /// One label a frame.
    pub fn labels(&self) -> Vec<bool> {
        (0..self.frames).map(|f| self.anomalous.iter().any(|span| span.contains(&f))).collect()
    }
}

/// `labels.json` as written: name of the recording -> frames, and half-open spans of anomalous frames.
#[derive(Deserialize)]
struct Label {
    frames: usize,
    anomalous: Vec<(usize, usize)>,
}

const LAYOUT: &str = "wanted: DIR/train/*.mp4, DIR/test/NAME.mp4 and DIR/test/labels.json with \
                      {\"NAME\": {\"frames\": 180, \"anomalous\": [[60, 180]]}}";

/// Reads everything but the recordings themselves.
pub fn open(dir: &Path) -> Result<Dataset> {
    let (train, test) = (dir.join("train"), dir.join("test"));
    for part in [&train, &test] {
        ensure!(part.is_dir(), "{}: there is no such folder ({LAYOUT})", part.display());
    }
    let train = recordings::find(&[train])?;
    let file = test.join("labels.json");
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("{}: cannot be read ({LAYOUT})", file.display()))?;
    let labels: BTreeMap<String, Label> = serde_json::from_str(&text)
        .with_context(|| format!("{}: is not as wanted ({LAYOUT})", file.display()))?;
    let place = file.display();
    ensure!(!labels.is_empty(), "{place}: names no recording ({LAYOUT})");
    let recordings = recordings::find(std::slice::from_ref(&test))?;
    let clip = |(name, label): (String, Label)| -> Result<TestClip> {
        for (from, to) in &label.anomalous {
            if from >= to || *to > label.frames {
                bail!("{place}: {name}: [{from}, {to}] is no span of its {} frames", label.frames);
            }
        }
        let named = |p: &&PathBuf| p.file_stem().is_some_and(|stem| stem.to_str() == Some(&name));
        let path = recordings.iter().find(named);
        let path =
            path.with_context(|| format!("{place}: names {name}, and there is no recording of that name"))?;
        let masks = Some(test.join(format!("{name}.masks.npz"))).filter(|p| p.is_file());
        let masks = masks.map(|p| Masks::read(&p)).transpose()?;
        if let Some(masks) = &masks {
            ensure!(
                masks.frames() == label.frames,
                "{}: masks of {} frames, labels of {} for {name}",
                test.display(),
                masks.frames(),
                label.frames
            );
        }
        let anomalous = label.anomalous.iter().map(|(from, to)| *from..*to).collect();
        Ok(TestClip { path: path.clone(), frames: label.frames, anomalous, masks })
    };
    let test = labels.into_iter().map(clip).collect::<Result<Vec<_>>>()?;
    Ok(Dataset { train, test })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn problem(make: impl Fn(&Path)) -> String {
        let dir = tempfile::tempdir().expect("a temporary folder");
        make(dir.path());
        format!("{:#}", open(dir.path()).expect_err("not as wanted"))
    }

    fn laid_out(dir: &Path, labels: &str) {
        for part in ["train", "test"] {
            fs::create_dir_all(dir.join(part)).expect("a folder");
            fs::write(dir.join(part).join("01.mp4"), b"").expect("a file");
        }
        fs::write(dir.join("test/labels.json"), labels).expect("labels");
    }

    #[test]
    fn a_good_layout_is_read() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        laid_out(dir.path(), r#"{"01": {"frames": 5, "anomalous": [[1, 3]]}}"#);
        let set = open(dir.path()).expect("as wanted");
        assert_eq!(set.train.len(), 1);
        assert_eq!(set.test[0].labels(), [false, true, true, false, false]);
        assert!(set.test[0].masks.is_none());
    }

    #[test]
    fn what_is_odd_about_a_layout_is_said() {
        assert!(problem(|_| ()).contains("train: there is no such folder (wanted: DIR/train/*.mp4"));
        let labels = |text: &'static str| problem(move |dir| laid_out(dir, text));
        assert!(labels("[1, 2]").contains("labels.json: is not as wanted"));
        assert!(labels("{}").contains("names no recording"));
        let span = labels(r#"{"01": {"frames": 5, "anomalous": [[3, 9]]}}"#);
        assert!(span.contains("01: [3, 9] is no span of its 5 frames"), "{span}");
        let name = labels(r#"{"02": {"frames": 5, "anomalous": []}}"#);
        assert!(name.contains("names 02, and there is no recording of that name"), "{name}");
        let masks = problem(|dir| {
            laid_out(dir, r#"{"01": {"frames": 5, "anomalous": []}}"#);
            fs::write(dir.join("test/01.masks.npz"), b"no archive").expect("a file");
        });
        assert!(masks.contains("01.masks.npz: is no archive of masks"), "{masks}");
    }
}
