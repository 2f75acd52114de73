//! Verdicts -> events: what one detector's segments do to its open event. Pure: no clock, no disk.

use super::{Change, Event, ModelRef, Quieting, Severity, Why, Zone, zones_of};
use crate::base::{CameraName, DetectorName, Timestamp};
use crate::frame::Stamp;
use crate::infer::{Covers, Grid};
use crate::score::{Reason, Score};
use crate::segment::{MediaClock, Segment};
use crate::threshold::{Debounce, Rule, Step, Threshold, Verdict};
use std::collections::VecDeque;
use std::time::Duration;

/// Regions named in [`Event::top_regions`].
const TOP_REGIONS: usize = 8;
/// How many times rarer than a score at the limit its rarest score is, for an event of medium and of high severity ...
const MEDIUM_RARER: f64 = 100.0;
const HIGH_RARER: f64 = 1e6;
/// ... and, where the tail of normal life is not known, standard deviations above the limit.
const MEDIUM_ABOVE: f64 = 3.0;
const HIGH_ABOVE: f64 = 10.0;
/// An open event is reported again at most this often when its score rises, and this often when not.
const UPDATE_ON_TOP: Duration = Duration::from_secs(1);
const UPDATE_ANYWAY: Duration = Duration::from_secs(5);

/// One scored segment, with what it was scored by.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    pub segment: &'a Segment,
    pub score: &'a Score,
    /// Why it is high, as far as that is known.
    pub reasons: &'a [Reason],
    /// Of normal life giving a score as high; NaN where that is not known.
    pub probability: f64,
    /// Of normal life giving a score as high as the limit; NaN where that is not known.
    pub limit_probability: f64,
    pub verdict: Verdict,
    pub threshold: Threshold,
    /// Method, for example `v1+diffusion`.
    pub scorer: &'a str,
    pub model: &'a ModelRef,
    pub grid: Grid,
    pub covers: Covers,
    /// A moment after those of all observations before, whatever the wall clock does.
    pub moment: Timestamp,
    /// The wall clock was set shortly before.
    pub clock_suspect: bool,
}

/// Something to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub change: Change,
    pub event: Event,
    /// `event.regions` are this segment's: its picture is the one to keep.
    pub new_picture: bool,
    /// Presentation times of the first frame of the first segment above the threshold, and of the last frame of the
    /// last one, each in its own stream.
    pub began: Duration,
    pub last: Duration,
}

/// What of a segment has to be remembered until an event opens: it may have begun there.
struct Recent {
    index: u64,
    run: u64,
    start: Stamp,
    score: f32,
    probability: f64,
}

/// The open event of one detector, if any.
pub struct Tracker {
    camera: CameraName,
    detector: DetectorName,
    rule: Rule,
    debounce: Debounce,
    quieting: Quieting,
    zones: Vec<Zone>,
    recent: VecDeque<Recent>,
    clock: MediaClock,
    open: Option<Open>,
}

struct Open {
    event: Event,
    /// As in [`Report`].
    began: Duration,
    last: Duration,
    /// Media time of the last segment above the threshold.
    newest: Duration,
    /// Media time of the newest report, and the highest score it had.
    reported: Duration,
    reported_top: f32,
    /// Score of the segment whose regions and picture are kept.
    pictured: f32,
}

impl Tracker {
    pub fn new(
        camera: CameraName,
        detector: DetectorName,
        rule: Rule,
        quieting: Quieting,
        zones: Vec<Zone>,
    ) -> Self {
        Self {
            camera,
            detector,
            rule,
            debounce: Debounce::new(rule),
            quieting,
            zones,
            recent: VecDeque::with_capacity(rule.open_m),
            clock: MediaClock::default(),
            open: None,
        }
    }

    /// The event that is open now.
    pub fn open_event(&self) -> Option<&Event> {
        self.open.as_ref().map(|o| &o.event)
    }

    /// A picture of the open event `id` has been written; its next report says so.
    pub fn has_snapshot(&mut self, id: &str) {
        if let Some(open) = self.open.as_mut().filter(|o| o.event.id == id) {
            open.event.has_snapshot = true;
        }
    }

    /// The open event `id` has been explained; its next report says so.
    pub fn explained(&mut self, id: &str, why: &Why) {
        if let Some(open) = self.open.as_mut().filter(|o| o.event.id == id) {
            open.event.why = Some(why.clone());
        }
    }

    /// Takes the next segment, in order. Usually nothing is to be reported; at most an end and a new event.
    pub fn observe(&mut self, seen: &Observation) -> Vec<Report> {
        let mut reports = Vec::new();
        // Scores of different models cannot be compared: an event is one model's, and ends with it.
        if self.open.as_ref().is_some_and(|o| o.event.model != *seen.model) {
            reports.extend(self.close());
            self.debounce = Debounce::new(self.rule);
            self.recent.clear();
        }
        let now = self.clock.next(seen.segment.run, &seen.segment.end);
        if self.recent.len() == self.rule.open_m {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent {
            index: seen.segment.index,
            run: seen.segment.run,
            start: seen.segment.start,
            score: seen.score.value,
            probability: seen.probability,
        });
        match self.debounce.step(seen.segment.index, now, seen.verdict) {
            Step::Quiet | Step::Continued { unusual: false } => {}
            Step::Opened { first } => reports.push(self.begin(seen, first, now)),
            Step::Continued { unusual: true } => reports.extend(self.go_on(seen, now)),
            Step::Closed => reports.extend(self.close()),
        }
        reports
    }

    /// Lets time pass without a segment; `now` is monotonic time. A camera that is away for the gap ends its
    /// event.
    pub fn tick(&mut self, now: Duration) -> Option<Report> {
        if self.debounce.tick(self.clock.at(now)?) { self.close() } else { None }
    }

    /// Ends the open event at once: the daemon stops.
    pub fn finish(&mut self) -> Option<Report> {
        self.debounce = Debounce::new(self.rule);
        self.close()
    }

    fn begin(&mut self, seen: &Observation, first: u64, now: Duration) -> Report {
        // The highest score may be that of an earlier segment, but its picture is gone: the map is this
        // one's, so that it lies over what the picture shows.
        let part_of_it = || self.recent.iter().filter(|r| r.index >= first);
        let first_start = part_of_it().next().map_or(seen.segment.start, |r| r.start);
        // Presentation times of other runs may be those of another stream.
        let first_of_run = part_of_it().find(|r| r.run == seen.segment.run);
        let (began, last) = (first_of_run.map_or(seen.segment.start, |r| r.start).pts, seen.segment.end.pts);
        let top = part_of_it().map(|r| r.score).filter(|s| s.is_finite()).fold(seen.score.value, f32::max);
        // Not a number where none of them is known.
        let rarest = part_of_it().map(|r| r.probability).fold(seen.probability, f64::min);
        let top_regions = seen.score.top_regions(seen.grid, TOP_REGIONS);
        let event = Event {
            id: new_id(seen.moment),
            camera: self.camera.clone(),
            detector: self.detector.clone(),
            start_time: first_start.wall,
            end_time: None,
            last_time: seen.segment.end.wall,
            score: seen.score.value,
            top_score: top,
            probability: Some(rarest).filter(|p| !p.is_nan()),
            threshold: seen.threshold.limit(),
            mu: seen.threshold.mu,
            sigma: seen.threshold.sigma,
            k: seen.threshold.k,
            budget: seen.threshold.budget,
            scorer: seen.scorer.into(),
            model: seen.model.clone(),
            first_segment: first,
            last_segment: seen.segment.index,
            severity: severity(top, rarest, seen),
            grid: seen.grid,
            covers: seen.covers,
            regions: seen.score.regions.clone(),
            zones: zones_of(&self.zones, seen.grid, seen.covers, &top_regions),
            top_regions,
            factors: seen.reasons.to_vec(),
            why: None,
            clock_suspect: seen.clock_suspect,
            quiet: self.quieting.opens(now),
            has_snapshot: false,
            review: None,
            clip: None,
        };
        self.open = Some(Open {
            event: event.clone(),
            began,
            last,
            newest: now,
            reported: now,
            reported_top: event.top_score,
            pictured: seen.score.value,
        });
        Report { change: Change::New, event, new_picture: true, began, last }
    }

    fn go_on(&mut self, seen: &Observation, now: Duration) -> Option<Report> {
        let open = self.open.as_mut()?;
        open.newest = now;
        open.last = seen.segment.end.pts;
        let event = &mut open.event;
        event.score = seen.score.value;
        event.last_time = seen.segment.end.wall;
        event.last_segment = seen.segment.index;
        event.clock_suspect |= seen.clock_suspect;
        let rarest = event.probability.map_or(seen.probability, |p| p.min(seen.probability));
        event.probability = Some(rarest).filter(|p| !p.is_nan());
        event.top_score = event.top_score.max(seen.score.value);
        event.severity = event.severity.max(severity(seen.score.value, seen.probability, seen));
        let stranger = seen.score.value > open.pictured;
        let since = now.saturating_sub(open.reported);
        let risen = stranger || event.top_score > open.reported_top;
        let due = since >= UPDATE_ANYWAY || (risen && since >= UPDATE_ON_TOP);
        if !due {
            return None;
        }
        // Map and picture change together, and so only with a report.
        if stranger {
            open.pictured = seen.score.value;
            (event.grid, event.covers) = (seen.grid, seen.covers);
            event.regions.clone_from(&seen.score.regions);
            event.top_regions = seen.score.top_regions(seen.grid, TOP_REGIONS);
            event.zones = zones_of(&self.zones, seen.grid, seen.covers, &event.top_regions);
            event.factors = seen.reasons.to_vec();
        }
        open.reported = now;
        open.reported_top = event.top_score;
        let (began, last) = (open.began, open.last);
        Some(Report { change: Change::Update, event: event.clone(), new_picture: stranger, began, last })
    }

    fn close(&mut self) -> Option<Report> {
        let Open { mut event, newest, began, last, .. } = self.open.take()?;
        self.quieting.ended(newest);
        event.end_time = Some(event.last_time);
        Some(Report { change: Change::End, event, new_picture: false, began, last })
    }
}

/// UUID version 7 of the moment `at`: sorts by time, and two of one moment differ.
fn new_id(at: Timestamp) -> String {
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    let nanoseconds = u32::try_from(at.subsec_nanosecond()).unwrap_or(0);
    let moment = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds);
    uuid::Uuid::new_v7(moment).to_string()
}

/// From how far in the tail of normal life a score is, beyond the limit.
fn severity(score: f32, probability: f64, seen: &Observation) -> Severity {
    let rarer = seen.limit_probability / probability;
    let (far, medium, high) = match rarer.is_nan() {
        false => (rarer, MEDIUM_RARER, HIGH_RARER),
        true => {
            let Threshold { sigma, .. } = seen.threshold;
            ((f64::from(score) - seen.threshold.limit()) / sigma, MEDIUM_ABOVE, HIGH_ABOVE)
        }
    };
    if far >= high {
        Severity::High
    } else if far >= medium {
        Severity::Medium
    } else {
        Severity::Low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { open_n: 2, open_m: 3, close_after: Duration::from_secs(5) };
    const THRESHOLD: Threshold = Threshold { mu: 1.0, sigma: 0.5, k: 2.0, budget: None };
    const GRID: Grid = Grid { rows: 1, cols: 2 };

    struct Camera {
        tracker: Tracker,
        suspect: bool,
        /// Where it is not the wall clock's.
        moment: Option<Timestamp>,
        model: ModelRef,
        /// Seconds of wall, monotonic and presentation time alike, unless a run has its own.
        pts_offset: u64,
        run: u64,
        index: u64,
        /// Of a score at the limit.
        limit_probability: f64,
    }

    /// One that tells the scores apart.
    fn reason(value: f32) -> Reason {
        Reason { factor: 2, percentile: value.into(), goes_with: None }
    }

    impl Camera {
        fn new() -> Self {
            let model = ModelRef { name: "m".into(), sha256: "aa".into() };
            Self {
                tracker: Tracker::new(
                    "gate".into(),
                    "main".into(),
                    RULE,
                    Quieting::new(Duration::from_secs(20), None),
                    vec![],
                ),
                suspect: false,
                moment: None,
                model,
                pts_offset: 0,
                run: 0,
                index: 0,
                limit_probability: f64::NAN,
            }
        }

        /// A segment that lasts from `second - 1` to `second`.
        fn see(&mut self, second: u64, value: f32) -> Vec<Report> {
            let stamp = |s: u64| Stamp {
                seq: s,
                pts: Duration::from_secs(s.saturating_sub(self.pts_offset)),
                wall: Timestamp::from_second(1_000 + s as i64).expect("in range"),
                received: Duration::from_secs(s),
            };
            let segment = Segment {
                index: self.index,
                run: self.run,
                start: stamp(second - 1),
                end: stamp(second),
                unsettled: false,
                damaged: false,
                frames: Vec::new(),
            };
            self.index += 1;
            let score = Score { value, regions: vec![0.0, value], factors: vec![] };
            self.tracker.observe(&Observation {
                segment: &segment,
                score: &score,
                reasons: &[reason(value)],
                verdict: THRESHOLD.judge(value),
                probability: 1.0 / f64::from(1.0 + score.value),
                limit_probability: self.limit_probability,
                threshold: THRESHOLD,
                scorer: "v1+diffusion",
                model: &self.model,
                grid: GRID,
                covers: Covers::default(),
                moment: self.moment.unwrap_or(segment.end.wall),
                clock_suspect: self.suspect,
            })
        }
    }

    fn changes(reports: &[Report]) -> Vec<Change> {
        reports.iter().map(|r| r.change).collect()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000 + second).expect("in range")
    }

    #[test]
    fn a_clock_that_was_set_marks_the_event_and_leaves_the_order_of_ids() {
        let mut camera = Camera::new();
        camera.see(1, 9.0);
        let [opened] = camera.see(2, 9.0).try_into().expect("one report");
        assert!(!opened.event.clock_suspect);
        camera.suspect = true;
        camera.see(4, 9.0);
        camera.suspect = false;
        let [over] = camera.tracker.finish().into_iter().collect::<Vec<_>>().try_into().expect("its end");
        assert!(over.event.clock_suspect, "for good");
        // An hour back: the moment is still a later one.
        camera.moment = Some(at(4).checked_add(Duration::from_millis(1)).expect("in range"));
        let next: Vec<Report> = [100, 101].into_iter().flat_map(|second| camera.see(second, 9.0)).collect();
        assert!(next[0].event.id > opened.event.id && !next[0].event.clock_suspect);
    }

    #[test]
    fn severity_is_how_much_rarer_it_is_than_what_the_limit_lets_through() {
        for (score, severity) in [(50.0, Severity::Low), (99.5, Severity::Medium), (2e6, Severity::High)] {
            let mut camera = Camera { limit_probability: 1.0, ..Camera::new() };
            camera.see(1, 2.5);
            assert_eq!(camera.see(2, score)[0].event.severity, severity, "{score}");
        }
    }

    /// The rule's cool-down is 20 s: an event that follows sooner is opened, but announced to nobody.
    #[test]
    fn an_event_right_after_another_is_quiet_to_its_end() {
        let mut camera = Camera::new();
        let mut seen = vec![];
        for second in 1..60 {
            let unusual = [2, 3, 15, 16, 17, 45, 46].contains(&second);
            seen.extend(camera.see(second, if unusual { 5.0 } else { 0.0 }));
        }
        let quiet: Vec<_> = seen.iter().map(|r| (r.change, r.event.quiet)).collect();
        let cool = Some(super::super::Quiet::CoolDown);
        assert_eq!(
            quiet,
            [
                (Change::New, None),
                (Change::End, None),
                (Change::New, cool),
                (Change::End, cool),
                (Change::New, None),
                (Change::End, None)
            ]
        );
    }

    #[test]
    fn it_opens_with_the_first_unusual_segment_and_the_strangest_score() {
        let mut camera = Camera::new();
        assert!(camera.see(1, 0.9).is_empty());
        assert!(camera.see(2, 5.0).is_empty());
        let reports = camera.see(3, 2.5);
        assert_eq!(changes(&reports), [Change::New]);
        let event = &reports[0].event;
        assert_eq!((event.start_time, event.last_time, event.end_time), (at(1), at(3), None));
        assert_eq!((event.score, event.top_score), (2.5, 5.0));
        assert_eq!((event.first_segment, event.last_segment), (1, 2));
        assert_eq!(event.threshold, 2.0);
        assert_eq!(event.top_regions[0], (0, 1));
        assert_eq!(event.severity, Severity::Medium, "(5 - 2) / 0.5 = 6 sigma above the limit");
        assert_eq!(event.regions, [0.0, 2.5], "the map of the moment whose picture can still be had");
        assert_eq!(event.factors, [reason(2.5)]);
        assert!(reports[0].new_picture);
        let reports = camera.see(4, 3.0);
        assert!(reports[0].new_picture, "stranger than the picture, though not the highest score");
        assert_eq!((reports[0].event.top_score, &*reports[0].event.regions), (5.0, &[0.0, 3.0][..]));
        assert_eq!(reports[0].event.factors, [reason(3.0)]);
    }

    #[test]
    fn it_ends_at_the_last_unusual_segment_after_the_gap() {
        let mut camera = Camera::new();
        camera.see(1, 3.0);
        camera.see(2, 3.0);
        for s in 3..7 {
            assert!(camera.see(s, 1.0).is_empty());
        }
        let reports = camera.see(7, 1.0);
        assert_eq!(changes(&reports), [Change::End]);
        assert_eq!(reports[0].event.end_time, Some(at(2)));
        assert!(camera.tracker.open_event().is_none());
    }

    #[test]
    fn reports_are_throttled_and_a_new_picture_comes_sooner() {
        let mut camera = Camera::new();
        camera.see(1, 3.0);
        camera.see(2, 3.0);
        let updates: Vec<u64> = (3..14).filter(|s| !camera.see(*s, 3.0).is_empty()).collect();
        assert_eq!(updates, [7, 12]);
        let reports = camera.see(14, 9.0);
        assert_eq!(changes(&reports), [Change::Update]);
        assert!(reports[0].new_picture);
        assert_eq!(reports[0].event.severity, Severity::High);
        assert_eq!(reports[0].event.regions, [0.0, 9.0]);
    }

    #[test]
    fn a_score_that_is_not_finite_never_opens_an_event() {
        let mut camera = Camera::new();
        for s in 1..20 {
            assert!(camera.see(s, if s % 2 == 0 { f32::NAN } else { f32::INFINITY }).is_empty());
        }
    }

    #[test]
    fn a_lost_camera_ends_its_event_and_a_late_one_begins_another() {
        let mut camera = Camera::new();
        camera.see(1, 3.0);
        let first = camera.see(2, 3.0).remove(0).event.id;
        assert!(camera.tracker.tick(Duration::from_secs(6)).is_none());
        let end = camera.tracker.tick(Duration::from_secs(7)).expect("the gap is over");
        assert_eq!((end.change, end.event.end_time), (Change::End, Some(at(2))));
        // Back with a new run, whose presentation time begins again.
        (camera.run, camera.pts_offset) = (1, 19);
        assert!(camera.see(20, 3.0).is_empty());
        let again = camera.see(21, 3.0);
        assert_eq!(changes(&again), [Change::New]);
        assert!(again[0].event.id > first, "ids sort by time");
        assert_eq!(again[0].event.start_time, at(19));
    }

    #[test]
    fn a_short_break_does_not_split_an_event() {
        let mut camera = Camera::new();
        camera.see(1, 3.0);
        camera.see(2, 3.0);
        (camera.run, camera.pts_offset) = (1, 3);
        assert!(camera.see(4, 3.0).is_empty());
        assert!(camera.tracker.open_event().is_some());
    }

    #[test]
    fn a_recording_played_fast_is_judged_by_its_own_time() {
        let mut camera = Camera::new();
        camera.see(1, 3.0);
        camera.see(2, 3.0);
        // All of it arrives within a second of wall time, so no tick may end the event.
        assert!(camera.tracker.tick(Duration::from_secs(3)).is_none());
        assert!(camera.tracker.open_event().is_some());
        let reports: Vec<_> = (3..9).flat_map(|s| camera.see(s, 1.0)).collect();
        assert_eq!(changes(&reports), [Change::End]);
    }

    #[test]
    fn another_model_ends_the_event_of_the_one_before() {
        let mut camera = Camera::new();
        camera.see(1, 3.0);
        camera.see(2, 3.0);
        camera.model.sha256 = "bb".into();
        let reports = camera.see(3, 3.0);
        assert_eq!(changes(&reports), [Change::End]);
        assert_eq!(reports[0].event.model.sha256, "aa");
        let reports = camera.see(4, 3.0);
        assert_eq!(changes(&reports), [Change::New]);
        assert_eq!((reports[0].event.first_segment, reports[0].event.model.sha256.as_str()), (2, "bb"));
    }

    #[test]
    fn stopping_ends_the_event_once() {
        let mut camera = Camera::new();
        camera.see(1, 3.0);
        camera.see(2, 3.0);
        assert_eq!(camera.tracker.finish().map(|r| r.change), Some(Change::End));
        assert!(camera.tracker.finish().is_none());
    }
}
