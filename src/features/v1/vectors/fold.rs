//! What both halves do: filters that are symmetric or antisymmetric, applied to what lies on both sides of their middle.

use pulp::Simd;

/// Weights of a filter from its middle on. Before the middle they are the same, or the negative, where the middle is zero.
#[derive(Debug, Clone, Copy)]
pub struct Weights<const SIDE: usize> {
    pub middle: f32,
    pub after: [f32; SIDE],
}

impl<const SIDE: usize> Weights<SIDE> {
    /// Of a whole filter, times `scale`.
    pub fn of(filter: &[f64], scale: f64) -> Self {
        let weight = |at: usize| (filter[at] * scale) as f32;
        Self { middle: weight(SIDE), after: std::array::from_fn(|k| weight(SIDE + 1 + k)) }
    }
}

/// What a filter sees, folded at its middle.
pub struct Folded<S: Simd, const SIDE: usize> {
    middle: S::f32s,
    sums: [S::f32s; SIDE],
    differences: [S::f32s; SIDE],
}

impl<S: Simd, const SIDE: usize> Folded<S, SIDE> {
    /// Folds `2 * SIDE + 1` vectors.
    #[inline(always)]
    pub fn new(simd: S, seen: &[S::f32s]) -> Self {
        let middle = seen[SIDE];
        let (mut sums, mut differences) = ([middle; SIDE], [middle; SIDE]);
        for k in 0..SIDE {
            let (before, after) = (seen[SIDE - 1 - k], seen[SIDE + 1 + k]);
            sums[k] = simd.add_f32s(after, before);
            differences[k] = simd.sub_f32s(after, before);
        }
        Self { middle, sums, differences }
    }

    /// What a symmetric filter answers.
    #[inline(always)]
    pub fn even(&self, simd: S, weights: &Weights<SIDE>) -> S::f32s {
        let mut sum = simd.mul_f32s(simd.splat_f32s(weights.middle), self.middle);
        for (weight, of) in weights.after.iter().zip(&self.sums) {
            sum = simd.mul_add_e_f32s(simd.splat_f32s(*weight), *of, sum);
        }
        sum
    }

    /// What an antisymmetric filter answers.
    #[inline(always)]
    pub fn odd(&self, simd: S, weights: &Weights<SIDE>) -> S::f32s {
        let mut sum = simd.mul_f32s(simd.splat_f32s(weights.after[0]), self.differences[0]);
        for (weight, of) in weights.after[1..].iter().zip(&self.differences[1..]) {
            sum = simd.mul_add_e_f32s(simd.splat_f32s(*weight), *of, sum);
        }
        sum
    }
}

/// The first `count` vectors of each line.
#[inline(always)]
pub fn vectors<S: Simd, const LINES: usize>(lines: [&[f32]; LINES], count: usize) -> [&[S::f32s]; LINES] {
    let mut vectors: [&[S::f32s]; LINES] = [&[]; LINES];
    for (vectors, line) in vectors.iter_mut().zip(lines) {
        *vectors = &S::as_simd_f32s(line).0[..count];
    }
    vectors
}

/// Lines of `count` vectors that lie one after the other.
#[inline(always)]
pub fn parts<S: Simd, const LINES: usize>(lines: &mut [f32], count: usize) -> [&mut [S::f32s]; LINES] {
    let mut parts = S::as_mut_simd_f32s(lines).0.chunks_exact_mut(count);
    std::array::from_fn(|_| &mut parts.next().expect("as many lines as there are")[..count])
}

/// Vector `at` of each line. No closure touches a vector: where one is not inlined, it has not the instructions.
#[inline(always)]
pub fn column<V: Copy, const LINES: usize>(lines: &[&[V]; LINES], at: usize) -> [V; LINES] {
    let mut seen = [lines[0][at]; LINES];
    for k in 1..LINES {
        seen[k] = lines[k][at];
    }
    seen
}
