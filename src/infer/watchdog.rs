//! Stops runs that take too long: one thread for all of them, which sleeps until the earliest of their ends.

use ort::session::{NoSelectedOutputs, RunOptions};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Runs are far more frequent than ends, so a run that ends in time wakes nobody: the thread finds it gone when it looks.
static WATCHDOG: LazyLock<&'static Watchdog> = LazyLock::new(Watchdog::start);

/// A run that is watched until this is dropped.
pub(super) struct Watched {
    run: Arc<Run>,
}

struct Run {
    until: Instant,
    options: RunOptions<NoSelectedOutputs>,
    stopped: AtomicBool,
}

#[derive(Default)]
struct Watchdog {
    runs: Mutex<Runs>,
    sooner: Condvar,
}

#[derive(Default)]
struct Runs {
    watched: Vec<Arc<Run>>,
    /// The thread looks again then; `None`: when it is told to.
    looks: Option<Instant>,
}

/// The run that is made with `options` is stopped, at the next operator, once `deadline` is over.
pub(super) fn watch(options: RunOptions<NoSelectedOutputs>, deadline: Duration) -> Watched {
    let run = Arc::new(Run { until: Instant::now() + deadline, options, stopped: AtomicBool::new(false) });
    let mut runs = WATCHDOG.lock();
    runs.watched.push(Arc::clone(&run));
    if runs.looks.is_none_or(|looks| run.until < looks) {
        WATCHDOG.sooner.notify_one();
    }
    drop(runs);
    Watched { run }
}

impl Watched {
    pub(super) fn options(&self) -> &RunOptions<NoSelectedOutputs> {
        &self.run.options
    }

    /// Its time was over before it was.
    pub(super) fn was_stopped(&self) -> bool {
        self.run.stopped.load(Relaxed)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        WATCHDOG.lock().watched.retain(|run| !Arc::ptr_eq(run, &self.run));
    }
}

impl Watchdog {
    fn start() -> &'static Self {
        let watchdog: &'static Self = Box::leak(Box::default());
        let thread = std::thread::Builder::new().name("deadlines".into()).spawn(|| watchdog.work());
        thread.expect("a process that cannot start a thread cannot watch cameras");
        watchdog
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().expect("nothing panics while it is held")
    }

    fn work(&self) {
        let mut runs = self.lock();
        loop {
            let now = Instant::now();
            for run in runs.watched.iter().filter(|run| run.until <= now && !run.stopped.load(Relaxed)) {
                run.stopped.store(run.options.terminate().is_ok(), Relaxed);
            }
            let left = runs.watched.iter().filter(|run| run.until > now);
            runs.looks = left.map(|run| run.until).min();
            let poisoned = "nothing panics while it is held";
            runs = match runs.looks {
                Some(looks) => self.sooner.wait_timeout(runs, looks - now).expect(poisoned).0,
                None => self.sooner.wait(runs).expect(poisoned),
            };
        }
    }
}
