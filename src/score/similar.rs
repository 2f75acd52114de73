//! Which segments of normal life are most like one, in some of its regions.

/// A spread is at least this share of the mean one, so that what hardly ever changes does not decide alone.
const LEAST_SPREAD: f64 = 0.1;

/// Finds the `most` candidates that are most like `target`, most alike first: index and distance. A candidate is a time in
/// seconds and as many numbers as the target has; the ones found are at least `apart` seconds from each other.
///
/// The distance is in standard deviations of the candidates, the root of the mean square over all numbers.
pub fn similar(target: &[f32], candidates: &[(f64, Vec<f32>)], apart: f64, most: usize) -> Vec<(usize, f32)> {
    let (n, numbers) = (candidates.len() as f64, target.len());
    let (mut mean, mut square) = (vec![0.0f64; numbers], vec![0.0f64; numbers]);
    for (_, values) in candidates {
        for (d, value) in values.iter().enumerate() {
            mean[d] += f64::from(*value) / n;
            square[d] += f64::from(*value).powi(2) / n;
        }
    }
    let variances: Vec<f64> = mean.iter().zip(&square).map(|(m, s)| (s - m * m).max(0.0)).collect();
    let floor = LEAST_SPREAD.powi(2) * variances.iter().sum::<f64>() / numbers.max(1) as f64;
    // Where nothing ever changes, any unit will do.
    let unit = |variance: &f64| if floor > 0.0 { variance.max(floor) } else { 1.0 };
    let scales: Vec<f64> = variances.iter().map(unit).collect();
    let distance = |values: &[f32]| {
        let squares = values.iter().zip(target).zip(&scales).map(|((v, t), s)| f64::from(v - t).powi(2) / s);
        (squares.sum::<f64>() / numbers.max(1) as f64).sqrt() as f32
    };
    let mut near: Vec<(usize, f32)> = candidates
        .iter()
        .map(|(_, values)| distance(values))
        .enumerate()
        .filter(|(_, d)| d.is_finite())
        .collect();
    near.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut found: Vec<(usize, f32)> = vec![];
    for (i, distance) in near {
        if found.len() == most {
            break;
        }
        if found.iter().all(|(other, _)| (candidates[*other].0 - candidates[i].0).abs() >= apart) {
            found.push((i, distance));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};
    use rand_distr::{Distribution, StandardNormal};

    /// Ten minutes of noise, every two seconds, of which some moments are planted.
    fn life(planted: &[(usize, f32)]) -> Vec<(f64, Vec<f32>)> {
        let mut rng = StdRng::seed_from_u64(8);
        let mut noise = || -> f32 { StandardNormal.sample(&mut rng) };
        (0..300)
            .map(|i| {
                let of = |(_, by): &(usize, f32)| vec![6.0 + by; 5];
                let own = planted.iter().find(|(at, _)| *at == i).map(of);
                (2.0 * i as f64, own.unwrap_or_else(|| (0..5).map(|_| noise()).collect()))
            })
            .collect()
    }

    #[test]
    fn the_planted_ones_are_found_and_no_neighbours_of_each_other() {
        // The best one has neighbours that are nearly as good.
        let life = life(&[(50, 0.0), (51, 0.1), (49, 0.1), (64, 0.2), (65, 0.3), (200, 0.5)]);
        let found = similar(&[6.0; 5], &life, 30.0, 3);
        let which: Vec<usize> = found.iter().map(|(i, _)| *i).collect();
        assert_eq!(which, [50, 65, 200], "64 is 28 s from the first");
        assert_eq!(found[0].1, 0.0);
        assert!(found[1].1 < found[2].1, "{found:?}");
    }

    #[test]
    fn there_may_be_fewer_and_what_never_changes_has_distances_too() {
        let still: Vec<(f64, Vec<f32>)> = (0..20).map(|i| (i as f64, vec![1.0, 2.0])).collect();
        assert_eq!(similar(&[1.0, 5.0], &still, 30.0, 3), [(0, (9.0f32 / 2.0).sqrt())]);
        assert_eq!(similar(&[1.0], &[], 30.0, 3), []);
    }

    #[test]
    fn distances_are_in_standard_deviations_of_each_number() {
        // The second number varies a hundred times as much: ten of its units are less than one of the first's.
        let life: Vec<(f64, Vec<f32>)> =
            (0..40).map(|i| (100.0 * i as f64, vec![(i % 2) as f32, 100.0 * (i / 2 % 2) as f32])).collect();
        let target = [0.9, 40.0];
        let (first, _) = similar(&target, &life, 30.0, 1)[0];
        assert_eq!(life[first].1, [1.0, 0.0]);
    }
}
