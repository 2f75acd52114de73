//! Nearest neighbours: how far a region's vector lies from what was seen in regions at its height.
//!
//! A memory for each row of regions, of vectors that cover what was seen there (a greedy coreset: Sener &
//! Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018; Roth et al.,
//! "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022). A region looks for its neighbours in the
//! memories of its own row and of the two beside it: a camera sees the same things at the same height at the same
//! size.

use super::{LEAST_RESIDUAL, Pooling, Vectors};
use crate::infer::{Attr, Graph, Manifest, Value};

/// Stands for the memory above the first row and below the last one: nothing is that far away.
const NOWHERE: f32 = 1e30;

/// The scorer.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    pub vectors: Vectors,
    /// Remembered vectors, `[grid.rows, memory, width]`: equally many for each row of regions.
    pub memory: Vec<f32>,
    /// Neighbours that a distance is the mean over.
    pub neighbours: usize,
    pub pooling: Pooling,
}

impl Neighbours {
    /// Vectors remembered for a row of regions.
    pub fn a_row(&self) -> usize {
        self.memory.len() / self.vectors.grid.rows / self.vectors.width()
    }

    /// The model file. The residual of a region is the mean squared distance to its nearest neighbours, over
    /// the width of the vectors.
    ///
    /// All distances are one matrix product, |x - c|^2 = |x|^2 - 2 x.c + |c|^2: three memories of `a_row`
    /// vectors cost 3 `a_row` `width` multiplications a region.
    pub fn to_onnx(&self, manifest: &Manifest) -> Vec<u8> {
        let (grid, width) = (self.vectors.grid, self.vectors.width());
        let (rows, cols) = (grid.rows as i64, grid.cols as i64);
        let mut g = Graph::new("sigmawatch_knn");
        let x = self.vectors.taken(&mut g);
        // [rows, segments * cols, width]: a batch of products, one a row of regions.
        let by_row = g.reshape(&x, &[-1, rows, cols, width as i64]);
        let by_row = g.op("Transpose", &[&by_row], &[("perm", [1i64, 0, 2, 3].into())]);
        let by_row = g.reshape(&by_row, &[rows, -1, width as i64]);
        let (towards, length) = self.memories(&mut g);
        let products = g.op("MatMul", &[&by_row, &towards], &[]);
        let apart = g.op("Add", &[&products, &length], &[]);
        let count = g.ints(&[self.neighbours.min(self.a_row()) as i64]);
        let attributes: [(&str, Attr); 3] = [("axis", 2.into()), ("largest", 0.into()), ("sorted", 0.into())];
        let nearest = g.ops("TopK", &[&apart, &count], 2, &attributes).swap_remove(0);
        let last = [("axes", [2i64].into()), ("keepdims", 0.into())];
        let nearest = g.op("ReduceMean", &[&nearest], &last);
        // |x|^2 comes last: it is the same for all neighbours, and a NaN in it reaches the score.
        let square = g.op("Mul", &[&by_row, &by_row], &[]);
        let two = g.ints(&[2]);
        let square = g.op("ReduceSum", &[&square, &two], &[("keepdims", 0.into())]);
        let distance = g.op("Add", &[&nearest, &square], &[]);
        // Rounding can take the distance to oneself a little below nought.
        let distance = g.op("Abs", &[&distance], &[]);
        let (share, least) = (g.scalar(1.0 / width as f32), g.scalar(LEAST_RESIDUAL));
        let distance = g.op("Mul", &[&distance, &share], &[]);
        let distance = g.op("Add", &[&distance, &least], &[]);
        let residual = g.reshape(&distance, &[rows, -1, cols]);
        let residual = g.op("Transpose", &[&residual], &[("perm", [1i64, 0, 2].into())]);
        let pooled = self.pooling.pooled(&mut g, &residual, grid);
        self.vectors.given(&mut g, &pooled.score, &pooled.map);
        g.finish(manifest)
    }

    /// For each row of regions the memories of it and its neighbours: -2 c as `[rows, width, 3 a_row]`, and |c|^2 as
    /// `[rows, 1, 3 a_row]`. The file holds each vector once.
    fn memories(&self, g: &mut Graph) -> (Value, Value) {
        let (rows, width, a_row) = (self.vectors.grid.rows, self.vectors.width(), self.a_row());
        let mut towards = vec![0.0; (rows + 2) * width * a_row];
        let mut length = vec![NOWHERE; (rows + 2) * a_row];
        for (i, c) in self.memory.chunks_exact(width).enumerate() {
            let (row, at) = (1 + i / a_row, i % a_row);
            length[row * a_row + at] = c.iter().map(|v| v * v).sum();
            for (d, v) in c.iter().enumerate() {
                towards[(row * width + d) * a_row + at] = -2.0 * v;
            }
        }
        let towards = g.constant(&[rows + 2, width, a_row], &towards);
        let length = g.constant(&[rows + 2, 1, a_row], &length);
        (three_rows(g, &towards, rows), three_rows(g, &length, rows))
    }
}

/// Each of `rows` between its neighbours: `[rows + 2, n, m]` to `[rows, n, 3 m]`.
fn three_rows(g: &mut Graph, padded: &Value, rows: usize) -> Value {
    let axis = g.ints(&[0]);
    let shifted: Vec<Value> = (0..3)
        .map(|from| {
            let (start, end) = (g.ints(&[from]), g.ints(&[from + rows as i64]));
            g.op("Slice", &[padded, &start, &end, &axis], &[])
        })
        .collect();
    g.op("Concat", &[&shifted[0], &shifted[1], &shifted[2]], &[("axis", 2.into())])
}

/// Indices of `most` of the `rows` (of `width` numbers) that cover the others well, the first row first: each
/// next one is the row farthest from all that were chosen (Gonzalez 1985: at most twice the best radius).
/// Ends early where every row is covered exactly.
pub fn coreset(rows: &[f32], width: usize, most: usize) -> Vec<usize> {
    let n = rows.len() / width;
    let row = |i: usize| &rows[i * width..(i + 1) * width];
    let mut nearest = vec![f32::INFINITY; n];
    let mut chosen: Vec<usize> = Vec::with_capacity(most.min(n));
    let mut next = 0;
    while chosen.len() < most.min(n) {
        chosen.push(next);
        let centre = row(next);
        let mut farthest = (0, 0.0);
        for (i, near) in nearest.iter_mut().enumerate() {
            let apart: f32 = row(i).iter().zip(centre).map(|(a, b)| (a - b) * (a - b)).sum();
            *near = near.min(apart);
            if *near > farthest.1 {
                farthest = (i, *near);
            }
        }
        if farthest.1 == 0.0 {
            break;
        }
        next = farthest.0;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn the_coreset_by_hand() {
        // From 0 the farthest is 10, then 5 (5 from both), then 2.
        let rows = [0.0, 1.0, 2.0, 10.0, 5.0];
        assert_eq!(coreset(&rows, 1, 4), [0, 3, 4, 2]);
        assert_eq!(coreset(&rows, 1, 99), [0, 3, 4, 2, 1], "never more than there are");
        assert_eq!(coreset(&[3.0, 3.0, 3.0], 1, 3), [0], "nothing twice");
    }

    /// The greedy radius is at most twice that of any other choice, here of 200 random ones.
    #[test]
    fn the_coreset_covers() {
        let mut rng = StdRng::seed_from_u64(3);
        let rows: Vec<f32> = (0..600).map(|_| rng.random_range(-1.0..1.0f32)).collect();
        let radius = |chosen: &[usize]| -> f32 {
            let near = |x: &[f32]| {
                let apart = |c: &usize| (x[0] - rows[2 * c]).hypot(x[1] - rows[2 * c + 1]);
                chosen.iter().map(apart).fold(f32::INFINITY, f32::min)
            };
            rows.chunks_exact(2).map(near).fold(0.0, f32::max)
        };
        let greedy = radius(&coreset(&rows, 2, 20));
        for _ in 0..200 {
            let random: Vec<usize> = (0..20).map(|_| rng.random_range(0..300)).collect();
            assert!(greedy <= 2.0 * radius(&random));
        }
    }
}
