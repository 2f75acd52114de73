//! The daemon's end of a decoding process: its messages as a stream of frames.

use super::Counters;
use super::wire::{Ask, Say, State, read, write};
use crate::base::{Clock, Timestamp};
use crate::frame::bell::{Bell, LOOK};
use crate::frame::{
    Effort, Format, Frame, FrameSpec, Next, PacketKeep, PacketRing, Picture, PictureTap, SourceError,
    SourceErrorKind, Stamp, Stream, StreamInfo,
};
use crossbeam_channel::{Receiver, Sender, TrySendError};
use std::collections::BTreeMap;
use std::io::BufReader;
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Frames of each view that may wait here; when there are more the oldest goes, which is counted and breaks the run.
const LANE: usize = 8;
/// A process that says nothing for so long has hung, and is not asked to say goodbye.
const SILENT: Duration = Duration::from_secs(1);
/// It has so long to say goodbye to the camera, before it is killed.
const GOODBYE: Duration = Duration::from_millis(3500);
/// How long somebody waits for a picture, and how many may.
const PICTURE: Duration = Duration::from_secs(2);
const ASKING: usize = 16;

struct Arrival {
    view: usize,
    seq: u64,
    run: u64,
    pts: Duration,
    wall: Timestamp,
    received: Duration,
    keys: Option<u64>,
    damaged: bool,
    pixels: Arc<[u8]>,
}

/// What the thread that reads finds out.
struct Heard {
    views: Vec<FrameSpec>,
    state: Mutex<State>,
    zero: Arc<OnceLock<Duration>>,
    packets: Option<Arc<PacketRing>>,
    dropped: AtomicU64,
    effort: Arc<Effort>,
    /// When the newest message came.
    last: Mutex<Instant>,
    end: Mutex<Option<Option<SourceError>>>,
    waiting: Mutex<BTreeMap<u64, Sender<Option<Picture>>>>,
    /// Rung for every frame, and at the end.
    bell: Bell,
    clock: Arc<dyn Clock>,
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The process, followed.
pub(super) struct IsolatedStream {
    child: Child,
    asks: Arc<Asks>,
    lane: Receiver<Arrival>,
    heard: Arc<Heard>,
    counters: Arc<Counters>,
    /// What the daemon's own counts were when the stream began.
    first: (u64, u64),
    /// The process's own run, its newest frame, and the daemon's run, for each view.
    runs: Vec<Option<(u64, u64, u64)>>,
    low: bool,
}

/// What the process is asked; closed when nothing will be.
struct Asks {
    to: Mutex<Option<ChildStdin>>,
    numbers: AtomicU64,
}

impl Asks {
    /// Asks it; whether it could be asked.
    fn ask(&self, ask: &Ask) -> bool {
        hold(&self.to).as_mut().is_some_and(|to| write(to, ask, &[]).is_ok())
    }
}

impl IsolatedStream {
    /// Has the process open its camera. That it cannot is what [`Stream::next`] says.
    pub(super) fn follow(
        mut child: Child,
        open: &Ask,
        views: &[FrameSpec],
        keep: Option<PacketKeep>,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
    ) -> Self {
        let asks = Arc::new(Asks { to: Mutex::new(child.stdin.take()), numbers: AtomicU64::new(0) });
        // Where it has gone already, reading finds that out.
        asks.ask(open);
        let zero = Arc::new(OnceLock::new());
        let heard = Arc::new(Heard {
            views: views.to_vec(),
            state: Mutex::default(),
            packets: keep.map(|keep| Arc::new(PacketRing::new(keep, zero.clone()))),
            zero,
            dropped: AtomicU64::new(0),
            effort: Arc::default(),
            last: Mutex::new(Instant::now()),
            end: Mutex::default(),
            waiting: Mutex::default(),
            bell: Bell::default(),
            clock,
        });
        let (send, lane) = crossbeam_channel::bounded(LANE * views.len().max(1));
        if let Some(from) = child.stdout.take() {
            let (heard, oldest) = (heard.clone(), lane.clone());
            std::thread::spawn(move || {
                heard.listen(from, &send, &oldest);
                drop(send);
                heard.bell.ring();
            });
        }
        let first = (counters.seq.load(Relaxed), counters.keys.load(Relaxed));
        Self { child, asks, lane, heard, counters, first, runs: vec![None; views.len()], low: false }
    }

    fn frame(&mut self, arrival: Arrival) -> Frame {
        let Arrival { view, seq, run, pts, wall, received, keys, damaged, pixels } = arrival;
        let follows = |(its, newest, _): (u64, u64, u64)| its == run && seq == newest + 1;
        let ours = match self.runs[view].filter(|known| follows(*known)) {
            Some((_, _, ours)) => ours,
            None => self.counters.run.fetch_add(1, Relaxed),
        };
        self.runs[view] = Some((run, seq, ours));
        let (first, keys_before) = self.first;
        let seq = first + seq;
        self.counters.seq.fetch_max(seq + 1, Relaxed);
        let keys = keys.map(|keys| keys_before + keys);
        self.counters.keys.fetch_max(keys.unwrap_or(0), Relaxed);
        Frame { stamp: Stamp { seq, pts, wall, received }, view, run: ours, keys, damaged, pixels }
    }
}

impl Heard {
    /// Takes every message until the process has no more.
    fn listen(&self, from: ChildStdout, send: &Sender<Arrival>, oldest: &Receiver<Arrival>) {
        let (mut from, mut format) = (BufReader::with_capacity(1 << 16, from), None);
        let problem = loop {
            match read::<Say>(&mut from) {
                Ok(Some((say, body))) => {
                    *hold(&self.last) = Instant::now();
                    if let Err(problem) = self.take(say, body, &mut format, send, oldest) {
                        break problem;
                    }
                }
                Ok(None) => break "ended by itself".to_owned(),
                Err(error) => break format!("said what nobody understands: {error}"),
            }
        };
        hold(&self.end).get_or_insert_with(|| {
            Some(SourceError {
                kind: SourceErrorKind::Broken,
                message: format!("the process that decodes it {problem}"),
                remedy:
                    "it is started again; where that goes on, update GStreamer's plugins, and see what the \
                         camera sends (`sigmawatch check --probe`)"
                        .into(),
            })
        });
        hold(&self.waiting).clear();
    }

    fn take(
        &self,
        say: Say,
        body: Vec<u8>,
        format: &mut Option<Arc<Format>>,
        send: &Sender<Arrival>,
        oldest: &Receiver<Arrival>,
    ) -> Result<(), String> {
        // Clocks are this process's own: one that was set meanwhile does not matter.
        let before = |age: Duration| self.clock.now().checked_sub(age).unwrap_or_else(|_| self.clock.now());
        match say {
            Say::Frame { view, seq, pts, age, run, keys, damaged } => {
                let spec = self.views.get(view).ok_or("gave a frame that nobody asked for")?;
                if body.len() != spec.frame_bytes() {
                    return Err(format!("gave a frame of {} bytes", body.len()));
                }
                let (wall, received) = (before(age), self.clock.monotonic().saturating_sub(age));
                self.put(
                    Arrival { view, seq, run, pts, wall, received, keys, damaged, pixels: body.into() },
                    send,
                    oldest,
                );
            }
            Say::Packet { pts, age, key, format: new } => {
                if let Some(new) = new {
                    *format = Some(Arc::new(new));
                }
                if let (Some(ring), Some(format)) = (&self.packets, &*format) {
                    ring.push(pts, before(age), key, &body, format);
                }
            }
            Say::Picture { number, width, height, age } => {
                let whole = u64::from(width) * u64::from(height) * 3 == body.len() as u64 && !body.is_empty();
                let picture = whole.then(|| Picture { width, height, rgb: body, wall: before(age) });
                if let Some(asked) = hold(&self.waiting).remove(&number) {
                    // Whoever asked may have stopped waiting.
                    let _ = asked.send(picture);
                }
            }
            Say::State(state) => {
                if let Some(zero) = state.zero {
                    self.zero.get_or_init(|| zero);
                }
                self.effort.packets_are(state.packets);
                if let (Some(ring), Some(problem)) = (&self.packets, &state.problem) {
                    ring.set_problem(problem.clone());
                }
                *hold(&self.state) = state;
            }
            Say::End { error } => {
                hold(&self.end).get_or_insert(error);
            }
        }
        Ok(())
    }

    /// Puts it into the lane; drops the oldest when that is full.
    fn put(&self, mut arrival: Arrival, send: &Sender<Arrival>, oldest: &Receiver<Arrival>) {
        while let Err(TrySendError::Full(back)) = send.try_send(arrival) {
            if oldest.try_recv().is_ok() {
                self.dropped.fetch_add(1, Relaxed);
            }
            arrival = back;
        }
        self.bell.ring();
    }
}

impl Stream for IsolatedStream {
    fn next(&mut self, timeout: Duration) -> Result<Next, SourceError> {
        let until = Instant::now() + timeout;
        let low = self.heard.effort.is_low();
        if low != self.low {
            self.low = low;
            self.asks.ask(&Ask::Effort { low });
        }
        loop {
            // What came before the end comes before it here.
            let end = hold(&self.heard.end).clone();
            let left = until.saturating_duration_since(Instant::now());
            let time = if end.is_some() { Duration::ZERO } else { left.min(LOOK) };
            if let Some(arrival) = self.heard.bell.wait(&self.lane, time) {
                return Ok(Next::Frame(self.frame(arrival)));
            }
            if let Some(end) = end {
                return end.map_or(Ok(Next::End), Err);
            }
            if left <= LOOK {
                return Ok(Next::Idle);
            }
        }
    }

    fn info(&self) -> StreamInfo {
        hold(&self.heard.state).info.clone()
    }

    fn pictures(&self) -> Arc<dyn PictureTap> {
        Arc::new(Asked { asks: self.asks.clone(), heard: self.heard.clone() })
    }

    fn packets(&self) -> Option<Arc<PacketRing>> {
        self.heard.packets.clone()
    }

    fn dropped(&self) -> u64 {
        self.heard.dropped.load(Relaxed) + hold(&self.heard.state).dropped
    }

    fn effort(&self) -> Option<Arc<Effort>> {
        Some(self.heard.effort.clone())
    }

    fn tells_time(&self) -> Option<bool> {
        hold(&self.heard.state).tells_time
    }
}

/// Pictures that the process has.
struct Asked {
    asks: Arc<Asks>,
    heard: Arc<Heard>,
}

impl Asked {
    fn picture(&self, max_width: u32, at: Option<Duration>) -> Option<Picture> {
        let number = self.asks.numbers.fetch_add(1, Relaxed);
        let (send, answer) = crossbeam_channel::bounded(1);
        {
            let mut waiting = hold(&self.heard.waiting);
            // More would only fill the pipe of a process that has hung.
            if waiting.len() >= ASKING || hold(&self.heard.end).is_some() {
                return None;
            }
            waiting.insert(number, send);
        }
        let asked = self.asks.ask(&Ask::Picture { number, max_width, at });
        let picture = asked.then(|| answer.recv_timeout(PICTURE).ok().flatten()).flatten();
        hold(&self.heard.waiting).remove(&number);
        picture
    }
}

impl PictureTap for Asked {
    fn latest(&self, max_width: u32) -> Option<Picture> {
        self.picture(max_width, None)
    }

    fn at(&self, pts: Duration, max_width: u32) -> Option<Picture> {
        self.picture(max_width, Some(pts))
    }
}

impl Drop for IsolatedStream {
    fn drop(&mut self) {
        // Its end is what it is asked for by that.
        hold(&self.asks.to).take();
        let began = Instant::now();
        let patience = match hold(&self.heard.last).elapsed() < SILENT {
            true => GOODBYE,
            false => Duration::ZERO,
        };
        loop {
            match self.child.try_wait() {
                Ok(Some(_)) => return,
                Ok(None) if began.elapsed() < patience => std::thread::sleep(Duration::from_millis(5)),
                _ => break,
            }
        }
        // Harmless where it has ended just now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
