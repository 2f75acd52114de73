//! Learning the beta-VAE: standardised rows, sampled latents, and the two scores' standards.

use super::backward::{Pass, back, before, forward};
use super::descent::{Recipe, descend};
use super::method::{Model, Say, Task, Trained};
use super::{LearnError, Sample};
use crate::infer::{Session, TensorIn};
use crate::score::Layer;
use crate::score::beta_vae::{BetaVae, MOST_LOG_VARIANCE, Standard, Vae};
use ndarray::{Array2, ArrayView1, ArrayView2, Zip, s};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};

/// Share of the steps in which the weight of the divergence (or its capacity) rises to its full height.
const WARM_UP: f64 = 0.2;
/// Burgess' gamma: holds the divergence at the capacity against a reconstruction of some tens of nats.
const CAPACITY_WEIGHT: f64 = 100.0;
/// Variance of the decoder at least: features that few latents explain wholly must not count infinitely.
const LEAST_VARIANCE: f64 = 1e-3;
/// Segments that the standards are taken from.
const STANDARDS: usize = 1000;

/// What is minimised, in nats a row: |x - x^|^2 / (2 variance), and what the divergence costs.
#[derive(Debug, Clone, Copy)]
pub struct Objective {
    /// Of the decoder's Gaussian; fixed.
    pub variance: f64,
    /// Weight of the divergence ...
    pub beta: f64,
    /// ... unless it is held at so many nats: weight |divergence - capacity| (Burgess et al., "Understanding
    /// disentangling in beta-VAE", 2018).
    pub capacity: Option<f64>,
}

impl Objective {
    /// What the divergence `kl` costs, and the slope of that, where `share` of the steps are done.
    fn cost(&self, kl: f64, share: f64) -> (f64, f64) {
        let risen = (share / WARM_UP).min(1.0);
        match self.capacity {
            None => (risen * self.beta * kl, risen * self.beta),
            Some(nats) => {
                let apart = kl - risen * nats;
                (CAPACITY_WEIGHT * apart.abs(), CAPACITY_WEIGHT * apart.signum())
            }
        }
    }
}

/// Standardises and trains. Not whitened: what latents can explain is what the features have in common.
pub fn train(task: &Task, say: &mut Say) -> Result<Trained, LearnError> {
    let config = task.config;
    let moments = task.moments()?;
    let vectors = task.placed(moments.standard());
    let (rows, width) = (task.rows(&vectors), vectors.width());
    let latents = config.latents.min(width / 2).max(1);
    let hidden = if task.grid.regions() == 1 { Vae::WHOLE } else { Vae::REGIONAL };
    let network = Vae::new(width, &hidden, latents, &mut StdRng::seed_from_u64(config.seed));
    let variance = moments.unexplained(latents).max(LEAST_VARIANCE);
    let objective = Objective { variance, beta: config.beta, capacity: config.capacity };
    let batch = config.batch.min(rows.len() / width);
    let recipe = Recipe { seed: config.seed, steps: config.steps, batch, rate: config.rate };
    let (network, loss) =
        task.told(&recipe, say, |on_step| fit(network, &rows, &recipe, &objective, on_step))?;
    let parameters = network.parameters();
    let (reconstruction, divergence) = (Standard::NONE, Standard::NONE);
    let mut model = BetaVae { vectors, network, pooling: task.pooling(), reconstruction, divergence };
    (model.reconstruction, model.divergence) = standards(&model, task)?;
    Ok(Trained { model: Model::BetaVae(model), parameters, loss: Some(loss) })
}

/// Trains on `rows` as wide as the network; see [`descend`].
pub fn fit(
    network: Vae,
    rows: &[f32],
    recipe: &Recipe,
    objective: &Objective,
    on_step: &mut dyn FnMut(usize) -> bool,
) -> Option<(Vae, f64)> {
    let gradients = |network: &Vae, step: usize, rng: &mut StdRng| {
        let width = network.encoder[0].inputs;
        let mut batch = Vec::with_capacity(recipe.shard() * width);
        for _ in 0..recipe.shard() {
            let at = rng.random_range(0..rows.len() / width) * width;
            batch.extend_from_slice(&rows[at..at + width]);
        }
        let draw = || StandardNormal.sample(&mut *rng);
        let noise = Array2::from_shape_simple_fn((recipe.shard(), network.latents), draw);
        let batch =
            Array2::from_shape_vec((recipe.shard(), width), batch).expect("every row was taken whole");
        gradients(network, batch, noise, objective, step as f64 / recipe.steps as f64)
    };
    descend(network, Vae::layers, recipe, &gradients, on_step)
}

/// Loss and gradients on the rows `x`, with z = mu + s noise (Kingma & Welling 2014). The loss is that of
/// [`Objective`] over the numbers of a row.
fn gradients(network: &Vae, x: Array2<f32>, noise: Array2<f32>, objective: &Objective, share: f64) -> Pass {
    let (n, m) = (x.nrows() as f32, network.latents);
    let numbers = x.len() as f32;
    let mut statistics = Vec::new();
    let (code, up) = forward(&network.encoder, x.clone(), &mut statistics);
    let mean = code.slice(s![.., ..m]);
    let raw = code.slice(s![.., m..]);
    let log_variance = raw.mapv(|v| v.clamp(-MOST_LOG_VARIANCE, MOST_LOG_VARIANCE));
    let spread = log_variance.mapv(|v| (0.5 * v).exp()) * &noise;
    let (found, down) = forward(&network.decoder, &mean + &spread, &mut statistics);
    let error = found - x;
    let precision = (1.0 / objective.variance) as f32;
    let rebuilt = 0.5 * precision * error.iter().map(|e| e * e).sum::<f32>() / numbers;
    let divergence = |mu: &f32, l: &f32| 0.5 * (mu * mu + l.exp() - 1.0 - l);
    let kl: f32 = mean.iter().zip(&log_variance).map(|(mu, l)| divergence(mu, l)).sum::<f32>() / n;
    let (cost, weight) = objective.cost(f64::from(kl), share);
    let loss = rebuilt + cost as f32 * n / numbers;

    let mut gradients = Vec::new();
    let slope = back(&network.decoder, &down, error * (precision / numbers), &mut gradients);
    let slope = before(&network.decoder[0], &slope);
    let weight = weight as f32 / numbers;
    let mut at_code = Array2::zeros(code.raw_dim());
    at_code.slice_mut(s![.., ..m]).assign(&(&slope + &(&mean * weight)));
    Zip::from(at_code.slice_mut(s![.., m..])).and(&slope).and(&spread).and(&log_variance).and(&raw).for_each(
        |out, slope, spread, l, raw| {
            // No slope where the variance is drawn in.
            if raw == l {
                *out = 0.5 * slope * spread + 0.5 * weight * (l.exp() - 1.0);
            }
        },
    );
    back(&network.encoder, &up, at_code, &mut gradients);
    gradients.reverse();
    Pass { loss, gradients, statistics }
}

/// Mean and deviation of each of the two scores over the segments, or some of them.
fn standards(model: &BetaVae, task: &Task) -> Result<(Standard, Standard), LearnError> {
    let [rebuilt, diverged] = outputs(model, task, ["reconstruction", "kl"], STANDARDS)?;
    Ok((standard(&rebuilt), standard(&diverged)))
}

/// What the model's outputs of these names hold, one segment after the other, for `most` segments of the task at
/// most, evenly spread.
pub fn outputs<const N: usize>(
    model: &BetaVae,
    task: &Task,
    names: [&str; N],
    most: usize,
) -> Result<[Vec<f32>; N], LearnError> {
    let mut session = Session::from_bytes("the model in training", &model.to_onnx(task.manifest))?;
    let every = task.samples.len().div_ceil(most);
    let some: Vec<&Sample> = task.samples.iter().step_by(every).copied().collect();
    let mut found = [const { Vec::new() }; N];
    for batch in some.chunks(16) {
        let data: Vec<f32> = batch.iter().flat_map(|s| &s.features.values).copied().collect();
        let dims = [batch.len(), task.grid.regions(), task.dims];
        for output in session.run(TensorIn::F32 { dims: &dims, data: &data })? {
            if let Some(at) = names.iter().position(|name| *name == output.name) {
                found[at].extend(output.data);
            }
        }
    }
    Ok(found)
}

/// Means of the latents of `rows` as wide as the network, `[n, latents]`, with the running statistics.
pub fn codes(network: &Vae, rows: Array2<f32>) -> Array2<f32> {
    let through = |x: Array2<f32>, layer: &Layer| {
        let folded = layer.folded();
        let weight = ArrayView2::from_shape((layer.inputs, layer.outputs), &folded.weight);
        let z = x.dot(&weight.expect("a layer holds its weights")) + ArrayView1::from(&folded.bias);
        if layer.norm.is_some() { z.mapv_into(|v| v.max(0.0)) } else { z }
    };
    network.encoder.iter().fold(rows, through).slice_move(s![.., ..network.latents])
}

fn standard(scores: &[f32]) -> Standard {
    let n = scores.len() as f32;
    let mean = scores.iter().sum::<f32>() / n;
    let variance = scores.iter().map(|s| (s - mean).powi(2)).sum::<f32>() / n;
    Standard { mean, deviation: variance.sqrt().max(1e-3) }
}

#[cfg(test)]
mod tests {
    use super::super::backward::assert_slopes;
    use super::*;

    fn gaussian(deviations: &[f32], n: usize, seed: u64) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut draw = |deviation: &f32| -> f32 {
            let v: f32 = StandardNormal.sample(&mut rng);
            deviation * v
        };
        (0..n).flat_map(|_| deviations.iter().map(&mut draw).collect::<Vec<f32>>()).collect()
    }

    fn linear(objective: &Objective) -> Vae {
        let rows = gaussian(&[2.0], 20_000, 5);
        let network = Vae::new(1, &[], 1, &mut StdRng::seed_from_u64(1));
        let recipe = Recipe { seed: 3, steps: 3000, batch: 512, rate: 1e-2 };
        fit(network, &rows, &recipe, objective, &mut |_| true).expect("not cancelled").0
    }

    /// Mean divergence in nats of a linear network's latent over x of variance 4.
    fn divergence(network: &Vae) -> f32 {
        let (w, b) = (&network.encoder[0].weight, &network.encoder[0].bias);
        0.5 * (4.0 * w[0] * w[0] + b[0] * b[0] + b[1].exp() - 1.0 - b[1])
    }

    /// The linear beta-VAE on N(0, lambda): posterior variance beta gamma / lambda, decoder norm^2 lambda - beta
    /// gamma, divergence 1/2 ln(lambda / (beta gamma)); here lambda = 4, gamma = .1, beta = 4.
    #[test]
    fn a_linear_network_finds_the_closed_form() {
        let network = linear(&Objective { variance: 0.1, beta: 4.0, capacity: None });
        let variance = network.encoder[0].bias[1].exp();
        let decoder = network.decoder[0].weight[0].powi(2);
        assert!((variance - 0.1).abs() < 0.01, "posterior variance {variance}");
        assert!((decoder - 3.6).abs() < 0.15, "decoder norm^2 {decoder}");
        assert!((divergence(&network) - 1.1513).abs() < 0.05, "{} nats", divergence(&network));
    }

    /// With beta gamma above lambda the latent says nothing: beta = 50.
    #[test]
    fn too_large_a_beta_collapses() {
        let network = linear(&Objective { variance: 0.1, beta: 50.0, capacity: None });
        assert!(divergence(&network) < 0.01, "{} nats", divergence(&network));
        assert!(network.decoder[0].weight[0].powi(2) < 0.05);
    }

    #[test]
    fn a_capacity_holds_the_divergence() {
        let network = linear(&Objective { variance: 0.1, beta: 1.0, capacity: Some(0.7) });
        assert!((divergence(&network) - 0.7).abs() < 0.05, "{} nats", divergence(&network));
    }

    #[test]
    fn every_gradient_is_the_slope_of_the_loss() {
        let mut network = Vae::new(3, &[6], 2, &mut StdRng::seed_from_u64(2));
        for objective in [
            Objective { variance: 0.5, beta: 2.0, capacity: None },
            Objective { variance: 0.5, beta: 1.0, capacity: Some(0.05) },
        ] {
            let matrix = |columns: usize, seed: u64| {
                let data = gaussian(&vec![1.0; columns], 200, seed);
                Array2::from_shape_vec((200, columns), data).expect("200 rows")
            };
            let pass = |network: &Vae| gradients(network, matrix(3, 7), matrix(2, 8), &objective, 0.15);
            assert_slopes(&mut network, Vae::layers, pass);
        }
    }
}
