//! From scored test recordings to figures.

use super::dataset::TestClip;
use crate::infer::{Covers, Grid};
use crate::score::Score;
use crate::score::metrics::{average_precision, equal_error_rate, roc_auc};
use crate::threshold::{Debounce, Rule, Step, Threshold, Verdict};
use serde::Serialize;
use std::ops::Range;
use std::time::Duration;

/// One scored segment of a recording, by its analysed frames.
#[derive(Debug, Clone)]
pub struct Scored {
    pub first_frame: usize,
    pub last_frame: usize,
    pub score: Score,
}

/// One test recording with its scores.
#[derive(Debug)]
pub struct ScoredClip<'a> {
    pub clip: &'a TestClip,
    /// In order of time.
    pub segments: Vec<Scored>,
}

/// What the detection is measured with.
#[derive(Debug, Clone, Copy)]
pub struct Detection {
    pub threshold: Threshold,
    pub rule: Rule,
    /// Frames a second.
    pub fps: f64,
    pub grid: Grid,
    pub covers: Covers,
}

/// The figures that need labels. `None` where there is nothing to measure on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// ROC area over all frames together.
    pub frame_auc_micro: Option<f64>,
    /// Mean of the recordings' own areas, over those with both labels.
    pub frame_auc_macro: Option<f64>,
    pub eer: Option<f64>,
    pub average_precision: Option<f64>,
    /// Share of the anomalous frames whose strangest region touches the mask, in any frame of the segment
    /// that the score is from.
    pub region_hit_rate: Option<f64>,
    /// Events that lie in no labelled span, an hour of normal frames.
    pub false_alarms_per_hour: Option<f64>,
    /// Mean time from the beginning of a labelled span to the alert, over the spans that were alerted.
    pub detection_delay_seconds: Option<f64>,
    /// Labelled spans without an alert, of how many.
    pub missed_spans: usize,
    pub labelled_spans: usize,
}

/// Computes every figure. Causal: a frame has the score of the last segment that had ended by then, and
/// frames before the first segment's end are left out.
pub fn figures(clips: &[ScoredClip<'_>], detection: &Detection) -> Figures {
    let (mut scores, mut labels, mut areas) = (Vec::new(), Vec::new(), Vec::new());
    let (mut hits, mut looked_at) = (0, 0);
    let (mut false_events, mut normal_frames, mut delays, mut spans) = (0, 0, Vec::new(), 0);
    for scored in clips {
        let clip_labels = scored.clip.labels();
        normal_frames += clip_labels.iter().filter(|l| !**l).count();
        let frames = causal(scored);
        let clip_scores: Vec<f32> = frames.iter().map(|(_, s)| s.score.value).collect();
        let clip_labels: Vec<bool> = frames.iter().map(|(frame, _)| clip_labels[*frame]).collect();
        areas.extend(roc_auc(&clip_scores, &clip_labels));
        for ((_, segment), _) in frames.iter().zip(&clip_labels).filter(|(_, anomalous)| **anomalous) {
            if let Some(hit) = hit(scored.clip, segment, detection) {
                looked_at += 1;
                hits += usize::from(hit);
            }
        }
        scores.extend(clip_scores);
        labels.extend(clip_labels);

        let events = events(scored, detection);
        let anomalous = &scored.clip.anomalous;
        let in_no_span =
            |e: &&Event| !anomalous.iter().any(|s| e.frames.start < s.end && s.start < e.frames.end);
        false_events += events.iter().filter(in_no_span).count();
        spans += anomalous.len();
        for span in anomalous {
            // An event that was open already alerts at once.
            let alert = events.iter().find(|e| e.opened < span.end && e.frames.end > span.start);
            delays.extend(alert.map(|e| e.opened.saturating_sub(span.start) as f64 / detection.fps));
        }
    }
    let mean = |v: &[f64]| (!v.is_empty()).then(|| v.iter().sum::<f64>() / v.len() as f64);
    let hours = normal_frames as f64 / detection.fps / 3600.0;
    Figures {
        frame_auc_micro: roc_auc(&scores, &labels),
        frame_auc_macro: mean(&areas),
        eer: equal_error_rate(&scores, &labels),
        average_precision: average_precision(&scores, &labels),
        region_hit_rate: (looked_at > 0).then(|| f64::from(hits as u32) / f64::from(looked_at)),
        false_alarms_per_hour: (hours > 0.0).then(|| f64::from(false_events as u32) / hours),
        detection_delay_seconds: mean(&delays),
        missed_spans: spans - delays.len(),
        labelled_spans: spans,
    }
}

/// Score and label of every frame that has a score, all recordings together.
pub fn causal_scores(clips: &[ScoredClip<'_>]) -> (Vec<f32>, Vec<bool>) {
    let of = |scored: &ScoredClip<'_>| -> Vec<(f32, bool)> {
        let labels = scored.clip.labels();
        causal(scored).iter().map(|(frame, segment)| (segment.score.value, labels[*frame])).collect()
    };
    clips.iter().flat_map(of).unzip()
}

/// Every frame that has a score, with the segment that the score is from.
fn causal<'a>(scored: &'a ScoredClip<'_>) -> Vec<(usize, &'a Scored)> {
    (0..scored.clip.frames)
        .filter_map(|frame| {
            let ended = scored.segments.partition_point(|s| s.last_frame <= frame);
            Some((frame, &scored.segments[ended.checked_sub(1)?]))
        })
        .collect()
}

/// Whether the segment's strangest region touches the mask; `None` where the segment has no mask.
fn hit(clip: &TestClip, segment: &Scored, detection: &Detection) -> Option<bool> {
    let masks = clip.masks.as_ref()?;
    let Detection { grid, covers, .. } = detection;
    let frames = segment.first_frame..=segment.last_frame.min(clip.frames - 1);
    if !frames.clone().any(|f| masks.any(f)) {
        return None;
    }
    let (row, col) = *segment.score.top_regions(*grid, 1).first()?;
    let corner = |row: usize, col: usize| {
        let x = col as f64 / grid.cols as f64 * covers.width;
        (x, row as f64 / grid.rows as f64 * covers.height)
    };
    let (from, to) = (corner(row, col), corner(row + 1, col + 1));
    Some(frames.into_iter().any(|f| masks.touches(f, from, to)))
}

/// An event as the daemon would have opened it.
#[derive(Debug, PartialEq)]
struct Event {
    /// From the first frame of its first unusual segment to the last of its last one.
    frames: Range<usize>,
    /// Frame at which the alert came.
    opened: usize,
}

fn events(scored: &ScoredClip<'_>, detection: &Detection) -> Vec<Event> {
    let mut debounce = Debounce::new(detection.rule);
    let mut events: Vec<Event> = Vec::new();
    for (i, segment) in scored.segments.iter().enumerate() {
        let end = Duration::from_secs_f64(segment.last_frame as f64 / detection.fps);
        let verdict: Verdict = detection.threshold.judge(segment.score.value);
        match debounce.step(i as u64, end, verdict) {
            Step::Opened { first } => events.push(Event {
                frames: scored.segments[first as usize].first_frame..segment.last_frame + 1,
                opened: segment.last_frame,
            }),
            Step::Continued { unusual: true } => {
                if let Some(open) = events.last_mut() {
                    open.frames.end = segment.last_frame + 1;
                }
            }
            Step::Continued { unusual: false } | Step::Quiet | Step::Closed => {}
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    const DETECTION: Detection = Detection {
        threshold: Threshold::plain(0.0, 1.0, 0.5),
        rule: Rule { open_n: 2, open_m: 3, close_after: Duration::from_secs(4) },
        fps: 10.0,
        grid: Grid { rows: 1, cols: 2 },
        covers: Covers { width: 1.0, height: 1.0 },
    };

    /// A clip with anomalous frames `from..to`.
    fn clip(frames: usize, anomalous: &[(usize, usize)]) -> TestClip {
        let anomalous = anomalous.iter().map(|(from, to)| *from..*to).collect();
        TestClip { path: "a.mp4".into(), frames, anomalous, masks: None }
    }

    /// A segment every 8 frames with these scores.
    fn scored<'a>(clip: &'a TestClip, scores: &[f32]) -> ScoredClip<'a> {
        let segment = |(i, value): (usize, &f32)| Scored {
            first_frame: 8 * i,
            last_frame: 8 * i + 15,
            score: Score { value: *value, regions: vec![0.0, *value], factors: vec![] },
        };
        ScoredClip { clip, segments: scores.iter().enumerate().map(segment).collect() }
    }

    #[test]
    fn a_frame_has_the_score_of_the_last_segment_that_had_ended() {
        let clip = clip(32, &[]);
        let scored = scored(&clip, &[1.0, 2.0, 3.0]);
        let frames: Vec<(usize, f32)> = causal(&scored).iter().map(|(f, s)| (*f, s.score.value)).collect();
        assert_eq!(frames.first(), Some(&(15, 1.0)), "frames before the first end have none");
        assert_eq!(frames[7..9], [(22, 1.0), (23, 2.0)]);
        assert_eq!(frames.last(), Some(&(31, 3.0)));
    }

    #[test]
    fn scores_of_later_segments_change_nothing_before_their_end() {
        let clip = clip(40, &[]);
        let (a, b) = (scored(&clip, &[1.0, 2.0, 3.0, 4.0]), scored(&clip, &[1.0, 2.0, 3.0, 9.0]));
        for ((frame, x), (_, y)) in causal(&a).iter().zip(causal(&b)) {
            assert_eq!(*frame < 39, x.score.value == y.score.value, "frame {frame}");
        }
    }

    #[test]
    fn delay_misses_and_false_alarms_by_hand() {
        let first = clip(88, &[(24, 60)]);
        // Above the limit from the second segment on (frames 8 to 23); two of three at frame 31.
        let one = scored(&first, &[0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let second = clip(360, &[(300, 360)]);
        let mut scores = vec![0.0; 44];
        (scores[2], scores[3]) = (1.0, 1.0);
        let two = scored(&second, &scores);
        let events_found = events(&one, &DETECTION);
        assert_eq!(events_found, [Event { frames: 8..48, opened: 31 }]);
        let figures = figures(&[one, two], &DETECTION);
        assert_eq!(figures.detection_delay_seconds, Some(0.7));
        assert_eq!((figures.missed_spans, figures.labelled_spans), (1, 2));
        // One false event in 52 + 300 normal frames at 10 a second.
        let expected = 3600.0 / 35.2;
        assert!(figures.false_alarms_per_hour.is_some_and(|f| (f - expected).abs() < 1e-9));
        assert_eq!(figures.region_hit_rate, None, "there are no masks");
    }

    #[test]
    fn areas_are_over_all_frames_and_over_recordings() {
        let (a, b) = (clip(32, &[(23, 32)]), clip(32, &[(23, 32)]));
        let figures = figures(&[scored(&a, &[0.0, 1.0, 1.0]), scored(&b, &[2.0, 3.0, 3.0])], &DETECTION);
        assert_eq!(figures.frame_auc_macro, Some(1.0), "each recording is told apart by itself");
        // Of the pairs of 18 anomalous and 16 normal frames, 9 x 8 are the wrong way round.
        let expected = 1.0 - 72.0 / 288.0;
        assert!(figures.frame_auc_micro.is_some_and(|f| (f - expected).abs() < 1e-12), "{figures:?}");
    }
}
