//! Score -> Verdict: is a score above the limit, for how many segments, how unlikely is it, and how often.

mod alarms;
mod backtest;
mod blocks;
mod budget;
mod debounce;
mod fusion;
mod normal;
mod rhythm;
mod tail;

pub use backtest::{Alarm, History, Known, Row, Setting, Trial, Wish, any_overlaps};
pub use blocks::{Block, Blocking, Course, block_seconds, blocks, outside};
pub use budget::{Outlook, Point, Promise, Recurrence};
pub use debounce::{Debounce, Rule, Step};
pub use fusion::fuse;
pub use normal::{Look, Normal};
pub use rhythm::{DayParts, Rhythm, Usual};
pub use tail::{Tail, deviations};

use crate::config::{self, Budget};
use crate::infer::Calibration;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// k where nothing else is said.
///
/// Scores are logarithms of residuals and close to normal in calm times, but not quite: the few largest of
/// normal life reach mu + 3 sigma. Debounce takes care of single ones, so 3 is where events begin.
pub const DEFAULT_K: f64 = 3.0;

/// How scores become alarms, beside the threshold: as configured.
#[derive(Debug, Clone)]
pub struct Judging {
    pub rule: Rule,
    /// As in [`Threshold::judge_from`].
    pub hysteresis: f64,
    /// Parts of the day that are told apart.
    pub day: DayParts,
}

impl Judging {
    pub fn of(configured: &config::Threshold, timezone: &TimeZone) -> Self {
        let config::Threshold { open_n, open_m, close_after, hysteresis, baseline, .. } = *configured;
        let rule = Rule { open_n, open_m, close_after };
        Self { rule, hysteresis, day: DayParts::new(baseline, timezone.clone()) }
    }
}

/// L = mu + k sigma, with what it was made of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    pub mu: f64,
    pub sigma: f64,
    pub k: f64,
    /// The limit is the one that keeps this budget, and `k` what it comes to.
    #[serde(default)]
    pub budget: Option<Budget>,
}

impl Threshold {
    /// The threshold that a scorer's calibration gives for this k.
    pub fn of(calibration: &Calibration, k: f64) -> Self {
        Self::plain(calibration.mu, calibration.sigma, k)
    }

    /// L = mu + k sigma.
    pub const fn plain(mu: f64, sigma: f64, k: f64) -> Self {
        Self { mu, sigma, k, budget: None }
    }

    /// The same, but with the limit that keeps a budget. Unchanged where all scores of normal life are one.
    pub fn keeping(self, budget: Budget, limit: f64) -> Self {
        let k = (limit - self.mu) / self.sigma;
        if k.is_finite() { Self { k, budget: Some(budget), ..self } } else { self }
    }

    /// The limit L itself.
    pub fn limit(&self) -> f64 {
        self.mu + self.k * self.sigma
    }

    /// What `score` means. A limit that is not finite itself judges nothing.
    pub fn judge(&self, score: f32) -> Verdict {
        self.judge_from(score, 0.0)
    }

    /// The same with hysteresis: an open event goes on while scores are above a second limit that lies lower by this share
    /// of the way from the limit to mu.
    pub fn judge_from(&self, score: f32, hysteresis: f64) -> Verdict {
        let (limit, lower) = (self.limit(), self.lower(hysteresis));
        match f64::from(score) {
            score if !score.is_finite() || !limit.is_finite() => Verdict::Invalid,
            score if score > limit => Verdict::Unusual,
            score if score > lower => Verdict::Lingering,
            _ => Verdict::Normal,
        }
    }

    /// The second limit of a hysteresis.
    pub fn lower(&self, hysteresis: f64) -> f64 {
        let limit = self.limit();
        limit - hysteresis * (limit - self.mu).max(0.0)
    }

    /// The same k above what is usual at some time of the day.
    pub fn about(self, usual: Usual) -> Self {
        Self { mu: usual.mu, sigma: usual.sigma, ..self }
    }
}

/// What a score means against the threshold in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// At or below the limit, or both where there are two.
    Normal,
    /// Between the two limits of a hysteresis: opens no event, and prolongs one.
    Lingering,
    /// Above the limit.
    Unusual,
    /// NaN or infinite: never an alert, and the camera's health turns red.
    Invalid,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn only_a_score_above_the_limit_is_unusual() {
        let t = Threshold::plain(1.0, 0.5, 2.0);
        assert_eq!(t.limit(), 2.0);
        assert_eq!(t.judge(2.0), Verdict::Normal);
        assert_eq!(t.judge(2.001), Verdict::Unusual);
    }

    #[test]
    fn with_hysteresis_a_score_between_the_limits_lingers() {
        let t = Threshold::plain(1.0, 0.5, 2.0);
        let judged = [2.001, 2.0, 1.751, 1.75].map(|score| t.judge_from(score, 0.25));
        assert_eq!(judged, [Verdict::Unusual, Verdict::Lingering, Verdict::Lingering, Verdict::Normal]);
        assert_eq!(t.judge_from(2.0, 0.0), Verdict::Normal);
        // A limit below the mean has nothing between.
        assert_eq!(Threshold { k: -1.0, ..t }.judge_from(0.5, 0.9), Verdict::Normal);
    }

    #[test]
    fn a_budgets_limit_is_told_as_k() {
        let plain = Threshold::plain(1.0, 0.5, 3.0);
        let kept = plain.keeping(Budget::DAILY, 3.25);
        assert_eq!((kept.limit(), kept.k, kept.budget), (3.25, 4.5, Some(Budget::DAILY)));
        let constant = Threshold { sigma: 0.0, ..plain };
        assert_eq!(constant.keeping(Budget::DAILY, 3.0), constant, "there is no k for it");
    }

    #[test]
    fn what_is_not_finite_is_invalid_on_either_side() {
        let t = Threshold::plain(1.0, 0.5, 2.0);
        for score in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(t.judge(score), Verdict::Invalid);
        }
        assert_eq!(Threshold { sigma: f64::NAN, ..t }.judge(1e9), Verdict::Invalid);
    }

    /// Shares that mu + k sigma flags of normally distributed scores (the sheet's test 10).
    #[test]
    fn the_shares_flagged_of_gaussian_scores_are_the_known_ones() {
        let mut rng = StdRng::seed_from_u64(3);
        let n = 200_000;
        let scores: Vec<f32> = (0..n).map(|_| StandardNormal.sample(&mut rng)).collect();
        for (k, share) in [(0.1, 0.460), (0.3, 0.382), (0.5, 0.309), (0.7, 0.242), (1.0, 0.159)] {
            let t = Threshold::plain(0.0, 1.0, k);
            let flagged = scores.iter().filter(|s| t.judge(**s) == Verdict::Unusual).count();
            let found = flagged as f64 / n as f64;
            assert!((found - share).abs() < 0.004, "k {k}: {found} instead of {share}");
        }
    }
}
