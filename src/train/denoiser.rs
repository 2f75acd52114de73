//! Learning the denoiser: rows of vectors, with noise of all levels on them.

use super::LearnError;
use super::backward::{Batch, Pass, backward};
use super::descent::{Recipe, descend};
use super::method::{Model, Say, Task, Trained};
use crate::score::diffusion::{Denoiser, Network, Plan, Sampler, Scalings, Widths, noise_embedding, opposed};
use ndarray::Array2;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use std::f32::consts::TAU;

/// Directions of the features kept at most.
const MOST_DIRECTIONS: usize = 128;

/// Whitens and trains; the same seed draws the same first weights and noise each time.
pub fn train(task: &Task, say: &mut Say) -> Result<Trained, LearnError> {
    let config = task.config;
    let most = task.directions(MOST_DIRECTIONS);
    let vectors = task.placed(task.moments()?.whitening(most));
    let (rows, width) = (task.rows(&vectors), vectors.width());
    let mut rng = StdRng::seed_from_u64(config.seed);
    let widths = if task.grid.regions() == 1 { Widths::authors(width) } else { Widths::regional(width) };
    let network = Network::new(widths, &mut rng);
    let noise = opposed(config.draws, width, &mut rng);
    let batch = config.batch.min(rows.len() / width);
    let recipe = Recipe { seed: config.seed, steps: config.steps, batch, rate: config.rate };
    let (network, loss) =
        task.told(&recipe, say, |on_step| fit(network, &rows, &recipe, config.noise, on_step))?;
    let (parameters, plan) = (network.parameters(), Plan::new(Sampler::Euler, &[config.start, 0.0]));
    let denoiser = Denoiser { vectors, network, sigma_data: 1.0, plan, noise, pooling: task.pooling() };
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
    let bottleneck = network.film_bottleneck.len();
    let mut input = Vec::with_capacity(batch * width);
    let mut target = Vec::with_capacity(batch * width);
    let mut gamma = Vec::with_capacity(batch * bottleneck);
    let mut beta = Vec::with_capacity(batch * bottleneck);
    for _ in 0..batch {
        let at = rng.random_range(0..n) * width;
        let level: f64 = StandardNormal.sample(rng);
        let sigma = (noise.0 + noise.1 * level).exp();
        let (c, embedding) = (Scalings::at(sigma, 1.0), TAU * noise_embedding(sigma) as f32);
        let (skip, out, scale) = (c.skip as f32, c.out as f32, c.input as f32);
        for (x, w) in rows[at..at + width].iter().zip(&network.film_input) {
            let drawn: f32 = StandardNormal.sample(rng);
            let noised = x + sigma as f32 * drawn;
            let (sin, cos) = (w * embedding).sin_cos();
            input.push(cos * scale * noised + sin);
            target.push((x - skip * noised) / out);
        }
        for w in &network.film_bottleneck {
            let (sin, cos) = (w * embedding).sin_cos();
            gamma.push(cos);
            beta.push(sin);
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

/// D(x; sigma) for `rows` of unit variance, as the trainer sees it: running statistics, no folding.
#[cfg(test)]
pub(super) fn denoised(network: &Network, rows: &[f32], sigma: f64) -> Vec<f32> {
    use crate::score::BATCH_NORM_EPSILON;
    use crate::score::diffusion::Film;
    let width = network.widths.features;
    let c = Scalings::at(sigma, 1.0);
    let mut out = Vec::new();
    for x in rows.chunks_exact(width) {
        let modulate = |h: Vec<f32>, w: &[f32]| -> Vec<f32> {
            let film = Film::at(sigma, w);
            h.iter().zip(film.gamma.iter().zip(&film.beta)).map(|(h, (g, b))| h * g + b).collect()
        };
        let mut h = modulate(x.iter().map(|v| v * c.input as f32).collect(), &network.film_input);
        for (i, layer) in network.layers.iter().enumerate() {
            if i == network.decoder() {
                h = modulate(h, &network.film_bottleneck);
            }
            let dot = |o: usize| -> f32 {
                h.iter().enumerate().map(|(i, h)| h * layer.weight[i * layer.outputs + o]).sum::<f32>()
            };
            let mut next: Vec<f32> = (0..layer.outputs).map(|o| dot(o) + layer.bias[o]).collect();
            if let Some(norm) = &layer.norm {
                for (o, v) in next.iter_mut().enumerate() {
                    let unit = (*v - norm.mean[o]) / (norm.variance[o] + BATCH_NORM_EPSILON).sqrt();
                    *v = (norm.gain[o] * unit + norm.shift[o]).max(0.0);
                }
            }
            h = next;
        }
        out.extend(x.iter().zip(&h).map(|(x, f)| x * c.skip as f32 + f * c.out as f32));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::diffusion::Widths;

    /// Rows of an anisotropic Gaussian with these standard deviations.
    fn gaussian_rows(deviations: &[f32], n: usize) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(8);
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
        Network::new(widths, &mut StdRng::seed_from_u64(1))
    }

    /// On an anisotropic Gaussian the best denoiser is known: D = lambda / (lambda + sigma^2) x on each axis.
    #[test]
    fn training_approaches_the_optimal_denoiser_of_a_gaussian() {
        let deviations = [1.6f32, 1.0, 0.5, 0.2];
        let rows = gaussian_rows(&deviations, 4000);
        let (network, _) =
            fit(network(4), &rows, &recipe(1200), NOISE, &mut |_| true).expect("not cancelled");
        let sigma = 0.8;
        let clean = gaussian_rows(&deviations, 2000);
        let noise = gaussian_rows(&[sigma as f32; 4], 6000);
        let noised: Vec<f32> = clean.iter().zip(noise.iter().rev()).map(|(x, n)| x + n).collect();
        let found = denoised(&network, &noised, sigma);
        let error = |guess: &dyn Fn(usize) -> f32| {
            (0..clean.len()).map(|i| f64::from(clean[i] - guess(i)).powi(2)).sum::<f64>() / clean.len() as f64
        };
        let best = error(&|i| {
            let lambda = deviations[i % 4].powi(2);
            lambda / (lambda + (sigma * sigma) as f32) * noised[i]
        });
        let untold = error(&|i| Scalings::at(sigma, 1.0).skip as f32 * noised[i]);
        let trained = error(&|i| found[i]);
        assert!(trained < best * 1.03, "trained {trained}, best {best}");
        assert!(untold > best * 1.1, "the test can tell: {untold} without any network, best {best}");
    }

    #[test]
    fn the_same_seed_gives_the_same_network_and_another_seed_another() {
        let rows = gaussian_rows(&[1.0, 0.3], 300);
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
        let rows = gaussian_rows(&[1.0, 0.3], 300);
        let mut steps = 0;
        let stopped = fit(network(2), &rows, &recipe(50), NOISE, &mut |step| {
            steps += 1;
            step < 3
        });
        assert!(stopped.is_none());
        assert_eq!(steps, 4);
    }
}
