//! Score -> tail probability: how likely normal life gives a score as high, comparable between all detectors.

use crate::infer::Calibration;
use statrs::distribution::{ContinuousCDF, Normal};

/// Fewer scores than this have no tail to speak of: they are taken for normally distributed.
const FEWEST: usize = 40;
/// Share of the calibration's scores that the tail is fitted to.
const TAIL: f64 = 0.1;
/// Heaviest tail believed: beyond it the fit has no variance, and says more about its few points than of the camera.
const HEAVIEST: f64 = 0.5;

/// The upper tail of normal life's scores.
///
/// Within the calibration's scores it is the conformal rank, `(1 + #{x >= score}) / (1 + n)`: exact for a score that
/// is exchangeable with them (Vovk et al., "Algorithmic Learning in a Random World", 2005). Beyond its 90 %
/// quantile a generalised Pareto distribution goes on where the ranks end (Pickands 1975), fitted by probability-
/// weighted moments (Hosking & Wallis 1987). A fit with an upper end is replaced by the exponential: what was never
/// seen is unlikely, not impossible. Scores of neighbouring segments are alike, so this is the probability for one
/// segment, and says nothing of how often an event comes.
#[derive(Debug, Clone)]
pub struct Tail {
    /// Finite scores of normal life, ascending; empty where they are too few.
    ranked: Vec<f32>,
    /// Where the Pareto tail begins, and its scale and shape.
    from: f64,
    scale: f64,
    shape: f64,
    /// Where the ranks are too few.
    normal: (f64, f64),
}

impl Tail {
    pub fn of(calibration: &Calibration) -> Self {
        let mut ranked: Vec<f32> = calibration.scores.iter().copied().filter(|s| s.is_finite()).collect();
        ranked.sort_by(f32::total_cmp);
        let normal = (calibration.mu, calibration.sigma);
        if ranked.len() < FEWEST {
            return Self { ranked: vec![], from: 0.0, scale: 0.0, shape: 0.0, normal };
        }
        let first = ranked.len() - (ranked.len() as f64 * TAIL).ceil() as usize;
        let from = f64::from(ranked[first - 1]);
        let excesses: Vec<f64> = ranked[first..].iter().map(|s| f64::from(*s) - from).collect();
        let (scale, shape) = pareto(&excesses);
        Self { ranked, from, scale, shape, normal }
    }

    /// Of a score that is normally distributed itself.
    pub fn standard_normal() -> Self {
        Self { ranked: vec![], from: 0.0, scale: 0.0, shape: 0.0, normal: (0.0, 1.0) }
    }

    /// Of normal life giving a segment a score as high as `score`; in (0, 1], and NaN for NaN.
    pub fn probability(&self, score: f32) -> f64 {
        let (n, at) = (self.ranked.len(), f64::from(score));
        let p = if score.is_nan() {
            f64::NAN
        } else if n == 0 {
            let (mu, sigma) = self.normal;
            standard_normal().sf((at - mu) / sigma.max(f64::MIN_POSITIVE))
        } else if at <= self.from {
            let as_high = n - self.ranked.partition_point(|s| *s < score);
            (1 + as_high) as f64 / (1 + n) as f64
        } else {
            let beyond = n - self.ranked.partition_point(|s| f64::from(*s) <= self.from);
            (1 + beyond) as f64 / (1 + n) as f64 * survival(at - self.from, self.scale, self.shape)
        };
        // Nothing is impossible; a NaN stays one.
        if p < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { p }
    }
}

/// Scale and shape of a generalised Pareto distribution by probability-weighted moments, the shape within 0 and
/// [`HEAVIEST`]. `excesses`: ascending.
fn pareto(excesses: &[f64]) -> (f64, f64) {
    let (mean, shape) = moments(excesses);
    let shape = shape.min(HEAVIEST);
    // Also where the moments give no answer.
    if shape > 0.0 { (mean * (1.0 - shape), shape) } else { (mean, 0.0) }
}

/// Mean of the excesses, ascending, and the shape that their probability-weighted moments give a generalised Pareto
/// distribution; not a number where all are the same. Its scale is `mean * (1 - shape)`.
pub(super) fn moments(excesses: &[f64]) -> (f64, f64) {
    let n = excesses.len() as f64;
    let mean = excesses.iter().sum::<f64>() / n;
    let weighted =
        (excesses.iter().enumerate()).map(|(i, y)| (1.0 - (i as f64 + 1.0 - 0.35) / n) * y).sum::<f64>() / n;
    (mean, 2.0 - mean / (mean - 2.0 * weighted))
}

/// Share of a generalised Pareto distribution that lies beyond an excess.
pub(super) fn survival(excess: f64, scale: f64, shape: f64) -> f64 {
    if scale <= 0.0 {
        // A camera whose highest scores are all the same.
        0.0
    } else if shape.abs() < 1e-9 {
        (-excess / scale).exp()
    } else {
        // Nothing is left beyond the end that a negative shape has.
        (1.0 + shape * excess / scale).max(0.0).powf(-1.0 / shape)
    }
}

/// The score that a standard normal distribution has with this tail probability: probabilities as deviations, on
/// which `mu + k sigma` means what it does elsewhere.
pub fn deviations(probability: f64) -> f64 {
    -standard_normal().inverse_cdf(probability.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON))
}

fn standard_normal() -> Normal {
    Normal::new(0.0, 1.0).expect("a variance of one is allowed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};
    use rand_distr::{Distribution, Exp1, StandardNormal};

    fn tail(scores: Vec<f32>) -> Tail {
        Tail::of(&Calibration { mu: 0.0, sigma: 1.0, scores, course: vec![] })
    }

    fn normals(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..n).map(|_| StandardNormal.sample(&mut rng)).collect()
    }

    /// Normal noise that remembers nine tenths of itself, of variance one.
    fn slow(n: usize, seed: u64) -> Vec<f32> {
        let mut last = 0.0;
        let step = |noise: f32| {
            last = 0.9 * last + (1.0f32 - 0.81).sqrt() * noise;
            last
        };
        normals(n, seed).into_iter().map(step).collect()
    }

    fn maxima(scores: &[f32], block: usize) -> Vec<f32> {
        scores.chunks_exact(block).map(|b| b.iter().copied().fold(f32::MIN, f32::max)).collect()
    }

    #[test]
    fn ranks_are_conformal_and_the_tail_goes_on_where_they_end() {
        let tail = tail((1..=999).map(|i| i as f32).collect());
        assert_eq!(tail.probability(0.0), 1.0);
        assert_eq!(tail.probability(500.0), 501.0 / 1000.0);
        assert_eq!(tail.probability(f32::NEG_INFINITY), 1.0);
        assert!(tail.probability(f32::NAN).is_nan());
        let mut last = 1.0;
        for score in 0..3000 {
            let p = tail.probability(score as f32);
            assert!(p > 0.0 && p <= last, "{score}: {p} after {last}");
            last = p;
        }
        assert!(tail.probability(f32::INFINITY) > 0.0);
    }

    #[test]
    fn known_tails_are_found_far_beyond_what_was_seen() {
        let mut rng = StdRng::seed_from_u64(5);
        let exponential: Vec<f32> = (0..4000).map(|_| Exp1.sample(&mut rng)).collect();
        // A hundred times rarer than the rarest of the calibration.
        let (score, truth) = (12.9, (-12.9f64).exp());
        let found = tail(exponential).probability(score);
        assert!((found.ln() - truth.ln()).abs() < 2.0, "{found} instead of {truth}");
        let heavy: Vec<f32> = (0..4000)
            .map(|_| {
                let e: f32 = Exp1.sample(&mut rng);
                (0.3 * e).exp()
            })
            .collect();
        let found = tail(heavy).probability(10.0);
        let truth = 10f64.powf(-1.0 / 0.3);
        assert!((found.ln() - truth.ln()).abs() < 1.0, "{found} instead of {truth}");
    }

    #[test]
    fn few_or_constant_scores_give_no_nonsense() {
        let few = tail(vec![0.1; 5]);
        assert!((few.probability(3.0) - 1.35e-3).abs() < 1e-5);
        let constant = tail(vec![0.5; 200]);
        assert_eq!(constant.probability(0.5), 1.0);
        assert!(constant.probability(0.6) > 0.0 && constant.probability(0.6) < 1e-9);
        let broken = tail([vec![f32::NAN; 10], normals(100, 1)].concat());
        assert!(broken.probability(9.0) < 0.01);
    }

    #[test]
    fn deviations_are_those_of_the_normal_distribution() {
        for (p, z) in [(0.5, 0.0), (1.349_898e-3, 3.0), (9.865_876e-10, 6.0)] {
            assert!((deviations(p) - z).abs() < 1e-4, "{p}: {}", deviations(p));
        }
        assert!(deviations(0.0).is_finite() && deviations(1.0).is_finite());
    }

    /// The sheet's test 17, first half: for independent scores the share below alpha is alpha.
    #[test]
    fn independent_scores_fall_below_alpha_as_often_as_it_says() {
        let n = 100_000.0;
        for alpha in [0.2, 0.05, 0.01] {
            // Over many calibrations: one alone is off by its own chance.
            let share = (0..20)
                .map(|seed| {
                    let tail = tail(normals(2000, seed));
                    normals(5000, 100 + seed).into_iter().filter(|s| tail.probability(*s) <= alpha).count()
                })
                .sum::<usize>() as f64
                / n;
            // Three deviations of the count, and of what 20 calibrations of 2000 leave to chance.
            let slack = 3.0 * (alpha * (1.0 - alpha) * (1.0 / n + 1.0 / 40_000.0)).sqrt();
            assert!((share - alpha).abs() < slack + 1.0 / 2000.0, "{share} at {alpha}");
        }
    }

    /// Second half: where neighbours are alike, maxima over blocks hold what they promise; what is promised for
    /// single segments, as if they were independent, misstates how often an event comes.
    #[test]
    fn for_scores_that_remember_the_past_only_block_maxima_keep_their_promise() {
        const BLOCK: usize = 60;
        let alpha = 0.1;
        let (calibration, watched) = (slow(60_000, 1), slow(600_000, 2));
        let blocks = maxima(&watched, BLOCK);
        let of_blocks = tail(maxima(&calibration, BLOCK));
        let share = |hit: &dyn Fn(f32) -> bool| {
            blocks.iter().filter(|m| hit(**m)).count() as f64 / blocks.len() as f64
        };
        let kept = share(&|m| of_blocks.probability(m) <= alpha);
        assert!((kept - alpha).abs() < 0.03, "{kept} of the blocks");
        let of_segments = tail(calibration);
        // The level at which one of BLOCK independent segments falls below it with probability alpha.
        let level = 1.0 - (1.0 - alpha).powf(1.0 / BLOCK as f64);
        let misstated = share(&|m| of_segments.probability(m) <= level);
        assert!(misstated < 0.06, "{misstated} of the blocks");
    }
}
