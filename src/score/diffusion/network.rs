//! The network F: an autoencoder of linear layers, batch norms and ReLUs, told the noise level at its input and in its middle.

use super::{Conditioning, Embedding};
use crate::score::Layer;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

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

    /// For one region's vector: a thirtieth of the prototype's 512, 256, 128, and a tenth of the work of 256, 128, 64,
    /// which scored no better on Ped2 (frame AUC of seeds 0 to 2: .960 to .966 against .966 to .967).
    pub fn regional(features: usize) -> Self {
        Self { features, encoder: vec![64, 32] }
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

/// F with all it needs to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    pub widths: Widths,
    /// Tell the noise level to the input, and to the bottleneck.
    pub at_input: Conditioning,
    pub at_bottleneck: Conditioning,
    /// Encoder and decoder.
    pub layers: Vec<Layer>,
}

impl Network {
    /// An untrained network.
    pub fn new(widths: Widths, embedding: Embedding, rng: &mut impl Rng) -> Self {
        let sizes = widths.all();
        let last = sizes.len() - 2;
        let layers = (0..=last).map(|i| Layer::new(sizes[i], sizes[i + 1], i < last, rng)).collect();
        let mut conditioning = |n: usize| match embedding {
            Embedding::Film => Conditioning::film((0..n).map(|_| StandardNormal.sample(rng)).collect()),
            Embedding::SineCosine => Conditioning::sine_cosine(n),
        };
        let (at_input, at_bottleneck) = (conditioning(widths.features), conditioning(widths.bottleneck()));
        Self { widths, at_input, at_bottleneck, layers }
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
        let authors = |features| {
            Network::new(Widths::authors(features), Embedding::Film, &mut StdRng::seed_from_u64(0))
        };
        assert_eq!(authors(512).parameters(), 2_369_792);
        assert_eq!(authors(2048).parameters(), 5_517_056);
    }

    #[test]
    fn the_way_back_mirrors_the_way_in() {
        assert_eq!(Widths::regional(61).all(), [61, 64, 32, 64, 61]);
        let network = Network::new(Widths::regional(61), Embedding::Film, &mut StdRng::seed_from_u64(0));
        assert_eq!(network.layers[network.decoder()].inputs, network.widths.bottleneck());
        assert!(network.layers.last().is_some_and(|l| l.norm.is_none()));
    }
}
