//! The filters of V1 energy, computed from their formulas: Gabor quadrature pairs in space and time.
//!
//! A filter is the Gabor function of the vision literature extended in time,
//! `w = g(x, y) h(t) cos(f x' - omega t + phi)` with Gaussian windows g and h, `x' = x cos tau + y sin tau`
//! and phi = 0 (even) or -pi/2 (odd). It answers to gratings that drift along tau at omega / f pixels a frame.
//! The pair separates into products of space and time (Adelson & Bergen, "Spatiotemporal energy models for
//! the perception of motion", JOSA A 1985):
//!
//! ```text
//! even = (g cos f x') (h cos omega t) + (g sin f x') (h sin omega t)
//! odd  = (g sin f x') (h cos omega t) - (g cos f x') (h sin omega t)
//! ```
//!
//! and the opposite direction has the other sign before `sin omega t`. In space the same holds once more,
//! since `f x' = a x + b y` and the window is round: every factor is a sum of products of x and y alone.

use std::f64::consts::{PI, TAU};

/// Of the shipped bank: side of the kernels, pixels; what lies on each side of their middle.
pub const KERNEL: usize = 2 * RADIUS + 1;
pub const RADIUS: usize = 5;
pub const ORIENTATIONS: usize = 4;
/// Of the shipped bank: pixels of each octave between samples.
pub const SPACING: usize = 4;
/// Of the shipped bank: length of the temporal filters, frames.
pub const TAPS: usize = 9;

/// Everything that defines the bank and how densely its energies are sampled.
#[derive(Debug, Clone, PartialEq)]
pub struct V1Params {
    /// Analysed picture, pixels.
    pub width: usize,
    pub height: usize,
    /// Analysed frames a second.
    pub fps: f64,
    /// One region, the whole picture, instead of a grid of cells.
    pub whole_frame: bool,
    /// Side of a cell, pixels.
    pub cell: usize,
    /// Pixels a period, on the first octave.
    pub wavelength: f64,
    /// Spatial window, pixels.
    pub sigma: f64,
    /// Side of the kernels, pixels; odd.
    pub kernel: usize,
    /// Equally spaced over half a turn.
    pub orientations: usize,
    /// Each octave halves the picture.
    pub octaves: usize,
    /// Length of the temporal filters, frames; odd, at most a segment.
    pub taps: usize,
    /// Temporal window, frames.
    pub sigma_t: f64,
    /// Temporal frequencies, radians a frame; 0 is the static channel, others come in both directions.
    pub omegas: Vec<f64>,
    /// Energies are smooth, so they are sampled: every so many pixels of each octave ...
    pub spacing: usize,
    /// ... and every so many frames.
    pub step: usize,
    /// Added to an energy before its logarithm; the picture's range is 0 to 1.
    pub epsilon: f64,
}

impl V1Params {
    /// The shipped bank: 3 octaves of 4 orientations of 5 energies, 60 numbers a region.
    pub fn new(width: usize, height: usize, fps: f64, whole_frame: bool) -> Self {
        Self {
            width,
            height,
            fps,
            whole_frame,
            cell: 16,
            wavelength: 4.0,
            sigma: 2.0,
            kernel: KERNEL,
            orientations: ORIENTATIONS,
            octaves: 3,
            taps: TAPS,
            sigma_t: 2.0,
            omegas: vec![0.0, PI / 4.0, PI / 2.0],
            spacing: SPACING,
            step: 2,
            epsilon: 0.02,
        }
    }
}

/// The filters of one octave; they are the same on every octave.
#[derive(Debug, Clone)]
pub struct Bank {
    pub orientations: Vec<Orientation>,
}

/// The filters of one orientation.
#[derive(Debug, Clone)]
pub struct Orientation {
    /// Direction of the wave vector, radians clockwise from the picture's x axis (y points down).
    pub angle: f64,
    /// Factors of x and of y, `kernel` weights each.
    pub x: Wave,
    pub y: Wave,
    pub energies: Vec<Energy>,
}

/// A windowed wave in one dimension, centred on zero.
#[derive(Debug, Clone)]
pub struct Wave {
    pub cos: Vec<f64>,
    pub sin: Vec<f64>,
}

/// A quadrature pair: the energy is the length of the vector of its two responses.
#[derive(Debug, Clone)]
pub struct Energy {
    /// Radians a frame, 0 for the static channel.
    pub omega: f64,
    /// Drift along the wave vector (true) or against it.
    pub forward: bool,
    pub even: Filter,
    pub odd: Filter,
}

/// A filter of unit length in space and time, as a sum of products with the spatial factors.
#[derive(Debug, Clone)]
pub struct Filter {
    /// `taps` temporal factors of the even and of the odd spatial factor.
    pub on_even: Vec<f64>,
    pub on_odd: Vec<f64>,
    /// A constant over all of space and time, which makes the even filter's mean zero.
    pub constant: f64,
}

impl Bank {
    pub fn new(params: &V1Params) -> Self {
        let n = params.orientations;
        let orientations = (0..n).map(|i| Orientation::new(params, PI * i as f64 / n as f64)).collect();
        Self { orientations }
    }
}

impl Orientation {
    fn new(params: &V1Params, angle: f64) -> Self {
        let f = TAU / params.wavelength;
        let x = Wave::new(params.kernel, params.sigma, f * angle.cos());
        let y = Wave::new(params.kernel, params.sigma, f * angle.sin());
        let (even, odd) = planes(&x, &y);
        let mut energies = Vec::new();
        for &omega in &params.omegas {
            energies.push(Energy::new(params, &even, &odd, omega, true));
            if omega != 0.0 {
                energies.push(Energy::new(params, &even, &odd, omega, false));
            }
        }
        Self { angle, x, y, energies }
    }
}

/// The even and the odd spatial factor of a wave: `kernel * kernel` weights each, row by row.
fn planes(x: &Wave, y: &Wave) -> (Vec<f64>, Vec<f64>) {
    let (mut even, mut odd) = (Vec::new(), Vec::new());
    for (y_cos, y_sin) in y.cos.iter().zip(&y.sin) {
        even.extend(x.cos.iter().zip(&x.sin).map(|(x_cos, x_sin)| x_cos * y_cos - x_sin * y_sin));
        odd.extend(x.cos.iter().zip(&x.sin).map(|(x_cos, x_sin)| x_sin * y_cos + x_cos * y_sin));
    }
    (even, odd)
}

impl Wave {
    /// `n` weights of a wave of `frequency` radians a sample in a Gaussian window of height 1.
    fn new(n: usize, sigma: f64, frequency: f64) -> Self {
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for at in offsets(n) {
            let window = (-at * at / (2.0 * sigma * sigma)).exp();
            cos.push(window * (frequency * at).cos());
            sin.push(window * (frequency * at).sin());
        }
        Self { cos, sin }
    }
}

impl Energy {
    fn new(params: &V1Params, even: &[f64], odd: &[f64], omega: f64, forward: bool) -> Self {
        let signed = if forward { omega } else { -omega };
        let Wave { cos, sin } = Wave::new(params.taps, params.sigma_t, signed);
        let minus_sin = sin.iter().map(|s| -s).collect();
        Self {
            omega,
            forward,
            even: Filter { on_even: cos.clone(), on_odd: sin, constant: 0.0 }.normalised(even, odd, true),
            odd: Filter { on_even: minus_sin, on_odd: cos, constant: 0.0 }.normalised(even, odd, false),
        }
    }
}

impl Filter {
    /// The filter itself: `taps * kernel * kernel` weights, oldest frame first, row by row.
    fn volume(&self, even: &[f64], odd: &[f64]) -> Vec<f64> {
        let mut volume = Vec::with_capacity(self.on_even.len() * even.len());
        for (a, b) in self.on_even.iter().zip(&self.on_odd) {
            volume.extend(even.iter().zip(odd).map(|(e, o)| a * e + b * o + self.constant));
        }
        volume
    }

    /// Of zero mean where asked for, and of unit length.
    fn normalised(mut self, even: &[f64], odd: &[f64], zero_mean: bool) -> Self {
        if zero_mean {
            let volume = self.volume(even, odd);
            self.constant = -volume.iter().sum::<f64>() / volume.len() as f64;
        }
        let length = self.volume(even, odd).iter().map(|w| w * w).sum::<f64>().sqrt();
        self.on_even.iter_mut().chain(&mut self.on_odd).for_each(|w| *w /= length);
        self.constant /= length;
        self
    }
}

/// -n/2 .. n/2, centred on zero.
fn offsets(n: usize) -> Vec<f64> {
    let radius = (n / 2) as f64;
    (0..n).map(|i| i as f64 - radius).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bank whose responses the method's authors' numbers are known for.
    fn reference_bank() -> (V1Params, Bank) {
        let shipped = V1Params::new(0, 0, 10.0, false);
        let params = V1Params { wavelength: 6.0, sigma: 3.0, kernel: 17, taps: 13, sigma_t: 2.5, ..shipped };
        let bank = Bank::new(&params);
        (params, bank)
    }

    /// Energy of a grating `cos(f x' - omega t + phase)` along `angle`.
    fn energy(p: &V1Params, at: &Orientation, e: &Energy, f: f64, angle: f64, omega: f64, phase: f64) -> f64 {
        let (even, odd) = planes(&at.x, &at.y);
        let (even, odd) = (e.even.volume(&even, &odd), e.odd.volume(&even, &odd));
        let (mut a, mut b, mut i) = (0.0, 0.0, 0);
        for t in offsets(p.taps) {
            for y in offsets(p.kernel) {
                for x in offsets(p.kernel) {
                    let light = (f * (x * angle.cos() + y * angle.sin()) - omega * t + phase).cos();
                    a += even[i] * light;
                    b += odd[i] * light;
                    i += 1;
                }
            }
        }
        a.hypot(b)
    }

    /// Smallest, mean and largest energy over the phases of a grating.
    fn over_phases(energy: impl Fn(f64) -> f64) -> (f64, f64, f64) {
        let all: Vec<f64> = (0..32).map(|i| energy(TAU * f64::from(i) / 32.0)).collect();
        let min = all.iter().copied().fold(f64::INFINITY, f64::min);
        let max = all.iter().copied().fold(0.0, f64::max);
        (min, all.iter().sum::<f64>() / 32.0, max)
    }

    #[test]
    fn even_filters_have_no_mean_and_all_have_unit_length() {
        let (_, bank) = reference_bank();
        let shipped = Bank::new(&V1Params::new(360, 240, 10.0, false));
        for o in bank.orientations.iter().chain(&shipped.orientations) {
            assert_eq!(o.energies.len(), 5);
            for e in &o.energies {
                let (even, odd) = planes(&o.x, &o.y);
                let (even, odd) = (e.even.volume(&even, &odd), e.odd.volume(&even, &odd));
                assert!(even.iter().sum::<f64>().abs() < 1e-9 && odd.iter().sum::<f64>().abs() < 1e-9);
                for v in [even, odd] {
                    assert!((v.iter().map(|w| w * w).sum::<f64>() - 1.0).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn responses_are_those_of_the_method_sheet() {
        let (p, bank) = reference_bank();
        let f = TAU / p.wavelength;
        let at = &bank.orientations[0];
        let [still, slow, _, fast, _] = at.energies.as_slice() else { panic!("five energies") };
        // Preferred grating: response, and ripple over its phase.
        for (e, ripple) in [(still, 6e-3), (slow, 4e-5), (fast, 2.5e-5)] {
            let (min, mean, max) = over_phases(|phase| energy(&p, at, e, f, 0.0, e.omega, phase));
            assert!((max - min) / mean < ripple, "ripple {} at omega {}", (max - min) / mean, e.omega);
            assert!((mean - 21.996).abs() < if e.omega == 0.0 { 0.02 } else { 1e-3 }, "{mean}");
        }
        // Everything else, relative to that.
        let relative = |e: &Energy, f: f64, angle: f64, omega: f64| {
            over_phases(|phase| energy(&p, at, e, f, angle, omega, phase)).1 / 21.996
        };
        let near = |value: f64, expected: f64, tolerance: f64| {
            assert!((value - expected).abs() <= tolerance, "{value} for {expected}");
        };
        near(relative(slow, f, 0.0, -slow.omega), 0.0025, 1e-4);
        near(relative(fast, f, 0.0, -fast.omega), 0.0052, 1e-4);
        for e in [slow, fast] {
            near(relative(e, f, PI / 2.0, e.omega), 1e-4, 5e-5);
            near(relative(e, f, PI / 4.0, e.omega), 0.054, 5e-4);
            near(relative(e, 2.0 * f, 0.0, e.omega), 0.0104, 1e-4);
            near(relative(e, f / 2.0, 0.0, e.omega), 0.29, 2e-3);
        }
        near(relative(slow, f, 0.0, 0.0), 0.140, 5e-4);
        near(relative(fast, f, 0.0, 0.0), 0.0014, 1e-4);
    }
}
