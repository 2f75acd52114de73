//! Principal components of the features, scaled to unit variance.

use super::Sample;
use crate::score::diffusion::Whitening;

/// Directions with less than this share of the largest variance are noise of the arithmetic.
const LEAST_VARIANCE: f64 = 1e-6;
/// A whitened number beyond this many standard deviations says no more than one at it.
const CLIP: f32 = 10.0;

/// Standardises every dimension, then turns and scales to unit variance in every direction; keeps the
/// `most` directions of the largest variance at most. `None` where nothing varies at all.
pub fn fit(samples: &[&Sample], most: usize) -> Option<Whitening> {
    let dims = samples.first()?.features.dims;
    let rows = || samples.iter().flat_map(|s| s.features.values.chunks_exact(dims));
    let n = rows().count() as f64;
    let mut mean = vec![0.0f64; dims];
    rows().for_each(|row| row.iter().zip(&mut mean).for_each(|(v, m)| *m += f64::from(*v) / n));
    let mut variance = vec![0.0f64; dims];
    for row in rows() {
        for ((v, m), s) in row.iter().zip(&mean).zip(&mut variance) {
            *s += (f64::from(*v) - m).powi(2) / n;
        }
    }
    // A dimension that never changes gets no weight.
    let scale: Vec<f64> = variance.iter().map(|v| if *v > 1e-12 { 1.0 / v.sqrt() } else { 0.0 }).collect();
    let mut covariance = vec![0.0f64; dims * dims];
    let mut z = vec![0.0f64; dims];
    for row in rows() {
        for (d, v) in row.iter().enumerate() {
            z[d] = (f64::from(*v) - mean[d]) * scale[d];
        }
        for a in 0..dims {
            for b in a..dims {
                covariance[a * dims + b] += z[a] * z[b];
            }
        }
    }
    for a in 0..dims {
        for b in a..dims {
            covariance[a * dims + b] /= n;
            covariance[b * dims + a] = covariance[a * dims + b];
        }
    }
    let (values, vectors) = symmetric_eigen(covariance, dims);
    let mut order: Vec<usize> = (0..dims).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    let largest = values[order[0]];
    if largest <= 0.0 {
        return None;
    }
    order.retain(|i| values[*i] > largest * LEAST_VARIANCE);
    order.truncate(most);
    let kept = order.len();
    let mut matrix = vec![0.0f32; dims * kept];
    for (column, &i) in order.iter().enumerate() {
        for d in 0..dims {
            matrix[d * kept + column] = (scale[d] * vectors[d * dims + i] / values[i].sqrt()) as f32;
        }
    }
    Some(Whitening { centre: mean.iter().map(|m| *m as f32).collect(), matrix, kept, clip: CLIP })
}

/// `features` (`[rows, dims]`) whitened as the model file does it, onto the end of `out` with `width`
/// numbers a row; numbers beyond the whitened ones are left 0 for the caller.
pub fn apply(whitening: &Whitening, features: &[f32], width: usize, out: &mut Vec<f32>) {
    let Whitening { centre, matrix, kept, clip } = whitening;
    for row in features.chunks_exact(centre.len()) {
        let at = out.len();
        out.resize(at + width, 0.0);
        let white = &mut out[at..at + kept];
        for ((v, c), weights) in row.iter().zip(centre).zip(matrix.chunks_exact(*kept)) {
            let centred = v - c;
            white.iter_mut().zip(weights).for_each(|(w, m)| *w += centred * m);
        }
        white.iter_mut().for_each(|w| *w = w.clamp(-clip, *clip));
    }
}

/// Eigenvalues and the eigenvectors (as columns) of a symmetric matrix, by Jacobi's rotations.
fn symmetric_eigen(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut v = vec![0.0; n * n];
    (0..n).for_each(|i| v[i * n + i] = 1.0);
    let norm: f64 = a.iter().map(|x| x * x).sum();
    // Converges quadratically: ten sweeps are plenty, the bound is for matrices that are not numbers.
    for _ in 0..30 {
        let off: f64 =
            (0..n).flat_map(|p| (p + 1..n).map(move |q| (p, q))).map(|(p, q)| a[p * n + q].powi(2)).sum();
        if off <= norm * 1e-22 {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                let apq = a[p * n + q];
                if apq.abs() <= f64::MIN_POSITIVE {
                    continue;
                }
                let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for k in 0..n {
                    let (x, y) = (a[k * n + p], a[k * n + q]);
                    a[k * n + p] = c * x - s * y;
                    a[k * n + q] = s * x + c * y;
                }
                for k in 0..n {
                    let (x, y) = (a[p * n + k], a[q * n + k]);
                    a[p * n + k] = c * x - s * y;
                    a[q * n + k] = s * x + c * y;
                    let (x, y) = (v[k * n + p], v[k * n + q]);
                    v[k * n + p] = c * x - s * y;
                    v[k * n + q] = s * x + c * y;
                }
            }
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), v)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Features;
    use rand::{SeedableRng, rngs::StdRng};
    use rand_distr::{Distribution, StandardNormal};

    fn samples(rows: usize, make: impl Fn(&mut dyn FnMut() -> f32) -> Vec<f32>) -> Vec<Sample> {
        let mut rng = StdRng::seed_from_u64(2);
        let mut normal = || StandardNormal.sample(&mut rng);
        (0..rows)
            .map(|i| {
                let values = make(&mut normal);
                Sample {
                    time: i as f64,
                    run: 0,
                    features: Features { regions: 1, dims: values.len(), values },
                }
            })
            .collect()
    }

    #[test]
    fn correlated_features_become_white() {
        let samples = samples(4000, |n| {
            let (a, b, c) = (n(), n(), n());
            vec![3.0 * a + 7.0, a + 0.2 * b, 5.0 * c - b]
        });
        let whitening = fit(&samples.iter().collect::<Vec<_>>(), 99).expect("varies");
        assert_eq!(whitening.kept, 3);
        let mut white = Vec::new();
        samples.iter().for_each(|s| apply(&whitening, &s.features.values, 3, &mut white));
        for a in 0..3 {
            for b in 0..3 {
                let mean = white.chunks(3).map(|r| f64::from(r[a] * r[b])).sum::<f64>() / 4000.0;
                let expected = if a == b { 1.0 } else { 0.0 };
                assert!((mean - expected).abs() < 1e-3, "{a} {b}: {mean}");
            }
        }
    }

    #[test]
    fn what_does_not_vary_is_left_out() {
        let some = samples(100, |n| vec![n(), 4.0, 2.0]);
        assert_eq!(fit(&some.iter().collect::<Vec<_>>(), 99).expect("one varies").kept, 1);
        let none = samples(100, |_| vec![4.0, 2.0]);
        assert_eq!(fit(&none.iter().collect::<Vec<_>>(), 99), None);
    }

    #[test]
    fn eigenvalues_by_hand() {
        let (mut values, _) = symmetric_eigen(vec![2.0, 1.0, 1.0, 2.0], 2);
        values.sort_by(f64::total_cmp);
        assert!((values[0] - 1.0).abs() < 1e-12 && (values[1] - 3.0).abs() < 1e-12, "{values:?}");
    }
}
