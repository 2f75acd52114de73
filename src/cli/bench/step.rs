//! One number of cameras, measured.

use super::machine::{Daemon, Setting, worked};
use super::scrape::Scrape;
use super::{pause, say};
use anyhow::Result;
use serde::Serialize;
use std::time::{Duration, Instant};

/// So long nothing is measured once all cameras are there.
pub const SETTLE: Duration = Duration::from_secs(5);
/// What comes before the measuring takes no longer than this.
const LEAD: Duration = Duration::from_secs(70);
/// Verdicts later than this are late: goal of the alert latency, in milliseconds.
const LATE: f64 = 250.0;
/// More than this share of the segments may not be dropped ...
const DROPPED: f64 = 0.01;
/// ... and no less than this share of the frames must come.
const FRAMES: f64 = 0.97;
/// Alerts that say something about a percentile.
const ALERTS: f64 = 10.0;
/// Cameras that are too many are watched for so many times longer: they take turns in giving way, and another program may
/// have been in the way for a moment.
const LONGER: u32 = 4;

/// What was measured with so many cameras.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Step {
    pub cameras: usize,
    /// CPU cores of the daemon.
    pub cores: f64,
    /// CPU cores of all other programs meanwhile.
    pub others_cores: f64,
    /// Resident memory as soon as all compressed video is there that is kept for clips, MiB; and as measured.
    pub memory_mib: f64,
    pub memory_now_mib: f64,
    /// From a segment's last frame to what its score means.
    pub latency_p50_ms: Option<f64>,
    pub latency_p99_ms: Option<f64>,
    /// From a segment's last frame to the alert, which is on disk by then; where there were enough.
    pub alert_latency_p99_ms: Option<f64>,
    /// Segments a second; share of all that were made and dropped.
    pub scored_per_second: f64,
    pub dropped: f64,
    /// Share of the frames that came in time.
    pub frames: f64,
    /// Cameras of which only key frames were decoded at the end.
    pub keyframes_only: usize,
    /// Segments of the least and of the most served camera, as shares of the mean.
    pub least_served: f64,
    pub most_served: f64,
    /// Share of their time that scoring and judging worked, each of which has one thread for all cameras.
    pub scoring_busy: f64,
    pub judging_busy: f64,
    /// Connections made again.
    pub reconnects: f64,
    /// Why these are too many cameras, if they are.
    pub trouble: Option<String>,
}

/// How long a recording must be, for this window.
pub fn length(window: Duration) -> Duration {
    LEAD + window * (1 + LONGER)
}

/// All cameras are there by then, unless the machine is far too slow.
pub fn ready_within(cameras: usize) -> Duration {
    (Duration::from_secs(15) + Duration::from_millis(300) * cameras as u32).min(LEAD - SETTLE)
}

/// Measures so many cameras over `window`. `alerting`: the first of them alerts time and again.
///
/// # Errors
/// Where the daemon does not start, or ends.
pub fn measure(setting: &Setting, cameras: usize, alerting: bool, window: Duration) -> Result<Step> {
    let mut daemon = Daemon::start(setting, cameras, alerting)?;
    let began = Instant::now();
    loop {
        let scored = daemon.scrape()?.grown("sigmawatch_segments_scored_total", &Default::default());
        if scored.iter().filter(|scored| **scored > 0.0).count() == cameras {
            break;
        }
        if began.elapsed() > ready_within(cameras) {
            say(&format!("not all of {cameras} cameras have come to be scored"));
            break;
        }
        pause(Duration::from_millis(250), &setting.stop)?;
    }
    pause(SETTLE, &setting.stop)?;
    let before = Moment::now(&mut daemon)?;
    pause(window, &setting.stop)?;
    let mut step = between(setting, cameras, &before, &Moment::now(&mut daemon)?);
    if step.trouble.is_some() {
        say(&format!("{cameras} cameras seem to be too many; watching them for longer"));
        pause(window * LONGER, &setting.stop)?;
        step = between(setting, cameras, &before, &Moment::now(&mut daemon)?);
    }
    Ok(step)
}

/// All that is read at a moment.
struct Moment {
    at: Instant,
    metrics: Scrape,
    /// CPU seconds of the daemon, and of the whole machine.
    cpu: f64,
    all: f64,
    /// MiB.
    memory: f64,
}

impl Moment {
    fn now(daemon: &mut Daemon) -> Result<Self> {
        let metrics = daemon.scrape()?;
        let (cpu, all, memory) = (daemon.cpu()?, worked()?, daemon.memory()?);
        Ok(Self { at: Instant::now(), metrics, cpu, all, memory })
    }
}

/// What happened between two moments.
fn between(setting: &Setting, cameras: usize, begin: &Moment, end: &Moment) -> Step {
    let (before, after) = (&begin.metrics, &end.metrics);
    let seconds = (end.at - begin.at).as_secs_f64();
    let (cpu, all) = (end.cpu - begin.cpu, end.all - begin.all);
    let grown = |name: &str, label: &str| {
        let name = format!("sigmawatch_{name}");
        after.sum(&name, label) - before.sum(&name, label)
    };
    let late = |name: &str, q: f64| {
        after.quantile(&format!("sigmawatch_{name}_latency_seconds"), before, q).map(|s| s * 1000.0)
    };
    let served = after.grown("sigmawatch_segments_scored_total", before);
    let scored: f64 = served.iter().sum();
    let dropped = grown("segments_skipped_total", "queue_full");
    let mean = (scored / cameras as f64).max(f64::MIN_POSITIVE);
    let held = after.sum("sigmawatch_clip_memory_bytes", "");
    let kept = (setting.kept_bytes * cameras as f64).max(held);
    let mut step = Step {
        cameras,
        cores: cpu / seconds,
        others_cores: ((all - cpu) / seconds).max(0.0),
        memory_mib: end.memory + (kept - held) / f64::from(1 << 20),
        memory_now_mib: end.memory,
        latency_p50_ms: late("score", 0.5),
        latency_p99_ms: late("score", 0.99),
        alert_latency_p99_ms: late("alert", 0.99)
            .filter(|_| grown("alert_latency_seconds_count", "") >= ALERTS),
        scored_per_second: scored / seconds,
        dropped: dropped / (scored + dropped).max(1.0),
        frames: grown("frames_total", "") / (setting.analysed * cameras as f64 * seconds),
        keyframes_only: after.sum("sigmawatch_cameras_keyframes_only", "") as usize,
        least_served: served.iter().copied().fold(f64::INFINITY, f64::min).min(mean) / mean,
        most_served: served.iter().copied().fold(0.0, f64::max) / mean,
        scoring_busy: grown("stage_duration_seconds_sum", "\"score\"") / seconds,
        judging_busy: grown("stage_duration_seconds_sum", "\"decide\"") / seconds,
        reconnects: grown("reconnects_total", ""),
        trouble: None,
    };
    step.trouble = step.too_many();
    step
}

/// The titles of [`Step::row`].
pub const HEAD: &str =
    "cameras   cores  memory MiB  latency p50   p99 ms  segments/s  dropped %  frames %  key frames only";

impl Step {
    /// Why the machine is too slow for them, if it is.
    fn too_many(&self) -> Option<String> {
        let percent = |share: f64| 100.0 * share;
        if self.dropped > DROPPED {
            return Some(format!("{:.1} % of the segments are dropped", percent(self.dropped)));
        }
        if self.keyframes_only > 0 {
            return Some(format!("of {} cameras only key frames are decoded", self.keyframes_only));
        }
        if self.frames < FRAMES {
            return Some(format!("only {:.1} % of the frames come in time", percent(self.frames)));
        }
        match self.latency_p99_ms {
            None => Some("nothing is scored".into()),
            Some(p99) if p99 > LATE => Some(format!("the latency's p99 is {p99:.0} ms")),
            Some(_) => None,
        }
    }

    /// What becomes of cameras that are too many.
    pub fn beyond(&self) -> String {
        let (least, most) = (100.0 * self.least_served, 100.0 * self.most_served);
        format!(
            "{:.1} % of the segments are dropped, {} cameras are down to key frames at the end, and cameras get {least:.0} \
             to {most:.0} % of their mean of {:.1} scores a second",
            100.0 * self.dropped,
            self.keyframes_only,
            self.scored_per_second / self.cameras as f64
        )
    }

    /// Of a table.
    pub fn row(&self) -> String {
        let ms = |latency: Option<f64>| latency.map_or("-".into(), |ms| format!("{ms:.0}"));
        format!(
            "{:>7} {:>7.3} {:>11.1} {:>12} {:>8} {:>11.1} {:>10.2} {:>9.1} {:>16}",
            self.cameras,
            self.cores,
            self.memory_mib,
            ms(self.latency_p50_ms),
            ms(self.latency_p99_ms),
            self.scored_per_second,
            100.0 * self.dropped,
            100.0 * self.frames,
            self.keyframes_only
        )
    }

    /// While it is measured.
    pub fn line(&self) -> String {
        let noun = if self.cameras == 1 { "camera" } else { "cameras" };
        let trouble = self.trouble.as_ref().map_or(String::new(), |trouble| format!(": too many, {trouble}"));
        format!("{} {noun}: {:.3} cores, {:.1} MiB{trouble}", self.cameras, self.cores, self.memory_mib)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Step {
        Step { cameras: 8, frames: 1.0, latency_p99_ms: Some(40.0), ..Step::default() }
    }

    #[test]
    fn what_is_too_much_says_why() {
        assert_eq!(good().too_many(), None);
        for (step, why) in [
            (Step { dropped: 0.02, ..good() }, "2.0 % of the segments"),
            (Step { keyframes_only: 3, ..good() }, "of 3 cameras only key frames"),
            (Step { frames: 0.9, ..good() }, "only 90.0 % of the frames"),
            (Step { latency_p99_ms: Some(300.0), ..good() }, "p99 is 300 ms"),
            (Step { latency_p99_ms: None, ..good() }, "nothing is scored"),
        ] {
            let said = step.too_many().expect("too many");
            assert!(said.contains(why), "{said}");
        }
        assert!(ready_within(1000) + SETTLE <= LEAD);
    }

    #[test]
    fn rows_stand_under_their_titles() {
        assert_eq!(good().row().len(), HEAD.len());
    }
}
