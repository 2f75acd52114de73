//! A camera's detectors as one verdict: their newest tail probabilities, fused.

use super::why::Witness;
use crate::alert::ModelRef;
use crate::config::FusionRule;
use crate::infer::{Covers, Grid};
use crate::score::{Reason, Score, reasons};
use crate::segment::Segment;
use crate::threshold::{Threshold, deviations, fuse};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// What the desk keeps of one fused verdict.
pub struct Fusing {
    pub detector: usize,
    pub rule: FusionRule,
    /// The feed at whose segments it speaks.
    pub leader: usize,
    /// Of the threshold.
    pub k: f64,
    pub members: Vec<usize>,
    /// The members' newest ones.
    pub opinions: Vec<Option<Opinion>>,
}

/// What a member found in its newest segment.
pub struct Opinion {
    probability: f64,
    /// Regions as deviations from the member's own mean, so that a map means the same whoever found it.
    regions: Vec<f32>,
    reasons: Vec<Reason>,
    grid: Grid,
    covers: Covers,
    model: String,
    witness: Witness,
    /// Presentation time of the segment's end, and the segment's length.
    end: Duration,
    length: Duration,
}

/// What the members found together.
pub struct Fused {
    /// The deviations that the fused probability has in a standard normal distribution, and the map of the member
    /// that found most.
    pub score: Score,
    /// The same member's.
    pub reasons: Vec<Reason>,
    pub probability: f64,
    /// On the scale of the score: mu 0, sigma 1.
    pub threshold: Threshold,
    pub grid: Grid,
    pub covers: Covers,
    /// The same member's.
    pub witness: Witness,
    /// Changes whenever a member's does.
    pub model: ModelRef,
}

impl Fusing {
    /// Takes what a member found; of a detector that is no member, nothing.
    pub fn hear(&mut self, detector: usize, witness: &Witness, score: &Score, p: f64, on: Covers) {
        let Some(member) = self.members.iter().position(|member| *member == detector) else { return };
        let (by, segment) = (&witness.arming, &witness.evidence.segment);
        let Threshold { mu, sigma, .. } = by.threshold;
        let deviation = |r: &f32| ((f64::from(*r) - mu) / sigma.max(f64::MIN_POSITIVE)) as f32;
        self.opinions[member] = Some(Opinion {
            probability: p,
            regions: score.regions.iter().map(deviation).collect(),
            reasons: reasons(score, &by.factors),
            grid: by.grid,
            covers: on,
            model: by.model.sha256.clone(),
            witness: witness.clone(),
            end: segment.end.pts,
            length: segment.end.pts.saturating_sub(segment.start.pts),
        });
    }

    /// The verdict at a segment of the leader. `None` while a member has never spoken. An opinion that is further
    /// away than twice the length of its own segment is of another moment, and left out: one whose segments do not
    /// overlap, and take a while to look at, is always a little behind.
    pub fn speak(&self, segment: &Segment) -> Option<Fused> {
        let all: Vec<&Opinion> = self.opinions.iter().map(Option::as_ref).collect::<Option<_>>()?;
        let fresh = |o: &&&Opinion| o.end.abs_diff(segment.end.pts) <= 2 * o.length;
        let fresh: Vec<&&Opinion> = all.iter().filter(fresh).collect();
        let strangest = fresh.iter().min_by(|a, b| a.probability.total_cmp(&b.probability))?;
        let probabilities: Vec<f64> = fresh.iter().map(|o| o.probability).collect();
        let probability = fuse(self.rule, &probabilities);
        let models: String = all.iter().map(|o| o.model.as_str()).collect();
        Some(Fused {
            score: Score {
                value: deviations(probability) as f32,
                regions: strangest.regions.clone(),
                factors: vec![],
            },
            reasons: strangest.reasons.clone(),
            probability,
            threshold: Threshold::plain(0.0, 1.0, self.k),
            grid: strangest.grid,
            covers: strangest.covers,
            witness: strangest.witness.clone(),
            model: ModelRef {
                name: "fused".into(),
                sha256: Sha256::digest(models).iter().map(|byte| format!("{byte:02x}")).collect(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::scoring::Arming;
    use super::super::why::Evidence;
    use super::*;
    use crate::base::Timestamp;
    use crate::features::Features;
    use crate::frame::Stamp;
    use std::sync::Arc;

    fn segment(end: f64) -> Segment {
        let stamp = |at: f64| Stamp {
            seq: 0,
            pts: Duration::from_secs_f64(at),
            wall: Timestamp::UNIX_EPOCH,
            received: Duration::ZERO,
        };
        Segment {
            index: 0,
            run: 0,
            start: stamp(end - 1.5),
            end: stamp(end),
            unsettled: false,
            damaged: false,
            frames: vec![],
        }
    }

    fn hear(fusing: &mut Fusing, detector: usize, end: f64, value: f32, p: f64) {
        let by = Arming {
            model: ModelRef { name: "toy".into(), sha256: detector.to_string() },
            threshold: Threshold::plain(1.0, 0.5, 3.0),
            tail: crate::threshold::Tail::of(&crate::infer::Calibration {
                mu: 0.0,
                sigma: 1.0,
                scores: vec![],
                course: vec![],
            }),
            course: None,
            method: "toy".into(),
            grid: Grid { rows: 1, cols: 2 },
            factors: vec![],
            normal: None,
        };
        let score = Score { value, regions: vec![1.0, value], factors: vec![] };
        let features = Features { regions: 2, dims: 1, values: vec![0.0; 2] };
        let evidence = Arc::new(Evidence { segment: segment(end), features });
        fusing.hear(
            detector,
            &Witness { feed: 0, evidence, arming: Arc::new(by) },
            &score,
            p,
            Covers::default(),
        );
    }

    fn fusing() -> Fusing {
        Fusing {
            detector: 2,
            rule: FusionRule::Min,
            leader: 0,
            k: 3.0,
            members: vec![0, 1],
            opinions: vec![None, None],
        }
    }

    #[test]
    fn it_speaks_when_all_have_spoken_and_shows_what_the_strangest_saw() {
        let mut fusing = fusing();
        hear(&mut fusing, 0, 2.0, 2.0, 0.02);
        assert!(fusing.speak(&segment(2.0)).is_none());
        hear(&mut fusing, 1, 2.0, 5.0, 1e-5);
        hear(&mut fusing, 7, 2.0, 9.0, 1e-9);
        let fused = fusing.speak(&segment(2.0)).expect("both have spoken");
        assert_eq!(fused.probability, 2e-5);
        assert!((fused.score.value - 4.107).abs() < 1e-3, "{}", fused.score.value);
        assert_eq!(fused.score.regions, [0.0, 8.0], "in the member's own deviations");
        assert_eq!(fused.threshold.limit(), 3.0);
    }

    #[test]
    fn an_opinion_of_another_moment_is_left_out() {
        let mut fusing = fusing();
        hear(&mut fusing, 1, 2.0, 5.0, 1e-5);
        hear(&mut fusing, 0, 4.9, 2.0, 0.02);
        assert_eq!(fusing.speak(&segment(4.9)).expect("fresh").probability, 2e-5);
        hear(&mut fusing, 0, 5.1, 2.0, 0.02);
        assert_eq!(fusing.speak(&segment(5.1)).expect("one is fresh").probability, 0.02);
        assert!(fusing.speak(&segment(30.0)).is_none());
    }

    #[test]
    fn another_model_of_a_member_is_another_model() {
        let mut fusing = fusing();
        hear(&mut fusing, 0, 2.0, 2.0, 0.5);
        hear(&mut fusing, 1, 2.0, 2.0, 0.5);
        let before = fusing.speak(&segment(2.0)).expect("spoken").model;
        if let Some(opinion) = &mut fusing.opinions[1] {
            opinion.model = "learned again".into();
        }
        assert_ne!(fusing.speak(&segment(2.0)).expect("spoken").model, before);
    }
}
