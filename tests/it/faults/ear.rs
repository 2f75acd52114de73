//! What the event stream told, and when: how soon something was said, and how late scores came.

use super::{Finding, Row, Scale};
use crate::program::Daemon;
use rand::RngExt;
use serde_json::Value;
use sigmawatch::base::Timestamp;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One message of the stream.
#[derive(Clone)]
pub struct Heard {
    pub at: Instant,
    pub topic: String,
    pub data: Value,
    /// Of a score: seconds since its segment's last frame had come.
    pub late: f64,
}

impl Heard {
    /// Whether it is about this camera.
    pub fn of(&self, camera: &str) -> bool {
        self.data["camera"] == camera || self.data["name"] == camera
    }

    pub fn is_score_of(&self, camera: &str) -> bool {
        self.topic == "score" && self.of(camera)
    }

    /// Whether it says that this camera is in this state.
    pub fn says(&self, camera: &str, state: &str) -> bool {
        self.topic == "camera.state" && self.of(camera) && self.data["state"] == state
    }
}

/// Hears everything that the daemon tells, from when it was made.
pub struct Ear {
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Ear {
    pub fn new(daemon: &Daemon) -> Self {
        let (stream, heard) = (daemon.stream(), Arc::new(Mutex::new(vec![])));
        let keeps = heard.clone();
        std::thread::spawn(move || {
            for (topic, data) in stream {
                let now = Timestamp::now();
                let time = data["time"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
                let late = time.map_or(0.0, |time| now.duration_since(time).as_secs_f64());
                let heard = Heard { at: Instant::now(), topic, data, late };
                keeps.lock().expect("held by no panic").push(heard);
            }
        });
        Self { heard }
    }

    /// Every message from `since` on that `wanted` wants.
    pub fn all(&self, since: Instant, wanted: impl Fn(&Heard) -> bool) -> Vec<Heard> {
        let heard = self.heard.lock().expect("held by no panic");
        let from = heard.partition_point(|heard| heard.at < since);
        heard[from..].iter().filter(|heard| wanted(heard)).cloned().collect()
    }

    /// Waits for the first message from `since` on that is `wanted`; gives the time until it came, and it.
    pub fn first(
        &self,
        since: Instant,
        patience: Duration,
        wanted: impl Fn(&Heard) -> bool,
    ) -> Option<(Duration, Heard)> {
        loop {
            let found = self.all(since, &wanted).into_iter().next();
            if let Some(heard) = found {
                return Some((heard.at - since, heard));
            }
            if since.elapsed() > patience {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How late the scores of cameras with this beginning of a name came, within this time; seconds.
    pub fn lateness(&self, name: &str, from: Instant, to: Instant) -> Vec<f64> {
        let of = |heard: &Heard| heard.data["camera"].as_str().is_some_and(|camera| camera.starts_with(name));
        let heard = self.all(from, |heard| heard.topic == "score" && heard.at <= to && of(heard));
        heard.iter().map(|heard| heard.late).collect()
    }
}

/// The value below which this share of them lies; 0 of none.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().unwrap_or(0.0)
}

/// How late others' scores came, in calm and in trouble by turns.
#[derive(Default)]
pub struct Others {
    calm: Vec<Vec<f64>>,
    trouble: Vec<f64>,
}

impl Others {
    pub fn calm(&mut self, late: Vec<f64>) {
        self.calm.push(late);
    }

    pub fn trouble(&mut self, late: Vec<f64>) {
        self.trouble.extend(late);
    }

    /// What became of them, of a row at length: a few scores say nothing.
    pub fn finding(&self, row: Row, scale: Scale) -> Option<Finding> {
        if scale == Scale::Short {
            return None;
        }
        let (figure, pass) = self.verdict();
        Some(row.finding("other cameras' p99 latency: +10 % at most", figure, pass))
    }

    /// A tenth more at most, beyond what so many scores of the calm differ by among themselves (the 95th percentile of
    /// their p99 in 400 draws of as many scores, in pieces of ten that follow each other): what the figure says, and
    /// whether it holds.
    fn verdict(&self) -> (String, bool) {
        let p99 = |values: &[f64]| 1e3 * quantile(values, 0.99);
        let all = self.calm.concat();
        let pieces: Vec<&[f64]> = self.calm.iter().flat_map(|calm| calm.chunks(10)).collect();
        let (calm, trouble, scores) = (p99(&all), p99(&self.trouble), self.trouble.len());
        if pieces.is_empty() || scores == 0 {
            return (format!("{} scores in calm, {scores} in trouble", all.len()), false);
        }
        let mut random = rand::rng();
        let mut draw = || {
            let mut drawn = vec![];
            while drawn.len() < scores {
                drawn.extend_from_slice(pieces[random.random_range(0..pieces.len())]);
            }
            p99(&drawn)
        };
        let draws: Vec<f64> = (0..400).map(|_| draw()).collect();
        let by_chance = quantile(&draws, 0.95);
        let more = 100.0 * (trouble / calm - 1.0);
        let figure = format!(
            "p99 {trouble:.1} ms of {scores} scores, {calm:.1} ms of {} in calm ({more:+.0} %; by chance up to {by_chance:.1})",
            all.len()
        );
        (figure, trouble <= calm * 1.1 + (by_chance - calm).max(0.0))
    }
}
