//! Keeps a camera connected: stall watchdog and backoff in a pure state machine, with the IO around it.

use super::{
    Frame, FrameSpec, Next, PacketRing, PictureTap, Source, SourceError, SourceErrorKind, Stream, StreamInfo,
};
use crate::base::{Backoff, Clock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// The first wait before connecting again; it doubles with every failure in a row ...
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// ... up to this, for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// A connection that lasted this long makes the next wait a first one again.
const PROVEN: Duration = Duration::from_secs(10);
/// The first picture may take this many times `stall_after`: a decoder waits for a key frame.
const PATIENCE: u32 = 3;
/// Longest wait without looking at the stop flag.
const LOOK: Duration = Duration::from_millis(100);

/// What happens to a camera's connection, in order.
pub enum LinkEvent {
    /// An attempt begins.
    Connecting,
    /// The first frame is there; a `Frame` follows.
    Live {
        info: StreamInfo,
        pictures: Arc<dyn PictureTap>,
        /// What clips are cut from, where it is kept.
        packets: Option<Arc<PacketRing>>,
    },
    Frame(Frame),
    /// That many frames more were lost because they were not taken in time.
    Dropped(u64),
    /// The connection failed, ended or fell silent ([`SourceErrorKind::Stalled`]).
    Lost {
        error: SourceError,
    },
    /// Waits before the next attempt.
    BackingOff {
        wait: Duration,
    },
    /// A source that is not live is done: played to its end, or given up with an error.
    Finished {
        error: Option<SourceError>,
    },
}

/// What the stream said.
#[derive(Debug)]
enum Heard {
    Frame,
    Nothing,
    End,
    Error(SourceError),
}

/// What follows from it.
#[derive(Debug)]
enum Step {
    GoOn,
    /// The first frame of this connection.
    BecameLive,
    Lost {
        error: SourceError,
        wait: Duration,
    },
    Finished(Option<SourceError>),
}

/// The life of a connection, without any IO: fed with what was heard and when (monotonic time).
#[derive(Debug)]
struct Machine {
    live: bool,
    stall_after: Duration,
    backoff: Backoff,
    /// Start of this attempt, until its first frame.
    connecting: Option<Duration>,
    live_since: Duration,
    last_frame: Duration,
}

impl Machine {
    fn new(live: bool, stall_after: Duration, seed: u64) -> Self {
        Self {
            live,
            stall_after,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT, seed),
            connecting: None,
            live_since: Duration::ZERO,
            last_frame: Duration::ZERO,
        }
    }

    fn connect(&mut self, now: Duration) {
        self.connecting = Some(now);
    }

    fn heard(&mut self, what: Heard, now: Duration) -> Step {
        match what {
            Heard::Frame => {
                self.last_frame = now;
                match self.connecting.take() {
                    Some(_) => {
                        self.live_since = now;
                        Step::BecameLive
                    }
                    None => Step::GoOn,
                }
            }
            Heard::Nothing if !self.live => Step::GoOn,
            Heard::Nothing => {
                let (since, limit) = match self.connecting {
                    Some(start) => (start, self.stall_after * PATIENCE),
                    None => (self.last_frame, self.stall_after),
                };
                let silence = now.saturating_sub(since);
                if silence < limit {
                    return Step::GoOn;
                }
                self.lost(stalled(silence, self.connecting.is_some()), now)
            }
            Heard::End if !self.live => Step::Finished(None),
            Heard::Error(error) if !self.live => Step::Finished(Some(error)),
            Heard::End => self.lost(disconnected(), now),
            Heard::Error(error) => self.lost(error, now),
        }
    }

    fn lost(&mut self, error: SourceError, now: Duration) -> Step {
        if self.connecting.take().is_none() && now.saturating_sub(self.live_since) >= PROVEN {
            self.backoff.reset();
        }
        Step::Lost { error, wait: self.backoff.failed() }
    }
}

fn stalled(silence: Duration, first: bool) -> SourceError {
    let what = if first { "no picture since connecting" } else { "no picture" };
    SourceError {
        kind: SourceErrorKind::Stalled,
        message: format!("{what} for {:.1} s", silence.as_secs_f64()),
        remedy: "check the camera and the network; connecting again".into(),
    }
}

fn disconnected() -> SourceError {
    SourceError {
        kind: SourceErrorKind::Broken,
        message: "the camera ended the stream".into(),
        remedy: "connecting again".into(),
    }
}

/// Keeps one source connected for as long as it is wanted.
pub struct Link {
    views: Vec<FrameSpec>,
    stall_after: Duration,
    clock: Arc<dyn Clock>,
}

impl Link {
    /// `stall_after`: silence of a live source for this long makes it connect again.
    pub fn new(views: Vec<FrameSpec>, stall_after: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { views, stall_after, clock }
    }

    /// Hands on everything that happens until `stop` is set (noticed within 0.2 s, disconnecting aside) or a
    /// source that is not live is finished. Live sources are connected again for ever, after 0.5 to 15 s.
    pub fn run(&self, source: &mut dyn Source, stop: &AtomicBool, on: &mut dyn FnMut(LinkEvent)) {
        let mut machine = Machine::new(source.is_live(), self.stall_after, rand::random());
        while !stop.load(Relaxed) {
            on(LinkEvent::Connecting);
            machine.connect(self.clock.monotonic());
            let step = match source.open(&self.views) {
                Ok(stream) => self.listen(stream, &mut machine, stop, on),
                Err(error) => Some(machine.heard(Heard::Error(error), self.clock.monotonic())),
            };
            match step {
                Some(Step::Lost { error, wait }) => {
                    on(LinkEvent::Lost { error });
                    on(LinkEvent::BackingOff { wait });
                    self.wait(wait, stop);
                }
                Some(Step::Finished(error)) => return on(LinkEvent::Finished { error }),
                Some(Step::GoOn | Step::BecameLive) | None => return,
            }
        }
    }

    /// Follows one connection to its end, and drops it. `None`: stopped.
    fn listen(
        &self,
        mut stream: Box<dyn Stream>,
        machine: &mut Machine,
        stop: &AtomicBool,
        on: &mut dyn FnMut(LinkEvent),
    ) -> Option<Step> {
        let mut dropped = 0;
        while !stop.load(Relaxed) {
            let (heard, frame) = match stream.next(LOOK) {
                Ok(Next::Frame(frame)) => (Heard::Frame, Some(frame)),
                Ok(Next::Idle) => (Heard::Nothing, None),
                Ok(Next::End) => (Heard::End, None),
                Err(error) => (Heard::Error(error), None),
            };
            match machine.heard(heard, self.clock.monotonic()) {
                Step::GoOn => {}
                Step::BecameLive => on(LinkEvent::Live {
                    info: stream.info(),
                    pictures: stream.pictures(),
                    packets: stream.packets(),
                }),
                end => return Some(end),
            }
            let lost = stream.dropped();
            if lost > dropped {
                on(LinkEvent::Dropped(lost - dropped));
                dropped = lost;
            }
            if let Some(frame) = frame {
                on(LinkEvent::Frame(frame));
            }
        }
        None
    }

    fn wait(&self, time: Duration, stop: &AtomicBool) {
        let until = self.clock.monotonic() + time;
        loop {
            let left = until.saturating_sub(self.clock.monotonic());
            if left.is_zero() || stop.load(Relaxed) {
                return;
            }
            self.clock.sleep(left.min(LOOK));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Picture, Stamp};
    use super::*;
    use crate::base::{SimClock, Timestamp};
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    const STALL: Duration = Duration::from_secs(5);

    /// What a connection does: frames 100 ms apart, then how it ends.
    #[derive(Clone, Copy)]
    enum Life {
        Refused,
        Frames(usize),
        Silent(usize),
        Breaks(usize),
    }

    struct Script {
        lives: Vec<Life>,
        at: usize,
        live: bool,
        clock: Arc<SimClock>,
        open: Arc<AtomicUsize>,
    }

    struct Scripted {
        life: Life,
        given: usize,
        clock: Arc<SimClock>,
        open: Arc<AtomicUsize>,
    }

    struct NoPicture;

    impl PictureTap for NoPicture {
        fn latest(&self, _: u32) -> Option<Picture> {
            None
        }
        fn at(&self, _: Duration, _: u32) -> Option<Picture> {
            None
        }
    }

    fn broken() -> SourceError {
        SourceError { kind: SourceErrorKind::Broken, message: "cut".into(), remedy: "mend".into() }
    }

    impl Source for Script {
        fn open(&mut self, _: &[FrameSpec]) -> Result<Box<dyn Stream>, SourceError> {
            let life = self.lives[self.at.min(self.lives.len() - 1)];
            self.at += 1;
            if matches!(life, Life::Refused) {
                return Err(SourceError { kind: SourceErrorKind::Unreachable, ..broken() });
            }
            self.open.fetch_add(1, Relaxed);
            let (clock, open) = (Arc::clone(&self.clock), Arc::clone(&self.open));
            Ok(Box::new(Scripted { life, given: 0, clock, open }))
        }

        fn keep_packets(&mut self, _: super::super::PacketKeep) {}
        fn is_live(&self) -> bool {
            self.live
        }

        fn describe(&self) -> String {
            "script".into()
        }
    }

    impl Stream for Scripted {
        fn next(&mut self, timeout: Duration) -> Result<Next, SourceError> {
            self.clock.advance(timeout.min(Duration::from_millis(100)));
            let (Life::Frames(n) | Life::Silent(n) | Life::Breaks(n)) = self.life else {
                unreachable!("a refused connection has no stream")
            };
            if self.given < n {
                self.given += 1;
                let received = self.clock.monotonic();
                let stamp = Stamp { seq: 0, pts: received, wall: self.clock.now(), received };
                return Ok(Next::Frame(Frame { stamp, view: 0, run: 0, keys: None, pixels: [0; 4].into() }));
            }
            match self.life {
                Life::Silent(_) => Ok(Next::Idle),
                Life::Breaks(_) => Err(broken()),
                _ => Ok(Next::End),
            }
        }

        fn info(&self) -> StreamInfo {
            StreamInfo::default()
        }

        fn packets(&self) -> Option<Arc<PacketRing>> {
            None
        }
        fn pictures(&self) -> Arc<dyn PictureTap> {
            Arc::new(NoPicture)
        }

        fn dropped(&self) -> u64 {
            0
        }
    }

    impl Drop for Scripted {
        fn drop(&mut self) {
            self.open.fetch_sub(1, Relaxed);
        }
    }

    /// Runs a script until so many seconds have passed; one line an event, with its time.
    fn play(lives: &[Life], live: bool, seconds: f64) -> Vec<(f64, String)> {
        let clock = Arc::new(SimClock::new(Timestamp::UNIX_EPOCH));
        let open = Arc::new(AtomicUsize::new(0));
        let mut script =
            Script { lives: lives.to_vec(), at: 0, live, clock: Arc::clone(&clock), open: Arc::clone(&open) };
        let (stop, seen) = (AtomicBool::new(false), Mutex::new(vec![]));
        let spec = FrameSpec { width: 2, height: 2, format: super::super::PixelFormat::Gray8, fps: 10.0 };
        Link::new(vec![spec], STALL, Arc::clone(&clock) as _).run(&mut script, &stop, &mut |event| {
            let line = match event {
                LinkEvent::Connecting => "connecting".into(),
                LinkEvent::Live { .. } => "live".into(),
                LinkEvent::Frame(_) => "frame".into(),
                LinkEvent::Dropped(n) => format!("dropped {n}"),
                LinkEvent::Lost { error } => {
                    assert_eq!(open.load(Relaxed), 0, "disconnected before the loss is told");
                    format!("lost {}", error.kind)
                }
                LinkEvent::BackingOff { wait } => format!("wait {:.3}", wait.as_secs_f64()),
                LinkEvent::Finished { error } => format!("finished {:?}", error.map(|e| e.kind)),
            };
            let now = clock.monotonic().as_secs_f64();
            seen.lock().expect("one thread").push((now, line));
            stop.store(now >= seconds, Relaxed);
        });
        seen.into_inner().expect("one thread")
    }

    fn lines(events: &[(f64, String)]) -> Vec<&str> {
        events.iter().map(|(_, e)| e.as_str()).filter(|e| !e.starts_with("wait")).collect()
    }

    #[test]
    fn a_file_is_played_once_and_a_bad_one_is_given_up() {
        let good = play(&[Life::Frames(2)], false, 99.0);
        assert_eq!(lines(&good), ["connecting", "live", "frame", "frame", "finished None"]);
        let bad = play(&[Life::Refused], false, 99.0);
        assert_eq!(lines(&bad), ["connecting", "finished Some(Unreachable)"]);
    }

    #[test]
    fn a_live_camera_that_ends_or_breaks_is_connected_again() {
        let events = play(&[Life::Frames(1), Life::Breaks(1), Life::Silent(1)], true, 3.0);
        let expected = ["connecting", "live", "frame", "lost broken stream"];
        assert_eq!(lines(&events)[..8], [expected, expected].concat());
        assert_eq!(lines(&events)[8..11], ["connecting", "live", "frame"]);
    }

    #[test]
    fn silence_is_a_stall_after_the_time_given_and_longer_before_the_first_picture() {
        let events = play(&[Life::Silent(3), Life::Silent(0)], true, 20.0);
        let stalls: Vec<_> = events.iter().filter(|(_, e)| e == "lost stalled").map(|(t, _)| *t).collect();
        assert!((stalls[0] - 5.3).abs() < 0.15, "{events:?}");
        let again = events.iter().filter(|(_, e)| e == "connecting").nth(1).expect("a second attempt").0;
        assert!((stalls[1] - again - 15.0).abs() < 0.15, "{events:?}");
    }

    #[test]
    fn waits_double_to_fifteen_seconds_with_jitter_and_never_end() {
        let events = play(&[Life::Refused], true, 3600.0);
        let waits: Vec<f64> =
            events.iter().filter_map(|(_, e)| e.strip_prefix("wait ")?.parse().ok()).collect();
        assert!(waits.len() > 240, "an hour of attempts: {}", waits.len());
        for (i, wait) in waits.iter().enumerate() {
            let full = (0.5 * 2f64.powi(i.min(10) as i32)).min(15.0);
            assert!((full / 2.0 - 1e-3..=full + 1e-3).contains(wait), "wait {i}: {wait}");
        }
        assert!(waits.windows(2).any(|w| w[1] < w[0]), "there is chance in it");
    }

    #[test]
    fn only_a_connection_that_lasted_makes_the_wait_short_again() {
        let flapping = play(&[Life::Frames(3)], true, 120.0);
        let last = |events: &[(f64, String)]| {
            events
                .iter()
                .rev()
                .find_map(|(_, e)| e.strip_prefix("wait ")?.parse::<f64>().ok())
                .expect("a wait")
        };
        assert!(last(&flapping) >= 7.5, "{}", last(&flapping));
        assert!(last(&play(&[Life::Frames(150)], true, 120.0)) <= 0.5);
    }

    #[test]
    fn a_stop_ends_a_wait_and_a_silence_at_once() {
        for lives in [[Life::Refused], [Life::Silent(1)]] {
            let events = play(&lives, true, 0.0);
            assert!(events.len() <= 3, "{events:?}");
        }
    }
}
