//! The metrics of one camera and of one detector, in the hands of those who count.

use super::forget::Living;
use super::labels::{
    ClipResult, DropReason, Label, Learning, Level, Link, ReconnectReason, Sight, Silence, SkipReason,
};
use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// The metrics of one camera. Cheap to clone and to use from any thread.
#[derive(Clone)]
pub struct CameraMetrics {
    pub(super) living: Living,
    pub(super) name: String,
    pub(super) up: IntGauge,
    pub(super) state: IntGaugeVec,
    pub(super) bad_pictures: IntGaugeVec,
    pub(super) keyframes_only: IntGauge,
    pub(super) frames: IntCounter,
    pub(super) frames_dropped: IntCounterVec,
    pub(super) reconnects: IntCounterVec,
    pub(super) last_frame: Gauge,
    pub(super) clips: IntCounterVec,
    pub(super) clip_memory: IntGauge,
}

impl CameraMetrics {
    /// A frame came at `unix_seconds` wall time.
    pub fn frame(&self, unix_seconds: f64) {
        self.frames.inc();
        self.last_frame.set(unix_seconds);
    }

    /// What became of an event's clip.
    pub fn clip(&self, result: ClipResult) {
        self.living.when(|| self.clips.with_label_values(&[&self.name, result.text()]).inc());
    }

    /// Bytes that are held for clips.
    pub fn clip_memory(&self, bytes: usize) {
        self.clip_memory.set(bytes as i64);
    }

    pub fn dropped(&self, reason: DropReason, frames: u64) {
        self.living
            .when(|| self.frames_dropped.with_label_values(&[&self.name, reason.text()]).inc_by(frames));
    }

    pub fn reconnect(&self, reason: ReconnectReason) {
        self.living.when(|| self.reconnects.with_label_values(&[&self.name, reason.text()]).inc());
    }

    /// The picture is bad in another way than `before`, or no longer; `None` is a good one.
    pub fn picture(&self, before: Option<Sight>, now: Option<Sight>) {
        before.into_iter().for_each(|sight| self.bad_pictures.with_label_values(&[sight.text()]).dec());
        now.into_iter().for_each(|sight| self.bad_pictures.with_label_values(&[sight.text()]).inc());
    }

    /// The camera begins, or ends, to be decoded by key frames only.
    pub fn keyframes_only(&self, low: bool) {
        if low { self.keyframes_only.inc() } else { self.keyframes_only.dec() }
    }

    pub fn link(&self, state: Link) {
        self.up.set(i64::from(state == Link::Live));
        self.living.when(|| one_hot(&self.state, &[&self.name], state));
        // No camera comes through all of them: these two have a series only while they hold.
        let rare = [Link::Disabled, Link::Finished].into_iter().filter(|rare| *rare != state);
        rare.for_each(|rare| drop(self.state.remove_label_values(&[&self.name, rare.text()])));
    }
}

/// The metrics of one detector of a camera. Cheap to clone and to use from any thread.
#[derive(Clone)]
pub struct DetectorMetrics {
    pub(super) living: Living,
    pub(super) camera: String,
    pub(super) name: String,
    pub(super) segments_scored: IntCounter,
    pub(super) segments_skipped: IntCounterVec,
    pub(super) score: Gauge,
    pub(super) probability: Gauge,
    pub(super) threshold: Gauge,
    pub(super) alerts: IntCounterVec,
    pub(super) quiet: IntCounterVec,
    pub(super) learning: IntGaugeVec,
    pub(super) deviation: Histogram,
}

impl DetectorMetrics {
    pub fn learning(&self, state: Learning) {
        self.living.when(|| one_hot(&self.learning, &[&self.camera, &self.name], state));
    }

    /// A segment has `score` under the limit `mu + k sigma`; normal life gives as much with `probability`.
    pub fn scored(&self, score: f64, probability: f64, mu: f64, sigma: f64, k: f64) {
        self.segments_scored.inc();
        self.score.set(score);
        self.probability.set(probability);
        self.threshold.set(mu + k * sigma);
        if sigma > 0.0 {
            self.deviation.observe((score - mu) / sigma);
        }
    }

    pub fn skipped(&self, reason: SkipReason) {
        let labels = [&*self.camera, &self.name, reason.text()];
        self.living.when(|| self.segments_skipped.with_label_values(&labels).inc());
    }

    /// An alert has opened; `quiet`: why it is announced to nobody, if it is not.
    pub fn alert(&self, severity: Level, quiet: Option<Silence>) {
        let labels = [&*self.camera, &self.name, severity.text()];
        self.living.when(|| self.alerts.with_label_values(&labels).inc());
        if let Some(reason) = quiet {
            self.quiet.with_label_values(&[reason.text()]).inc();
        }
    }
}

/// Sets the gauge of the state that holds, and clears those of the others.
fn one_hot<L: Label + PartialEq>(gauge: &IntGaugeVec, of: &[&str], now: L) {
    for state in L::ALL {
        gauge.with_label_values(&[of, &[state.text()]].concat()).set(i64::from(*state == now));
    }
}
