//! Mahalanobis distance with a shrunk covariance: the plain Gaussian baseline.
//!
//! One mean and one covariance for all regions of the picture. A row of regions of its own would have to learn
//! its covariance from a fraction of the data, and empty rows (sky, wall) would make every tremble an outlier: a
//! prototype with a covariance a row had a frame AUC of .73 on Ped2.
//!
//! The covariance is that of Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance
//! matrices" (J. Multivariate Analysis 88, 2004), of standardised features. It matters where numbers are many and
//! segments few: one vector of a deep network for the whole picture.

use super::{Pooling, Vectors};
use crate::infer::{Graph, Manifest};
use nalgebra::DMatrix;

/// A covariance and what it was estimated from.
#[derive(Debug, Clone, PartialEq)]
pub struct Covariance {
    pub dims: usize,
    /// `[dims, dims]`: mean of (x - mean)(x - mean)^T over the rows.
    pub matrix: Vec<f64>,
    /// Rows.
    pub n: f64,
    /// Mean of |x - mean|^4 over the rows.
    pub fourth: f64,
}

impl Covariance {
    /// Intensity of the shrinkage: min(b^2, d^2) / d^2, with d^2 = |S - m I|^2, m = tr(S) / p and
    /// b^2 = sum |x x^T - S|^2 / n^2 = (mean |x|^4 - |S|^2) / n (lemmas 3.2 to 3.4).
    pub fn intensity(&self) -> f64 {
        let p = self.dims as f64;
        let m = self.trace() / p;
        let square: f64 = self.matrix.iter().map(|s| s * s).sum();
        let d = square - p * m * m;
        let b = (self.fourth - square) / self.n;
        if d > 0.0 { (b / d).clamp(0.0, 1.0) } else { 1.0 }
    }

    /// (1 - intensity) S + intensity m I.
    pub fn shrunk(&self, intensity: f64) -> Vec<f64> {
        let m = self.trace() / self.dims as f64;
        let mut matrix: Vec<f64> = self.matrix.iter().map(|s| (1.0 - intensity) * s).collect();
        (0..self.dims).for_each(|d| matrix[d * self.dims + d] += intensity * m);
        matrix
    }

    fn trace(&self) -> f64 {
        (0..self.dims).map(|d| self.matrix[d * self.dims + d]).sum()
    }
}

/// The lower triangular W with W^T W = C^-1 for a symmetric positive definite C `[dims, dims]`: |W x|^2 is the
/// squared Mahalanobis distance of x. `None` where C is not positive definite.
pub fn inverse_root(c: &[f64], dims: usize) -> Option<Vec<f64>> {
    let factor = DMatrix::from_column_slice(dims, dims, c).cholesky()?.unpack();
    let inverse = factor.solve_lower_triangular(&DMatrix::identity(dims, dims))?;
    // Row by row, and nalgebra keeps columns.
    Some(inverse.transpose().data.into())
}

/// The scorer: the vectors are whitened by the shrunk covariance.
#[derive(Debug, Clone, PartialEq)]
pub struct Gaussian {
    pub vectors: Vectors,
    pub pooling: Pooling,
}

impl Gaussian {
    /// The model file. The residual of a region is its squared distance over the number of dimensions: 1 on
    /// average for what it was learned from.
    pub fn to_onnx(&self, manifest: &Manifest) -> Vec<u8> {
        let mut g = Graph::new("sigmawatch_mahalanobis");
        let x = self.vectors.taken(&mut g);
        let square = g.op("Mul", &[&x, &x], &[]);
        let residual = g.op("ReduceMean", &[&square], &[("axes", [2i64].into()), ("keepdims", 0.into())]);
        let least = g.scalar(super::LEAST_RESIDUAL);
        let residual = g.op("Add", &[&residual, &least], &[]);
        let pooled = self.pooling.pooled(&mut g, &residual, self.vectors.grid);
        self.vectors.given(&mut g, &pooled.score, &pooled.map);
        g.finish(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covariance(rows: &[f64], dims: usize) -> Covariance {
        let n = (rows.len() / dims) as f64;
        let mean: Vec<f64> = (0..dims).map(|d| rows.iter().skip(d).step_by(dims).sum::<f64>() / n).collect();
        let (mut matrix, mut fourth) = (vec![0.0; dims * dims], 0.0);
        for row in rows.chunks_exact(dims) {
            let x: Vec<f64> = row.iter().zip(&mean).map(|(v, m)| v - m).collect();
            (0..dims * dims).for_each(|i| matrix[i] += x[i / dims] * x[i % dims] / n);
            fourth += x.iter().map(|v| v * v).sum::<f64>().powi(2) / n;
        }
        Covariance { dims, matrix, n, fourth }
    }

    fn assert_close(found: &[f64], expected: &[f64]) {
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 1e-8, "{found:?} instead of {expected:?}");
        }
    }

    /// Numbers of scikit-learn 1.x's `ledoit_wolf` on the same rows: more rows than dimensions, and fewer.
    #[test]
    fn the_shrinkage_is_the_one_that_scikit_learn_has() {
        let tall = [
            2.0, 1.0, 0.0, 4.0, 3.0, 1.0, 3.0, 5.0, -2.0, 7.0, 6.0, 3.0, 1.0, 0.0, 4.0, 6.0, 4.0, -1.0, 5.0,
            8.0, 2.0, 9.0, 7.0, 0.0,
        ];
        let c = covariance(&tall, 3);
        assert_close(&[c.intensity()], &[0.5461567079680373]);
        let expected = [5.88449336, 2.31176427, -0.30492596, 2.31176427, 6.20360192, -0.38293028];
        assert_close(&c.shrunk(c.intensity()), &expected);
        let wide = [
            2.0, 1.0, 0.0, 3.0, 1.0, 5.0, 4.0, 3.0, 1.0, -1.0, 2.0, 0.0, 3.0, 5.0, -2.0, 2.0, 7.0, 1.0, 1.0,
            -2.0, 6.0, 0.0, 3.0, 2.0,
        ];
        let c = covariance(&wide, 6);
        assert_close(&[c.intensity()], &[0.5722431926475865]);
        let row = [3.18728164, 1.01592242, -0.90898322, -0.2138784, 0.1604088, -0.53469601];
        assert_close(&c.shrunk(c.intensity())[..6], &row);
        assert_eq!(inverse_root(&c.matrix, 6), None, "four rows span no six dimensions");
        assert!(inverse_root(&c.shrunk(c.intensity()), 6).is_some());
    }

    /// By hand: C = [[4, 2], [2, 5]], so L = [[2, 0], [1, 2]] and L^-1 = [[1/2, 0], [-1/4, 1/2]].
    #[test]
    fn the_root_of_the_inverse_by_hand() {
        assert_eq!(inverse_root(&[4.0, 2.0, 2.0, 5.0], 2), Some(vec![0.5, 0.0, -0.25, 0.5]));
    }
}
