//! From the configuration to what the stages need of each camera: models, features on disk, trackers.

use super::decide::Seat;
use super::learning::Pupil;
use crate::alert::Tracker;
use crate::config::{self, Config};
use crate::features::{Extractor, ExtractorModel};
use crate::infer::{self, Manifest};
use crate::segment::learning_stride;
use crate::store::{FeatureRing, RingSpec, Store};
use crate::telemetry::Metrics;
use crate::threshold::Rule;
use anyhow::{Context, Result};
use std::time::Duration;

/// Features are remembered for this many times the video of a first learning, so that learning again sees
/// more of the camera's life ...
const REMEMBER: usize = 8;
/// ... but a camera's ring takes no more of the disk than this.
const RING_BYTES: usize = 256 << 20;

/// The extractors in use, each prepared once however many cameras share it.
pub struct Extractors {
    distinct: Vec<(config::Extractor, ExtractorModel)>,
    /// Which of them serves a camera.
    pub which: Vec<usize>,
}

impl Extractors {
    /// Generates or reads, and checks, what the configuration asks for.
    pub fn prepare(config: &Config) -> Result<Self> {
        infer::init(&config.runtime.onnxruntime)?;
        let mut distinct: Vec<(config::Extractor, ExtractorModel)> = vec![];
        let mut which = vec![];
        for camera in &config.cameras {
            let wanted = &camera.detector.extractor;
            which.push(match distinct.iter().position(|(extractor, _)| extractor == wanted) {
                Some(found) => found,
                None => {
                    let model = ExtractorModel::prepare(wanted)
                        .with_context(|| format!("the extractor of camera {}", camera.name))?;
                    distinct.push((wanted.clone(), model));
                    distinct.len() - 1
                }
            });
        }
        Ok(Self { distinct, which })
    }

    /// The extractor of a camera.
    pub fn of(&self, camera: usize) -> &ExtractorModel {
        &self.distinct[self.which[camera]].1
    }

    /// A session of each, for one worker.
    pub fn open(&self) -> Result<Vec<Box<dyn Extractor>>> {
        self.distinct.iter().map(|(_, model)| Ok(model.open()?)).collect()
    }
}

/// Segments in `time` of a camera's video.
fn segments_in(time: Duration, manifest: &Manifest, stride: usize) -> Result<usize> {
    let fps = manifest.extractor(&manifest.name)?.frame.fps;
    Ok(((time.as_secs_f64() * fps / stride as f64) as usize).max(1))
}

/// What the desk keeps of each camera.
pub fn seats(
    config: &Config,
    extractors: &Extractors,
    store: &Store,
    metrics: &Metrics,
) -> Result<Vec<Seat>> {
    let mut seats = vec![];
    for (index, camera) in config.cameras.iter().enumerate() {
        let manifest = extractors.of(index).manifest();
        let spec = extractors.of(index).spec();
        let threshold = &camera.detector.threshold;
        let rule =
            Rule { open_n: threshold.open_n, open_m: threshold.open_m, close_after: threshold.close_after };
        let apart = learning_stride(camera.detector.stride);
        let enough = segments_in(camera.detector.learning.watch_for, manifest, apart)?;
        let ring = match camera.detector.scorer {
            config::Scorer::File(_) => None,
            config::Scorer::Learned(_) => {
                let (regions, dims) = (spec.grid.regions(), spec.dims);
                let most = (RING_BYTES / (regions * dims * 2)).max(enough);
                let capacity = (enough * REMEMBER).min(most);
                let ring = RingSpec { extractor: manifest.id(), regions, dims, capacity };
                Some(FeatureRing::open(&store.layout().ring(&camera.name), &ring)?)
            }
        };
        seats.push(Seat {
            name: camera.name.clone(),
            tracker: Tracker::new(camera.name.clone(), rule),
            metrics: metrics.camera(&camera.name),
            covers: spec.covers,
            enough,
            to_see: enough - ring.as_ref().map_or(0, FeatureRing::len).min(enough),
            ring,
            run: None,
            apart: apart as u64,
            remembered: None,
            troubled: false,
        });
    }
    Ok(seats)
}

/// What learning needs to know of each camera.
pub fn pupils(config: &Config, extractors: &Extractors, store: &Store) -> Vec<Pupil> {
    let pupil = |(index, camera): (usize, &config::Camera)| Pupil {
        name: camera.name.clone(),
        ring: store.layout().ring(&camera.name),
        model: match &camera.detector.scorer {
            config::Scorer::Learned(_) => store.layout().model(&camera.name),
            config::Scorer::File(file) => file.clone(),
        },
        in_place: match camera.detector.scorer {
            config::Scorer::Learned(method) => Some(method),
            config::Scorer::File(_) => None,
        },
        extractor: extractors.of(index).manifest().clone(),
        stride: camera.detector.stride,
        k: camera.detector.threshold.k,
        again_every: camera.detector.learning.again_every,
    };
    config.cameras.iter().enumerate().map(pupil).collect()
}
