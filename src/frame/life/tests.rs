//! Every state with every input, every sequence of inputs up to a length, and a storm of 64 cameras.

use super::super::turns::Queue;
use super::LinkState::*;
use super::*;

const STALL: Duration = Duration::from_secs(4);
const SECOND: Duration = Duration::from_secs(1);

/// What can happen, each with the time that passes before it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Happens {
    Turn,
    Frame,
    Packets,
    Second,
    /// Long enough for anything to have run out.
    Minute,
    End,
    Error,
    Down,
    Answers,
}

const ALL: [Happens; 9] = [
    Happens::Turn,
    Happens::Frame,
    Happens::Packets,
    Happens::Second,
    Happens::Minute,
    Happens::End,
    Happens::Error,
    Happens::Down,
    Happens::Answers,
];

const STATES: [LinkState; 7] = [Connecting, Live, Stalled, Lost, BackingOff, Disabled, Finished];

fn broken() -> SourceError {
    SourceError { kind: SourceErrorKind::Broken, message: "cut".into(), remedy: "mend".into() }
}

/// A machine and its clock.
struct Played {
    machine: Machine,
    now: Duration,
}

impl Played {
    fn new(enabled: bool, live: bool) -> Self {
        Self { machine: Machine::new(enabled, live, STALL, 1), now: Duration::ZERO }
    }

    fn of(inputs: &[Happens], live: bool) -> Self {
        let mut played = Self::new(true, live);
        inputs.iter().for_each(|input| _ = played.next(*input));
        played
    }

    fn next(&mut self, happens: Happens) -> Option<LinkState> {
        let (after, input) = match happens {
            Happens::Turn => (0, Input::Turn),
            Happens::Frame => (100, Input::Frame),
            Happens::Packets => (100, Input::Packets),
            Happens::Second => (1000, Input::Nothing),
            Happens::Minute => (60_000, Input::Nothing),
            Happens::End => (0, Input::End),
            Happens::Error => (0, Input::Error(broken())),
            Happens::Down => (0, Input::Down),
            Happens::Answers => (0, Input::Answers),
        };
        self.now += Duration::from_millis(after);
        self.machine.next(input, self.now)
    }
}

/// A live source in each state that it can be in, and a recording that is finished.
fn in_state(state: LinkState) -> Played {
    use Happens::*;
    let inputs: &[Happens] = match state {
        LinkState::Connecting => &[Turn],
        LinkState::Live => &[Turn, Frame],
        LinkState::Stalled => &[Turn, Frame, Minute],
        LinkState::Lost => &[Turn, Frame, Error],
        LinkState::BackingOff => &[Turn, Frame, Error, Down],
        LinkState::Disabled => return Played::new(false, true),
        LinkState::Finished => return Played::of(&[Turn, Frame, End], false),
    };
    Played::of(inputs, true)
}

#[test]
fn every_state_takes_every_input() {
    for state in STATES {
        for input in ALL {
            let mut played = in_state(state);
            assert_eq!(played.machine.state(), state);
            let expected = match (state, input) {
                (Connecting, Happens::Frame) => Some(Live),
                (Connecting | Live, Happens::Minute) => Some(Stalled),
                (Connecting | Live, Happens::End | Happens::Error) => Some(Lost),
                (Stalled | Lost, Happens::Down) => Some(BackingOff),
                // The first wait is a second at most.
                (BackingOff, Happens::Second | Happens::Minute | Happens::Answers) => Some(Connecting),
                _ => None,
            };
            assert_eq!(played.next(input), expected, "{input:?} in {state:?}");
            assert_eq!(played.machine.state(), expected.unwrap_or(state));
        }
    }
}

/// All sequences of up to six inputs, from the beginning of a camera, a recording and a disabled camera.
#[test]
fn whatever_happens_it_is_never_stuck_and_always_says_why() {
    fn go(sequence: &mut Vec<Happens>, live: bool, seen: &mut [bool; 7]) {
        let mut played = Played::new(true, live);
        let (mut last_heard, mut turn) = (Duration::ZERO, None);
        for happens in sequence.iter() {
            let before = played.machine.state();
            let entered = played.next(*happens);
            let (now, state) = (played.now, played.machine.state());
            match (before, happens) {
                (Connecting, Happens::Turn) => turn = Some(now),
                (_, Happens::Frame) | (Live, Happens::Packets) => last_heard = now,
                _ => {}
            }
            // It enters what it is in, and something else than before.
            assert!(entered.is_none_or(|entered| entered == state && entered != before), "{sequence:?}");
            assert_eq!(entered.is_none(), before == state, "{sequence:?}");
            if entered == Some(Stalled) {
                // Only by silence, measured on the clock that was given.
                let (since, limit) = match before {
                    Live => (last_heard, STALL),
                    _ => (turn.expect("an attempt that had its turn"), STALL * PATIENCE),
                };
                assert!(live && now - since >= limit, "{sequence:?}");
            }
            if state != Connecting {
                turn = None;
            }
            // A problem is known from the loss until pictures come, and no longer.
            match state {
                Stalled | Lost | BackingOff => assert!(played.machine.error().is_some(), "{sequence:?}"),
                Live => assert!(played.machine.error().is_none(), "{sequence:?}"),
                _ => {}
            }
            assert!(matches!(state, Connecting | Live | Finished) || live, "{sequence:?}");
            seen[STATES.iter().position(|s| *s == state).expect("a state")] = true;
        }
        // From wherever it is, a live camera that answers is live again; what ended stays so.
        let wait = played.machine.wait();
        let again = match played.machine.state() {
            Disabled | Finished => None,
            Connecting => Some(vec![Happens::Turn, Happens::Frame]),
            Live => Some(vec![Happens::Frame]),
            BackingOff => Some(vec![Happens::Minute, Happens::Turn, Happens::Frame]),
            Stalled | Lost => Some(vec![Happens::Down, Happens::Minute, Happens::Turn, Happens::Frame]),
        };
        assert!(wait.is_zero() || (SECOND / 2..=LONGEST_WAIT).contains(&wait), "{wait:?}: {sequence:?}");
        match again {
            Some(again) => {
                again.into_iter().for_each(|happens| _ = played.next(happens));
                assert_eq!(played.machine.state(), Live, "{sequence:?}");
            }
            None => {
                ALL.iter().for_each(|happens| assert_eq!(played.next(*happens), None, "{sequence:?}"));
            }
        }
        if sequence.len() < 6 {
            for happens in ALL {
                sequence.push(happens);
                go(sequence, live, seen);
                sequence.pop();
            }
        }
    }
    for (live, never) in [(true, &[Disabled, Finished][..]), (false, &[Stalled, Lost, BackingOff, Disabled])]
    {
        let mut seen = [false; 7];
        go(&mut vec![], live, &mut seen);
        let unseen = STATES.iter().zip(seen).filter(|(_, seen)| !seen).map(|(state, _)| *state);
        assert_eq!(unseen.collect::<Vec<_>>(), never);
    }
}

#[test]
fn waits_double_to_fifteen_seconds_with_jitter_and_are_short_again_after_a_connection_that_lasted() {
    let mut played = Played::new(true, true);
    let fail = |played: &mut Played, lives: Duration| {
        played.next(Happens::Turn);
        played.next(Happens::Frame);
        played.now += lives;
        played.next(Happens::Frame);
        [Happens::Error, Happens::Down].into_iter().for_each(|happens| _ = played.next(happens));
        let wait = played.machine.wait();
        assert_eq!(played.next(Happens::Minute), Some(Connecting));
        wait.as_secs_f64()
    };
    for n in 0..1000 {
        let full = 2f64.powi(n.min(10)).min(15.0);
        let wait = fail(&mut played, SECOND);
        assert!((full / 2.0..=full).contains(&wait), "wait {n}: {wait}");
    }
    fail(&mut played, PROVEN);
    assert!(fail(&mut played, SECOND) <= 2.0);
}

/// Many cameras, their turns and their network, without any IO: times are milliseconds.
struct Storm {
    cameras: Vec<(Played, Option<u64>, Option<u64>)>,
    /// When each of them knocks next, and whether nobody was there when it last looked.
    knocks: Vec<(u64, bool)>,
    queue: Queue,
    /// From when on each server answers; until then it refuses.
    up: Vec<u64>,
}

impl Storm {
    /// An attempt at a server that is up takes this long, and at another one this.
    const TAKES: u64 = 400;
    const REFUSED: u64 = 20;
    /// As the link knocks, with the least of its chance.
    const KNOCK: u64 = 800;

    /// Until all are live: when each was, and the most that tried at a time.
    fn play(mut self) -> (Vec<u64>, usize) {
        let (mut live, mut most) = (vec![None; self.cameras.len()], 0);
        for now in (0..600_000).step_by(10) {
            let at = Duration::from_millis(now);
            for (i, (played, number, ends)) in self.cameras.iter_mut().enumerate() {
                let machine = &mut played.machine;
                match machine.state() {
                    Connecting => {
                        let mine = *number.get_or_insert_with(|| self.queue.join());
                        if ends.is_none() && self.queue.may(mine, at) {
                            machine.next(Input::Turn, at);
                            let up = now >= self.up[i];
                            *ends = Some(now + if up { Self::TAKES } else { Self::REFUSED });
                        }
                        if ends.is_some_and(|ends| now >= ends) {
                            let input = match now >= self.up[i] + Self::TAKES {
                                true => Input::Frame,
                                false => Input::Error(broken()),
                            };
                            self.knocks[i] = (now, matches!(input, Input::Error(_)));
                            machine.next(input, at);
                            self.queue.leave(mine);
                            (*number, *ends) = (None, None);
                        }
                    }
                    Live => _ = live[i].get_or_insert(now),
                    Lost => _ = machine.next(Input::Down, at),
                    BackingOff => {
                        if now >= self.knocks[i].0
                            && let Some(knock) = self.queue.between(at)
                        {
                            self.queue.leave(knock);
                            let (up, silent) = (now >= self.up[i], self.knocks[i].1);
                            self.knocks[i] = (now + Self::KNOCK, !up);
                            if up && silent {
                                machine.next(Input::Answers, at);
                                continue;
                            }
                        }
                        machine.next(Input::Nothing, at);
                    }
                    state => panic!("{state:?}"),
                }
            }
            most = most.max(self.cameras.iter().filter(|(_, _, ends)| ends.is_some()).count());
            if live.iter().all(Option::is_some) {
                break;
            }
        }
        (live.into_iter().map(|at| at.expect("all come back")).collect(), most)
    }
}

#[test]
fn sixty_four_cameras_that_reboot_at_once_are_back_in_2_5_s_and_16_at_most_connect_at_a_time() {
    for (seed, down) in [(1, 0), (2, 3_000), (3, 30_000), (4, 120_000), (5, 300_000)] {
        let camera =
            |i: u64| Played { machine: Machine::new(true, true, STALL, seed * 1000 + i), now: SECOND };
        // Servers come up over five seconds.
        let up: Vec<u64> = (0..64).map(|i| down + i * 5_000 / 64).collect();
        let last = up[63];
        let cameras = (0..64).map(|i| (camera(i), None, None)).collect();
        let knocks = vec![(0, false); 64];
        let (live, most) = Storm { cameras, knocks, queue: Queue::new(16), up }.play();
        let late = live.iter().max().expect("some") - last;
        assert!(late <= 2_500 && most <= 16, "down for {down} ms: {late} ms late, {most} at a time");
    }
}
