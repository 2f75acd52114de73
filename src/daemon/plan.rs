//! From the configuration to who watches what: a camera's views, its feeds of features, and its detectors.
//!
//! A camera is decoded once. Extractors that want other pictures have a *view* each; detectors with one extractor
//! and one stride share a *feed*, and with it segments and features. Cameras with the same extractor share its model.

use super::trial::try_model;
use crate::alert::{Zone, covered_regions};
use crate::base::{CameraName, DetectorName, Polygon};
use crate::config::{self, Config, FUSED, Fusion, FusionRule};
use crate::features::{Extractor, ExtractorModel};
use crate::frame::FrameSpec;
use crate::infer::{self, ExtractorSpec};
use anyhow::{Context, Result};
use jiff::tz::TimeZone;

/// Everything that the daemon will do, by numbers: cameras and feeds from 0, detectors from 0 with the fused ones
/// last.
pub struct Plan {
    /// The extractors in use, each prepared once however many feeds have it.
    extractors: Vec<(config::Extractor, ExtractorModel)>,
    /// In which days have their parts.
    pub timezone: TimeZone,
    pub cameras: Vec<CameraName>,
    /// Of each camera.
    pub masks: Vec<Vec<Polygon>>,
    pub zones: Vec<Vec<Zone>>,
    pub views: Vec<Vec<FrameSpec>>,
    pub feeds: Vec<Feed>,
    pub singles: Vec<Single>,
    pub fused: Vec<Fused>,
}

/// Segments of one camera for one extractor at one stride.
pub struct Feed {
    pub camera: usize,
    pub view: usize,
    extractor: usize,
    pub stride: usize,
    /// Who lives on it.
    pub detectors: Vec<usize>,
}

/// A detector of the configuration.
pub struct Single {
    pub camera: usize,
    pub feed: usize,
    pub config: config::Detector,
    /// Its verdicts open events; otherwise they only are fused with others.
    pub alerts: bool,
}

/// The verdict that a camera's detectors come to together.
pub struct Fused {
    pub camera: usize,
    pub rule: FusionRule,
    pub members: Vec<usize>,
}

impl Plan {
    /// Generates or reads, and checks, the extractors that the configuration asks for.
    pub fn of(config: &Config) -> Result<Self> {
        infer::init(&config.runtime.onnxruntime)?;
        let mut plan = Self {
            extractors: vec![],
            timezone: config.runtime.timezone.clone(),
            cameras: config.cameras.iter().map(|camera| camera.name.clone()).collect(),
            zones: config.cameras.iter().map(zones).collect(),
            masks: config.cameras.iter().map(|camera| camera.masks.clone()).collect(),
            views: vec![],
            feeds: vec![],
            singles: vec![],
            fused: vec![],
        };
        for (number, camera) in config.cameras.iter().enumerate() {
            plan.views.push(vec![]);
            let first = plan.singles.len();
            for detector in &camera.detectors {
                let extractor = plan
                    .extractor(detector)
                    .with_context(|| format!("detector {} of camera {}", detector.name, camera.name))?;
                let feed = plan.feed(number, extractor, detector.stride);
                plan.feeds[feed].detectors.push(plan.singles.len());
                let alerts = camera.fusion == Fusion::None;
                plan.singles.push(Single { camera: number, feed, config: detector.clone(), alerts });
            }
            if let Fusion::All(rule) = camera.fusion {
                plan.fused.push(Fused {
                    camera: number,
                    rule,
                    members: (first..plan.singles.len()).collect(),
                });
            }
        }
        Ok(plan)
    }

    fn extractor(&mut self, detector: &config::Detector) -> Result<usize> {
        let config::Detector { extractor: wanted, provider, .. } = detector;
        let same = |(extractor, model): &(config::Extractor, ExtractorModel)| {
            extractor == wanted && model.provider() == *provider
        };
        if let Some(known) = self.extractors.iter().position(same) {
            return Ok(known);
        }
        if let config::Extractor::File(path) = wanted {
            try_model(path)?;
        }
        self.extractors.push((wanted.clone(), ExtractorModel::prepare_on(*provider, wanted)?));
        Ok(self.extractors.len() - 1)
    }

    fn feed(&mut self, camera: usize, extractor: usize, stride: usize) -> usize {
        let same = |f: &Feed| f.camera == camera && f.extractor == extractor && f.stride == stride;
        if let Some(known) = self.feeds.iter().position(same) {
            return known;
        }
        let frame = &self.extractors[extractor].1.spec().frame;
        let views = &mut self.views[camera];
        let view = views.iter().position(|view| view == frame).unwrap_or_else(|| {
            views.push(frame.clone());
            views.len() - 1
        });
        self.feeds.push(Feed { camera, view, extractor, stride, detectors: vec![] });
        self.feeds.len() - 1
    }

    /// The extractor of a feed.
    pub fn extractor_of(&self, feed: usize) -> &ExtractorModel {
        &self.extractors[self.feeds[feed].extractor].1
    }

    /// Which of the sessions of [`Plan::open`] serves each feed.
    pub fn which(&self) -> Vec<usize> {
        self.feeds.iter().map(|feed| feed.extractor).collect()
    }

    /// A session of each extractor, for one worker.
    pub fn open(&self) -> Result<Vec<Box<dyn Extractor>>> {
        self.extractors.iter().map(|(_, model)| Ok(model.open()?)).collect()
    }

    /// Regions of a detector that its camera's masks cover; none where it has one region only.
    pub fn masked(&self, single: &Single) -> Vec<usize> {
        let ExtractorSpec { grid, covers, .. } = *self.extractor_of(single.feed).spec();
        if grid.regions() == 1 {
            return vec![];
        }
        covered_regions(&self.masks[single.camera], grid, covers)
    }

    /// Segments a second that a feed gives at most.
    pub fn rate(&self, feed: usize) -> f64 {
        self.extractor_of(feed).spec().frame.fps / self.feeds[feed].stride as f64
    }

    /// Detectors, the fused ones included.
    pub fn detectors(&self) -> usize {
        self.singles.len() + self.fused.len()
    }

    /// Camera and name of a detector.
    pub fn name(&self, detector: usize) -> (&CameraName, DetectorName) {
        match self.singles.get(detector) {
            Some(single) => (&self.cameras[single.camera], single.config.name.clone()),
            None => (&self.cameras[self.fused[detector - self.singles.len()].camera], FUSED.into()),
        }
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
        let dir = std::path::Path::new("/");
        let around = config::Surroundings { dir, env: &|_| None, world_readable: false };
        let config = config::load_text("a test", &text, &around).expect("a good configuration").config;
        let plan = Plan::of(&config).expect("a plan");
        let feeds: Vec<_> =
            plan.feeds.iter().map(|f| (f.camera, f.view, f.stride, f.detectors.clone())).collect();
        assert_eq!(
            feeds,
            [(0, 0, 2, vec![0, 1]), (0, 0, 16, vec![2]), (0, 1, 2, vec![3]), (1, 0, 2, vec![4])]
        );
        assert_eq!(plan.which(), [0, 0, 1, 0], "cameras with the same extractor share its model");
        assert_eq!(plan.views.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(plan.fused[0].members, [0, 1, 2, 3]);
        let alerting: Vec<bool> = plan.singles.iter().map(|s| s.alerts).collect();
        assert_eq!(alerting, [false, false, false, false, true]);
        assert_eq!((plan.detectors(), &*plan.name(5).1, &**plan.name(5).0), (6, "fused", "gate"));
    }
}
