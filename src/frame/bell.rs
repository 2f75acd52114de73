//! A bell beside a lane of frames: who waits for the next one parks until it rings.
//!
//! The lane's own wait would spin first, which costs more than the rest of taking a frame where they are 100 ms apart.

use crossbeam_channel::{Receiver, TryRecvError};
use std::sync::{Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How often who waits looks whether there is news that is no frame, or the stream is being closed. Longer than a frame
/// takes to follow another, so that nobody looks while they come.
pub(super) const LOOK: Duration = Duration::from_millis(150);

#[derive(Debug, Default)]
pub(super) struct Bell {
    /// Who waits, or waited last.
    reader: Mutex<Option<Thread>>,
}

impl Bell {
    /// Something has been put into the lane, or never will be.
    pub(super) fn ring(&self) {
        // Not with the lock held: who is woken may run at once, in this thread's place, and want it.
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(reader) = reader {
            reader.unpark();
        }
    }

    /// What comes next, if it comes in time.
    pub(super) fn wait<T>(&self, lane: &Receiver<T>, time: Duration) -> Option<T> {
        let until = Instant::now() + time;
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current());
        loop {
            match lane.try_recv() {
                Ok(next) => return Some(next),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            match until.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => std::thread::park_timeout(left),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_wakes_for_what_comes_and_gives_up_in_time() {
        let (bell, (send, lane)) = (Bell::default(), crossbeam_channel::bounded(2));
        assert_eq!(bell.wait(&lane, Duration::ZERO), None);
        send.send(1).expect("room");
        assert_eq!(bell.wait(&lane, Duration::ZERO), Some(1), "what is there needs no bell");
        let began = Instant::now();
        let came = std::thread::scope(|scope| {
            scope.spawn(|| {
                send.send(2).expect("room");
                bell.ring();
            });
            bell.wait(&lane, Duration::from_secs(60))
        });
        assert_eq!(came, Some(2));
        assert!(began.elapsed() < Duration::from_secs(30), "it was woken");
        drop(send);
        assert_eq!(bell.wait(&lane, Duration::from_secs(60)), None, "nothing will come");
    }
}
