//! The spatial half: each line of samples is filtered down, then across, with the profiles that angles share.

use super::fold::{Folded, column, parts, vectors};
use super::lines::{Lines, shrink};
use super::{MAPS, Octave, Scratch};
use crate::features::v1::bank::{Bank, KERNEL, RADIUS, SPACING, V1Params, Wave};
use pulp::{Simd, WithSimd};

type Weights = super::fold::Weights<RADIUS>;

/// Profiles of y: without a wave, diagonal waves, upright ones, even and odd, and the constant.
const PROFILES: usize = 6;
const PLAIN: usize = 0;
const DIAGONAL: usize = 1;
const DIAGONAL_ODD: usize = 2;
const UPRIGHT: usize = 3;
const UPRIGHT_ODD: usize = 4;
const CONSTANT: usize = 5;

/// Weights of the four orientations of the shipped bank.
#[derive(Debug)]
pub struct Spatial {
    /// The profiles of y, for the pixels of each octave.
    down: Vec<[Weights; PROFILES]>,
    /// Of x, without a wave and constant.
    plain: Weights,
    constant: Weights,
    /// Even and odd, a wave along the picture's x axis, and a diagonal one.
    level: [Weights; 2],
    diagonal: [Weights; 2],
}

impl Spatial {
    pub fn new(params: &V1Params, bank: &Bank) -> Self {
        let [level, diagonal, upright, _] = bank.orientations.as_slice() else {
            unreachable!("four orientations")
        };
        let ones = [1.0; KERNEL];
        let profiles: [&[f64]; PROFILES] =
            [&level.y.cos, &diagonal.y.cos, &diagonal.y.sin, &upright.y.cos, &upright.y.sin, &ones];
        // Bytes stand for 0 to 1, and pixels of an octave are sums.
        let scale = |octave: usize| 1.0 / f64::from(255 << (2 * octave));
        let across = |wave: &Wave| [&wave.cos, &wave.sin].map(|profile| Weights::of(profile, 1.0));
        Self {
            down: (0..params.octaves)
                .map(|octave| profiles.map(|profile| Weights::of(profile, scale(octave))))
                .collect(),
            plain: Weights::of(&upright.x.cos, 1.0),
            constant: Weights::of(&ones, 1.0),
            level: across(&level.x),
            diagonal: across(&diagonal.x),
        }
    }
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
            filtered.resize(PROFILES * octave.line(), 0.0);
            let mut lines = Lines::new(octaves, at, frame, lines);
            for band in 0..octave.bands {
                let to = &mut to[octave.begin + band * octave.band()..][..octave.band()];
                for row in 0..octave.side {
                    let middle = SPACING / 2 + SPACING * (band * octave.side + row);
                    down(simd, lines.round(middle), &spatial.down[at], filtered);
                    across(simd, octave, row, spatial, filtered, to);
                }
            }
        }
    }
}

/// Each profile of y, on all numbers of the lines.
#[inline(always)]
fn down<S: Simd>(simd: S, lines: [&[f32]; KERNEL], profiles: &[Weights; PROFILES], to: &mut [f32]) {
    let count = lines[0].len() / S::F32_LANES;
    let lines = vectors::<S, KERNEL>(lines, count);
    let [plain, diagonal, diagonal_odd, upright, upright_odd, constant] = parts::<S, PROFILES>(to, count);
    for i in 0..count {
        let seen = Folded::new(simd, &column(&lines, i));
        plain[i] = seen.even(simd, &profiles[PLAIN]);
        diagonal[i] = seen.even(simd, &profiles[DIAGONAL]);
        diagonal_odd[i] = seen.odd(simd, &profiles[DIAGONAL_ODD]);
        upright[i] = seen.even(simd, &profiles[UPRIGHT]);
        upright_odd[i] = seen.odd(simd, &profiles[UPRIGHT_ODD]);
        constant[i] = seen.even(simd, &profiles[CONSTANT]);
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
    let mut lines = [&from[..0]; PROFILES];
    for (line, of) in lines.iter_mut().zip(from.chunks_exact(octave.line())) {
        *line = of;
    }
    let [even_0, odd_0, even_45, odd_45, even_90, odd_90, even_135, odd_135, constant] =
        maps.map(|map| &mut map[..count]);
    let ([level, level_odd], [diagonal, diagonal_odd]) = (&spatial.level, &spatial.diagonal);
    for i in 0..count {
        let plain = see(simd, octave, lines[PLAIN], i);
        even_0[i] = plain.even(simd, level);
        odd_0[i] = plain.odd(simd, level_odd);
        let (a, b) = (see(simd, octave, lines[DIAGONAL], i), see(simd, octave, lines[DIAGONAL_ODD], i));
        let (even, odd) = (a.even(simd, diagonal), a.odd(simd, diagonal_odd));
        let (even_of_odd, odd_of_odd) = (b.even(simd, diagonal), b.odd(simd, diagonal_odd));
        even_45[i] = simd.sub_f32s(even, odd_of_odd);
        even_135[i] = simd.add_f32s(even, odd_of_odd);
        odd_45[i] = simd.add_f32s(even_of_odd, odd);
        odd_135[i] = simd.sub_f32s(even_of_odd, odd);
        even_90[i] = see(simd, octave, lines[UPRIGHT], i).even(simd, &spatial.plain);
        odd_90[i] = see(simd, octave, lines[UPRIGHT_ODD], i).even(simd, &spatial.plain);
        constant[i] = see(simd, octave, lines[CONSTANT], i).even(simd, &spatial.constant);
    }
}

/// What the samples of a vector see of a line.
#[inline(always)]
fn see<S: Simd>(simd: S, octave: &Octave, line: &[f32], vector: usize) -> Folded<S, RADIUS> {
    let mut seen = [simd.splat_f32s(0.0); KERNEL];
    for (number, phase) in line.chunks_exact(octave.phase()).enumerate().take(SPACING) {
        let near = &phase[vector * S::F32_LANES..][..S::F32_LANES + KERNEL / SPACING];
        for k in (number..KERNEL).step_by(SPACING) {
            seen[k] = S::as_simd_f32s(&near[k / SPACING..][..S::F32_LANES]).0[0];
        }
    }
    Folded::new(simd, &seen)
}
