//! A running API over a real store, with cameras that a test sets as it likes.

use sigmawatch::access::Access;
use sigmawatch::api::{
    Bus, CameraStatus, Cameras, Configuration, DetectState, DetectStatus, DetectorStatus, LearnRefused,
    LearningState, LearningStatus, LinkState, Parts, PictureStatus, ReloadRefused, Reloaded, ServerHandle,
    serve,
};
use sigmawatch::base::{SimClock, Timestamp};
use sigmawatch::config::{Baseline, Http, User};
use sigmawatch::frame::{Picture, StreamInfo};
use sigmawatch::infer::{Covers, Grid};
use sigmawatch::sink::{self, Posts};
use sigmawatch::store::Store;
use sigmawatch::telemetry::Metrics;
use sigmawatch::threshold::{DayParts, Judging, Rule, Threshold};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Cameras whose states a test sets.
pub struct FakeCameras {
    pub list: Mutex<Vec<CameraStatus>>,
    pub ready: AtomicBool,
    /// Pictures are of now; else all are of one moment long ago.
    pub moving: AtomicBool,
    /// What cameras show, at most 640 pixels wide, instead of a grey slope.
    pub shown: Mutex<Option<Picture>>,
}

impl Cameras for FakeCameras {
    fn list(&self) -> Vec<CameraStatus> {
        self.list.lock().expect("held by no panic").clone()
    }

    fn get(&self, camera: &str) -> Option<CameraStatus> {
        self.list().into_iter().find(|c| &*c.name == camera)
    }

    fn picture(&self, camera: &str, max_width: u32) -> Option<Picture> {
        let status = self.get(camera).filter(|c| c.link == LinkState::Live)?;
        let width = max_width.min(status.stream.width);
        let shown = self.shown.lock().expect("held by no panic").clone();
        let picture = shown.map_or_else(|| scene(width, width * 9 / 16), |p| scaled(p, width));
        let moving = self.moving.load(Ordering::Relaxed);
        Some(if moving { Picture { wall: Timestamp::now(), ..picture } } else { picture })
    }

    fn learn(&self, camera: &str, detector: Option<&str>) -> Result<(), LearnRefused> {
        let mut list = self.list.lock().expect("held by no panic");
        let camera = list.iter_mut().find(|c| &*c.name == camera).ok_or(LearnRefused::NoSuchCamera)?;
        let named = |d: &&mut DetectorStatus| detector.is_none_or(|name| &*d.name == name);
        let detector = camera.detectors.iter_mut().find(named).ok_or(LearnRefused::NoSuchDetector)?;
        if detector.learning.state != LearningState::Armed {
            return Err(LearnRefused::Busy);
        }
        detector.learning.state = LearningState::Relearning;
        Ok(())
    }

    fn detect(&self, camera: &str, on: bool) -> bool {
        let mut list = self.list.lock().expect("held by no panic");
        let camera = list.iter_mut().find(|c| &*c.name == camera);
        camera.is_some_and(|camera| {
            let state = if on { DetectState::On } else { DetectState::Off };
            camera.detect = DetectStatus { on, state };
            true
        })
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

/// `picture`, no wider than `width`.
fn scaled(picture: Picture, width: u32) -> Picture {
    if picture.width <= width {
        return picture;
    }
    let height = picture.height * width / picture.width;
    let whole = image::RgbImage::from_raw(picture.width, picture.height, picture.rgb).expect("of its size");
    let rgb = image::imageops::thumbnail(&whole, width, height).into_raw();
    Picture { width, height, rgb, wall: picture.wall }
}

/// A grey slope with a bright square: something for the eye.
pub fn scene(width: u32, height: u32) -> Picture {
    let mut rgb = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            let inside = (width / 2..width * 5 / 8).contains(&x) && (height / 3..height * 2 / 3).contains(&y);
            let level = if inside { 220 } else { (40 + 60 * y / height) as u8 };
            rgb.extend([level, level, level + 10]);
        }
    }
    Picture { width, height, rgb, wall: Timestamp::UNIX_EPOCH }
}

pub fn camera(name: &str, link: LinkState, state: LearningState) -> CameraStatus {
    CameraStatus {
        name: name.into(),
        source: "rtsp://gate.example/stream".into(),
        link,
        problem: (link == LinkState::BackingOff).then(|| "nothing answers (see to its power)".into()),
        healthy: true,
        stream: StreamInfo { codec: Some("H.264".into()), width: 1280, height: 720, fps: 25.0 },
        fps: 12.5,
        last_frame: Some(Timestamp::UNIX_EPOCH),
        last_frame_age: Some(if link == LinkState::Live { 0.1 } else { 42.0 }),
        reconnects: 1,
        frames: 1000,
        picture: PictureStatus::default(),
        detect: DetectStatus { on: true, state: DetectState::On },
        places: Default::default(),
        detectors: vec![detector("main", state)],
    }
}

pub fn detector(name: &str, state: LearningState) -> DetectorStatus {
    let armed = state == LearningState::Armed;
    DetectorStatus {
        name: name.into(),
        method: "v1+diffusion".into(),
        alerts: true,
        segments: 60,
        learning: LearningStatus {
            state,
            progress: if armed { 1.0 } else { 0.4 },
            step: "watching".into(),
            model_sha256: armed.then(|| "ab".repeat(32)),
            learned_at: None,
        },
        threshold: armed.then_some(Threshold::plain(1.0, 0.5, 3.0)),
        judging: Judging {
            rule: Rule::default(),
            hysteresis: 0.0,
            day: DayParts::new(Baseline::One, jiff::tz::TimeZone::UTC),
        },
        outlook: None,
        normal: None,
        last_score: armed.then_some(1.25),
        probability: armed.then_some(0.3),
        grid: armed.then_some(Grid { rows: 2, cols: 3 }),
        covers: Covers::default(),
        regions: if armed { vec![1.0, 1.2, 0.8, 1.1, 9.0, 1.0] } else { Vec::new() },
        open_event: None,
    }
}

/// Plain HTTP at an address.
pub fn http(listen: &str) -> Http {
    Http { listen: listen.parse().expect("an address"), hosts: vec![], tls: None }
}

/// A server and what it speaks for.
pub struct Desk {
    pub cameras: Arc<FakeCameras>,
    pub store: Arc<Store>,
    pub bus: Arc<Bus>,
    pub metrics: Arc<Metrics>,
    pub server: Option<ServerHandle>,
    pub parts: Parts,
    _dir: tempfile::TempDir,
}

impl Desk {
    /// An armed, live gate and a yard that cannot be reached, on a clock that stands at second 2000.
    pub fn start() -> Self {
        Self::start_at(Timestamp::from_second(2000).expect("in range"))
    }

    pub fn start_at(now: Timestamp) -> Self {
        Self::start_with(now, &[])
    }

    /// For these users only.
    pub fn start_with(now: Timestamp, users: &[User]) -> Self {
        Self::open(now, users, Duration::from_millis(50), Duration::from_millis(300))
    }

    /// With a stream that shows its life and waits for its clients like this.
    pub fn start_patiently(heartbeat: Duration, patience: Duration) -> Self {
        Self::open(Timestamp::from_second(2000).expect("in range"), &[], heartbeat, patience)
    }

    fn open(now: Timestamp, users: &[User], heartbeat: Duration, patience: Duration) -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let clock = Arc::new(SimClock::new(now));
        let cameras = Arc::new(FakeCameras {
            list: Mutex::new(vec![
                camera("gate", LinkState::Live, LearningState::Armed),
                camera("yard", LinkState::BackingOff, LearningState::Learning),
            ]),
            ready: AtomicBool::new(true),
            moving: AtomicBool::new(false),
            shown: Mutex::new(None),
        });
        let store = Arc::new(Store::open(dir.path(), clock.clone()).expect("opened"));
        let bus = Arc::new(Bus::new(clock.clone()));
        let metrics = Arc::new(Metrics::new());
        let sinks = sink::Parts {
            store: store.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            cameras: cameras.clone(),
        };
        let no_sinks = Posts::start(&[], &sinks).expect("no sink to start");
        let parts = Parts {
            sinks: Arc::new(no_sinks),
            cameras: cameras.clone(),
            store: store.clone(),
            bus: bus.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            access: Arc::new(Access::new(users, clock.clone())),
            configuration: Arc::new(Fixed(
                serde_json::json!({"cameras": [{"name": "gate", "password": "***"}]}),
            )),
            config_dir: dir.path().into(),
            heartbeat,
            patience,
        };
        let server = Some(serve(&http("127.0.0.1:0"), parts.clone()).expect("served"));
        Self { cameras, store, bus, metrics, server, parts, _dir: dir }
    }

    pub fn addr(&self) -> std::net::SocketAddr {
        self.server.as_ref().expect("running").addr
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr())
    }
}

/// A configuration in which nothing ever changes.
struct Fixed(serde_json::Value);

impl Configuration for Fixed {
    fn in_force(&self) -> serde_json::Value {
        self.0.clone()
    }

    fn reload(&self) -> Result<Reloaded, ReloadRefused> {
        let needs_restart = vec!["runtime.workers".into()];
        Ok(Reloaded { unchanged: vec!["gate".into()], needs_restart, ..Reloaded::default() })
    }
}
