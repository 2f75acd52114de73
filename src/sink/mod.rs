//! What is in the outbox, delivered: one thread a sink, each with a cursor of its own.
//!
//! A sink is at the mercy of others' machines, so nothing waits for it: what is to be told lies in the store, a sink
//! reads it page by page, and is as far behind as it is.

mod address;
mod discovery;
mod email;
mod jsonl;
mod mqtt;
mod runner;
mod webhook;

use crate::alert::Severity;
use crate::api::{Cameras, SinkState, SinkStatus, Sinks};
use crate::base::{Clock, Timestamp};
use crate::config::{self, Grade, To, Wants};
use crate::store::{DeadLetter, Letter, MOST_LETTERS, OLDEST_LETTER, Store, StoreError, Subject};
use crate::telemetry::{Delivery, Metrics};
use crossbeam_channel::{Sender, bounded};
use runner::Runner;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A clean stop waits this long for what is on its way; the rest is delivered by the next life.
const LAST_CALL: Duration = Duration::from_secs(3);

/// Something that can be told.
trait Deliver: Send {
    /// Letters that it is given at once, at most.
    fn page(&self) -> usize {
        64
    }

    /// Delivers letters in their order, as many as it can.
    fn deliver(&mut self, letters: &[&Letter]) -> Delivered;

    /// There is nothing to deliver for `time`, or it is to be tried again then. Gives whether it used the time, or
    /// leaves the waiting to the caller.
    fn rest(&mut self, _time: Duration) -> bool {
        false
    }

    /// There is nothing to deliver. Gives why that could not be done now either, without secrets.
    fn greet(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// The daemon stops.
    fn close(&mut self) {}
}

/// How far a delivery came.
#[derive(Debug, Clone, PartialEq)]
struct Delivered {
    /// So many letters, from the first, were taken.
    taken: usize,
    /// What is with the one after them.
    then: Then,
}

#[derive(Debug, Clone, PartialEq)]
enum Then {
    /// There is none.
    Done,
    /// It is too early for it.
    NotBefore(Duration),
    /// It could not be delivered; another attempt may help. The reason holds no secret.
    Later(String),
    /// The other side will not have this letter. The reason holds no secret.
    Refused(String),
}

/// What a sink's thread last knew.
#[derive(Debug, Clone, Default)]
struct Known {
    delivered: u64,
    failing_since: Option<Timestamp>,
    last_error: Option<String>,
}

/// A sink at work.
struct Post {
    sink: config::Sink,
    known: Arc<Mutex<Known>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What sinks work with.
#[derive(Clone)]
pub struct Parts {
    pub store: Arc<Store>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    pub cameras: Arc<dyn Cameras>,
}

/// All sinks of the daemon.
pub struct Posts {
    parts: Parts,
    posts: RwLock<Vec<Post>>,
}

/// Sinks that are to be, with all that could have failed. Dropped, they are not.
pub struct NextPosts {
    /// In the configuration's order; `None`: the one that there is goes on.
    sinks: Vec<(String, Option<Made>)>,
}

/// A sink, and what its thread waits for.
type Made = (Post, Sender<()>);

impl Posts {
    /// Starts a thread for each sink; each begins where it was, a new one with what comes from now on.
    ///
    /// # Errors
    /// When the store fails, or no thread can be had.
    pub fn start(sinks: &[config::Sink], parts: &Parts) -> Result<Self, StartError> {
        let posts = Self { parts: parts.clone(), posts: RwLock::default() };
        posts.commit(posts.prepare(sinks)?);
        Ok(posts)
    }

    /// Prepares that there are these sinks, and no others. Those that are as they were go on untouched.
    ///
    /// # Errors
    /// When the store fails, or no thread can be had; nothing has changed then.
    pub fn prepare(&self, sinks: &[config::Sink]) -> Result<NextPosts, StartError> {
        let mut next = vec![];
        let before = self.posts();
        for sink in sinks {
            let stays = before.iter().any(|post| post.sink == *sink);
            let made = if stays { None } else { Some(self.make(sink)?) };
            next.push((sink.name.clone(), made));
        }
        // Last of all, since it cannot be undone.
        self.parts.store.set_sinks(&sinks.iter().map(|sink| sink.name.clone()).collect::<Vec<_>>())?;
        Ok(NextPosts { sinks: next })
    }

    /// A sink whose thread waits for a word.
    fn make(&self, sink: &config::Sink) -> Result<Made, StartError> {
        let known = Arc::new(Mutex::new(Known::default()));
        let runner = Runner::new(sink, open(sink, &self.parts), known.clone(), &self.parts);
        let stop = Arc::new(AtomicBool::new(false));
        let name: String = format!("sink-{}", sink.name).chars().take(15).collect();
        let (begin, begins) = bounded(1);
        let thread = std::thread::Builder::new().name(name).spawn({
            let stop = stop.clone();
            move || {
                if begins.recv().is_ok() {
                    runner.run(&stop);
                }
            }
        })?;
        Ok((Post { sink: sink.clone(), known, stop, thread }, begin))
    }

    /// Has the prepared sinks take over. One that changed ends first, so that nothing is told twice without need.
    pub fn commit(&self, next: NextPosts) {
        let stays =
            |post: &Post| next.sinks.iter().any(|(name, new)| *name == post.sink.name && new.is_none());
        {
            let posts = self.posts();
            let leave: Vec<&Post> = posts.iter().filter(|post| !stays(post)).collect();
            end(&leave);
        }
        let mut all = self.posts.write().expect("nothing panics while it is held");
        let mut before = std::mem::take(&mut *all);
        let mut posts = vec![];
        for (name, new) in next.sinks {
            match new {
                Some((post, begin)) => {
                    // Its thread waits for nothing else.
                    let _ = begin.send(());
                    posts.push(post);
                }
                None => posts.extend(before.extract_if(.., |post| post.sink.name == name)),
            }
        }
        // While nobody lists them: whoever did would count the one that has gone once more.
        let gone = |post: &&Post| posts.iter().all(|other| other.sink.name != post.sink.name);
        before.iter().filter(gone).for_each(|post| self.parts.metrics.forget_sink(&post.sink.name));
        *all = posts;
    }

    fn posts(&self) -> RwLockReadGuard<'_, Vec<Post>> {
        self.posts.read().expect("nothing panics while it is held")
    }

    /// Removes what every sink is done with, and counts what was dropped; to be called now and then.
    pub fn sweep(&self) -> Result<(), StoreError> {
        loop {
            let lost = self.parts.store.sweep_outbox(MOST_LETTERS, OLDEST_LETTER)?;
            if lost.is_empty() {
                break;
            }
            for (name, letters) in lost {
                let Some(dropped) = self
                    .named(&name, |sink| letters.iter().filter(|letter| wants(&sink.wants, letter)).count())
                else {
                    continue;
                };
                if dropped > 0 {
                    tracing::error!(sink = %name, "{dropped} announcements are dropped: too many or too old");
                    self.parts.metrics.delivery(&name, Delivery::Dropped, dropped as u64);
                }
            }
        }
        let posts = self.posts();
        for status in self.statuses(&posts)? {
            self.parts.metrics.sink(&status.name, status.state == SinkState::Ok, status.waiting);
        }
        Ok(())
    }

    /// Ends the threads once they have delivered what they can, or after three seconds.
    pub fn stop(&self) {
        end(&self.posts().iter().collect::<Vec<_>>());
    }

    fn statuses(&self, posts: &[Post]) -> Result<Vec<SinkStatus>, StoreError> {
        let status = |post: &Post| {
            let known = post.known.lock().expect("nothing panics while it is held").clone();
            let name = post.sink.name.clone();
            Ok(SinkStatus {
                kind: post.sink.to.kind().name(),
                state: if known.failing_since.is_some() { SinkState::Failing } else { SinkState::Ok },
                delivered: known.delivered,
                waiting: self.parts.store.count_after(self.parts.store.passed(&name)?)?,
                failing_since: known.failing_since,
                last_error: known.last_error,
                dead_letters: self.parts.store.count_dead(&name)?,
                name,
            })
        };
        posts.iter().map(status).collect()
    }

    fn named<R>(&self, name: &str, about: impl FnOnce(&config::Sink) -> R) -> Option<R> {
        self.posts().iter().find(|post| post.sink.name == name).map(|post| about(&post.sink))
    }
}

/// Ends these sinks. One that still waits for another machine is left to itself: its letters are on disk.
fn end(posts: &[&Post]) {
    posts.iter().for_each(|post| post.stop.store(true, Ordering::Relaxed));
    let began = Instant::now();
    while began.elapsed() < LAST_CALL && posts.iter().any(|post| !post.thread.is_finished()) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Why the sinks cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot start the thread of a sink: {0}")]
    Thread(#[from] io::Error),
}

impl Sinks for Posts {
    fn list(&self) -> Result<Vec<SinkStatus>, StoreError> {
        self.statuses(&self.posts())
    }

    fn dead(&self, sink: &str) -> Result<Option<Vec<DeadLetter>>, StoreError> {
        self.named(sink, |sink| self.parts.store.dead_letters(&sink.name, false)).transpose()
    }

    fn retry(&self, sink: &str) -> Result<Option<usize>, StoreError> {
        self.named(sink, |sink| self.parts.store.retry_dead(&sink.name)).transpose()
    }
}

fn open(sink: &config::Sink, parts: &Parts) -> Box<dyn Deliver> {
    let clock = parts.clock.clone();
    match &sink.to {
        To::Webhook(hook) => Box::new(webhook::Hook::new(hook, clock)),
        To::Mqtt(broker) => Box::new(mqtt::Broker::new(&sink.name, broker, &sink.wants.cameras, parts)),
        To::Jsonl(file) => Box::new(jsonl::File::new(file)),
        To::Email(mail) => Box::new(email::Mailer::new(mail, parts.store.clone(), clock)),
    }
}

/// Whether a sink is to be told.
fn wants(wants: &Wants, letter: &Letter) -> bool {
    let said = &letter.announcement;
    let change = match said.subject {
        Subject::AlertNew => wants.new,
        Subject::AlertUpdate => wants.update,
        Subject::AlertEnd => wants.end,
        Subject::CameraState => wants.camera_states,
    };
    let grave = said.severity.is_none_or(|severity| wants.min_severity <= severity.into());
    change && grave && (wants.cameras.is_empty() || wants.cameras.contains(&said.camera))
}

/// What a sink is given: the announcement with its delivery, what it is about, and when it was made.
fn message(letter: &Letter) -> serde_json::Value {
    let mut body: serde_json::Value =
        serde_json::from_str(&letter.announcement.body).unwrap_or_else(|_| serde_json::json!({}));
    body["delivery"] = letter.delivery().into();
    body["topic"] = letter.announcement.subject.name().into();
    body["time"] = letter.time.to_string().into();
    body
}

impl From<Severity> for Grade {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Low => Self::Low,
            Severity::Medium => Self::Medium,
            Severity::High => Self::High,
        }
    }
}
