//! How well a beta-VAE tells the factors of drawn shapes apart, against PCA and an untrained network.
//!
//! After Higgins et al. 2017, section 4.2, with pictures of our own instead of dSprites. The networks, the objective and
//! the descent are those of the scorer; only what they are shown is drawn.

use super::descent::Recipe;
use super::vae::{Objective, codes, fit};
use super::{Flow, LearnError, Progress};
use crate::score::beta_vae::{Draws, Vae, disentanglement};
use nalgebra::DMatrix;
use ndarray::{Array2, Axis};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use std::f32::consts::FRAC_PI_4;

/// Pixels of a picture's side.
const SIDE: usize = 16;
/// Samples of a pixel's side: the edges are shades of grey.
const FINE: usize = 3;
/// What varies, and independently: x, y, scale, rotation and shape.
pub const FACTORS: [&str; 5] = ["x", "y", "scale", "rotation", "shape"];
/// Shapes of equal area, more or less: a square, a bar with round ends, and a triangle.
const SHAPES: usize = 3;

/// How much is drawn and learned.
#[derive(Debug, Clone, Serialize)]
pub struct ShapesConfig {
    pub seed: u64,
    /// Pictures to learn from.
    pub pictures: usize,
    pub latents: usize,
    /// Weights of the divergence to try.
    pub betas: Vec<f64>,
    pub steps: usize,
    pub batch: usize,
    pub rate: f64,
    /// Of the metric: pairs an example, examples to learn the classifier from, examples to test it on.
    pub pairs: usize,
    pub train: usize,
    pub test: usize,
}

impl Default for ShapesConfig {
    fn default() -> Self {
        let draws = Draws { train: 2000, test: 1000, ..Draws::default() };
        Self {
            seed: 0,
            pictures: 40_000,
            latents: 10,
            betas: vec![1.0, 4.0],
            steps: 4000,
            batch: 256,
            rate: 1e-3,
            pairs: draws.pairs,
            train: draws.train,
            test: draws.test,
        }
    }
}

/// One code and how well it does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Disentangled {
    pub code: String,
    /// Numbers of the code.
    pub numbers: usize,
    /// Share of right answers; 1 / 5 by chance.
    pub accuracy: f64,
}

/// The values of the factors, each from 0 to 1.
type Values = [f32; FACTORS.len()];

fn values(rng: &mut StdRng) -> Values {
    std::array::from_fn(|_| rng.random_range(0.0..1.0))
}

/// Learns from drawn pictures, and measures each code. `progress` says whether to go on.
pub fn shapes(
    config: &ShapesConfig,
    progress: &mut dyn FnMut(Progress) -> Flow,
) -> Result<Vec<Disentangled>, LearnError> {
    let ShapesConfig { seed, latents, .. } = *config;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut rows = Vec::with_capacity(config.pictures * SIDE * SIDE);
    (0..config.pictures).for_each(|_| draw(&values(&mut rng), &mut rows));
    let pictures = matrix(rows.clone(), SIDE * SIDE);
    let (components, unexplained) = principal(&pictures, latents);
    let mean = pictures.mean_axis(Axis(0)).expect("there are pictures");

    let untrained = Vae::new(SIDE * SIDE, &Vae::REGIONAL, latents, &mut StdRng::seed_from_u64(seed));
    let recipe = Recipe { seed, steps: config.steps, batch: config.batch, rate: config.rate };
    let mut networks = Vec::new();
    for (i, beta) in config.betas.iter().enumerate() {
        let objective = Objective { variance: unexplained, beta: *beta, capacity: None };
        let on_step = &mut |step: usize| {
            let share = (i as f64 + step as f64 / config.steps as f64) / config.betas.len() as f64;
            progress(Progress { progress: share, step: "learning from shapes" }) == Flow::Continue
        };
        let network =
            fit(untrained.clone(), &rows, &recipe, &objective, on_step).ok_or(LearnError::Cancelled)?.0;
        networks.push((format!("beta-VAE, beta {beta}"), network));
    }
    networks.push(("the same network, untrained".into(), untrained));

    let metric = |code: &dyn Fn(&[Values]) -> Array2<f32>| measured(config, code);
    let drawn = |some: &[Values]| {
        let mut rows = Vec::with_capacity(some.len() * SIDE * SIDE);
        some.iter().for_each(|values| draw(values, &mut rows));
        matrix(rows, SIDE * SIDE)
    };
    let mut found = vec![Disentangled {
        code: "the factors themselves".into(),
        numbers: FACTORS.len(),
        accuracy: metric(&|some| matrix(some.concat(), FACTORS.len())),
    }];
    for (code, network) in &networks {
        let accuracy = metric(&|some| codes(network, drawn(some)));
        found.push(Disentangled { code: code.clone(), numbers: latents, accuracy });
    }
    let accuracy = metric(&|some| (drawn(some) - &mean).dot(&components));
    found.push(Disentangled { code: "principal components".into(), numbers: latents, accuracy });
    Ok(found)
}

/// The metric of a code of pictures with these values.
fn measured(config: &ShapesConfig, code: &dyn Fn(&[Values]) -> Array2<f32>) -> f64 {
    let ShapesConfig { pairs, train, test, .. } = *config;
    // Other pictures than those that were learned from.
    let seed = config.seed.wrapping_add(1);
    disentanglement(FACTORS.len(), Draws { pairs, train, test }, seed, &mut |factor, rng| {
        let first: Vec<Values> = (0..pairs).map(|_| values(rng)).collect();
        let second = first.iter().map(|shared| {
            let mut other = values(rng);
            other[factor] = shared[factor];
            other
        });
        let second: Vec<Values> = second.collect();
        [code(&first), code(&second)].map(|codes| codes.iter().copied().collect())
    })
}

fn matrix(rows: Vec<f32>, width: usize) -> Array2<f32> {
    Array2::from_shape_vec((rows.len() / width, width), rows).expect("whole rows")
}

/// The `rank` principal components, `[pixels, rank]`, and the variance of a pixel that they leave unexplained.
fn principal(pictures: &Array2<f32>, rank: usize) -> (Array2<f32>, f64) {
    let pixels = pictures.ncols();
    let centred = pictures - &pictures.mean_axis(Axis(0)).expect("there are pictures");
    let covariance = centred.t().dot(&centred) / pictures.nrows() as f32;
    let eigen = DMatrix::from_fn(pixels, pixels, |i, j| f64::from(covariance[[i, j]])).symmetric_eigen();
    let mut order: Vec<usize> = (0..pixels).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    let components =
        Array2::from_shape_fn((pixels, rank), |(pixel, i)| eigen.eigenvectors[(pixel, order[i])] as f32);
    let rest = order[rank..].iter().map(|i| eigen.eigenvalues[*i]).sum::<f64>();
    (components, rest / (pixels - rank) as f64)
}

/// Draws one picture onto the end of `out`, white on black.
///
/// The rotation is within an eighth of a turn to either side: a square looks the same a quarter of a turn on.
fn draw(values: &Values, out: &mut Vec<f32>) {
    let [x, y, scale, rotation, shape] = *values;
    let (x, y) = (0.6 * (x - 0.5), 0.6 * (y - 0.5));
    let size = 0.12 + 0.1 * scale;
    let (sin, cos) = ((2.0 * rotation - 1.0) * FRAC_PI_4).sin_cos();
    let shape = ((shape * SHAPES as f32) as usize).min(SHAPES - 1);
    let step = 1.0 / (SIDE * FINE) as f32;
    for pixel in 0..SIDE * SIDE {
        let mut inside = 0;
        for sample in 0..FINE * FINE {
            let across = (pixel % SIDE * FINE + sample % FINE) as f32 + 0.5;
            let down = (pixel / SIDE * FINE + sample / FINE) as f32 + 0.5;
            let (right, below) = (across * step - 0.5 - x, down * step - 0.5 - y);
            let (u, v) = ((cos * right + sin * below) / size, (cos * below - sin * right) / size);
            inside += usize::from(is_inside(shape, u, v));
        }
        out.push(inside as f32 / (FINE * FINE) as f32);
    }
}

/// Whether a point is in a shape of unit size around the middle.
fn is_inside(shape: usize, u: f32, v: f32) -> bool {
    match shape {
        0 => u.abs() < 0.9 && v.abs() < 0.9,
        1 => (u.abs() - 1.0).max(0.0).powi(2) + v * v < 0.3,
        _ => v < 0.8 && v > 2.2 * u.abs() - 1.4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(values: Values) -> Vec<f32> {
        let mut out = Vec::new();
        draw(&values, &mut out);
        out
    }

    #[test]
    fn every_factor_changes_the_picture_as_its_name_says() {
        let middle = [0.5; FACTORS.len()];
        let with = |factor: usize, value: f32| {
            let mut values = middle;
            values[factor] = value;
            picture(values)
        };
        let area = |p: &[f32]| p.iter().sum::<f32>();
        let centre = |p: &[f32], at: fn(usize) -> usize| {
            p.iter().enumerate().map(|(i, v)| v * at(i) as f32).sum::<f32>() / area(p)
        };
        let column: fn(usize) -> usize = |i| i % SIDE;
        let row: fn(usize) -> usize = |i| i / SIDE;
        assert!((centre(&with(0, 0.9), column) - centre(&with(0, 0.1), column) - 7.68).abs() < 0.2);
        assert!((centre(&with(1, 0.9), row) - centre(&with(1, 0.1), row) - 7.68).abs() < 0.2);
        assert!(area(&with(2, 1.0)) > 2.5 * area(&with(2, 0.0)));
        for (factor, values) in [(3, [0.0, 1.0]), (4, [0.1, 0.9]), (4, [0.1, 0.5])] {
            let [a, b] = values.map(|value| with(factor, value));
            assert!((area(&a) / area(&b) - 1.0).abs() < 0.35, "{} and {}", area(&a), area(&b));
            assert!(a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum::<f32>() > 4.0, "factor {factor}");
        }
        assert!(with(0, 0.5).iter().any(|v| *v > 0.0 && *v < 1.0), "edges are grey");
    }

    /// A small draw of the table.
    #[test]
    fn the_metric_tells_the_codes_apart() {
        let config = ShapesConfig {
            pictures: 4000,
            betas: vec![4.0],
            steps: 500,
            batch: 128,
            rate: 2e-3,
            pairs: 32,
            train: 400,
            test: 300,
            ..ShapesConfig::default()
        };
        let found = shapes(&config, &mut |_| Flow::Continue).expect("not cancelled");
        let accuracies: Vec<f64> = found.iter().map(|row| row.accuracy).collect();
        let [truth, learned, untrained, principal] = accuracies[..] else { panic!("four codes: {found:?}") };
        assert!(truth > 0.98, "{found:?}");
        // So short a training does not reach the principal components yet.
        assert!(learned > untrained + 0.03, "{found:?}");
        assert!(untrained > 0.3 && principal > untrained + 0.1, "{found:?}");
    }
}
