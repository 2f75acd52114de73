//! A camera's life as a pure state machine: where its connection stands, and beside it what its picture is worth.

use super::{SourceError, SourceErrorKind};
use crate::base::Backoff;
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// The first wait before connecting again, half of it chance; it doubles with every failure in a row ...
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// ... up to this, for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// A connection that lasted this long makes the next wait a first one again.
const PROVEN: Duration = Duration::from_secs(10);
/// The first picture may take this many times `stall_after`: a decoder waits for a key frame.
const PATIENCE: u32 = 3;

/// Where a camera's connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// It is being reached, or waits for its turn.
    Connecting,
    /// Pictures come.
    Live,
    /// The connection stands, and pictures come no more; it is being taken down.
    Stalled,
    /// The connection failed or broke; it is being taken down.
    Lost,
    /// Waiting before the next attempt.
    BackingOff,
    /// The configuration says that it is not to be watched.
    Disabled,
    /// A recording that has been played to its end, or given up.
    Finished,
}

/// What happens to a connection.
#[derive(Debug)]
pub(super) enum Input {
    /// The attempt may begin.
    Turn,
    Frame,
    /// Packets came that are not decoded, since the machine is too slow.
    Packets,
    /// Time passes.
    Nothing,
    /// The stream ended.
    End,
    Error(SourceError),
    /// The connection is down, and with it whatever the camera kept for it.
    Down,
    /// The camera, which did not answer before, does.
    Answers,
}

/// The life of a connection, without any IO: fed with what happened and when (monotonic time).
#[derive(Debug)]
pub(super) struct Machine {
    state: LinkState,
    /// A live source is connected again for ever; another one is finished when it ends.
    live: bool,
    stall_after: Duration,
    backoff: Backoff,
    /// Beginning of the attempt, once it has its turn.
    attempt: Option<Duration>,
    live_since: Duration,
    last_frame: Duration,
    /// Until when it backs off, and how long that is.
    until: Duration,
    wait: Duration,
    /// Why it stands where it does.
    error: Option<SourceError>,
}

impl Machine {
    pub(super) fn new(enabled: bool, live: bool, stall_after: Duration, seed: u64) -> Self {
        Self {
            state: if enabled { LinkState::Connecting } else { LinkState::Disabled },
            live,
            stall_after,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT, seed),
            attempt: None,
            live_since: Duration::ZERO,
            last_frame: Duration::ZERO,
            until: Duration::ZERO,
            wait: Duration::ZERO,
            error: None,
        }
    }

    pub(super) fn state(&self) -> LinkState {
        self.state
    }

    /// Why it is stalled, lost, or finished otherwise than by its end.
    pub(super) fn error(&self) -> Option<&SourceError> {
        self.error.as_ref()
    }

    /// How long it backs off.
    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    /// How long it still backs off.
    pub(super) fn left(&self, now: Duration) -> Duration {
        self.until.saturating_sub(now)
    }

    /// Takes what happened at `now`; gives the state that begins with it.
    pub(super) fn next(&mut self, input: Input, now: Duration) -> Option<LinkState> {
        use LinkState::*;
        let next = match (self.state, input) {
            (Disabled | Finished, _) => return None,
            (Connecting, Input::Turn) => {
                self.attempt = Some(now);
                return None;
            }
            (Connecting | Live, Input::Frame) => {
                self.last_frame = now;
                if self.state == Live {
                    return None;
                }
                (self.live_since, self.error) = (now, None);
                Live
            }
            (Live, Input::Packets) => {
                self.last_frame = now;
                return None;
            }
            (Connecting | Live, Input::Nothing) => {
                self.error = Some(stalled(self.silence(now)?, self.state == Connecting));
                Stalled
            }
            (Connecting | Live, Input::End) => {
                self.error = self.live.then(disconnected);
                if self.live { Lost } else { Finished }
            }
            (Connecting | Live, Input::Error(error)) => {
                self.error = Some(error);
                if self.live { Lost } else { Finished }
            }
            (Stalled | Lost, Input::Down) => {
                self.wait = self.backoff.failed();
                self.until = now + self.wait;
                BackingOff
            }
            (BackingOff, Input::Nothing) if now >= self.until => Connecting,
            (BackingOff, Input::Answers) => Connecting,
            (Connecting, Input::Packets)
            | (Connecting | Live, Input::Turn | Input::Down | Input::Answers)
            | (Stalled | Lost | BackingOff, _) => {
                return None;
            }
        };
        if self.state == Live && now.saturating_sub(self.live_since) >= PROVEN {
            self.backoff.reset();
        }
        self.attempt = None;
        self.state = next;
        Some(next)
    }

    /// For how long nothing has come, where that is too long.
    fn silence(&self, now: Duration) -> Option<Duration> {
        let (since, limit) = match self.state {
            LinkState::Live => (self.last_frame, self.stall_after),
            _ => (self.attempt?, self.stall_after * PATIENCE),
        };
        Some(now.saturating_sub(since)).filter(|silence| self.live && *silence >= limit)
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

#[cfg(test)]
mod tests;
