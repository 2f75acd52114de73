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
mod change;
mod clips;
mod decide;
mod drawing;
mod extract;
mod facts;
mod fusing;
mod joining;
mod keeper;
mod labels;
mod lane;
mod learning;
mod life;
mod numbered;
mod plan;
mod pulse;
mod recording;
mod reload;
mod roster;
mod sameness;
mod scoring;
mod setup;
mod shedding;
mod standing;
mod stop;
mod telling;
mod trial;
mod why;

pub use reload::{Again, Load};
pub use stop::Stop;
pub use trial::{try_model, try_model_within};

use crate::access::Access;
use crate::alert::Change;
use crate::api::Cameras as _;
use crate::base::{Clock, SystemClock};
use crate::config::{self, Config};
use crate::sink::Posts;
use crate::store::{Limits, Store};
use crate::telemetry::{Metrics, Queue};
use crate::{api, infer, sink};
use anyhow::{Context, Result};
use board::Board;
use crossbeam_channel::{bounded, unbounded};
use reload::Reloader;
use roster::{Roster, Stages};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Room in the lanes between the stages. A few segments a camera: more would only hide that the machine is
/// too slow.
const LANE: usize = 64;
/// Detectors that may wait to be learned: more than there are.
const ASKED: usize = 4096;
/// A clean stop takes no longer than this.
const DRAIN: Duration = Duration::from_secs(10);
/// How learning gets on is logged this often.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// Time between the event stream's signs of life.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// A client that does not read its event stream for this long is cut off.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the outside may ask of a daemon that runs.
pub struct Asked {
    pub stop: Stop,
    /// The configuration is to be read again ...
    pub again: Again,
    /// ... from where it is.
    pub load: Load,
}

/// Runs the daemon until it is asked to stop; `started` hears the address once everything is up.
///
/// # Errors
/// When it cannot start: no ONNX Runtime, a bad model file, no store, no address.
pub fn run(config: &Config, ways: Asked, started: impl FnOnce(std::net::SocketAddr)) -> Result<()> {
    let Asked { stop, again, load } = ways;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let metrics = Arc::new(Metrics::new());
    let store = Arc::new(Store::open(&config.store.dir, clock.clone())?);
    let over = |event: &crate::alert::Event| api::announce_event(Change::End, event);
    for event in store.close_open_events(over)? {
        tracing::info!(camera = %event.camera, event = %event.id, "closed an event that the last run left open");
    }
    infer::init(&config.runtime.onnxruntime)?;
    let (ask, asked) = bounded(ASKED);
    let board = Arc::new(Board::new(clock.clone(), ask.clone()));
    let bus = Arc::new(api::Bus::new(clock.clone()));
    let pulses = pulse::Pulses::new(clock.clone());

    // Downstream first, so that no stage ever speaks to nobody.
    let (to_desk, at_desk) = lane::lane(Queue::Scores, LANE, &metrics);
    let (to_scoring, at_scoring) = lane::lane(Queue::Features, LANE, &metrics);
    let (to_arms, arms) = bounded(ASKED);
    let segments = Arc::new(lane::SegmentLane::default());
    let sources_done = Arc::new(AtomicBool::new(false));
    let keeper_told = Arc::new(keeper::KeeperTold::new(limits(&config.store)));
    let keeper = keeper::Keeper {
        store: store.clone(),
        bus: bus.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
        pulse: pulses.stage("keeper"),
        told: keeper_told.clone(),
    };
    let keeper = spawn("keeper", move || keeper.run())?;
    let (pupils, clips, holds) =
        <(Arc<learning::Pupils>, clips::ClipCameras, Arc<telling::Holds>)>::default();
    let (equip, equipment): (Vec<_>, Vec<_>) = (0..config.runtime.workers).map(|_| unbounded()).unzip();
    let mut roster = Roster::new(Stages {
        store: store.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
        board: board.clone(),
        bus: bus.clone(),
        segments: segments.clone(),
        workers: equip,
        to_scoring: to_scoring.clone(),
        pupils: pupils.clone(),
        clips: clips.clone(),
        holds: holds.clone(),
    });
    let first = roster.prepare(config).map_err(|failure| failure.error)?;

    let clip_parts = clips::ClipParts {
        cameras: clips,
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
        seats: Default::default(),
        memories: Default::default(),
        fusings: vec![],
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
        spawn("scoring", move || scoring::work(&at_scoring, &arms, &to_desk, &metrics, &pulse))?
    };
    let mut workers = vec![];
    for (number, equipment) in equipment.into_iter().enumerate() {
        let (lane, next, metrics) = (segments.clone(), to_scoring.clone(), metrics.clone());
        let pulse = pulses.stage(format!("extract-{number}"));
        let done = sources_done.clone();
        workers.push(spawn(&format!("extract-{number}"), move || {
            let finished = || done.load(Ordering::Relaxed);
            extract::work(&lane, &equipment, &next, &metrics, &pulse, &finished);
        })?);
    }
    drop(to_scoring);
    let supervisor = learning::Supervisor {
        pupils,
        asked,
        arms: to_arms,
        board: board.clone(),
        clock: clock.clone(),
        pulse: pulses.stage("learning"),
        stop: stop.clone(),
        library: config.runtime.onnxruntime.clone(),
    };
    let learner = spawn("learning", move || supervisor.run())?;
    // Sinks that begin see every camera.
    roster.commit(first);
    let posts = Arc::new(Posts::start(
        &config.sinks,
        &sink::Parts {
            store: store.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            cameras: board.clone(),
        },
    )?);
    let access = Arc::new(Access::new(&config.users, clock.clone()));
    let changes = reload::Parts {
        access: access.clone(),
        posts: posts.clone(),
        keeper: keeper_told.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
    };
    let reloader = Arc::new(Reloader::new(load, roster, config, changes));
    let server = api::serve(
        &config.http,
        api::Parts {
            access,
            cameras: board.clone(),
            sinks: posts.clone(),
            store: store.clone(),
            bus: bus.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            configuration: reloader.clone(),
            config_dir: config.dir.clone(),
            heartbeat: HEARTBEAT,
            patience: PATIENCE,
        },
    );
    let server = match server {
        Ok(server) => server,
        Err(error) => {
            // Cameras that have been connected are left properly.
            reloader.close();
            return Err(error.into());
        }
    };
    let telling = telling::Telling {
        board: board.clone(),
        store: store.clone(),
        posts: posts.clone(),
        clock: clock.clone(),
        stop: stop.clone(),
        holds,
    };
    let telling = spawn("telling", move || telling.run())?;
    let reload = {
        let (reloader, stop) = (reloader.clone(), stop.clone());
        spawn("reload", move || reloader.run(&again, &stop))?
    };
    board.set_ready();
    notify(&[sd_notify::NotifyState::Ready]);
    started(server.addr);
    watch(&pulses, &board, &*clock, &stop);

    // Sources first; then each stage ends when the one before it has ended and its lane is empty.
    tracing::info!("stopping");
    notify(&[sd_notify::NotifyState::Stopping]);
    let last_exit = deadline();
    reloader.close();
    sources_done.store(true, Ordering::Relaxed);
    join(workers);
    join([scoring, desk, learner, telling, reload]);
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

/// What the store is to keep.
fn limits(store: &config::Store) -> Limits {
    Limits {
        keep: store.keep,
        keep_reviewed: store.keep_reviewed,
        max_size: store.max_size,
        min_free: store.min_free,
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
