//! Learning the denoiser: rows of vectors, with noise of all levels on them.

use super::backward::{Batch, Pass, backward};
use super::descent::{Recipe, descend};
use super::method::{Model, Say, Task, Trained};
use super::{LearnConfig, LearnError, Published};
use crate::score::diffusion::{
    Denoiser, Embedding, Network, Plan, Sampler, Scalings, Widths, ends, karras, noise_embedding, opposed,
    start_at,
};
use crate::score::{Pooling, Scale, Vectors};
use ndarray::Array2;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};

/// Directions of the features kept at most.
const MOST_DIRECTIONS: usize = 128;
/// Of Karras' schedule.
const RHO: f64 = 7.0;

/// Whitens and trains; scores by one step from a fixed noise level. The same seed draws the same first weights and
/// noise each time.
pub fn one_step(task: &Task, say: &mut Say) -> Result<Trained, LearnError> {
    let LearnConfig { start, draws, .. } = *task.config;
    let vectors = task.placed(task.moments()?.whitening(task.directions(MOST_DIRECTIONS)));
    let plan = Plan::new(Sampler::Euler, &[start, 0.0]);
    let noise = |width: usize, rng: &mut StdRng| opposed(draws, width, rng);
    train(task, vectors, Embedding::Film, plan, &noise, task.pooling(), say)
}

/// As published: the whole schedule from its step `start` on, one draw of noise that all vectors share, and the
/// squared error itself as the score. The authors take features as they come; standardised they have the sigma_data
/// of 1 that their one scalar stands for.
pub fn published(task: &Task, say: &mut Say) -> Result<Trained, LearnError> {
    let Published { levels, start, sampler, embedding } = task.config.published;
    let vectors = task.placed(task.moments()?.standard());
    let (least, most) = ends(task.config.noise);
    let plan = Plan::new(sampler, start_at(&karras(levels, least, most, RHO), start));
    let noise =
        |width: usize, rng: &mut StdRng| (0..width).map(|_| StandardNormal.sample(&mut *rng)).collect();
    let pooling = Pooling { scale: Scale::Plain, ..task.pooling() };
    train(task, vectors, embedding, plan, &noise, pooling, say)
}

fn train(
    task: &Task,
    vectors: Vectors,
    embedding: Embedding,
    plan: Plan,
    noise: &dyn Fn(usize, &mut StdRng) -> Vec<f32>,
    pooling: Pooling,
    say: &mut Say,
) -> Result<Trained, LearnError> {
    let config = task.config;
    let (rows, width) = (task.rows(&vectors), vectors.width());
    let mut rng = StdRng::seed_from_u64(config.seed);
    let widths = if task.grid.regions() == 1 { Widths::authors(width) } else { Widths::regional(width) };
    let network = Network::new(widths, embedding, &mut rng);
    let noise = noise(width, &mut rng);
    let batch = config.batch.min(rows.len() / width);
    let recipe = Recipe { seed: config.seed, steps: config.steps, batch, rate: config.rate };
    let (network, loss) =
        task.told(&recipe, say, |on_step| fit(network, &rows, &recipe, config.noise, on_step))?;
    let parameters = network.parameters();
    let denoiser = Denoiser { vectors, network, sigma_data: 1.0, plan, noise, pooling };
    Ok(Trained { model: Model::Diffusion(denoiser), parameters, loss: Some(loss) })
}

/// Trains on `rows` of `network.widths.features` numbers, with noise levels exp(mean + deviation N(0, 1)) of
/// `noise`; see [`descend`].
fn fit(
    network: Network,
    rows: &[f32],
    recipe: &Recipe,
    noise: (f64, f64),
    on_step: &mut dyn FnMut(usize) -> bool,
) -> Option<(Network, f64)> {
    let gradients =
        |network: &Network, _, rng: &mut StdRng| gradients(network, rows, recipe.shard(), noise, rng);
    descend(network, |network| network.layers.iter_mut().collect(), recipe, &gradients, on_step)
}

/// Loss and gradients on rows drawn at random, with noise drawn at random.
///
/// The loss is mean((F(c_in (x + sigma n); sigma) - (x - c_skip (x + sigma n)) / c_out)^2), which weighs all
/// noise levels alike (Karras et al. 2022, equation 8 with lambda = 1 / c_out^2).
fn gradients(network: &Network, rows: &[f32], batch: usize, noise: (f64, f64), rng: &mut StdRng) -> Pass {
    let width = network.widths.features;
    let n = rows.len() / width;
    let bottleneck = network.widths.bottleneck();
    let mut input = Vec::with_capacity(batch * width);
    let mut target = Vec::with_capacity(batch * width);
    let mut gamma = Vec::with_capacity(batch * bottleneck);
    let mut beta = Vec::with_capacity(batch * bottleneck);
    for _ in 0..batch {
        let at = rng.random_range(0..n) * width;
        let level: f64 = StandardNormal.sample(rng);
        let sigma = (noise.0 + noise.1 * level).exp();
        let (c, embedded) = (Scalings::at(sigma, 1.0), noise_embedding(sigma));
        let (skip, out, scale) = (c.skip as f32, c.out as f32, c.input as f32);
        for (x, (gamma, beta)) in rows[at..at + width].iter().zip(network.at_input.each(embedded)) {
            let drawn: f32 = StandardNormal.sample(rng);
            let noised = x + sigma as f32 * drawn;
            input.push(gamma * scale * noised + beta);
            target.push((x - skip * noised) / out);
        }
        for (of_gamma, of_beta) in network.at_bottleneck.each(embedded) {
            gamma.push(of_gamma);
            beta.push(of_beta);
        }
    }

    let matrix = |data: Vec<f32>, columns: usize| {
        Array2::from_shape_vec((batch, columns), data).expect("every row pushed its numbers")
    };
    let batch = Batch {
        input: matrix(input, width),
        target: matrix(target, width),
        gamma: matrix(gamma, bottleneck),
        beta: matrix(beta, bottleneck),
    };
    backward(network, batch)
}

#[cfg(test)]
mod tests {
    use super::super::reference::{denoised, solved};
    use super::*;

    /// Rows of an anisotropic Gaussian with these standard deviations.
    fn gaussian_rows(deviations: &[f32], n: usize, seed: u64) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut rows = Vec::new();
        for _ in 0..n {
            for d in deviations {
                let v: f32 = StandardNormal.sample(&mut rng);
                rows.push(d * v);
            }
        }
        rows
    }

    const NOISE: (f64, f64) = (-0.5, 1.0);

    fn recipe(steps: usize) -> Recipe {
        Recipe { seed: 4, steps, batch: 256, rate: 2e-3 }
    }

    fn network(width: usize) -> Network {
        let widths = Widths { features: width, encoder: vec![48, 32, 24] };
        Network::new(widths, Embedding::Film, &mut StdRng::seed_from_u64(1))
    }

    /// On an anisotropic Gaussian the best denoiser is known, D = lambda / (lambda + sigma^2) x on each axis, and where
    /// it leads to: a gain of sqrt(lambda / (lambda + sigma^2)).
    #[test]
    fn training_approaches_the_optimal_denoiser_of_a_gaussian() {
        let deviations = [1.6f32, 1.0, 0.5, 0.2];
        let rows = gaussian_rows(&deviations, 200_000, 8);
        let (network, _) =
            fit(network(4), &rows, &recipe(2000), NOISE, &mut |_| true).expect("not cancelled");
        let exactly = |rows: Vec<f32>| rows.into_iter().map(f64::from).collect::<Vec<_>>();
        let (clean, noise) =
            (exactly(gaussian_rows(&deviations, 4000, 9)), exactly(gaussian_rows(&[1.0; 4], 4000, 10)));
        let lambda = |i: usize| f64::from(deviations[i % 4]).powi(2);
        // The loss of a guess at x, mean over five of the training's noise levels: the middle of each fifth.
        let levels = [-1.2816, -0.5244, 0.0, 0.5244, 1.2816].map(|z: f64| (NOISE.0 + z * NOISE.1).exp());
        let (mut trained, mut best, mut untold) = (0.0, 0.0, 0.0);
        for sigma in levels {
            let noised: Vec<f64> = clean.iter().zip(&noise).map(|(x, n)| x + sigma * n).collect();
            let c = Scalings::at(sigma, 1.0);
            let loss = |guess: &dyn Fn(usize) -> f64| -> f64 {
                clean.iter().enumerate().map(|(i, x)| ((x - guess(i)) / c.out).powi(2)).sum()
            };
            let found = denoised(&network, &noised, sigma);
            trained += loss(&|i| found[i]);
            best += loss(&|i| lambda(i) / (lambda(i) + sigma * sigma) * noised[i]);
            untold += loss(&|i| c.skip * noised[i]);
        }
        assert!(trained < best * 1.02, "trained {trained}, best {best}");
        assert!(untold > best * 1.1, "the test can tell: {untold} without any network, best {best}");

        let sigma = 0.8;
        let noised: Vec<f64> = clean.iter().zip(&noise).map(|(x, n)| x + sigma * n).collect();
        let levels = karras(20, 1e-3, sigma, RHO);
        let found = solved(Sampler::Heun, &levels, &noised, &|x, sigma| denoised(&network, x, sigma));
        for axis in 0..4 {
            let along = |a: &[f64], b: &[f64]| -> f64 {
                a.iter().zip(b).skip(axis).step_by(4).map(|(a, b)| a * b).sum()
            };
            let gain = along(&found, &noised) / along(&noised, &noised);
            let expected = (lambda(axis) / (lambda(axis) + sigma * sigma)).sqrt();
            let untold = 1.0 / (1.0 + sigma * sigma).sqrt();
            let allowed = 0.02 + 0.2 * (untold - expected).abs();
            assert!((gain - expected).abs() < allowed, "axis {axis}: {gain} instead of {expected}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_network_and_another_seed_another() {
        let rows = gaussian_rows(&[1.0, 0.3], 300, 8);
        let train = |seed| {
            fit(network(2), &rows, &Recipe { seed, ..recipe(5) }, NOISE, &mut |_| true)
                .expect("not cancelled")
                .0
        };
        assert_eq!(train(1), train(1));
        assert_ne!(train(1), train(2));
    }

    #[test]
    fn it_stops_when_told() {
        let rows = gaussian_rows(&[1.0, 0.3], 300, 8);
        let mut steps = 0;
        let stopped = fit(network(2), &rows, &recipe(50), NOISE, &mut |step| {
            steps += 1;
            step < 3
        });
        assert!(stopped.is_none());
        assert_eq!(steps, 4);
    }
}
