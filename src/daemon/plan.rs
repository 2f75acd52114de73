//! From the configuration to who watches what: a camera's views, its feeds of features, and its detectors.
//!
//! A camera is decoded once. Extractors that want other pictures have a *view* each; detectors with one extractor
//! and one stride share a *feed*, and with it segments and features. Cameras with the same extractor share its model.

use super::numbered::Numbers;
use super::trial::try_model;
use crate::alert::{Zone, covered_regions};
use crate::base::{CameraName, Polygon};
use crate::config::{self, Fusion, FusionRule};
use crate::features::{Extractor, ExtractorModel};
use crate::frame::FrameSpec;
use crate::infer::{ExtractorSpec, Manifest};
use crate::segment::SEGMENT_FRAMES;
use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The extractors in use, each prepared once however many feeds have it.
#[derive(Default)]
pub struct Extractors(Vec<Arc<Prepared>>);

/// An extractor that feeds have in common.
pub struct Prepared {
    pub number: usize,
    wanted: config::Extractor,
    /// Of the file that it is from.
    stamp: Option<Stamp>,
    pub model: ExtractorModel,
}

/// By which a file is known to be the same as before: its length, and when it was written.
pub type Stamp = (u64, SystemTime);

/// The stamp of a file; `None` where it cannot be read.
pub fn stamp(file: &Path) -> Option<Stamp> {
    let file = file.metadata().ok()?;
    Some((file.len(), file.modified().ok()?))
}

/// All that is done for one camera. Feeds and detectors have numbers that no others have or had; the fused detector's
/// is the largest of its camera's.
pub struct CameraPlan {
    pub number: usize,
    pub name: CameraName,
    /// In which days have their parts.
    pub timezone: TimeZone,
    pub masks: Vec<Polygon>,
    pub zones: Vec<Zone>,
    pub views: Vec<FrameSpec>,
    pub feeds: Vec<Feed>,
    pub singles: Vec<Single>,
    pub fused: Option<Fused>,
}

/// Segments of a camera for one extractor at one stride.
pub struct Feed {
    pub number: usize,
    pub view: usize,
    pub extractor: Arc<Prepared>,
    pub stride: usize,
    /// Who lives on it.
    pub detectors: Vec<usize>,
}

/// A detector of the configuration.
pub struct Single {
    pub number: usize,
    /// Its place among the camera's.
    pub feed: usize,
    pub config: config::Detector,
    /// Its verdicts open events; otherwise they only are fused with others.
    pub alerts: bool,
}

/// The verdict that a camera's detectors come to together.
pub struct Fused {
    pub number: usize,
    pub rule: FusionRule,
}

impl Extractors {
    /// Generates or reads, and checks, the extractor that a detector asks for, unless it is there.
    fn prepare(&mut self, detector: &config::Detector, numbers: &mut Numbers) -> Result<Arc<Prepared>> {
        let config::Detector { extractor: wanted, provider, .. } = detector;
        let stamp = match wanted {
            config::Extractor::File(file) => stamp(file),
            config::Extractor::V1 { .. } => None,
        };
        let same = |known: &&Arc<Prepared>| {
            known.wanted == *wanted && known.stamp == stamp && known.model.provider() == *provider
        };
        if let Some(known) = self.0.iter().find(same) {
            return Ok(known.clone());
        }
        if let config::Extractor::File(path) = wanted {
            try_model(path)?;
        }
        let model = ExtractorModel::prepare_on(*provider, wanted)?;
        let prepared = Prepared { number: numbers.give(), wanted: wanted.clone(), stamp, model };
        self.0.push(Arc::new(prepared));
        Ok(self.0[self.0.len() - 1].clone())
    }

    /// Forgets those that no camera has; gives their numbers.
    pub fn forget_unused(&mut self) -> Vec<usize> {
        let (used, unused): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.0).into_iter().partition(|prepared| Arc::strong_count(prepared) > 1);
        self.0 = used;
        unused.iter().map(|prepared| prepared.number).collect()
    }

    /// The numbers of all that there are.
    pub fn numbers(&self) -> Vec<usize> {
        self.0.iter().map(|prepared| prepared.number).collect()
    }

    /// For one worker, a session of each that is none of `known`.
    pub fn open(&self, known: &[usize]) -> Result<Vec<(usize, Box<dyn Extractor>)>> {
        let new = self.0.iter().filter(|prepared| !known.contains(&prepared.number));
        new.map(|prepared| Ok((prepared.number, prepared.model.open()?))).collect()
    }
}

impl CameraPlan {
    /// The longest time from an event's first frame until it is announced: that of the segments that the rule looks at.
    pub fn announced_after(&self) -> Duration {
        let frames = |single: &Single| {
            SEGMENT_FRAMES + self.feeds[single.feed].stride * (single.config.threshold.open_m - 1)
        };
        let fps = |single: &Single| self.views[self.feeds[single.feed].view].fps;
        let all =
            self.singles.iter().map(|single| Duration::from_secs_f64(frames(single) as f64 / fps(single)));
        all.max().unwrap_or_default()
    }

    /// # Errors
    /// When an extractor cannot be had.
    pub fn of(
        camera: &config::Camera,
        timezone: &TimeZone,
        extractors: &mut Extractors,
        numbers: &mut Numbers,
    ) -> Result<Self> {
        let mut plan = Self {
            number: numbers.give(),
            name: camera.name.clone(),
            timezone: timezone.clone(),
            masks: camera.masks.clone(),
            zones: zones(camera),
            views: vec![],
            feeds: vec![],
            singles: vec![],
            fused: None,
        };
        for detector in &camera.detectors {
            let extractor = extractors
                .prepare(detector, numbers)
                .with_context(|| format!("detector {} of camera {}", detector.name, camera.name))?;
            let feed = plan.feed(extractor, detector.stride, numbers);
            let number = numbers.give();
            plan.feeds[feed].detectors.push(number);
            let alerts = camera.fusion == Fusion::None;
            plan.singles.push(Single { number, feed, config: detector.clone(), alerts });
        }
        if let Fusion::All(rule) = camera.fusion {
            plan.fused = Some(Fused { number: numbers.give(), rule });
        }
        Ok(plan)
    }

    fn feed(&mut self, extractor: Arc<Prepared>, stride: usize, numbers: &mut Numbers) -> usize {
        let same = |f: &Feed| f.extractor.number == extractor.number && f.stride == stride;
        if let Some(known) = self.feeds.iter().position(same) {
            return known;
        }
        let frame = &extractor.model.spec().frame;
        let view = self.views.iter().position(|view| view == frame).unwrap_or_else(|| {
            self.views.push(frame.clone());
            self.views.len() - 1
        });
        self.feeds.push(Feed { number: numbers.give(), view, extractor, stride, detectors: vec![] });
        self.feeds.len() - 1
    }

    /// What a detector's extractor says of itself.
    pub fn spec(&self, single: &Single) -> &ExtractorSpec {
        self.feeds[single.feed].extractor.model.spec()
    }

    /// Regions of a detector that its camera's masks cover; none where it has one region only.
    pub fn masked(&self, single: &Single) -> Vec<usize> {
        let ExtractorSpec { grid, covers, .. } = *self.spec(single);
        if grid.regions() == 1 {
            return vec![];
        }
        covered_regions(&self.masks, grid, covers)
    }

    /// Numbers of the detectors, the fused one included.
    pub fn detectors(&self) -> Vec<usize> {
        let fused = self.fused.iter().map(|fused| fused.number);
        self.singles.iter().map(|single| single.number).chain(fused).collect()
    }
}

impl Feed {
    pub fn manifest(&self) -> &Manifest {
        self.extractor.model.manifest()
    }

    /// Segments a second that it gives at most.
    pub fn rate(&self) -> f64 {
        self.extractor.model.spec().frame.fps / self.stride as f64
    }
}

fn zones(camera: &config::Camera) -> Vec<Zone> {
    let zone = |(name, polygon): &(String, Polygon)| Zone { name: name.clone(), polygon: polygon.clone() };
    camera.zones.iter().map(zone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detectors_share_what_is_the_same() {
        let library = crate::infer::library_for_tests();
        let text = format!(
            "[runtime]\nonnxruntime = \"{}\"\npipelines = \"{}/pipelines\"\n
             [[camera]]\nname = \"gate\"\nsource = \"synthetic\"\nfusion = \"min\"
             [[camera.detector]]\nname = \"a\"
             [[camera.detector]]\nname = \"b\"\nscorer = \"knn\"\nk = 4
             [[camera.detector]]\nname = \"c\"\nstride = 16
             [[camera.detector]]\nname = \"d\"\nfps = 5.0
             [[camera]]\nname = \"yard\"\nsource = \"synthetic\"\n",
            library.display(),
            env!("CARGO_MANIFEST_DIR"),
        );
        crate::infer::init_for_tests();
        let dir = Path::new("/");
        let around = config::Surroundings { dir, env: &|_| None, world_readable: false };
        let config = config::load_text("a test", &text, &around).expect("a good configuration").config;
        let (mut extractors, mut numbers) = (Extractors::default(), Numbers::default());
        let mut plan = |camera| {
            CameraPlan::of(camera, &config.runtime.timezone, &mut extractors, &mut numbers).expect("a plan")
        };
        let [gate, yard] = [plan(&config.cameras[0]), plan(&config.cameras[1])];
        let place = |plan: &CameraPlan, number| plan.singles.iter().position(|s| s.number == number);
        let feeds = |plan: &CameraPlan| -> Vec<_> {
            let own = |f: &Feed| f.detectors.iter().map(|d| place(plan, *d).expect("its own")).collect();
            plan.feeds.iter().map(|f| (f.view, f.stride, own(f))).collect()
        };
        assert_eq!(feeds(&gate), [(0, 2, vec![0, 1]), (0, 16, vec![2]), (1, 2, vec![3])]);
        assert_eq!(feeds(&yard), [(0, 2, vec![0])]);
        assert_eq!((gate.views.len(), yard.views.len()), (2, 1));
        let shared = yard.feeds[0].extractor.number;
        let which: Vec<bool> = gate.feeds.iter().map(|f| f.extractor.number == shared).collect();
        assert_eq!(which, [true, true, false], "cameras with the same extractor share its model");
        assert!(gate.fused.is_some() && yard.fused.is_none());
        assert!(gate.singles.iter().all(|s| !s.alerts) && yard.singles[0].alerts);
        assert_eq!((gate.detectors().len(), yard.detectors().len()), (5, 1));
        let all: std::collections::BTreeSet<_> =
            [gate.detectors(), yard.detectors()].concat().into_iter().collect();
        assert_eq!(all.len(), 6, "no number is given twice");
        drop(gate);
        assert_eq!(extractors.forget_unused().len(), 1, "the yard goes on with the one that they shared");
        assert_eq!(extractors.numbers(), [shared]);
    }
}
