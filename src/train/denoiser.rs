//! Learning the denoiser: batches with noise, AdamW and the moving average.
//!
//! Every batch is cut into [`SHARDS`] parts with a thread each. The parts, not the machine, decide what is
//! computed, so the same seed gives the same weights on any number of cores.

use super::LearnError;
use super::backward::{Batch, Pass, backward};
use super::method::{Model, Say, Task, Trained};
use super::optim::{AdamW, average_decay, learning_rate};
use crate::score::diffusion::{Denoiser, Network, Plan, Sampler, Scalings, Widths, noise_embedding, opposed};
use ndarray::Array2;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use std::f32::consts::TAU;

const SHARDS: usize = 2;
/// Directions of the features kept at most.
const MOST_DIRECTIONS: usize = 128;
/// Share of a batch's statistics that enters the running ones.
const MOMENTUM: f32 = 0.1;

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
    let recipe =
        Recipe { seed: config.seed, steps: config.steps, batch, rate: config.rate, noise: config.noise };
    let mut refused = None;
    let fitted = fit(network, &rows, &recipe, &mut |step| {
        refused = say(step as f64 / config.steps as f64).err();
        refused.is_none()
    });
    let (network, loss) = fitted.ok_or_else(|| refused.unwrap_or(LearnError::Cancelled))?;
    let (parameters, plan) = (network.parameters(), Plan::new(Sampler::Euler, &[config.start, 0.0]));
    let denoiser = Denoiser { vectors, network, sigma_data: 1.0, plan, noise, pooling: task.pooling() };
    Ok(Trained { model: Model::Diffusion(denoiser), parameters, loss: Some(loss) })
}

/// How a network is trained.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub seed: u64,
    pub steps: usize,
    /// Rows a step.
    pub batch: usize,
    /// Base of the learning rate.
    pub rate: f64,
    /// Noise levels are exp(mean + deviation N(0, 1)).
    pub noise: (f64, f64),
}

/// Trains on `rows` of `network.widths.features` numbers, and gives the network with averaged weights and
/// the mean loss of the last tenth of the steps. `on_step` is told the step and says whether to go on;
/// `None` where it did not.
pub fn fit(
    mut network: Network,
    rows: &[f32],
    recipe: &Recipe,
    on_step: &mut dyn FnMut(usize) -> bool,
) -> Option<(Network, f64)> {
    let mut average = network.clone();
    let mut optimiser = AdamW::new(parameters(&mut network).iter().map(|p| p.len()));
    let tail = recipe.steps - recipe.steps.div_ceil(10);
    let mut loss = 0.0;
    for step in 0..recipe.steps {
        if !on_step(step) {
            return None;
        }
        let shards = std::thread::scope(|scope| {
            let run = |shard| {
                let (network, seed) = (&network, shard_seed(recipe.seed, step, shard));
                scope.spawn(move || gradients(network, rows, recipe, seed))
            };
            let running: Vec<_> = (0..SHARDS).map(run).collect();
            running.into_iter().map(|r| r.join().expect("a shard does not panic")).collect::<Vec<_>>()
        });
        let mut shards = shards.into_iter();
        let mut sum = shards.next().expect("at least one shard");
        shards.for_each(|other| sum.add(&other));
        sum.scale(1.0 / SHARDS as f32);
        if step >= tail {
            loss += f64::from(sum.loss) / (recipe.steps - tail) as f64;
        }
        optimiser.step(&mut parameters(&mut network), &sum.gradients, learning_rate(recipe.rate, step));
        enter_statistics(&sum, &mut network);
        let decay = average_decay(step) as f32;
        for (slow, fast) in parameters(&mut average).into_iter().zip(parameters(&mut network)) {
            slow.iter_mut().zip(fast).for_each(|(s, f)| *s = decay * *s + (1.0 - decay) * *f);
        }
    }
    // The statistics of batch norms are copied, not averaged.
    for (slow, fast) in average.layers.iter_mut().zip(&network.layers) {
        if let (Some(slow), Some(fast)) = (&mut slow.norm, &fast.norm) {
            slow.mean.clone_from(&fast.mean);
            slow.variance.clone_from(&fast.variance);
        }
    }
    Some((average, loss))
}

/// Every learned tensor, in an order of its own that [`gradients`] shares.
fn parameters(network: &mut Network) -> Vec<&mut Vec<f32>> {
    let mut all = Vec::new();
    for layer in &mut network.layers {
        all.push(&mut layer.weight);
        all.push(&mut layer.bias);
        if let Some(norm) = &mut layer.norm {
            all.push(&mut norm.gain);
            all.push(&mut norm.shift);
        }
    }
    all
}

/// Tells apart the random numbers of every step and shard (SplitMix64's constant).
fn shard_seed(seed: u64, step: usize, shard: usize) -> u64 {
    (seed << 32).wrapping_add((step * SHARDS + shard) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Loss and gradients on rows drawn at random, with noise drawn at random.
///
/// The loss is mean((F(c_in (x + sigma n); sigma) - (x - c_skip (x + sigma n)) / c_out)^2), which weighs all
/// noise levels alike (Karras et al. 2022, equation 8 with lambda = 1 / c_out^2).
fn gradients(network: &Network, rows: &[f32], recipe: &Recipe, seed: u64) -> Pass {
    let mut rng = StdRng::seed_from_u64(seed);
    let width = network.widths.features;
    let (n, batch) = (rows.len() / width, (recipe.batch / SHARDS).max(2));
    let bottleneck = network.film_bottleneck.len();
    let mut input = Vec::with_capacity(batch * width);
    let mut target = Vec::with_capacity(batch * width);
    let mut gamma = Vec::with_capacity(batch * bottleneck);
    let mut beta = Vec::with_capacity(batch * bottleneck);
    for _ in 0..batch {
        let at = rng.random_range(0..n) * width;
        let level: f64 = StandardNormal.sample(&mut rng);
        let sigma = (recipe.noise.0 + recipe.noise.1 * level).exp();
        let (c, embedding) = (Scalings::at(sigma, 1.0), TAU * noise_embedding(sigma) as f32);
        let (skip, out, scale) = (c.skip as f32, c.out as f32, c.input as f32);
        for (x, w) in rows[at..at + width].iter().zip(&network.film_input) {
            let noise: f32 = StandardNormal.sample(&mut rng);
            let noised = x + sigma as f32 * noise;
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

/// Takes the sum of what shards saw into the running statistics.
fn enter_statistics(pass: &Pass, network: &mut Network) {
    let norms = network.layers.iter_mut().filter_map(|l| l.norm.as_mut());
    for (norm, (mean, variance)) in norms.zip(&pass.statistics) {
        let enter = |running: &mut Vec<f32>, seen: &[f32]| {
            running.iter_mut().zip(seen).for_each(|(r, s)| *r += MOMENTUM * (s - *r));
        };
        enter(&mut norm.mean, mean);
        enter(&mut norm.variance, variance);
    }
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

    fn recipe(steps: usize) -> Recipe {
        Recipe { seed: 4, steps, batch: 256, rate: 2e-3, noise: (-0.5, 1.0) }
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
        let (network, _) = fit(network(4), &rows, &recipe(1200), &mut |_| true).expect("not cancelled");
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
            fit(network(2), &rows, &Recipe { seed, ..recipe(5) }, &mut |_| true).expect("not cancelled").0
        };
        assert_eq!(train(1), train(1));
        assert_ne!(train(1), train(2));
    }

    #[test]
    fn it_stops_when_told() {
        let rows = gaussian_rows(&[1.0, 0.3], 300);
        let mut steps = 0;
        let stopped = fit(network(2), &rows, &recipe(50), &mut |step| {
            steps += 1;
            step < 3
        });
        assert!(stopped.is_none());
        assert_eq!(steps, 4);
    }
}
