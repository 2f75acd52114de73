//! Descent of a network's loss: AdamW, the learning rate's course and the moving average of the weights.
//!
//! Every batch is cut into [`SHARDS`] parts with a thread each. The parts, not the machine, decide what is
//! computed, so the same seed gives the same weights on any number of cores.

use super::backward::Pass;
use super::optim::{Adam, Optimiser, average_decay};
use crate::score::Layer;
use rand::SeedableRng;
use rand::rngs::StdRng;

const SHARDS: usize = 2;
/// Share of a batch's statistics that enters the running ones.
const MOMENTUM: f32 = 0.1;

/// How a network is trained.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub seed: u64,
    pub steps: usize,
    /// Rows a step.
    pub batch: usize,
    /// Base of the learning rate.
    pub rate: f64,
}

impl Recipe {
    /// Rows that one call for gradients takes.
    pub fn shard(&self) -> usize {
        (self.batch / SHARDS).max(2)
    }
}

/// Loss and gradients on [`Recipe::shard`] rows drawn from the random numbers; told the step, too.
pub type Gradients<'a, N> = dyn Fn(&N, usize, &mut StdRng) -> Pass + Sync + 'a;

/// Trains, and gives the network with averaged weights and the mean loss of the last tenth of the steps.
/// `layers` lists the network's layers in the order of [`Pass::gradients`]. `on_step` is told the step and says
/// whether to go on; `None` where it did not.
pub fn descend<N: Clone + Sync>(
    network: N,
    layers: fn(&mut N) -> Vec<&mut Layer>,
    recipe: &Recipe,
    gradients: &Gradients<N>,
    on_step: &mut dyn FnMut(usize) -> bool,
) -> Option<(N, f64)> {
    descend_by(Optimiser::Warmed, network, layers, recipe, gradients, on_step)
}

/// [`descend`] by another optimiser.
pub fn descend_by<N: Clone + Sync>(
    optimiser: Optimiser,
    mut network: N,
    layers: fn(&mut N) -> Vec<&mut Layer>,
    recipe: &Recipe,
    gradients: &Gradients<N>,
    on_step: &mut dyn FnMut(usize) -> bool,
) -> Option<(N, f64)> {
    let mut average = network.clone();
    let mut adam = Adam::new(optimiser, parameters(layers(&mut network)).iter().map(|p| p.len()));
    let tail = recipe.steps - recipe.steps.div_ceil(10);
    let mut loss = 0.0;
    for step in 0..recipe.steps {
        if !on_step(step) {
            return None;
        }
        let shards = std::thread::scope(|scope| {
            let run = |shard| {
                let (network, seed) = (&network, shard_seed(recipe.seed, step, shard));
                scope.spawn(move || gradients(network, step, &mut StdRng::seed_from_u64(seed)))
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
        let rate = optimiser.rate(recipe.rate, step);
        adam.step(&mut parameters(layers(&mut network)), &sum.gradients, rate);
        enter_statistics(&sum, layers(&mut network));
        let decay = average_decay(step) as f32;
        let fast = parameters(layers(&mut network));
        for (slow, fast) in parameters(layers(&mut average)).into_iter().zip(fast) {
            slow.iter_mut().zip(fast).for_each(|(s, f)| *s = decay * *s + (1.0 - decay) * *f);
        }
    }
    // The statistics of batch norms are copied, not averaged.
    for (slow, fast) in layers(&mut average).into_iter().zip(layers(&mut network)) {
        if let (Some(slow), Some(fast)) = (&mut slow.norm, &fast.norm) {
            slow.mean.clone_from(&fast.mean);
            slow.variance.clone_from(&fast.variance);
        }
    }
    Some((average, loss))
}

/// Every learned tensor, in the order of [`Pass::gradients`].
pub(super) fn parameters(layers: Vec<&mut Layer>) -> Vec<&mut Vec<f32>> {
    let mut all = Vec::new();
    for layer in layers {
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

/// Takes what shards saw on average into the running statistics.
fn enter_statistics(pass: &Pass, layers: Vec<&mut Layer>) {
    let norms = layers.into_iter().filter_map(|l| l.norm.as_mut());
    for (norm, (mean, variance)) in norms.zip(&pass.statistics) {
        let enter = |running: &mut Vec<f32>, seen: &[f32]| {
            running.iter_mut().zip(seen).for_each(|(r, s)| *r += MOMENTUM * (s - *r));
        };
        enter(&mut norm.mean, mean);
        enter(&mut norm.variance, variance);
    }
}
