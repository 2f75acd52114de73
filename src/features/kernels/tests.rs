//! Known kernels are recovered, noise is not mistaken for them, and `v1` shows the numbers of its formulas.

use super::{Gabor, Kernel, Volume, fit, of};
use crate::features::v1::{self, V1Params};
use crate::infer::init_for_tests;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rand_distr::StandardNormal;
use std::f64::consts::{PI, TAU};

/// A Gabor function on a lattice.
fn volume(of: &Gabor, [frames, height, width]: [usize; 3]) -> Volume {
    let mut volume = Volume { frames, height, width, weights: vec![0.0; frames * height * width] };
    let (sin, cos) = of.orientation.to_radians().sin_cos();
    let square = |value: f64, sigma: f64| if sigma > 0.0 { (value / sigma).powi(2) } else { 0.0 };
    let value = |[x, y, t]: [f64; 3]| {
        let [x, y, t] = [x - of.centre[0], y - of.centre[1], t - of.centre[2]];
        let (u, v) = (x * cos + y * sin, y * cos - x * sin);
        let exponent = square(u, of.sigma_along) + square(v, of.sigma_across) + square(t, of.sigma_t);
        (-exponent / 2.0).exp() * (TAU / of.wavelength.expect("a wave") * u - of.omega * t + of.phase).cos()
    };
    volume.weights = volume.places().map(|(at, _)| value(at)).collect();
    volume
}

fn wavelength(of: &Gabor) -> f64 {
    of.wavelength.expect("a wave")
}

fn speed(of: &Gabor) -> f64 {
    of.speed().expect("a wave")
}

/// The smaller angle between two orientations, degrees.
fn apart(a: f64, b: f64) -> f64 {
    let difference = (a - b).rem_euclid(180.0);
    difference.min(180.0 - difference)
}

#[test]
fn known_gabor_functions_are_recovered() {
    let mut rng = StdRng::seed_from_u64(1);
    for trial in 0..24 {
        let frames = if trial % 4 == 3 { 1 } else { 9 };
        let mut drawn = |low: f64, high: f64| rng.random_range(low..high);
        let truth = Gabor {
            orientation: drawn(0.0, 180.0),
            wavelength: Some(drawn(4.0, 9.0)),
            omega: if frames == 1 { 0.0 } else { drawn(0.3, 1.8) * if trial % 2 == 0 { 1.0 } else { -1.0 } },
            phase: drawn(-PI, PI),
            sigma_along: drawn(1.8, 3.0),
            sigma_across: drawn(1.8, 4.0),
            sigma_t: if frames == 1 { 0.0 } else { drawn(1.5, 2.5) },
            centre: [drawn(-1.5, 1.5), drawn(-1.5, 1.5), if frames == 1 { 0.0 } else { drawn(-1.0, 1.0) }],
            residual: 0.0,
        };
        let found = fit(&volume(&truth, [frames, 13, 15])).expect("a fit");
        let shown = format!("{trial}: {truth:?} as {found:?}");
        assert!(found.residual < 1e-6, "{shown}");
        assert!(apart(found.orientation, truth.orientation) < 1.0, "{shown}");
        assert!((wavelength(&found) / wavelength(&truth) - 1.0).abs() < 0.01, "{shown}");
        // An orientation near 0 may be found near 180 degrees: then the drift has the other sign.
        let same = (found.orientation - truth.orientation).abs() < 90.0;
        let drift = if same { speed(&found) } else { -speed(&found) };
        assert!((drift - speed(&truth)).abs() <= 0.02 * speed(&truth).abs(), "{shown}");
        assert!((found.sigma_across / truth.sigma_across - 1.0).abs() < 0.02, "{shown}");
        let phase = if same { found.phase } else { -found.phase };
        assert!((phase - truth.phase).cos() > 0.999, "{shown}");
    }
}

#[test]
fn noise_on_a_kernel_leaves_its_numbers_and_shows_in_the_residual() {
    let truth = Gabor {
        orientation: 30.0,
        wavelength: Some(6.0),
        omega: 0.9,
        phase: 0.4,
        sigma_along: 2.5,
        sigma_across: 3.0,
        sigma_t: 2.0,
        centre: [0.0; 3],
        residual: 0.0,
    };
    let mut noisy = volume(&truth, [9, 13, 13]);
    let (energy, count) = (noisy.energy(), noisy.weights.len() as f64);
    let mut rng = StdRng::seed_from_u64(2);
    let deviation = (0.25 * energy / count).sqrt();
    noisy.weights.iter_mut().for_each(|w| *w += deviation * rng.sample::<f64, _>(StandardNormal));
    let found = fit(&noisy).expect("a fit");
    // A fifth of the energy is noise.
    assert!((found.residual - 0.2).abs() < 0.03, "{found:?}");
    assert!(apart(found.orientation, 30.0) < 2.0, "{found:?}");
    assert!((wavelength(&found) / 6.0 - 1.0).abs() < 0.02, "{found:?}");
    assert!((speed(&found) / speed(&truth) - 1.0).abs() < 0.04, "{found:?}");
}

#[test]
fn noise_is_no_gabor_function_and_nothing_is_nothing() {
    let mut rng = StdRng::seed_from_u64(3);
    for _ in 0..4 {
        let weights = (0..7 * 7 * 7).map(|_| rng.sample(StandardNormal)).collect();
        let found = fit(&Volume { frames: 7, height: 7, width: 7, weights }).expect("a fit");
        assert!(found.residual > 0.6, "{found:?}");
    }
    assert_eq!(fit(&Volume { frames: 1, height: 2, width: 2, weights: vec![0.0; 4] }), None);
}

#[test]
fn an_edge_has_an_orientation_and_no_wavelength() {
    // The derivative of a window along 60 degrees: what a Gabor function tends to as its wave grows.
    let mut edge = Volume { frames: 1, height: 9, width: 9, weights: vec![0.0; 81] };
    let (sin, cos) = 60f64.to_radians().sin_cos();
    let value = |[x, y, _]: [f64; 3]| (x * cos + y * sin) * (-(x * x + y * y) / 8.0).exp();
    edge.weights = edge.places().map(|(at, _)| value(at)).collect();
    let found = fit(&edge).expect("a fit");
    assert!(found.residual < 0.001 && apart(found.orientation, 60.0) < 1.0, "{found:?}");
    assert_eq!((found.wavelength, found.speed()), (None, None), "{found:?}");
}

#[test]
fn a_colour_axis_is_found() {
    let light = [0.5, -1.0, 2.0, 0.25];
    let weights: Vec<f32> = [-2.0, 1.0, 2.0].iter().flat_map(|c| light.map(|w| (c * w) as f32)).collect();
    let kernel = Kernel::new("0".into(), 3, [1, 2, 2], &weights);
    assert!((kernel.colour_share - 1.0).abs() < 1e-9);
    for (found, axis) in kernel.colour.iter().zip([-2.0 / 3.0, 1.0 / 3.0, 2.0 / 3.0]) {
        assert!((found - axis).abs() < 1e-6, "{:?}", kernel.colour);
    }
    assert!(kernel.volume.weights.iter().zip(light).all(|(w, l)| (w - 3.0 * l).abs() < 1e-6));
}

#[test]
fn every_cell_of_v1_shows_the_numbers_of_its_formula() {
    init_for_tests();
    let params = V1Params::new(96, 64, 10.0, false);
    let (manifest, bytes) = v1::build(&params);
    let kernels = of("v1", &manifest, &bytes).expect("kernels");
    assert_eq!(kernels.len(), 3 * 4 * 5 * 2);
    let omegas = [0.0, PI / 4.0, -PI / 4.0, PI / 2.0, -PI / 2.0];
    for (i, kernel) in kernels.iter().enumerate() {
        let (octave, orientation, omega, odd) = (i / 40, i / 10 % 4, omegas[i / 2 % 5], i % 2 == 1);
        assert!(
            kernel.volume.weights.iter().all(|w| w.is_finite()),
            "{}: a weight was not measured",
            kernel.name
        );
        assert_eq!(kernel.volume.width, 11 << octave);
        let found = fit(&kernel.volume).expect("a fit");
        let shown = format!("{}: {found:?}", kernel.name);
        assert!(apart(found.orientation, 45.0 * orientation as f64) < 1.0, "{shown}");
        // Squares of several pixels damp short waves more than long ones, so that the best wave is a little longer.
        let tolerance = if octave == 0 { 0.01 } else { 0.03 };
        assert!((wavelength(&found) / f64::from(4 << octave) - 1.0).abs() < tolerance, "{shown}");
        let same = (found.orientation - 45.0 * orientation as f64).abs() < 90.0;
        let (found_omega, phase) =
            if same { (found.omega, found.phase) } else { (-found.omega, -found.phase) };
        assert!((found_omega - omega).abs() < 0.02 * PI / 4.0, "{shown}");
        let expected = if odd { -PI / 2.0 } else { 0.0 };
        assert!((phase - expected).cos() > 0.99, "{shown}");
        // A coarser octave sees squares of 2 and 4 pixels: a staircase, of which the wave is sinc^2(1/4) = .81.
        let range = if octave == 0 { 0.0..0.01 } else { 0.12..0.23 };
        assert!(range.contains(&found.residual), "{shown}");
        assert!((found.sigma_along / f64::from(2 << octave) - 1.0).abs() < 0.05, "{shown}");
    }
}
