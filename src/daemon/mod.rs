//! What puts the rooms together: lanes, workers, supervision, start and stop.
//!
//! ```text
//! camera threads --segments--> extractor workers --features--> scoring --scores--> desk -> store, bus
//!   one a camera   drop oldest   one a core           wait      one         wait    one
//! ```
//!
//! Segments and features belong to a *feed* (a camera, an extractor, a stride), scores to a *detector*; `plan` says
//! which detectors share a feed.
//!
//! ```text
//! ```

mod board;
mod camera;
mod clips;
mod decide;
mod drawing;
mod extract;
mod fusing;
mod keeper;
mod labels;
mod lane;
mod learning;
mod life;
mod plan;
mod pulse;
mod recording;
mod sameness;
mod scoring;
mod setup;
mod standing;
mod stop;
mod telling;
mod trial;
mod why;

pub use stop::Stop;
pub use trial::{try_model, try_model_within};

use crate::access::Access;
use crate::alert::Change;
use crate::api::Cameras as _;
use crate::base::{Clock, SystemClock};
use crate::config::{self, Config};
use crate::frame::PacketKeep;
use crate::segment::{MediaClock, PictureWatch};
use crate::sink::Posts;
use crate::store::{Limits, Store};
use crate::telemetry::{Metrics, Queue};
use crate::{api, frame, sink};
use anyhow::{Context, Result};
use board::{Board, Listed};
use crossbeam_channel::bounded;
use plan::Plan;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Room in the lanes between the stages. A few segments a camera: more would only hide that the machine is
/// too slow.
const LANE: usize = 64;
/// Compressed video reaches back so much further than a clip wants before an event: when one is announced, its first
/// segments have gone by.
const CATCH_UP: Duration = Duration::from_secs(30);
/// A clean stop takes no longer than this.
const DRAIN: Duration = Duration::from_secs(10);
/// How learning gets on is logged this often.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// Time between the event stream's signs of life.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// A client that does not read its event stream for this long is cut off.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the daemon until `stop`; `started` hears the address once everything is up.
///
/// # Errors
/// When it cannot start: no ONNX Runtime, a bad model file, no store, no address.
pub fn run(config: &Config, stop: &Stop, started: impl FnOnce(std::net::SocketAddr)) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let metrics = Arc::new(Metrics::new());
    let store = Arc::new(Store::open(&config.store.dir, clock.clone())?);
    let over = |event: &crate::alert::Event| api::announce_event(Change::End, event);
    for event in store.close_open_events(over)? {
        tracing::info!(camera = %event.camera, event = %event.id, "closed an event that the last run left open");
    }
    let plan = Plan::of(config)?;
    let (ask, asked) = bounded(plan.detectors() * 2 + 1);
    let mut sources = vec![];
    for camera in &config.cameras {
        let source = frame::open_source(&camera.source, &config.runtime.pipelines, clock.clone());
        let mut source = source.with_context(|| format!("camera {}", camera.name))?;
        if let Some(clips) = camera.clips {
            source.keep_packets(PacketKeep { bytes: clips.memory, span: clips.before + CATCH_UP });
        }
        sources.push(source);
    }
    let mut listed = vec![];
    for (camera, source) in config.cameras.iter().zip(&sources) {
        listed.push(Listed {
            name: camera.name.clone(),
            source: source.describe(),
            schedule: camera.schedule.clone().map(|schedule| (schedule, config.runtime.timezone.clone())),
            detect: store.detect(&camera.name)?.unwrap_or(camera.detect),
            places: Arc::new(camera.into()),
        });
    }
    let board = Board::new(listed, setup::posts(&plan), clock.clone(), ask.clone());
    let board = Arc::new(board);
    let bus = Arc::new(api::Bus::new(clock.clone()));
    let pulses = pulse::Pulses::new(clock.clone());

    let posts = Arc::new(Posts::start(
        &config.sinks,
        &sink::Parts {
            store: store.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            cameras: board.clone(),
        },
    )?);
    // Downstream first, so that no stage ever speaks to nobody.
    let (to_desk, at_desk) = lane::lane(Queue::Scores, LANE, &metrics);
    let (to_scoring, at_scoring) = lane::lane(Queue::Features, LANE, &metrics);
    let (to_arms, arms) = bounded(plan.detectors() * 2 + 1);
    let segments = Arc::new(lane::SegmentLane::new(plan.feeds.len()));
    let sources_done = Arc::new(AtomicBool::new(false));

    let memories = setup::memories(&plan, &store)?;
    let supervisor = learning::Supervisor {
        pupils: setup::pupils(&plan, &store),
        asked,
        arms: to_arms,
        board: board.clone(),
        clock: clock.clone(),
        metrics: metrics.clone(),
        pulse: pulses.stage("learning"),
        stop: stop.clone(),
        library: config.runtime.onnxruntime.clone(),
    };
    supervisor.arm_at_start()?;
    let keeper_told = Arc::new(keeper::KeeperTold::default());
    let keeper = keeper::Keeper {
        store: store.clone(),
        bus: bus.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
        limits: Limits {
            keep: config.store.keep,
            keep_reviewed: config.store.keep_reviewed,
            max_size: config.store.max_size,
            min_free: config.store.min_free,
        },
        pulse: pulses.stage("keeper"),
        told: keeper_told.clone(),
    };
    let keeper = spawn("keeper", move || keeper.run())?;
    let clip_cameras = config.cameras.iter().map(|camera| clips::ClipCamera {
        name: camera.name.clone(),
        limits: camera.clips,
        metrics: metrics.camera(&camera.name),
    });
    let clip_parts = clips::ClipParts {
        cameras: Arc::new(clip_cameras.collect()),
        board: board.clone(),
        store: store.clone(),
        bus: bus.clone(),
        clock: clock.clone(),
        stop: stop.clone(),
        min_free: config.store.min_free,
    };
    let (clip_desk, recorder, cutter) = clips::clip_desk(clip_parts, pulses.stage("clips"));
    let clip_threads = [spawn("clips", move || recorder.run())?, spawn("clip-files", move || cutter.run())?];
    let desk = decide::Desk {
        clips: clip_desk,
        seats: setup::seats(&plan, &memories, &store, &metrics),
        memories,
        fusings: setup::fusings(&plan),
        store: store.clone(),
        bus: bus.clone(),
        board: board.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
        learn: ask,
        keeper: keeper_told.clone(),
        timeline: vec![],
        drawings: Default::default(),
        wall: Default::default(),
        pulse: pulses.stage("desk"),
    };
    let desk = spawn("desk", move || desk.run(&at_desk))?;
    let scoring = {
        let (metrics, pulse) = (metrics.clone(), pulses.stage("scoring"));
        let feeds: Vec<Vec<usize>> = plan.feeds.iter().map(|feed| feed.detectors.clone()).collect();
        spawn("scoring", move || scoring::work(&at_scoring, &arms, &feeds, &to_desk, &metrics, &pulse))?
    };
    let mut workers = vec![];
    for number in 0..config.runtime.workers {
        let (lane, next, metrics) = (segments.clone(), to_scoring.clone(), metrics.clone());
        let pulse = pulses.stage(format!("extract-{number}"));
        let done = sources_done.clone();
        let (mut sessions, which) = (plan.open()?, plan.which());
        workers.push(spawn(&format!("extract-{number}"), move || {
            let finished = || done.load(Ordering::Relaxed);
            extract::work(&lane, &mut sessions, &which, &next, &metrics, &pulse, &finished);
        })?);
    }
    drop(to_scoring);
    let learner = spawn("learning", move || supervisor.run())?;
    let server = api::serve(
        &config.http,
        api::Parts {
            access: Arc::new(Access::new(&config.users, clock.clone())),
            cameras: board.clone(),
            sinks: posts.clone(),
            store: store.clone(),
            bus: bus.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            config: config.redacted(),
            config_dir: config.dir.clone(),
            heartbeat: HEARTBEAT,
            patience: PATIENCE,
        },
    )?;
    let mut cameras = vec![];
    for (index, (camera, source)) in config.cameras.iter().zip(sources).enumerate() {
        let thread = camera::CameraThread {
            camera: index,
            name: camera.name.clone(),
            views: plan.views[index].clone(),
            stall_after: camera.stall_after,
            enabled: camera.enabled,
            keeps_pace: camera.source.keeps_pace(),
            feeds: setup::cutters(&plan, index, &metrics),
            scene: setup::scene(&plan, index, camera.scene_change),
            picture: PictureWatch::new(plan.views[index][0].clone()),
            media: MediaClock::default(),
            unsettled: None,
            lane: segments.clone(),
            board: board.clone(),
            bus: bus.clone(),
            metrics: metrics.camera(&camera.name),
            detectors: setup::detectors_of(&plan, index),
            clock: clock.clone(),
            stop: stop.clone(),
        };
        cameras.push(spawn(&format!("cam-{}", camera.name), move || thread.run(source))?);
    }
    let mut told = store.told_states()?;
    let holds = (config.cameras.iter())
        .map(|camera| telling::Hold::new(camera.name.clone(), camera.hold, told.remove(&camera.name)));
    let telling = telling::Telling {
        board: board.clone(),
        store: store.clone(),
        posts: posts.clone(),
        clock: clock.clone(),
        stop: stop.clone(),
        holds: holds.collect(),
    };
    let telling = spawn("telling", move || telling.run())?;
    board.set_ready();
    notify(&[sd_notify::NotifyState::Ready]);
    started(server.addr);
    watch(&pulses, &board, &*clock, stop);

    // Sources first; then each stage ends when the one before it has ended and its lane is empty.
    tracing::info!("stopping");
    notify(&[sd_notify::NotifyState::Stopping]);
    let last_exit = deadline();
    join(cameras);
    sources_done.store(true, Ordering::Relaxed);
    join(workers);
    join([scoring, desk, learner, telling]);
    // The desk ended what was open: its clips are cut where they are.
    join(clip_threads);
    keeper_told.over.store(true, Ordering::Relaxed);
    join([keeper]);
    posts.stop();
    drop(server);
    drop(last_exit);
    tracing::info!("stopped");
    Ok(())
}

/// Feeds the service manager's watchdog while every stage beats, and logs how the learning gets on, until
/// the stop.
fn watch(pulses: &pulse::Pulses, board: &Board, clock: &dyn Clock, stop: &Stop) {
    let (mut told, mut reported): (Vec<String>, Duration) = (vec![], Duration::ZERO);
    while !stop.requested() {
        std::thread::sleep(Duration::from_millis(200));
        let stuck = pulses.stuck();
        if stuck.is_empty() {
            notify(&[sd_notify::NotifyState::Watchdog]);
        } else if stuck != told {
            tracing::error!("stuck: {}; the watchdog is not fed", stuck.join(", "));
        }
        told = stuck;
        if clock.monotonic().saturating_sub(reported) >= REPORT_EVERY {
            reported = clock.monotonic();
            for camera in board.list() {
                for detector in camera.detectors.iter().filter(|d| &*d.name != config::FUSED) {
                    let learning = &detector.learning;
                    if learning.state != api::LearningState::Armed {
                        let percent = learning.progress * 100.0;
                        tracing::info!(
                            camera = %camera.name, detector = %detector.name,
                            "learning, {percent:.0} %: {}", learning.step
                        );
                    }
                }
            }
        }
    }
}

/// Tells the service manager, where there is one.
fn notify(states: &[sd_notify::NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("the service manager cannot be told: {error}");
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.chars().take(15).collect());
    thread.spawn(work).with_context(|| format!("cannot start the thread {name}"))
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a stage had panicked; what it held is lost");
        }
    }
}

/// Ends the process when the clean stop takes too long; dropping the answer calls it off.
fn deadline() -> crossbeam_channel::Sender<()> {
    let (called_off, off) = bounded::<()>(0);
    std::thread::spawn(move || {
        if off.recv_timeout(DRAIN) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
            tracing::error!("a stage does not stop within {} s; ending the process", DRAIN.as_secs());
            std::process::exit(1);
        }
    });
    called_off
}
