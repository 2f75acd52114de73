//! Median and spread of each number of the features in normal life, region by region.

use crate::features::Features;
use crate::infer::{Normal, NormalSpec};

/// Segments that they are taken from at most, evenly chosen.
const SEGMENTS: usize = 400;
/// Values that a spread in the whole picture is taken from at most.
const VALUES: usize = 50_000;
/// Regions are told apart up to so many numbers: beyond that the model file would grow by more than 128 KiB.
const NUMBERS: usize = 32_768;
/// Shares of normal life that lie below, and the standard deviations that they are from the median of a normal
/// distribution. Wider than the quartiles: somebody walks past now and then, and that is normal, too.
const SHARES: [f64; 2] = [0.02, 0.98];
const DEVIATIONS: f32 = 2.054;

/// What normal life looks like, from the features of its segments; `None` without any.
pub fn normal(features: &[&Features]) -> Option<NormalSpec> {
    let first = features.first()?;
    let (regions, dims) = (first.regions, first.dims);
    let chosen: Vec<&Features> =
        features.iter().copied().step_by(features.len().div_ceil(SEGMENTS)).collect();
    let of = |region: usize, d: usize| chosen.iter().map(move |f| f.values[region * dims + d]);
    let mut whole = vec![];
    let mut together = Normal { regions: 1, dims, medians: vec![], spreads: vec![] };
    for d in 0..dims {
        let every = (chosen.len() * regions).div_ceil(VALUES);
        let (median, spread) = spread((0..regions).flat_map(|region| of(region, d)).step_by(every).collect());
        whole.push(spread);
        together.medians.push(median);
        together.spreads.push(spread);
    }
    if regions * dims > NUMBERS {
        return Some(NormalSpec::of(&together, &whole));
    }
    let mut apart = Normal { regions, dims, medians: vec![], spreads: vec![] };
    for region in 0..regions {
        for d in 0..dims {
            let (median, spread) = spread(of(region, d).collect());
            apart.medians.push(median);
            apart.spreads.push(spread);
        }
    }
    Some(NormalSpec::of(&apart, &whole))
}

/// Median, and the larger of the deviations to either side.
fn spread(mut values: Vec<f32>) -> (f32, f32) {
    values.sort_by(f32::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    let median = at(0.5);
    let [low, high] = SHARES.map(at);
    (median, (high - median).max(median - low) / DEVIATIONS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn medians_and_spreads_are_those_of_the_regions() {
        let mut rng = StdRng::seed_from_u64(4);
        let mut normal_number = || -> f32 { StandardNormal.sample(&mut rng) };
        let segments: Vec<Features> = (0..1000)
            .map(|_| {
                // The second region is twice as lively, the third number never changes.
                let (a, b) = (normal_number(), normal_number());
                Features { regions: 2, dims: 2, values: vec![3.0 + a, 7.0, 5.0 + 2.0 * b, 7.0] }
            })
            .collect();
        let spec = normal(&segments.iter().collect::<Vec<_>>()).expect("some");
        let found = spec.decoded(2, 2).expect("fits");
        for (found, expected) in found.medians.iter().zip([3.0, 7.0, 5.0, 7.0]) {
            assert!((found - expected).abs() < 0.2, "{found} {expected}");
        }
        for (found, expected) in found.spreads.iter().zip([1.0, 0.0, 2.0, 0.0]) {
            assert!((found - expected).abs() < 0.2 * expected + 1e-6, "{found} {expected}");
        }
        assert_eq!(normal(&[]), None);
    }

    #[test]
    fn where_there_are_many_numbers_all_regions_are_one() {
        let segments: Vec<Features> =
            (0..50).map(|i| Features { regions: 4, dims: 10_000, values: vec![i as f32; 40_000] }).collect();
        let spec = normal(&segments.iter().collect::<Vec<_>>()).expect("some");
        assert_eq!((spec.regions, spec.codes.len()), (1, 40_000));
        assert!((spec.decoded(4, 10_000).expect("fits").of(3).0[17] - 25.0).abs() < 1.0);
    }
}
