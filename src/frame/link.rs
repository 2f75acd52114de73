//! Keeps a camera connected: the IO around the state machine of its life.

use super::life::{Input, LinkState, Machine};
use super::turns::Turns;
use super::{
    Effort, Frame, FrameSpec, Next, PacketRing, PictureTap, Source, SourceError, Stream, StreamInfo,
};
use crate::base::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Longest wait without looking at the stop flag.
const LOOK: Duration = Duration::from_millis(150);
/// Whoever waits for its turn looks this often whether it has come.
const LOOK_AT_TURN: Duration = Duration::from_millis(20);
/// While it backs off, a camera that did not answer is asked this often whether it does; half of it is chance.
const KNOCK: Duration = Duration::from_millis(800);

/// What happens to a camera's connection, in order.
pub enum LinkEvent {
    /// An attempt begins.
    Connecting,
    /// The first frame is there, or the first one of another size or codec; a `Frame` follows.
    Live {
        info: StreamInfo,
        pictures: Arc<dyn PictureTap>,
        /// What clips are cut from, where it is kept.
        packets: Option<Arc<PacketRing>>,
        /// `None` where nothing is decoded.
        effort: Option<Arc<Effort>>,
    },
    Frame(Frame),
    /// That many frames more were lost because they were not taken in time.
    Dropped(u64),
    /// The connection failed, ended or fell silent ([`super::SourceErrorKind::Stalled`]). It is taken down next.
    Lost {
        error: SourceError,
    },
    /// The connection is down; waits before the next attempt.
    BackingOff {
        wait: Duration,
    },
    /// It is not to be watched.
    Disabled,
    /// A source that is not live is done: played to its end, or given up with an error.
    Finished {
        error: Option<SourceError>,
    },
}

/// Keeps one source connected for as long as it is wanted.
pub struct Link {
    views: Vec<FrameSpec>,
    stall_after: Duration,
    clock: Arc<dyn Clock>,
    turns: Arc<Turns>,
    enabled: bool,
}

impl Link {
    /// `stall_after`: silence of a live source for this long makes it connect again.
    pub fn new(views: Vec<FrameSpec>, stall_after: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { views, stall_after, clock, turns: Arc::new(Turns::new(1)), enabled: true }
    }

    /// Connects only when it has its turn among these.
    pub fn sharing(self, turns: Arc<Turns>) -> Self {
        Self { turns, ..self }
    }

    /// Not enabled: says so, and connects to nothing.
    pub fn enabled(self, enabled: bool) -> Self {
        Self { enabled, ..self }
    }

    /// Hands on everything that happens until `stop` is set (noticed within a second, disconnecting aside) or a source
    /// that is not live is finished. Live sources are connected again for ever, after 0.5 to 15 s, or as soon as they
    /// answer again.
    pub fn run(&self, source: &mut dyn Source, stop: &AtomicBool, on: &mut dyn FnMut(LinkEvent)) {
        let seed = rand::random();
        let mut machine = Machine::new(self.enabled, source.is_live(), self.stall_after, seed);
        // Nobody was there when it was last looked.
        let mut silent = false;
        while !stop.load(Relaxed) {
            match machine.state() {
                LinkState::Connecting | LinkState::Live => {
                    on(LinkEvent::Connecting);
                    let stream = self.follow(source, &mut machine, &mut silent, stop, on);
                    if let (LinkState::Stalled | LinkState::Lost, Some(error)) =
                        (machine.state(), machine.error())
                    {
                        // Told at once: taking a connection down may take seconds.
                        on(LinkEvent::Lost { error: error.clone() });
                    }
                    drop(stream);
                }
                LinkState::Stalled | LinkState::Lost => {
                    machine.next(Input::Down, self.clock.monotonic());
                    on(LinkEvent::BackingOff { wait: machine.wait() });
                }
                LinkState::BackingOff => self.wait(source, &mut machine, silent, stop),
                LinkState::Disabled => return on(LinkEvent::Disabled),
                LinkState::Finished => return on(LinkEvent::Finished { error: machine.error().cloned() }),
            }
        }
    }

    /// Connects when it has its turn, and follows the connection until the machine goes on to something else, or the
    /// stop. Gives what is to be taken down. `silent`: whether nobody was there.
    fn follow(
        &self,
        source: &mut dyn Source,
        machine: &mut Machine,
        silent: &mut bool,
        stop: &AtomicBool,
        on: &mut dyn FnMut(LinkEvent),
    ) -> Option<Box<dyn Stream>> {
        // Files and devices share no network.
        let mut turn = source.is_live().then(|| self.turns.join());
        while turn.as_ref().is_some_and(|turn| !turn.has_come(self.clock.monotonic())) {
            if stop.load(Relaxed) {
                return None;
            }
            self.clock.sleep(LOOK_AT_TURN);
        }
        machine.next(Input::Turn, self.clock.monotonic());
        let there = source.reach();
        *silent = there.is_err();
        let mut stream = match there.and_then(|()| source.open(&self.views)) {
            Ok(stream) => stream,
            Err(error) => {
                machine.next(Input::Error(error), self.clock.monotonic());
                return None;
            }
        };
        let (mut dropped, mut told) = (0, None);
        let (effort, mut packets) = (stream.effort(), 0);
        while !stop.load(Relaxed) {
            let (input, frame) = match stream.next(LOOK) {
                Ok(Next::Frame(frame)) => (Input::Frame, Some(frame)),
                Ok(Next::Idle) => match effort.as_ref().is_some_and(|e| e.is_low() && e.packets() != packets)
                {
                    true => (Input::Packets, None),
                    false => (Input::Nothing, None),
                },
                Ok(Next::End) => (Input::End, None),
                Err(error) => (Input::Error(error), None),
            };
            packets = effort.as_ref().map_or(0, |effort| effort.packets());
            match machine.next(input, self.clock.monotonic()) {
                None => {}
                Some(LinkState::Live) => turn = None,
                Some(_) => break,
            }
            // At first, and when the camera is set to another size or codec.
            if frame.is_some() && told.as_ref() != Some(&stream.info()) {
                let info = told.insert(stream.info()).clone();
                let (pictures, packets) = (stream.pictures(), stream.packets());
                on(LinkEvent::Live { info, pictures, packets, effort: effort.clone() });
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
        drop(turn);
        Some(stream)
    }

    /// Waits as long as the machine does, less where a camera that did not answer does so again. `silent`: it did not
    /// when it was last looked. One that answers and refuses waits in full.
    fn wait(&self, source: &dyn Source, machine: &mut Machine, mut silent: bool, stop: &AtomicBool) {
        let mut knock = self.clock.monotonic();
        while machine.state() == LinkState::BackingOff && !stop.load(Relaxed) {
            let now = self.clock.monotonic();
            if now >= knock
                && let Some(_turn) = self.turns.between(now)
            {
                knock = now + KNOCK.mul_f64(rand::random_range(0.5..=1.0));
                match source.answers() {
                    Some(true) if silent => {
                        machine.next(Input::Answers, self.clock.monotonic());
                        return;
                    }
                    Some(answers) => silent = !answers,
                    None => knock = Duration::MAX,
                }
            }
            self.clock.sleep(LOOK.min(machine.left(self.clock.monotonic())));
            machine.next(Input::Nothing, self.clock.monotonic());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Picture, SourceErrorKind, Stamp};
    use super::*;
    use crate::base::{SimClock, Timestamp};
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    const STALL: Duration = Duration::from_secs(5);
    const UP_AT: Duration = Duration::from_secs(20);

    /// What a connection does: frames 100 ms apart, then how it ends.
    #[derive(Clone, Copy)]
    enum Life {
        Refused,
        /// Refused, though the server answers.
        Busy,
        /// Nobody is there before [`UP_AT`]; then, what follows in the script.
        Down,
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

    impl Script {
        /// Whether nobody is there now; `None`: nobody knows.
        fn down(&self) -> Option<bool> {
            let down = |life: &Life| matches!(life, Life::Down);
            self.lives.iter().any(down).then(|| self.clock.monotonic() < UP_AT)
        }
    }

    impl Source for Script {
        fn open(&mut self, _: &[FrameSpec]) -> Result<Box<dyn Stream>, SourceError> {
            while matches!(self.lives[self.at.min(self.lives.len() - 1)], Life::Down) {
                self.at += 1;
            }
            let life = self.lives[self.at.min(self.lives.len() - 1)];
            self.at += 1;
            if matches!(life, Life::Refused | Life::Busy) {
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

        fn answers(&self) -> Option<bool> {
            let busy = self.lives.iter().any(|life| matches!(life, Life::Busy));
            if busy { Some(true) } else { self.down().map(|down| !down) }
        }

        fn reach(&self) -> Result<(), SourceError> {
            match self.down() {
                Some(true) => Err(SourceError { kind: SourceErrorKind::Unreachable, ..broken() }),
                _ => Ok(()),
            }
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
                return Ok(Next::Frame(Frame {
                    stamp,
                    view: 0,
                    run: 0,
                    keys: None,
                    damaged: false,
                    pixels: [0; 4].into(),
                }));
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
                    format!("lost {}", error.kind)
                }
                LinkEvent::BackingOff { wait } => {
                    assert_eq!(open.load(Relaxed), 0, "disconnected before it waits");
                    format!("wait {:.3}", wait.as_secs_f64())
                }
                LinkEvent::Disabled => "disabled".into(),
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
        let events = play(&[Life::Frames(1), Life::Breaks(1), Life::Silent(1)], true, 6.0);
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
    fn it_never_gives_up() {
        let events = play(&[Life::Refused], true, 3600.0);
        let waits: Vec<f64> =
            events.iter().filter_map(|(_, e)| e.strip_prefix("wait ")?.parse().ok()).collect();
        assert!(waits.len() > 240, "an hour of attempts: {}", waits.len());
        assert!(waits.iter().all(|wait| (0.5..=15.0).contains(wait)), "{waits:?}");
    }

    #[test]
    fn a_camera_that_answers_again_is_not_kept_waiting() {
        for _ in 0..20 {
            let events = play(&[Life::Down, Life::Frames(9)], true, 40.0);
            let live = events.iter().find(|(_, e)| e == "live").expect("it comes back").0;
            assert!((20.0..21.1).contains(&live), "{events:?}");
        }
    }

    #[test]
    fn a_camera_that_answers_and_refuses_is_not_hammered() {
        let events = play(&[Life::Busy], true, 3600.0);
        let attempts = lines(&events).iter().filter(|event| **event == "connecting").count();
        assert!((240..=490).contains(&attempts), "{attempts} in an hour, of waits of 7.5 to 15 s");
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
        assert!(last(&play(&[Life::Frames(150)], true, 120.0)) <= 1.0);
    }

    #[test]
    fn a_stop_ends_a_wait_and_a_silence_at_once() {
        for lives in [[Life::Refused], [Life::Silent(1)]] {
            let events = play(&lives, true, 0.0);
            assert!(events.len() <= 3, "{events:?}");
        }
    }
}
