//! The spatial half: each line of samples is filtered down, then across, with the profiles that angles share.

use super::lines::{Lines, shrink};
use super::{MAPS, Octave, Scratch};
use crate::features::v1::bank::{Bank, KERNEL, RADIUS, SPACING};
use pulp::{Simd, WithSimd};

/// Weights of a profile that is the same on both sides, from its middle on.
type Even = [f32; RADIUS + 1];
/// Weights of a profile whose sides are each other's negative, after its middle, where it is zero.
type Odd = [f32; RADIUS];

/// Profiles of y: without a wave, diagonal waves, upright ones, and the constant.
const EVENS: usize = 4;
const ODDS: usize = 2;
const PLAIN: usize = 0;
const DIAGONAL: usize = 1;
const UPRIGHT: usize = 2;
const CONSTANT: usize = 3;
/// After the even ones.
const DIAGONAL_ODD: usize = EVENS;
const UPRIGHT_ODD: usize = EVENS + 1;

/// Weights of the four orientations of the shipped bank.
#[derive(Debug)]
pub struct Spatial {
    even: [Even; EVENS],
    odd: [Odd; ODDS],
    /// Across, a wave of the picture's x axis, and a diagonal one.
    level: (Even, Odd),
    diagonal: (Even, Odd),
}

impl Spatial {
    pub fn new(bank: &Bank) -> Self {
        let [level, diagonal, upright, _] = bank.orientations.as_slice() else {
            unreachable!("four orientations")
        };
        Self {
            even: [even(&level.y.cos), even(&diagonal.y.cos), even(&upright.y.cos), [1.0; RADIUS + 1]],
            odd: [odd(&diagonal.y.sin), odd(&upright.y.sin)],
            level: (even(&level.x.cos), odd(&level.x.sin)),
            diagonal: (even(&diagonal.x.cos), odd(&diagonal.x.sin)),
        }
    }
}

fn even(profile: &[f64]) -> Even {
    std::array::from_fn(|k| profile[RADIUS + k] as f32)
}

fn odd(profile: &[f64]) -> Odd {
    std::array::from_fn(|k| profile[RADIUS + 1 + k] as f32)
}

/// Filters one frame.
pub struct Run<'a> {
    pub octaves: &'a [Octave],
    pub spatial: &'a Spatial,
    pub frame: &'a [u8],
    pub scratch: &'a mut Scratch,
    pub to: &'a mut [f32],
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { octaves, spatial, frame, scratch: Scratch { lines, filtered, .. }, to } = self;
        shrink(octaves, frame, lines);
        for (at, octave) in octaves.iter().enumerate() {
            filtered.resize((EVENS + ODDS) * octave.line(), 0.0);
            // Bytes stand for 0 to 1, and octaves are sums.
            let scale = 1.0 / (255 << (2 * at)) as f32;
            let mut lines = Lines::new(octaves, at, frame, lines);
            for band in 0..octave.bands {
                let to = &mut to[octave.begin + band * octave.band()..][..octave.band()];
                for row in 0..octave.side {
                    let middle = SPACING / 2 + SPACING * (band * octave.side + row);
                    down(simd, lines.round(middle), spatial, scale, filtered);
                    across(simd, octave, row, spatial, filtered, to);
                }
            }
        }
    }
}

/// What a filter sees, folded at its middle.
struct Folded<S: Simd> {
    middle: S::f32s,
    sums: [S::f32s; RADIUS],
    differences: [S::f32s; RADIUS],
}

impl<S: Simd> Folded<S> {
    #[inline(always)]
    fn new(simd: S, seen: [S::f32s; KERNEL]) -> Self {
        let middle = seen[RADIUS];
        let (mut sums, mut differences) = ([middle; RADIUS], [middle; RADIUS]);
        for k in 0..RADIUS {
            let (before, after) = (seen[RADIUS - 1 - k], seen[RADIUS + 1 + k]);
            sums[k] = simd.add_f32s(after, before);
            differences[k] = simd.sub_f32s(after, before);
        }
        Self { middle, sums, differences }
    }

    #[inline(always)]
    fn even(&self, simd: S, weights: &Even) -> S::f32s {
        let mut sum = simd.mul_f32s(simd.splat_f32s(weights[0]), self.middle);
        for k in 0..RADIUS {
            sum = simd.mul_add_e_f32s(simd.splat_f32s(weights[k + 1]), self.sums[k], sum);
        }
        sum
    }

    #[inline(always)]
    fn odd(&self, simd: S, weights: &Odd) -> S::f32s {
        let mut sum = simd.mul_f32s(simd.splat_f32s(weights[0]), self.differences[0]);
        for (weight, difference) in weights[1..].iter().zip(&self.differences[1..]) {
            sum = simd.mul_add_e_f32s(simd.splat_f32s(*weight), *difference, sum);
        }
        sum
    }

    #[inline(always)]
    fn ones(&self, simd: S) -> S::f32s {
        let mut sum = self.middle;
        for k in 0..RADIUS {
            sum = simd.add_f32s(sum, self.sums[k]);
        }
        sum
    }
}

/// Each profile of y, on all numbers of the lines.
#[inline(always)]
fn down<S: Simd>(simd: S, lines: [&[f32]; KERNEL], spatial: &Spatial, scale: f32, to: &mut [f32]) {
    let count = lines[0].len() / S::F32_LANES;
    let mut seen: [&[S::f32s]; KERNEL] = [&[]; KERNEL];
    for (seen, line) in seen.iter_mut().zip(lines) {
        *seen = &S::as_simd_f32s(line).0[..count];
    }
    let mut parts = S::as_mut_simd_f32s(to).0.chunks_exact_mut(count);
    let mut to: [&mut [S::f32s]; EVENS + ODDS] = Default::default();
    for to in &mut to {
        *to = parts.next().expect("a line for each profile");
    }
    let [plain, diagonal, upright, constant, diagonal_odd, upright_odd] = to;
    let mut even = spatial.even;
    even.as_flattened_mut().iter_mut().for_each(|weight| *weight *= scale);
    let mut odd = spatial.odd;
    odd.as_flattened_mut().iter_mut().for_each(|weight| *weight *= scale);
    for i in 0..count {
        let mut at = [seen[0][i]; KERNEL];
        for k in 1..KERNEL {
            at[k] = seen[k][i];
        }
        let folded = Folded::new(simd, at);
        plain[i] = folded.even(simd, &even[PLAIN]);
        diagonal[i] = folded.even(simd, &even[DIAGONAL]);
        upright[i] = folded.even(simd, &even[UPRIGHT]);
        constant[i] = simd.mul_f32s(simd.splat_f32s(scale), folded.ones(simd));
        diagonal_odd[i] = folded.odd(simd, &odd[0]);
        upright_odd[i] = folded.odd(simd, &odd[1]);
    }
}

/// The profiles of x at the samples of one line, and the sums that make the orientations' factors.
#[inline(always)]
fn across<S: Simd>(simd: S, octave: &Octave, row: usize, spatial: &Spatial, from: &[f32], to: &mut [f32]) {
    let size = octave.side * octave.pitch;
    let mut maps: [&mut [S::f32s]; MAPS] = Default::default();
    for (map, of) in maps.iter_mut().zip(to.chunks_exact_mut(size)) {
        *map = S::as_mut_simd_f32s(&mut of[row * octave.pitch..][..octave.pitch]).0;
    }
    let count = octave.pitch / S::F32_LANES;
    let mut lines: [&[f32]; EVENS + ODDS] = [&[]; EVENS + ODDS];
    for (line, of) in lines.iter_mut().zip(from.chunks_exact(octave.line())) {
        *line = of;
    }
    let [even_0, odd_0, even_45, odd_45, even_90, odd_90, even_135, odd_135, constant] =
        maps.map(|map| &mut map[..count]);
    for i in 0..count {
        let (level, diagonal) = (&spatial.level, &spatial.diagonal);
        let plain = see(simd, octave, lines[PLAIN], i);
        even_0[i] = plain.even(simd, &level.0);
        odd_0[i] = plain.odd(simd, &level.1);
        let (a, b) = (see(simd, octave, lines[DIAGONAL], i), see(simd, octave, lines[DIAGONAL_ODD], i));
        let (even, odd) = (a.even(simd, &diagonal.0), a.odd(simd, &diagonal.1));
        let (even_of_odd, odd_of_odd) = (b.even(simd, &diagonal.0), b.odd(simd, &diagonal.1));
        even_45[i] = simd.sub_f32s(even, odd_of_odd);
        even_135[i] = simd.add_f32s(even, odd_of_odd);
        odd_45[i] = simd.add_f32s(even_of_odd, odd);
        odd_135[i] = simd.sub_f32s(even_of_odd, odd);
        even_90[i] = see(simd, octave, lines[UPRIGHT], i).even(simd, &spatial.even[PLAIN]);
        odd_90[i] = see(simd, octave, lines[UPRIGHT_ODD], i).even(simd, &spatial.even[PLAIN]);
        constant[i] = see(simd, octave, lines[CONSTANT], i).ones(simd);
    }
}

/// What the samples of a vector see of a line.
#[inline(always)]
fn see<S: Simd>(simd: S, octave: &Octave, line: &[f32], vector: usize) -> Folded<S> {
    let mut seen = [simd.splat_f32s(0.0); KERNEL];
    for (number, phase) in line.chunks_exact(octave.phase()).enumerate().take(SPACING) {
        let near = &phase[vector * S::F32_LANES..][..S::F32_LANES + KERNEL / SPACING];
        for k in (number..KERNEL).step_by(SPACING) {
            seen[k] = S::as_simd_f32s(&near[k / SPACING..][..S::F32_LANES]).0[0];
        }
    }
    Folded::new(simd, seen)
}
