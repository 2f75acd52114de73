//! Turns: so many cameras at most are connecting at a time, first come, first served.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Of the whole daemon: more would only make switches, recorders and this machine answer later.
const AT_ONCE: usize = 16;
/// A camera that hangs keeps its place no longer than this.
const LONGEST: Duration = Duration::from_secs(4);
/// Of these at most so many are taken by knocks, which last half a second where nobody answers: not so many that whoever
/// is back would wait for them, nor so few that many cameras would be long about finding out that they are back.
const KNOCKS: usize = 8;

/// Who is connecting and who waits for it. Pure: times are the caller's (monotonic).
#[derive(Debug)]
pub(super) struct Queue {
    at_once: usize,
    next: u64,
    waiting: VecDeque<u64>,
    /// Who connects, since when.
    held: Vec<(u64, Duration)>,
    /// Who of them only knocks.
    knocks: Vec<u64>,
}

impl Queue {
    pub(super) fn new(at_once: usize) -> Self {
        Self { at_once, next: 0, waiting: VecDeque::new(), held: vec![], knocks: vec![] }
    }

    /// Gets in line; the number is asked about until it may, and leaves in any case.
    pub(super) fn join(&mut self) -> u64 {
        self.next += 1;
        self.waiting.push_back(self.next);
        self.next
    }

    /// Whether it is that number's turn, which begins with it.
    pub(super) fn may(&mut self, number: u64, now: Duration) -> bool {
        self.held.retain(|(_, since)| now.saturating_sub(*since) < LONGEST);
        let may = self.waiting.front() == Some(&number) && self.held.len() < self.at_once;
        if may {
            self.waiting.pop_front();
            self.held.push((number, now));
        }
        may
    }

    pub(super) fn leave(&mut self, number: u64) {
        self.waiting.retain(|n| *n != number);
        self.held.retain(|(n, _)| *n != number);
        self.knocks.retain(|n| *n != number);
    }

    /// A turn for something short, if there is a place now.
    pub(super) fn between(&mut self, now: Duration) -> Option<u64> {
        self.held.retain(|(_, since)| now.saturating_sub(*since) < LONGEST);
        if self.knocks.len() >= KNOCKS || self.held.len() >= self.at_once {
            return None;
        }
        self.next += 1;
        self.held.push((self.next, now));
        self.knocks.push(self.next);
        Some(self.next)
    }
}

/// The turns of cameras that share a network.
#[derive(Debug)]
pub struct Turns(Mutex<Queue>);

impl Turns {
    pub fn new(at_once: usize) -> Self {
        Self(Mutex::new(Queue::new(at_once)))
    }

    /// Those of the daemon.
    pub fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Turns>> = OnceLock::new();
        Arc::clone(SHARED.get_or_init(|| Arc::new(Self::new(AT_ONCE))))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets in line.
    pub(super) fn join(self: &Arc<Self>) -> Turn {
        Turn { number: self.queue().join(), turns: Arc::clone(self) }
    }

    /// A turn for something short, if there is a place now.
    pub(super) fn between(self: &Arc<Self>, now: Duration) -> Option<Turn> {
        Some(Turn { number: self.queue().between(now)?, turns: Arc::clone(self) })
    }
}

/// A place in line, given up when it is dropped.
pub(super) struct Turn {
    turns: Arc<Turns>,
    number: u64,
}

impl Turn {
    /// Whether it has come; once it has, it lasts until it is dropped.
    pub(super) fn has_come(&self, now: Duration) -> bool {
        self.turns.queue().may(self.number, now)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.queue().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_to_come_is_the_first_to_go_and_places_are_given_on() {
        let mut queue = Queue::new(2);
        let [a, b, c, d] = [(); 4].map(|()| queue.join());
        assert!(!queue.may(b, SECOND), "not before the first");
        assert!(queue.may(a, SECOND) && queue.may(b, SECOND));
        assert!(!queue.may(c, SECOND), "two at a time");
        queue.leave(a);
        assert!(!queue.may(d, SECOND) && queue.may(c, SECOND));
        // Whoever gives up while it waits lets the next one pass.
        let e = queue.join();
        queue.leave(d);
        queue.leave(b);
        assert!(queue.may(e, SECOND));
    }

    #[test]
    fn a_camera_that_hangs_does_not_keep_its_place_for_ever() {
        let mut queue = Queue::new(1);
        let (hangs, next) = (queue.join(), queue.join());
        assert!(queue.may(hangs, SECOND));
        assert!(!queue.may(next, SECOND + LONGEST - SECOND / 10));
        assert!(queue.may(next, SECOND + LONGEST));
        // When it ends at last it takes nobody's place away.
        queue.leave(hangs);
        assert_eq!(queue.held.len(), 1);
    }

    #[test]
    fn a_turn_is_given_up_with_its_owner_and_knocks_take_few_places() {
        let turns = Arc::new(Turns::new(16));
        let knocks: Vec<_> = std::iter::from_fn(|| turns.between(SECOND)).collect();
        assert_eq!(knocks.len(), KNOCKS);
        let mut connect: Vec<_> = std::iter::repeat_with(|| turns.join()).take(16).collect();
        let come = |waits: &[Turn]| waits.iter().filter(|turn| turn.has_come(SECOND)).count();
        assert_eq!(come(&connect), 16 - KNOCKS, "16 with the knocks");
        drop(knocks);
        assert!(turns.between(SECOND).is_some_and(|knock| !knock.has_come(SECOND)), "though others wait");
        assert_eq!(come(&connect[16 - KNOCKS..]), KNOCKS);
        assert!(turns.between(SECOND).is_none(), "not one more");
        connect.clear();
        let queue = turns.queue();
        assert!(queue.held.is_empty() && queue.waiting.is_empty() && queue.knocks.is_empty());
    }
}
