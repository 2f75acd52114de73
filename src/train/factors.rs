//! What normal life has to say of a beta-VAE's latents: how much each contributes, and what it goes with.

use super::LearnError;
use super::method::Task;
use super::signals::Signals;
use super::vae::{codes, outputs};
use crate::infer::{Correlation, FactorSpec};
use crate::score::beta_vae::BetaVae;
use ndarray::{Array2, Axis};

/// Segments that contributions are taken from at most.
const SEGMENTS: usize = 5000;
/// Regions that correlations are taken from at most (whole segments of them, and one at least).
const REGIONS: usize = 100_000;
/// Correlations kept of each factor.
const STRONGEST: usize = 3;
/// Shares of normal life whose quantiles are kept, as far as there are segments enough to tell them.
const SHARES: [f64; 14] =
    [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998];

/// One factor a latent, from the task's samples.
pub fn factors(model: &BetaVae, task: &Task, signals: &Signals) -> Result<Vec<FactorSpec>, LearnError> {
    let latents = model.network.latents;
    let [contributions] = outputs(model, task, ["factors"], SEGMENTS)?;
    let correlations = correlations(model, task, signals);
    let factor = |(latent, correlations)| {
        let mut own: Vec<f32> = contributions.iter().skip(latent).step_by(latents).copied().collect();
        own.sort_by(f32::total_cmp);
        FactorSpec { median: quantile(&own, 0.5), quantiles: quantiles(&own), correlations }
    };
    Ok(correlations.into_iter().enumerate().map(factor).collect())
}

/// The quantiles of [`SHARES`] that lie among the sorted values, and the largest value with its own share, n / (n + 1).
fn quantiles(sorted: &[f32]) -> Vec<(f64, f32)> {
    let n = sorted.len() as f64;
    let told = SHARES.into_iter().filter(|share| (1.0..n).contains(&(share * (n + 1.0))));
    let largest = sorted.last().map(|largest| (n / (n + 1.0), *largest));
    told.map(|share| (share, quantile(sorted, share))).chain(largest).collect()
}

/// Between the values of rank floor and ceil of share (n + 1), from 1 (Weibull).
fn quantile(sorted: &[f32], share: f64) -> f32 {
    let rank = (share * (sorted.len() + 1) as f64 - 1.0).clamp(0.0, (sorted.len() - 1) as f64);
    let (below, above) = (sorted[rank as usize], sorted[rank.ceil() as usize]);
    below + (above - below) * rank.fract() as f32
}

/// For each latent, the signals that its mean goes with over the regions of some segments.
fn correlations(model: &BetaVae, task: &Task, signals: &Signals) -> Vec<Vec<Correlation>> {
    let names = signals.names();
    let every = (task.samples.len() * task.grid.regions()).div_ceil(REGIONS);
    let (mut rows, mut named) = (Vec::new(), Vec::new());
    for sample in task.samples.iter().step_by(every) {
        model.vectors.apply(&sample.features.values, &mut rows);
        signals.of(sample, &mut named);
    }
    let n = named.len() / names.len();
    let matrix = |data: Vec<f32>| {
        let columns = data.len() / n;
        Array2::from_shape_vec((n, columns), data).expect("one row a region")
    };
    let (codes, named) = (standard(codes(&model.network, matrix(rows))), standard(matrix(named)));
    let r = codes.t().dot(&named) / n as f32;
    let strongest = |r: ndarray::ArrayView1<f32>| {
        let named =
            names.iter().zip(r).map(|(signal, r)| Correlation { signal: signal.clone(), r: f64::from(*r) });
        let mut named: Vec<Correlation> = named.collect();
        named.sort_by(|a, b| b.r.abs().total_cmp(&a.r.abs()));
        named.truncate(STRONGEST);
        named
    };
    r.axis_iter(Axis(0)).map(strongest).collect()
}

/// Every column of mean 0 and variance 1; one that does not vary is 0.
fn standard(mut columns: Array2<f32>) -> Array2<f32> {
    for mut column in columns.axis_iter_mut(Axis(1)) {
        let n = column.len() as f64;
        let mean = column.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let variance = column.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
        let scale = if variance > 1e-12 { variance.sqrt().recip() } else { 0.0 };
        column.mapv_inplace(|v| ((f64::from(v) - mean) * scale) as f32);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::super::tests::{by, toy};
    use super::super::{Flow, LearnConfig, Sample, learn};
    use super::*;
    use crate::config::Method;
    use crate::features::Features;
    use crate::infer::{Grid, Session};
    use crate::score::{OnnxScorer, Scorer, reasons};
    use rand::{SeedableRng, rngs::StdRng};
    use rand_distr::{Distribution, StandardNormal};

    const GRID: Grid = Grid { rows: 2, cols: 2 };

    /// Four channels that see what moves left and two that see what moves right, and no more than this in common;
    /// what moves left in region 3 is `odd`.
    fn sample(i: usize, odd: Option<f32>, rng: &mut StdRng) -> Sample {
        let mut draw = || -> f32 { StandardNormal.sample(&mut *rng) };
        let mut values = Vec::new();
        for region in 0..GRID.regions() {
            let left = odd.filter(|_| region == 3).unwrap_or_else(&mut draw);
            let right = draw();
            values.extend([left, left, left, left, right, right].map(|energy| energy + 0.1 * draw()));
        }
        let features = Features { regions: GRID.regions(), dims: 6, values };
        Sample { time: i as f64 * 0.5, run: 0, features }
    }

    /// Learned from what moves left and right, a file says that what is odd has to do with moving left.
    #[test]
    fn a_factor_is_known_by_what_it_goes_with() {
        crate::infer::init_for_tests();
        let mut rng = StdRng::seed_from_u64(4);
        let mut set = toy(GRID, (0..400).map(|i| sample(i, None, &mut rng)).collect());
        let channel = |heading: usize, px: usize| format!("{px} px, heading {heading} deg at 1 px/frame");
        set.channels =
            [(180, 4), (180, 8), (180, 16), (180, 32), (0, 4), (0, 8)].map(|(h, px)| channel(h, px)).to_vec();
        let config =
            LearnConfig { latents: 2, steps: 600, highest: 1, smoothing: 0.0, ..by(Method::BetaVae) };
        let learned = learn(set, &config, &mut |_| Flow::Continue).expect("learns");
        let session = Session::from_bytes("learned", &learned.bytes).expect("loads");
        let mut scorer = OnnxScorer::new(session).expect("a scorer");
        let spec = scorer.spec().clone();
        assert_eq!(spec.factors.len(), 2);
        for factor in &spec.factors {
            assert!(factor.quantiles.windows(2).all(|q| q[0].0 < q[1].0 && q[0].1 <= q[1].1), "{factor:?}");
            assert_eq!(factor.correlations.len(), 3);
        }
        let odd = sample(0, Some(6.0), &mut rng);
        let score = &scorer.score_run(&[&odd.features]).expect("scores")[0];
        assert_eq!(score.factors.len(), 2);
        assert_eq!(score.top_regions(GRID, 1), [(1, 1)]);
        let reasons = reasons(score, &spec.factors);
        let known = reasons[0].goes_with.as_ref().expect("it goes with something");
        assert!(known.signal == "leftward motion energy" && known.r.abs() > 0.8, "{}", reasons[0]);
        assert!(reasons[0].percentile > 99.5, "{}", reasons[0]);
    }

    #[test]
    fn quantiles_reach_as_far_as_the_samples() {
        let sorted: Vec<f32> = (1..=99).map(|v| v as f32).collect();
        let found = quantiles(&sorted);
        assert_eq!(found[0], (0.01, 1.0));
        assert_eq!(found[3], (0.5, 50.0));
        assert_eq!(&found[found.len() - 2..], [(0.98, 98.0), (0.99, 99.0)]);
        assert_eq!(quantiles(&[2.0]), [(0.5, 2.0)]);
    }
}
