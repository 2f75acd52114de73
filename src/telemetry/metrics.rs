//! Every Prometheus metric: its name, help, labels and unit; nowhere else is a metric named.

mod reference;

use super::forget::{Forgets, Living};
use super::handles::{CameraMetrics, DetectorMetrics};
use super::labels::{Delivery, Label, Queue, Stage};
use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

/// One line of the reference: what `docs/ref/metrics.md` is made of.
struct Described {
    name: String,
    kind: &'static str,
    labels: Vec<&'static str>,
    help: &'static str,
}

/// Registers metrics and remembers how each is described.
struct Maker {
    registry: Registry,
    catalogue: Vec<Described>,
    of_cameras: Vec<Box<dyn Forgets>>,
}

impl Maker {
    fn add<C: Collector + Clone + 'static>(
        &mut self,
        made: prometheus::Result<C>,
        described: Described,
    ) -> C {
        let metric = made.expect("metric names and labels are constants of this file");
        self.registry.register(Box::new(metric.clone())).expect("each name is registered once");
        self.catalogue.push(described);
        metric
    }

    /// A metric with labels; one of cameras loses their series with them.
    fn add_vec<C: Collector + Forgets + Clone + 'static>(
        &mut self,
        made: prometheus::Result<C>,
        d: Described,
    ) -> C {
        let of_cameras = d.labels.first() == Some(&"camera");
        let metric = self.add(made, d);
        if of_cameras {
            self.of_cameras.push(Box::new(metric.clone()));
        }
        metric
    }

    fn describe(name: &str, kind: &'static str, labels: &[&'static str], help: &'static str) -> Described {
        Described { name: format!("sigmawatch_{name}"), kind, labels: labels.to_vec(), help }
    }

    fn counter(&mut self, name: &str, labels: &[&'static str], help: &'static str) -> IntCounterVec {
        let d = Self::describe(name, "counter", labels, help);
        self.add_vec(IntCounterVec::new(Opts::new(&d.name, help), labels), d)
    }

    fn seconds_counter(&mut self, name: &str, labels: &[&'static str], help: &'static str) -> CounterVec {
        let d = Self::describe(name, "counter", labels, help);
        self.add(CounterVec::new(Opts::new(&d.name, help), labels), d)
    }

    fn gauge(&mut self, name: &str, labels: &[&'static str], help: &'static str) -> GaugeVec {
        let d = Self::describe(name, "gauge", labels, help);
        self.add_vec(GaugeVec::new(Opts::new(&d.name, help), labels), d)
    }

    fn int_gauge(&mut self, name: &str, labels: &[&'static str], help: &'static str) -> IntGaugeVec {
        let d = Self::describe(name, "gauge", labels, help);
        self.add_vec(IntGaugeVec::new(Opts::new(&d.name, help), labels), d)
    }

    fn histogram(
        &mut self,
        name: &str,
        labels: &[&'static str],
        help: &'static str,
        buckets: &[f64],
    ) -> HistogramVec {
        let d = Self::describe(name, "histogram", labels, help);
        self.add(HistogramVec::new(HistogramOpts::new(&d.name, help).buckets(buckets.to_vec()), labels), d)
    }
}

/// Seconds: from well under a frame to the longest training step worth telling apart.
const STAGE_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 60.0];
/// Seconds; dense enough that a quantile is known to a quarter of itself, and denser up to the promised 250 ms.
const LATENCY_BUCKETS: &[f64] = &[
    0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25,
    0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0,
];
/// Standard deviations above the mean of normal life.
const DEVIATION_BUCKETS: &[f64] = &[-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 20.0, 50.0];

/// All metrics of one daemon, in a registry of their own.
pub struct Metrics {
    registry: Registry,
    catalogue: Vec<Described>,
    of_cameras: Vec<Box<dyn Forgets>>,
    /// By the camera's name.
    living: Mutex<HashMap<String, Living>>,
    camera_up: IntGaugeVec,
    camera_state: IntGaugeVec,
    bad_pictures: IntGaugeVec,
    keyframes_only: IntGauge,
    frames: IntCounterVec,
    frames_dropped: IntCounterVec,
    reconnects: IntCounterVec,
    last_frame: GaugeVec,
    clips: IntCounterVec,
    clip_memory: IntGaugeVec,
    segments_scored: IntCounterVec,
    segments_skipped: IntCounterVec,
    score: GaugeVec,
    probability: GaugeVec,
    threshold: GaugeVec,
    alerts: IntCounterVec,
    quiet: IntCounterVec,
    learning_state: IntGaugeVec,
    detectors_unhealthy: IntGauge,
    score_deviation: Histogram,
    stage_duration: HistogramVec,
    clock_steps: IntCounter,
    queue_depth: IntGaugeVec,
    queue_blocked: CounterVec,
    score_latency: Histogram,
    alert_latency: Histogram,
    deliveries: IntCounterVec,
    sink_up: IntGaugeVec,
    sink_waiting: IntGaugeVec,
    stream_clients: IntGauge,
    stream_lagged: IntCounter,
    store_bytes: IntGaugeVec,
    store_removed: IntCounterVec,
    store_up: IntGauge,
    store_waiting: IntGauge,
    store_dropped: IntGauge,
    connections: IntGauge,
    connections_refused: IntCounter,
    last_reload_good: IntGauge,
    last_good_reload: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut m = Maker { registry: Registry::new(), catalogue: Vec::new(), of_cameras: Vec::new() };
        let c = &["camera"];
        let d = &["camera", "detector"];
        m.int_gauge("build_info", &["version"], "Always 1; the label says which version runs.")
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        m.registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect("registered once");
        Self {
            camera_up: m.int_gauge("camera_up", c, "1 while frames arrive, otherwise 0."),
            camera_state: m.int_gauge(
                "camera_state",
                &["camera", "state"],
                "1 for the state of the connection, 0 for the others.",
            ),
            bad_pictures: m.int_gauge(
                "cameras_bad_picture",
                &["state"],
                "Cameras whose picture cannot be believed, by what it is.",
            ),
            keyframes_only: m
                .int_gauge(
                    "cameras_keyframes_only",
                    &[],
                    "Cameras of which only key frames are decoded, since the machine is too slow.",
                )
                .with_label_values::<&str>(&[]),
            frames: m.counter("frames_total", c, "Frames analysed."),
            frames_dropped: m.counter(
                "frames_dropped_total",
                &["camera", "reason"],
                "Frames that were taken from the camera and thrown away unanalysed.",
            ),
            reconnects: m.counter(
                "reconnects_total",
                &["camera", "reason"],
                "Connections made again, by what ended the one before.",
            ),
            last_frame: m.gauge(
                "last_frame_timestamp_seconds",
                c,
                "Wall time at which the newest frame arrived, in seconds since 1970.",
            ),
            clips: m.counter("clips_total", &["camera", "result"], "Events, by what became of their clip."),
            clip_memory: m.int_gauge(
                "clip_memory_bytes",
                c,
                "Newest compressed video that is held for clips.",
            ),
            segments_scored: m.counter("segments_scored_total", d, "Segments that got a finite score."),
            segments_skipped: m.counter(
                "segments_skipped_total",
                &["camera", "detector", "reason"],
                "Segments that got no usable score.",
            ),
            score: m.gauge("score", d, "Newest score; larger is stranger."),
            probability: m.gauge(
                "tail_probability",
                d,
                "How likely normal life gives a score as high as the newest; comparable between detectors.",
            ),
            threshold: m.gauge(
                "threshold",
                d,
                "Limit in force, mu + k sigma or that of the budget; alerts open above it.",
            ),
            alerts: m.counter("alerts_total", &["camera", "detector", "severity"], "Alerts opened."),
            quiet: m.counter(
                "alerts_quiet_total", &["reason"], "Alerts announced to nobody.",
            ),
            detectors_unhealthy: m
                .int_gauge("detectors_unhealthy", &[], "Detectors whose newest score cannot be used.")
                .with_label_values::<&str>(&[]),
            learning_state: m.int_gauge(
                "learning_state",
                &["camera", "detector", "state"],
                "1 for learning, armed or relearning, 0 for the others.",
            ),
            score_deviation: m
                .histogram(
                    "score_deviation",
                    &[],
                    "Scores of all detectors as standard deviations above each one's own mean.",
                    DEVIATION_BUCKETS,
                )
                .with_label_values::<&str>(&[]),
            stage_duration: m.histogram(
                "stage_duration_seconds",
                &["stage"],
                "Time that a stage worked on one batch.",
                STAGE_BUCKETS,
            ),
            queue_depth: m.int_gauge("queue_depth", &["queue"], "Items that wait in a lane."),
            queue_blocked: m.seconds_counter(
                "queue_blocked_seconds_total",
                &["queue"],
                "Time that senders waited because a lane was full.",
            ),
            score_latency: m
                .histogram(
                    "score_latency_seconds",
                    &[],
                    "From the arrival of a segment's last frame to what its score means, an alert or none.",
                    LATENCY_BUCKETS,
                )
                .with_label_values::<&str>(&[]),
            alert_latency: m
                .histogram(
                    "alert_latency_seconds",
                    &[],
                    "From the arrival of a segment's last frame to the alert's publication.",
                    LATENCY_BUCKETS,
                )
                .with_label_values::<&str>(&[]),
            deliveries: m.counter(
                "alert_deliveries_total",
                &["sink", "result"],
                "Announcements delivered to the store, to the stream's clients (sink stream), or to a configured sink.",
            ),
            sink_up: m.int_gauge("sink_up", &["sink"], "1 while a configured sink takes what it is given, otherwise 0."),
            sink_waiting: m.int_gauge(
                "sink_waiting",
                &["sink"],
                "Announcements in the outbox that a configured sink has not come to.",
            ),
            stream_clients: m
                .int_gauge("stream_clients", &[], "Clients of the event stream that are connected.")
                .with_label_values::<&str>(&[]),
            stream_lagged: m
                .counter(
                    "stream_lagged_total",
                    &[],
                    "Messages that slow clients of the event stream missed before they were cut off.",
                )
                .with_label_values::<&str>(&[]),
            store_bytes: m.int_gauge("store_bytes", &["kind"], "Bytes that the store keeps on disk."),
            store_removed: m.counter(
                "store_removed_total",
                &["reason"],
                "Events removed because they were too old, or because there was too much; clips because there was too much.",
            ),
            store_up: m
                .int_gauge("store_up", &[], "1 while the store takes what is written to it, else 0.")
                .with_label_values::<&str>(&[]),
            store_waiting: m
                .int_gauge("store_waiting", &[], "Changes of alerts that were told, and are not on disk yet.")
                .with_label_values::<&str>(&[]),
            store_dropped: m
                .int_gauge(
                    "store_dropped",
                    &[],
                    "Changes of alerts that were never on disk because too many waited, since the start.",
                )
                .with_label_values::<&str>(&[]),
            connections: m
                .int_gauge("connections", &[], "Connections to the HTTP server.")
                .with_label_values::<&str>(&[]),
            connections_refused: m
                .counter(
                    "connections_refused_total",
                    &[],
                    "Connections that were closed at once, since there were as many as may be.",
                )
                .with_label_values::<&str>(&[]),
            last_reload_good: m
                .int_gauge(
                    "config_last_reload_successful",
                    &[],
                    "1 where the configuration that was read last is in force, 0 where it could not be used.",
                )
                .with_label_values::<&str>(&[]),
            last_good_reload: m
                .gauge(
                    "config_last_reload_success_timestamp_seconds",
                    &[],
                    "When the configuration in force was read, in seconds since 1970.",
                )
                .with_label_values::<&str>(&[]),
            clock_steps: m
                .counter("clock_steps_total", &[], "Times that the wall clock was set while the daemon ran.")
                .with_label_values::<&str>(&[]),
            registry: m.registry,
            catalogue: m.catalogue,
            of_cameras: m.of_cameras,
            living: Mutex::default(),
        }
    }

    /// Everything in Prometheus' text format, version 0.0.4.
    pub fn render(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("writing text into a string cannot fail for registered metrics")
    }

    /// The handle of one camera; make it once and keep it.
    pub fn camera(&self, name: &str) -> CameraMetrics {
        let c = &[name];
        CameraMetrics {
            living: self.living(name),
            name: name.into(),
            up: self.camera_up.with_label_values(c),
            state: self.camera_state.clone(),
            bad_pictures: self.bad_pictures.clone(),
            keyframes_only: self.keyframes_only.clone(),
            frames: self.frames.with_label_values(c),
            frames_dropped: self.frames_dropped.clone(),
            reconnects: self.reconnects.clone(),
            last_frame: self.last_frame.with_label_values(c),
            clips: self.clips.clone(),
            clip_memory: self.clip_memory.with_label_values(c),
        }
    }

    /// The handle of one detector of a camera; make it once and keep it.
    pub fn detector(&self, camera: &str, name: &str) -> DetectorMetrics {
        let d = &[camera, name];
        DetectorMetrics {
            living: self.living(camera),
            camera: camera.into(),
            name: name.into(),
            segments_scored: self.segments_scored.with_label_values(d),
            segments_skipped: self.segments_skipped.clone(),
            score: self.score.with_label_values(d),
            probability: self.probability.with_label_values(d),
            threshold: self.threshold.with_label_values(d),
            alerts: self.alerts.clone(),
            quiet: self.quiet.clone(),
            learning: self.learning_state.clone(),
            deviation: self.score_deviation.clone(),
        }
    }

    /// Removes the series of a camera and its detectors. Handles that are still about count into nothing, those that
    /// are made from now on anew.
    pub fn forget_camera(&self, name: &str) {
        let living = self.living.lock().expect("nothing panics while it is held").remove(name);
        living.into_iter().for_each(|living| {
            living.end(|| self.of_cameras.iter().for_each(|metric| metric.forget(name)));
        });
    }

    fn living(&self, camera: &str) -> Living {
        let mut living = self.living.lock().expect("nothing panics while it is held");
        living.entry(camera.to_owned()).or_default().clone()
    }

    /// The handle of one lane.
    pub fn queue(&self, queue: Queue) -> QueueMetrics {
        let q = &[queue.text()];
        QueueMetrics {
            depth: self.queue_depth.with_label_values(q),
            blocked: self.queue_blocked.with_label_values(q),
        }
    }

    /// One batch went through `stage` in `took`.
    pub fn stage(&self, stage: Stage, took: Duration) {
        self.stage_duration.with_label_values(&[stage.text()]).observe(took.as_secs_f64());
    }

    /// A detector's score was judged, and what follows from it told, `after` the last frame of its segment had arrived.
    pub fn score_latency(&self, after: Duration) {
        self.score_latency.observe(after.as_secs_f64());
    }

    /// An alert was published `after` the last frame of its segment had arrived.
    pub fn alert_latency(&self, after: Duration) {
        self.alert_latency.observe(after.as_secs_f64());
    }

    /// What became of `count` announcements at `sink`: `store`, `stream`, or a configured one.
    pub fn delivery(&self, sink: &str, result: Delivery, count: u64) {
        self.deliveries.with_label_values(&[sink, result.text()]).inc_by(count);
    }

    /// A configured sink takes what it is given, or does not; so many announcements wait for it.
    pub fn sink(&self, sink: &str, up: bool, waiting: u64) {
        self.sink_up.with_label_values(&[sink]).set(i64::from(up));
        self.sink_waiting.with_label_values(&[sink]).set(waiting as i64);
    }

    pub fn stream_opened(&self) {
        self.stream_clients.inc();
    }

    pub fn stream_closed(&self) {
        self.stream_clients.dec();
    }

    /// What the store keeps, bytes.
    pub fn kept(&self, database: u64, pictures: u64, clips: u64, galleries: u64) {
        let kinds =
            [("database", database), ("pictures", pictures), ("clips", clips), ("galleries", galleries)];
        for (kind, bytes) in kinds {
            self.store_bytes.with_label_values(&[kind]).set(bytes.try_into().unwrap_or(i64::MAX));
        }
    }

    /// The store takes what it is given, or does not; so many changes of alerts wait, and so many were given up.
    pub fn store_health(&self, up: bool, waiting: usize, dropped: u64) {
        self.store_up.set(i64::from(up));
        self.store_waiting.set(waiting as i64);
        self.store_dropped.set(dropped as i64);
    }

    /// Events that the store removed, by why, and clips.
    pub fn removed(&self, age: usize, size: usize, clips: usize) {
        for (reason, events) in [("age", age), ("size", size), ("clips", clips)] {
            self.store_removed.with_label_values(&[reason]).inc_by(events as u64);
        }
    }

    /// A slow client missed `messages`.
    pub fn stream_lagged(&self, messages: u64) {
        self.stream_lagged.inc_by(messages);
    }

    /// Detectors whose newest score cannot be used.
    pub fn unhealthy(&self, detectors: usize) {
        self.detectors_unhealthy.set(detectors as i64);
    }

    /// The configuration was read again, at `unix_seconds` wall time, and is in force or cannot be used.
    pub fn reloaded(&self, good: bool, unix_seconds: f64) {
        self.last_reload_good.set(i64::from(good));
        if good {
            self.last_good_reload.set(unix_seconds);
        }
    }

    /// Removes the gauges of a sink that has gone.
    pub fn forget_sink(&self, sink: &str) {
        for gauge in [&self.sink_up, &self.sink_waiting] {
            // There may be none yet.
            let _ = gauge.remove_label_values(&[sink]);
        }
    }

    /// The wall clock was set.
    pub fn clock_step(&self) {
        self.clock_steps.inc();
    }

    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }
}

/// The metrics of one lane.
#[derive(Clone)]
pub struct QueueMetrics {
    depth: IntGauge,
    blocked: Counter,
}

impl QueueMetrics {
    pub fn depth(&self, items: usize) {
        self.depth.set(items as i64);
    }

    /// A sender waited for `time`.
    pub fn blocked(&self, time: Duration) {
        self.blocked.inc_by(time.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{
        ClipResult, DropReason, Learning, Level, Link, ReconnectReason, Silence, SkipReason,
    };

    #[test]
    fn a_busy_camera_has_at_most_25_series_of_its_own() {
        let metrics = Metrics::new();
        let (gate, main) = (metrics.camera("gate"), metrics.detector("gate", "main"));
        gate.frame(1.0);
        gate.link(Link::Live);
        gate.clip(ClipResult::Written);
        gate.clip_memory(7);
        main.learning(Learning::Armed);
        main.scored(3.0, 0.01, 1.0, 0.5, 4.0);
        gate.dropped(DropReason::QueueFull, 2);
        gate.dropped(DropReason::RunEnded, 7);
        gate.reconnect(ReconnectReason::Stalled);
        gate.reconnect(ReconnectReason::Unreachable);
        main.skipped(SkipReason::Learning);
        [Level::Low, Level::Medium, Level::High]
            .into_iter()
            .for_each(|l| main.alert(l, Some(Silence::RateCap)));
        let text = metrics.render();
        let series = text.lines().filter(|l| l.contains("camera=\"gate\"")).count();
        assert!((15..=25).contains(&series), "{series} series:\n{text}");
        assert!(
            text.contains("sigmawatch_frames_dropped_total{camera=\"gate\",reason=\"run_ended\"} 7"),
            "{text}"
        );
        assert!(text.contains("sigmawatch_threshold{camera=\"gate\",detector=\"main\"} 3\n"), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }

    #[test]
    fn exactly_one_state_is_set() {
        let metrics = Metrics::new();
        let gate = metrics.camera("gate");
        gate.link(Link::Live);
        gate.link(Link::Stalled);
        let text = metrics.render();
        let set: Vec<_> =
            text.lines().filter(|l| l.starts_with("sigmawatch_camera_state") && l.ends_with(" 1")).collect();
        assert_eq!(set, [r#"sigmawatch_camera_state{camera="gate",state="stalled"} 1"#]);
        assert!(text.contains("sigmawatch_camera_up{camera=\"gate\"} 0"), "{text}");
    }
}
