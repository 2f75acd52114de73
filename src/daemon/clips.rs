//! The clip desk: records the packets around every event, and makes clips of them, beside the path.
//!
//! Nothing here is ever waited for. When too many events open at once, the newest get no clip, which is counted; when
//! the disk is full or nearly so, clips are given up first.

use super::board::Board;
use super::numbered::Numbered;
use super::pulse::Pulse;
use super::recording::{Cut, Recording};
use super::stop::Stop;
use crate::alert::{Change, Report};
use crate::api::Bus;
use crate::base::{CameraName, Clock, Timestamp};
use crate::config;
use crate::frame;
use crate::store::Store;
use crate::telemetry::{CameraMetrics, ClipResult};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// Events that may wait to be recorded. **When full, the newest gets no clip**, which is counted.
const WAITING: usize = 64;
/// Clips that may wait to be written; each is a file already. **When full, the newest is given up**, and counted.
const CUTS_WAITING: usize = 16;
/// Rings are emptied this often while something is recorded: well under the seconds that they hold.
const TICK: Duration = Duration::from_millis(250);
/// How often else there is a look.
const IDLE: Duration = Duration::from_secs(1);
/// When the daemon stops, clips are written for no longer than this; the others are given up, and counted.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// What the desk tells.
enum Told {
    Opened { event: String, camera: Arc<ClipCamera>, began: Duration },
    Ended { event: String, last: Duration, wall: Timestamp },
}

/// Tells the clip desk of events. Never waits.
pub struct ClipDesk {
    tell: Sender<Told>,
    cameras: ClipCameras,
}

/// The cameras that clips are made of, by their numbers. A clip in the making outlives its camera.
pub type ClipCameras = Arc<RwLock<Numbered<Arc<ClipCamera>>>>;

/// What the clip desk knows of a camera.
pub struct ClipCamera {
    pub number: usize,
    pub name: CameraName,
    pub limits: config::Clips,
    pub metrics: CameraMetrics,
    /// The last clip failed; said once.
    pub troubled: AtomicBool,
}

/// What both of its threads work with.
#[derive(Clone)]
pub struct ClipParts {
    pub cameras: ClipCameras,
    pub board: Arc<Board>,
    pub store: Arc<Store>,
    pub bus: Arc<Bus>,
    pub clock: Arc<dyn Clock>,
    pub stop: Stop,
    /// Clips are not begun with less of the disk free: what is left is for events and their pictures.
    pub min_free: u64,
}

/// The thread that records.
pub struct Recorder {
    parts: ClipParts,
    told: Receiver<Told>,
    cuts: Sender<(Arc<ClipCamera>, Cut)>,
    pulse: Pulse,
    recordings: Vec<(Arc<ClipCamera>, Recording)>,
}

/// The thread that writes clips.
pub struct Cutter {
    parts: ClipParts,
    cuts: Receiver<(Arc<ClipCamera>, Cut)>,
}

/// The clip desk's ends.
pub fn clip_desk(parts: ClipParts, pulse: Pulse) -> (ClipDesk, Recorder, Cutter) {
    let (tell, told) = bounded(WAITING);
    let (to_cutter, cuts) = bounded(CUTS_WAITING);
    let cameras = parts.cameras.clone();
    let cutter = Cutter { parts: parts.clone(), cuts };
    let recorder = Recorder { parts, told, cuts: to_cutter, pulse, recordings: vec![] };
    (ClipDesk { tell, cameras }, recorder, cutter)
}

impl ClipDesk {
    /// An event of a camera opened, went on or ended.
    pub fn hear(&self, camera: usize, report: &Report) {
        let known = self.cameras.read().expect("nothing panics while the list is held");
        let Some(of) = known.get(camera) else { return };
        let event = report.event.id.clone();
        let told = match report.change {
            Change::New => Told::Opened { event, camera: of.clone(), began: report.began },
            Change::Update => return,
            Change::End => Told::Ended { event, last: report.last, wall: report.event.last_time },
        };
        // An end that is not heard of makes the clip as long as it may be.
        if let Err(TrySendError::Full(Told::Opened { .. })) = self.tell.try_send(told) {
            of.metrics.clip(ClipResult::Dropped);
        }
    }
}

impl Recorder {
    /// Works until the desk has ended; then cuts what is there.
    pub fn run(mut self) {
        loop {
            self.pulse.beat();
            let wait = if self.recordings.is_empty() { IDLE } else { TICK };
            match self.told.recv_timeout(wait) {
                Ok(told) => {
                    self.hear(told);
                    while let Ok(told) = self.told.try_recv() {
                        self.hear(told);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.look();
        }
        for (camera, mut recording) in std::mem::take(&mut self.recordings) {
            match recording.pull() {
                Ok(()) => self.cut(camera, recording),
                Err(error) => give_up(&camera, ClipResult::Failed, &unkept(&error)),
            }
        }
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Opened { event, camera, began } => match self.begin(&event, &camera, began) {
                Ok(recording) => self.recordings.push((camera, recording)),
                Err((result, problem)) => give_up(&camera, result, &problem),
            },
            Told::Ended { event, last, wall } => {
                let now = self.parts.clock.monotonic();
                if let Some((_, recording)) = self.recordings.iter_mut().find(|(_, r)| r.event == event) {
                    recording.end(last, wall, now);
                }
            }
        }
    }

    fn begin(
        &self,
        event: &str,
        camera: &ClipCamera,
        began: Duration,
    ) -> Result<Recording, (ClipResult, String)> {
        let impossible = |problem: String| (ClipResult::Impossible, problem);
        let Some(ring) = self.parts.board.with(camera.number, |facts| facts.packets.clone()) else {
            return Err(impossible("its packets are not kept".into()));
        };
        if let Some(problem) = ring.problem() {
            return Err(impossible(problem));
        }
        let least = self.parts.min_free;
        if self.parts.store.free_bytes().is_some_and(|free| free < least) {
            let problem = format!("less than {} of the disk are free", config::format_size(least));
            return Err((ClipResult::Shed, problem));
        }
        let spool = self.parts.store.clip_spool();
        let spool = spool.map_err(|error| (ClipResult::Failed, error.to_string()))?;
        Recording::begin(event.to_owned(), began, camera.limits, ring, spool)
            .ok_or_else(|| impossible("no frame has come yet".into()))
    }

    /// Takes what has come, and cuts what is done.
    fn look(&mut self) {
        let now = self.parts.clock.monotonic();
        for camera in self.parts.cameras.read().expect("nothing panics while the list is held").values() {
            let held = |ring: &Arc<frame::PacketRing>| ring.bytes();
            let bytes = self.parts.board.with(camera.number, |facts| facts.packets.as_ref().map(held));
            camera.metrics.clip_memory(bytes.unwrap_or(0));
        }
        let mut number = 0;
        while let Some((camera, recording)) = self.recordings.get_mut(number) {
            let ring = self.parts.board.with(camera.number, |facts| facts.packets.clone());
            let followed = ring.map_or(Ok(()), |ring| recording.follow(&ring));
            let pulled = followed.and_then(|()| recording.pull());
            let done = recording.is_done(now);
            if let Err(error) = pulled {
                let (camera, _) = self.recordings.swap_remove(number);
                give_up(&camera, ClipResult::Failed, &unkept(&error));
            } else if done {
                let (camera, recording) = self.recordings.swap_remove(number);
                self.cut(camera, recording);
            } else {
                number += 1;
            }
        }
    }

    fn cut(&self, camera: Arc<ClipCamera>, recording: Recording) {
        let Some(cut) = recording.cut() else {
            let problem = "no key frame came in its time (have the camera send one every second or two)";
            return give_up(&camera, ClipResult::Impossible, problem);
        };
        camera.troubled.store(false, Ordering::Relaxed);
        if let Err(error) = self.cuts.try_send((camera, cut)) {
            error.into_inner().0.metrics.clip(ClipResult::Dropped);
        }
    }
}

fn give_up(camera: &ClipCamera, result: ClipResult, problem: &str) {
    camera.metrics.clip(result);
    if !camera.troubled.swap(true, Ordering::Relaxed) {
        tracing::warn!(camera = %camera.name, "no clips of events: {problem}");
    }
}

fn unkept(error: &std::io::Error) -> String {
    format!("packets cannot be kept: {error}")
}

impl Cutter {
    /// Works until the recorder has ended.
    pub fn run(self) {
        let mut stopping = None;
        for (camera, cut) in &self.cuts {
            let now = self.parts.clock.monotonic();
            if self.parts.stop.requested() && now.saturating_sub(*stopping.get_or_insert(now)) > LAST_WORDS {
                camera.metrics.clip(ClipResult::Dropped);
                continue;
            }
            let written = self.write(&cut);
            camera.metrics.clip(if written.is_ok() { ClipResult::Written } else { ClipResult::Failed });
            if let Err(problem) = written {
                tracing::warn!(camera = %camera.name, event = %cut.event, "no clip: {problem}");
            }
        }
    }

    fn write(&self, cut: &Cut) -> Result<(), String> {
        let store = &self.parts.store;
        let files = store.clip_files(&cut.event).map_err(|e| e.to_string())?;
        frame::mux(&cut.format, &cut.samples, |number| cut.read(number), files.part(), files.scratch())?;
        if let Some((trouble, _)) = store.health().trouble {
            // Alerts are told in their order: none is to wait for a clip that cannot be kept.
            return Err(trouble);
        }
        let _in_order = store.in_order();
        match store.put_clip(files, cut.clip.clone()).map_err(|e| e.to_string())? {
            Some(event) => {
                self.parts.bus.alert(Change::Update, &event);
            }
            None => tracing::debug!(event = %cut.event, "the event went before its clip was there"),
        }
        Ok(())
    }
}
