//! Lanes between the stages: bounded, with a stated full-policy, every drop counted, time blocked measured.

use crate::segment::Segment;
use crate::telemetry::{Metrics, Queue as Label, QueueMetrics};
use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, TrySendError, bounded};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// Segments that may wait for one feed. Older ones are worthless by the time they would be reached.
pub const SEGMENTS_WAITING: usize = 4;

/// camera threads -> extractor workers. **When full, a live camera's oldest segment is dropped**, so that a
/// machine that is too slow sees the present; **a recording waits** until there is room.
///
/// Each feed has a short queue of its own, and one token in the shared channel while that queue holds
/// anything. A worker that takes a token serves one segment and hands the token back: feeds are served in
/// turn, and the segments of one feed are never in two workers at once, so they stay in order.
pub struct SegmentLane {
    queues: Vec<(Mutex<Queue>, Condvar)>,
    tokens: (Sender<usize>, Receiver<usize>),
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Segment>,
    /// The feed's token is in the channel or with a worker.
    scheduled: bool,
}

impl SegmentLane {
    pub fn new(feeds: usize) -> Self {
        Self { queues: (0..feeds).map(|_| Default::default()).collect(), tokens: bounded(feeds.max(1)) }
    }

    /// Appends a feed's segment; gives back the one that had to go for it.
    pub fn push(&self, feed: usize, segment: Segment) -> Option<Segment> {
        let mut queue = self.lock(feed);
        let dropped = if queue.waiting.len() == SEGMENTS_WAITING { queue.waiting.pop_front() } else { None };
        queue.waiting.push_back(segment);
        if !queue.scheduled {
            queue.scheduled = true;
            self.hand_in(feed);
        }
        dropped
    }

    /// Waits up to `timeout` for room for a further segment of a recording; false when there is none yet.
    pub fn wait_for_room(&self, feed: usize, timeout: Duration) -> bool {
        let full = |queue: &mut Queue| queue.waiting.len() == SEGMENTS_WAITING;
        let queue = self.lock(feed);
        let (mut queue, _) = self.queues[feed]
            .1
            .wait_timeout_while(queue, timeout, full)
            .expect("nothing panics while it is held");
        !full(&mut queue)
    }

    /// Waits for the next feed in turn. The caller gives its token back with [`SegmentLane::done`].
    pub fn take(&self, timeout: Duration) -> Option<(usize, Segment)> {
        let feed = self.tokens.1.recv_timeout(timeout).ok()?;
        let segment = self.lock(feed).waiting.pop_front();
        self.queues[feed].1.notify_one();
        Some((feed, segment.expect("a token means that a segment waits")))
    }

    /// The segment taken has been passed on: the feed's next one may be taken.
    pub fn done(&self, feed: usize) {
        let mut queue = self.lock(feed);
        if queue.waiting.is_empty() {
            queue.scheduled = false;
        } else {
            self.hand_in(feed);
        }
    }

    /// Segments waiting, all feeds together.
    pub fn depth(&self) -> usize {
        (0..self.queues.len()).map(|feed| self.lock(feed).waiting.len()).sum()
    }

    fn hand_in(&self, feed: usize) {
        // One token a feed and as many places as feeds: there is always room.
        self.tokens.0.try_send(feed).expect("each feed has one token and one place for it");
    }

    fn lock(&self, feed: usize) -> std::sync::MutexGuard<'_, Queue> {
        self.queues[feed].0.lock().expect("nothing panics while a queue is held")
    }
}

/// The sending end of a lane whose receiver must see everything: **when full, the sender waits**, which in
/// the end lets the [`SegmentLane`] drop.
pub struct LaneSender<T> {
    sender: Sender<T>,
    metrics: QueueMetrics,
}

impl<T> Clone for LaneSender<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), metrics: self.metrics.clone() }
    }
}

/// A lane with room for `capacity` messages; `label` names it in the metrics.
pub fn lane<T>(label: Label, capacity: usize, metrics: &Metrics) -> (LaneSender<T>, Receiver<T>) {
    let (sender, receiver) = bounded(capacity);
    (LaneSender { sender, metrics: metrics.queue(label) }, receiver)
}

impl<T> LaneSender<T> {
    /// Hands `message` on, waiting for room; `false` when the receiver is gone.
    /// `beat` is called at least every half second of waiting.
    pub fn send(&self, message: T, beat: &dyn Fn()) -> bool {
        let mut message = match self.sender.try_send(message) {
            Ok(()) => return self.sent(),
            Err(TrySendError::Disconnected(_)) => return false,
            Err(TrySendError::Full(message)) => message,
        };
        let blocked = Instant::now();
        let delivered = loop {
            match self.sender.send_timeout(message, Duration::from_millis(500)) {
                Ok(()) => break true,
                Err(SendTimeoutError::Disconnected(_)) => break false,
                Err(SendTimeoutError::Timeout(back)) => {
                    beat();
                    message = back;
                }
            }
        };
        self.metrics.blocked(blocked.elapsed());
        delivered && self.sent()
    }

    fn sent(&self) -> bool {
        self.metrics.depth(self.sender.len());
        true
    }
}

/// What a stage finds when it looks at its lane.
pub enum Received<T> {
    Message(T),
    Nothing,
    /// Every sender is gone and the lane is empty: the stage is done.
    Closed,
}

/// Waits up to half a second, so that a stage's pulse goes on while nothing comes.
pub fn receive<T>(lane: &Receiver<T>) -> Received<T> {
    receive_within(lane, Duration::from_millis(500))
}

/// Takes what waits already.
pub fn receive_waiting<T>(lane: &Receiver<T>) -> Received<T> {
    receive_within(lane, Duration::ZERO)
}

fn receive_within<T>(lane: &Receiver<T>, timeout: Duration) -> Received<T> {
    match lane.recv_timeout(timeout) {
        Ok(message) => Received::Message(message),
        Err(RecvTimeoutError::Timeout) => Received::Nothing,
        Err(RecvTimeoutError::Disconnected) => Received::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::frame::Stamp;

    fn segment(index: u64) -> Segment {
        let stamp =
            Stamp { seq: index, pts: Duration::ZERO, wall: Timestamp::UNIX_EPOCH, received: Duration::ZERO };
        Segment { index, run: 0, start: stamp, end: stamp, unsettled: false, frames: vec![] }
    }

    fn taken(lane: &SegmentLane) -> Option<(usize, u64)> {
        lane.take(Duration::ZERO).map(|(feed, segment)| (feed, segment.index))
    }

    #[test]
    fn a_full_queue_drops_its_oldest_segment_and_says_which() {
        let lane = SegmentLane::new(2);
        for index in 0..4 {
            assert!(lane.push(0, segment(index)).is_none());
        }
        assert_eq!(lane.push(0, segment(4)).map(|s| s.index), Some(0));
        assert!(lane.push(1, segment(9)).is_none(), "another feed's queue is its own");
        assert_eq!(lane.depth(), 5);
        assert_eq!(taken(&lane), Some((0, 1)));
    }

    #[test]
    fn a_recording_waits_for_room() {
        let lane = SegmentLane::new(1);
        for index in 0..SEGMENTS_WAITING as u64 {
            assert!(lane.wait_for_room(0, Duration::ZERO));
            lane.push(0, segment(index));
        }
        assert!(!lane.wait_for_room(0, Duration::ZERO));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lane.wait_for_room(0, Duration::from_secs(10)));
            assert_eq!(taken(&lane), Some((0, 0)));
            assert!(waiting.join().expect("no panic"));
        });
    }

    #[test]
    fn feeds_take_turns_and_one_feed_is_with_one_worker_only() {
        let lane = SegmentLane::new(2);
        lane.push(0, segment(0));
        lane.push(0, segment(1));
        lane.push(1, segment(0));
        assert_eq!(taken(&lane), Some((0, 0)));
        assert_eq!(taken(&lane), Some((1, 0)));
        assert_eq!(taken(&lane), None, "feed 0 waits for its first segment to be done");
        lane.done(0);
        lane.done(1);
        assert_eq!(taken(&lane), Some((0, 1)));
        lane.done(0);
        assert_eq!(taken(&lane), None);
        lane.push(1, segment(1));
        assert_eq!(taken(&lane), Some((1, 1)));
    }
}
