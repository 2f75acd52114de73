//! From a camera's plan to what the stages need of it: features on disk, trackers, pupils.

use super::board::{Origin, Post};
use super::camera::FeedCutter;
use super::change::Joining;
use super::decide::{Memory, Seat};
use super::fusing::Fusing;
use super::lane::FeedLane;
use super::learning::Pupil;
use super::life::Life;
use super::plan::{CameraPlan, Feed, Single};
use super::why::Looks;
use crate::alert::{Quieting, Tracker};
use crate::base::DetectorName;
use crate::config::{self, FUSED};
use crate::infer::Covers;
use crate::score::Channels;
use crate::segment::{SceneWatch, Segmenter, learning_stride};
use crate::store::{FeatureRing, Gallery, GallerySpec, RingSpec, Store, StoreError};
use crate::telemetry::Metrics;
use crate::threshold::Judging;

/// Features are remembered for this many times the video of a first learning, so that learning again sees
/// more of the camera's life ...
const REMEMBER: usize = 8;
/// ... but a feed's ring takes no more of the disk than this.
const RING_BYTES: usize = 256 << 20;

/// Segments that a detector watches at most before it learns first.
fn most_watched(plan: &CameraPlan, single: &Single) -> usize {
    let fps = plan.spec(single).frame.fps;
    let time = single.config.learning.watch_for.as_secs_f64();
    ((time * fps / learning_stride(plan.feeds[single.feed].stride) as f64) as usize).max(1)
}

fn learns(single: &Single) -> bool {
    matches!(single.config.scorer, config::Scorer::Learned(_))
}

/// What the desk keeps of a camera. What cannot be kept on disk is told by the log, and done without.
pub fn joining(plan: &CameraPlan, store: &Store, metrics: &Metrics) -> Joining {
    let memories: Vec<Memory> = plan.feeds.iter().map(|feed| memory(plan, feed, store)).collect();
    let files = |feed: &Feed| {
        [
            store.layout().ring(&plan.name, feed.manifest(), feed.stride),
            store.layout().gallery(&plan.name, feed.manifest(), feed.stride),
        ]
    };
    // What no feed will ever fill again.
    if let Err(error) =
        store.layout().sweep_rings(&plan.name, &plan.feeds.iter().flat_map(files).collect::<Vec<_>>())
    {
        tracing::warn!(camera = %plan.name, "features that nobody needs are not removed: {error}");
    }
    let single = |single: &Single| {
        let feed = &plan.feeds[single.feed];
        let watch_for = single.config.learning.watch_for.as_secs_f64();
        let enough = if learns(single) { watch_for } else { 0.0 };
        let seat = Seat {
            covers: plan.spec(single).covers,
            learns: enough > 0.0,
            enough,
            to_see: (enough - memories[single.feed].seconds()).max(0.0),
            ..seat(
                plan,
                &single.config.name,
                &single.config.threshold,
                feed.stride,
                single.alerts,
                store,
                metrics,
            )
        };
        (single.number, seat)
    };
    let mut seats: Vec<(usize, Seat)> = plan.singles.iter().map(single).collect();
    if let Some(fused) = &plan.fused {
        let threshold = &plan.singles[0].config.threshold;
        // A fused verdict has no calibration whose stride could be another one.
        seats.push((fused.number, seat(plan, &FUSED.into(), threshold, 1, true, store, metrics)));
    }
    let numbered = plan.feeds.iter().map(|feed| feed.number).zip(memories);
    Joining { seats, memories: numbered.collect(), fusing: fusing(plan) }
}

/// What the desk keeps of any detector.
fn seat(
    plan: &CameraPlan,
    name: &DetectorName,
    threshold: &config::Threshold,
    stride: usize,
    alerts: bool,
    store: &Store,
    metrics: &Metrics,
) -> Seat {
    let Judging { rule, hysteresis, day } = Judging::of(threshold, &plan.timezone);
    // What opens, prolongs and ends its events.
    let tracker = || {
        let quieting = Quieting::new(threshold.cool_down, threshold.most_alerts);
        Tracker::new(plan.name.clone(), name.clone(), rule, quieting, plan.zones.clone())
    };
    Seat {
        camera: plan.number,
        camera_name: plan.name.clone(),
        name: name.clone(),
        metrics: metrics.detector(&plan.name, name),
        tracker: alerts.then(tracker),
        life: Life::new(rule, stride, threshold.budget, day, store.layout().life(&plan.name, name)),
        hysteresis,
        covers: Covers::default(),
        learns: false,
        enough: 0.0,
        to_see: 0.0,
        troubled: false,
        sameness: Default::default(),
    }
}

/// What the desk keeps of a feed: the features to learn from.
fn memory(plan: &CameraPlan, feed: &Feed, store: &Store) -> Memory {
    let (layout, manifest, spec) = (store.layout(), feed.manifest(), feed.extractor.model.spec());
    let (regions, dims, extractor) = (spec.grid.regions(), spec.dims, manifest.id());
    let kept = |error: StoreError| {
        tracing::error!(camera = %plan.name, "normal life is not kept: {error}");
    };
    let pupils =
        plan.singles.iter().filter(|single| feed.detectors.contains(&single.number) && learns(single));
    let ring = pupils.map(|single| most_watched(plan, single)).max().and_then(|enough| {
        let most = (RING_BYTES / (regions * dims * 2)).max(enough);
        let capacity = (enough * REMEMBER).min(most);
        let ring = RingSpec { extractor: extractor.clone(), regions, dims, capacity };
        FeatureRing::open(&layout.ring(&plan.name, manifest, feed.stride), &ring).map_err(kept).ok()
    });
    let gallery = GallerySpec { extractor, regions, dims };
    let gallery = Gallery::open(&layout.gallery(&plan.name, manifest, feed.stride), &gallery);
    Memory {
        detectors: feed.detectors.clone(),
        ring,
        apart: learning_stride(feed.stride) as u64,
        usual: learning_stride(feed.stride) as f64 / spec.frame.fps,
        remembered: None,
        troubled: false,
        looks: Looks {
            gallery: gallery.map_err(kept).ok(),
            channels: Channels::of(&spec.channels),
            frame: spec.frame.clone(),
            run: None,
        },
    }
}

/// What the desk keeps of a fused verdict.
fn fusing(plan: &CameraPlan) -> Option<Fusing> {
    let fused = plan.fused.as_ref()?;
    // It speaks as often as the quickest of them.
    let leader = plan.feeds.iter().max_by(|a, b| a.rate().total_cmp(&b.rate()))?;
    Some(Fusing {
        detector: fused.number,
        rule: fused.rule,
        leader: leader.number,
        k: plan.singles[0].config.threshold.k,
        members: plan.singles.iter().map(|single| single.number).collect(),
        opinions: plan.singles.iter().map(|_| None).collect(),
    })
}

/// A camera's detectors as the board lists them.
pub fn posts(plan: &CameraPlan) -> Vec<(usize, Post)> {
    let judging = |single: &Single| Judging::of(&single.config.threshold, &plan.timezone);
    let single = |single: &Single| {
        let (scorer, origin) = match &single.config.scorer {
            config::Scorer::Learned(method) => (method.name().to_owned(), Origin::Learned),
            config::Scorer::File(file) => {
                (file.file_name().unwrap_or_default().to_string_lossy().into_owned(), Origin::File)
            }
        };
        let post = Post {
            camera: plan.number,
            name: single.config.name.clone(),
            method: format!("{}+{scorer}", plan.feeds[single.feed].manifest().name),
            alerts: single.alerts,
            judging: judging(single),
            origin,
        };
        (single.number, post)
    };
    let mut posts: Vec<(usize, Post)> = plan.singles.iter().map(single).collect();
    if let Some(fused) = &plan.fused {
        let names: Vec<String> = plan.singles.iter().map(|single| single.config.name.to_string()).collect();
        let post = Post {
            camera: plan.number,
            name: FUSED.into(),
            method: names.join(" and "),
            alerts: true,
            // Its first member's.
            judging: judging(&plan.singles[0]),
            origin: Origin::Fused,
        };
        posts.push((fused.number, post));
    }
    posts
}

/// What watches a camera's picture as a whole, if that is wanted.
pub fn scene(plan: &CameraPlan, wanted: config::SceneChange) -> Option<SceneWatch> {
    (wanted == config::SceneChange::Pause).then(|| SceneWatch::new(plan.views[0].clone()))
}

/// What cuts a camera's frames into the segments of its feeds, each into its lane.
pub fn cutters(plan: &CameraPlan, lanes: &[FeedLane], metrics: &Metrics) -> Vec<FeedCutter> {
    let cutter = |(feed, lane): (&Feed, &FeedLane)| {
        let own = plan.singles.iter().filter(|single| feed.detectors.contains(&single.number));
        FeedCutter {
            lane: lane.clone(),
            view: feed.view,
            segmenter: Segmenter::new(feed.stride),
            metrics: own.map(|single| metrics.detector(&plan.name, &single.config.name)).collect(),
        }
    };
    plan.feeds.iter().zip(lanes).map(cutter).collect()
}

/// What learning needs to know of each detector.
pub fn pupils(plan: &CameraPlan, store: &Store) -> Vec<(usize, Pupil)> {
    let pupil = |single: &Single| {
        let feed = &plan.feeds[single.feed];
        let (model, in_place) = match &single.config.scorer {
            config::Scorer::Learned(method) => {
                (store.layout().model(&plan.name, &single.config.name), Some(*method))
            }
            config::Scorer::File(file) => (file.clone(), None),
        };
        let pupil = Pupil {
            camera: plan.name.clone(),
            detector: single.config.name.clone(),
            ring: store.layout().ring(&plan.name, feed.manifest(), feed.stride),
            model,
            in_place,
            extractor: feed.manifest().clone(),
            stride: feed.stride,
            k: single.config.threshold.k,
            learning: single.config.learning.clone(),
            masked: plan.masked(single),
        };
        (single.number, pupil)
    };
    plan.singles.iter().map(pupil).collect()
}
