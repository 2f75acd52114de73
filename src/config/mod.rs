//! The configuration: `raw` is the file as written, this is what it means once checked.

mod budget;
mod check;
mod keys;
mod load;
mod location;
mod method;
mod places;
mod problem;
mod provider;
mod raw;
mod sample;
mod schema;
mod sink;
mod schedule;
mod units;
mod user;
mod view;

pub use budget::Budget;
pub use check::{FUSED, Surroundings};
pub use load::{Loaded, load, load_text, load_with};
pub use location::redacted as redacted_location;
pub use method::{Method, Sampler};
pub use problem::{Invalid, Problem};
pub use provider::Provider;
pub use sample::{sample_alert, sample_camera_state};
pub use schedule::Schedule;
pub use schema::schema;
pub use sink::{Email, EmailTls, Grade, Jsonl, Mqtt, Secret, Sink, SinkKind, To, Wants, Webhook};
pub use units::{format_duration, format_size, parse_duration, parse_size};
pub use user::{Role, Tls, User};

use crate::base::{CameraName, DetectorName, Polygon, Rate, choices};
use jiff::tz::TimeZone;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything the daemon was told, checked and with every default filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file's own folder, from which relative paths start.
    pub dir: PathBuf,
    pub http: Http,
    /// Nobody: whoever reaches the server, which is on loopback then, may do everything.
    pub users: Vec<User>,
    pub store: Store,
    pub runtime: Runtime,
    pub cameras: Vec<Camera>,
    pub sinks: Vec<Sink>,
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Loopback unless told otherwise; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Further names and addresses by which the server may be asked for.
    pub hosts: Vec<String>,
    /// Plain HTTP where there is none.
    pub tls: Option<Tls>,
}

/// What is kept on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// Holds `sigmawatch.sqlite3`, `snapshots/` and `models/<camera>/`.
    pub dir: PathBuf,
    /// Scores older than this are removed, and events that nobody reviewed with their pictures.
    pub keep: Duration,
    /// Reviewed events older than this are removed.
    pub keep_reviewed: Duration,
    /// Bytes of database, pictures and clips.
    pub max_size: u64,
    /// Bytes to stay free on the disk.
    pub min_free: u64,
}

/// The machinery.
#[derive(Debug, Clone, PartialEq)]
pub struct Runtime {
    /// The ONNX Runtime library to load.
    pub onnxruntime: PathBuf,
    /// Where the GStreamer descriptions are looked up.
    pub pipelines: PathBuf,
    /// Extractor threads, each with a single-thread session of its own.
    pub workers: usize,
    /// Of schedules.
    pub timezone: TimeZone,
}

/// The file that holds the GStreamer description `name`.
pub fn description_file(pipelines: &Path, name: &str) -> PathBuf {
    pipelines.join(format!("{name}.pipeline"))
}

/// One camera.
#[derive(Debug, Clone, PartialEq)]
pub struct Camera {
    pub name: CameraName,
    pub source: Source,
    /// Silence of a live source for this long is a stall.
    pub stall_after: Duration,
    /// A state is told only once it has lasted this long.
    pub hold: Duration,
    /// One at least.
    pub detectors: Vec<Detector>,
    pub fusion: Fusion,
    /// Is watched; otherwise it is only listed.
    pub enabled: bool,
    /// Opens events at all, until it is told otherwise.
    pub detect: bool,
    /// When it opens events; `None`: always.
    pub schedule: Option<Schedule>,
    /// A change of the whole picture opens none.
    pub scene_change: SceneChange,
    /// Where nothing is looked for.
    pub masks: Vec<Polygon>,
    /// Places with names.
    pub zones: Vec<(String, Polygon)>,
    /// `None`: no clips are made.
    pub clips: Option<Clips>,
}

choices! {
    /// What a change of the whole picture does: lights, the switch to infrared, a camera that is moved.
    pub enum SceneChange {
        /// Detectors wait until it is over.
        Pause = "pause",
        /// It is judged like everything else.
        Ignore = "ignore",
    }
}

/// Clips of a camera's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clips {
    /// From so long before an event ...
    pub before: Duration,
    /// ... to so long after it, ...
    pub after: Duration,
    /// ... but no longer than this.
    pub longest: Duration,
    /// Bytes of memory for the newest compressed video.
    pub memory: usize,
}

/// Where a camera's pictures come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// The demo plaza that the program renders itself.
    Synthetic(Synthetic),
    /// A GStreamer description from `pipelines/`, with the values that are set as properties.
    Gst(Gst),
}

impl Source {
    /// Pictures come at their own pace, and are lost when nobody takes them; otherwise they wait.
    pub fn keeps_pace(&self) -> bool {
        match self {
            Source::Synthetic(scene) => !scene.as_fast_as_possible,
            Source::Gst(gst) => gst.live || gst.real_time,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Synthetic {
    /// Seed of the scene: the same seed gives the same pictures.
    pub seed: u64,
    /// Rendered as fast as it is taken instead of in real time.
    pub as_fast_as_possible: bool,
}

/// A source that GStreamer plays.
#[derive(Clone, PartialEq)]
pub struct Gst {
    /// Name of the description: `rtsp`, `file`, `v4l2` or one that the integrator added.
    pub pipeline: String,
    /// URL, file or device; user and password are taken out of it (a query may still hold some: show it
    /// through [`redacted_location`] only).
    pub location: String,
    pub user: Option<String>,
    pub password: Option<String>,
    /// RTSP by TLS only: a PEM file of the certificates that are trusted; `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// RTSP transport.
    pub transport: Transport,
    /// EOS and silence mean a lost camera (to be reconnected) rather than the end.
    pub live: bool,
    /// File only: at the pace of its timestamps instead of as fast as possible.
    pub real_time: bool,
    /// Live only: each connection is decoded in a process of its own.
    pub isolate: bool,
}

impl std::fmt::Debug for Gst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The password must not reach a log through `{:?}` of any struct above this one.
        f.debug_struct("Gst")
            .field("pipeline", &self.pipeline)
            .field("location", &redacted_location(&self.location))
            .field("user", &self.user.as_ref().map(|_| "***"))
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("ca", &self.ca)
            .field("transport", &self.transport)
            .field("live", &self.live)
            .field("real_time", &self.real_time)
            .field("isolate", &self.isolate)
            .finish()
    }
}

choices! {
    /// What carries the pictures of a network camera.
    pub enum Transport { Tcp = "tcp", Udp = "udp" }
}

/// What becomes of the verdicts of a camera's detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fusion {
    /// Each opens events of its own.
    None,
    /// One verdict from the tail probabilities of all; the detectors themselves open no events.
    All(FusionRule),
}

choices! {
    /// How tail probabilities become one.
    pub enum FusionRule {
        /// The smallest, corrected for their number: one detector is enough.
        Min = "min",
        /// Their product: what several find a little unusual adds up.
        Fisher = "fisher",
    }
}

/// An extractor, a scorer and a threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Detector {
    /// Unique on its camera.
    pub name: DetectorName,
    pub extractor: Extractor,
    /// What computes the extractor.
    pub provider: Provider,
    pub scorer: Scorer,
    pub learning: Learning,
    pub threshold: Threshold,
    /// Frames between the starts of consecutive segments; 16 = non-overlapping.
    pub stride: usize,
}

/// Which features are taken.
#[derive(Debug, Clone, PartialEq)]
pub enum Extractor {
    /// The V1 energy bank that the program generates itself.
    V1 {
        /// Analysed picture, pixels.
        width: u32,
        height: u32,
        /// Analysed frames a second.
        fps: f64,
        /// One feature vector for the whole frame instead of one a region.
        whole_frame: bool,
    },
    /// Any model file that describes itself as an extractor.
    File(PathBuf),
}

impl Extractor {
    /// Frames between the starts of segments where the configuration does not say: dense for the bank, which filters a
    /// frame once however many segments share it; without overlap for networks, which compute every segment anew.
    ///
    /// Measured on UCSD Ped2 with the bank: frame AUC is .96 at 2, .95 at 4, .94 at 8 and .91 at 16, since alerts then
    /// come later (`sigmawatch eval --stride`).
    pub fn usual_stride(&self) -> usize {
        match self {
            Extractor::V1 { .. } => 2,
            Extractor::File(_) => 16,
        }
    }
}

/// What scores the features.
#[derive(Debug, Clone, PartialEq)]
pub enum Scorer {
    /// Learned in place by this method, kept under `store.dir`.
    Learned(Method),
    /// A model file made by `sigmawatch learn`; never replaced by the daemon.
    File(PathBuf),
}

/// Learning in place.
#[derive(Debug, Clone, PartialEq)]
pub struct Learning {
    /// Video watched before the first arming.
    pub watch_for: Duration,
    /// Learned again this often from the newest features; `None`: only when asked.
    pub again_every: Option<Duration>,
    /// Of `diffusion-published`: the noise level that a reconstruction starts from, counted from 0 ...
    pub start: u8,
    /// ... and how it finds back.
    pub sampler: Sampler,
}

choices! {
    /// The parts of the day whose normal life is told apart.
    pub enum Baseline {
        /// None: the whole day has one.
        One = "one",
        /// 06:00 to 18:00, and the rest.
        DayNight = "day_night",
        /// Each hour.
        Hours = "hours",
    }
}

/// When a score becomes an alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// L = mu + k sigma ...
    pub k: f64,
    /// ... or, where there is one, what keeps this budget, as soon as enough of normal life was seen.
    pub budget: Option<Budget>,
    /// An event opens when `open_n` of the last `open_m` segments are above L ...
    pub open_n: usize,
    pub open_m: usize,
    /// ... and closes when none has been above it for this long, ...
    pub close_after: Duration,
    /// ... or above a second limit that lies lower by this share of the way to mu.
    pub hysteresis: f64,
    /// What mu and sigma are of.
    pub baseline: Baseline,
    /// An event that opens within this time of the end of the last one is not announced; nor is ...
    pub cool_down: Duration,
    /// ... one beyond this many.
    pub most_alerts: Option<Rate>,
}
