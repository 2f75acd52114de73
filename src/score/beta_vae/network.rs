//! Encoder and decoder: chains of layers with a Gaussian of independent latents between.

use crate::score::Layer;
use rand::Rng;

/// Logarithms of variances are drawn in to plus and minus this, so that no exponential overflows.
pub const MOST_LOG_VARIANCE: f32 = 10.0;

/// A variational autoencoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Vae {
    pub latents: usize,
    /// Ends in means, then logarithms of variances: `2 latents` numbers.
    pub encoder: Vec<Layer>,
    /// From latents to the mean of the features.
    pub decoder: Vec<Layer>,
}

impl Vae {
    /// An untrained network with `hidden` layers up to the latents and the same back; linear where there are none.
    pub fn new(features: usize, hidden: &[usize], latents: usize, rng: &mut impl Rng) -> Self {
        let mut chain = |sizes: Vec<usize>| -> Vec<Layer> {
            let last = sizes.len() - 2;
            (0..=last).map(|i| Layer::new(sizes[i], sizes[i + 1], i < last, rng)).collect()
        };
        let there = [&[features], hidden, &[2 * latents]].concat();
        let back: Vec<usize> = [&[features], hidden, &[latents]].concat().into_iter().rev().collect();
        Self { latents, encoder: chain(there), decoder: chain(back) }
    }

    /// Sizes of the hidden layers for one vector of the whole picture.
    pub const WHOLE: [usize; 2] = [512, 128];
    /// For one region's vector, which is narrower: half of them.
    pub const REGIONAL: [usize; 2] = [256, 64];

    /// Every layer, encoder first.
    pub fn layers(&mut self) -> Vec<&mut Layer> {
        self.encoder.iter_mut().chain(&mut self.decoder).collect()
    }

    /// Learned numbers.
    pub fn parameters(&self) -> usize {
        self.encoder.iter().chain(&self.decoder).map(Layer::parameters).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn the_decoder_mirrors_the_encoder() {
        let vae = Vae::new(61, &Vae::REGIONAL, 16, &mut StdRng::seed_from_u64(0));
        let sizes = |layers: &[Layer]| layers.iter().map(|l| (l.inputs, l.outputs)).collect::<Vec<_>>();
        assert_eq!(sizes(&vae.encoder), [(61, 256), (256, 64), (64, 32)]);
        assert_eq!(sizes(&vae.decoder), [(16, 64), (64, 256), (256, 61)]);
        assert!(vae.encoder[2].norm.is_none() && vae.decoder[2].norm.is_none());
        assert_eq!(Vae::new(4, &[], 2, &mut StdRng::seed_from_u64(0)).parameters(), 4 * 4 + 4 + 2 * 4 + 4);
    }
}
