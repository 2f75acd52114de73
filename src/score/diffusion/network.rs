//! The network F: an autoencoder of linear layers, batch norms and ReLUs, told the noise level by FiLM.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

/// Added to the variance in batch norms.
pub const BATCH_NORM_EPSILON: f32 = 1e-5;

/// Sizes of the layers: `features` at both ends, `encoder` to the bottleneck, and the same way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Widths {
    pub features: usize,
    pub encoder: Vec<usize>,
}

impl Widths {
    /// The authors': 1024, 512, 256 and back (`feature_v1.py`).
    pub fn authors(features: usize) -> Self {
        Self { features, encoder: vec![1024, 512, 256] }
    }

    /// For one region's vector: half the prototype's 512, 256, 128, which scored no better on Ped2 (frame AUC .959
    /// against .960) for four times the work.
    pub fn regional(features: usize) -> Self {
        Self { features, encoder: vec![256, 128, 64] }
    }

    /// Every size from input to output.
    pub fn all(&self) -> Vec<usize> {
        let back = self.encoder.iter().rev().skip(1);
        std::iter::once(&self.features)
            .chain(&self.encoder)
            .chain(back)
            .chain([&self.features])
            .copied()
            .collect()
    }

    /// Size of the bottleneck.
    pub fn bottleneck(&self) -> usize {
        *self.encoder.last().expect("an encoder has a layer")
    }
}

/// Batch norm of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    pub gain: Vec<f32>,
    pub shift: Vec<f32>,
    /// Running statistics.
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

/// y = x W + b, then batch norm and ReLU unless it is the last one.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    pub inputs: usize,
    pub outputs: usize,
    /// `[inputs, outputs]`, row-major.
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub norm: Option<Norm>,
}

impl Layer {
    /// Uniform within 1 / sqrt(inputs), as is usual for linear layers.
    fn new(inputs: usize, outputs: usize, norm: bool, rng: &mut impl Rng) -> Self {
        let bound = 1.0 / (inputs as f32).sqrt();
        let mut draw = |n: usize| (0..n).map(|_| rng.random_range(-bound..bound)).collect::<Vec<f32>>();
        Self {
            inputs,
            outputs,
            weight: draw(inputs * outputs),
            bias: draw(outputs),
            norm: norm.then(|| Norm {
                gain: vec![1.0; outputs],
                shift: vec![0.0; outputs],
                mean: vec![0.0; outputs],
                variance: vec![1.0; outputs],
            }),
        }
    }

    /// The layer with its batch norm worked into weight and bias: what inference needs.
    pub fn folded(&self) -> Layer {
        let Some(norm) = &self.norm else { return self.clone() };
        let scale: Vec<f32> = (norm.gain.iter().zip(&norm.variance))
            .map(|(gain, variance)| gain / (variance + BATCH_NORM_EPSILON).sqrt())
            .collect();
        let weight =
            self.weight.chunks_exact(self.outputs).flat_map(|row| row.iter().zip(&scale).map(|(w, s)| w * s));
        let bias = (0..self.outputs).map(|o| (self.bias[o] - norm.mean[o]) * scale[o] + norm.shift[o]);
        Layer { weight: weight.collect(), bias: bias.collect(), norm: None, ..*self }
    }

    /// Learned numbers.
    pub fn parameters(&self) -> usize {
        let norm = self.norm.as_ref().map_or(0, |n| n.gain.len() + n.shift.len());
        self.weight.len() + self.bias.len() + norm
    }
}

/// F with all it needs to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    pub widths: Widths,
    /// Frequencies of the two modulations: of the input, and of the bottleneck. Drawn once, not learned.
    pub film_input: Vec<f32>,
    pub film_bottleneck: Vec<f32>,
    /// Encoder and decoder.
    pub layers: Vec<Layer>,
}

impl Network {
    /// An untrained network.
    pub fn new(widths: Widths, rng: &mut impl Rng) -> Self {
        let sizes = widths.all();
        let last = sizes.len() - 2;
        let layers = (0..=last).map(|i| Layer::new(sizes[i], sizes[i + 1], i < last, rng)).collect();
        let mut frequencies = |n: usize| (0..n).map(|_| StandardNormal.sample(rng)).collect();
        let (film_input, film_bottleneck) = (frequencies(widths.features), frequencies(widths.bottleneck()));
        Self { widths, film_input, film_bottleneck, layers }
    }

    /// Learned numbers.
    pub fn parameters(&self) -> usize {
        self.layers.iter().map(Layer::parameters).sum()
    }

    /// Index of the first layer of the decoder.
    pub fn decoder(&self) -> usize {
        self.widths.encoder.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn the_authors_networks_have_their_parameter_counts() {
        let mut rng = StdRng::seed_from_u64(0);
        assert_eq!(Network::new(Widths::authors(512), &mut rng).parameters(), 2_369_792);
        assert_eq!(Network::new(Widths::authors(2048), &mut rng).parameters(), 5_517_056);
    }

    #[test]
    fn the_way_back_mirrors_the_way_in() {
        assert_eq!(Widths::regional(61).all(), [61, 256, 128, 64, 128, 256, 61]);
        let network = Network::new(Widths::regional(61), &mut StdRng::seed_from_u64(0));
        assert_eq!(network.layers[network.decoder()].inputs, network.widths.bottleneck());
        assert!(network.layers.last().is_some_and(|l| l.norm.is_none()));
    }

    #[test]
    fn folding_changes_nothing_but_the_form() {
        let mut layer = Layer::new(2, 2, true, &mut StdRng::seed_from_u64(0));
        layer.norm = Some(Norm {
            gain: vec![2.0, 0.5],
            shift: vec![0.1, -0.3],
            mean: vec![0.4, 1.0],
            variance: vec![0.25, 4.0],
        });
        let folded = layer.folded();
        let x = [0.7f32, -1.2];
        let linear = |l: &Layer, o: usize| x[0] * l.weight[o] + x[1] * l.weight[2 + o] + l.bias[o];
        let norm = layer.norm.as_ref().expect("given above");
        for o in 0..2 {
            let plain = (linear(&layer, o) - norm.mean[o]) / (norm.variance[o] + BATCH_NORM_EPSILON).sqrt();
            assert!((plain * norm.gain[o] + norm.shift[o] - linear(&folded, o)).abs() < 1e-6);
        }
    }
}
