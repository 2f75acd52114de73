//! The network's layers: a pyramid of dilated convolutions over time, linear attention, a merging convolution, a head.

use crate::score::{Layer, Norm};
use rand::{Rng, RngExt};

/// Steps of time between the taps of the pyramid's convolutions.
pub const DILATIONS: [usize; 3] = [1, 2, 4];
/// Taps of every convolution over time.
pub const CONV_TAPS: usize = 3;

/// Weights of one network for features of `features` numbers.
///
/// [`Layer`]s hold the numbers, but the norms of convolutions come after their ReLU here. A convolution's weights are
/// those of its taps one after the other, oldest first: `[3 * inputs, outputs]`.
///
/// For 2048 features the widths are the published ones: branches of 512, attention over 256, 512 and 128 in the head.
/// For others they are the same shares, rounded up: a quarter, an eighth, a quarter and a sixteenth.
#[derive(Debug, Clone, PartialEq)]
pub struct Rtfm {
    pub features: usize,
    /// conv_1 to conv_3, with dilations of [`DILATIONS`]: bias, ReLU, norm.
    pub pyramid: [Layer; 3],
    /// conv_4, one tap: no bias, ReLU, no norm. What attention works on, and skips.
    pub narrow: Layer,
    /// theta, phi and g of the non-local block: bias only.
    pub attention: [Layer; 3],
    /// W of the non-local block: bias and norm, no ReLU. The norm's gain begins at nought, so that an untrained block
    /// passes its input on.
    pub back: Layer,
    /// conv_5: no bias, ReLU, norm.
    pub merge: Layer,
    /// Three linear layers with ReLUs between them, to one logit.
    pub head: [Layer; 3],
}

impl Rtfm {
    /// Feature vectors before the present one that the pyramid looks at.
    pub const PAST: usize = (CONV_TAPS - 1) * DILATIONS[2];
    /// Merged vectors before the present one that conv_5 looks at.
    pub const MERGED: usize = CONV_TAPS - 1;

    /// An untrained network: Xavier's uniform weights, biases of nought.
    pub fn new(features: usize, rng: &mut impl Rng) -> Self {
        let branch = features.div_ceil(4);
        let inner = branch.div_ceil(2);
        let hidden = [branch, features.div_ceil(16)];
        let mut layer = |inputs, outputs, taps, bias, norm| xavier(inputs, outputs, taps, bias, norm, rng);
        let pyramid = DILATIONS.map(|_| layer(features, branch, CONV_TAPS, true, Some(1.0)));
        let narrow = layer(features, branch, 1, false, None);
        let attention = [(); 3].map(|()| layer(branch, inner, 1, true, None));
        let back = layer(inner, branch, 1, true, Some(0.0));
        let merge = layer(4 * branch, features, CONV_TAPS, false, Some(1.0));
        let head = [
            layer(features, hidden[0], 1, true, None),
            layer(hidden[0], hidden[1], 1, true, None),
            layer(hidden[1], 1, 1, true, None),
        ];
        Self { features, pyramid, narrow, attention, back, merge, head }
    }

    /// Numbers of one of the four vectors that are merged.
    pub fn branch(&self) -> usize {
        self.narrow.outputs
    }

    /// Numbers of the attention's keys and values.
    pub fn inner(&self) -> usize {
        self.attention[0].outputs
    }

    /// Every layer, in the order of the fields.
    pub fn layers(&mut self) -> Vec<&mut Layer> {
        let Self { pyramid, narrow, attention, back, merge, head, .. } = self;
        let (first, last) = (pyramid.iter_mut().chain([narrow]), [back, merge].into_iter().chain(head));
        first.chain(attention).chain(last).collect()
    }

    /// Learned numbers.
    pub fn parameters(&self) -> usize {
        self.clone().layers().iter().map(|layer| layer.parameters()).sum()
    }
}

fn xavier(
    inputs: usize,
    outputs: usize,
    taps: usize,
    bias: bool,
    norm: Option<f32>,
    rng: &mut impl Rng,
) -> Layer {
    let bound = (6.0 / (taps * (inputs + outputs)) as f32).sqrt();
    let weight = (0..taps * inputs * outputs).map(|_| rng.random_range(-bound..bound)).collect();
    let norm = norm.map(|gain| Norm {
        gain: vec![gain; outputs],
        shift: vec![0.0; outputs],
        mean: vec![0.0; outputs],
        variance: vec![1.0; outputs],
    });
    Layer { inputs: taps * inputs, outputs, weight, bias: vec![0.0; if bias { outputs } else { 0 }], norm }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn it_has_the_published_number_of_parameters() {
        let network = Rtfm::new(2048, &mut StdRng::seed_from_u64(0));
        assert_eq!(network.parameters(), 24_718_849);
        assert_eq!((network.branch(), network.inner()), (512, 256));
    }

    #[test]
    fn any_number_of_features_will_do() {
        for features in [1, 6, 60, 1024] {
            let mut network = Rtfm::new(features, &mut StdRng::seed_from_u64(0));
            assert_eq!(network.layers().len(), 12);
            assert_eq!(network.merge.outputs, features);
        }
    }
}
