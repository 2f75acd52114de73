//! The temporal half: from the responses of nine frames to energies, each the mean of a region.

use super::fold::{Folded, Weights, column, parts, vectors};
use super::{ENERGIES, MAPS, Octave, Scratch};
use crate::features::v1::bank::{Bank, Energy, ORIENTATIONS, TAPS, V1Params};
use pulp::{Simd, WithSimd};

/// Frames before and after the moment.
const SIDE: usize = TAPS / 2;

/// Factors of a speed: of its wave, whose sine has the other sign backward, and of its filters' lengths.
#[derive(Debug, Clone, Copy)]
struct Speed {
    /// 1 in the middle.
    cos: Weights<SIDE>,
    sin: Weights<SIDE>,
    even: f32,
    odd: f32,
    constant: f32,
}

impl Speed {
    fn new(energy: &Energy) -> Self {
        let (even, odd) = (&energy.even, &energy.odd);
        let middle = even.on_even[SIDE];
        Self {
            cos: Weights::of(&even.on_even, 1.0 / middle),
            sin: Weights::of(&even.on_odd, 1.0 / middle),
            even: middle as f32,
            odd: odd.on_odd[SIDE] as f32,
            constant: even.constant as f32,
        }
    }
}

/// Factors of all orientations, and the regions.
#[derive(Debug)]
pub struct Temporal {
    /// Still, slow and fast.
    speeds: Vec<[Speed; 3]>,
    pub regions: usize,
    octaves: usize,
    whole_frame: bool,
}

impl Temporal {
    pub fn new(params: &V1Params, bank: &Bank) -> Self {
        // Of each pair the one that drifts forward.
        let speeds = |energies: &[Energy]| [0, 1, 3].map(|at| Speed::new(&energies[at]));
        Self {
            speeds: bank.orientations.iter().map(|orientation| speeds(&orientation.energies)).collect(),
            regions: params.grid().regions(),
            octaves: params.octaves,
            whole_frame: params.whole_frame,
        }
    }

    pub fn dims(&self) -> usize {
        self.octaves * ORIENTATIONS * ENERGIES
    }
}

/// Computes the energies of one moment.
pub struct Run<'a> {
    pub octaves: &'a [Octave],
    pub temporal: &'a Temporal,
    pub frames: [&'a [f32]; TAPS],
    pub scratch: &'a mut Scratch,
    /// `[dims, regions]`, zeros.
    pub to: &'a mut [f32],
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { octaves, temporal, frames, scratch: Scratch { filtered: constants, sums, .. }, to } = self;
        let per_octave = ORIENTATIONS * ENERGIES * temporal.regions;
        for (octave, to) in octaves.iter().zip(to.chunks_exact_mut(per_octave)) {
            let (pitch, size) = (octave.pitch, octave.side * octave.pitch);
            constants.resize(size, 0.0);
            sums.resize(ENERGIES * pitch, 0.0);
            for band in 0..octave.bands {
                let frames =
                    frames.map(|frame| &frame[octave.begin + band * octave.band()..][..octave.band()]);
                add_up(simd, frames.map(|frame| &frame[(MAPS - 1) * size..]), constants);
                for (orientation, speeds) in temporal.speeds.iter().enumerate() {
                    sums.fill(0.0);
                    for row in 0..octave.side {
                        let even =
                            frames.map(|frame| &frame[2 * orientation * size + row * pitch..][..pitch]);
                        let odd =
                            frames.map(|frame| &frame[(2 * orientation + 1) * size + row * pitch..][..pitch]);
                        energies(simd, even, odd, &constants[row * pitch..][..pitch], speeds, sums);
                    }
                    let to =
                        &mut to[orientation * ENERGIES * temporal.regions..][..ENERGIES * temporal.regions];
                    for (sums, to) in sums.chunks_exact(pitch).zip(to.chunks_exact_mut(temporal.regions)) {
                        if temporal.whole_frame {
                            let share = 1.0 / (octave.cols * octave.bands) as f32;
                            to[0] += sums[..octave.cols].iter().sum::<f32>() * share;
                        } else {
                            let cells = temporal.regions / octave.bands;
                            pool(sums, octave.side, &mut to[band * cells..][..cells]);
                        }
                    }
                }
            }
        }
    }
}

/// Means of the columns of each region.
#[inline(always)]
fn pool(sums: &[f32], side: usize, to: &mut [f32]) {
    let share = 1.0 / (side * side) as f32;
    match side {
        4 => to
            .iter_mut()
            .zip(sums.as_chunks::<4>().0)
            .for_each(|(to, [a, b, c, d])| *to = (a + b + (c + d)) * share),
        2 => to.iter_mut().zip(sums.as_chunks::<2>().0).for_each(|(to, [a, b])| *to = (a + b) * share),
        _ => to
            .iter_mut()
            .zip(sums.chunks_exact(side))
            .for_each(|(to, of)| *to = of.iter().sum::<f32>() * share),
    }
}

#[inline(always)]
fn add_up<S: Simd>(simd: S, maps: [&[f32]; TAPS], to: &mut [f32]) {
    let to = S::as_mut_simd_f32s(to).0;
    let maps = vectors::<S, TAPS>(maps, to.len());
    for (i, to) in to.iter_mut().enumerate() {
        let [mut sum, others @ ..] = column(&maps, i);
        for other in others {
            sum = simd.add_f32s(sum, other);
        }
        *to = sum;
    }
}

/// Adds the energies of one line of samples to `sums`.
#[inline(always)]
fn energies<S: Simd>(
    simd: S,
    even: [&[f32]; TAPS],
    odd: [&[f32]; TAPS],
    constants: &[f32],
    speeds: &[Speed; 3],
    sums: &mut [f32],
) {
    let constants = S::as_simd_f32s(constants).0;
    let count = constants.len();
    let (even, odd) = (vectors::<S, TAPS>(even, count), vectors::<S, TAPS>(odd, count));
    let [still, slow_forward, slow_backward, fast_forward, fast_backward] = parts::<S, ENERGIES>(sums, count);
    let [standing, slow, fast] = speeds;
    for i in 0..count {
        let (even, odd) = (column(&even, i), column(&odd, i));
        let (even, odd, constant) = (Folded::new(simd, &even), Folded::new(simd, &odd), constants[i]);
        let (e, o) = (even.even(simd, &standing.cos), odd.even(simd, &standing.cos));
        still[i] = simd.add_f32s(still[i], length(simd, standing, e, o, constant));
        let [forward, backward] = both_ways(simd, slow, &even, &odd, constant);
        slow_forward[i] = simd.add_f32s(slow_forward[i], forward);
        slow_backward[i] = simd.add_f32s(slow_backward[i], backward);
        let [forward, backward] = both_ways(simd, fast, &even, &odd, constant);
        fast_forward[i] = simd.add_f32s(fast_forward[i], forward);
        fast_backward[i] = simd.add_f32s(fast_backward[i], backward);
    }
}

/// The energies of one speed, forward and backward.
#[inline(always)]
fn both_ways<S: Simd>(
    simd: S,
    speed: &Speed,
    even: &Folded<S, SIDE>,
    odd: &Folded<S, SIDE>,
    constant: S::f32s,
) -> [S::f32s; 2] {
    let (ec, es) = (even.even(simd, &speed.cos), even.odd(simd, &speed.sin));
    let (oc, os) = (odd.even(simd, &speed.cos), odd.odd(simd, &speed.sin));
    [
        length(simd, speed, simd.add_f32s(ec, os), simd.sub_f32s(oc, es), constant),
        length(simd, speed, simd.sub_f32s(ec, os), simd.add_f32s(oc, es), constant),
    ]
}

/// The length of a quadrature pair's answer: the complex cell's energy.
#[inline(always)]
fn length<S: Simd>(simd: S, speed: &Speed, even: S::f32s, odd: S::f32s, constant: S::f32s) -> S::f32s {
    let constant = simd.mul_f32s(simd.splat_f32s(speed.constant), constant);
    let even = simd.mul_add_e_f32s(simd.splat_f32s(speed.even), even, constant);
    let odd = simd.mul_f32s(simd.splat_f32s(speed.odd), odd);
    simd.sqrt_f32s(simd.mul_add_e_f32s(even, even, simd.mul_f32s(odd, odd)))
}
