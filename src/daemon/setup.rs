//! From the plan to what the stages need of each feed and detector: features on disk, trackers, pupils.

use super::board::{Origin, Post};
use super::camera::FeedCutter;
use super::decide::{Memory, Seat};
use super::fusing::Fusing;
use super::learning::Pupil;
use super::life::Life;
use super::plan::{Feed, Fused, Plan, Single};
use super::why::Looks;
use crate::alert::{Quieting, Tracker, Zone};
use crate::base::{CameraName, DetectorName};
use crate::config;
use crate::infer::Covers;
use crate::score::Channels;
use crate::segment::{SceneWatch, Segmenter, learning_stride};
use crate::store::{FeatureRing, Gallery, GallerySpec, RingSpec, Store};
use crate::telemetry::Metrics;
use crate::threshold::{Judging, Rule};
use anyhow::Result;

/// Features are remembered for this many times the video of a first learning, so that learning again sees
/// more of the camera's life ...
const REMEMBER: usize = 8;
/// ... but a feed's ring takes no more of the disk than this.
const RING_BYTES: usize = 256 << 20;

/// Segments that a detector watches at most before it learns first.
fn most_watched(plan: &Plan, single: &Single) -> usize {
    let feed = &plan.feeds[single.feed];
    let fps = plan.extractor_of(single.feed).spec().frame.fps;
    let time = single.config.learning.watch_for.as_secs_f64();
    ((time * fps / learning_stride(feed.stride) as f64) as usize).max(1)
}

fn learns(single: &Single) -> bool {
    matches!(single.config.scorer, config::Scorer::Learned(_))
}

/// What opens, prolongs and ends the events of a detector.
fn tracker(
    threshold: &config::Threshold,
    rule: Rule,
    camera: &CameraName,
    name: &DetectorName,
    zones: &[Zone],
) -> Tracker {
    let quieting = Quieting::new(threshold.cool_down, threshold.most_alerts);
    Tracker::new(camera.clone(), name.clone(), rule, quieting, zones.to_vec())
}

/// What the desk keeps of each detector; `memories` are those of the feeds.
pub fn seats(plan: &Plan, memories: &[Memory], store: &Store, metrics: &Metrics) -> Vec<Seat> {
    let seat = |detector: usize,
                camera: usize,
                covers,
                threshold: &config::Threshold,
                alerts: bool,
                enough: f64,
                seen: f64| {
        let (camera_name, name) = plan.name(detector);
        let feed = plan.singles.get(detector).map(|single| &plan.feeds[single.feed]);
        // A fused verdict has no calibration whose stride could be another one.
        let stride = feed.map_or(1, |feed| feed.stride);
        let file = store.layout().life(camera_name, &name);
        let Judging { rule, hysteresis, day } = Judging::of(threshold, &plan.timezone);
        Seat {
            camera,
            camera_name: camera_name.clone(),
            metrics: metrics.detector(camera_name, &name),
            tracker: alerts.then(|| tracker(threshold, rule, camera_name, &name, &plan.zones[camera])),
            life: Life::new(rule, stride, threshold.budget, day, file),
            hysteresis,
            name,
            covers,
            learns: enough > 0.0,
            enough,
            to_see: (enough - seen).max(0.0),
            troubled: false,
            sameness: Default::default(),
        }
    };
    let mut seats = vec![];
    for (detector, single) in plan.singles.iter().enumerate() {
        let covers = plan.extractor_of(single.feed).spec().covers;
        let watch_for = single.config.learning.watch_for.as_secs_f64();
        let enough = if learns(single) { watch_for } else { 0.0 };
        let (threshold, seen) = (&single.config.threshold, memories[single.feed].seconds());
        seats.push(seat(detector, single.camera, covers, threshold, single.alerts, enough, seen));
    }
    for (number, fused) in plan.fused.iter().enumerate() {
        let threshold = &plan.singles[fused.members[0]].config.threshold;
        let detector = plan.singles.len() + number;
        seats.push(seat(detector, fused.camera, Covers::default(), threshold, true, 0.0, 0.0));
    }
    seats
}

/// What the desk keeps of each feed: the features to learn from. What no feed will ever fill again is removed.
pub fn memories(plan: &Plan, store: &Store) -> Result<Vec<Memory>> {
    let gallery = |number: usize| {
        let feed = &plan.feeds[number];
        store.layout().gallery(&plan.cameras[feed.camera], plan.extractor_of(number).manifest(), feed.stride)
    };
    let mut memories = vec![];
    for (number, feed) in plan.feeds.iter().enumerate() {
        let extractor = plan.extractor_of(number);
        let spec = extractor.spec();
        let (regions, dims) = (spec.grid.regions(), spec.dims);
        let kept = GallerySpec { extractor: extractor.manifest().id(), regions, dims };
        let pupils = feed.detectors.iter().map(|detector| &plan.singles[*detector]).filter(|s| learns(s));
        let ring = match pupils.map(|single| most_watched(plan, single)).max() {
            None => None,
            Some(enough) => {
                let most = (RING_BYTES / (regions * dims * 2)).max(enough);
                let capacity = (enough * REMEMBER).min(most);
                let ring = RingSpec { extractor: extractor.manifest().id(), regions, dims, capacity };
                let path = store.layout().ring(&plan.cameras[feed.camera], extractor.manifest(), feed.stride);
                Some(FeatureRing::open(&path, &ring)?)
            }
        };
        memories.push(Memory {
            detectors: feed.detectors.clone(),
            ring,
            apart: learning_stride(feed.stride) as u64,
            usual: learning_stride(feed.stride) as f64 / spec.frame.fps,
            remembered: None,
            troubled: false,
            looks: Looks {
                gallery: Some(Gallery::open(&gallery(number), &kept)?),
                channels: Channels::of(&spec.channels),
                frame: spec.frame.clone(),
                run: None,
            },
        });
    }
    for (camera, name) in plan.cameras.iter().enumerate() {
        let own = plan.feeds.iter().enumerate().filter(|(_, feed)| feed.camera == camera);
        let files = |(number, feed): (usize, &Feed)| {
            [store.layout().ring(name, plan.extractor_of(number).manifest(), feed.stride), gallery(number)]
        };
        store.layout().sweep_rings(name, &own.flat_map(files).collect::<Vec<_>>())?;
    }
    Ok(memories)
}

/// What the desk keeps of each fused verdict.
pub fn fusings(plan: &Plan) -> Vec<Fusing> {
    let fusing = |(number, fused): (usize, &Fused)| {
        let feed_of = |detector: &usize| plan.singles[*detector].feed;
        // It speaks as often as the quickest of them.
        let leader = fused.members.iter().map(feed_of).max_by(|a, b| plan.rate(*a).total_cmp(&plan.rate(*b)));
        Fusing {
            detector: plan.singles.len() + number,
            rule: fused.rule,
            leader: leader.expect("a fused verdict has members"),
            k: plan.singles[fused.members[0]].config.threshold.k,
            members: fused.members.clone(),
            opinions: fused.members.iter().map(|_| None).collect(),
        }
    };
    plan.fused.iter().enumerate().map(fusing).collect()
}

/// What makes alerts of a detector's scores; a fused verdict's is its first member's.
fn threshold_of(plan: &Plan, detector: usize) -> &config::Threshold {
    let single = match detector.checked_sub(plan.singles.len()) {
        Some(fused) => plan.fused[fused].members[0],
        None => detector,
    };
    &plan.singles[single].config.threshold
}

/// Every detector as the board lists it.
pub fn posts(plan: &Plan) -> Vec<Post> {
    let post = |detector: usize| {
        let (camera, method, alerts, origin) = match plan.singles.get(detector) {
            Some(single) => {
                let (scorer, origin) = match &single.config.scorer {
                    config::Scorer::Learned(method) => (method.name().to_owned(), Origin::Learned),
                    config::Scorer::File(file) => {
                        let name = file.file_name().unwrap_or_default();
                        (name.to_string_lossy().into_owned(), Origin::File)
                    }
                };
                let extractor = &plan.extractor_of(single.feed).manifest().name;
                (single.camera, format!("{extractor}+{scorer}"), single.alerts, origin)
            }
            None => {
                let fused = &plan.fused[detector - plan.singles.len()];
                let names = fused.members.iter().map(|member| plan.name(*member).1.to_string());
                (fused.camera, names.collect::<Vec<_>>().join(" and "), true, Origin::Fused)
            }
        };
        let threshold = threshold_of(plan, detector);
        let judging = Judging::of(threshold, &plan.timezone);
        Post { camera, name: plan.name(detector).1, method, alerts, judging, origin }
    };
    (0..plan.detectors()).map(post).collect()
}

/// The detectors of a camera that look at it themselves.
pub fn detectors_of(plan: &Plan, camera: usize) -> Vec<usize> {
    (0..plan.singles.len()).filter(|detector| plan.singles[*detector].camera == camera).collect()
}

/// What watches a camera's picture as a whole, if that is wanted.
pub fn scene(plan: &Plan, camera: usize, wanted: config::SceneChange) -> Option<SceneWatch> {
    let view = || SceneWatch::new(plan.views[camera][0].clone());
    (wanted == config::SceneChange::Pause).then(view)
}

/// What cuts a camera's frames into the segments of its feeds.
pub fn cutters(plan: &Plan, camera: usize, metrics: &Metrics) -> Vec<FeedCutter> {
    let own = plan.feeds.iter().enumerate().filter(|(_, feed)| feed.camera == camera);
    let cutter = |(number, feed): (usize, &Feed)| {
        let of = |detector: &usize| metrics.detector(&plan.cameras[camera], &plan.name(*detector).1);
        FeedCutter {
            feed: number,
            view: feed.view,
            segmenter: Segmenter::new(feed.stride),
            metrics: feed.detectors.iter().map(of).collect(),
        }
    };
    own.map(cutter).collect()
}

/// What learning needs to know of each detector.
pub fn pupils(plan: &Plan, store: &Store) -> Vec<Pupil> {
    let pupil = |single: &Single| {
        let (camera, feed) = (&plan.cameras[single.camera], &plan.feeds[single.feed]);
        let extractor = plan.extractor_of(single.feed).manifest();
        let (model, in_place) = match &single.config.scorer {
            config::Scorer::Learned(method) => {
                (store.layout().model(camera, &single.config.name), Some(*method))
            }
            config::Scorer::File(file) => (file.clone(), None),
        };
        Pupil {
            camera: camera.clone(),
            detector: single.config.name.clone(),
            ring: store.layout().ring(camera, extractor, feed.stride),
            model,
            in_place,
            extractor: extractor.clone(),
            stride: feed.stride,
            k: single.config.threshold.k,
            learning: single.config.learning.clone(),
            masked: plan.masked(single),
        }
    };
    plan.singles.iter().map(pupil).collect()
}
