//! Bags: clips as sequences of vectors, and batches of normal and unusual ones side by side.

use ndarray::{Array1, Array2};
use rand::{Rng, RngExt};

/// One clip, labelled as a whole: its segments' vectors, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Bag {
    pub unusual: bool,
    /// Numbers of a vector.
    pub width: usize,
    pub vectors: Vec<f32>,
}

impl Bag {
    pub fn steps(&self) -> usize {
        self.vectors.len() / self.width
    }
}

/// A sequence of vectors as one of `steps`, as the authors do it: bounds at linspace(0, T, steps + 1), rounded down; the
/// mean of what lies between two of them, or the vector there where nothing does. T = `steps` changes nothing; a
/// shorter sequence has its vectors repeated.
pub fn resampled(vectors: &[f32], width: usize, steps: usize) -> Vec<f32> {
    let n = vectors.len() / width;
    let bound = |i: usize| i * n / steps;
    let mut out = Vec::with_capacity(steps * width);
    for i in 0..steps {
        let (from, to) = (bound(i), bound(i + 1).max(bound(i) + 1));
        let share = 1.0 / (to - from) as f32;
        out.extend((0..width).map(|d| share * (from..to).map(|t| vectors[t * width + d]).sum::<f32>()));
    }
    out
}

/// Segments of a bag of `steps` that speak for it: 3 of the published 32.
pub fn spokesmen(steps: usize) -> usize {
    (steps / 10).max(1)
}

/// Indices of the `k` largest numbers, largest first; of equal ones the earlier.
pub fn highest(numbers: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|a, b| numbers[*b].total_cmp(&numbers[*a]));
    order.truncate(k);
    order
}

/// Several bags at once, the first half normal and the second unusual.
///
/// The rows of one step of time stand together, bag by bag (`row = step * bags + bag`): a convolution over time is then a
/// product of contiguous blocks. Bags that are shorter than the longest are filled up at the end, where nothing causal
/// looks.
#[derive(Debug, Clone)]
pub struct Batch {
    pub x: Array2<f32>,
    /// Steps of each bag.
    pub lengths: Vec<usize>,
    /// 1 for a row that is there, 0 for filling.
    pub there: Array1<f32>,
}

impl Batch {
    pub fn of(bags: &[&Bag]) -> Self {
        let (n, width) = (bags.len(), bags[0].width);
        let lengths: Vec<usize> = bags.iter().map(|bag| bag.steps()).collect();
        let steps = lengths.iter().copied().max().unwrap_or(0);
        let there = |step: usize, bag: usize| step < lengths[bag];
        let at = |row: usize, d: usize| {
            let (step, bag) = (row / n, row % n);
            if there(step, bag) { bags[bag].vectors[step * width + d] } else { 0.0 }
        };
        let x = Array2::from_shape_fn((steps * n, width), |(row, d)| at(row, d));
        let there = Array1::from_shape_fn(steps * n, |row| f32::from(u8::from(there(row / n, row % n))));
        Self { x, lengths, there }
    }

    /// `pairs` normal and as many unusual bags, drawn at random.
    pub fn drawn(normal: &[Bag], unusual: &[Bag], pairs: usize, rng: &mut impl Rng) -> Self {
        let mut draw =
            |from: &'_ [Bag]| (0..pairs).map(|_| rng.random_range(0..from.len())).collect::<Vec<_>>();
        let (first, second) = (draw(normal), draw(unusual));
        let bags: Vec<&Bag> =
            first.into_iter().map(|i| &normal[i]).chain(second.into_iter().map(|i| &unusual[i])).collect();
        Self::of(&bags)
    }

    pub fn bags(&self) -> usize {
        self.lengths.len()
    }

    /// The rows of a bag, in order of time.
    pub fn rows(&self, bag: usize) -> impl Iterator<Item = usize> + use<> {
        let n = self.bags();
        (0..self.lengths[bag]).map(move |step| step * n + bag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use rand_distr::{Distribution, Normal};

    #[test]
    fn resampling_keeps_or_repeats_or_averages() {
        let ramp = |n: usize| (0..n).map(|i| i as f32).collect::<Vec<f32>>();
        assert_eq!(resampled(&ramp(32), 1, 32), ramp(32), "the same length changes nothing");
        assert_eq!(resampled(&ramp(2), 1, 4), [0.0, 0.0, 1.0, 1.0], "a shorter one is repeated");
        assert_eq!(resampled(&ramp(8), 2, 2), [1.0, 2.0, 5.0, 6.0], "a longer one is averaged");
        let long = resampled(&ramp(100), 1, 32);
        assert_eq!((long[0], long[31]), (1.0, 97.5), "bounds 0, 3, ... 96, 100");
    }

    /// Theorem 3.1 in its own model: with mu of T segments unusual, the gap between the mean top-k magnitudes is p_k
    /// times that of the magnitudes, p_k = min(mu, k) / (k + eps); and with k = T it is mu/T times, exactly.
    #[test]
    fn the_gap_of_magnitudes_is_the_theorems() {
        let p = |k: usize| 3.0f64.min(k as f64) / (k as f64 + 0.4);
        for (k, expected) in [(1, 0.714), (2, 0.833), (3, 0.882), (4, 0.682), (5, 0.556)] {
            assert!((p(k) - expected).abs() < 5e-4, "p_{k} = {}", p(k));
        }
        let (mut rng, spread) = (StdRng::seed_from_u64(1), Normal::new(5.0f32, 1.0).expect("a deviation"));
        let normal: Vec<f32> = (0..32).map(|_| spread.sample(&mut rng)).collect();
        let unusual: Vec<f32> =
            normal.iter().enumerate().map(|(t, m)| m + if t < 3 { 2.0 } else { 0.0 }).collect();
        let mean = |m: &[f32], k: usize| highest(m, k).iter().map(|i| m[*i]).sum::<f32>() / k as f32;
        assert!((mean(&unusual, 32) - mean(&normal, 32) - 3.0 * 2.0 / 32.0).abs() < 1e-5);
        assert_eq!(highest(&[1.0, 3.0, 3.0, 2.0], 3), [1, 2, 3]);
        assert_eq!([5, 10, 32, 200].map(spokesmen), [1, 1, 3, 20]);
    }

    #[test]
    fn shorter_bags_are_filled_at_the_end() {
        let bag = |values: &[f32]| Bag { unusual: false, width: 1, vectors: values.to_vec() };
        let batch = Batch::of(&[&bag(&[1.0, 2.0]), &bag(&[5.0])]);
        assert_eq!(batch.x.column(0).to_vec(), [1.0, 5.0, 2.0, 0.0]);
        assert_eq!(batch.there.to_vec(), [1.0, 1.0, 1.0, 0.0]);
        assert_eq!(batch.rows(0).collect::<Vec<_>>(), [0, 2]);
    }
}
