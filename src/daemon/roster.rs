//! The cameras that are watched, and how they change: all that can fail is prepared first, and then nothing fails.
//!
//! The camera is the unit. One whose configuration is as it was is not touched: the same thread, connection, run, model
//! and open event. One that changed goes, and comes as another; what it has learned is on disk.

use super::board::{Board, Entry, Listed, Watch};
use super::camera::CameraThread;
use super::change::{Change, DeskChange, Featured};
use super::clips::{ClipCamera, ClipCameras};
use super::extract::Equipment;
use super::labels::sight;
use super::lane::{FeedLane, LaneSender, SegmentLane};
use super::learning::{self, Pupil, Pupils};
use super::numbered::Numbers;
use super::plan::{CameraPlan, Extractors, Stamp, stamp};
use super::scoring::{Arm, Armed};
use super::setup;
use super::shedding::Shedding;
use super::stop::Stop;
use super::telling::{Hold, Holds, tell_removed};
use crate::api::Bus;
use crate::base::{CameraName, Clock, Timestamp};
use crate::config::{self, Config, Runtime, Scorer, Source, description_file};
use crate::features::Extractor;
use crate::frame::{self, PacketKeep};
use crate::segment::{DamageWatch, MediaClock, PictureWatch};
use crate::store::Store;
use crate::telemetry::Metrics;
use anyhow::{Context, Result};
use crossbeam_channel::{Sender, bounded};
use jiff::tz::TimeZone;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Compressed video reaches back so much further than a clip wants, and than an event takes to be announced: what a busy
/// machine may be late, and some for the gap between key frames.
const LATE: Duration = Duration::from_secs(8);
/// A camera that goes has so long to disconnect; one that takes longer is left to itself.
const FAREWELL: Duration = Duration::from_secs(5);

/// What cameras are told to, and shared with.
pub struct Stages {
    pub store: Arc<Store>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    pub board: Arc<Board>,
    pub bus: Arc<Bus>,
    pub segments: Arc<SegmentLane>,
    /// One for each extractor worker.
    pub workers: Vec<Sender<Equipment>>,
    pub to_scoring: LaneSender<Featured>,
    pub pupils: Arc<Pupils>,
    pub clips: ClipCameras,
    pub holds: Arc<Holds>,
}

/// All cameras, in the configuration's order.
pub struct Roster {
    stages: Stages,
    cameras: Vec<Watched>,
    extractors: Extractors,
    /// Extractors that the workers have.
    equipped: Vec<usize>,
    numbers: Numbers,
}

/// A camera that is watched.
struct Watched {
    identity: Identity,
    plan: CameraPlan,
    lanes: Vec<FeedLane>,
    stop: Stop,
    thread: JoinHandle<()>,
}

/// All that makes a camera what it is: where two are equal, nothing has changed.
#[derive(PartialEq)]
struct Identity {
    camera: config::Camera,
    pipelines: PathBuf,
    timezone: TimeZone,
    /// Of the files that it names.
    stamps: Vec<Option<Stamp>>,
}

/// What a camera's thread waits for before it begins.
type Gate = Sender<(CameraThread, Box<dyn frame::Source>)>;

/// A camera that is to come, with all that could have failed.
struct Newcomer {
    identity: Identity,
    plan: CameraPlan,
    source: Box<dyn frame::Source>,
    /// Dropped, it ends the thread.
    gate: Gate,
    thread: JoinHandle<()>,
    pupils: Vec<(usize, Pupil)>,
    /// The models that its detectors have already.
    armed: Vec<(usize, Armed, Timestamp)>,
    detect: bool,
    /// What sinks were told of it last.
    told: Option<String>,
}

/// A change that cannot fail any more. Dropped, it was none.
pub struct Next {
    join: Vec<Newcomer>,
    /// For each worker.
    sessions: Vec<Vec<(usize, Box<dyn Extractor>)>>,
    order: Vec<CameraName>,
    pub outcome: Outcome,
}

/// What could not be had, and the key of the configuration that asked for it.
pub struct Failure {
    pub key: String,
    pub error: anyhow::Error,
}

impl Failure {
    fn of(key: String, error: impl Into<anyhow::Error>) -> Self {
        Self { key, error: error.into() }
    }
}

/// What becomes of the cameras, each in one of these.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    pub added: Vec<CameraName>,
    pub changed: Vec<CameraName>,
    pub removed: Vec<CameraName>,
    pub unchanged: Vec<CameraName>,
}

impl Identity {
    fn of(camera: &config::Camera, runtime: &Runtime) -> Self {
        let mut files = vec![];
        if let Source::Gst(gst) = &camera.source {
            files.push(description_file(&runtime.pipelines, &gst.pipeline));
        }
        for detector in &camera.detectors {
            if let config::Extractor::File(file) = &detector.extractor {
                files.push(file.clone());
            }
            if let Scorer::File(file) = &detector.scorer {
                files.push(file.clone());
            }
        }
        Self {
            camera: camera.clone(),
            pipelines: runtime.pipelines.clone(),
            timezone: runtime.timezone.clone(),
            stamps: files.iter().map(|file| stamp(file)).collect(),
        }
    }
}

impl Roster {
    /// Nobody yet.
    pub fn new(stages: Stages) -> Self {
        let (cameras, equipped) = Default::default();
        Self { stages, cameras, extractors: Extractors::default(), equipped, numbers: Numbers::default() }
    }

    /// Prepares that the configuration's cameras, and no others, are watched. Nothing changes.
    ///
    /// # Errors
    /// What cannot be had: a model, a pipeline, a thread, what the store remembers.
    pub fn prepare(&mut self, config: &Config) -> Result<Next, Failure> {
        let prepared = self.newcomers(config);
        if prepared.is_err() {
            self.extractors.forget_unused();
        }
        prepared
    }

    fn newcomers(&mut self, config: &Config) -> Result<Next, Failure> {
        let mut outcome = Outcome::default();
        let (mut join, mut tried) = (vec![], BTreeSet::new());
        for camera in &config.cameras {
            let identity = Identity::of(camera, &config.runtime);
            let known = self.cameras.iter().find(|known| known.plan.name == camera.name);
            match known {
                Some(known) if known.identity == identity => {
                    outcome.unchanged.push(camera.name.clone());
                    continue;
                }
                Some(_) => outcome.changed.push(camera.name.clone()),
                None => outcome.added.push(camera.name.clone()),
            }
            join.push(self.newcomer(identity, &mut tried)?);
        }
        let order: Vec<CameraName> = config.cameras.iter().map(|camera| camera.name.clone()).collect();
        let names = self.cameras.iter().map(|known| &known.plan.name);
        outcome.removed = names.filter(|name| !order.contains(name)).cloned().collect();
        let open = |_: &Sender<Equipment>| self.extractors.open(&self.equipped);
        let sessions = self.stages.workers.iter().map(open).collect::<Result<_>>();
        let sessions = sessions.map_err(|error| Failure::of(String::new(), error))?;
        Ok(Next { join, sessions, order, outcome })
    }

    fn newcomer(&mut self, identity: Identity, tried: &mut BTreeSet<PathBuf>) -> Result<Newcomer, Failure> {
        let Stages { store, clock, .. } = &self.stages;
        let camera = &identity.camera;
        let of = |what: &str| format!("camera.{}{what}", camera.name);
        let plan = CameraPlan::of(camera, &identity.timezone, &mut self.extractors, &mut self.numbers);
        let plan = plan.map_err(|error| Failure::of(of(".detector"), error))?;
        let source = frame::open_source(&camera.source, &identity.pipelines, clock.clone());
        let source = source.with_context(|| format!("camera {}", camera.name));
        let mut source = source.map_err(|error| Failure::of(of(".source"), error))?;
        if let Some(clips) = camera.clips {
            let span = clips.before + plan.announced_after() + LATE;
            source.keep_packets(PacketKeep { bytes: clips.memory, span });
        }
        let (pupils, mut armed) = (setup::pupils(&plan, store), vec![]);
        for (detector, pupil) in &pupils {
            let model = learning::on_disk(pupil, tried).map_err(|problem| {
                let what = format!("detector {} of camera {}: {problem}", pupil.detector, camera.name);
                Failure::of(of(".detector.scorer"), anyhow::Error::msg(what))
            })?;
            armed.extend(model.map(|(model, made)| (*detector, model, made)));
        }
        let (gate, opens) = bounded::<(CameraThread, Box<dyn frame::Source>)>(1);
        let thread = super::spawn(&format!("cam-{}", camera.name), move || {
            if let Ok((thread, source)) = opens.recv() {
                thread.run(source);
            }
        });
        let thread = thread.map_err(|error| Failure::of(of(""), error))?;
        let failed = |error| Failure::of("store.dir".into(), error);
        let detect = store.detect(&camera.name).map_err(failed)?.unwrap_or(camera.detect);
        let told = store.told_states().map_err(failed)?.remove(&camera.name);
        Ok(Newcomer { identity, plan, source, gate, thread, pupils, armed, detect, told })
    }

    /// Has the prepared change take place, and waits until it has. Cameras that stay notice nothing.
    pub fn commit(&mut self, next: Next) {
        let Next { join, sessions, order, outcome } = next;
        let stays = |known: &Watched| outcome.unchanged.contains(&known.plan.name);
        let (stay, leave): (Vec<_>, Vec<_>) = std::mem::take(&mut self.cameras).into_iter().partition(stays);
        self.cameras = stay;
        let gone: Vec<usize> = leave.iter().map(|camera| camera.plan.number).collect();
        if !leave.is_empty() {
            self.take_off(leave, &outcome.removed);
        }
        self.put_on(join, sessions, &gone, &order);
        let drop = self.extractors.forget_unused();
        self.equipped = self.extractors.numbers();
        for worker in self.stages.workers.iter().filter(|_| !drop.is_empty()) {
            let _ = worker.send(Equipment { bring: vec![], drop: drop.clone() });
        }
    }

    /// Disconnects cameras, has what they gave so far judged, and ends what is open of them.
    fn take_off(&self, leave: Vec<Watched>, removed: &[CameraName]) {
        let Stages { metrics, board, clips, holds, pupils, .. } = &self.stages;
        leave.iter().for_each(|camera| camera.stop.request());
        let until = Instant::now() + FAREWELL;
        let (mut change, mut plans) = (Change::default(), vec![]);
        for Watched { plan, lanes, thread, .. } in leave {
            join_until(&plan.name, thread, until);
            // What a slow machine has not come to by then is late, and finds nobody.
            if !lanes.iter().all(|lane| lane.wait_until_served(FAREWELL)) {
                tracing::warn!(camera = %plan.name, "goes before all that it sent has been looked at");
            }
            plan.detectors().iter().for_each(|detector| pupils.leave(*detector));
            change.leave.extend(plan.feeds.iter().map(|feed| feed.number));
            change.desk.leave.push(plan.number);
            plans.push(plan);
        }
        self.tell(change);
        for CameraPlan { number, name, .. } in &plans {
            clips.write().expect("nothing panics while the list is held").remove(*number);
            let picture = sight(board.with(*number, |facts| facts.standing.sight()));
            metrics.camera(name).picture(picture, None);
            metrics.forget_camera(name);
            let hold = holds.lock().expect("nothing panics while it is held").remove(*number);
            if let Some(hold) = hold.filter(|_| removed.contains(name)) {
                tell_removed(&self.stages.store, &*self.stages.clock, hold);
            }
        }
    }

    /// Puts cameras on, and takes those that are `gone` off the board in the same moment.
    fn put_on(
        &mut self,
        join: Vec<Newcomer>,
        sessions: Vec<Vec<(usize, Box<dyn Extractor>)>>,
        gone: &[usize],
        order: &[CameraName],
    ) {
        let Stages { store, metrics, board, .. } = &self.stages;
        for (worker, bring) in self.stages.workers.iter().zip(sessions) {
            // One that has ended stops the daemon anyway.
            let _ = worker.send(Equipment { bring, drop: vec![] });
        }
        let (mut change, mut entries, mut starting) = (Change::default(), vec![], vec![]);
        for newcomer in join {
            let Newcomer { identity, plan, source, gate, thread, pupils, mut armed, detect, told } = newcomer;
            for (detector, pupil) in &pupils {
                let made = armed.iter().find(|(of, ..)| of == detector).map(|(.., made)| *made);
                if let Some((model, made)) = learning::newer(pupil, made) {
                    armed.retain(|(of, ..)| of != detector);
                    armed.push((*detector, model, made));
                }
            }
            entries.push(entry(&identity, &plan, &*source, &armed, detect));
            change.join.extend(plan.feeds.iter().map(|feed| (feed.number, feed.detectors.clone())));
            change.arm.extend(armed.into_iter().map(|(detector, armed, _)| Arm { detector, armed }));
            change.desk.join.push(setup::joining(&plan, store, metrics));
            let segments = &self.stages.segments;
            let lane = |feed: &super::plan::Feed| segments.feed(feed.number, feed.extractor.number);
            let lanes = plan.feeds.iter().map(lane).collect();
            let watched = Watched { identity, plan, lanes, stop: Stop::default(), thread };
            starting.push((watched, source, gate, pupils, told));
        }
        let number = |name: &CameraName| {
            let stays = self.cameras.iter().map(|camera| &camera.plan);
            let comes = starting.iter().map(|(camera, ..)| &camera.plan);
            stays.chain(comes).find(|plan| plan.name == *name).map(|plan| plan.number)
        };
        board.change(gone, entries, order.iter().filter_map(number).collect());
        if !starting.is_empty() {
            self.tell(change);
        }
        for (watched, source, gate, pupils, told) in starting {
            self.begin(&watched, source, &gate, pupils, told);
            self.cameras.push(watched);
        }
        self.cameras.sort_by_key(|camera| order.iter().position(|name| *name == camera.plan.name));
    }

    /// Every stage knows the camera: it connects.
    fn begin(
        &self,
        watched: &Watched,
        source: Box<dyn frame::Source>,
        gate: &Gate,
        pupils: Vec<(usize, Pupil)>,
        told: Option<String>,
    ) {
        let Stages { metrics, clock, board, bus, clips, holds, .. } = &self.stages;
        let (Watched { plan, lanes, stop, .. }, camera) = (watched, &watched.identity.camera);
        for (detector, pupil) in pupils {
            let counted = metrics.detector(&plan.name, &pupil.detector);
            counted.learning(board.of(detector, |watch| watch.learning.state).into());
            self.stages.pupils.join(detector, pupil, counted, clock.monotonic());
        }
        if let Some(limits) = camera.clips {
            let (number, name, metrics) = (plan.number, plan.name.clone(), metrics.camera(&plan.name));
            let of = Arc::new(ClipCamera { number, name, limits, metrics, troubled: Default::default() });
            clips.write().expect("nothing panics while the list is held").insert(number, of);
        }
        let hold = Hold::new(plan.name.clone(), camera.hold, told);
        holds.lock().expect("nothing panics while it is held").insert(plan.number, hold);
        let thread = CameraThread {
            camera: plan.number,
            name: plan.name.clone(),
            views: plan.views.clone(),
            stall_after: camera.stall_after,
            enabled: camera.enabled,
            keeps_pace: camera.source.keeps_pace(),
            feeds: setup::cutters(plan, lanes, metrics),
            scene: setup::scene(plan, camera.scene_change),
            picture: PictureWatch::new(plan.views[0].clone()),
            media: MediaClock::default(),
            damage: DamageWatch::default(),
            unsettled: None,
            effort: None,
            low: false,
            shedding: Shedding::new(rand::random()),
            board: board.clone(),
            bus: bus.clone(),
            metrics: metrics.camera(&plan.name),
            detectors: plan.singles.iter().map(|single| single.number).collect(),
            clock: clock.clone(),
            stop: stop.clone(),
        };
        // The thread waits for nothing else.
        let _ = gate.send((thread, source));
    }

    /// Tells the stages, and waits until the last of them has heard.
    fn tell(&self, change: Change) {
        let (done, heard) = bounded(1);
        let desk = DeskChange { done: Some(done), ..change.desk };
        if self.stages.to_scoring.send(Featured::Change(Box::new(Change { desk, ..change })), &|| {}) {
            // Fails only where a stage has ended, and with it the daemon.
            let _ = heard.recv();
        }
    }

    /// Stops every camera, and waits for their threads.
    pub fn close(self) {
        self.cameras.iter().for_each(|camera| camera.stop.request());
        super::join(self.cameras.into_iter().map(|camera| camera.thread));
    }
}

/// What the board shows of a camera that comes.
fn entry(
    identity: &Identity,
    plan: &CameraPlan,
    source: &dyn frame::Source,
    armed: &[(usize, Armed, Timestamp)],
    detect: bool,
) -> Entry {
    let camera = &identity.camera;
    let watch = |detector: usize| {
        let mut watch = Watch::default();
        let model = armed.iter().find(|(of, ..)| *of == detector);
        model.into_iter().for_each(|(_, armed, made)| watch.arm(armed, *made));
        watch
    };
    let posts = setup::posts(plan).into_iter();
    Entry {
        number: plan.number,
        listed: Listed {
            name: camera.name.clone(),
            source: source.describe(),
            schedule: camera.schedule.clone().map(|schedule| (schedule, identity.timezone.clone())),
            detect,
            places: Arc::new(camera.into()),
        },
        detectors: posts.map(|(detector, post)| (detector, post, watch(detector))).collect(),
    }
}

/// Waits for a camera's thread, but not for ever: a connection that cannot be closed keeps nobody waiting.
fn join_until(name: &CameraName, thread: JoinHandle<()>, until: Instant) {
    while !thread.is_finished() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    if !thread.is_finished() {
        tracing::warn!(camera = %name, "does not disconnect in time; it is left to itself");
    } else if thread.join().is_err() {
        tracing::error!(camera = %name, "its thread had panicked");
    }
}
