//! Lanes between the stages: bounded, with a stated full-policy, every drop counted, time blocked measured.

use crate::segment::Segment;
use crate::telemetry::{Metrics, Queue as Label, QueueMetrics};
use crossbeam_channel::{
    Receiver, RecvTimeoutError, SendTimeoutError, Sender, TrySendError, bounded, unbounded,
};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Segments that may wait for one feed. Older ones are worthless by the time they would be reached.
pub const SEGMENTS_WAITING: usize = 4;

/// camera threads -> extractor workers. **When full, a live camera's oldest segment is dropped**, so that a
/// machine that is too slow sees the present; **a recording waits** until there is room.
///
/// Each feed has a short queue of its own, and one token in the shared channel while that queue holds
/// anything. A worker that takes a token serves one segment and hands the token back: feeds are served in
/// turn, and the segments of one feed are never in two workers at once, so they stay in order.
///
/// The token is the queue itself: a feed that has gone lives on until the last of its segments is served.
pub struct SegmentLane {
    /// One token a feed at most.
    tokens: (Sender<FeedLane>, Receiver<FeedLane>),
    /// Segments waiting, all feeds together.
    waiting: Arc<AtomicUsize>,
}

/// The lane of one feed.
#[derive(Clone)]
pub struct FeedLane(Arc<FeedQueue>);

struct FeedQueue {
    feed: usize,
    extractor: usize,
    queue: Mutex<Queue>,
    /// There is room, or nothing is left.
    served: Condvar,
    tokens: Sender<FeedLane>,
    all_waiting: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Segment>,
    /// The feed's token is in the channel or with a worker.
    scheduled: bool,
}

impl Default for SegmentLane {
    fn default() -> Self {
        Self { tokens: unbounded(), waiting: Arc::default() }
    }
}

impl SegmentLane {
    /// The lane of a feed, whose segments are for this extractor.
    pub fn feed(&self, feed: usize, extractor: usize) -> FeedLane {
        FeedLane(Arc::new(FeedQueue {
            feed,
            extractor,
            queue: Mutex::default(),
            served: Condvar::new(),
            tokens: self.tokens.0.clone(),
            all_waiting: self.waiting.clone(),
        }))
    }

    /// Waits for the next feed in turn. The caller gives its token back with [`FeedLane::done`].
    pub fn take(&self, timeout: Duration) -> Option<(FeedLane, Segment)> {
        let lane = self.tokens.1.recv_timeout(timeout).ok()?;
        let segment = lane.lock().waiting.pop_front().expect("a token means that a segment waits");
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        lane.0.served.notify_all();
        Some((lane, segment))
    }

    /// Segments waiting, all feeds together.
    pub fn depth(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl FeedLane {
    pub fn feed(&self) -> usize {
        self.0.feed
    }

    pub fn extractor(&self) -> usize {
        self.0.extractor
    }

    /// Appends a segment; gives back the one that had to go for it.
    pub fn push(&self, segment: Segment) -> Option<Segment> {
        let mut queue = self.lock();
        let dropped = if queue.waiting.len() == SEGMENTS_WAITING { queue.waiting.pop_front() } else { None };
        queue.waiting.push_back(segment);
        if dropped.is_none() {
            self.0.all_waiting.fetch_add(1, Ordering::Relaxed);
        }
        if !queue.scheduled {
            queue.scheduled = true;
            self.hand_in();
        }
        dropped
    }

    /// Waits up to `timeout` for room for a further segment of a recording; false when there is none yet.
    pub fn wait_for_room(&self, timeout: Duration) -> bool {
        self.wait_while(timeout, |queue| queue.waiting.len() == SEGMENTS_WAITING)
    }

    /// Waits up to `timeout` until all that was pushed has been passed on; false when it has not been.
    pub fn wait_until_served(&self, timeout: Duration) -> bool {
        self.wait_while(timeout, |queue| queue.scheduled)
    }

    fn wait_while(&self, timeout: Duration, busy: impl Fn(&mut Queue) -> bool) -> bool {
        let waited = self.0.served.wait_timeout_while(self.lock(), timeout, |queue| busy(queue));
        let (mut queue, _) = waited.expect("nothing panics while a queue is held");
        !busy(&mut queue)
    }

    /// The segment taken has been passed on: the feed's next one may be taken.
    pub fn done(&self) {
        let mut queue = self.lock();
        if queue.waiting.is_empty() {
            queue.scheduled = false;
            self.0.served.notify_all();
        } else {
            self.hand_in();
        }
    }

    fn hand_in(&self) {
        // Fails only where no worker is left to serve it.
        let _ = self.0.tokens.try_send(self.clone());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.0.queue.lock().expect("nothing panics while a queue is held")
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
        Segment { index, run: 0, start: stamp, end: stamp, unsettled: false, damaged: false, frames: vec![] }
    }

    fn taken(lane: &SegmentLane) -> Option<(usize, u64)> {
        lane.take(Duration::ZERO).map(|(lane, segment)| (lane.feed(), segment.index))
    }

    #[test]
    fn a_full_queue_drops_its_oldest_segment_and_says_which() {
        let lane = SegmentLane::default();
        let (gate, yard) = (lane.feed(0, 0), lane.feed(1, 0));
        for index in 0..4 {
            assert!(gate.push(segment(index)).is_none());
        }
        assert_eq!(gate.push(segment(4)).map(|s| s.index), Some(0));
        assert!(yard.push(segment(9)).is_none(), "another feed's queue is its own");
        assert_eq!(lane.depth(), 5);
        assert_eq!(taken(&lane), Some((0, 1)));
        assert_eq!(lane.depth(), 4);
    }

    #[test]
    fn a_recording_waits_for_room() {
        let lane = SegmentLane::default();
        let feed = lane.feed(0, 0);
        for index in 0..SEGMENTS_WAITING as u64 {
            assert!(feed.wait_for_room(Duration::ZERO));
            feed.push(segment(index));
        }
        assert!(!feed.wait_for_room(Duration::ZERO));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| feed.wait_for_room(Duration::from_secs(10)));
            assert_eq!(taken(&lane), Some((0, 0)));
            assert!(waiting.join().expect("no panic"));
        });
    }

    #[test]
    fn feeds_take_turns_and_one_feed_is_with_one_worker_only() {
        let lane = SegmentLane::default();
        let (gate, yard) = (lane.feed(0, 0), lane.feed(1, 0));
        gate.push(segment(0));
        gate.push(segment(1));
        yard.push(segment(0));
        assert_eq!(taken(&lane), Some((0, 0)));
        assert_eq!(taken(&lane), Some((1, 0)));
        assert_eq!(taken(&lane), None, "feed 0 waits for its first segment to be done");
        gate.done();
        yard.done();
        assert_eq!(taken(&lane), Some((0, 1)));
        gate.done();
        assert_eq!(taken(&lane), None);
        yard.push(segment(1));
        assert_eq!(taken(&lane), Some((1, 1)));
    }

    #[test]
    fn a_feed_that_goes_is_served_to_its_end_and_in_order() {
        let lane = SegmentLane::default();
        let (gone, stays) = (lane.feed(0, 0), lane.feed(1, 0));
        (0..3).for_each(|index| drop(gone.push(segment(index))));
        stays.push(segment(7));
        assert!(!gone.wait_until_served(Duration::ZERO));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gone.wait_until_served(Duration::from_secs(10)));
            let mut served = vec![];
            while let Some((of, segment)) = lane.take(Duration::from_millis(50)) {
                served.push((of.feed(), segment.index));
                assert!(of.feed() == 1 || !waiting.is_finished(), "{served:?} is not all");
                of.done();
            }
            assert_eq!(served, [(0, 0), (1, 7), (0, 1), (0, 2)]);
            assert!(waiting.join().expect("no panic"));
        });
        assert_eq!(Arc::strong_count(&gone.0), 1, "nothing else holds it now");
        assert_eq!(lane.depth(), 0);
    }
}
