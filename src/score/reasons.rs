//! Why a score is high, in words: the learned factors that moved most, and what they usually go with.

use super::Score;
use crate::infer::{Correlation, FactorSpec};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Correlations weaker than this name nothing.
const LEAST_CORRELATION: f64 = 0.3;

/// A factor that moved. What it goes with in normal life is no cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// Index among the scorer's factors.
    pub factor: usize,
    /// Per cent of normal life's segments in which it contributed less; where it is above all of them, what their
    /// number allows to say.
    pub percentile: f64,
    /// The signal that goes with it best, if any goes with it at all.
    pub goes_with: Option<Correlation>,
}

/// Factors that are named as reasons at most.
const MOST_REASONS: usize = 3;

/// The three factors that contribute most above their medians, most first; none where the scorer has no factors
/// ([`crate::infer::ScorerSpec::factors`]), or where none is above its median.
pub fn reasons(score: &Score, factors: &[FactorSpec]) -> Vec<Reason> {
    let above = |(i, factor): (usize, &FactorSpec)| {
        let contribution = score.factors.get(i).copied().filter(|c| c.is_finite())?;
        let above = contribution - factor.median;
        (above > 0.0).then_some((above, i, contribution))
    };
    let mut moved: Vec<_> = factors.iter().enumerate().filter_map(above).collect();
    moved.sort_by(|a, b| b.0.total_cmp(&a.0));
    let reason = |(_, i, contribution): (f32, usize, f32)| {
        let strongest = factors[i].correlations.first();
        Reason {
            factor: i,
            percentile: 100.0 * share_below(&factors[i].quantiles, contribution),
            goes_with: strongest.filter(|c| c.r.abs() >= LEAST_CORRELATION).cloned(),
        }
    };
    moved.into_iter().take(MOST_REASONS).map(reason).collect()
}

/// The share that lies below `value`, between the quantiles on straight lines; not outside of them.
fn share_below(quantiles: &[(f64, f32)], value: f32) -> f64 {
    let after = quantiles.partition_point(|(_, quantile)| *quantile <= value);
    match (after.checked_sub(1).map(|i| quantiles[i]), quantiles.get(after)) {
        (None, first) => first.map_or(0.0, |(share, _)| *share),
        (Some((share, _)), None) => share,
        (Some((share, below)), Some((next, above))) => {
            share + (next - share) * f64::from((value - below) / (above - below))
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "factor {}", self.factor)?;
        if let Some(Correlation { signal, r }) = &self.goes_with {
            // As is usual for correlations, without the nought.
            let (sign, digits) = (if *r < 0.0 { "-" } else { "" }, format!("{:.2}", r.abs()));
            write!(f, " (with {signal}, r = {sign}{})", digits.strip_prefix('0').unwrap_or(&digits))?;
        }
        let percentile = format!("{:.2}", self.percentile);
        write!(f, " above {} % of normal life", percentile.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn factor(median: f32, signal: &str, r: f64) -> FactorSpec {
        let quantiles = vec![(0.01, 0.0), (0.5, median), (0.9, 2.0 * median), (0.9998, 4.0 * median)];
        FactorSpec { median, quantiles, correlations: vec![Correlation { signal: signal.into(), r }] }
    }

    fn score(factors: &[f32]) -> Score {
        Score { value: 9.0, regions: vec![9.0], factors: factors.to_vec() }
    }

    #[test]
    fn the_factors_that_moved_most_come_first_and_in_words() {
        let factors = [
            factor(1.0, "leftward motion energy", 0.714),
            factor(1.0, "static energy", -0.66),
            factor(5.0, "overall energy", 0.9),
            factor(1.0, "nothing much", 0.1),
        ];
        let found = reasons(&score(&[3.0, 7.0, 5.5, 1.5]), &factors);
        let words: Vec<String> = found.iter().map(Reason::to_string).collect();
        assert_eq!(
            words,
            [
                "factor 1 (with static energy, r = -.66) above 99.98 % of normal life",
                "factor 0 (with leftward motion energy, r = .71) above 94.99 % of normal life",
                "factor 2 (with overall energy, r = .90) above 54 % of normal life",
            ]
        );
        let fourth = reasons(&score(&[0.0, 0.0, 0.0, 1.5]), &factors);
        assert_eq!(fourth[0].to_string(), "factor 3 above 70 % of normal life");
        assert_eq!(fourth.len(), 1, "what is below its median is no reason");
    }

    #[test]
    fn without_factors_there_are_no_reasons() {
        assert_eq!(reasons(&score(&[]), &[]), []);
        assert_eq!(reasons(&score(&[]), &[factor(1.0, "a", 1.0)]), []);
        assert_eq!(reasons(&score(&[f32::NAN]), &[factor(1.0, "a", 1.0)]), []);
    }

    #[test]
    fn shares_are_found_between_the_quantiles() {
        let quantiles = [(0.1, 1.0), (0.5, 2.0), (0.9, 2.0), (0.99, 4.0)];
        for (value, share) in [(0.0, 0.1), (1.0, 0.1), (1.5, 0.3), (2.0, 0.9), (3.0, 0.945), (9.0, 0.99)] {
            assert!((share_below(&quantiles, value) - share).abs() < 1e-9, "{value}");
        }
        assert_eq!(share_below(&[], 1.0), 0.0);
    }
}
