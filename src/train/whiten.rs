//! Mean and covariance of the features, and the linear maps that scorers have of them.

use super::Sample;
use crate::score::{Covariance, Whitening, inverse_root};
use nalgebra::linalg::SymmetricEigen;
use nalgebra::{DMatrix, Dyn};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2};

/// Directions with less than this share of the largest variance are noise of the arithmetic.
const LEAST_VARIANCE: f64 = 1e-6;
/// A whitened number beyond this many standard deviations says no more than one at it.
const CLIP: f32 = 10.0;
/// Rows that are multiplied at once.
const BLOCK: usize = 256;

/// Mean and covariance of all regions of all samples, each dimension scaled to unit variance.
pub struct Moments {
    mean: Vec<f64>,
    /// 1 / deviation; 0 for a dimension that never changes.
    scale: Vec<f64>,
    pub covariance: Covariance,
}

impl Moments {
    /// `None` where nothing varies at all.
    pub fn of(samples: &[&Sample]) -> Option<Self> {
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
        let scale: Vec<f64> =
            variance.iter().map(|v| if *v > 1e-12 { 1.0 / v.sqrt() } else { 0.0 }).collect();
        if scale.iter().all(|s| *s == 0.0) {
            return None;
        }
        let (mut matrix, mut fourth) = (Array2::zeros((dims, dims)), 0.0);
        let mut block: Vec<f64> = Vec::with_capacity(BLOCK * dims);
        let mut rows = rows().peekable();
        while let Some(row) = rows.next() {
            let start = block.len();
            block.extend(row.iter().zip(mean.iter().zip(&scale)).map(|(v, (m, s))| (f64::from(*v) - m) * s));
            fourth += block[start..].iter().map(|z| z * z).sum::<f64>().powi(2) / n;
            if block.len() == BLOCK * dims || rows.peek().is_none() {
                // Many rows at once are several times as fast as one by one.
                let z = ArrayView2::from_shape((block.len() / dims, dims), &block).expect("whole rows");
                general_mat_mul(1.0 / n, &z.t(), &z, 1.0, &mut matrix);
                block.clear();
            }
        }
        let matrix = matrix.into_raw_vec_and_offset().0;
        Some(Self { mean, scale, covariance: Covariance { dims, matrix, n, fourth } })
    }

    /// Turns and scales to unit variance in every direction; keeps the `most` directions of the largest variance at
    /// most.
    ///
    /// The small ones stay: what is unusual need not lie where the usual varies most (Rippel et al., "Modeling the
    /// Distribution of Normal Data in Pre-Trained Deep Features for Anomaly Detection", ICPR 2020).
    pub fn whitening(&self, most: usize) -> Whitening {
        let dims = self.covariance.dims;
        let SymmetricEigen { eigenvalues: values, eigenvectors: vectors } = self.eigen();
        let mut order: Vec<usize> = (0..dims).collect();
        order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
        let largest = values[order[0]];
        order.retain(|i| values[*i] > largest * LEAST_VARIANCE);
        order.truncate(most);
        let kept = order.len();
        let mut matrix = vec![0.0f32; dims * kept];
        for (column, &i) in order.iter().enumerate() {
            for d in 0..dims {
                matrix[d * kept + column] = (self.scale[d] * vectors[(d, i)] / values[i].sqrt()) as f32;
            }
        }
        self.linear(matrix, kept)
    }

    fn eigen(&self) -> SymmetricEigen<f64, Dyn> {
        let Covariance { dims, matrix, .. } = &self.covariance;
        DMatrix::from_column_slice(*dims, *dims, matrix).symmetric_eigen()
    }

    /// Scales every dimension that varies to unit variance, and leaves it as it stands.
    pub fn standard(&self) -> Whitening {
        let dims = self.scale.len();
        let some: Vec<usize> = (0..dims).filter(|d| self.scale[*d] > 0.0).collect();
        let mut matrix = vec![0.0f32; dims * some.len()];
        for (column, d) in some.iter().enumerate() {
            matrix[d * some.len() + column] = self.scale[*d] as f32;
        }
        self.linear(matrix, some.len())
    }

    /// Variance of a standardised dimension that its `rank` principal components leave unexplained: the mean of
    /// the other eigenvalues (Tipping & Bishop 1999, equation 8). 0 where there are no others.
    pub fn unexplained(&self, rank: usize) -> f64 {
        let mut values: Vec<f64> = self.eigen().eigenvalues.iter().copied().collect();
        values.sort_by(|a, b| b.total_cmp(a));
        let others = values.get(rank..).unwrap_or_default();
        others.iter().sum::<f64>() / others.len().max(1) as f64
    }

    /// Scales by the shrunk covariance of Ledoit and Wolf, so that a vector's square is its squared Mahalanobis
    /// distance.
    pub fn mahalanobis(&self) -> Whitening {
        // Dimensions that never change have no distance.
        let some: Vec<usize> = (0..self.scale.len()).filter(|d| self.scale[*d] > 0.0).collect();
        let (dims, kept) = (self.scale.len(), some.len());
        let pick = |i: usize| self.covariance.matrix[some[i / kept] * dims + some[i % kept]];
        let picked =
            Covariance { dims: kept, matrix: (0..kept * kept).map(pick).collect(), ..self.covariance };
        let intensity = picked.intensity();
        // Dimensions that say the same twice leave the covariance singular however many rows there are.
        let root = inverse_root(&picked.shrunk(intensity), kept)
            .or_else(|| inverse_root(&picked.shrunk(intensity.max(LEAST_VARIANCE)), kept))
            .expect("a multiple of the identity was added");
        let mut matrix = vec![0.0f32; dims * kept];
        for (column, weights) in root.chunks_exact(kept).enumerate() {
            for (d, w) in some.iter().zip(weights) {
                matrix[d * kept + column] = (self.scale[*d] * w) as f32;
            }
        }
        self.linear(matrix, kept)
    }

    fn linear(&self, matrix: Vec<f32>, kept: usize) -> Whitening {
        Whitening { centre: self.mean.iter().map(|m| *m as f32).collect(), matrix, kept, clip: CLIP }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Features;
    use crate::infer::Grid;
    use crate::score::Vectors;
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

    fn moments(samples: &[Sample]) -> Option<Moments> {
        Moments::of(&samples.iter().collect::<Vec<_>>())
    }

    #[test]
    fn correlated_features_become_white() {
        let samples = samples(4000, |n| {
            let (a, b, c) = (n(), n(), n());
            vec![3.0 * a + 7.0, a + 0.2 * b, 5.0 * c - b]
        });
        let moments = moments(&samples).expect("varies");
        let whitening = moments.whitening(99);
        assert_eq!(whitening.kept, 3);
        let vectors = Vectors { grid: Grid::WHOLE, dims: 3, whitening, rows: None };
        let mut white = Vec::new();
        samples.iter().for_each(|s| vectors.apply(&s.features.values, &mut white));
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
        let one = moments(&some).expect("one varies");
        assert_eq!((one.whitening(99).kept, one.mahalanobis().kept), (1, 1));
        let none = samples(100, |_| vec![4.0, 2.0]);
        assert!(moments(&none).is_none());
    }

    #[test]
    fn dimensions_that_say_the_same_twice_do_no_harm() {
        let twins = samples(4000, |n| {
            let (a, b) = (n(), n());
            vec![a, a, b]
        });
        let twins = moments(&twins).expect("varies");
        assert_eq!((twins.whitening(99).kept, twins.whitening(1).kept), (2, 1));
        assert!(twins.mahalanobis().matrix.iter().all(|w| w.is_finite()));
    }
}
