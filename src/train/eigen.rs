//! Eigenvalues and eigenvectors of symmetric matrices.

/// Beyond this many rows Jacobi's rotations take minutes.
const LARGEST_JACOBI: usize = 256;

/// Eigenvalues, in no order, and the eigenvectors (as columns) of the symmetric `n` x `n` matrix `a`.
pub fn symmetric_eigen(a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    if n <= LARGEST_JACOBI { jacobi(a, n) } else { tridiagonal(a, n) }
}

/// By Jacobi's rotations: the most exact.
fn jacobi(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
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

/// Householder reflections make it tridiagonal, then implicitly shifted QL rotations diagonal (Golub & Van Loan,
/// "Matrix Computations", section 8.3). About 9 n^3 steps, all along rows.
fn tridiagonal(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut diagonal, mut beside) = (vec![0.0; n], vec![0.0; n]);
    let mut weights = vec![0.0; n];
    for k in 0..n.saturating_sub(1) {
        weights[k] = reflect(&mut a, n, k, &mut beside[k]);
    }
    (0..n).for_each(|i| diagonal[i] = a[i * n + i]);
    let mut turned = reflections(&a, n, &weights);
    for first in 0..n {
        // Two or three shifts do; the bound is for matrices that are not numbers.
        for _ in 0..60 {
            let scale = |i: usize| f64::EPSILON * (f64::abs(diagonal[i]) + f64::abs(diagonal[i + 1]));
            let last = (first..n - 1).find(|&i| beside[i].abs() <= scale(i)).unwrap_or(n - 1);
            if last == first {
                break;
            }
            shift(&mut diagonal, &mut beside, &mut turned, first, last);
        }
    }
    let vectors = (0..n * n).map(|at| turned[at % n * n + at / n]).collect();
    (diagonal, vectors)
}

/// Reflects column `k` of what is left of the matrix onto its first number, which goes to `beside`. The direction
/// stays in row `k`, and its weight 2 / |v|^2 is given back, 0 where there was nothing to do.
fn reflect(a: &mut [f64], n: usize, k: usize, beside: &mut f64) -> f64 {
    let (done, left) = a.split_at_mut((k + 1) * n);
    let v = &mut done[k * n + k + 1..];
    let rest: f64 = v[1..].iter().map(|x| x * x).sum();
    if rest == 0.0 {
        *beside = v[0];
        return 0.0;
    }
    let length = (v[0] * v[0] + rest).sqrt().copysign(-v[0]);
    *beside = length;
    v[0] -= length;
    let weight = 2.0 / (v[0] * v[0] + rest);
    let mut w: Vec<f64> = left.chunks_exact(n).map(|row| weight * dot(&row[k + 1..], v)).collect();
    let along = weight / 2.0 * dot(&w, v);
    w.iter_mut().zip(&*v).for_each(|(w, v)| *w -= along * v);
    for (row, (v_row, w_row)) in left.chunks_exact_mut(n).zip(v.iter().zip(&w)) {
        let columns = row[k + 1..].iter_mut().zip(v.iter().zip(&w));
        columns.for_each(|(x, (v, w))| *x -= v_row * w + w_row * v);
    }
    weight
}

/// The product of all reflections, transposed.
fn reflections(a: &[f64], n: usize, weights: &[f64]) -> Vec<f64> {
    let mut product = vec![0.0; n * n];
    (0..n).for_each(|i| product[i * n + i] = 1.0);
    for k in (0..n.saturating_sub(1)).rev() {
        let v = &a[k * n + k + 1..(k + 1) * n];
        for row in product[(k + 1) * n..].chunks_exact_mut(n) {
            let along = weights[k] * dot(&row[k + 1..], v);
            row[k + 1..].iter_mut().zip(v).for_each(|(x, v)| *x -= along * v);
        }
    }
    product
}

/// One QL step on rows `first` to `last` of the tridiagonal matrix, and of the eigenvectors, which are rows.
fn shift(diagonal: &mut [f64], beside: &mut [f64], turned: &mut [f64], first: usize, last: usize) {
    let n = diagonal.len();
    let slope = (diagonal[first + 1] - diagonal[first]) / (2.0 * beside[first]);
    let near = beside[first] / (slope + slope.hypot(1.0).copysign(slope));
    let mut bulge = diagonal[last] - diagonal[first] + near;
    let (mut sin, mut cos, mut moved) = (1.0, 1.0, 0.0);
    for i in (first..last).rev() {
        let (f, b) = (sin * beside[i], cos * beside[i]);
        let r = f.hypot(bulge);
        beside[i + 1] = r;
        if r == 0.0 {
            // The matrix falls into two here.
            diagonal[i + 1] -= moved;
            beside[last] = 0.0;
            return;
        }
        (sin, cos) = (f / r, bulge / r);
        let start = diagonal[i + 1] - moved;
        let gain = (diagonal[i] - start) * sin + 2.0 * cos * b;
        moved = sin * gain;
        diagonal[i + 1] = start + moved;
        bulge = cos * gain - b;
        let (x, y) = turned[i * n..(i + 2) * n].split_at_mut(n);
        for (x, y) in x.iter_mut().zip(y) {
            (*x, *y) = (cos * *x - sin * *y, sin * *x + cos * *y);
        }
    }
    diagonal[first] -= moved;
    beside[first] = bulge;
    beside[last] = 0.0;
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four sums, so that the additions need not wait for each other.
    let (a4, a_rest) = a.as_chunks::<4>();
    let (b4, b_rest) = b.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (a, b) in a4.iter().zip(b4) {
        (0..4).for_each(|i| sums[i] += a[i] * b[i]);
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    type Solver = fn(Vec<f64>, usize) -> (Vec<f64>, Vec<f64>);

    /// Checks that the vectors are orthonormal, and that the matrix only scales them.
    fn assert_solved(by: Solver, a: &[f64], n: usize) -> Vec<f64> {
        let (mut values, vectors) = by(a.to_vec(), n);
        let column = |i: usize| -> Vec<f64> { (0..n).map(|d| vectors[d * n + i]).collect() };
        let size = values.iter().fold(1.0f64, |m, v| m.max(v.abs()));
        for (i, value) in values.iter().enumerate() {
            let v = column(i);
            for (d, row) in a.chunks_exact(n).enumerate() {
                assert!((dot(row, &v) - value * v[d]).abs() < 1e-11 * size, "vector {i} of {n}");
            }
            for j in 0..=i {
                let wanted = if i == j { 1.0 } else { 0.0 };
                assert!((dot(&v, &column(j)) - wanted).abs() < 1e-11, "vectors {i} and {j} of {n}");
            }
        }
        values.sort_by(f64::total_cmp);
        values
    }

    #[test]
    fn matrices_of_every_kind_are_solved() {
        let mut rng = StdRng::seed_from_u64(1);
        for n in [1, 2, 3, 7, 60, 130] {
            let half: Vec<f64> = (0..n * n).map(|_| rng.random_range(-1.0..1.0)).collect();
            let symmetric: Vec<f64> = (0..n * n).map(|at| half[at] + half[at % n * n + at / n]).collect();
            // Of rank one: most eigenvalues are 0, as with features that are always off.
            let low: Vec<f64> = (0..n * n).map(|at| half[at / n] * half[at % n]).collect();
            let mut diagonal = vec![0.0; n * n];
            (0..n).for_each(|i| diagonal[i * n + i] = (i % 3) as f64);
            for a in [symmetric, low, diagonal, vec![0.0; n * n]] {
                let (one, other) = (assert_solved(jacobi, &a, n), assert_solved(tridiagonal, &a, n));
                assert!(one.iter().zip(&other).all(|(x, y)| (x - y).abs() < 1e-10), "{n}");
            }
        }
        for by in [jacobi, tridiagonal] {
            let values = assert_solved(by, &[2.0, 1.0, 1.0, 2.0], 2);
            assert!((values[0] - 1.0).abs() < 1e-14 && (values[1] - 3.0).abs() < 1e-14, "{values:?}");
        }
    }

    #[test]
    fn a_large_matrix_keeps_its_trace() {
        let (n, mut rng) = (1000, StdRng::seed_from_u64(2));
        let half: Vec<f64> = (0..n * n).map(|_| rng.random_range(-1.0..1.0)).collect();
        let a: Vec<f64> = (0..n * n).map(|at| half[at] + half[at % n * n + at / n]).collect();
        let trace: f64 = (0..n).map(|i| a[i * n + i]).sum();
        let (values, _) = symmetric_eigen(a, n);
        assert!((values.iter().sum::<f64>() - trace).abs() < 1e-9);
    }
}
