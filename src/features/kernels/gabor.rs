//! Gabor functions over space and time, fitted to kernels by least squares.
//!
//! The model is the Gabor function of the vision literature, extended in time (Jones & Palmer, J. Neurophysiol. 1987, in
//! space):
//!
//! ```text
//! w = A exp(-x'^2 / 2 sx^2 - y'^2 / 2 sy^2 - t^2 / 2 st^2) cos(f x' - omega t + phi)
//! x' = x cos tau + y sin tau,  y' = -x sin tau + y cos tau
//! ```
//!
//! with x, y and t from a centre of its own. It is fitted by Levenberg and Marquardt's method (Marquardt, SIAM J. Appl.
//! Math. 1963) from each of the strongest waves in the kernel's power spectrum; the best end counts.

use super::Volume;
use super::spectrum::{Peak, peaks};
use nalgebra::{SMatrix, SVector};
use std::f64::consts::{PI, TAU};

/// A kernel as a Gabor function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gabor {
    /// Direction of the wave vector, degrees clockwise from the picture's x axis (y points down), 0 to 180: bars are
    /// at right angles to it.
    pub orientation: f64,
    /// Pixels a period; `None` where less than half a period lies in the kernel: an edge or a blob.
    pub wavelength: Option<f64>,
    /// Radians a frame; positive where the wave drifts along its vector, negative against it.
    pub omega: f64,
    /// Radians at the centre of the window: 0 is even, +-pi/2 odd.
    pub phase: f64,
    /// Windows: pixels along the wave vector and across it, frames in time (0 where there is one frame).
    pub sigma_along: f64,
    pub sigma_across: f64,
    pub sigma_t: f64,
    /// Centre of the window: pixels from the kernel's middle, and frames.
    pub centre: [f64; 3],
    /// Share of the kernel's energy (its sum of squares) that the function leaves unexplained: 0 is a perfect fit.
    pub residual: f64,
}

impl Gabor {
    /// Pixels a frame along the wave vector, with the sign of `omega`; `None` where there is no wavelength.
    pub fn speed(&self) -> Option<f64> {
        Some(self.omega * self.wavelength? / TAU)
    }
}

/// Waves of the spectrum that a fit begins at.
const STARTS: usize = 4;
/// Steps of one fit; most need a dozen.
const STEPS: usize = 120;
/// A fit that explains so much needs no other beginning.
const GOOD: f64 = 0.02;

/// The Gabor function nearest to a kernel; `None` where the kernel is zero, or no finite function comes near.
pub fn fit(volume: &Volume) -> Option<Gabor> {
    let energy = volume.energy();
    if !(energy.is_finite() && energy > 0.0) {
        return None;
    }
    let mut best: Option<(Parameters, f64)> = None;
    for peak in peaks(volume, STARTS) {
        let (found, left) = descend(volume, start(volume, peak));
        if left.is_finite() && best.is_none_or(|(_, least)| left < least) {
            best = Some((found, left));
        }
        if left < GOOD * energy {
            break;
        }
    }
    best.map(|(found, left)| described(volume, &found, left / energy))
}

/// In this order: A cos phi, -A sin phi, centre x, y, t, tau, ln sigma along, across, in time, f, omega.
const N: usize = 11;
type Parameters = SVector<f64, N>;

/// Half a period over the kernel, radians a pixel: slower waves are not told apart from their window. An even function
/// becomes the window itself, an odd one of ever larger amplitude its derivative: a blob, or an edge.
fn slowest(volume: &Volume) -> f64 {
    PI / volume.width.max(volume.height) as f64
}

/// What every parameter may be at least and at most.
struct Bounds {
    low: Parameters,
    high: Parameters,
}

impl Bounds {
    /// Windows are bounded: below, nothing but one pixel is left; far above, they are flat.
    fn of(volume: &Volume) -> Self {
        let mut bounds = Self { low: Parameters::repeat(f64::MIN), high: Parameters::repeat(f64::MAX) };
        let mut set = |i: usize, low, high| (bounds.low[i], bounds.high[i]) = (low, high);
        let extents = [volume.width, volume.height, volume.frames].map(|n| n as f64);
        let side = extents[0].max(extents[1]);
        for (i, extent) in [(6, side), (7, side), (8, extents[2])] {
            set(i, 0.3f64.ln(), (4.0 * extent).ln());
        }
        for (i, extent) in [(2, extents[0]), (3, extents[1]), (4, extents[2])] {
            set(i, -extent / 2.0, extent / 2.0);
        }
        // Nearer to zero, an edge would need more amplitude than numbers bear.
        set(9, slowest(volume) / 1000.0, PI);
        set(10, -PI, PI);
        bounds
    }

    fn hold(&self, p: &Parameters) -> Parameters {
        p.zip_zip_map(&self.low, &self.high, |p, low, high| p.clamp(low, high))
    }

    /// Whether parameter `i` is at a bound that `slope` leads beyond.
    fn stops(&self, i: usize, p: &Parameters, slope: &Parameters) -> bool {
        p[i] <= self.low[i] && slope[i] < 0.0 || p[i] >= self.high[i] && slope[i] > 0.0
    }
}

/// Window and amplitudes from the kernel's moments, for the wave `peak`.
fn start(volume: &Volume, peak: Peak) -> Parameters {
    let Peak { fx, fy, ft } = peak;
    let tau = fy.atan2(fx);
    let energy = volume.energy();
    let mean =
        |of: &dyn Fn([f64; 3]) -> f64| volume.places().map(|(at, w)| w * w * of(at)).sum::<f64>() / energy;
    let centre = [mean(&|at| at[0]), mean(&|at| at[1]), mean(&|at| at[2])];
    // A window's square is narrower than the window by the root of two.
    let sigma = |of: &dyn Fn([f64; 3]) -> f64| (2.0 * mean(of)).sqrt().max(0.5).ln();
    let along = sigma(&|[x, y, _]| ((x - centre[0]) * tau.cos() + (y - centre[1]) * tau.sin()).powi(2));
    let across = sigma(&|[x, y, _]| ((y - centre[1]) * tau.cos() - (x - centre[0]) * tau.sin()).powi(2));
    let time = sigma(&|[.., t]| (t - centre[2]).powi(2));
    let [x, y, t] = centre;
    let mut p = Parameters::from([1.0, 1.0, x, y, t, tau, along, across, time, fx.hypot(fy), -ft]);
    // The amplitudes are linear: their best values at once.
    let (mut cc, mut ss, mut cs, mut wc, mut ws) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (at, w) in volume.places() {
        let (_, gradient) = value_and_gradient(&p, at);
        let (c, s) = (gradient[0], gradient[1]);
        (cc, ss, cs, wc, ws) = (cc + c * c, ss + s * s, cs + c * s, wc + w * c, ws + w * s);
    }
    let det = cc * ss - cs * cs;
    if det > 1e-9 * cc * ss {
        (p[0], p[1]) = ((wc * ss - ws * cs) / det, (ws * cc - wc * cs) / det);
    } else {
        (p[0], p[1]) = (wc / cc.max(f64::MIN_POSITIVE), 0.0);
    }
    Bounds::of(volume).hold(&p)
}

/// The function at `(x, y, t)`, and its derivatives by every parameter.
fn value_and_gradient(p: &Parameters, [x, y, t]: [f64; 3]) -> (f64, Parameters) {
    let (sin, cos) = p[5].sin_cos();
    let (dx, dy, s) = (x - p[2], y - p[3], t - p[4]);
    let (u, v) = (dx * cos + dy * sin, dy * cos - dx * sin);
    let [along, across, time] = [6, 7, 8].map(|i| (-2.0 * p[i]).exp());
    let window = (-0.5 * (u * u * along + v * v * across + s * s * time)).exp();
    let (f, omega) = (p[9], p[10]);
    let (wave_sin, wave_cos) = (f * u - omega * s).sin_cos();
    let wave = p[0] * wave_cos + p[1] * wave_sin;
    let slope = p[1] * wave_cos - p[0] * wave_sin;
    let by_u = window * (slope * f - wave * u * along);
    let by_v = -window * wave * v * across;
    let by_s = -window * (slope * omega + wave * s * time);
    let gradient = [
        window * wave_cos,
        window * wave_sin,
        by_v * sin - by_u * cos,
        -by_u * sin - by_v * cos,
        -by_s,
        by_u * v - by_v * u,
        window * wave * u * u * along,
        window * wave * v * v * across,
        window * wave * s * s * time,
        window * slope * u,
        -window * slope * s,
    ];
    (window * wave, gradient.into())
}

/// Levenberg and Marquardt's descent from `p`: where it ends, and the sum of squares that is left there.
fn descend(volume: &Volume, mut p: Parameters) -> (Parameters, f64) {
    let left = |p: &Parameters| {
        volume.places().map(|(at, w)| (w - value_and_gradient(p, at).0).powi(2)).sum::<f64>()
    };
    let bounds = Bounds::of(volume);
    let mut least = left(&p);
    let mut damping = 1e-3;
    for _ in 0..STEPS {
        let (mut normal, mut slope) = (SMatrix::<f64, N, N>::zeros(), Parameters::zeros());
        for (at, w) in volume.places() {
            let (value, gradient) = value_and_gradient(&p, at);
            normal.ger(1.0, &gradient, &gradient, 1.0);
            slope.axpy(w - value, &gradient, 1.0);
        }
        // What is stopped by a bound stays there, and the others go on without it.
        for i in (0..N).filter(|&i| bounds.stops(i, &p, &slope)).collect::<Vec<_>>() {
            normal.row_mut(i).fill(0.0);
            normal.column_mut(i).fill(0.0);
            slope[i] = 0.0;
        }
        let before = least;
        while damping < 1e9 {
            let mut damped = normal;
            for i in 0..N {
                // A parameter that changes nothing (time, in a kernel of one frame) stays where it is.
                damped[(i, i)] += damping * normal[(i, i)] + 1e-12 * normal.trace().max(1e-300);
            }
            if let Some(factors) = damped.cholesky() {
                let tried = bounds.hold(&(p + factors.solve(&slope)));
                let then = left(&tried);
                if then < least {
                    (p, least) = (tried, then);
                    damping = (damping / 5.0).max(1e-9);
                    break;
                }
            }
            damping *= 4.0;
        }
        if before - least <= 1e-9 * before {
            break;
        }
    }
    (p, least)
}

/// The parameters in the terms of people: of the equal descriptions, the one with tau from 0 to 180 degrees.
fn described(volume: &Volume, p: &Parameters, residual: f64) -> Gabor {
    let tau = p[5].rem_euclid(TAU);
    let turned = (PI - 1e-9..TAU - 1e-9).contains(&tau);
    let sign = if turned { -1.0 } else { 1.0 };
    let degrees = if turned {
        tau - PI
    } else if tau >= TAU - 1e-9 {
        0.0
    } else {
        tau
    }
    .to_degrees();
    let still = volume.frames == 1;
    Gabor {
        orientation: degrees.max(0.0),
        wavelength: (p[9] >= slowest(volume)).then(|| TAU / p[9]),
        omega: if still { 0.0 } else { sign * p[10] },
        phase: sign * (-p[1]).atan2(p[0]),
        sigma_along: p[6].exp(),
        sigma_across: p[7].exp(),
        sigma_t: if still { 0.0 } else { p[8].exp() },
        centre: [p[2], p[3], p[4]],
        residual,
    }
}
