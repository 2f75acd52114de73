//! The configuration read again while the daemon runs: what has changed is changed and the rest goes on, or everything
//! stays as it was and it is said why.

use super::keeper::KeeperTold;
use super::notify;
use super::roster::{Failure, Outcome, Roster};
use super::stop::Stop;
use crate::access::Access;
use crate::api::{Configuration, ReloadRefused, Reloaded};
use crate::base::Clock;
use crate::config::{Config, Invalid, Loaded};
use crate::sink::Posts;
use crate::telemetry::Metrics;
use sd_notify::NotifyState;
use signal_hook::consts::SIGHUP;
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

/// Said of a configuration that is right in itself, where something that it names cannot be had.
const GOES_ON: &str = "everything goes on as it was; mend this, and have the configuration read again";
/// Signals are looked for this often.
const LOOK: Duration = Duration::from_millis(250);

/// Reads the configuration from where it is, with everything that can be found wrong with it.
pub type Load = Box<dyn Fn() -> Result<Loaded, Invalid> + Send + Sync>;

/// Set by SIGHUP: the configuration is to be read again.
#[derive(Debug, Clone, Default)]
pub struct Again(Arc<AtomicBool>);

impl Again {
    /// From now on the signal does not end the program.
    pub fn on_signal(&self) -> std::io::Result<()> {
        flag::register(SIGHUP, self.0.clone()).map(drop)
    }

    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Who changes what runs, one change at a time.
pub struct Reloader {
    load: Load,
    /// `None` once the daemon stops.
    running: Mutex<Option<Running>>,
    /// As the API shows it; apart, since that waits for nothing.
    shown: Mutex<serde_json::Value>,
    access: Arc<Access>,
    posts: Arc<Posts>,
    keeper: Arc<KeeperTold>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

/// What changes beside the cameras, and what tells of it.
pub struct Parts {
    pub access: Arc<Access>,
    pub posts: Arc<Posts>,
    pub keeper: Arc<KeeperTold>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
}

/// What a change is made to.
struct Running {
    roster: Roster,
    /// In force.
    config: Config,
}

impl Reloader {
    pub fn new(load: Load, roster: Roster, config: &Config, parts: Parts) -> Self {
        let Parts { access, posts, keeper, metrics, clock } = parts;
        let (running, shown) = (Running { roster, config: config.clone() }, config.redacted());
        let (running, shown) = (Mutex::new(Some(running)), Mutex::new(shown));
        let reloader = Self { load, running, shown, access, posts, keeper, metrics, clock };
        reloader.count(true);
        reloader
    }

    /// Stops the cameras; nothing changes any more. A change that is under way is waited for.
    pub fn close(&self) {
        let running = self.lock().take();
        if let Some(Running { roster, .. }) = running {
            roster.close();
        }
    }

    /// Answers SIGHUP until the stop; one that comes meanwhile is answered after.
    pub fn run(&self, again: &Again, stop: &Stop) {
        while !stop.requested() {
            if again.0.swap(false, Ordering::Relaxed) {
                // What came of it is in the log.
                let _ = self.change(&mut self.lock());
            }
            self.clock.sleep(LOOK);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().expect("nothing panics while a change is made")
    }

    /// Tells the service manager and the log what becomes of it.
    fn change(&self, running: &mut Option<Running>) -> Result<Reloaded, ReloadRefused> {
        let running = running.as_mut().ok_or(ReloadRefused::Stopping)?;
        // Both in one message, or the service manager takes the reload for failed.
        let begins: Vec<NotifyState> =
            std::iter::once(NotifyState::Reloading).chain(NotifyState::monotonic_usec_now()).collect();
        notify(&begins);
        let outcome = self.read_and_change(running);
        notify(&[NotifyState::Ready]);
        self.count(outcome.is_ok());
        match &outcome {
            Ok(done) => tell(done),
            Err(ReloadRefused::Invalid(invalid)) => {
                for problem in &invalid.problems {
                    tracing::error!("the configuration is not taken over: {problem}");
                }
            }
            Err(refused) => tracing::error!("the configuration is not taken over: {refused}"),
        }
        outcome
    }

    fn read_and_change(&self, running: &mut Running) -> Result<Reloaded, ReloadRefused> {
        let mut loaded = (self.load)().map_err(ReloadRefused::Invalid)?;
        let needs_restart = keep_what_needs_a_restart(&running.config, &mut loaded.config);
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        // All that can fail ...
        let next = running
            .roster
            .prepare(&loaded.config)
            .map_err(|Failure { key, error }| impossible(&loaded, &key, &format!("{error:#}")))?;
        let sinks = self.posts.prepare(&loaded.config.sinks);
        let sinks = sinks.map_err(|error| impossible(&loaded, "sink", &error.to_string()))?;
        // ... and nothing that can.
        let Outcome { added, changed, removed, unchanged } = next.outcome.clone();
        running.roster.commit(next);
        *self.keeper.limits.lock().expect("nothing panics while it is held") =
            super::limits(&loaded.config.store);
        self.posts.commit(sinks);
        if loaded.config.users != running.config.users {
            self.access.change(&loaded.config.users);
        }
        *self.shown.lock().expect("nothing panics while it is held") = loaded.config.redacted();
        running.config = loaded.config;
        let warnings = loaded.warnings.into_iter().map(Into::into).collect();
        Ok(Reloaded { added, changed, removed, unchanged, needs_restart, warnings })
    }

    fn count(&self, good: bool) {
        self.metrics.reloaded(good, self.clock.now().as_microsecond() as f64 / 1e6);
    }
}

impl Configuration for Reloader {
    fn in_force(&self) -> serde_json::Value {
        self.shown.lock().expect("nothing panics while it is held").clone()
    }

    fn reload(&self) -> Result<Reloaded, ReloadRefused> {
        match self.running.try_lock() {
            Ok(mut running) => self.change(&mut running),
            Err(TryLockError::WouldBlock) => Err(ReloadRefused::Busy),
            Err(TryLockError::Poisoned(_)) => Err(ReloadRefused::Stopping),
        }
    }
}

/// What is right in itself, and names something that cannot be had.
fn impossible(loaded: &Loaded, key: &str, problem: &str) -> ReloadRefused {
    let problem = loaded.problem(key, problem, GOES_ON);
    ReloadRefused::Invalid(Invalid { problems: vec![problem], warnings: loaded.warnings.clone() })
}

fn tell(done: &Reloaded) {
    let Reloaded { added, changed, removed, unchanged, needs_restart, .. } = done;
    let list = |names: &[crate::base::CameraName]| match names {
        [] => "none".to_owned(),
        _ => names.iter().map(|name| &**name).collect::<Vec<_>>().join(", "),
    };
    tracing::info!(
        "the configuration was read again: added {}; changed {}; removed {}; {} unchanged",
        list(added),
        list(changed),
        list(removed),
        unchanged.len()
    );
    for key in needs_restart {
        tracing::warn!("{key}: takes effect after a restart");
    }
}

/// Leaves what cannot change while the daemon runs as it is `in_force`; gives the keys.
fn keep_what_needs_a_restart(in_force: &Config, new: &mut Config) -> Vec<String> {
    let mut keys = vec![];
    fn keep<T: Clone + PartialEq>(keys: &mut Vec<String>, key: &str, old: &T, new: &mut T) {
        if old != new {
            new.clone_from(old);
            keys.push(key.into());
        }
    }
    let served = in_force.http != new.http;
    keep(&mut keys, "http.listen", &in_force.http.listen, &mut new.http.listen);
    keep(&mut keys, "http.hosts", &in_force.http.hosts, &mut new.http.hosts);
    keep(&mut keys, "http.tls", &in_force.http.tls, &mut new.http.tls);
    keep(&mut keys, "store.dir", &in_force.store.dir, &mut new.store.dir);
    let (old, runtime) = (&in_force.runtime, &mut new.runtime);
    keep(&mut keys, "runtime.onnxruntime", &old.onnxruntime, &mut runtime.onnxruntime);
    keep(&mut keys, "runtime.workers", &old.workers, &mut runtime.workers);
    if served {
        // Whom it is safe to serve depends on where: without users, nobody beyond loopback.
        keep(&mut keys, "user", &in_force.users, &mut new.users);
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Surroundings, load_text};
    use std::path::Path;

    fn config(text: &str) -> Config {
        let around = Surroundings { dir: Path::new("/"), env: &|_| None, world_readable: false };
        let library = crate::infer::library_for_tests();
        let runtime = format!(
            "[runtime]\nonnxruntime = \"{}\"\npipelines = \"{}/pipelines\"",
            library.display(),
            env!("CARGO_MANIFEST_DIR")
        );
        let text = format!("{text}\n[[camera]]\nname = \"plaza\"\nsource = \"synthetic\"\n");
        let text = text.replace("[runtime]", &runtime);
        load_text("a test", &text, &around).expect("a good configuration").config
    }

    #[test]
    fn what_needs_a_restart_stays_and_is_named() {
        let hash = crate::access::hash_password("open sesame");
        let users = format!("[[user]]\nname = \"anna\"\nrole = \"admin\"\npassword_hash = \"{hash}\"\n");
        let old = config(&format!("[http]\nlisten = \"127.0.0.1:9000\"\n[runtime]\nworkers = 1\n{users}"));
        let mut same = config("[http]\nlisten = \"127.0.0.1:9000\"\n[runtime]\nworkers = 1\n");
        assert_eq!(keep_what_needs_a_restart(&old, &mut same), [""; 0]);
        assert!(same.users.is_empty(), "users change while it runs");
        let mut new =
            config("[http]\nlisten = \"127.0.0.1:9001\"\n[store]\nkeep = \"3d\"\n[runtime]\nworkers = 2\n");
        let keys = keep_what_needs_a_restart(&old, &mut new);
        assert_eq!(keys, ["http.listen", "runtime.workers", "user"]);
        assert_eq!((new.http.listen, new.runtime.workers), (old.http.listen, 1));
        assert_eq!(new.users, old.users, "nobody is let in where it was not meant");
        assert_ne!(new.store.keep, old.store.keep);
    }
}
