//! Which frames of a camera are analysed, and where a run breaks: a pure rule on presentation times.

use std::time::Duration;

/// A frame may come this much of a period before it is due: RTP timestamps jitter.
const EARLY: f64 = 0.25;
/// A hole of more than this many frame intervals between source frames breaks the run.
const HOLE: f64 = 1.75;
/// Share of the phase error that is followed while no frame is thinned out, so that a source a little
/// faster than the analysis rate slips into step instead of losing one frame every so often.
const FOLLOW: f64 = 0.125;
/// Taken for the frame interval of a source that gives neither times nor a rate.
const UNKNOWN_INTERVAL: f64 = 0.04;

/// What becomes of a frame that is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kept {
    /// Presentation time, made up from the frame rate where the stream has none.
    pub pts: Duration,
    /// It does not follow the kept frame before it: begin a new run here.
    pub new_run: bool,
}

/// Thins a stream to the analysis rate: deterministic, and locked to the phase of the first frame.
///
/// A frame is kept when it is due or at most a quarter of a period early. So a 10 fps source at 10 fps keeps
/// every frame whatever its timestamps jitter, 25 -> 10 keeps every second and third in turn, and 25 -> 12.5
/// every second. A slower source is taken as it is.
#[derive(Debug)]
pub(super) struct Thinner {
    /// Seconds; the arithmetic is in f64, exact to nanoseconds over months.
    period: f64,
    due: Option<f64>,
    last: Option<f64>,
    last_kept: f64,
    /// The newest intervals between source frames, for their median.
    intervals: [f64; 5],
    known: usize,
    /// The frame before this one was kept.
    kept_last: bool,
    /// The run broke at a frame that was then thinned out.
    broken: bool,
}

impl Thinner {
    /// Thins to `fps` frames a second.
    pub(super) fn new(fps: f64) -> Self {
        Self {
            period: 1.0 / fps,
            due: None,
            last: None,
            last_kept: 0.0,
            intervals: [0.0; 5],
            known: 0,
            kept_last: false,
            broken: true,
        }
    }

    /// Decides on the next source frame. `declared` is the stream's own frame interval if it gives one;
    /// `discontinuity` says that the decoder lost its thread before this frame. `None`: leave it out.
    pub(super) fn frame(
        &mut self,
        pts: Option<Duration>,
        declared: Option<Duration>,
        discontinuity: bool,
    ) -> Option<Kept> {
        let now = self.passed(pts, declared);
        self.broken |= discontinuity;
        let due = self.due.unwrap_or(now);
        if now < due - EARLY * self.period {
            self.kept_last = false;
            return None;
        }
        let error = now - due;
        self.due = Some(if error > self.period {
            now + self.period
        } else if self.kept_last {
            due + self.period + FOLLOW * error
        } else {
            due + self.period
        });
        self.kept_last = true;
        self.last_kept = now;
        Some(Kept { pts: Duration::from_secs_f64(now), new_run: std::mem::take(&mut self.broken) })
    }

    /// A frame that is left out, whatever is due: it is in its place, but there is nothing of it to keep.
    pub(super) fn left_out(&mut self, pts: Duration) {
        self.passed(Some(pts), None);
        self.kept_last = false;
    }

    /// Takes note of the next source frame's time, seconds.
    fn passed(&mut self, pts: Option<Duration>, declared: Option<Duration>) -> f64 {
        let usual = self.usual_interval();
        let now = match (pts, self.last) {
            (Some(pts), _) => pts.as_secs_f64(),
            (None, None) => 0.0,
            (None, Some(last)) => {
                last + declared.map(|d| d.as_secs_f64()).or(usual).unwrap_or(UNKNOWN_INTERVAL)
            }
        };
        let usual = usual.unwrap_or(self.period);
        if let Some(last) = self.last {
            let step = now - last;
            if step < 0.0 {
                // Time went back: another stream, or the file began again.
                self.due = None;
                self.broken = true;
            } else {
                let hole = step > HOLE * self.period.max(usual);
                // Thinning itself leaves at most a period and a source interval between kept frames.
                let missed =
                    now - self.last_kept > (1.0 + EARLY) * self.period + usual && step > HOLE * usual;
                self.broken |= hole || missed;
                if step > 0.0 {
                    self.intervals[self.known % self.intervals.len()] = step;
                    self.known += 1;
                }
            }
        }
        self.last = Some(now);
        now
    }

    /// Median of the newest intervals between source frames, seconds.
    fn usual_interval(&self) -> Option<f64> {
        let n = self.known.min(self.intervals.len());
        let mut sorted = self.intervals;
        sorted[..n].sort_by(f64::total_cmp);
        (n > 0).then(|| sorted[n / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Indices of the frames kept, and of those that began a run.
    fn thin(fps: f64, times: impl IntoIterator<Item = f64>) -> (Vec<usize>, Vec<usize>) {
        let mut thinner = Thinner::new(fps);
        let (mut kept, mut runs) = (vec![], vec![]);
        for (i, t) in times.into_iter().enumerate() {
            if let Some(k) = thinner.frame(Some(Duration::from_secs_f64(t)), None, false) {
                kept.push(i);
                runs.extend(k.new_run.then_some(i));
            }
        }
        (kept, runs)
    }

    fn every(seconds: f64, n: usize) -> Vec<f64> {
        (0..n).map(|i| 1.0 + i as f64 * seconds).collect()
    }

    #[test]
    fn the_same_rate_keeps_every_frame_whatever_the_jitter() {
        let jitter = |i: usize| ((i * 7919 % 41) as f64 - 20.0) / 1000.0;
        let times = every(0.1, 1000).into_iter().enumerate().map(|(i, t)| t + jitter(i));
        assert_eq!(thin(10.0, times), ((0..1000).collect(), vec![0]));
    }

    #[test]
    fn a_clock_that_runs_a_little_fast_or_slow_costs_no_frame() {
        for interval in [0.0985, 0.0999, 0.1001, 0.103] {
            assert_eq!(thin(10.0, every(interval, 3000)), ((0..3000).collect(), vec![0]), "{interval}");
        }
    }

    #[test]
    fn twenty_five_to_ten_alternates_two_and_three() {
        let (kept, runs) = thin(10.0, every(0.04, 251));
        let steps: Vec<_> = kept.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(steps.chunks(2).all(|s| s == [2, 3]), "{steps:?}");
        assert_eq!((kept.len(), runs), (101, vec![0]));
    }

    #[test]
    fn twenty_five_to_twelve_and_a_half_takes_every_second() {
        assert_eq!(thin(12.5, every(0.04, 100)), ((0..100).step_by(2).collect(), vec![0]));
    }

    #[test]
    fn a_slower_camera_is_taken_as_it_is_and_settles_into_one_run() {
        let (kept, runs) = thin(10.0, every(0.2, 100));
        assert_eq!(kept.len(), 100);
        assert!(runs.iter().all(|&i| i < 3), "{runs:?}");
    }

    #[test]
    fn rates_just_above_the_analysis_rate_do_not_break_the_run() {
        for fps in [10.5, 11.0, 12.0, 13.0, 15.0, 19.0, 29.97, 60.0] {
            let (kept, runs) = thin(10.0, every(1.0 / fps, 2000));
            assert_eq!(runs, [0], "{fps} fps");
            let rate = (kept.len() - 1) as f64 * fps / 2000.0;
            assert!((9.8..10.6).contains(&rate), "{fps} fps gives {rate}");
        }
    }

    #[test]
    fn lost_frames_break_the_run_only_where_it_shows() {
        let without = |interval: f64, lost: std::ops::Range<usize>| {
            let times = every(interval, 100).into_iter().enumerate();
            thin(10.0, times.filter(|(i, _)| !lost.contains(i)).map(|(_, t)| t)).1
        };
        assert_eq!(without(0.1, 50..51), [0, 50], "one of ten a second");
        assert_eq!(without(0.04, 50..51), [0], "one of twenty-five a second is bridged");
        assert_eq!(without(0.04, 50..56).len(), 2, "a quarter of a second is a hole");
    }

    #[test]
    fn discontinuities_and_time_that_goes_back_begin_a_run() {
        let ms = |t| Some(Duration::from_millis(t));
        let mut thinner = Thinner::new(10.0);
        let runs = [(0, false), (100, false), (140, true), (200, false), (0, false), (100, false)]
            .map(|(t, lost)| thinner.frame(ms(t), None, lost).map(|k| k.new_run));
        assert_eq!(runs, [Some(true), Some(false), None, Some(true), Some(true), Some(false)]);
    }

    #[test]
    fn missing_times_are_made_up_from_the_declared_rate() {
        let mut thinner = Thinner::new(10.0);
        let declared = Some(Duration::from_millis(40));
        let kept: Vec<_> =
            (0..6).filter_map(|_| thinner.frame(None, declared, false)).map(|k| k.pts.as_millis()).collect();
        assert_eq!(kept, [0, 80, 200]);
    }
}
